//! Attaches budgets and quota policies to executions, flows, lanes, namespaces and everything (§50.2).

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::model::transition::Change;
use crate::model::{fence, lane_name, policy, text};
use crate::pg::spi::Db;
use crate::pg::xact;
use crate::store;
use crate::store::attachment::{self, Policy, Target};
use crate::store::quota;

use super::super::role::namespace::{admitted, unbound};
use super::super::{clock, save};

/// Checks a target, and what the calling roles may attach to; its id in the one spelling that is stored.
///
/// # Errors
/// `bad` for a target that is not one; `unauthorized`.
pub fn check(db: &Db, target: Target, bad: impl Fn(&str) -> Error) -> Result<String> {
    match target.kind {
        "execution" | "flow" => {
            return Uuid::parse_str(target.id)
                .map(|id| id.to_string())
                .map_err(|_| bad("id"));
        }
        "lane" => {
            unbound()?;
            lane_name::check(target.id).map_err(|_| bad("lane"))?;
        }
        "namespace" => {
            text::identifier("namespace", target.id).map_err(|_| bad("namespace"))?;
            admitted(db, target.id)?;
        }
        "global" => {
            unbound()?;
            if !target.id.is_empty() {
                return Err(bad("global"));
            }
        }
        _ => return Err(bad("target_type")),
    }
    Ok(target.id.to_owned())
}

/// Attaches a policy to a checked target; whether it was not attached there before.
///
/// # Errors
/// `execution_not_found`, `flow_not_found`.
pub fn attach(db: &Db, policy: Policy, target: Target) -> Result<bool> {
    match (target.kind, Uuid::parse_str(target.id)) {
        ("execution", Ok(id)) => {
            let e = store::execution::lock(db, id).ok_or_else(|| fence::not_found(id))?;
            if !e.limited {
                let now = clock::now();
                let change = Change::touch(e, now, |e| e.limited = true);
                save::apply(db, &[change], now);
            }
        }
        // Locked, so that nobody deletes it meanwhile and leaves the attachment behind.
        ("flow", Ok(id)) if store::flow::lock(db, id).is_none() => {
            return Err(Error::new(Kind::FlowNotFound).with("flow_id", target.id));
        }
        _ => {}
    }
    Ok(attachment::attach(db, policy, target, clock::now()))
}

/// Detaches a policy; whether it was attached there. What it held back is looked at again.
pub fn detach(db: &Db, policy: Policy, target: Target) -> bool {
    if !visible(db, target) {
        return false;
    }
    let lanes = attachment::lanes(db, policy.id());
    let gone = attachment::detach(db, policy, target);
    if gone {
        reopen(&lanes);
    }
    gone
}

/// Whether the calling roles see an execution or a flow; what else there is has been checked with its name.
fn visible(db: &Db, target: Target) -> bool {
    match (target.kind, Uuid::parse_str(target.id)) {
        ("execution", Ok(id)) => store::execution::look(db, id).is_some(),
        ("flow", Ok(id)) => !store::flow::read(db, &[id]).is_empty(),
        _ => true,
    }
}

/// Those of the policies that exist.
pub fn known(db: &Db, policies: impl Iterator<Item = Policy>) -> BTreeSet<Policy> {
    let (budgets, quotas): (Vec<Policy>, Vec<Policy>) =
        policies.partition(|p| p.budget().is_some());
    let ids = |policies: &[Policy]| policies.iter().map(|p| p.id()).collect::<Vec<_>>();
    let mut known = BTreeSet::new();
    if !budgets.is_empty() {
        let found = store::budget::room::known(db, &ids(&budgets)).into_iter();
        known.extend(found.map(Policy::Budget));
    }
    if !quotas.is_empty() {
        let found = quota::find(db, &ids(&quotas)).into_iter();
        known.extend(found.map(|q| Policy::Quota(q.id)));
    }
    known
}

/// Checks the policies that a new execution names.
///
/// # Errors
/// `budget_not_found`, `quota_policy_not_found`.
pub fn check_named(db: &Db, policy: &policy::Policy) -> Result<()> {
    let known = known(db, named(policy));
    match named(policy).find(|policy| !known.contains(policy)) {
        Some(Policy::Budget(id)) => Err(store::budget::not_found(id)),
        Some(Policy::Quota(id)) => Err(quota::not_found(id)),
        None => Ok(()),
    }
}

/// The budgets and quota policies that a policy document names.
pub fn named(policy: &policy::Policy) -> impl Iterator<Item = Policy> {
    let budgets = policy.budget_ids.iter().copied().map(Policy::Budget);
    budgets.chain(policy.quota_policy_id.map(Policy::Quota))
}

/// Lanes may hand out work again.
pub fn reopen(lanes: &[i32]) {
    lanes.iter().for_each(|lane| xact::reopened(*lane));
}
