//! Makes executions eligible again that waited for a capable worker, once one is registered, and then those that
//! waited for a budget or a quota.

use uuid::Uuid;

use crate::error::Result;
use crate::model::due::Position;
use crate::model::transition;
use crate::model::words::Eligibility;
use crate::ops::flow::gate::Gates;
use crate::ops::{clock, save};
use crate::pg::spi::Db;
use crate::store;
use crate::store::ready::HEAD;

use super::rest::Row;
use super::{Scope, Tally, batch};

/// Executions looked at in one go.
const PAGE: i64 = 1000;

/// T25 in claim order. Registrations are consulted once per requirement, not per execution.
pub fn run(db: &Db, scope: &Scope) -> Result<Tally> {
    let mut tally = Tally::default();
    let Some(namespace) = super::due::namespace(db, scope) else {
        return Ok(tally);
    };
    if scope.limit == 0 {
        return Ok(tally);
    }
    for queue in store::unrouted::covered(db, clock::now(), namespace) {
        let mut after = HEAD;
        loop {
            let left = scope.limit - i64::from(tally.processed);
            let room = left.clamp(1, PAGE);
            let page = store::unrouted::due(db, queue, after, clock::now(), room);
            let Some(last) = page.last() else { break };
            if left == 0 {
                tally.remaining = true;
                return Ok(tally);
            }
            after = *last;
            let row = |p: &Position| Row::Execution(p.id);
            let work = |page: &[Position]| Ok(unblock(db, scope, namespace, page));
            let done = batch::handle(scope, &page, row, work);
            tally.processed += done.processed;
            tally.skipped += done.skipped;
            tally.errors += done.errors;
        }
    }
    super::admission::run(db, scope, namespace, tally)
}

fn unblock(db: &Db, scope: &Scope, namespace: Option<i32>, page: &[Position]) -> Tally {
    let ids: Vec<Uuid> = page.iter().map(|p| p.id).collect();
    let locked = store::execution::lock_free(db, &ids);
    let now = clock::now();
    let (mut blocked, other): (Vec<_>, Vec<_>) = locked.into_iter().partition(|e| {
        e.vector.eligibility == Eligibility::Route && e.recheck_at.is_none_or(|at| at <= now)
    });
    blocked.retain(|e| super::due::concerns(e, scope, namespace));
    let gates = Gates::of(db, &blocked);
    let changes: Vec<_> = blocked
        .into_iter()
        .map(|e| gates.open(db, e, now, transition::unblock))
        .collect();
    save::apply(db, &changes, now);
    Tally {
        processed: changes.len() as i32,
        skipped: other.len() as i32,
        ..Tally::default()
    }
}
