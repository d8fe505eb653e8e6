//! Interventions from outside: revoke T9, block T24, priority, grants.

use crate::model::event::{Code, Event};
use crate::model::execution::{Execution, Grant};
use crate::model::time::Instant;
use crate::model::words::*;

use super::Change;

/// T9: takes the lease away; the execution stays active until someone reclaims or cancels it.
pub fn revoke(before: Execution, reason: &str, now: Instant) -> Change {
    let event = Event::lease(&before, Code::LeaseRevoked, Some(reason));
    let mut change = Change::of(before, now);
    let e = &mut change.after;
    e.lease.revoked_at = Some(now);
    e.lease.revoke_reason = Some(reason.to_owned());
    e.attempt_deadline = None;
    e.blocking_detail = Some(format!("lease revoked: {reason}"));
    let vector = Vector {
        ownership: Ownership::Revoked,
        blocking: Blocking::Worker,
        attempt: AttemptState::Interrupted,
        ..e.vector
    };
    change.enter(vector, now);
    change.announce(event)
}

/// T24.
pub fn block(
    before: Execution,
    (eligibility, blocking): (Eligibility, Blocking),
    detail: Option<String>,
    recheck_at: Option<Instant>,
    now: Instant,
) -> Change {
    let mut change = Change::of(before, now);
    let e = &mut change.after;
    e.blocking_detail = detail;
    e.recheck_at = recheck_at;
    e.blocked_by_policy = None;
    e.grant = None;
    let vector = Vector {
        eligibility,
        blocking,
        ..e.vector
    };
    change.enter(vector, now);
    change
}

/// Changes the priority; `new` is already clamped and differs.
pub fn change_priority(before: Execution, new: i16, now: Instant) -> Change {
    let details = serde_json::json!({ "old_priority": before.priority, "new_priority": new });
    Change::touch(before, now, |e| e.priority = new)
        .announce(Event::plain(Code::OperatorPriorityChanged, Some(details)))
}

/// Reserves the execution; no other path sees it until the grant is consumed or lapses.
pub fn grant(before: Execution, grant: Grant, now: Instant) -> Change {
    Change::touch(before, now, |e| e.grant = Some(grant))
}

/// Removes a grant, lapsed or withdrawn.
pub fn ungrant(before: Execution, now: Instant) -> Change {
    Change::touch(before, now, |e| e.grant = None)
}
