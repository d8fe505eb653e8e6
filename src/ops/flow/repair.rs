//! Finds and mends what propagation has left undone (§40.5.8, §40.13): lost queue entries, wrong counters, children that
//! wait without reason.

use uuid::Uuid;

use crate::error::Result;
use crate::model::edge_group::GroupState;
use crate::model::execution::Execution;
use crate::model::time::Instant;
use crate::model::transition;
use crate::model::words::Lifecycle;
use crate::pg::spi::Db;
use crate::store;
use crate::store::edge::Ended;

use super::super::{clock, save};
use super::gate::cancelled;
use super::step;
use super::{ended, propagate};

/// Queues ended members whose edges are due and that nobody has queued; how many.
pub fn queue(db: &Db, members: &[Execution], now: Instant) -> usize {
    let members: Vec<Ended> = members.iter().filter_map(ended).collect();
    let left: Vec<Uuid> = store::edge::left(db, &members)
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    let lost: Vec<Ended> = members
        .into_iter()
        .filter(|m| left.contains(&m.id) && !store::cascade::queued(db, m.id))
        .collect();
    store::cascade::queue(db, &lost, now);
    lost.len()
}

/// Mends the group of a locked child and moves the child if it waits in vain; whether anything was wrong.
pub fn mend(db: &Db, e: Execution, now: Instant) -> bool {
    let found = store::edge_group::of(db, e.place.id).filter(|f| f.group.total > 0);
    let Some(mut found) = found else {
        let waits = transition::waits(&e);
        if waits {
            save::apply(db, &[transition::unblock(e, now)], now);
        }
        return waits;
    };
    let miscounted = store::edge_group::recount(db, &mut found.group);
    let fired = found.group.state;
    if miscounted || fired == GroupState::Pending && found.group.verdict() != fired {
        let moved = step::settle(db, vec![(e, found)], now);
        for m in &moved {
            propagate::after(db, m, now);
        }
        return true;
    }
    if !transition::waits(&e) || fired == GroupState::Pending {
        return false;
    }
    let change = match (found.cancelled.filter(|p| p.covers(&e)), fired) {
        (Some(_), _) => cancelled(e, &found, now),
        (None, GroupState::Satisfied) => {
            if found.group.passes_data {
                store::edge::pass_data(db, &[e.place.id]);
            }
            transition::unblock(e, now)
        }
        (None, _) => transition::skip(e, now),
    };
    save::apply(db, &[change], now);
    true
}

/// Releases a child that waits although its group lets it go, or says in a word why not.
///
/// # Errors
/// None of its own.
pub fn promote(db: &Db, id: Uuid) -> Result<&'static str> {
    let Some(e) = store::execution::lock(db, id) else {
        return Ok("not_found");
    };
    if e.vector.lifecycle != Lifecycle::Runnable {
        return Ok("not_runnable");
    }
    if !transition::waits(&e) {
        return Ok("not_blocked_by_deps");
    }
    let now = clock::now();
    if let Some(mut found) = store::edge_group::of(db, id) {
        store::edge_group::recount(db, &mut found.group);
        let state = match found.group.state {
            GroupState::Pending => found.group.verdict(),
            fired => fired,
        };
        if state != GroupState::Satisfied && found.group.total > 0 {
            return Ok("deps_not_satisfied");
        }
    }
    mend(db, e, now);
    Ok("promoted")
}
