//! Applies the timeout of suspensions (§20.16).

use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::model::execution::Execution;
use crate::model::policy::TimeoutBehavior;
use crate::model::suspension::Suspension;
use crate::model::time::Instant;
use crate::model::transition::{self, Change, TimeoutSignal};
use crate::model::words::Lifecycle;
use crate::pg::spi::Db;
use crate::store;

use super::super::{clock, save};

/// What became of one execution: outcome, behaviour, public state.
pub type Expired = (&'static str, Option<&'static str>, Option<&'static str>);

/// Applies the timeout of one execution's suspension if it is due.
///
/// # Errors
/// `corruption` for a damaged suspension.
pub fn expire(db: &Db, id: Uuid) -> Result<Expired> {
    let Some(e) = store::execution::lock(db, id) else {
        return Ok(("not_found", None, None));
    };
    let now = clock::now();
    let state = Some(e.vector.public_state().word());
    if e.vector.lifecycle != Lifecycle::Suspended {
        return Ok(("not_suspended", None, state));
    }
    if e.suspension_timeout.is_none_or(|at| at > now) {
        return Ok(("not_due", None, state));
    }
    let suspensions = of(db, std::slice::from_ref(&e))?;
    let behavior = suspensions.first().map(|s| s.behavior.word());
    let changes = changes(db, vec![e], now)?;
    save::apply(db, &changes, now);
    let state = changes
        .first()
        .map(|c| c.after.vector.public_state().word());
    Ok(("applied", behavior, state))
}

/// What becomes of locked executions whose suspensions time out now.
///
/// # Errors
/// `corruption` for a damaged suspension.
pub fn changes(db: &Db, executions: Vec<Execution>, now: Instant) -> Result<Vec<Change>> {
    let suspensions = of(db, &executions)?;
    executions
        .into_iter()
        .map(|e| {
            let suspension = suspensions
                .iter()
                .find(|s| Some(s.id) == e.suspension)
                .ok_or_else(|| missing(e.place.id))?;
            let signal = signal(db, &e, suspension)?;
            Ok(transition::time_out_suspension(e, suspension, signal, now))
        })
        .collect()
}

/// The open suspensions of executions.
///
/// # Errors
/// `corruption` for a damaged suspension.
pub fn of(db: &Db, executions: &[Execution]) -> Result<Vec<Suspension>> {
    let ids: Vec<Uuid> = executions.iter().filter_map(|e| e.suspension).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    store::suspension::load(db, &ids)
}

/// An execution that waits for something that is not there.
pub fn missing(id: Uuid) -> Error {
    Error::new(Kind::Corruption)
        .say("the open suspension of an execution is not stored")
        .with("execution_id", id.to_string())
}

fn signal(db: &Db, e: &Execution, suspension: &Suspension) -> Result<Option<TimeoutSignal>> {
    if suspension.behavior != TimeoutBehavior::AutoResumeWithTimeoutSignal {
        return Ok(None);
    }
    let primary = suspension.waitpoints.first().copied();
    let primary = primary.and_then(|id| store::waitpoint::load(db, &[id]).pop());
    let primary = primary.ok_or_else(|| missing(e.place.id))?;
    Ok(Some(TimeoutSignal {
        id: clock::mint(Some(e.place.partition as u8)),
        seq: store::signal::last_seq(db, e.place.id) + 1,
        waitpoint: primary.id(),
        key: primary.subject.key,
    }))
}
