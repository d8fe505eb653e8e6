//! Takes up one named execution (§10.12): by its grant, as an interrupted attempt, or as an operator.

use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::model::execution::Grant;
use crate::model::grant::{claimable, live, next_index};
use crate::model::lane_name;
use crate::model::words::{AttemptRecord, AttemptState, GrantKind, Lifecycle};
use crate::pg::spi::Db;
use crate::store;
use crate::store::claimer::Claimer;

use super::super::claim::row::Claimed;
use super::{Locked, check, invalid_grant};

/// Who takes what.
pub struct Request {
    /// Execution.
    pub id: Uuid,
    /// Worker and instance.
    pub claimer: Claimer,
    /// Length of the lease, milliseconds.
    pub ttl_ms: i32,
    /// The grant that is meant.
    pub grant: Option<Uuid>,
    /// The attempt that is meant.
    pub attempt_index: Option<i32>,
}

/// Consumes a grant: a new attempt, or the interrupted one.
///
/// # Errors
/// `execution_not_found`, `lease_conflict`, `execution_not_leaseable`, `active_attempt_exists`, `invalid_claim_grant`,
/// `claim_grant_expired`, `stale_lease`, in this order; before them `invalid_input`.
pub fn granted(db: &Db, mut r: Request) -> Result<Claimed> {
    check(&mut r.claimer)?;
    let locked = Locked::lock(db, r.id)?;
    not_active(&locked)?;
    leaseable(db, &locked)?;
    not_started(&locked)?;
    let grant = claim_grant(&locked).ok_or_else(|| invalid_grant(r.id, "absent"))?;
    let own = own(db, &locked, grant, &r)?;
    if r.grant.is_some_and(|id| id != grant.id) {
        return Err(invalid_grant(r.id, "another_grant"));
    }
    if grant.expires_at <= locked.now {
        return Err(lapsed(grant, r.id));
    }
    expected(&locked, r.attempt_index)?;
    locked.hand_over(db, &own, r.ttl_ms, false)
}

/// Takes up an interrupted attempt, with a grant or without.
///
/// # Errors
/// `execution_not_found`, `lease_conflict`, `execution_not_leaseable`, `not_a_resumed_execution`,
/// `invalid_claim_grant`, `claim_grant_expired`, `stale_lease`; before them `invalid_input`.
pub fn resumed(db: &Db, mut r: Request) -> Result<Claimed> {
    check(&mut r.claimer)?;
    let locked = Locked::lock(db, r.id)?;
    let e = &locked.e;
    not_active(&locked)?;
    if e.is_terminal() {
        return Err(not_leaseable(db, &locked));
    }
    let interrupted = e.vector.attempt == AttemptState::Interrupted;
    if e.vector.lifecycle == Lifecycle::Suspended || !interrupted {
        return Err(Error::new(Kind::NotAResumedExecution)
            .with("execution_id", r.id.to_string())
            .with("lifecycle_phase", e.vector.lifecycle.word())
            .with("attempt_state", e.vector.attempt.word()));
    }
    leaseable(db, &locked)?;
    let grant = claim_grant(&locked);
    let named = r.grant;
    let claimer = match (named, grant.filter(|g| named.is_none_or(|id| id == g.id))) {
        (Some(_), None) => return Err(invalid_grant(r.id, "another_grant")),
        (Some(_), Some(grant)) if grant.expires_at <= locked.now => {
            return Err(lapsed(grant, r.id));
        }
        (_, Some(grant)) if grant.expires_at > locked.now => own(db, &locked, grant, &r)?,
        _ => r.claimer.clone(),
    };
    expected(&locked, r.attempt_index)?;
    locked.hand_over(db, &claimer, r.ttl_ms, false)
}

/// An operator takes an execution over in one step, whatever it requires and whoever would admit it.
///
/// # Errors
/// `execution_not_found`, `invalid_input` for another lane, `lease_conflict`, `execution_not_leaseable`,
/// `active_attempt_exists`, `grant_already_exists`.
pub fn by_operator(db: &Db, mut r: Request, lane: Option<&str>) -> Result<Claimed> {
    check(&mut r.claimer)?;
    lane.map(lane_name::check).transpose()?;
    let locked = Locked::lock(db, r.id)?;
    let own_lane = store::lane::name(db, locked.e.place.lane);
    if lane.is_some() && lane != own_lane.as_deref() {
        return Err(Error::invalid_input(
            "lane",
            "not_the_lane_of_the_execution",
        ));
    }
    not_active(&locked)?;
    leaseable(db, &locked)?;
    not_started(&locked)?;
    let foreign = live(&locked.e, locked.now).filter(|grant| {
        let holder = locked.holder(db, grant);
        holder.is_none_or(|h| h.worker != r.claimer.worker)
    });
    if let Some(grant) = foreign {
        return Err(Error::new(Kind::GrantAlreadyExists)
            .with("execution_id", r.id.to_string())
            .with("expires_at", grant.expires_at.iso()));
    }
    locked.hand_over(db, &r.claimer, r.ttl_ms, true)
}

/// The grant for a claim, lapsed or not.
fn claim_grant(locked: &Locked) -> Option<&Grant> {
    let grant = locked.e.grant.as_ref();
    grant.filter(|g| g.kind == GrantKind::Claim)
}

/// The claimer of a lease that a grant leads to: its capabilities and namespace are those it was granted for.
fn own(db: &Db, locked: &Locked, grant: &Grant, r: &Request) -> Result<Claimer> {
    let holder = locked.holder(db, grant);
    let holder = holder.filter(|h| h.worker == r.claimer.worker);
    let holder = holder.ok_or_else(|| invalid_grant(r.id, "another_worker"))?;
    Ok(Claimer {
        instance: r.claimer.instance.clone(),
        ..holder
    })
}

/// Nobody holds it, not even with a lost lease.
fn not_active(locked: &Locked) -> Result<()> {
    let e = &locked.e;
    if e.vector.lifecycle != Lifecycle::Active {
        return Ok(());
    }
    Err(Error::new(Kind::LeaseConflict)
        .with("execution_id", e.place.id.to_string())
        .with("ownership_state", e.vector.ownership.word())
        .with("lease_epoch", e.lease.epoch))
}

fn leaseable(db: &Db, locked: &Locked) -> Result<()> {
    if claimable(&locked.e, locked.now) && !locked.withheld(db) {
        Ok(())
    } else {
        Err(not_leaseable(db, locked))
    }
}

fn not_leaseable(db: &Db, locked: &Locked) -> Error {
    let e = &locked.e;
    Error::new(Kind::ExecutionNotLeaseable)
        .with("execution_id", e.place.id.to_string())
        .with("lifecycle_phase", e.vector.lifecycle.word())
        .with("terminal_outcome", e.vector.outcome.word())
        .with("eligibility_state", e.vector.eligibility.word())
        .with("execution_deadline", e.deadline.map(|at| at.iso()))
        .with("closed_lane", locked.closed(db))
}

fn not_started(locked: &Locked) -> Result<()> {
    let e = &locked.e;
    let started = |a: &&crate::model::execution::Attempt| a.record == AttemptRecord::Started;
    match e.attempt.as_ref().filter(started) {
        None => Ok(()),
        Some(attempt) => Err(Error::new(Kind::ActiveAttemptExists)
            .with("execution_id", e.place.id.to_string())
            .with("attempt_id", attempt.id.to_string())),
    }
}

fn expected(locked: &Locked, index: Option<i32>) -> Result<()> {
    let next = next_index(&locked.e);
    if index.is_none_or(|index| index == next) {
        return Ok(());
    }
    Err(Error::new(Kind::StaleLease)
        .with("execution_id", locked.e.place.id.to_string())
        .with("lease_epoch", locked.e.lease.epoch)
        .with("expected_attempt_index", index)
        .with("attempt_index", next))
}

fn lapsed(grant: &Grant, id: Uuid) -> Error {
    Error::new(Kind::ClaimGrantExpired)
        .with("execution_id", id.to_string())
        .with("expired_at", grant.expires_at.iso())
}
