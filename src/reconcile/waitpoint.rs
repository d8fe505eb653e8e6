//! Expires waitpoints that no suspension has used in time (§20.18).

use serde_json::json;
use uuid::Uuid;

use crate::error::Result;
use crate::model::event::{Code, Event};
use crate::model::execution::Execution;
use crate::ops::clock;
use crate::pg::rejection;
use crate::pg::spi::Db;
use crate::store;

use super::{Scope, Tally, due::concerns};

/// Expires in due order. Executions are locked, as for every change of their waitpoints, and stay as they are.
pub fn run(db: &Db, scope: &Scope) -> Result<Tally> {
    store::token_failure::note(db, &rejection::take());
    let mut tally = Tally::default();
    let Some(namespace) = super::due::namespace(db, scope) else {
        return Ok(tally);
    };
    if scope.limit == 0 {
        return Ok(tally);
    }
    let due = store::waitpoint::due(db, clock::now(), scope.limit + 1);
    tally.remaining = due.len() as i64 > scope.limit;
    let due = due.get(..scope.limit as usize).unwrap_or(&due);
    let mut ids: Vec<Uuid> = due.iter().map(|(execution, _)| *execution).collect();
    ids.sort_unstable();
    ids.dedup();
    let free: Vec<Execution> = store::execution::lock_free(db, &ids)
        .into_iter()
        .filter(|e| concerns(e, scope, namespace))
        .collect();
    let now = clock::now();
    let reachable: Vec<Uuid> = due
        .iter()
        .filter(|(execution, _)| free.iter().any(|e| e.place.id == *execution))
        .map(|(_, waitpoint)| *waitpoint)
        .collect();
    let expired = store::waitpoint::expire(db, &reachable, now);
    store::waitpoint::disarm(db, &gone(db, due, &reachable), now);
    let events: Vec<(&Execution, Event)> = expired
        .iter()
        .filter_map(|(id, execution, key)| {
            let e = free.iter().find(|e| e.place.id == *execution)?;
            let details = json!({
                "waitpoint_ids": [id],
                "waitpoint_key": key,
                "close_reason": crate::model::suspension::close::NEVER_COMMITTED,
            });
            Some((
                e,
                Event::plain(Code::SuspensionWaitpointExpired, Some(details)),
            ))
        })
        .collect();
    let events: Vec<_> = events.iter().map(|(e, event)| (*e, event, None)).collect();
    store::event::append(db, now, &events);
    tally.processed = expired.len() as i32;
    tally.skipped = (reachable.len() - expired.len()) as i32;
    Ok(tally)
}

/// Waitpoints that need no further look: those handled, and those whose execution has been purged.
fn gone(db: &Db, due: &[(Uuid, Uuid)], handled: &[Uuid]) -> Vec<Uuid> {
    let others: Vec<Uuid> = due
        .iter()
        .map(|(_, id)| *id)
        .filter(|id| !handled.contains(id))
        .collect();
    let there = store::waitpoint::load(db, &others);
    let absent = |id: &&Uuid| !there.iter().any(|w| w.id() == **id);
    others
        .iter()
        .filter(absent)
        .chain(handled)
        .copied()
        .collect()
}
