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

/// Lease, epoch and attempt as a service presents them: all or none.
pub type Triple = (Option<Uuid>, Option<i64>, Option<Uuid>);

/// The fence of a triple, none if none of it is given.
///
/// # Errors
/// `partial_fence_triple`.
pub fn whole(triple: Triple, attempt_index: Option<i32>) -> Result<Option<Fence>> {
    match triple {
        (Some(lease_id), Some(lease_epoch), Some(attempt_id)) => Ok(Some(Fence {
            lease_id,
            lease_epoch,
            attempt_id,
            attempt_index,
        })),
        (None, None, None) => Ok(None),
        _ => Err(Error::new(Kind::PartialFenceTriple)),
    }
}

/// `fence_required`.
pub fn missing() -> Error {
    Error::new(Kind::FenceRequired)
}

/// The source that acts on whatever lease is the latest.
pub const OVERRIDE: &str = "operator_override";

/// A change source of §10.3, or a custom word of its shape.
///
/// # Errors
/// `invalid_input`, rule `unknown_word`.
pub fn check_source(word: &str) -> Result<()> {
    let mut bytes = word.bytes();
    let shaped = word.len() <= 64
        && bytes.next().is_some_and(|c| c.is_ascii_lowercase())
        && bytes.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_');
    if shaped {
        Ok(())
    } else {
        Err(Error::invalid_input("source", "unknown_word"))
    }
}

/// Who acts on an execution, and by what right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The execution.
    pub id: Uuid,
    /// The lease it names; none if it overrides.
    fence: Option<Fence>,
    /// Number of the attempt, where one who overrides gives it.
    attempt_index: Option<i32>,
}

impl From<&Handle> for Caller {
    fn from(h: &Handle) -> Caller {
        Caller::holder(h.execution_id, h.into())
    }
}

impl Caller {
    /// One who presents a fence.
    pub fn holder(id: Uuid, fence: Fence) -> Caller {
        Caller {
            id,
            fence: Some(fence),
            attempt_index: None,
        }
    }

    /// A service (§10.15): with a whole triple, or with a source that overrides.
    ///
    /// # Errors
    /// `partial_fence_triple`, `fence_required`, `invalid_input`.
    pub fn service(
        id: Uuid,
        triple: Triple,
        attempt_index: Option<i32>,
        source: Option<&str>,
    ) -> Result<Caller> {
        source.map(check_source).transpose()?;
        match whole(triple, attempt_index)? {
            None if source != Some(OVERRIDE) => Err(missing()),
            fence => Ok(Caller {
                id,
                fence,
                attempt_index,
            }),
        }
    }

    /// The fence to check the locked execution against: one who overrides stands in for the latest lease, so that
    /// a lease that is lost or over still refuses.
    pub fn fence(&self, e: &Execution) -> Fence {
        self.fence.unwrap_or_else(|| Fence {
            lease_id: e.lease.id.unwrap_or_default(),
            lease_epoch: e.lease.epoch,
            attempt_id: e.attempt.as_ref().map(|a| a.id).unwrap_or_default(),
            attempt_index: self.attempt_index,
        })
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_u128(1);
    const WHOLE: Triple = (Some(Uuid::from_u128(2)), Some(3), Some(Uuid::from_u128(4)));

    fn kind<T>(result: Result<T>) -> Option<Kind> {
        result.err().map(|e| e.kind())
    }

    #[test]
    fn a_service_names_its_lease_wholly_or_says_that_it_overrides() {
        let service = |triple, source| Caller::service(ID, triple, None, source);
        let none = (None, None, None);
        assert_eq!(kind(service(none, None)), Some(Kind::FenceRequired));
        assert_eq!(
            kind(service(none, Some("lease_holder"))),
            Some(Kind::FenceRequired)
        );
        assert_eq!(kind(service(none, Some(OVERRIDE))), None);
        let parts = [true, false];
        for (lease, epoch) in parts.into_iter().flat_map(|l| parts.map(|e| (l, e))) {
            let triple = (
                WHOLE.0.filter(|_| lease),
                WHOLE.1.filter(|_| epoch),
                WHOLE.2.filter(|_| !(lease && epoch)),
            );
            let expected = (lease || epoch || triple.2.is_some()) && triple != WHOLE;
            let found = kind(service(triple, Some(OVERRIDE)));
            assert_eq!(
                found == Some(Kind::PartialFenceTriple),
                expected,
                "{triple:?}"
            );
        }
        for source in [None, Some("lease_holder"), Some(OVERRIDE)] {
            let caller = service(WHOLE, source).unwrap();
            assert_eq!(caller.fence.map(|f| f.lease_epoch), Some(3));
        }
    }

    #[test]
    fn a_source_is_a_lower_case_word() {
        for word in ["operator_override", "budget", "a", "x9_y"] {
            assert_eq!(kind(check_source(word)), None, "{word}");
        }
        for word in ["", "A", "9a", "_a", "a-b", "a b", "ä", &"x".repeat(65)] {
            assert_eq!(kind(check_source(word)), Some(Kind::InvalidInput), "{word}");
        }
    }
}
