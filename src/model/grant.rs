//! What may be reserved or handed out, and whether a reservation still holds (§10.11, §10.12).

use super::execution::{Execution, Grant};
use super::time::Instant;
use super::words::*;

/// Whether an execution is claimable, its lane and its grant aside.
pub fn claimable(e: &Execution, now: Instant) -> bool {
    e.vector.lifecycle == Lifecycle::Runnable
        && matches!(e.vector.eligibility, Eligibility::Now | Eligibility::Route)
        && in_time(e, now)
}

/// Whether an execution has lost its lease and may be taken over, its lane and its grant aside.
pub fn reclaimable(e: &Execution, now: Instant) -> bool {
    e.vector.lifecycle == Lifecycle::Active && !e.lease_live(now) && in_time(e, now)
}

fn in_time(e: &Execution, now: Instant) -> bool {
    e.deadline.is_none_or(|at| at > now)
}

/// The grant that hides the execution at `now`; one past due is ignored (§10.12).
pub fn live(e: &Execution, now: Instant) -> Option<&Grant> {
    e.grant.as_ref().filter(|g| g.expires_at > now)
}

/// The number of the attempt that a claim would run: the interrupted one, or the next.
pub fn next_index(e: &Execution) -> i32 {
    match (e.vector.attempt, e.attempt_index()) {
        (AttemptState::Interrupted, Some(index)) => index,
        _ => e.total_attempts,
    }
}

/// What a requirement asks for beyond these capabilities, sorted as the requirement is.
pub fn missing(required: &[String], capabilities: &[String]) -> Vec<String> {
    let lacks = |token: &&String| !capabilities.contains(token);
    required.iter().filter(lacks).cloned().collect()
}
