//! Cancels the upstreams that fired groups need no more (§40.7), and repairs requests that have stood too long.

use crate::error::Result;
use crate::guc;
use crate::model::time::{Instant, SECOND};
use crate::ops::clock;
use crate::ops::flow::siblings;
use crate::pg::jsonb::Jsonb;
use crate::pg::spi::Db;
use crate::store::sibling_cancel;

use super::rest::Row;
use super::{Scope, Tally, batch};

/// A request older than this may be one that nobody will serve.
const OLD: i64 = 10 * SECOND;

/// Serves requests, oldest first.
pub fn run(db: &Db, scope: &Scope) -> Result<Tally> {
    each(db, scope, clock::now(), |flow, child| {
        let limit = i64::from(guc::SIBLING_CANCEL_BATCH.value.get());
        let pass = siblings::work(db, flow, child, limit);
        pass.drained || pass.handled.iter().any(|(_, word)| *word == "cancelled")
    })
}

/// Repairs old requests; those whose siblings still run are left to [`run`].
pub fn repair(db: &Db, scope: &Scope) -> Result<Tally> {
    let mut tally = each(db, scope, clock::now().minus(OLD), |flow, child| {
        siblings::repair(db, flow, child).0 != "no_op"
    })?;
    // What it leaves is not its own.
    tally.remaining &= tally.processed > 0;
    Ok(tally)
}

fn each(
    db: &Db,
    scope: &Scope,
    queued_until: Instant,
    work: impl Fn(uuid::Uuid, uuid::Uuid) -> bool,
) -> Result<Tally> {
    let mut tally = Tally::default();
    let Some(namespace) = super::due::namespace(db, scope) else {
        return Ok(tally);
    };
    let tags = (!scope.tags.is_empty()).then(|| Jsonb::from_json(&scope.tags.clone().into()));
    let only = namespace.map(|n| [n]);
    let only = only.as_ref().map(|n| n.as_slice());
    let due = |limit| {
        sibling_cancel::due(
            db,
            queued_until,
            limit,
            scope.partitions,
            only,
            tags.as_ref(),
        )
    };
    let taken = due(scope.limit);
    if taken.is_empty() {
        return Ok(tally);
    }
    tally = batch::handle(
        scope,
        &taken,
        |(_, child)| Row::Execution(*child),
        |requests| {
            let mut done = Tally::default();
            for (flow, child) in requests {
                match work(*flow, *child) {
                    true => done.processed += 1,
                    false => done.skipped += 1,
                }
            }
            Ok(done)
        },
    );
    tally.remaining = !due(1).is_empty();
    Ok(tally)
}
