//! Pauses: by the worker, delay T16/T16a and wait for children T17/T17a; by a budget, T28.

use serde_json::json;

use crate::model::event::{Code, Event};
use crate::model::execution::Execution;
use crate::model::time::Instant;
use crate::model::words::*;

use super::{Change, Denied, pause_attempt, release, remember, runnable, skip};

/// T16, or T16a when `until` is not in the future.
pub fn delay(before: Execution, until: Instant, now: Instant) -> Change {
    let later = until > now;
    let outcome = if later { "delayed" } else { "ready" };
    let values = json!({ "outcome": outcome, "delay_until": until.0 });
    let mut change = step_back(before, EndOp::Delay, "worker_delay", values, now);
    let vector = if later {
        change.after.delay_until = Some(until);
        change.after.blocking_detail = Some(format!("delayed until {}", until.iso()));
        runnable(
            Eligibility::UntilTime,
            Blocking::Delay,
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
    change
}

/// What a worker that waits for its children finds.
#[derive(Clone, Debug)]
pub enum Children {
    /// So many are unresolved; what people are told of it.
    Open(i32, String),
    /// None is, or enough have ended well.
    Done,
    /// Too many have ended badly.
    Impossible,
}

/// T17 with open dependencies, T17a with none, T17 and T5 at once where it could wait for ever.
pub fn wait_children(before: Execution, children: Children, now: Instant) -> Change {
    let (outcome, open) = match &children {
        Children::Open(open, _) => ("waiting", *open),
        Children::Done => ("ready", 0),
        Children::Impossible => ("skipped", 0),
    };
    let values = json!({ "outcome": outcome, "open_dependencies": open });
    let mut change = step_back(before, EndOp::WaitChildren, "waiting_children", values, now);
    let (eligibility, blocking) = match children {
        Children::Done => (Eligibility::Now, Blocking::Worker),
        Children::Open(_, detail) => {
            change.after.blocking_detail = Some(detail);
            (Eligibility::Dependencies, Blocking::Children)
        }
        Children::Impossible => return change.then(|e| skip(e, now)),
    };
    let vector = runnable(eligibility, blocking, AttemptState::Interrupted);
    change.enter(vector, now);
    change
}

/// T28: a budget takes the lease back and keeps the attempt for the time when there is room again.
pub fn park(before: Execution, denied: Denied, now: Instant) -> Change {
    let event = Event::lease(&before, Code::LeaseReleased, Some("budget"));
    let mut change = Change::of(before, now);
    let e = &mut change.after;
    pause_attempt(e, "budget", now);
    release(e);
    e.delay_until = None;
    denied.note(e);
    let vector = runnable(
        Eligibility::Budget,
        Blocking::Budget,
        AttemptState::Interrupted,
    );
    change.enter(vector, now);
    change.announce(event)
}

/// The holder gives the lease back and keeps the attempt.
fn step_back(
    before: Execution,
    op: EndOp,
    reason: &str,
    values: serde_json::Value,
    now: Instant,
) -> Change {
    let event = Event::lease(&before, Code::LeaseReleased, Some(reason));
    let mut change = Change::of(before, now);
    let e = &mut change.after;
    pause_attempt(e, reason, now);
    remember(e, op, Some(values));
    release(e);
    e.delay_until = None;
    e.blocking_detail = None;
    change.announce(event)
}
