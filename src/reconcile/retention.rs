//! Deletes terminal executions whose retention is over, with everything that belongs to them.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::error::Result;
use crate::model::due::{self, Duty};
use crate::model::execution::Execution;
use crate::model::time::{Instant, SECOND};
use crate::ops::clock;
use crate::ops::execution::duty::rearm;
use crate::ops::stream::gc;
use crate::pg::spi::Db;
use crate::store;
use crate::store::purge::{self, Lot};

use super::{Scope, Tally, due::concerns};

/// How long members of a flow that goes on are left alone, at least and at most.
const SHORTEST_REST: i64 = 60 * SECOND;
const LONGEST_REST: i64 = 3_600 * SECOND;

/// Purges in due order; what belongs to somebody else or is held stays in its lot.
pub fn run(db: &Db, scope: &Scope) -> Result<Tally> {
    let mut tally = Tally::default();
    if scope.limit == 0 {
        return Ok(tally);
    }
    while store::timer::retire(db, clock::now(), scope.limit.max(0) as usize) > 0 {}
    let Some(namespace) = super::due::namespace(db, scope) else {
        return Ok(tally);
    };
    let mut after = purge::FIRST;
    while let Some(lot) = purge::due(db, clock::now(), after) {
        after = lot.place;
        let left = scope.limit - i64::from(tally.processed);
        let (taken, more) = empty(db, &lot, scope, namespace, left as usize);
        tally.processed += taken as i32;
        if more {
            tally.remaining = true;
            break;
        }
    }
    Ok(tally)
}

/// Purges executions of a lot up to a limit; how many, and whether others could follow.
fn empty(db: &Db, lot: &Lot, scope: &Scope, namespace: Option<i32>, limit: usize) -> (usize, bool) {
    let now = clock::now();
    let locked = store::execution::lock_free(db, &lot.ids);
    let mut done: BTreeSet<Uuid> = lot.ids.iter().copied().collect();
    for e in &locked {
        done.remove(&e.place.id);
    }
    let (over, early): (Vec<_>, Vec<_>) = locked
        .into_iter()
        .partition(|e| due::is_due(e, Duty::Purge, now));
    rearm(db, &[], early.iter());
    // Neither here nor held by somebody: gone.
    for id in store::execution::present(db, done.iter().copied()) {
        done.remove(&id);
    }
    done.extend(early.iter().map(|e| e.place.id));
    // Members stay as long as their flow goes on.
    let flows: Vec<_> = over.iter().filter_map(|e| e.place.flow).collect();
    let ended = match flows.is_empty() {
        true => flows,
        false => store::flow::over(db, &flows),
    };
    let (over, kept): (Vec<_>, Vec<_>) = over
        .into_iter()
        .partition(|e| e.place.flow.is_none_or(|flow| ended.contains(&flow)));
    done.extend(kept.iter().map(|e| e.place.id));
    rest(db, &kept, now);
    let mut spent: Vec<Uuid> = over
        .iter()
        .filter(|e| concerns(e, scope, namespace))
        .map(|e| e.place.id)
        .collect();
    // Who is still appending would be waited for.
    let busy = gc::busy(db, &spent);
    spent.retain(|id| !busy.contains(id));
    let more = spent.len() > limit;
    spent.truncate(limit);
    done.extend(&spent);
    let left: Vec<Uuid> = lot
        .ids
        .iter()
        .filter(|id| !done.contains(id))
        .copied()
        .collect();
    purge::keep(db, lot, &left);
    (store::execution::purge(db, &spent), more)
}

/// Lists what has to stay for as long again as the first of them has stayed already, together: looks at a flow that goes
/// on become seldom, and what it leaves is not kept much longer than it took.
fn rest(db: &Db, kept: &[Execution], now: Instant) {
    let Some(first) = kept.iter().filter_map(|e| e.purge_at).min() else {
        return;
    };
    let overdue = now.0.saturating_sub(first.0);
    let until = now.plus(overdue.clamp(SHORTEST_REST, LONGEST_REST));
    purge::insert(db, kept.iter().map(|e| (until, e.place.id)).collect());
}
