//! Deletes ended flows that have lost their last member, with all that belongs to them (§40.13).

use crate::error::Result;
use crate::guc;
use crate::model::time::{Instant, SECOND};
use crate::ops::clock;
use crate::pg::spi::Db;
use crate::store;
use crate::store::flow_summary::Only;

use super::{Scope, Tally, due};

/// Those that never had a member are kept as long as an execution is by default.
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
    let kept = i64::from(guc::DEFAULT_RETENTION.value.get());
    let since = match kept < 0 {
        true => Instant(i64::MIN),
        false => clock::now().plus(-kept * SECOND),
    };
    let mut flows = store::flow_summary::empty(db, &only, since, scope.limit + 1);
    tally.remaining = flows.len() as i64 > scope.limit;
    flows.truncate(scope.limit as usize);
    store::flow_summary::delete(db, &flows);
    tally.processed = flows.len() as i32;
    Ok(tally)
}
