//! Deletes frames that nobody can see any more, and streams past their time (§30.9).

use crate::error::Result;
use crate::model::time::Instant;
use crate::ops::clock;
use crate::ops::stream::gc;
use crate::pg::spi::Db;
use crate::store;
use crate::store::stream::watch::{Wanted, Watch};

use super::rest::Row;
use super::{Scope, Tally, batch};

/// Looks at streams in due order, at most so many as a batch has rows.
pub fn run(db: &Db, scope: &Scope) -> Result<Tally> {
    let Some(namespace) = super::due::namespace(db, scope) else {
        return Ok(Tally::default());
    };
    if scope.limit == 0 {
        return Ok(Tally::default());
    }
    let wanted = Wanted {
        partitions: scope.partitions,
        namespace,
        tags: &scope.tags,
    };
    let now = clock::now();
    let due = store::stream::watch::due(db, now, &wanted, scope.limit);
    let row = |w: &Watch| Row::Execution(w.stream.execution);
    let work = |due: &[Watch]| Ok(clear(db, due, now, scope.limit));
    let mut tally = batch::handle(scope, &due, row, work);
    tally.remaining |= due.len() as i64 >= scope.limit || tally.errors > 0;
    Ok(tally)
}

fn clear(db: &Db, due: &[Watch], now: Instant, limit: i64) -> Tally {
    let mut tally = Tally::default();
    let mut again = Vec::new();
    for watch in due {
        let left = (limit - i64::from(tally.processed)).max(1);
        let cleared = gc::clear(db, watch, now, left);
        tally.processed += cleared.deleted as i32;
        tally.skipped += i32::from(cleared.deleted == 0);
        tally.remaining |= cleared.again == Some(now);
        again.extend(cleared.again.map(|due_at| Watch { due_at, ..*watch }));
    }
    store::stream::watch::delete(db, due);
    store::stream::watch::insert(db, &again);
    tally
}
