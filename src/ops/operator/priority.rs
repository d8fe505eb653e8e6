//! Changes the priority of an execution that has not ended (§10.18.2).

use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::model::due::MAX_PRIORITY;
use crate::model::fence;
use crate::model::transition;
use crate::pg::spi::Db;
use crate::store;

use super::super::{clock, save};

/// Sets the priority, clamped into 0–9000; returns the old and the new one.
///
/// # Errors
/// `execution_not_found`; `execution_not_eligible` once it has ended.
pub fn change(db: &Db, id: Uuid, priority: i32) -> Result<(i16, i16)> {
    let e = store::execution::lock(db, id).ok_or_else(|| fence::not_found(id))?;
    if e.is_terminal() {
        return Err(Error::new(Kind::ExecutionNotEligible)
            .with("execution_id", id.to_string())
            .with("lifecycle_phase", e.vector.lifecycle.word()));
    }
    let (old, new) = (
        e.priority,
        priority.clamp(0, i32::from(MAX_PRIORITY)) as i16,
    );
    if old != new {
        let now = clock::now();
        save::apply(db, &[transition::change_priority(e, new, now)], now);
    }
    Ok((old, new))
}
