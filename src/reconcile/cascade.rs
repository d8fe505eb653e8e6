//! Resolves the edges of members that have ended, where their own transaction left it to do (§40.3.5).

use crate::error::Result;
use crate::ops::clock;
use crate::ops::flow::cascade;
use crate::pg::session;
use crate::pg::spi::Db;
use crate::store;
use crate::store::cascade::Only;

use super::{Scope, Tally, due};

/// One transaction's worth of edges.
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
    let concerns = |e: &_| due::concerns(e, scope, namespace);
    let worked = cascade::work(db, only, concerns, scope.limit)?;
    for (id, message) in &worked.failures {
        session::warn(&format!(
            "execution {id} could not be reconciled: {message}"
        ));
    }
    tally.processed = worked.processed;
    tally.skipped = worked.skipped;
    tally.errors = worked.failures.len() as i32;
    tally.remaining = store::cascade::any_due(db, only, clock::now());
    Ok(tally)
}
