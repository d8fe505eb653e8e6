//! Time passing: a delay elapses T20, a lease expires T8.

use crate::model::event::{Code, Event};
use crate::model::execution::Execution;
use crate::model::time::Instant;
use crate::model::words::*;

use super::{Change, close_stream};

/// T20: the delay is over; what the next claim does with the attempt is untouched.
pub fn promote(before: Execution, now: Instant) -> Change {
    let mut change = Change::of(before, now);
    let e = &mut change.after;
    e.delay_until = None;
    e.blocking_detail = None;
    let vector = Vector {
        eligibility: Eligibility::Now,
        blocking: Blocking::Worker,
        ..e.vector
    };
    change.enter(vector, now);
    change
}

/// T8: marks a lease whose time is over.
pub fn expire_lease(before: Execution, now: Instant) -> Change {
    let event = Event::lease(&before, Code::LeaseExpired, None);
    let mut change = Change::of(before, now);
    let e = &mut change.after;
    e.lease.expired_at = Some(now);
    close_stream(e, CloseReason::LeaseExpired, now);
    e.attempt_deadline = None;
    // One mark is all that a claim needs to find it.
    e.grant = e.grant.take().filter(|g| g.expires_at > now);
    e.blocking_detail = Some("lease expired, awaiting reclaim".to_owned());
    let vector = Vector {
        ownership: Ownership::Expired,
        blocking: Blocking::Worker,
        attempt: AttemptState::Interrupted,
        ..e.vector
    };
    change.enter(vector, now);
    change.announce(event)
}
