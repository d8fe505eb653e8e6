//! What a claim tells the worker: everything it needs to start, in one row.

use uuid::Uuid;

use crate::error::Result;
use crate::guc;
use crate::model::execution::{Carried, Execution};
use crate::model::handle::{Handle, HandleKind};
use crate::model::policy::Policy;
use crate::model::time::{Instant, MS};
use crate::model::transition::Change;
use crate::model::words::AttemptType;
use crate::pg::jsonb::Jsonb;

/// One handed-out execution.
pub struct Claimed {
    /// State after the claim.
    pub execution: Box<Execution>,
    /// Handle of the new lease.
    pub handle: String,
    /// Its kind.
    pub kind: HandleKind,
    /// Names and input.
    pub input: Input,
    /// The attempt before this one, and how it failed.
    pub previous_failure: Option<String>,
}

/// What the caller of create handed in.
pub struct Input {
    /// Namespace name.
    pub namespace: String,
    /// Lane name.
    pub lane: String,
    /// Kind of work.
    pub kind: String,
    /// Payload.
    pub payload: Option<Vec<u8>>,
    /// Its label.
    pub encoding: Option<String>,
    /// Stored policy.
    pub policy: Option<Jsonb>,
}

/// A stored policy, defaults where nothing is stored.
pub fn policy(stored: Option<&Jsonb>) -> Result<Policy> {
    stored.map_or_else(
        || Ok(Policy::default()),
        |stored| Policy::from_stored(&stored.text()),
    )
}

impl Claimed {
    /// The row of an execution that is leased.
    pub fn new(
        execution: Box<Execution>,
        kind: HandleKind,
        input: Input,
        previous_failure: Option<String>,
        installation: [u8; 4],
    ) -> Claimed {
        let handle = Handle {
            kind,
            installation,
            execution_id: execution.place.id,
            attempt_index: execution.total_attempts - 1,
            attempt_id: execution.attempt.as_ref().map_or(Uuid::nil(), |a| a.id),
            lease_id: execution.lease.id.unwrap_or_default(),
            lease_epoch: execution.lease.epoch,
        };
        Claimed {
            handle: handle.encode(),
            execution,
            kind,
            input,
            previous_failure,
        }
    }

    /// The row of a claim that has just been made.
    pub fn by(change: Change, kind: HandleKind, input: Input, installation: [u8; 4]) -> Claimed {
        let failure = change.archive.and_then(|s| s.attempt.failure_reason);
        Claimed::new(change.after, kind, input, failure, installation)
    }

    /// Two thirds into the lease: when a worker had better renew.
    pub fn renew_before(&self) -> Option<Instant> {
        let lease = &self.execution.lease;
        renew_before(lease.expires_at?, lease.ttl_ms?).into()
    }

    /// Tags as jsonb.
    pub fn tags(&self) -> Option<Carried> {
        self.execution.tags.clone()
    }
}

/// The advisory instant for a renewal.
pub fn renew_before(expires_at: Instant, ttl_ms: i32) -> Instant {
    expires_at.minus(i64::from(ttl_ms) * MS / 3)
}

/// The kind of the handle that the present lease was given with.
pub fn handle_kind(e: &Execution) -> HandleKind {
    match &e.attempt {
        Some(a) if e.lease.acquired_at != Some(a.started_at) => HandleKind::Resumed,
        Some(a) if a.kind == AttemptType::Reclaim => HandleKind::Reclaimed,
        _ => HandleKind::Fresh,
    }
}

/// The reclaims an execution is allowed.
pub fn reclaim_limit(policy: &Policy, argument: Option<i64>) -> i64 {
    policy.reclaim_limit(
        argument.unwrap_or_else(|| i64::from(guc::DEFAULT_MAX_RECLAIM_COUNT.value.get())),
    )
}
