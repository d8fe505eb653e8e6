//! Frees slots that nobody should hold, and restores what a quota policy should have (§50.10).

use uuid::Uuid;

use crate::error::Result;
use crate::guc;
use crate::model::time::MS;
use crate::ops::clock;
use crate::pg::spi::Db;
use crate::store::quota;

use super::rest::Row;
use super::{Scope, Tally, batch};

/// Policies looked at in one go.
const PAGE: i64 = 500;

/// Goes over all policies. They have no namespace and no tags, so those filters do not apply.
pub fn run(db: &Db, scope: &Scope) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut after = Uuid::nil();
    if scope.limit == 0 {
        return Ok(tally);
    }
    loop {
        let page = quota::page(db, after, PAGE);
        let Some(last) = page.last() else {
            return Ok(tally);
        };
        after = *last;
        let done = batch::handle(
            scope,
            &page,
            |id| Row::Quota(*id),
            |ids| {
                let mut tally = Tally::default();
                for id in ids {
                    tally.processed += repair(db, *id)?;
                }
                Ok(tally)
            },
        );
        tally.processed += done.processed;
        tally.errors += done.errors;
    }
}

/// Repairs one policy; how many corrections that took.
fn repair(db: &Db, id: Uuid) -> Result<i32> {
    let grace = i64::from(guc::ADMISSION_GRACE.value.get()) * MS;
    let orphans = quota::orphans(db, id, clock::now().minus(grace));
    let mut corrections = 0;
    for execution in orphans {
        corrections += i32::from(quota::free(db, id, execution));
    }
    if !quota::in_shape(db, id) {
        let (q, free, slots) = quota::lock(db, id)?;
        quota::reshape(db, &q, free, slots);
        corrections += 1;
    }
    Ok(corrections)
}
