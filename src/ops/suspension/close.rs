//! Closes a waitpoint before its suspension ends (§20.17).

use serde_json::json;
use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::model::event::{Code, Event};
use crate::model::execution::Execution;
use crate::model::fence;
use crate::model::handle::Handle;
use crate::model::text;
use crate::model::time::Instant;
use crate::model::transition::Change;
use crate::model::words::WaitpointState;
use crate::pg::spi::Db;
use crate::store;
use crate::store::waitpoint::Waitpoint;

use super::super::{clock, save};
use super::expire;

/// What became of it.
pub struct Closed {
    /// `closed` or `already_closed`.
    pub outcome: &'static str,
    /// Its state now.
    pub state: &'static str,
    /// Whether the others can still satisfy its suspension's condition.
    pub still_satisfiable: Option<bool>,
}

/// Closes a waitpoint, of the attempt of a handle if there is one.
///
/// # Errors
/// Those of the fence, `waitpoint_not_found`, `invalid_waitpoint_for_execution`, `waitpoint_not_pending`,
/// `unauthorized`, `invalid_input`.
pub fn close(
    db: &Db,
    id: Uuid,
    reason: &str,
    handle: Option<&Handle>,
    force: bool,
) -> Result<Closed> {
    text::reason("reason", reason, text::MAX_IDENTIFIER_BYTES)?;
    let absent = || Error::new(Kind::WaitpointNotFound).with("waitpoint_id", id.to_string());
    let execution = store::waitpoint::load(db, &[id])
        .pop()
        .map(|w| w.subject.execution_id);
    let locked = handle.map(|h| h.execution_id).or(execution);
    let execution_id = locked.ok_or_else(absent)?;
    let e = store::execution::lock(db, execution_id).ok_or_else(|| match handle {
        Some(_) => fence::not_found(execution_id),
        None => absent(),
    })?;
    let now = clock::now();
    if let Some(handle) = handle {
        fence::check(&e, &handle.into(), now)?;
    }
    let w = store::waitpoint::load(db, &[id]).pop().ok_or_else(absent)?;
    if let Some(handle) = handle {
        if w.subject.execution_id != handle.execution_id || w.attempt_index != handle.attempt_index
        {
            return Err(Error::new(Kind::InvalidWaitpointForExecution)
                .with("waitpoint_id", id.to_string())
                .with("execution_id", handle.execution_id.to_string()));
        }
        if force {
            return Err(Error::new(Kind::Unauthorized)
                .say("only an operator closes a waitpoint by force")
                .hint("Call without a handle, with the rights of an operator."));
        }
    }
    if !w.is_open() {
        return Ok(Closed {
            outcome: "already_closed",
            state: w.state.word(),
            still_satisfiable: None,
        });
    }
    let active = w.state == WaitpointState::Active;
    if active && !force {
        return Err(Error::new(Kind::WaitpointNotPending)
            .with("waitpoint_id", id.to_string())
            .with("state", w.state.word()));
    }
    store::waitpoint::close(db, &[id], reason, now);
    let still_satisfiable = match w.suspension.filter(|_| active) {
        Some(_) => Some(satisfiable(db, &e)?),
        None => None,
    };
    save::apply(db, &[announced(e, &w, reason, force, now)], now);
    Ok(Closed {
        outcome: "closed",
        state: WaitpointState::Closed.word(),
        still_satisfiable,
    })
}

fn announced(e: Execution, w: &Waitpoint, reason: &str, force: bool, now: Instant) -> Change {
    let details = json!({
        "waitpoint_ids": [w.id()],
        "waitpoint_key": w.subject.key,
        "suspension_id": w.suspension,
        "close_reason": reason,
    });
    let pending = i32::from(w.state == WaitpointState::Pending);
    let change = Change::touch(e, now, |e| {
        e.pending_waitpoints = (e.pending_waitpoints - pending).max(0);
    })
    .announce(Event::plain(
        Code::SuspensionWaitpointClosed,
        Some(details.clone()),
    ));
    if force {
        change.announce(Event::plain(Code::OperatorWaitpointClosed, Some(details)))
    } else {
        change
    }
}

fn satisfiable(db: &Db, e: &Execution) -> Result<bool> {
    let suspensions = expire::of(db, std::slice::from_ref(e))?;
    let Some(s) = suspensions.first() else {
        return Ok(false);
    };
    let open: Vec<(Uuid, String)> = store::waitpoint::load(db, &s.waitpoints)
        .into_iter()
        .filter(Waitpoint::is_open)
        .map(|w| (w.id(), w.subject.key))
        .collect();
    Ok(s.condition.satisfiable(&s.progress, &open))
}
