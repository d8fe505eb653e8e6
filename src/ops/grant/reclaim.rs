//! Takes over an execution with a lost lease by its reclaim grant (§10.12): T10, or T11 at the limit.

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::model::grant::{live, reclaimable};
use crate::model::transition;
use crate::model::words::GrantKind;
use crate::pg::spi::Db;
use crate::store::claimer::Claimer;

use super::super::claim::row::{Claimed, reclaim_limit};
use super::super::execution::duty;
use super::{Locked, check, invalid_grant};

/// Who takes over what.
pub struct Request {
    /// Execution.
    pub id: Uuid,
    /// Worker and instance.
    pub claimer: Claimer,
    /// Length of the lease, milliseconds.
    pub ttl_ms: i32,
    /// The grant that is meant.
    pub grant: Option<Uuid>,
    /// The limit where the policy has none.
    pub max_reclaims: Option<i32>,
}

/// What became of it.
pub enum Reclaimed {
    /// T10.
    Claimed(Box<Claimed>),
    /// Its state does not allow it, or its lane.
    NotReclaimable(String),
    /// T11: so many reclaims were the limit.
    Exhausted(i32),
    /// Nothing reserves it for a reclaim.
    GrantNotFound,
}

/// Consumes a reclaim grant.
///
/// # Errors
/// `execution_not_found`, `invalid_claim_grant` for another worker's grant, `invalid_input`.
pub fn reclaim(db: &Db, mut r: Request) -> Result<Reclaimed> {
    check(&mut r.claimer)?;
    if r.max_reclaims.is_some_and(|n| n < 0) {
        return Err(Error::invalid_input("max_reclaim_count", "negative"));
    }
    let locked = Locked::lock(db, r.id)?;
    let (e, now) = (&locked.e, locked.now);
    if !reclaimable(e, now) || locked.withheld(db) {
        return Ok(Reclaimed::NotReclaimable(why_not(db, &locked)));
    }
    let grant = live(e, now).filter(|g| g.kind == GrantKind::Reclaim);
    let Some(grant) = grant.filter(|g| r.grant.is_none_or(|id| id == g.id)) else {
        return Ok(Reclaimed::GrantNotFound);
    };
    let holder = locked.holder(db, grant);
    let Some(holder) = holder.filter(|h| h.worker == r.claimer.worker) else {
        return Err(invalid_grant(r.id, "another_worker"));
    };
    let policies = duty::policies(db, std::slice::from_ref(e))?;
    let policy = policies.get(&r.id).cloned().unwrap_or_default();
    if i64::from(e.reclaims) >= reclaim_limit(&policy, r.max_reclaims.map(i64::from)) {
        locked.save(db, transition::exhaust_reclaims(e.clone(), now));
        return Ok(Reclaimed::Exhausted(e.reclaims));
    }
    let claimer = Claimer {
        instance: r.claimer.instance,
        ..holder
    };
    let claimed = locked.hand_over(db, &claimer, r.ttl_ms, false)?;
    Ok(Reclaimed::Claimed(Box::new(claimed)))
}

/// What keeps an execution from being reclaimed.
pub(super) fn why_not(db: &Db, locked: &Locked) -> String {
    let e = &locked.e;
    if !reclaimable(e, locked.now) {
        let (phase, owner) = (e.vector.lifecycle.word(), e.vector.ownership.word());
        let late = e.deadline.filter(|at| *at <= locked.now);
        let late = late.map_or_else(String::new, |at| format!(", deadline {}", at.iso()));
        return format!("lifecycle_phase {phase}, ownership_state {owner}{late}");
    }
    match locked.closed(db) {
        Some(state) => format!("its lane is {state}"),
        None => "its flow is cancelled".to_owned(),
    }
}
