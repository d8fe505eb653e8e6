//! Endings: complete T12, fail T13/T14, cancel T15, attempt timeout T21/T22, deadline T23, reclaim limit T11.

use serde_json::json;

use crate::model::event::{Code, Event};
use crate::model::execution::Execution;
use crate::model::suspension::close;
use crate::model::time::Instant;
use crate::model::words::*;

use super::suspend::close_with;
use super::{
    Blob, Change, close_stream, completion, end_attempt, finish, release, remember, runnable,
};

/// How an attempt failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What went wrong.
    pub reason: String,
    /// Free category.
    pub category: String,
    /// Failure class word.
    pub class: &'static str,
    /// Opaque detail.
    pub detail: Option<Vec<u8>>,
}

/// T12.
pub fn complete(
    before: Execution,
    result: Option<Vec<u8>>,
    encoding: Option<String>,
    now: Instant,
) -> Change {
    let mut change = Change::of(before, now);
    end_attempt(&mut change.after, AttemptRecord::EndedSuccess, now, None);
    remember(&mut change.after, EndOp::Complete, None);
    finish(&mut change, TerminalOutcome::Success, now);
    change.blob = Blob::Result(result, encoding);
    ended(change, Some("completed"))
}

/// T13, T13a with a delay in microseconds; T14 without.
pub fn fail(before: Execution, failure: Failure, retry: Option<i64>, now: Instant) -> Change {
    let mut change = Change::of(before, now);
    note_failure(&mut change, failure, now);
    match retry {
        Some(delay) => {
            let e = &mut change.after;
            let until = now.plus(delay);
            let mut values = json!({
                "delay_until": until.0,
                "next_attempt_index": e.total_attempts,
                "retry_count": e.retries + 1,
            });
            if delay == 0 {
                values["at_once"] = true.into();
            }
            remember(e, EndOp::Fail, Some(values));
            schedule_retry(change, until, "failed_retry_scheduled", now)
        }
        None => {
            let values = json!({ "retry_count": change.after.retries });
            remember(&mut change.after, EndOp::Fail, Some(values));
            finish(&mut change, TerminalOutcome::Failed, now);
            ended(change, Some("failed_terminal"))
        }
    }
}

/// T15 from every phase that is not terminal.
pub fn cancel(before: Execution, reason: &str, source: &str, now: Instant) -> Change {
    let leased = before.vector.ownership == Ownership::Leased;
    let mut change = Change::of(before, now);
    let e = &mut change.after;
    e.cancellation_reason = Some(reason.to_owned());
    e.cancelled_by = Some(source.to_owned());
    end_attempt(
        e,
        AttemptRecord::EndedCancelled,
        now,
        Some(&format!("cancelled: {reason}")),
    );
    if source == "lease_holder" {
        remember(e, EndOp::Cancel, None);
    }
    close_with(&mut change, close::CANCELLED);
    finish(&mut change, TerminalOutcome::Cancelled, now);
    ended(change, leased.then_some("cancelled"))
}

/// T21 with a retry delay in microseconds, T22 without.
pub fn time_out(before: Execution, retry: Option<i64>, now: Instant) -> Change {
    let mut change = Change::of(before, now);
    let failure = Failure {
        reason: "attempt_timeout".to_owned(),
        category: "timeout".to_owned(),
        class: "timeout",
        detail: None,
    };
    close_stream(&mut change.after, CloseReason::Expired, now);
    note_failure(&mut change, failure, now);
    match retry {
        Some(delay) => schedule_retry(change, now.plus(delay), "attempt_timeout", now),
        None => {
            finish(&mut change, TerminalOutcome::Expired, now);
            ended(change, Some("attempt_timeout"))
        }
    }
}

/// T23 from every phase that is not terminal.
pub fn deadline(before: Execution, now: Instant) -> Change {
    let leased = before.vector.ownership == Ownership::Leased;
    let mut change = Change::of(before, now);
    change.after.failure_reason = Some("execution_deadline".to_owned());
    close_with(&mut change, close::DEADLINE);
    close_stream(&mut change.after, CloseReason::Expired, now);
    end_attempt(
        &mut change.after,
        AttemptRecord::EndedFailure,
        now,
        Some("execution_deadline"),
    );
    finish(&mut change, TerminalOutcome::Expired, now);
    ended(change, leased.then_some("execution_deadline"))
}

/// T11: a lost lease that may not be reclaimed again.
pub fn exhaust_reclaims(before: Execution, now: Instant) -> Change {
    let mut change = Change::of(before, now);
    change.after.failure_reason = Some("max_reclaims_exceeded".to_owned());
    close_stream(&mut change.after, CloseReason::LeaseExpired, now);
    end_attempt(
        &mut change.after,
        AttemptRecord::EndedFailure,
        now,
        Some("max_reclaims_exceeded"),
    );
    finish(&mut change, TerminalOutcome::Failed, now);
    ended(change, Some("max_reclaims_exceeded"))
}

/// Adds the completion event of a change that has made the execution terminal.
fn ended(change: Change, released: Option<&str>) -> Change {
    let event = match &change.before {
        Some(before) => completion(before, &change.after, released),
        None => return change,
    };
    change.announce(event)
}

/// Writes a failure to the attempt and, as the latest one, to the execution.
fn note_failure(change: &mut Change, failure: Failure, now: Instant) {
    let e = &mut change.after;
    end_attempt(e, AttemptRecord::EndedFailure, now, Some(&failure.reason));
    if let Some(a) = e.attempt.as_mut() {
        a.failure_category = Some(failure.category.clone());
        a.failure_class = Some(failure.class.to_owned());
    }
    e.failure_reason = Some(failure.reason);
    e.failure_category = Some(failure.category);
    if failure.detail.is_some() {
        change.blob = Blob::Detail(failure.detail);
    }
}

/// The attempt has failed and another is to follow at `until`.
fn schedule_retry(mut change: Change, until: Instant, reason: &str, now: Instant) -> Change {
    let event = change
        .before
        .as_ref()
        .map(|b| Event::lease(b, Code::LeaseReleased, Some(reason)));
    let e = &mut change.after;
    e.retries += 1;
    release(e);
    let vector = if until > now {
        e.delay_until = Some(until);
        e.blocking_detail = Some(format!(
            "retry of attempt {} at {}",
            e.total_attempts - 1,
            until.iso()
        ));
        runnable(
            Eligibility::UntilTime,
            Blocking::RetryBackoff,
            AttemptState::PendingRetry,
        )
    } else {
        e.delay_until = None;
        e.blocking_detail = None;
        runnable(
            Eligibility::Now,
            Blocking::Worker,
            AttemptState::PendingRetry,
        )
    };
    change.enter(vector, now);
    change.events.extend(event);
    change
}
