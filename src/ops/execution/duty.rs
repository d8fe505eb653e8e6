//! Time has passed: performs what due executions are due for (T8, T11, T20–T23, a lapsed grant).

use std::collections::{BTreeMap, BTreeSet};

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
use crate::store::timer::Timer;

use super::super::claim::row::{policy, reclaim_limit};
use super::super::clock;
use super::super::flow::gate::Gates;
use super::super::suspension::expire;

/// Before every timer.
pub const FIRST: (Instant, Uuid) = (Instant(i64::MIN), Uuid::nil());

/// What becomes of locked executions for which this duty is due; the others are left out.
///
/// Purging is not a transition and not done here.
///
/// # Errors
/// `corruption` for an unreadable policy.
pub fn perform(
    db: &Db,
    executions: Vec<Execution>,
    now: Instant,
    duty: Duty,
) -> Result<Vec<Change>> {
    let due = executions.into_iter().filter(|e| due::is_due(e, duty, now));
    if duty == Duty::SuspensionTimeout {
        return expire::changes(db, due.collect(), now);
    }
    let due: Vec<Execution> = due.collect();
    let policies = policies(db, &due)?;
    let gates = Gates::of(db, &due);
    Ok(due
        .into_iter()
        .filter_map(|e| {
            let policy = policies.get(&e.place.id);
            change(db, e, duty, policy, &gates, now)
        })
        .collect())
}

/// What a claim may do for due executions of its lane: nothing that only a reconciler does.
///
/// # Errors
/// `corruption` for an unreadable policy.
pub fn promote(db: &Db, executions: Vec<Execution>, now: Instant) -> Result<Vec<Change>> {
    let policies = policies(db, &executions)?;
    let gates = Gates::of(db, &executions);
    let duty = |e: &Execution| {
        [Duty::LeaseExpiry, Duty::Delay, Duty::Grant]
            .into_iter()
            .find(|d| due::is_due(e, *d, now))
    };
    let change = |e: Execution| {
        let policy = policies.get(&e.place.id);
        duty(&e).and_then(|duty| change(db, e, duty, policy, &gates, now))
    };
    Ok(executions.into_iter().filter_map(change).collect())
}

fn change(
    db: &Db,
    e: Execution,
    duty: Duty,
    policy: Option<&Policy>,
    gates: &Gates,
    now: Instant,
) -> Option<Change> {
    let defaults = Policy::default();
    let policy = policy.unwrap_or(&defaults);
    Some(match duty {
        Duty::ExecutionDeadline => transition::deadline(e, now),
        Duty::AttemptTimeout => {
            let class = FailureClass::Timeout;
            let again =
                || retry::decide(policy, e.retries, class, class.word(), None, clock::draw());
            let retry = match store::covered::forbids_retry(db, &e) {
                true => None,
                false => again(),
            };
            transition::time_out(e, retry, now)
        }
        Duty::LeaseExpiry if i64::from(e.reclaims) >= reclaim_limit(policy, None) => {
            transition::exhaust_reclaims(e, now)
        }
        Duty::LeaseExpiry => transition::expire_lease(e, now),
        Duty::Delay => gates.open(db, e, now, transition::promote),
        Duty::Grant => transition::ungrant(e, now),
        Duty::SuspensionTimeout | Duty::Purge => return None,
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

/// Moves timers of executions that have been looked at to where each is due next; whether there were any.
pub fn rearm<'e>(
    db: &Db,
    timers: &[Timer],
    executions: impl Iterator<Item = &'e Execution>,
) -> bool {
    let mut settled = BTreeSet::new();
    let (mut living, mut ended) = (Vec::new(), Vec::new());
    for e in executions {
        settled.insert(e.place.id);
        match due::next_due(e) {
            Some(at) if e.is_terminal() => ended.push((at, e.place.id)),
            Some(at) => living.push(Timer::live(e, at)),
            None => {}
        }
    }
    let spent: Vec<Timer> = timers
        .iter()
        .filter(|t| settled.contains(&t.id))
        .copied()
        .collect();
    store::timer::delete(db, &spent);
    store::timer::insert(db, &living);
    store::purge::insert(db, ended);
    !spent.is_empty()
}
