//! Projects flows: those that were touched, then open ones that nobody has projected for a while (§40.6).

use uuid::Uuid;

use crate::error::Result;
use crate::ops::clock;
use crate::ops::flow::close;
use crate::pg::spi::Db;
use crate::store;
use crate::store::flow_summary::Only;

use super::rest::Row;
use super::{Scope, Tally, batch, due};

/// Projects, seals and closes.
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
        tags: &scope.tags,
    };
    let now = clock::now();
    let mut flows = store::flow_summary::take(db, &only, now, scope.limit);
    tally.remaining = flows.len() as i64 == scope.limit;
    let touched = flows.len();
    let room = scope.limit - touched as i64;
    let stale = store::flow_summary::stale(db, &only, now, room);
    flows.extend(
        stale
            .into_iter()
            .filter(|id| !flows.contains(id))
            .collect::<Vec<_>>(),
    );
    let fresh: Vec<Uuid> = flows.get(..touched).unwrap_or_default().to_vec();
    let row = |id: &Uuid| Row::Flow(*id);
    let done = batch::handle(scope, &flows, row, |flows| {
        let mut tally = Tally::default();
        for id in flows {
            let projected = close::project(db, *id, now, false)?;
            let worth = projected.changed || fresh.contains(id) && projected.stored;
            tally.processed += i32::from(worth);
        }
        Ok(tally)
    });
    tally.processed += done.processed;
    tally.errors += done.errors;
    Ok(tally)
}
