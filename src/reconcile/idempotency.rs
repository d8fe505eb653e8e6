//! Forgets idempotency keys past their lifetime.

use crate::error::Result;
use crate::ops::clock;
use crate::pg::spi::Db;
use crate::store::idempotency;

use super::{Scope, Tally};

/// Deletes keys, oldest first. Keys have no partition and no tags, so those filters do not apply.
pub fn run(db: &Db, scope: &Scope) -> Result<Tally> {
    let now = clock::now();
    let namespace = scope.namespace.as_deref();
    let processed = idempotency::expire(db, now, scope.limit, namespace) as i32;
    Ok(Tally {
        processed,
        remaining: idempotency::any_due(db, now, namespace),
        ..Tally::default()
    })
}
