//! The fence (§10.13): does the caller still hold the lease it names?

use serde_json::json;
use uuid::Uuid;

use crate::error::{Error, Kind, Result};

use super::execution::{End, Execution};
use super::handle::Handle;
use super::time::Instant;
use super::words::*;

/// What a caller presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// Lease.
    pub lease_id: Uuid,
    /// Its epoch.
    pub lease_epoch: i64,
    /// Attempt.
    pub attempt_id: Uuid,
    /// Number of the attempt, where the caller has it.
    pub attempt_index: Option<i32>,
}

impl From<&Handle> for Fence {
    fn from(h: &Handle) -> Fence {
        Fence {
            lease_id: h.lease_id,
            lease_epoch: h.lease_epoch,
            attempt_id: h.attempt_id,
            attempt_index: Some(h.attempt_index),
        }
    }
}

/// The recorded result, if this lease has already done this operation (step 4).
pub fn replayed<'a>(e: &'a Execution, fence: &Fence, op: EndOp) -> Option<&'a End> {
    e.attempt
        .as_ref()?
        .end
        .as_ref()
        .filter(|end| matches(end, fence, op))
}

/// Whether a replay record is of this lease and operation.
pub fn matches(end: &End, fence: &Fence, op: EndOp) -> bool {
    end.op == op && end.lease_id == fence.lease_id && end.lease_epoch == fence.lease_epoch
}

/// Steps 5 to 8.
///
/// # Errors
/// `execution_not_active`, `stale_lease`, `lease_revoked`, `lease_expired`.
pub fn check(e: &Execution, fence: &Fence, now: Instant) -> Result<()> {
    if e.vector.lifecycle != Lifecycle::Active {
        return Err(not_active(e));
    }
    let attempt = e.attempt.as_ref().map(|a| a.id);
    let same_index = fence.attempt_index.is_none() || fence.attempt_index == e.attempt_index();
    let current = e.lease.id == Some(fence.lease_id)
        && e.lease.epoch == fence.lease_epoch
        && attempt == Some(fence.attempt_id)
        && same_index;
    if !current {
        return Err(Error::new(Kind::StaleLease)
            .with("execution_id", e.place.id.to_string())
            .with("lease_epoch", e.lease.epoch)
            .with("presented_epoch", fence.lease_epoch));
    }
    let lost = |kind| {
        let at = if kind == Kind::LeaseRevoked {
            e.lease.revoked_at
        } else {
            e.lease.expires_at
        };
        Error::new(kind)
            .with("execution_id", e.place.id.to_string())
            .with("lease_epoch", e.lease.epoch)
            .with("at", at.map(|at| at.iso()))
    };
    match e.vector.ownership {
        Ownership::Revoked => Err(lost(Kind::LeaseRevoked)),
        _ if !e.lease_live(now) => Err(lost(Kind::LeaseExpired)),
        _ => Ok(()),
    }
}

/// `execution_not_active` with the state the caller needs to tell a lost race from its own earlier call.
pub fn not_active(e: &Execution) -> Error {
    Error::new(Kind::ExecutionNotActive)
        .with("execution_id", e.place.id.to_string())
        .with("lifecycle_phase", e.vector.lifecycle.word())
        .with("terminal_outcome", e.vector.outcome.word())
        .with("public_state", e.vector.public_state().word())
        .with("lease_epoch", e.lease.epoch)
        .with("attempt_index", json!(e.attempt_index()))
        .with(
            "attempt_id",
            json!(e.attempt.as_ref().map(|a| a.id.to_string())),
        )
}

/// `execution_not_found`.
pub fn not_found(id: Uuid) -> Error {
    Error::new(Kind::ExecutionNotFound).with("execution_id", id.to_string())
}
