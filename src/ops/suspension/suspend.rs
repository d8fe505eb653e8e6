//! Suspends an execution until a condition holds (§20.6): checks the request and the fence, then leaves it to a draft.

use serde_json::Value;
use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::guc;
use crate::model::condition::Condition;
use crate::model::fence::{self, Fence};
use crate::model::handle::{Handle, HandleKind};
use crate::model::policy::TimeoutBehavior;
use crate::model::suspension::{self, Binding, MAX_CONTINUATION_BYTES, ResumePolicy, Timeout};
use crate::model::text::MAX_IDENTIFIER_BYTES;
use crate::model::time::Instant;
use crate::model::words::{Blocking, Lifecycle, WaitpointState};
use crate::pg::spi::Db;
use crate::store;

use super::super::clock;
use super::draft::Draft;
use super::repeat;

/// What a caller asks for.
pub struct Request<'a> {
    /// Condition document.
    pub condition: Value,
    /// Bindings document.
    pub waitpoints: Option<Value>,
    /// Why.
    pub reason: &'a str,
    /// Timeout from now, microseconds.
    pub timeout: Option<i64>,
    /// Or at an instant.
    pub timeout_at: Option<Instant>,
    /// What it does.
    pub behavior: Option<&'a str>,
    /// Resume policy document.
    pub policy: Value,
    /// Text for the worker that goes on.
    pub continuation: Option<&'a str>,
    /// Who asks.
    pub requested_by: &'a str,
    /// Key of the call.
    pub key: Option<&'a str>,
    /// Chosen id.
    pub id: Option<Uuid>,
}

/// The lease that is presented.
pub struct Presented {
    /// Execution.
    pub execution: Uuid,
    /// Fence.
    pub fence: Fence,
    /// Kind of the handle, if there is one.
    pub kind: Option<HandleKind>,
}

impl From<&Handle> for Presented {
    fn from(handle: &Handle) -> Presented {
        Presented {
            execution: handle.execution_id,
            fence: handle.into(),
            kind: Some(handle.kind),
        }
    }
}

/// One binding as the caller gets it.
pub struct Bound {
    /// Waitpoint.
    pub id: Uuid,
    /// Its key.
    pub key: String,
    /// Its token, unless the key has lapsed.
    pub token: Option<String>,
    /// Its state.
    pub state: WaitpointState,
    /// Its expiry.
    pub expires_at: Option<Instant>,
}

/// What became of a suspend.
pub struct Suspended {
    /// `suspended` or `already_satisfied`.
    pub outcome: &'static str,
    /// Its id.
    pub id: Uuid,
    /// The handle that replaces the caller's.
    pub handle: Option<String>,
    /// Its bindings.
    pub bindings: Vec<Bound>,
    /// A repeated call.
    pub replayed: bool,
}

/// A request whose arguments have been checked, as far as they can be before anything is read.
pub struct Checked<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) condition: Condition,
    pub(super) bindings: Option<Vec<Binding>>,
    pub(super) blocking: Blocking,
    pub(super) timeout: Option<Timeout>,
    pub(super) behavior: Option<TimeoutBehavior>,
    pub(super) policy: ResumePolicy,
}

/// Checks arguments and condition.
///
/// # Errors
/// `invalid_input`, `invalid_policy`, `invalid_waitpoint_key`, `invalid_resume_condition`.
pub fn check<'a>(request: &'a Request<'a>) -> Result<Checked<'a>> {
    let too_long =
        |argument, max: usize| Error::invalid_input(argument, "too_long").with("max_bytes", max);
    if request
        .continuation
        .is_some_and(|c| c.len() > MAX_CONTINUATION_BYTES)
    {
        return Err(too_long("continuation", MAX_CONTINUATION_BYTES));
    }
    if request.key.is_some_and(|k| k.len() > MAX_IDENTIFIER_BYTES) {
        return Err(too_long("idempotency_key", MAX_IDENTIFIER_BYTES));
    }
    suspension::requester(request.requested_by)?;
    let behavior = request.behavior.map(|word| {
        TimeoutBehavior::from_word(word)
            .ok_or_else(|| Error::invalid_input("timeout_behavior", "unknown_word"))
    });
    let mut condition = Condition::parse(&request.condition)?;
    let most = guc::MAX_WAITPOINTS_PER_SUSPENSION.value.get() as usize;
    let bindings = match &request.waitpoints {
        Some(document) => Some(suspension::bindings(document, most)?),
        None => derived(&condition, most)?,
    };
    match bindings.as_deref().map(keys) {
        Some(Some(keys)) => condition.resolve(&keys, true)?,
        // The only waitpoint, whose key follows from its id.
        None => condition.clone().resolve(&[String::new()], false)?,
        Some(None) => {}
    }
    Ok(Checked {
        blocking: suspension::blocking(request.reason)?,
        timeout: Timeout::of(request.timeout, request.timeout_at, clock::now())?,
        behavior: behavior.transpose()?,
        policy: ResumePolicy::parse(&request.policy)?,
        request,
        condition,
        bindings,
    })
}

/// One fresh binding per key of a condition; none if it names none.
fn derived(condition: &Condition, most: usize) -> Result<Option<Vec<Binding>>> {
    let keys = condition.keys();
    if keys.is_empty() {
        return Ok(None);
    }
    if keys.len() > most {
        return Err(Error::invalid_input("waitpoints", "too_many").with("max", most));
    }
    let fresh = |key: &str| {
        suspension::waitpoint_key(key)?;
        Ok(Binding::Fresh {
            key: key.to_owned(),
            id: None,
        })
    };
    keys.into_iter().map(fresh).collect::<Result<_>>().map(Some)
}

/// The keys of bindings, if all are fresh.
fn keys(bindings: &[Binding]) -> Option<Vec<String>> {
    let key = |b: &Binding| match b {
        Binding::Fresh { key, .. } => Some(key.clone()),
        Binding::Used(_) => None,
    };
    bindings.iter().map(key).collect()
}

/// Suspends.
///
/// # Errors
/// Those of the fence, `already_suspended`, `invalid_lease_for_suspend`, those of waitpoints and tokens.
pub fn suspend(db: &Db, presented: &Presented, checked: Checked) -> Result<Suspended> {
    let already = |id: Option<Uuid>| {
        Error::new(Kind::AlreadySuspended)
            .with("execution_id", presented.execution.to_string())
            .with("suspension_id", id.map(|id| id.to_string()))
    };
    let id = presented.execution;
    let e = store::execution::lock(db, id).ok_or_else(|| fence::not_found(id))?;
    if presented.kind == Some(HandleKind::Suspended) {
        return Err(already(e.suspension));
    }
    let now = clock::now();
    if let Some(answer) = repeat::answer(db, &e, presented, checked.request.key, now) {
        return Ok(answer);
    }
    let fence = &presented.fence;
    let same_lease = e.lease.id == Some(fence.lease_id) && e.lease.epoch == fence.lease_epoch;
    if e.vector.lifecycle == Lifecycle::Suspended && same_lease {
        return Err(already(e.suspension));
    }
    if e.vector.lifecycle == Lifecycle::Active && same_lease {
        let attempt = e.attempt.as_ref().map(|a| a.id);
        let index = fence.attempt_index;
        if attempt != Some(fence.attempt_id) || index.is_some() && index != e.attempt_index() {
            return Err(Error::new(Kind::InvalidLeaseForSuspend)
                .with("execution_id", id.to_string())
                .with("attempt_index", e.attempt_index()));
        }
    }
    fence::check(&e, fence, now)?;
    Draft::new(db, e, checked, now)?.open(db)
}
