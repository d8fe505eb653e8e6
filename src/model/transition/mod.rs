//! The transitions of §10.4 as functions from an execution to what becomes of it.
//!
//! Each takes the execution as it was locked, the facts of the call and `now`, and returns a [`Change`].
//! Preconditions (fence, eligibility) are the caller's, decided by `fence` and `check`; a transition only
//! writes what its row of the table says. Saving a change keeps ready queue and timers in step.

mod claim;
mod depend;
mod finish;
mod grant;
mod intervene;
mod pause;
mod suspend;
mod wake;

pub use claim::{ClaimTerms, claim};
pub use depend::{gated, hold_back, holdable, pass_gate, skip, waits};
pub use finish::{Failure, cancel, complete, deadline, exhaust_reclaims, fail, time_out};
pub use grant::{grant, mismatch, mismatch_and_block, ungrant};
pub use intervene::{Rebirth, block, change_priority, deny, offer, replay, revoke, unblock};
pub use pause::{Children, delay, park, wait_children};
pub use suspend::{
    Closer, Ending, Opening, TimeoutSignal, Waits, operator_resume, resume, suspend,
    time_out_suspension,
};
pub use wake::{expire_lease, promote};

use uuid::Uuid;

use super::event::{Code, Event};
use super::execution::{Attempt, End, Execution, Lease};
use super::stream::closing::Closed;
use super::time::{Instant, MS};
use super::words::*;

/// What becomes of an execution.
#[derive(Clone, Debug)]
pub struct Change {
    /// As it was; none for a new one.
    pub before: Option<Box<Execution>>,
    /// As it will be.
    pub after: Box<Execution>,
    /// What is announced, in order.
    pub events: Vec<Event>,
    /// The attempt that a new one supersedes moves to the archive.
    pub archive: Option<Box<Superseded>>,
    /// Large values that travel beside the row.
    pub blob: Blob,
    /// What becomes of the open suspension's rows.
    pub waits: Waits,
}

/// What a budget or a quota says of an execution that it does not admit (§50.9).
#[derive(Clone, Debug, PartialEq)]
pub struct Denied {
    /// Which budget or quota.
    pub policy: Uuid,
    /// Why.
    pub detail: String,
    /// Not to be looked at earlier.
    pub recheck_at: Option<Instant>,
}

impl Denied {
    fn note(self, e: &mut Execution) {
        e.blocked_by_policy = Some(self.policy);
        e.blocking_detail = Some(self.detail);
        e.recheck_at = self.recheck_at;
    }
}

/// A superseded attempt as the archive keeps it.
#[derive(Clone, Debug)]
pub struct Superseded {
    /// Its number.
    pub index: i32,
    /// Its latest lease.
    pub lease: Lease,
    /// Its record.
    pub attempt: Attempt,
}

/// Large values that are written but never read by an operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Blob {
    /// Leave them.
    Keep,
    /// Store a result (or none), or clear it.
    Result(Option<Vec<u8>>, Option<String>),
    /// Store the failure detail of the attempt.
    Detail(Option<Vec<u8>>),
}

impl Change {
    /// Starts from an execution as it is.
    pub(super) fn of(before: Execution, now: Instant) -> Change {
        let mut after = Box::new(before.clone());
        after.last_mutation_at = now;
        Change {
            before: Some(Box::new(before)),
            after,
            events: Vec::new(),
            archive: None,
            blob: Blob::Keep,
            waits: Waits::Keep,
        }
    }

    /// A change that leaves the vector alone.
    pub fn touch(before: Execution, now: Instant, edit: impl FnOnce(&mut Execution)) -> Change {
        let mut change = Change::of(before, now);
        edit(&mut change.after);
        change
    }

    /// Notes quotas whose slots the execution has taken with this change.
    pub fn holding(mut self, slots: impl IntoIterator<Item = Uuid>) -> Change {
        for slot in slots {
            if !self.after.slots.contains(&slot) {
                self.after.slots.push(slot);
            }
        }
        self
    }

    /// Two changes of one execution, one after the other, as one.
    pub fn then(self, next: impl FnOnce(Execution) -> Change) -> Change {
        let next = next(*self.after);
        let mut events = self.events;
        events.extend(next.events);
        Change {
            before: self.before,
            after: next.after,
            events,
            archive: self.archive.or(next.archive),
            blob: match next.blob {
                Blob::Keep => self.blob,
                other => other,
            },
            waits: match next.waits {
                Waits::Keep => self.waits,
                other => other,
            },
        }
    }

    /// Adds an event.
    pub fn announce(mut self, event: Event) -> Change {
        self.events.push(event);
        self
    }

    /// Sets the vector and its stamp (G7).
    pub(super) fn enter(&mut self, vector: Vector, now: Instant) {
        self.after.vector = vector;
        self.after.offered = None;
        self.after.last_transition_at = now;
    }
}

/// Ends the lease in order or not: whoever held it holds it no longer. Epoch and last holder stay readable.
pub(super) fn release(e: &mut Execution) {
    e.lease.expires_at = None;
    e.lease.acquired_at = None;
    e.lease.last_renewed_at = None;
    e.lease.expired_at = None;
    e.lease.revoked_at = None;
    e.lease.revoke_reason = None;
    e.attempt_deadline = None;
    e.grant = None;
    e.slots.clear();
}

/// Ends a reservation. What is not active holds slots for its reservation only.
pub(super) fn drop_grant(e: &mut Execution) {
    e.grant = None;
    if e.vector.lifecycle != Lifecycle::Active {
        e.slots.clear();
    }
}

/// Ends the attempt's record unless it has ended before.
pub(super) fn end_attempt(
    e: &mut Execution,
    record: AttemptRecord,
    now: Instant,
    failure: Option<&str>,
) {
    e.pending_waitpoints = 0;
    if let Some(a) = e.attempt.as_mut().filter(|a| open(a)) {
        let reason = match record {
            AttemptRecord::EndedSuccess => CloseReason::AttemptSuccess,
            AttemptRecord::InterruptedReclaimed => {
                // The only end that takes the place of an earlier one.
                a.closed = None;
                CloseReason::Reclaimed
            }
            AttemptRecord::EndedCancelled if failure == Some("dependency_impossible") => {
                CloseReason::DependencyImpossible
            }
            AttemptRecord::EndedCancelled => CloseReason::AttemptCancelled,
            _ => CloseReason::AttemptFailure,
        };
        a.closed = a.closed.or(Some(Closed { at: now, reason }));
        a.record = record;
        a.ended_at = Some(now);
        a.suspended_at = None;
        a.pause_kind = None;
        a.time_remaining_ms = None;
        if let Some(reason) = failure {
            a.failure_reason = Some(reason.to_owned());
        }
    }
}

/// Closes the output stream of the attempt unless it has been closed before (§30.8). What ends an attempt closes its
/// stream with the reason of every day; this is for the others, and comes first.
pub(super) fn close_stream(e: &mut Execution, reason: CloseReason, now: Instant) {
    if let Some(a) = e.attempt.as_mut() {
        a.closed = a.closed.or(Some(Closed { at: now, reason }));
    }
}

/// Pauses the attempt, keeping what is left of its time.
pub(super) fn pause_attempt(e: &mut Execution, kind: &str, now: Instant) {
    let remaining = e.attempt_deadline.map(|at| (at.since(now) / MS).max(0));
    if let Some(a) = e.attempt.as_mut() {
        a.record = AttemptRecord::Suspended;
        a.suspended_at = Some(now);
        a.pause_kind = Some(kind.to_owned());
        a.time_remaining_ms = remaining;
    }
}

/// Remembers for G6 which lease ended or paused the attempt, and what it was told.
pub(super) fn remember(e: &mut Execution, op: EndOp, values: Option<serde_json::Value>) {
    let (lease, epoch) = (e.lease.id, e.lease.epoch);
    if let (Some(a), Some(lease_id)) = (e.attempt.as_mut(), lease) {
        a.end = Some(End {
            op,
            lease_id,
            lease_epoch: epoch,
            values,
        });
    }
}

/// Makes the execution terminal and sets the instant of its purge.
pub(super) fn finish(change: &mut Change, outcome: TerminalOutcome, now: Instant) {
    let e = &mut change.after;
    let attempt = if e.total_attempts > 0 {
        AttemptState::Terminal
    } else {
        e.vector.attempt
    };
    let vector = Vector {
        lifecycle: Lifecycle::Terminal,
        ownership: Ownership::Unowned,
        eligibility: Eligibility::NotApplicable,
        blocking: Blocking::None,
        outcome,
        attempt,
    };
    e.completed_at = Some(now);
    e.purge_at = match e.place.retention_ms {
        Some(ms) if ms >= 0 => Some(now.plus(ms.saturating_mul(MS))),
        _ => None,
    };
    e.delay_until = None;
    suspend::leave(e);
    e.recheck_at = None;
    e.blocked_by_policy = None;
    release(e);
    change.enter(vector, now);
}

/// The completion event of an execution that has just ended; `released` if its lease ended with it.
pub(super) fn completion(before: &Execution, after: &Execution, released: Option<&str>) -> Event {
    let code = match after.vector.outcome {
        TerminalOutcome::Success => Code::CompletionSuccess,
        TerminalOutcome::Cancelled => Code::CompletionCancelled,
        TerminalOutcome::Expired => Code::CompletionExpired,
        TerminalOutcome::Skipped => Code::CompletionSkipped,
        TerminalOutcome::Failed | TerminalOutcome::None => Code::CompletionFailed,
    };
    let mut details = serde_json::Map::new();
    let mut put = |key: &str, value: Option<serde_json::Value>| {
        if let Some(value) = value {
            details.insert(key.to_owned(), value);
        }
    };
    if after.vector.outcome != TerminalOutcome::Success {
        put(
            "failure_reason",
            after.failure_reason.clone().map(Into::into),
        );
        put(
            "failure_category",
            after.failure_category.clone().map(Into::into),
        );
        put(
            "cancellation_reason",
            after.cancellation_reason.clone().map(Into::into),
        );
        put("source", after.cancelled_by.clone().map(Into::into));
    }
    put(
        "replay_count",
        (after.replays > 0).then(|| after.replays.into()),
    );
    let details = (!details.is_empty()).then_some(serde_json::Value::Object(details));
    let mut event = match released {
        Some(reason) => Event::lease(before, code, Some(reason)),
        None => Event::plain(code, None),
    };
    event.released = released.is_some();
    event.details = details;
    event
}

/// A runnable vector.
pub(super) fn runnable(
    eligibility: Eligibility,
    blocking: Blocking,
    attempt: AttemptState,
) -> Vector {
    Vector {
        lifecycle: Lifecycle::Runnable,
        ownership: Ownership::Unowned,
        eligibility,
        blocking,
        outcome: TerminalOutcome::None,
        attempt,
    }
}

/// The attempt's record is not final.
fn open(a: &Attempt) -> bool {
    matches!(a.record, AttemptRecord::Started | AttemptRecord::Suspended)
}

#[cfg(test)]
pub(in crate::model) mod properties;
