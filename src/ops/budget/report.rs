//! Usage reports (§50.4): by a worker, by an operator, and of spend that is attributed to an execution.

use serde_json::Value;
use uuid::Uuid;

use crate::error::Result;
use crate::model::budget::{self, Action, Amounts, MAX_DIMENSIONS};
use crate::model::execution::Execution;
use crate::model::fence;
use crate::model::text;
use crate::model::time::Instant;
use crate::model::transition::{self, Change, Denied, Failure};
use crate::model::words::{Lifecycle, Ownership};
use crate::pg::spi::Db;
use crate::store;
use crate::store::attachment::{self, Policy};
use crate::store::budget as stored;

use super::super::lease::fenced;
use super::super::role::namespace::unbound;
use super::super::{clock, save};
use super::charge::{self, Charged, Report};

/// Why an execution ends that its budget fails or cancels.
const EXCEEDED: &str = "budget_exceeded";

/// What became of a report for one budget.
pub struct Reported {
    /// As the counters say.
    pub charged: Charged,
    /// What was done about a breach.
    pub enforcement: &'static str,
    /// Whether the reporter still holds its lease.
    pub lease_valid: Option<bool>,
}

fn plain(charged: Vec<Charged>, lease_valid: Option<bool>) -> Vec<Reported> {
    let row = |charged: Charged| Reported {
        enforcement: match charged.action {
            Some(Action::Cancel) => "scheduled",
            _ => "none",
        },
        charged,
        lease_valid,
    };
    charged.into_iter().map(row).collect()
}

/// Reads amounts and checks a key, once the budgets are known to exist.
fn checked(
    db: &Db,
    budgets: &[Uuid],
    amounts: &Value,
    key: Option<&str>,
) -> Result<(Amounts, bool)> {
    let known = stored::load(db, budgets)?;
    let amounts = budget::amounts(amounts, MAX_DIMENSIONS)?;
    if let Some(key) = key {
        text::identifier("dedup_key", key)?;
    }
    let acts = known.iter().any(|b| b.strict && b.action != Action::Block);
    Ok((amounts, acts))
}

/// A report by an operator.
///
/// # Errors
/// `budget_not_found`, `invalid_budget_spec`, `invalid_input`, `retry_exhausted`, `unauthorized`.
pub fn by_operator(db: &Db, id: Uuid, amounts: &Value, key: Option<&str>) -> Result<Vec<Reported>> {
    unbound()?;
    let (amounts, _) = checked(db, &[id], amounts, key)?;
    let report = Report {
        budgets: &[id],
        amounts: &amounts,
        key,
        cause: None,
    };
    Ok(plain(charge::charge(db, &report)?, None))
}

/// A report by the worker that runs an execution, to one budget or to all that apply.
///
/// # Errors
/// `invalid_handle`, `handle_from_other_database`, `execution_not_found`, and those of [`by_operator`].
pub fn by_worker(
    db: &Db,
    handle: &str,
    amounts: &Value,
    budget: Option<Uuid>,
    key: Option<&str>,
) -> Result<Vec<Reported>> {
    let handle = fenced::decode(db, handle)?;
    let id = handle.execution_id;
    let seen = store::execution::look(db, id).ok_or_else(|| fence::not_found(id))?;
    let budgets = match budget {
        Some(budget) => vec![budget],
        None => effective(db, &seen),
    };
    let (amounts, acts) = checked(db, &budgets, amounts, key)?;
    // An execution that may have to be acted on comes before its budgets.
    let e = if acts {
        store::execution::lock(db, id).ok_or_else(|| fence::not_found(id))?
    } else {
        seen
    };
    let valid = fence::check(&e, &(&handle).into(), clock::now()).is_ok();
    let report = Report {
        budgets: &budgets,
        amounts: &amounts,
        key,
        cause: None,
    };
    let charged = charge::charge(db, &report)?;
    Ok(enforced(db, charged, e, Some(valid), valid))
}

/// Spend that an execution has caused.
///
/// # Errors
/// `execution_not_found` and those of [`by_operator`].
pub fn spend(
    db: &Db,
    budget: Uuid,
    execution: Uuid,
    amounts: &Value,
    key: Option<&str>,
) -> Result<Vec<Reported>> {
    let (amounts, acts) = checked(db, &[budget], amounts, key)?;
    let e = if acts {
        store::execution::lock(db, execution)
    } else {
        store::execution::look(db, execution)
    };
    let e = e.ok_or_else(|| fence::not_found(execution))?;
    let report = Report {
        budgets: &[budget],
        amounts: &amounts,
        key,
        cause: Some(execution),
    };
    let charged = charge::charge(db, &report)?;
    let active = e.vector.lifecycle == Lifecycle::Active;
    Ok(enforced(db, charged, e, None, active))
}

/// The budgets that apply to an execution, ascending.
fn effective(db: &Db, e: &Execution) -> Vec<Uuid> {
    let lane = store::lane::name(db, e.place.lane).unwrap_or_default();
    let namespace = store::lane::namespace_name(db, e.place.namespace).unwrap_or_default();
    let all = attachment::effective(db, &e.place, e.limited, &lane, &namespace);
    all.into_iter().filter_map(Policy::budget).collect()
}

/// Acts on the reporter, if a budget says so and the reporter may be acted on.
fn enforced(
    db: &Db,
    charged: Vec<Charged>,
    e: Execution,
    lease_valid: Option<bool>,
    may: bool,
) -> Vec<Reported> {
    let mut rows = plain(charged, lease_valid);
    let breach = rows.iter_mut().find(|r| r.charged.action.is_some());
    let Some((row, action)) = breach.and_then(|row| row.charged.action.map(|action| (row, action)))
    else {
        return rows;
    };
    let now = clock::now();
    let denied = denied(db, &row.charged);
    if let Some((change, word)) = may.then(|| act(e, action, denied, now)).flatten() {
        save::apply(db, &[change], now);
        row.enforcement = word;
    }
    rows
}

fn denied(db: &Db, charged: &Charged) -> Denied {
    let id = charged.budget;
    let limit = charged.limit.as_ref();
    let detail = limit.map(|(name, used, limit)| format!("budget {id}: {name} {used}/{limit}"));
    Denied {
        policy: id,
        detail: detail.unwrap_or_default(),
        recheck_at: stored::next_reset(db, id),
    }
}

/// What an action makes of an active execution, and its word; none if it cannot be applied to its state.
pub(super) fn act(
    e: Execution,
    action: Action,
    denied: Denied,
    now: Instant,
) -> Option<(Change, &'static str)> {
    let leased = e.vector.ownership == Ownership::Leased;
    match action {
        Action::Fail if leased => {
            let failure = Failure {
                reason: EXCEEDED.to_owned(),
                category: EXCEEDED.to_owned(),
                class: "permanent",
                detail: None,
            };
            Some((transition::fail(e, failure, None, now), "failed"))
        }
        Action::Suspend if leased => Some((transition::park(e, denied, now), "suspended")),
        Action::Cancel if !e.is_terminal() => {
            let change = transition::cancel(e, EXCEEDED, "budget", now);
            Some((change, "cancelled"))
        }
        _ => None,
    }
}
