//! Cancels the upstreams that a fired group needs no more (§40.7), outside the transaction that fired it.

use uuid::Uuid;

use crate::model::execution::Execution;
use crate::model::transition;
use crate::pg::spi::Db;
use crate::store;
use crate::store::sibling_cancel::{self, Standing};

use super::super::{clock, save};

/// One sibling, and what became of it.
pub type Handled = (Uuid, &'static str);

/// What a pass over one group did.
#[derive(Default)]
pub struct Pass {
    /// Siblings looked at.
    pub handled: Vec<Handled>,
    /// The request has been dealt with and is gone.
    pub drained: bool,
}

/// Cancels up to so many siblings of a group, if that is asked for and nobody else is at it.
pub fn cancel(db: &Db, flow: Uuid, child: Uuid, limit: i64) -> Pass {
    if limit == 0 || !seen(db, flow) || !sibling_cancel::lock(db, flow, child) {
        return Pass::default();
    }
    work(db, flow, child, limit)
}

/// Whether the calling roles may see the flow, or nobody may because it is gone.
fn seen(db: &Db, flow: Uuid) -> bool {
    store::binding::mine().is_none() || !store::flow::read(db, &[flow]).is_empty()
}

/// Works on a request that is locked.
pub fn work(db: &Db, flow: Uuid, child: Uuid, limit: i64) -> Pass {
    let group = store::edge_group::of(db, child).map(|found| found.group);
    let Some(reason) = group
        .filter(|g| g.cancel_pending)
        .and_then(|g| g.cancel_reason)
    else {
        sibling_cancel::delete(db, flow, child);
        return Pass {
            handled: Vec::new(),
            drained: true,
        };
    };
    let mut siblings = sibling_cancel::siblings(db, child, limit + 1);
    let more = siblings.len() as i64 > limit;
    let more = more && siblings.last().is_some_and(|(_, s)| *s == Standing::Live);
    siblings.truncate(limit as usize);
    let live = siblings.iter().filter(|(_, s)| *s == Standing::Live);
    let live: Vec<Uuid> = live.map(|(id, _)| *id).collect();
    let free = store::execution::lock_free(db, &live);
    let now = clock::now();
    let (ended, going): (Vec<Execution>, Vec<Execution>) =
        free.into_iter().partition(Execution::is_terminal);
    let cancelled = |id: &Uuid| going.iter().any(|e| e.place.id == *id);
    let over = |id: &Uuid| ended.iter().any(|e| e.place.id == *id);
    let disposition = |(id, standing): &(Uuid, Standing)| {
        let word = match standing {
            Standing::Gone => "not_found",
            Standing::Ended => "already_terminal",
            Standing::Shared => "kept_shared",
            Standing::Live if cancelled(id) => "cancelled",
            Standing::Live if over(id) => "already_terminal",
            Standing::Live => "deferred",
        };
        (*id, word)
    };
    let handled: Vec<Handled> = siblings.iter().map(disposition).collect();
    let cancel = |e: &Execution| transition::cancel(e.clone(), reason, "sibling_quorum", now);
    let changes: Vec<_> = going.iter().map(cancel).collect();
    save::apply(db, &changes, now);
    let deferred = handled.iter().any(|(_, word)| *word == "deferred");
    // The flag is written under the child's lock, which is not waited for.
    let drained = !more && !deferred && clear(db, flow, child);
    Pass { handled, drained }
}

/// Ends a locked request, if the child is free.
fn clear(db: &Db, flow: Uuid, child: Uuid) -> bool {
    let free = !store::execution::lock_free(db, &[child]).is_empty();
    let free = free || store::execution::read(db, &[child]).is_empty();
    if free {
        store::edge_group::forget_siblings(db, child);
        sibling_cancel::delete(db, flow, child);
    }
    free
}

/// Forgets a request; the outcome.
pub fn drain(db: &Db, flow: Uuid, child: Uuid) -> &'static str {
    if !seen(db, flow) {
        return "already_drained";
    }
    store::execution::lock(db, child);
    let group = store::edge_group::of(db, child).map(|found| found.group);
    let group = group.filter(|g| g.flow == flow);
    if !sibling_cancel::delete(db, flow, child) {
        return "already_drained";
    }
    match group {
        Some(_) => {
            store::edge_group::forget_siblings(db, child);
            "drained"
        }
        None => "drained_without_group",
    }
}

/// Repairs one request without cancelling or waiting: what was done, and why.
pub fn reconcile(db: &Db, flow: Uuid, child: Uuid) -> (&'static str, &'static str) {
    if !seen(db, flow) || !sibling_cancel::queued(db, flow, child) {
        return ("no_op", "not_queued");
    }
    if !sibling_cancel::lock(db, flow, child) {
        return ("no_op", "locked");
    }
    repair(db, flow, child)
}

/// Repairs a request that is locked.
pub fn repair(db: &Db, flow: Uuid, child: Uuid) -> (&'static str, &'static str) {
    let Some(found) = store::edge_group::of(db, child) else {
        sibling_cancel::delete(db, flow, child);
        return ("removed_stale", "missing_group");
    };
    if !found.group.cancel_pending {
        sibling_cancel::delete(db, flow, child);
        return ("removed_stale", "flag_cleared");
    }
    let running = sibling_cancel::siblings(db, child, 1);
    if running.iter().any(|(_, s)| *s == Standing::Live) {
        return ("no_op", "siblings_running");
    }
    if clear(db, flow, child) {
        ("completed_drain", "no_cancellable_sibling")
    } else {
        ("no_op", "locked")
    }
}
