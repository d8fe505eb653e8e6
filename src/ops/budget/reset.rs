//! Begins a new period of a budget (§50.7): one row is written, and nobody is waited for.

use serde_json::json;
use uuid::Uuid;

use crate::error::Result;
use crate::model::budget::Budget;
use crate::model::event::{Code, Event};
use crate::model::time::Instant;
use crate::pg::spi::Db;
use crate::store::{attachment, budget, event};

use super::super::clock;
use super::super::limit::attach;
use super::super::role::namespace::unbound;

/// Resets by hand; when the new period ends.
///
/// # Errors
/// `budget_not_found`, `unauthorized`.
pub fn by_hand(db: &Db, id: Uuid) -> Result<Option<Instant>> {
    unbound()?;
    let b = budget::lock(db, id)?;
    let now = clock::now();
    let next = budget::schedule(db, id).and_then(|(every, _)| every.once(now));
    begin(db, &b, "manual", next, now);
    Ok(next)
}

/// Resets a budget whose period has ended, unless somebody holds its row; whether it was still due.
///
/// # Errors
/// `corruption`.
pub fn scheduled(db: &Db, id: Uuid) -> Result<Option<bool>> {
    let Some(b) = budget::lock_free(db, id)? else {
        return Ok(None);
    };
    let now = clock::now();
    if budget::next_reset(db, id).is_none_or(|at| at > now) {
        return Ok(Some(false));
    }
    let next = budget::schedule(db, id).and_then(|(every, anchor)| every.next(anchor, now));
    begin(db, &b, "scheduled", next, now);
    Ok(Some(true))
}

fn begin(db: &Db, b: &Budget, how: &str, next: Option<Instant>, now: Instant) {
    budget::reset(db, b.id, now, next);
    let details = json!({ "budget_id": b.id, "period": b.period + 1, "reset": how });
    let event = Event::plain(Code::OperatorBudgetReset, Some(details));
    event::append_global(db, now, None, None, &event);
    attach::reopen(&attachment::lanes(db, b.id));
}
