//! Inline promotion (§10.11 step 2): a claim makes due work of its lane ready, so that no background process is needed.

use crate::error::Result;
use crate::guc;
use crate::model::due::{self, Duty};
use crate::pg::spi::Db;
use crate::store;

use super::super::execution::duty;
use super::super::{clock, save};

/// Promotes elapsed delays, marks elapsed leases and drops lapsed grants of a lane; whether anything was changed, so that the call
/// must return and let its locks go.
///
/// Timers that stand for nothing any more are moved on the way, so that the next claim does not meet them again.
/// What is due for a reconciler's duty alone stays where it is.
///
/// # Errors
/// `corruption` for an unreadable policy.
pub fn due(db: &Db, lane: i32) -> Result<bool> {
    let limit = i64::from(guc::INLINE_PROMOTE_LIMIT.value.get());
    let mut after = duty::FIRST;
    let mut moved = false;
    loop {
        let timers = store::timer::due_in_lane(db, lane, clock::now(), after, limit);
        let Some(last) = timers.last() else {
            return Ok(moved);
        };
        after = (last.due_at, last.id);
        let ids: Vec<_> = timers.iter().map(|t| t.id).collect();
        let executions = store::execution::lock_free(db, &ids);
        let now = clock::now();
        let (idle, due): (Vec<_>, Vec<_>) = executions
            .into_iter()
            .partition(|e| due::duty(e, now).is_none());
        let wanted: Vec<_> = due
            .into_iter()
            .filter(|e| {
                [Duty::Delay, Duty::LeaseExpiry, Duty::Grant]
                    .iter()
                    .any(|d| due::is_due(e, *d, now))
            })
            .collect();
        let changes = duty::promote(db, wanted, now)?;
        save::apply(db, &changes, now);
        moved |= duty::rearm(
            db,
            &timers,
            idle.iter().chain(changes.iter().map(|c| &*c.after)),
        );
        if !changes.is_empty() {
            return Ok(true);
        }
    }
}
