//! Inline promotion (§10.11 step 2): a claim makes due work of its lane ready, so that no background process is needed.

use crate::error::Result;
use crate::guc;
use crate::model::due::{self, Duty};
use crate::pg::spi::Db;
use crate::store;

use super::super::execution::duty;
use super::super::{clock, save};

/// Pages of due timers one claim looks at; what belongs to other duties is left to the reconcilers.
const PAGES: usize = 4;

/// Promotes elapsed delays, marks elapsed leases and drops lapsed grants of a lane; whether anything was changed.
///
/// # Errors
/// `corruption` for an unreadable policy.
pub fn due(db: &Db, lane: i32) -> Result<bool> {
    let limit = i64::from(guc::INLINE_PROMOTE_LIMIT.value.get());
    let now = clock::now();
    let mut after = duty::FIRST;
    for _ in 0..PAGES {
        let timers = store::timer::due_in_lane(db, lane, now, after, limit);
        let Some(last) = timers.last() else {
            return Ok(false);
        };
        after = (last.due_at, last.id);
        let ids: Vec<_> = timers.iter().map(|t| t.id).collect();
        let executions = store::execution::lock_free(db, &ids);
        let now = clock::now();
        let wanted: Vec<_> = executions
            .into_iter()
            .filter(|e| {
                [Duty::Delay, Duty::LeaseExpiry, Duty::Grant]
                    .iter()
                    .any(|d| due::is_due(e, *d, now))
            })
            .collect();
        if !wanted.is_empty() {
            let changes = duty::perform(db, wanted, now, None)?;
            save::apply(db, &changes, now);
            return Ok(true);
        }
    }
    Ok(false)
}
