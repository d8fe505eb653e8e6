//! Reserves a named execution for one worker (§10.12): what is claimable, or what has lost its lease.

use serde_json::Value;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::model::execution::Grant;
use crate::model::grant::{claimable, live, missing, reclaimable};
use crate::model::text;
use crate::model::transition;
use crate::model::words::GrantKind;
use crate::pg::spi::Db;
use crate::store;
use crate::store::claimer::Claimer;

use super::super::claim::row::reclaim_limit;
use super::super::execution::duty;
use super::reclaim::why_not;
use super::{Locked, check, grant_of};

/// The longest route snapshot that is kept, in bytes of its text.
const MAX_SNAPSHOT_BYTES: usize = text::MAX_FREE_TEXT_BYTES;

/// What is to be reserved for whom.
pub struct Request {
    /// Execution.
    pub id: Uuid,
    /// Worker.
    pub claimer: Claimer,
    /// Length of the grant, milliseconds.
    pub ttl_ms: i32,
}

/// What a scheduler notes with its grant.
#[derive(Default)]
pub struct Notes {
    /// What it saw.
    pub route_snapshot: Option<Value>,
    /// How it admitted.
    pub admission_summary: Option<String>,
}

impl Notes {
    fn check(&self) -> Result<()> {
        if let Some(summary) = &self.admission_summary {
            text::reason("admission_summary", summary, text::MAX_REASON_BYTES)?;
        }
        let length = self.route_snapshot.as_ref().map(|s| s.to_string().len());
        if length.is_some_and(|bytes| bytes > MAX_SNAPSHOT_BYTES) {
            return Err(Error::invalid_input("route_snapshot", "too_long")
                .with("max_bytes", MAX_SNAPSHOT_BYTES));
        }
        Ok(())
    }
}

/// What became of it.
#[derive(Default)]
pub struct Issued {
    /// Outcome word.
    pub outcome: &'static str,
    /// The grant, if one was made.
    pub grant: Option<Grant>,
    /// Sorted capabilities that the worker lacks.
    pub missing: Option<Vec<String>>,
    /// Reclaims used.
    pub reclaims: i32,
    /// Why not.
    pub detail: Option<String>,
}

fn outcome(outcome: &'static str) -> Issued {
    Issued {
        outcome,
        ..Issued::default()
    }
}

/// Reserves a claimable execution. Nothing is admitted here: the scheduler has done that.
///
/// # Errors
/// `execution_not_found`, `invalid_capabilities`, `invalid_input`.
pub fn claim(db: &Db, mut r: Request, notes: Notes, block_on_mismatch: bool) -> Result<Issued> {
    check(&mut r.claimer)?;
    notes.check()?;
    let locked = Locked::lock(db, r.id)?;
    let (e, now) = (&locked.e, locked.now);
    if !claimable(e, now) || locked.withheld(db) {
        return Ok(outcome("not_eligible"));
    }
    if live(e, now).is_some() {
        return Ok(outcome("grant_exists"));
    }
    let missing = missing(
        &store::queue::required(db, e.place.queue),
        &r.claimer.capabilities,
    );
    if !missing.is_empty() {
        let change = if block_on_mismatch {
            transition::mismatch_and_block(e.clone(), &missing, now)
        } else {
            transition::mismatch(e.clone(), now)
        };
        locked.save(db, change);
        return Ok(mismatch(missing));
    }
    let claimer = store::claimer::intern(db, &r.claimer);
    let grant = Grant {
        route_snapshot: notes.route_snapshot,
        admission_summary: notes.admission_summary,
        ..grant_of(e, GrantKind::Claim, claimer, r.ttl_ms, now)
    };
    locked.save(db, transition::grant(e.clone(), grant.clone(), now));
    Ok(granted(grant))
}

/// Reserves an execution whose lease is lost; at its reclaim limit it ends instead (T11).
///
/// # Errors
/// `execution_not_found`, `invalid_capabilities`, `invalid_input`; `corruption` for an unreadable policy.
pub fn reclaim(db: &Db, mut r: Request) -> Result<Issued> {
    check(&mut r.claimer)?;
    let locked = Locked::lock(db, r.id)?;
    let (e, now) = (&locked.e, locked.now);
    let counted = |issued: Issued| Issued {
        reclaims: e.reclaims,
        ..issued
    };
    if !reclaimable(e, now) || locked.withheld(db) {
        return Ok(counted(Issued {
            detail: Some(why_not(db, &locked)),
            ..outcome("not_reclaimable")
        }));
    }
    let policies = duty::policies(db, std::slice::from_ref(e))?;
    let policy = policies.get(&r.id).cloned().unwrap_or_default();
    let limit = reclaim_limit(&policy, None);
    if i64::from(e.reclaims) >= limit {
        locked.save(db, transition::exhaust_reclaims(e.clone(), now));
        return Ok(counted(Issued {
            detail: Some(format!("the limit is {limit}")),
            ..outcome("reclaim_cap_exceeded")
        }));
    }
    if live(e, now).is_some() {
        return Ok(counted(outcome("grant_exists")));
    }
    let missing = missing(
        &store::queue::required(db, e.place.queue),
        &r.claimer.capabilities,
    );
    if !missing.is_empty() {
        locked.save(db, transition::mismatch(e.clone(), now));
        return Ok(counted(mismatch(missing)));
    }
    let claimer = store::claimer::intern(db, &r.claimer);
    let grant = grant_of(e, GrantKind::Reclaim, claimer, r.ttl_ms, now);
    locked.save(db, transition::grant(e.clone(), grant.clone(), now));
    Ok(counted(granted(grant)))
}

fn mismatch(missing: Vec<String>) -> Issued {
    Issued {
        missing: Some(missing),
        ..outcome("capability_mismatch")
    }
}

fn granted(grant: Grant) -> Issued {
    Issued {
        grant: Some(grant),
        ..outcome("granted")
    }
}
