//! Cancels members that cancelled flows owe (§40.8.4), once their external canceller's head start is over.

use crate::error::Result;
use crate::ops::clock;
use crate::ops::flow::backlog;
use crate::pg::jsonb::Jsonb;
use crate::pg::spi::Db;
use crate::store;
use crate::store::cancel_backlog;

use super::rest::Row;
use super::{Scope, Tally, batch};

/// One pass over each flow past its grace, oldest first.
pub fn run(db: &Db, scope: &Scope) -> Result<Tally> {
    let mut tally = Tally::default();
    let Some(namespace) = super::due::namespace(db, scope) else {
        return Ok(tally);
    };
    let tags = (!scope.tags.is_empty()).then(|| Jsonb::from_json(&scope.tags.clone().into()));
    let only = namespace.map(|n| [n]);
    let only = only.as_ref().map(|n| n.as_slice());
    let due = |limit| {
        cancel_backlog::due(
            db,
            clock::now(),
            limit,
            scope.partitions,
            only,
            tags.as_ref(),
        )
    };
    for (id, gone) in due(scope.limit) {
        if i64::from(tally.processed) >= scope.limit {
            break;
        }
        if gone {
            cancel_backlog::forget(db, id);
            tally.processed += 1;
            continue;
        }
        let Some(flow) = store::flow::read(db, &[id]).pop() else {
            continue;
        };
        let done = batch::handle(
            scope,
            &[flow],
            |flow| Row::Flow(flow.id),
            |flows| {
                let mut done = Tally::default();
                for flow in flows {
                    let pass = backlog::pay(db, flow);
                    done.processed += pass.settled as i32;
                    done.skipped += pass.busy as i32;
                    done.errors += pass.failed as i32;
                }
                Ok(done)
            },
        );
        tally.processed += done.processed;
        tally.skipped += done.skipped;
        tally.errors += done.errors;
    }
    tally.remaining =
        cancel_backlog::any_due(db, clock::now(), scope.partitions, only, tags.as_ref());
    Ok(tally)
}
