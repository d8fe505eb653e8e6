//! Pauses by the worker (§10.14.3): delay T16/T16a, wait for children T17/T17a.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::model::fence::Caller;
use crate::model::time::Instant;
use crate::model::transition::{self, Children};
use crate::model::words::EndOp;
use crate::pg::spi::Db;

use super::super::flow::eligibility::children;
use super::super::lease::fenced::{self, Passage, Replay};
use super::super::save;

/// What became of a pause.
#[derive(Clone, Debug)]
pub struct Paused {
    /// Outcome word.
    pub outcome: String,
    /// State afterwards.
    pub public_state: &'static str,
    /// End of the delay.
    pub delay_until: Option<Instant>,
    /// Unresolved children.
    pub open_dependencies: i32,
    /// The lease had done this before.
    pub replayed: bool,
}

/// Gives the lease back until an instant.
///
/// # Errors
/// Those of the fence; `invalid_input` for an infinite instant.
pub fn delay(db: &Db, caller: &Caller, until: Instant) -> Result<Paused> {
    if !until.is_finite() {
        return Err(Error::invalid_input("delay_until", "not_finite"));
    }
    match fenced::pass(db, caller, EndOp::Delay)? {
        Passage::Replay(r) => Ok(replayed(&r)),
        Passage::Live(e, now) => {
            let change = transition::delay(*e, until, now);
            save::apply(db, std::slice::from_ref(&change), now);
            let later = until > now;
            Ok(Paused {
                outcome: if later { "delayed" } else { "ready" }.to_owned(),
                public_state: change.after.vector.public_state().word(),
                delay_until: Some(until),
                open_dependencies: 0,
                replayed: false,
            })
        }
    }
}

/// Gives the lease back until the execution's children have ended. Outside a flow there are none.
///
/// # Errors
/// Those of the fence.
pub fn wait_children(db: &Db, caller: &Caller) -> Result<Paused> {
    match fenced::pass(db, caller, EndOp::WaitChildren)? {
        Passage::Replay(r) => Ok(replayed(&r)),
        Passage::Live(e, now) => {
            let children = children(db, &e, now)?;
            let (outcome, open) = match &children {
                Children::Open(open, _) => ("waiting", *open),
                Children::Done => ("ready", 0),
                Children::Impossible => ("skipped", 0),
            };
            let change = transition::wait_children(*e, children, now);
            save::apply(db, std::slice::from_ref(&change), now);
            Ok(Paused {
                outcome: outcome.to_owned(),
                public_state: change.after.vector.public_state().word(),
                delay_until: None,
                open_dependencies: open,
                replayed: false,
            })
        }
    }
}

fn replayed(r: &Replay) -> Paused {
    let value = |key: &str| r.end.values.as_ref().and_then(|v| v.get(key));
    let outcome = value("outcome").and_then(Value::as_str).unwrap_or_default();
    Paused {
        outcome: outcome.to_owned(),
        public_state: match outcome {
            "delayed" => "delayed",
            "waiting" => "waiting_children",
            "skipped" => "skipped",
            _ => "resumable",
        },
        delay_until: value("delay_until").and_then(Value::as_i64).map(Instant),
        open_dependencies: value("open_dependencies")
            .and_then(Value::as_i64)
            .unwrap_or_default() as i32,
        replayed: true,
    }
}
