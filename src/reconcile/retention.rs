//! Deletes terminal executions whose retention is over, with everything that belongs to them.

use crate::error::Result;
use crate::model::due::{self, Duty};
use crate::ops::clock;
use crate::ops::execution::duty::{FIRST, rearm};
use crate::pg::spi::Db;
use crate::store;
use crate::store::timer::Set;

use super::{Scope, Tally, due::concerns};

/// Purges in due order; what belongs to somebody else or is not over yet keeps its timer.
pub fn run(db: &Db, scope: &Scope) -> Result<Tally> {
    let mut tally = Tally::default();
    if scope.limit == 0 {
        return Ok(tally);
    }
    while store::timer::retire(db, clock::now(), scope.limit.max(0) as usize) > 0 {}
    let Some(namespace) = super::due::namespace(db, scope) else {
        return Ok(tally);
    };
    store::timer::drop_orphans(db, clock::now(), scope.limit);
    let mut after = FIRST;
    loop {
        let left = scope.limit - i64::from(tally.processed);
        let timers = store::timer::due(db, Set::Purge, clock::now(), after, left + 1);
        let Some(last) = timers.last() else {
            return Ok(tally);
        };
        if left == 0 {
            return Ok(Tally {
                remaining: true,
                ..tally
            });
        }
        after = (last.due_at, last.id);
        let ids: Vec<_> = timers.iter().take(left as usize).map(|t| t.id).collect();
        let now = clock::now();
        let (over, kept): (Vec<_>, Vec<_>) = store::execution::lock_free(db, &ids)
            .into_iter()
            .partition(|e| due::is_due(e, Duty::Purge, now));
        rearm(db, &timers, kept.iter());
        // Members stay as long as their flow goes on.
        let flows: Vec<_> = over.iter().filter_map(|e| e.place.flow).collect();
        let ended = match flows.is_empty() {
            true => flows,
            false => store::flow::over(db, &flows),
        };
        let over: Vec<_> = over
            .into_iter()
            .filter(|e| e.place.flow.is_none_or(|flow| ended.contains(&flow)))
            .filter(|e| concerns(e, scope, namespace))
            .map(|e| e.place.id)
            .collect();
        let spent: Vec<_> = timers
            .iter()
            .filter(|t| over.contains(&t.id))
            .copied()
            .collect();
        store::timer::delete(db, &spent);
        tally.processed += store::execution::purge(db, &over) as i32;
        if timers.len() as i64 > left {
            after = timers
                .get(left as usize - 1)
                .map_or(after, |t| (t.due_at, t.id));
        }
    }
}
