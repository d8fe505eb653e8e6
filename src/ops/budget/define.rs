//! Makes budgets, changes their limits, attaches them (§50.3).

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::model::budget::Budget;
use crate::model::reset::Every;
use crate::model::time::Instant;
use crate::model::{id, text};
use crate::pg::spi::Db;
use crate::store::attachment::{self, Policy, Target};
use crate::store::budget::{self, room, usage};

use super::super::clock;
use super::super::limit::attach;
use super::super::role::namespace::unbound;
use super::escrow;

/// A budget as asked for.
pub struct Request<'a> {
    /// Target type or `custom`.
    pub scope_type: &'a str,
    /// Target.
    pub scope_id: &'a str,
    /// What reports will see; its id is nil if none was chosen.
    pub budget: Budget,
    /// Length of a period.
    pub every: Option<Every>,
    /// Where periods begin; now if none is given.
    pub anchor: Option<Instant>,
}

/// `invalid_budget_scope` with its rule.
fn bad_scope(rule: &str) -> Error {
    Error::new(Kind::InvalidBudgetScope).with("rule", rule)
}

/// Makes a budget; its id, the end of its first period, and whether it is new.
///
/// # Errors
/// `invalid_budget_scope`, `unauthorized`.
pub fn create(db: &Db, mut r: Request) -> Result<(Uuid, Option<Instant>, bool)> {
    let target = Target {
        kind: r.scope_type,
        id: r.scope_id,
    };
    let custom = r.scope_type == "custom";
    if custom {
        unbound()?;
        let short = r.scope_id.len() <= text::MAX_IDENTIFIER_BYTES;
        if !short || r.scope_id.chars().any(char::is_control) {
            return Err(bad_scope("scope_id"));
        }
    }
    let scope_id = if custom {
        r.scope_id.to_owned()
    } else {
        attach::check(db, target, bad_scope)?
    };
    if r.budget.id.is_nil() {
        r.budget.id = clock::mint(None);
    }
    let b = &r.budget;
    let now = clock::now();
    let anchor = r.anchor.unwrap_or(now);
    let next = r.every.and_then(|every| every.next(anchor, now));
    let new = budget::New {
        budget: b,
        partition: id::partition_of(b.id),
        scope_type: r.scope_type,
        scope_id: &scope_id,
        every: r.every,
        anchor,
        next_reset_at: next,
        now,
    };
    if !budget::insert(db, &new) {
        return Ok((b.id, budget::next_reset(db, b.id), false));
    }
    let empty = Budget {
        hard: Default::default(),
        ..b.clone()
    };
    for dimension in b.hard.keys() {
        escrow::change(db, &empty, b, dimension)?;
    }
    if !custom {
        let target = Target {
            id: &scope_id,
            ..target
        };
        attach::attach(db, Policy::Budget(b.id), target).map_err(|error| match error.kind() {
            Kind::ExecutionNotFound | Kind::FlowNotFound => bad_scope("unknown_id"),
            _ => error,
        })?;
    }
    Ok((b.id, next, true))
}

/// Replaces both maps of limits.
///
/// # Errors
/// `budget_not_found`, `unauthorized`.
pub fn set_limits(db: &Db, changed: impl Fn(&Budget) -> Budget, id: Uuid) -> Result<()> {
    unbound()?;
    let before = budget::lock(db, id)?;
    let mut after = changed(&before);
    let dimensions: BTreeSet<&String> = before.hard.keys().chain(after.hard.keys()).collect();
    for dimension in dimensions {
        escrow::change(db, &before, &after, dimension)?;
    }
    budget::set_limits(db, &after, clock::now());
    settle(db, &mut after);
    attach::reopen(&attachment::lanes(db, id));
    Ok(())
}

/// Clears what no longer holds of a locked budget whose limits or usage have changed.
pub(super) fn settle(db: &Db, b: &mut Budget) {
    let before = (b.breached_at, b.soft_breached_at);
    if b.breached_at.is_some() && room::full(db, &[b.id]).is_empty() {
        b.breached_at = None;
    }
    let over = |(dimension, limit): (&String, &i64)| usage::total(db, b, dimension) > *limit;
    if b.soft_breached_at.is_some() && !b.soft.iter().any(over) {
        b.soft_breached_at = None;
    }
    if before != (b.breached_at, b.soft_breached_at) {
        budget::set_breaches(db, b);
    }
}

/// Attaches a budget; whether it was not attached there before.
///
/// # Errors
/// `budget_not_found`, `invalid_budget_scope`, `execution_not_found`, `flow_not_found`, `unauthorized`.
pub fn attach(db: &Db, id: Uuid, target: Target) -> Result<bool> {
    budget::load(db, &[id])?;
    let target_id = attach::check(db, target, bad_scope)?;
    let target = Target {
        id: &target_id,
        ..target
    };
    attach::attach(db, Policy::Budget(id), target)
}

/// Detaches a budget; whether it was attached there.
///
/// # Errors
/// `budget_not_found`, `invalid_budget_scope`, `unauthorized`.
pub fn detach(db: &Db, id: Uuid, target: Target) -> Result<bool> {
    budget::load(db, &[id])?;
    let target_id = attach::check(db, target, bad_scope)?;
    let target = Target {
        id: &target_id,
        ..target
    };
    Ok(attach::detach(db, Policy::Budget(id), target))
}
