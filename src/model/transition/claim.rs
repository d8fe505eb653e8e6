//! Handing out: T6 (new attempt), T7 (same attempt), T10 (reclaim).

use uuid::Uuid;

use crate::model::event::{Code, Event};
use crate::model::execution::{Attempt, Execution, Progress};
use crate::model::handle::HandleKind;
use crate::model::policy::Policy;
use crate::model::retry;
use crate::model::time::{Instant, MS};
use crate::model::words::*;

use super::{Change, Superseded, end_attempt};

/// The terms of a new lease.
#[derive(Clone, Debug)]
pub struct ClaimTerms {
    /// Interned claimer.
    pub claimer: i32,
    /// Secret of the lease.
    pub lease_id: Uuid,
    /// Identity of the attempt, if one is made.
    pub attempt_id: Uuid,
    /// Length of the lease, milliseconds.
    pub ttl_ms: i32,
    /// An operator takes the execution in one step, without a grant.
    pub takeover: bool,
}

/// What the policy says of the attempt about to start: its type after a failure, and its time in microseconds.
fn attempt_plan(e: &Execution, policy: &Policy) -> (AttemptType, Option<i64>) {
    let timeout = retry::attempt_timeout(policy, e.retries);
    let kind = match e.vector.attempt {
        AttemptState::PendingRetry => {
            if retry::is_fallback(policy, e.retries) {
                AttemptType::Fallback
            } else {
                AttemptType::Retry
            }
        }
        AttemptState::PendingReplay => AttemptType::Replay,
        _ => AttemptType::Initial,
    };
    (kind, timeout)
}

/// T6, T7 or T10, whichever the execution's state calls for.
pub fn claim(
    before: Execution,
    terms: &ClaimTerms,
    policy: &Policy,
    now: Instant,
) -> (Change, HandleKind) {
    let reclaim = before.vector.lifecycle == Lifecycle::Active;
    let resume = !reclaim && before.vector.attempt == AttemptState::Interrupted;
    let (kind, timeout) = attempt_plan(&before, policy);
    let mut change = Change::of(before, now);
    let previous = change.before.clone().map(|b| b.lease).unwrap_or_default();
    let e = &mut change.after;

    if resume {
        let remaining = e.attempt.as_mut().and_then(|a| {
            a.record = AttemptRecord::Started;
            a.suspended_at = None;
            a.pause_kind = None;
            a.time_remaining_ms.take()
        });
        e.attempt_deadline = remaining.map(|ms| now.plus(ms.saturating_mul(MS)));
    } else {
        let mut lineage = None;
        if reclaim {
            let lost = if e.vector.ownership == Ownership::Revoked {
                "lease_revoked"
            } else {
                "lease_expired"
            };
            end_attempt(e, AttemptRecord::InterruptedReclaimed, now, Some(lost));
            if let Some(a) = e.attempt.as_mut() {
                a.reason = Some(lost.to_owned());
            }
            e.reclaims += 1;
            lineage = Some(lost.to_owned());
        } else if e.total_attempts > 0 {
            lineage = e.pending_reason.take().or_else(|| e.failure_reason.clone());
        }
        change.archive = e.attempt.take().map(|a| {
            Box::new(Superseded {
                index: e.total_attempts - 1,
                lease: previous.clone(),
                attempt: a,
            })
        });
        e.attempt = Some(Attempt {
            id: terms.attempt_id,
            kind: if reclaim { AttemptType::Reclaim } else { kind },
            record: AttemptRecord::Started,
            started_at: now,
            ended_at: None,
            suspended_at: None,
            pause_kind: None,
            time_remaining_ms: None,
            previous_index: e.attempt_index(),
            reason: lineage,
            failure_reason: None,
            failure_category: None,
            failure_class: None,
            end: None,
            closed: None,
        });
        e.total_attempts += 1;
        e.attempt_deadline = timeout.map(|micros| now.plus(micros));
        e.progress = Progress::default();
    }

    e.lease.claimer = Some(terms.claimer);
    e.lease.id = Some(terms.lease_id);
    e.lease.epoch += 1;
    e.lease.ttl_ms = Some(terms.ttl_ms);
    e.lease.acquired_at = Some(now);
    e.lease.last_renewed_at = None;
    e.lease.expires_at = Some(now.plus(i64::from(terms.ttl_ms).saturating_mul(MS)));
    e.lease.expired_at = None;
    e.lease.revoked_at = None;
    e.lease.revoke_reason = None;
    e.started_at = e.started_at.or(Some(now));
    e.delay_until = None;
    e.blocking_detail = None;
    e.recheck_at = None;
    e.blocked_by_policy = None;
    e.grant = None;
    change.enter(
        Vector {
            lifecycle: Lifecycle::Active,
            ownership: Ownership::Leased,
            eligibility: Eligibility::NotApplicable,
            blocking: Blocking::None,
            outcome: TerminalOutcome::None,
            attempt: AttemptState::Running,
        },
        now,
    );

    let event = if reclaim {
        let lost = change.after.attempt.as_ref().and_then(|a| a.reason.clone());
        let mut event = Event::lease(&change.after, Code::LeaseReclaimed, lost.as_deref());
        event.details = Some(serde_json::json!({
            "previous_lease_id": previous.id.map(|id| id.to_string()),
            "previous_lease_epoch": previous.epoch,
            "previous_claimer": previous.claimer,
        }));
        event
    } else {
        let word = match (terms.takeover, resume) {
            (true, _) => "issue_grant_and_claim",
            (_, true) => "claim_resumed",
            _ => "claim",
        };
        Event::lease(&change.after, Code::LeaseAcquired, Some(word))
    };
    let kind = match (reclaim, resume) {
        (true, _) => HandleKind::Reclaimed,
        (_, true) => HandleKind::Resumed,
        _ => HandleKind::Fresh,
    };
    (change.announce(event), kind)
}
