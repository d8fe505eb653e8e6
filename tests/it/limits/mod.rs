//! Budgets, quotas and admission (chapter 50).
//!
//! Without a background worker where one would reset, unblock or cancel by itself.

mod admission;
mod concurrency;
mod define;
mod enforcement;
mod flows;
mod quotas;
mod repair;
mod reports;
mod reset;
mod rollback;
mod slots;
mod spend;
mod walk;

use postgres::Row;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Cells, Session};

/// What a report answered: outcome, dimension, usage, limit.
type Answer = (String, Option<String>, Option<i64>, Option<i64>);

fn answer(row: &Row) -> Answer {
    (
        row.text("outcome"),
        row.maybe_text("dimension"),
        row.get("current_usage"),
        row.get("limit_value"),
    )
}

fn ok() -> Answer {
    ("ok".into(), None, None, None)
}

fn breach(outcome: &str, dimension: &str, usage: i64, limit: i64) -> Answer {
    (
        outcome.into(),
        Some(dimension.into()),
        Some(usage),
        Some(limit),
    )
}

/// A budget in words: `scope_type, scope_id` and more arguments by name.
#[track_caller]
fn budget(s: &mut Session, scope: &str, more: &str) -> Uuid {
    let more = if more.is_empty() {
        String::new()
    } else {
        format!(", {more}")
    };
    let row = s.one(
        &format!("SELECT * FROM ff_create_budget({scope}{more})"),
        &[],
    );
    assert_eq!(row.text("outcome"), "created");
    row.uuid("budget_id")
}

/// B(h, s): a strict budget of `tokens` that applies to nothing.
#[track_caller]
fn tokens(s: &mut Session, hard: i64, soft: i64, more: &str) -> Uuid {
    let more = if more.is_empty() {
        String::new()
    } else {
        format!(", {more}")
    };
    let limits = format!(
        "hard_limits => '{{\"tokens\":{hard}}}', soft_limits => '{{\"tokens\":{soft}}}'{more}"
    );
    budget(s, "'custom', ''", &limits)
}

/// A report by an operator.
#[track_caller]
fn report(s: &mut Session, budget: Uuid, amounts: &Value, key: Option<&str>) -> Answer {
    let row = s.one(
        "SELECT * FROM ff_report_usage_admin($1, $2, $3)",
        &[&budget, amounts, &key],
    );
    assert_eq!(row.uuid("budget_id"), budget);
    assert_eq!(
        row.flag("applied"),
        ["ok", "soft_breach"].contains(&row.text("outcome").as_str())
    );
    assert_eq!(row.maybe_flag("lease_valid"), None);
    answer(&row)
}

/// rep n: a report of n tokens.
#[track_caller]
fn rep(s: &mut Session, budget: Uuid, amount: i64) -> Answer {
    report(s, budget, &json!({ "tokens": amount }), None)
}

/// A report by a worker; one answer per budget, with `enforcement` and `lease_valid`.
#[track_caller]
fn worker_report(
    s: &mut Session,
    handle: &str,
    amount: i64,
    budget: Option<Uuid>,
) -> Vec<(Uuid, Answer, String, Option<bool>)> {
    let amounts = json!({ "tokens": amount });
    s.rows(
        "SELECT * FROM ff_report_usage($1, $2, $3)",
        &[&handle, &amounts, &budget],
    )
    .iter()
    .map(|row| {
        let (enforcement, valid) = (row.text("enforcement"), row.maybe_flag("lease_valid"));
        (row.uuid("budget_id"), answer(row), enforcement, valid)
    })
    .collect()
}

#[track_caller]
fn status(s: &mut Session, budget: Uuid) -> Row {
    s.one("SELECT * FROM ff_get_budget_status($1)", &[&budget])
}

#[track_caller]
fn used(s: &mut Session, budget: Uuid) -> i64 {
    status(s, budget).json("usage")["tokens"]
        .as_i64()
        .unwrap_or_default()
}

/// A quota policy: starts per window, window, executions at once.
#[track_caller]
fn quota(s: &mut Session, requests: i64, window: &str, concurrent: i32, more: &str) -> Uuid {
    let more = if more.is_empty() {
        String::new()
    } else {
        format!(", {more}")
    };
    let call =
        format!("SELECT * FROM ff_create_quota_policy({requests}, '{window}', {concurrent}{more})");
    let row = s.one(&call, &[]);
    assert_eq!(row.text("outcome"), "created");
    row.uuid("quota_policy_id")
}

/// `ff_check_admission` in a word.
#[track_caller]
fn ask(s: &mut Session, quota: Uuid, execution: Uuid) -> String {
    let call = "SELECT * FROM ff_check_admission($1, $2)";
    s.one(call, &[&quota, &execution]).text("outcome")
}

/// Executions that hold a slot of the quota.
#[track_caller]
fn active(s: &mut Session, quota: Uuid) -> i32 {
    s.one("SELECT * FROM ff_get_quota_status($1)", &[&quota])
        .int("active")
}

#[track_caller]
fn window_used(s: &mut Session, quota: Uuid) -> i64 {
    s.one("SELECT * FROM ff_get_quota_status($1)", &[&quota])
        .big("window_used")
}

/// A policy document with one member as creation argument.
fn policy(value: &Value) -> String {
    format!("policy => '{value}'")
}

fn with_budget(budget: Uuid) -> String {
    policy(&json!({ "budget_ids": [budget.to_string()] }))
}

fn with_quota(quota: Uuid) -> String {
    policy(&json!({ "quota_policy_id": quota.to_string() }))
}

const READY: &str = "runnable/unowned/eligible_now/waiting_for_worker/none/pending_first_attempt";
const OVER_BUDGET: &str =
    "runnable/unowned/blocked_by_budget/waiting_for_budget/none/pending_first_attempt";
const OVER_QUOTA: &str =
    "runnable/unowned/blocked_by_quota/waiting_for_quota/none/pending_first_attempt";
