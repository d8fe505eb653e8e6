//! What the engine must look at again, and when: both are derived from the execution, never decided by an operation.

use uuid::Uuid;

use super::execution::Execution;
use super::time::Instant;
use super::words::*;

/// Place in a queue, ascending in claim order (§10.11 step 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// 9000 − priority.
    pub rank: i16,
    /// Creation instant.
    pub created_at: Instant,
    /// Identity.
    pub id: Uuid,
}

/// An entry of the ready queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The queue.
    pub queue: i32,
    /// Place in it.
    pub position: Position,
    /// The execution is active and has lost its lease.
    pub reclaim: bool,
}

/// Highest priority; ranks count down from it.
pub const MAX_PRIORITY: i16 = 9000;

/// Where a claim would find the execution, if it may hand it out.
///
/// A reserved execution is nowhere: the grant's expiry is a due instant, and brings it back.
pub fn ready(e: &Execution) -> Option<Ready> {
    if e.grant.is_some() {
        return None;
    }
    let reclaim = match (e.vector.lifecycle, e.vector.ownership, e.vector.eligibility) {
        (Lifecycle::Runnable, _, Eligibility::Now | Eligibility::Route) => false,
        (Lifecycle::Active, Ownership::Expired | Ownership::Revoked, _) => true,
        _ => return None,
    };
    Some(Ready {
        queue: e.place.queue,
        position: position(e),
        reclaim,
    })
}

fn position(e: &Execution) -> Position {
    Position {
        rank: MAX_PRIORITY - e.priority,
        created_at: e.place.created_at,
        id: e.place.id,
    }
}

/// An execution that waits for a worker that is not there, where the engine looks for such ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unrouted {
    /// The queue, and with it the requirement.
    pub queue: i32,
    /// Place in it.
    pub position: Position,
    /// Not to be looked at earlier.
    pub recheck_at: Option<Instant>,
}

/// Where the engine would find the execution once a worker can run it, if it waits for one.
pub fn unrouted(e: &Execution) -> Option<Unrouted> {
    (e.vector.eligibility == Eligibility::Route).then(|| Unrouted {
        queue: e.place.queue,
        position: position(e),
        recheck_at: e.recheck_at,
    })
}

/// An execution that a budget or a quota holds back, where the engine looks for such ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied {
    /// What denied it; nil if a caller blocked it.
    pub policy: Uuid,
    /// Place among those that it denied.
    pub position: Position,
    /// Not to be looked at earlier; of one that is on its way: how long it counts.
    pub recheck_at: Option<Instant>,
    /// It has been let go and is on its way.
    pub offered: bool,
}

/// Where the engine would find the execution once there is room for it, if it waits for that, or has waited and now
/// takes the room that there is.
pub fn denied(e: &Execution) -> Option<Denied> {
    let entry = |policy, recheck_at, offered| Denied {
        policy,
        position: position(e),
        recheck_at,
        offered,
    };
    if let Some((quota, until)) = e.offered {
        return Some(entry(quota, Some(until), true));
    }
    let waits = matches!(
        e.vector.eligibility,
        Eligibility::Budget | Eligibility::Quota
    );
    waits.then(|| entry(e.blocked_by_policy.unwrap_or_default(), e.recheck_at, false))
}

/// The next instant at which the engine itself has to act on the execution.
pub fn next_due(e: &Execution) -> Option<Instant> {
    if e.is_terminal() {
        return e.purge_at;
    }
    let leased = e.vector.ownership == Ownership::Leased;
    let delayed = e.vector.eligibility == Eligibility::UntilTime;
    let earlier = |a: Option<Instant>, b: Option<Instant>| match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    };
    let mut due = e.deadline;
    if leased {
        due = earlier(due, earlier(e.lease.expires_at, e.attempt_deadline));
    }
    if delayed {
        due = earlier(due, e.delay_until);
    }
    due = earlier(due, e.suspension_timeout);
    earlier(due, e.grant.as_ref().map(|g| g.expires_at))
}

/// When the lease ended that is marked as lost and that nobody has taken over.
pub fn lost(e: &Execution) -> Option<Instant> {
    let marked = e.vector.ownership == Ownership::Expired;
    e.lease.expires_at.filter(|_| marked)
}

/// When to look at an execution that has changed, if the timer that stands for it comes too late.
///
/// A timer that is too early costs a look and is moved then, so only an earlier instant arms another one. The
/// timers of the dead are not looked at by those who care for the living.
pub fn arm(before: Option<&Execution>, after: &Execution) -> Option<Instant> {
    let stood = before
        .filter(|before| !before.is_terminal() || after.is_terminal())
        .and_then(next_due);
    next_due(after).filter(|at| stood.is_none_or(|stood| *at < stood))
}

/// What a due execution is due for. A deadline wins over everything, because claims check it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// T23.
    ExecutionDeadline,
    /// T21 or T22.
    AttemptTimeout,
    /// T8 or T11.
    LeaseExpiry,
    /// T20.
    Delay,
    /// The grant lapses.
    Grant,
    /// The suspension times out (§20.16).
    SuspensionTimeout,
    /// Delete it.
    Purge,
}

/// Whether the execution is due for this duty at `now`. Nothing but its deadline concerns one past its deadline.
pub fn is_due(e: &Execution, duty: Duty, now: Instant) -> bool {
    let passed = |at: Option<Instant>| at.is_some_and(|at| at <= now);
    if e.is_terminal() {
        return duty == Duty::Purge && passed(e.purge_at);
    }
    if passed(e.deadline) {
        return duty == Duty::ExecutionDeadline;
    }
    let leased = e.vector.ownership == Ownership::Leased;
    match duty {
        Duty::ExecutionDeadline | Duty::Purge => false,
        Duty::AttemptTimeout => leased && passed(e.attempt_deadline),
        Duty::LeaseExpiry => leased && passed(e.lease.expires_at),
        Duty::Delay => e.vector.eligibility == Eligibility::UntilTime && passed(e.delay_until),
        Duty::Grant => passed(e.grant.as_ref().map(|g| g.expires_at)),
        Duty::SuspensionTimeout => passed(e.suspension_timeout),
    }
}

/// What the execution is due for at `now`, none if nothing is.
pub fn duty(e: &Execution, now: Instant) -> Option<Duty> {
    use Duty::*;
    [
        ExecutionDeadline,
        AttemptTimeout,
        LeaseExpiry,
        Delay,
        Grant,
        SuspensionTimeout,
        Purge,
    ]
    .into_iter()
    .find(|d| is_due(e, *d, now))
}
