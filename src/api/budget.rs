//! Budgets (§50.3–50.7).

use pgrx::datum::{Interval, TimestampWithTimeZone, Uuid};
use pgrx::prelude::*;

use crate::error::Result;
use crate::model::budget::{self, Action, Amounts, Budget, MAX_BUDGET_DIMENSIONS, json};
use crate::model::reset::Every;
use crate::ops::budget::report::Reported;
use crate::ops::budget::{define, enforce, release, report, reset};
use crate::pg::jsonb::Jsonb;
use crate::pg::srf::TableIterator;
use crate::store::attachment::Target;

use super::{entry, instant, limit, required, stamp, uuid_in, uuid_out};

fn limits(value: Option<Jsonb>, argument: &str) -> Result<Amounts> {
    budget::amounts(&required(value, argument)?.parse(), MAX_BUDGET_DIMENSIONS)
}

fn every(value: Option<Interval>) -> Result<Option<Every>> {
    let parts = value.map(|i| (i.months(), i.days(), i.micros()));
    match parts {
        // The server's infinite intervals.
        Some((i32::MAX, i32::MAX, i64::MAX)) => Err(budget::invalid("interval")),
        Some((months, days, micros)) => Every::new(months, days, micros).map(Some),
        None => Ok(None),
    }
}

/// Makes a budget and attaches it to its scope.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::too_many_arguments, clippy::type_complexity)]
fn ff_create_budget(
    scope_type: Option<String>,
    scope_id: Option<String>,
    hard_limits: default!(Option<Jsonb>, "'{}'"),
    soft_limits: default!(Option<Jsonb>, "'{}'"),
    enforcement_mode: default!(Option<String>, "'strict'"),
    on_hard_limit: default!(Option<String>, "'block'"),
    on_soft_limit: default!(Option<String>, "'warn'"),
    reset_interval: default!(Option<Interval>, "NULL"),
    reset_anchor: default!(Option<TimestampWithTimeZone>, "NULL"),
    stripes: default!(Option<i32>, "1"),
    budget_id: default!(Option<Uuid>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(budget_id, Uuid),
        name!(next_reset_at, Option<TimestampWithTimeZone>),
    ),
> {
    let row = entry(|db| {
        let word = |argument: &str| budget::invalid("word").with("argument", argument);
        let strict = match required(enforcement_mode, "enforcement_mode")?.as_str() {
            "strict" => true,
            "warn" => false,
            _ => return Err(word("enforcement_mode")),
        };
        let action = Action::from_word(&required(on_hard_limit, "on_hard_limit")?);
        let warns = match required(on_soft_limit, "on_soft_limit")?.as_str() {
            "warn" => true,
            "none" => false,
            _ => return Err(word("on_soft_limit")),
        };
        let stripes = required(stripes, "stripes")?;
        if !(1..=64).contains(&stripes) {
            return Err(budget::invalid("stripes"));
        }
        let anchor = instant(reset_anchor);
        if anchor.is_some_and(|at| !at.is_finite()) {
            return Err(budget::invalid("reset_anchor"));
        }
        let request = define::Request {
            scope_type: &required(scope_type, "scope_type")?,
            scope_id: &required(scope_id, "scope_id")?,
            budget: Budget {
                id: budget_id.map(uuid_in).unwrap_or_default(),
                strict,
                action: action.ok_or_else(|| word("on_hard_limit"))?,
                warns,
                hard: limits(hard_limits, "hard_limits")?,
                soft: limits(soft_limits, "soft_limits")?,
                stripes,
                period: 1,
                breached_at: None,
                soft_breached_at: None,
            },
            every: every(reset_interval)?,
            anchor,
        };
        let (id, next, new) = define::create(db, request)?;
        let outcome = if new { "created" } else { "already_satisfied" };
        Ok((outcome, uuid_out(id), next.and_then(stamp)))
    });
    TableIterator::once(row)
}

/// Replaces the limits of a budget.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ff_set_budget_limits(
    budget_id: Option<Uuid>,
    hard_limits: Option<Jsonb>,
    soft_limits: Option<Jsonb>,
) -> &'static str {
    entry(|db| {
        let id = uuid_in(required(budget_id, "budget_id")?);
        let hard = limits(hard_limits, "hard_limits")?;
        let soft = limits(soft_limits, "soft_limits")?;
        let changed = |b: &Budget| Budget {
            hard: hard.clone(),
            soft: soft.clone(),
            ..b.clone()
        };
        define::set_limits(db, changed, id)?;
        Ok("updated")
    })
}

/// Attaches a budget to a target.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ff_attach_budget(
    budget_id: Option<Uuid>,
    target_type: Option<String>,
    target_id: Option<String>,
) -> &'static str {
    entry(|db| {
        let id = uuid_in(required(budget_id, "budget_id")?);
        let target = Target {
            kind: &required(target_type, "target_type")?,
            id: &required(target_id, "target_id")?,
        };
        let new = define::attach(db, id, target)?;
        Ok(if new { "attached" } else { "already_attached" })
    })
}

/// Detaches a budget from a target.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ff_detach_budget(
    budget_id: Option<Uuid>,
    target_type: Option<String>,
    target_id: Option<String>,
) -> &'static str {
    entry(|db| {
        let id = uuid_in(required(budget_id, "budget_id")?);
        let target = Target {
            kind: &required(target_type, "target_type")?,
            id: &required(target_id, "target_id")?,
        };
        let gone = define::detach(db, id, target)?;
        Ok(if gone { "detached" } else { "not_attached" })
    })
}

type Row = (
    &'static str,
    Uuid,
    Option<String>,
    Option<i64>,
    Option<i64>,
    bool,
    &'static str,
    Option<bool>,
);

fn row(r: Reported) -> Row {
    let applied = r.charged.applied();
    let (dimension, usage, limit) = match r.charged.limit {
        Some((dimension, usage, limit)) => (Some(dimension), Some(usage), Some(limit)),
        None => (None, None, None),
    };
    (
        r.charged.outcome,
        uuid_out(r.charged.budget),
        dimension,
        usage,
        limit,
        applied,
        r.enforcement,
        r.lease_valid,
    )
}

/// Reports what the worker of an execution has used.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_report_usage(
    handle: Option<String>,
    dimensions: Option<Jsonb>,
    budget_id: default!(Option<Uuid>, "NULL"),
    dedup_key: default!(Option<String>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(budget_id, Uuid),
        name!(dimension, Option<String>),
        name!(current_usage, Option<i64>),
        name!(limit_value, Option<i64>),
        name!(applied, bool),
        name!(enforcement, &'static str),
        name!(lease_valid, Option<bool>),
    ),
> {
    let rows = entry(|db| {
        let handle = required(handle, "handle")?;
        let amounts = required(dimensions, "dimensions")?.parse();
        let budget = budget_id.map(uuid_in);
        report::by_worker(db, &handle, &amounts, budget, dedup_key.as_deref())
    });
    TableIterator::new(rows.into_iter().map(row))
}

/// Reports usage that no execution has caused.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_report_usage_admin(
    budget_id: Option<Uuid>,
    dimensions: Option<Jsonb>,
    dedup_key: default!(Option<String>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(budget_id, Uuid),
        name!(dimension, Option<String>),
        name!(current_usage, Option<i64>),
        name!(limit_value, Option<i64>),
        name!(applied, bool),
        name!(enforcement, &'static str),
        name!(lease_valid, Option<bool>),
    ),
> {
    let rows = entry(|db| {
        let id = uuid_in(required(budget_id, "budget_id")?);
        let amounts = required(dimensions, "dimensions")?.parse();
        report::by_operator(db, id, &amounts, dedup_key.as_deref())
    });
    TableIterator::new(rows.into_iter().map(row))
}

/// Reports spend that an execution has caused.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_record_spend(
    budget_id: Option<Uuid>,
    execution_id: Option<Uuid>,
    deltas: Option<Jsonb>,
    idempotency_key: default!(Option<String>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(budget_id, Uuid),
        name!(dimension, Option<String>),
        name!(current_usage, Option<i64>),
        name!(limit_value, Option<i64>),
        name!(applied, bool),
        name!(enforcement, &'static str),
        name!(lease_valid, Option<bool>),
    ),
> {
    let rows = entry(|db| {
        let id = uuid_in(required(budget_id, "budget_id")?);
        let execution = uuid_in(required(execution_id, "execution_id")?);
        let amounts = required(deltas, "deltas")?.parse();
        report::spend(db, id, execution, &amounts, idempotency_key.as_deref())
    });
    TableIterator::new(rows.into_iter().map(row))
}

/// Takes back what an execution has spent.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_release_budget(
    budget_id: Option<Uuid>,
    execution_id: Option<Uuid>,
) -> TableIterator<'static, (name!(outcome, &'static str), name!(released, Jsonb))> {
    let released = entry(|db| {
        let id = uuid_in(required(budget_id, "budget_id")?);
        let execution = uuid_in(required(execution_id, "execution_id")?);
        release::release(db, id, execution)
    });
    let outcome = if released.is_some() {
        "released"
    } else {
        "nothing_to_release"
    };
    let amounts = released.unwrap_or_default();
    TableIterator::once((outcome, Jsonb::from_json(&json(&amounts))))
}

/// Acts once on executions under a budget.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_enforce_budget(
    budget_id: Option<Uuid>,
    action: Option<String>,
    targets: default!(Option<String>, "'waiting'"),
    max_items: default!(Option<i32>, "500"),
) -> TableIterator<
    'static,
    (
        name!(execution_id, Uuid),
        name!(outcome, &'static str),
        name!(has_more, bool),
    ),
> {
    let swept = entry(|db| {
        let id = uuid_in(required(budget_id, "budget_id")?);
        let action = required(action, "action")?;
        let targets = required(targets, "targets")?;
        let most = limit(max_items, "max_items", 100_000)?;
        enforce::sweep(db, id, &action, &targets, most)
    });
    let more = swept.more;
    let rows = swept.rows.into_iter();
    TableIterator::new(rows.map(move |(id, outcome)| (uuid_out(id), outcome, more)))
}

/// Begins a new period of a budget.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_reset_budget(
    budget_id: Option<Uuid>,
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(next_reset_at, Option<TimestampWithTimeZone>),
    ),
> {
    let next = entry(|db| reset::by_hand(db, uuid_in(required(budget_id, "budget_id")?)));
    TableIterator::once(("reset", next.and_then(stamp)))
}
