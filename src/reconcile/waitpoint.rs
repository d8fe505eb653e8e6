//! Expires waitpoints that no suspension has used in time (§20.18).

use serde_json::json;
use uuid::Uuid;

use crate::error::Result;
use crate::model::event::{Code, Event};
use crate::model::execution::Execution;
use crate::ops::clock;
use crate::ops::execution::duty::FIRST;
use crate::pg::rejection;
use crate::pg::spi::Db;
use crate::store;
use crate::store::waitpoint::Due;

use super::{Scope, Tally, due::concerns};

/// Waitpoints looked at in one go.
const PAGE: i64 = 1000;

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
    let mut after = FIRST;
    loop {
        let page = store::waitpoint::due(db, clock::now(), after, PAGE);
        let Some(last) = page.last() else {
            return Ok(tally);
        };
        after = (last.at, last.id);
        let room = (scope.limit - i64::from(tally.processed)) as usize;
        let done = expire(db, scope, namespace, &page, room);
        tally.processed += done.processed;
        tally.skipped += done.skipped;
        if done.remaining {
            return Ok(Tally {
                remaining: true,
                ..tally
            });
        }
    }
}

/// Expires those of a page that concern the run, as many as there is room for.
fn expire(db: &Db, scope: &Scope, namespace: Option<i32>, page: &[Due], room: usize) -> Tally {
    let ids: Vec<Uuid> = page.iter().map(|d| d.execution).collect();
    let free = store::execution::lock_wanted(db, &ids, |e| concerns(e, scope, namespace));
    let now = clock::now();
    let of = |id: Uuid| free.iter().find(|e: &&Execution| e.place.id == id);
    let mut reachable: Vec<Uuid> = page
        .iter()
        .filter(|d| of(d.execution).is_some())
        .map(|d| d.id)
        .collect();
    let remaining = reachable.len() > room;
    reachable.truncate(room);
    let expired = store::waitpoint::expire(db, &reachable, now);
    store::waitpoint::disarm(db, &spent(db, page, &reachable), now);
    let events: Vec<(&Execution, Event)> = expired
        .iter()
        .filter_map(|(id, execution, key)| {
            let details = json!({
                "waitpoint_ids": [id],
                "waitpoint_key": key,
                "close_reason": crate::model::suspension::close::NEVER_COMMITTED,
            });
            Some((
                of(*execution)?,
                Event::plain(Code::SuspensionWaitpointExpired, Some(details)),
            ))
        })
        .collect();
    let events: Vec<_> = events.iter().map(|(e, event)| (*e, event, None)).collect();
    store::event::append(db, now, &events);
    Tally {
        processed: expired.len() as i32,
        skipped: (reachable.len() - expired.len()) as i32,
        errors: 0,
        remaining,
    }
}

/// Waitpoints that need no further look: those handled, and those whose execution has been purged.
fn spent(db: &Db, page: &[Due], handled: &[Uuid]) -> Vec<Uuid> {
    let others: Vec<Uuid> = page
        .iter()
        .map(|d| d.id)
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
