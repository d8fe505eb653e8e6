//! Finds due edges that nobody has queued, wrong counters, and children that wait without reason (§40.13).

use uuid::Uuid;

use crate::error::Result;
use crate::model::time::SECOND;
use crate::ops::clock;
use crate::ops::flow::repair;
use crate::pg::spi::Db;
use crate::store;
use crate::store::flow_repair::Only;

use super::rest::Row;
use super::{Scope, Tally, batch, due};

/// Queues, recounts, promotes and skips.
pub fn run(db: &Db, scope: &Scope) -> Result<Tally> {
    let mut tally = Tally::default();
    let Some(namespace) = due::namespace(db, scope) else {
        return Ok(tally);
    };
    if scope.limit == 0 {
        return Ok(tally);
    }
    let only = Only {
        partitions: scope.partitions,
        namespace,
    };
    let now = clock::now();
    let lost = store::flow_repair::lost(db, only, now.plus(-SECOND), scope.limit);
    let mut members = store::execution::read(db, &lost);
    members.retain(|e| due::concerns(e, scope, namespace));
    tally.processed = repair::queue(db, &members, now) as i32;

    let wrong = store::flow_repair::wrong(db, only, scope.limit);
    let row = |id: &Uuid| Row::Execution(*id);
    let done = batch::handle(scope, &wrong, row, |children| {
        let mut locked = store::execution::lock_free(db, children);
        locked.retain(|e| due::concerns(e, scope, namespace));
        let found = locked.len();
        let mended = locked
            .into_iter()
            .filter(|e| repair::mend(db, e.clone(), now))
            .count();
        Ok(Tally {
            processed: mended as i32,
            skipped: (children.len() - found) as i32,
            ..Tally::default()
        })
    });
    tally.processed += done.processed;
    tally.skipped += done.skipped;
    tally.errors += done.errors;
    tally.remaining = [lost.len(), wrong.len()].contains(&(scope.limit as usize));
    Ok(tally)
}
