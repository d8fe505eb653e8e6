//! Saving changes: the row, and with it everything that is derived from it.
//!
//! No operation touches the ready queue or the timers by itself. Both follow here from the execution before
//! and after, so that no operation can forget them; see `model::due` for what they are.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::model::due::{self, Ready};
use crate::model::execution::Execution;
use crate::model::moved::Moved;
use crate::model::time::Instant;
use crate::model::transition::{Blob, Change};
use crate::pg::spi::Db;
use crate::pg::{shared, xact};
use crate::store;
use crate::store::event::Announced;
use crate::store::ready;
use crate::store::timer::{Set, Timer};

use super::flow::propagate;
use super::stream::close;
use super::suspension::waits;

/// Writes changes to executions that exist, and what follows from the end of a flow's member (§40.3.4).
pub fn apply(db: &Db, changes: &[Change], now: Instant) {
    write(db, changes, now);
    propagate::follow(db, changes, now);
}

/// Writes changes to executions that exist, and nothing that follows from them.
pub fn write(db: &Db, changes: &[Change], now: Instant) {
    let superseded: Vec<_> = changes
        .iter()
        .filter_map(|c| Some((c.after.place.id, c.archive.as_deref()?)))
        .collect();
    if !superseded.is_empty() {
        store::attempt::archive(db, &superseded);
    }
    let mut plain = Vec::new();
    let mut results = Vec::new();
    let mut details = Vec::new();
    for change in changes {
        let Some(before) = change.before.as_deref() else {
            continue;
        };
        let pair = (before, &*change.after);
        match &change.blob {
            Blob::Result(bytes, encoding) => {
                results.push((pair, bytes.as_deref(), encoding.as_deref()))
            }
            Blob::Detail(detail) => details.push((pair, detail.as_deref())),
            // The detail of a superseded attempt has moved to the archive with it.
            Blob::Keep if had_failed(change) => details.push((pair, None)),
            Blob::Keep => plain.push(pair),
        }
    }
    store::execution::save(db, &plain);
    store::execution::save_with_result(db, &results);
    store::execution::save_with_detail(db, &details);
    waits::settle(db, changes, now);
    close::settle(db, changes, now);
    settle(db, changes, now);
}

/// Brings ready queue, timers and event log in step with changes whose rows are written.
pub fn settle(db: &Db, changes: &[Change], now: Instant) {
    let mut gone = Vec::new();
    let mut new = Vec::new();
    let (mut routed, mut unrouted) = (Vec::new(), Vec::new());
    let (mut admitted, mut denied) = (Vec::new(), Vec::new());
    let mut freed = Vec::new();
    let mut timers = Vec::new();
    let mut spent = Vec::new();
    let mut ended = Vec::new();
    let mut events: Vec<Announced> = Vec::new();
    let mut silent = Vec::new();
    for change in changes {
        let after = &*change.after;
        let was = change.before.as_deref().and_then(due::ready);
        let is = due::ready(after);
        if was != is {
            gone.extend(was);
            new.extend(is.map(|entry| (after.place.lane, entry)));
        }
        let missed = change.before.as_deref().and_then(due::unrouted);
        let misses = due::unrouted(after);
        if missed != misses {
            routed.extend(missed);
            unrouted.extend(misses);
        }
        let refused = change.before.as_deref().and_then(due::denied);
        let refuses = due::denied(after);
        if refused != refuses {
            admitted.extend(refused);
            denied.extend(refuses);
        }
        let held = change.before.iter().flat_map(|e| &e.slots);
        let gone_slots = held.filter(|slot| !after.slots.contains(slot));
        freed.extend(gone_slots.map(|slot| (*slot, after)));
        match due::arm(change.before.as_deref(), after) {
            Some(at) if after.is_terminal() => ended.push((at, after.place.id)),
            Some(at) => timers.push(Timer::live(after, at)),
            None => {}
        }
        let (had_lost, has_lost) = (
            change.before.as_deref().and_then(due::lost),
            due::lost(after),
        );
        if had_lost != has_lost {
            spent.extend(had_lost.map(|at| Timer::lost(after, at)));
            timers.extend(has_lost.map(|at| Timer::lost(after, at)));
        }
        let mut moved = Moved::of(change);
        events.extend(
            change
                .events
                .iter()
                .map(|event| (after, event, moved.take())),
        );
        silent.extend(moved.map(|moved| (after, moved)));
    }
    store::ready::delete(db, &gone);
    let entries: Vec<Ready> = new.iter().map(|(_, entry)| *entry).collect();
    store::ready::insert(db, &entries);
    store::unrouted::delete(db, &routed);
    store::unrouted::insert(db, &unrouted);
    store::denied::delete(db, &admitted);
    store::denied::insert(db, &denied);
    free(db, freed);
    store::timer::delete(db, &spent);
    store::timer::insert(db, &timers);
    store::purge::insert(db, ended);
    store::event::append(db, now, &events);
    store::moved::append(db, &silent);
    if changes.iter().any(|c| c.after.is_terminal()) {
        xact::completed();
        touch(db, changes, now);
    }
    tell(&gone, &new, &timers);
}

/// Frees slots, ascending. Who waits for work of their lanes may get some now.
fn free(db: &Db, mut slots: Vec<(Uuid, &Execution)>) {
    slots.sort_by_key(|(quota, e)| (*quota, e.place.id));
    for (quota, e) in slots {
        if store::quota::free(db, quota, e.place.id) {
            xact::reopened(e.place.lane);
        }
    }
}

/// Marks the flows whose members have ended.
fn touch(db: &Db, changes: &[Change], now: Instant) {
    let ended = changes.iter().filter(|c| propagate::ends(c));
    let flows: BTreeSet<Uuid> = ended.filter_map(|c| c.after.place.flow).collect();
    store::flow_summary::touch(db, flows.into_iter(), now);
}

/// Whether the attempt that a change supersedes may have left a failure detail.
fn had_failed(change: &Change) -> bool {
    change
        .archive
        .as_ref()
        .is_some_and(|s| s.attempt.failure_class.is_some())
}

/// What other sessions learn when this transaction ends.
fn tell(gone: &[Ready], new: &[(i32, Ready)], timers: &[Timer]) {
    if !shared::preloaded() {
        return;
    }
    for entry in gone {
        xact::taken(ready::shared(entry.queue), ready::place(&entry.position));
    }
    for (lane, entry) in new {
        xact::appeared(
            *lane,
            ready::shared(entry.queue),
            ready::place(&entry.position),
        );
    }
    for timer in timers.iter().filter(|t| t.set == Set::Live) {
        xact::due(timer.due_at.0);
    }
}
