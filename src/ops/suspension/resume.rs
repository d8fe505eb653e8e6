//! Resumes a suspended execution without a signal (§20.15): T19, T19a.

use serde_json::json;
use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::model::event::{Code, Event};
use crate::model::execution::Execution;
use crate::model::fence;
use crate::model::transition::{self, operator_resume};
use crate::model::words::{Lifecycle, ResumeTrigger};
use crate::pg::spi::Db;
use crate::store;

use super::super::{clock, save};
use super::expire::missing;

/// Resumes; `delay` in microseconds. Returns the execution as it is now.
///
/// # Errors
/// `execution_not_found`, `execution_not_suspended`, `invalid_input`.
pub fn resume(db: &Db, id: Uuid, trigger: &str, delay: i64) -> Result<Execution> {
    let trigger = match ResumeTrigger::from_word(trigger) {
        Some(t @ (ResumeTrigger::Signal | ResumeTrigger::Operator | ResumeTrigger::AutoResume)) => {
            t
        }
        _ => return Err(Error::invalid_input("trigger", "unknown_word")),
    };
    if delay < 0 {
        return Err(Error::invalid_input("resume_delay", "negative"));
    }
    let e = store::execution::lock(db, id).ok_or_else(|| fence::not_found(id))?;
    if e.vector.lifecycle != Lifecycle::Suspended {
        return Err(Error::new(Kind::ExecutionNotSuspended)
            .with("execution_id", id.to_string())
            .with("lifecycle_phase", e.vector.lifecycle.word())
            .with("public_state", e.vector.public_state().word()));
    }
    let suspension = e.suspension.ok_or_else(|| missing(id))?;
    let now = clock::now();
    let mut change = transition::resume(e, delay, operator_resume(suspension, trigger), now);
    if trigger == ResumeTrigger::Operator {
        let details = json!({ "suspension_id": suspension });
        change = change.announce(Event::plain(Code::OperatorSuspensionResumed, Some(details)));
    }
    save::apply(db, std::slice::from_ref(&change), now);
    Ok(*change.after)
}
