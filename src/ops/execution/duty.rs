//! Time has passed: performs what due executions are due for (T8, T11, T20–T23, a lapsed grant).

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::error::Result;
use crate::model::due::{self, Duty};
use crate::model::execution::Execution;
use crate::model::policy::Policy;
use crate::model::retry::{self, FailureClass};
use crate::model::time::Instant;
use crate::model::transition::{self, Change};
use crate::pg::spi::Db;
use crate::store;

use super::super::claim::row::{policy, reclaim_limit};
use super::super::clock;

/// Before every timer.
pub const FIRST: (Instant, Uuid) = (Instant(i64::MIN), Uuid::nil());

/// What becomes of locked executions that are due; those that are not are left out.
///
/// With `only`, nothing but that duty is performed. Purging is not a transition and not done here.
///
/// # Errors
/// `corruption` for an unreadable policy.
pub fn perform(
    db: &Db,
    executions: Vec<Execution>,
    now: Instant,
    only: Option<Duty>,
) -> Result<Vec<Change>> {
    let policies = policies(db, &executions)?;
    let mut changes = Vec::with_capacity(executions.len());
    for e in executions {
        let duty = match only {
            Some(duty) => due::is_due(&e, duty, now).then_some(duty),
            None => due::duty(&e, now),
        };
        let policy = policies.get(&e.place.id);
        changes.extend(duty.and_then(|duty| change(e, duty, policy, now)));
    }
    Ok(changes)
}

fn change(e: Execution, duty: Duty, policy: Option<&Policy>, now: Instant) -> Option<Change> {
    let defaults = Policy::default();
    let policy = policy.unwrap_or(&defaults);
    Some(match duty {
        Duty::ExecutionDeadline => transition::deadline(e, now),
        Duty::AttemptTimeout => {
            let class = FailureClass::Timeout;
            let retry = retry::decide(policy, e.retries, class, class.word(), None, clock::draw());
            transition::time_out(e, retry, now)
        }
        Duty::LeaseExpiry if i64::from(e.reclaims) >= reclaim_limit(policy, None) => {
            transition::exhaust_reclaims(e, now)
        }
        Duty::LeaseExpiry => transition::expire_lease(e, now),
        Duty::Delay => transition::promote(e, now),
        Duty::Grant => transition::ungrant(e, now),
        Duty::Purge => return None,
    })
}

/// The policies of executions, parsed; absent where all is default.
///
/// # Errors
/// `corruption` for an unreadable policy.
pub fn policies(db: &Db, executions: &[Execution]) -> Result<BTreeMap<Uuid, Policy>> {
    let ids: Vec<Uuid> = executions.iter().map(|e| e.place.id).collect();
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    store::input::policies(db, &ids)
        .into_iter()
        .map(|(id, stored)| Ok((id, policy(Some(&stored))?)))
        .collect()
}
