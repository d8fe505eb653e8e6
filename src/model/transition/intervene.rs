//! Interventions from outside: revoke T9, block T24, unblock T25, priority, replay T26.

use uuid::Uuid;

use crate::model::event::{Code, Event};
use crate::model::execution::{Execution, Progress};
use crate::model::time::Instant;
use crate::model::words::*;

use super::{Blob, Change, Denied, close_stream, drop_grant, runnable};

/// T9: takes the lease away; the execution stays active until someone reclaims or cancels it.
pub fn revoke(before: Execution, reason: &str, now: Instant) -> Change {
    let event = Event::lease(&before, Code::LeaseRevoked, Some(reason));
    let mut change = Change::of(before, now);
    let e = &mut change.after;
    e.lease.revoked_at = Some(now);
    e.lease.revoke_reason = Some(reason.to_owned());
    close_stream(e, CloseReason::LeaseRevoked, now);
    e.attempt_deadline = None;
    e.blocking_detail = Some(format!("lease revoked: {reason}"));
    let vector = Vector {
        ownership: Ownership::Revoked,
        blocking: Blocking::Worker,
        attempt: AttemptState::Interrupted,
        ..e.vector
    };
    change.enter(vector, now);
    change.announce(event)
}

/// T24.
pub fn block(
    before: Execution,
    (eligibility, blocking): (Eligibility, Blocking),
    detail: Option<String>,
    recheck_at: Option<Instant>,
    now: Instant,
) -> Change {
    let mut change = Change::of(before, now);
    let e = &mut change.after;
    e.blocking_detail = detail;
    e.recheck_at = recheck_at;
    e.blocked_by_policy = None;
    drop_grant(e);
    let vector = Vector {
        eligibility,
        blocking,
        ..e.vector
    };
    change.enter(vector, now);
    change
}

/// T24 by a budget or a quota that does not admit the execution.
pub fn deny(
    before: Execution,
    state: (Eligibility, Blocking),
    denied: Denied,
    now: Instant,
) -> Change {
    let mut change = block(before, state, None, None, now);
    denied.note(&mut change.after);
    change
}

/// Changes the priority; `new` is already clamped and differs.
pub fn change_priority(before: Execution, new: i16, now: Instant) -> Change {
    let details = serde_json::json!({ "old_priority": before.priority, "new_priority": new });
    Change::touch(before, now, |e| e.priority = new)
        .announce(Event::plain(Code::OperatorPriorityChanged, Some(details)))
}

/// T25: what blocked is gone; a delay that has not elapsed holds again.
pub fn unblock(before: Execution, now: Instant) -> Change {
    let mut change = Change::of(before, now);
    let e = &mut change.after;
    e.recheck_at = None;
    e.blocked_by_policy = None;
    let later = e.delay_until.filter(|at| *at > now);
    e.delay_until = later;
    // What waits for its time is not reserved.
    if later.is_some() {
        drop_grant(e);
    }
    e.blocking_detail = later.map(|at| format!("delayed until {}", at.iso()));
    let (eligibility, blocking) = match (later, e.vector.attempt) {
        (None, _) => (Eligibility::Now, Blocking::Worker),
        (Some(_), AttemptState::PendingRetry) => (Eligibility::UntilTime, Blocking::RetryBackoff),
        (Some(_), _) => (Eligibility::UntilTime, Blocking::Delay),
    };
    let vector = Vector {
        eligibility,
        blocking,
        ..e.vector
    };
    change.enter(vector, now);
    change
}

/// T25 by a quota that has room: until it is claimed, and at most until an instant, it takes that room.
pub fn offer(before: Execution, quota: Uuid, until: Instant, now: Instant) -> Change {
    let mut change = unblock(before, now);
    if change.after.vector.eligibility == Eligibility::Now {
        change.after.offered = Some((quota, until));
    }
    change
}

/// A new life.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rebirth<'a> {
    /// Why.
    pub reason: Option<&'a str>,
    /// By whom.
    pub requested_by: Option<&'a str>,
    /// Its deadline.
    pub deadline: Option<Instant>,
    /// Edges that it waits for, and how many of them were reset; none if nothing holds it back.
    pub dependencies: Option<(i32, i32)>,
}

/// T26: a terminal execution starts anew, with its full allowance of retries and reclaims. T27 if it waits for edges.
pub fn replay(before: Execution, life: Rebirth, now: Instant) -> Change {
    let (reason, requested_by) = (life.reason, life.requested_by);
    let skipped = before.vector.outcome == TerminalOutcome::Skipped;
    let mut change = Change::of(before, now);
    let e = &mut change.after;
    e.completed_at = None;
    e.purge_at = None;
    e.failure_reason = None;
    e.failure_category = None;
    e.cancellation_reason = None;
    e.cancelled_by = None;
    e.delay_until = None;
    e.progress = Progress::default();
    e.retries = 0;
    e.reclaims = 0;
    e.replays += 1;
    e.deadline = life.deadline;
    let waits = |(open, _)| format!("{open} dependencies unsatisfied after replay");
    e.blocking_detail = life.dependencies.map(waits);
    e.pending_reason = match (reason, requested_by) {
        (Some(reason), Some(by)) => Some(format!("{reason} (requested by {by})")),
        (Some(text), None) => Some(text.to_owned()),
        (None, Some(by)) => Some(format!("requested by {by}")),
        (None, None) => None,
    };
    let (eligibility, blocking) = match life.dependencies {
        Some(_) => (Eligibility::Dependencies, Blocking::Children),
        None => (Eligibility::Now, Blocking::Worker),
    };
    let vector = runnable(eligibility, blocking, AttemptState::PendingReplay);
    change.enter(vector, now);
    change.blob = Blob::Result(None, None);
    let details = serde_json::json!({
        "branch": if skipped { "skipped_flow_member" } else { "normal" },
        "replay_count": change.after.replays,
        "edges_reset": life.dependencies.map_or(0, |(_, reset)| reset),
        "reason": reason,
        "requested_by": requested_by,
    });
    change.announce(Event::plain(Code::OperatorReplayed, Some(details)))
}
