//! Does for one named execution what its reconciler would do (§10.21), or says in a word why not. Raises for nothing
//! that a scheduler meets.

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::model::due::{self, Duty};
use crate::model::execution::Execution;
use crate::model::words::{Eligibility, Lifecycle, Ownership, PublicState};
use crate::pg::spi::Db;
use crate::store;

use super::super::{clock, save};
use super::duty::perform;

/// Marks a lease whose time is over: T8, or T11 at the reclaim limit.
///
/// # Errors
/// `corruption` for an unreadable policy.
pub fn lease(db: &Db, id: Uuid) -> Result<&'static str> {
    settle(db, id, Duty::LeaseExpiry, |after| {
        match after.is_terminal() {
            true => "reclaim_cap_exceeded",
            false => "marked_expired",
        }
    })
}

/// Makes an execution eligible whose delay is over: T20.
///
/// # Errors
/// `corruption` for an unreadable policy.
pub fn delay(db: &Db, id: Uuid) -> Result<&'static str> {
    settle(db, id, Duty::Delay, |after| {
        match after.vector.public_state() {
            PublicState::WaitingChildren => "blocked",
            PublicState::Skipped => "skipped",
            PublicState::Cancelled => "cancelled",
            _ => "promoted",
        }
    })
}

/// Ends an attempt or an execution whose time is over: T21, T22 or T23.
///
/// # Errors
/// `invalid_input` for an unknown phase; `corruption` for an unreadable policy.
pub fn expire(db: &Db, id: Uuid, phase: &str) -> Result<&'static str> {
    let duty = match phase {
        "attempt_timeout" => Duty::AttemptTimeout,
        "execution_deadline" => Duty::ExecutionDeadline,
        _ => return Err(Error::invalid_input("phase", "unknown_word")),
    };
    settle(db, id, duty, |after| {
        if after.is_terminal() {
            "expired"
        } else {
            "retry_scheduled"
        }
    })
}

fn settle(
    db: &Db,
    id: Uuid,
    duty: Duty,
    done: impl Fn(&Execution) -> &'static str,
) -> Result<&'static str> {
    let Some(e) = store::execution::lock(db, id) else {
        return Ok("not_found");
    };
    let now = clock::now();
    if !due::is_due(&e, duty, now) {
        return Ok(why_not(&e, duty));
    }
    let changes = perform(db, vec![e], now, duty)?;
    save::apply(db, &changes, now);
    Ok(changes.first().map_or("not_due", |c| done(&c.after)))
}

/// What of its state keeps an execution from a duty; its time may just not have come.
fn why_not(e: &Execution, duty: Duty) -> &'static str {
    let v = &e.vector;
    match duty {
        _ if e.is_terminal() => "already_terminal",
        Duty::LeaseExpiry | Duty::AttemptTimeout => match v.ownership {
            _ if v.lifecycle != Lifecycle::Active => "not_active",
            Ownership::Expired => "already_expired",
            Ownership::Revoked => "already_revoked",
            _ => "not_due",
        },
        Duty::Delay if v.eligibility != Eligibility::UntilTime => "not_delayed",
        _ => "not_due",
    }
}
