//! Suspending T18, resuming T19/T19a, and what a suspension's timeout does (§20.16).

use serde_json::{Value, json};
use uuid::Uuid;

use crate::model::condition::Progress;
use crate::model::event::{Code, Event};
use crate::model::execution::Execution;
use crate::model::policy::TimeoutBehavior;
use crate::model::suspension::{ResumePolicy, Suspension, close};
use crate::model::time::Instant;
use crate::model::words::*;

use super::{
    Change, close_stream, completion, end_attempt, finish, pause_attempt, release, runnable,
};

/// What becomes of the open suspension's own rows with a change.
#[derive(Clone, Debug, Default)]
pub enum Waits {
    /// Nothing.
    #[default]
    Keep,
    /// It goes on without a timeout, for an operator.
    Escalate(Uuid),
    /// It ends.
    End(Box<Ending>),
}

/// How a suspension ends, and its waitpoints with it.
#[derive(Clone, Debug)]
pub struct Ending {
    /// Which.
    pub suspension: Uuid,
    /// Close reason of the suspension and of its waitpoints.
    pub reason: &'static str,
    /// What made the work go on.
    pub trigger: Option<ResumeTrigger>,
    /// What becomes of waitpoints and signals; none closes every waitpoint and consumes nothing.
    pub policy: Option<ResumePolicy>,
    /// How many waitpoints become pending again.
    pub kept: i32,
    /// The signal that made the condition hold.
    pub closer: Option<Closer>,
    /// The signal that a timeout records on the primary waitpoint.
    pub timeout_signal: Option<TimeoutSignal>,
}

/// The signal that made a condition hold.
#[derive(Clone, Debug)]
pub struct Closer {
    /// Its id.
    pub signal: Uuid,
    /// Its waitpoint, whose counters it raises.
    pub waitpoint: Uuid,
    /// Everything the condition has recorded with it.
    pub progress: Progress,
    /// Signals were recorded before it.
    pub follows_others: bool,
    /// What its waitpoint, the only one, had counted before: signals, and those that matched.
    pub alone: Option<(i32, i32)>,
}

/// A signal that the engine records when a suspension times out.
#[derive(Clone, Debug)]
pub struct TimeoutSignal {
    /// Its id.
    pub id: Uuid,
    /// Its number.
    pub seq: i64,
    /// The primary waitpoint.
    pub waitpoint: Uuid,
    /// Its key.
    pub key: String,
}

/// A suspension about to begin.
#[derive(Clone, Debug)]
pub struct Opening<'a> {
    /// Its id.
    pub id: Uuid,
    /// Why.
    pub reason: &'a str,
    /// What that blocks as.
    pub blocking: Blocking,
    /// When it times out.
    pub timeout_at: Option<Instant>,
    /// What that does.
    pub behavior: TimeoutBehavior,
    /// Its waitpoints, the primary first.
    pub waitpoints: &'a [Uuid],
}

impl Opening<'_> {
    /// Details of its events.
    pub fn details(&self) -> Value {
        json!({
            "suspension_id": self.id,
            "waitpoint_ids": self.waitpoints,
            "reason": self.reason,
            "timeout_at": self.timeout_at.map(Instant::iso),
            "timeout_behavior": self.behavior.word(),
        })
    }
}

/// T18: the holder steps back until the condition holds; the epoch stays.
pub fn suspend(before: Execution, opening: &Opening, now: Instant) -> Change {
    let mut event = Event::lease(&before, Code::SuspensionSuspended, Some("suspended"));
    event.released = true;
    event.details = Some(opening.details());
    let mut change = Change::of(before, now);
    let e = &mut change.after;
    let primary = opening.waitpoints.first().copied();
    pause_attempt(e, &opening.id.to_string(), now);
    release(e);
    e.delay_until = None;
    e.suspension = Some(opening.id);
    e.waitpoint = primary;
    e.suspension_timeout = opening.timeout_at;
    e.blocking_detail =
        primary.map(|id| format!("suspended: waitpoint {id} awaiting {}", opening.reason));
    let vector = Vector {
        lifecycle: Lifecycle::Suspended,
        ownership: Ownership::Unowned,
        eligibility: Eligibility::NotApplicable,
        blocking: opening.blocking,
        outcome: TerminalOutcome::None,
        attempt: AttemptState::Interrupted,
    };
    change.enter(vector, now);
    change.announce(event)
}

/// T19, or T19a with a delay of so many microseconds: the attempt stays paused until it is claimed.
pub fn resume(before: Execution, delay: i64, ending: Ending, now: Instant) -> Change {
    let details = json!({
        "suspension_id": ending.suspension,
        "resume_trigger": ending.trigger.map(ResumeTrigger::word),
        "close_reason": ending.reason,
        "closer_signal_id": ending.closer.as_ref().map(|c| c.signal),
    });
    let event = Event::plain(Code::SuspensionResumed, Some(strip(details)));
    let mut change = Change::of(before, now);
    let e = &mut change.after;
    leave(e);
    e.pending_waitpoints += ending.kept;
    let vector = if delay > 0 {
        let until = now.plus(delay);
        e.delay_until = Some(until);
        e.blocking_detail = Some(format!("resume delay until {}", until.iso()));
        runnable(
            Eligibility::UntilTime,
            Blocking::ResumeDelay,
            AttemptState::Interrupted,
        )
    } else {
        runnable(
            Eligibility::Now,
            Blocking::Worker,
            AttemptState::Interrupted,
        )
    };
    change.enter(vector, now);
    change.waits = Waits::End(Box::new(ending));
    change.announce(event)
}

/// What the timeout of a suspension does; `signal` is recorded by the behaviour that asks for one.
pub fn time_out_suspension(
    before: Execution,
    suspension: &Suspension,
    signal: Option<TimeoutSignal>,
    now: Instant,
) -> Change {
    let due_at = before.suspension_timeout.unwrap_or(now);
    match suspension.behavior {
        TimeoutBehavior::Fail => end(before, TerminalOutcome::Failed, now),
        TimeoutBehavior::Cancel => end(before, TerminalOutcome::Cancelled, now),
        TimeoutBehavior::Expire => end(before, TerminalOutcome::Expired, now),
        TimeoutBehavior::AutoResume | TimeoutBehavior::AutoResumeWithTimeoutSignal => {
            let event = signal.as_ref().map(timeout_event);
            let ending = Ending {
                suspension: suspension.id,
                reason: "timed_out_auto_resume",
                trigger: Some(ResumeTrigger::Timeout),
                policy: Some(suspension.policy.clone()),
                kept: suspension.kept(),
                closer: None,
                timeout_signal: signal,
            };
            let mut change = resume(before, 0, ending, now);
            change.events.splice(0..0, event);
            change
        }
        TimeoutBehavior::Escalate => escalate(before, suspension, due_at, now),
    }
}

fn end(before: Execution, outcome: TerminalOutcome, now: Instant) -> Change {
    let (reason, why) = match outcome {
        TerminalOutcome::Cancelled => ("timed_out_cancel", "suspension_timeout:cancel"),
        TerminalOutcome::Expired => ("timed_out_expire", "suspension_timeout:expire"),
        _ => ("timed_out_fail", "suspension_timeout:fail"),
    };
    let mut change = Change::of(before, now);
    let record = if outcome == TerminalOutcome::Cancelled {
        change.after.cancellation_reason = Some("suspension_timeout".to_owned());
        change.after.cancelled_by = Some("system_timeout".to_owned());
        AttemptRecord::EndedCancelled
    } else {
        change.after.failure_reason = Some(why.to_owned());
        AttemptRecord::EndedFailure
    };
    close_stream(&mut change.after, CloseReason::SuspensionTimeout, now);
    end_attempt(&mut change.after, record, now, Some(why));
    close_with(&mut change, reason);
    finish(&mut change, outcome, now);
    let event = change
        .before
        .as_ref()
        .map(|before| completion(before, &change.after, None));
    change.events.extend(event);
    change
}

fn escalate(before: Execution, suspension: &Suspension, due_at: Instant, now: Instant) -> Change {
    let details = json!({
        "suspension_id": suspension.id,
        "waitpoint_ids": suspension.waitpoints,
        "reason": "waiting_for_operator_review",
        "timeout_at": due_at.iso(),
        "timeout_behavior": suspension.behavior.word(),
    });
    let mut change = Change::of(before, now);
    let e = &mut change.after;
    e.suspension_timeout = None;
    e.blocking_detail = Some(format!("suspension escalated: timeout at {}", due_at.iso()));
    let vector = Vector {
        blocking: Blocking::PausedByOperator,
        ..e.vector
    };
    change.enter(vector, now);
    change.waits = Waits::Escalate(suspension.id);
    change.announce(Event::plain(Code::SuspensionEscalated, Some(details)))
}

/// Ends the open suspension, if there is one, because its execution ends.
pub(super) fn close_with(change: &mut Change, reason: &'static str) {
    let Some(suspension) = change
        .before
        .as_deref()
        .and_then(|before| before.suspension)
    else {
        return;
    };
    change.waits = Waits::End(Box::new(Ending {
        suspension,
        reason,
        trigger: None,
        policy: None,
        kept: 0,
        closer: None,
        timeout_signal: None,
    }));
    let details = json!({ "suspension_id": suspension, "close_reason": reason });
    let event = Event::plain(Code::SuspensionClosed, Some(details));
    change.events.push(event);
}

/// The execution waits for no signal any more.
pub(super) fn leave(e: &mut Execution) {
    e.suspension = None;
    e.waitpoint = None;
    e.suspension_timeout = None;
    e.blocking_detail = None;
}

/// A resume by an operator, or by whoever acts for one: every waitpoint closes.
pub fn operator_resume(suspension: Uuid, trigger: ResumeTrigger) -> Ending {
    Ending {
        suspension,
        reason: close::RESUMED,
        trigger: Some(trigger),
        policy: None,
        kept: 0,
        closer: None,
        timeout_signal: None,
    }
}

fn timeout_event(signal: &TimeoutSignal) -> Event {
    let details = json!({
        "signal_id": signal.id,
        "signal_seq": signal.seq,
        "signal_name": "timeout",
        "waitpoint_id": signal.waitpoint,
        "waitpoint_key": signal.key,
        "source_type": "engine",
        "source_identity": "suspension_timeout",
    });
    Event::plain(Code::SignalTimeout, Some(details))
}

/// A document without its nulls.
fn strip(mut document: Value) -> Value {
    if let Some(object) = document.as_object_mut() {
        object.retain(|_, value| !value.is_null());
    }
    document
}
