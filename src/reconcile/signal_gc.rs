//! Forgets the keys of signals and suspends past their lifetime, and erases secrets of no use (§20.18).

use crate::error::Result;
use crate::model::time::DAY;
use crate::ops::clock;
use crate::pg::spi::Db;
use crate::store;

use super::{Scope, Tally};

/// Deletes keys, oldest first. They have no partition, namespace or tags, so those filters do not apply.
pub fn run(db: &Db, scope: &Scope) -> Result<Tally> {
    let now = clock::now();
    let mut processed = store::signal::forget_keys(db, now, scope.limit) as i64;
    processed += store::suspension::forget_keys(db, now, scope.limit - processed) as i64;
    let erased = store::secret::erase_if_free(db, now.minus(DAY)) as i64;
    Ok(Tally {
        processed: (processed + erased) as i32,
        remaining: scope.limit > 0 && processed >= scope.limit,
        ..Tally::default()
    })
}
