//! When and why the stream of an attempt is closed (§30.8).
//!
//! The transitions say so, in the attempt. Mostly the attempt's own words tell it as well, and then a row stores
//! nothing more.

use crate::model::execution::{Attempt, Execution};
use crate::model::time::Instant;
use crate::model::transition::Change;
use crate::model::words::{AttemptRecord, CloseReason, EndOp, Ownership};

/// The end of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// When.
    pub at: Instant,
    /// Why.
    pub reason: CloseReason,
}

/// What tells of the end of a stream without saying it.
#[derive(Clone, Copy, Debug)]
pub struct Signs {
    /// Who owns the execution.
    pub ownership: Ownership,
    /// State of the attempt.
    pub record: Option<AttemptRecord>,
    /// The operation that ended or paused it.
    pub end_op: Option<EndOp>,
    /// When it ended.
    pub ended_at: Option<Instant>,
    /// When its lease was marked as elapsed.
    pub expired_at: Option<Instant>,
    /// When its lease was revoked.
    pub revoked_at: Option<Instant>,
}

impl Signs {
    /// What they tell, if anything.
    pub fn told(&self) -> Option<Closed> {
        let (at, reason) = match (self.record?, self.ownership) {
            (AttemptRecord::EndedSuccess, _) => (self.ended_at, CloseReason::AttemptSuccess),
            (AttemptRecord::EndedFailure, _) if self.end_op == Some(EndOp::Fail) => {
                (self.ended_at, CloseReason::AttemptFailure)
            }
            (AttemptRecord::EndedCancelled, _) => (self.ended_at, CloseReason::AttemptCancelled),
            (AttemptRecord::InterruptedReclaimed, _) => (self.ended_at, CloseReason::Reclaimed),
            (AttemptRecord::Started, Ownership::Expired) => {
                (self.expired_at, CloseReason::LeaseExpired)
            }
            (AttemptRecord::Started, Ownership::Revoked) => {
                (self.revoked_at, CloseReason::LeaseRevoked)
            }
            _ => return None,
        };
        at.map(|at| Closed { at, reason })
    }
}

/// What the latest attempt and its lease tell.
pub fn told(e: &Execution) -> Option<Closed> {
    let attempt = e.attempt.as_ref()?;
    let signs = Signs {
        ownership: e.vector.ownership,
        record: Some(attempt.record),
        end_op: attempt.end.as_ref().map(|end| end.op),
        ended_at: attempt.ended_at,
        expired_at: e.lease.expired_at,
        revoked_at: e.lease.revoked_at,
    };
    signs.told()
}

/// The attempt whose stream a change closes, if it closes one that was open.
pub fn closes(change: &Change) -> Option<(i32, Closed)> {
    let before = change.before.as_deref()?;
    let (attempt, index) = (before.attempt.as_ref()?, before.attempt_index()?);
    if attempt.closed.is_some() {
        return None;
    }
    let archived = change.archive.as_ref().map(|s| &s.attempt);
    let now: &Attempt = archived.or(change.after.attempt.as_ref())?;
    now.closed.map(|closed| (index, closed))
}
