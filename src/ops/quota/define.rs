//! Makes quota policies, changes their limits, attaches them (§50.8).

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::model::id;
use crate::model::quota::{Limits, Quota};
use crate::pg::spi::Db;
use crate::store::attachment::{self, Policy, Target};
use crate::store::quota;

use super::super::clock;
use super::super::limit::attach;
use super::super::role::namespace::unbound;
use super::admit::DEFAULT;

/// Makes a policy with its tokens and slots; its id, and whether it is new.
///
/// # Errors
/// `invalid_quota_spec`, `unauthorized`.
pub fn create(db: &Db, limits: Limits, chosen: Option<Uuid>) -> Result<(Uuid, bool)> {
    unbound()?;
    limits.check()?;
    let q = Quota {
        id: chosen.unwrap_or_else(|| clock::mint(None)),
        limits,
    };
    if !quota::insert(db, &q, id::partition_of(q.id), clock::now()) {
        return Ok((q.id, false));
    }
    quota::make_ring(db, &q, DEFAULT);
    quota::reshape(db, &q, 0, 0);
    Ok((q.id, true))
}

/// Changes the limits of a policy. What runs goes on: surplus slots disappear when they fall free.
///
/// # Errors
/// `invalid_quota_spec`, `quota_policy_not_found`, `unauthorized`.
pub fn set_limits(db: &Db, id: Uuid, limits: Limits) -> Result<()> {
    unbound()?;
    limits.check()?;
    let (_, free, slots) = quota::lock(db, id)?;
    let q = Quota { id, limits };
    quota::update(db, &q, clock::now());
    quota::reshape(db, &q, free, slots);
    attach::reopen(&attachment::lanes(db, id));
    Ok(())
}

/// `invalid_input` for a target that is none.
fn bad_target(rule: &str) -> Error {
    Error::invalid_input("target_id", rule)
}

/// Attaches a policy; whether it was not attached there before.
///
/// # Errors
/// `quota_policy_not_found`, `invalid_input`, `execution_not_found`, `flow_not_found`, `unauthorized`.
pub fn attach(db: &Db, id: Uuid, target: Target) -> Result<bool> {
    quota::load(db, &[id])?;
    let target_id = attach::check(db, target, bad_target)?;
    let target = Target {
        id: &target_id,
        ..target
    };
    attach::attach(db, Policy::Quota(id), target)
}

/// Detaches a policy; whether it was attached there.
///
/// # Errors
/// `quota_policy_not_found`, `invalid_input`, `unauthorized`.
pub fn detach(db: &Db, id: Uuid, target: Target) -> Result<bool> {
    quota::load(db, &[id])?;
    let target_id = attach::check(db, target, bad_target)?;
    let target = Target {
        id: &target_id,
        ..target
    };
    Ok(attach::detach(db, Policy::Quota(id), target))
}
