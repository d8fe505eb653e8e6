//! Attaches budgets and quota policies to executions, flows, lanes, namespaces and everything (§50.2).

use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::model::fence;
use crate::model::{lane_name, text};
use crate::pg::spi::Db;
use crate::pg::xact;
use crate::store;
use crate::store::attachment::{self, Policy, Target};
use crate::store::quota;

use super::super::role::namespace::{admitted, unbound};
use super::super::{clock, save};
use crate::model::transition::Change;

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
    if target.kind == "flow" {
        return Err(Error::new(Kind::FlowNotFound).with("flow_id", target.id));
    }
    if let ("execution", Ok(id)) = (target.kind, Uuid::parse_str(target.id)) {
        let e = store::execution::lock(db, id).ok_or_else(|| fence::not_found(id))?;
        if !e.limited {
            let now = clock::now();
            let change = Change::touch(e, now, |e| e.limited = true);
            save::apply(db, &[change], now);
        }
    }
    Ok(attachment::attach(db, policy, target, clock::now()))
}

/// Detaches a policy; whether it was attached there. What it held back is looked at again.
pub fn detach(db: &Db, policy: Policy, target: Target) -> bool {
    let lanes = attachment::lanes(db, policy.id());
    let gone = attachment::detach(db, policy, target);
    if gone {
        reopen(&lanes);
    }
    gone
}

/// Checks the policies that new executions name.
///
/// # Errors
/// `budget_not_found`, `quota_policy_not_found`.
pub fn check_named(db: &Db, budgets: &[Uuid], quotas: &[Uuid]) -> Result<()> {
    if !budgets.is_empty() {
        let known = store::budget::room::known(db, budgets);
        if let Some(missing) = budgets.iter().find(|id| !known.contains(id)) {
            return Err(store::budget::not_found(*missing));
        }
    }
    if !quotas.is_empty() {
        quota::load(db, quotas)?;
    }
    Ok(())
}

/// Lanes may hand out work again.
pub fn reopen(lanes: &[i32]) {
    lanes.iter().for_each(|lane| xact::reopened(*lane));
}
