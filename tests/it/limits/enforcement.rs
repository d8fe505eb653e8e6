//! What a breach does to executions (§50.6). Without a background worker, which would cancel and unblock by itself.

use serde_json::json;
use uuid::Uuid;

use super::{budget, ok, rep, status, tokens, with_budget, worker_report};
use crate::support::{Cells, Session, World};

/// A full budget that acts this way on the execution it is attached to, and that execution, claimed.
fn reporter(w: &mut World, action: &str) -> (Uuid, crate::support::Claim) {
    let b = tokens(w, 10, 0, &format!("on_hard_limit => '{action}'"));
    let retry = json!({"budget_ids": [b.to_string()], "retry_policy": {"max_retries": 5}, "timeout_policy": {"attempt_timeout_ms": 60000}});
    let claim = w.claimed(&super::policy(&retry), "");
    assert_eq!(rep(w, b, 10), ok());
    (b, claim)
}

#[track_caller]
fn breaches(w: &mut Session, handle: &str, b: Uuid, enforcement: &str) {
    let mut rows = worker_report(w, handle, 1, Some(b));
    let (_, answer, done, valid) = rows.remove(0);
    assert_eq!(answer, super::breach("hard_breach", "tokens", 10, 10));
    assert_eq!((done.as_str(), valid), (enforcement, Some(true)));
}

#[test]
fn b_22_fail_suspend_and_block_act_on_the_reporter() {
    let mut w = World::without_preload();
    let (b, c) = reporter(&mut w, "block");
    breaches(&mut w, &c.handle, b, "none");
    assert_eq!(w.describe(c.id).text("public_state"), "active");
    w.complete(&c.handle, None);

    let (b, c) = reporter(&mut w, "fail");
    let ((), words) = w.events_by(|w| breaches(w, &c.handle, b, "failed"));
    assert_eq!(
        words,
        [
            "operator.budget_hard_breach",
            "lease.released(failed_terminal)",
            "completion.failed"
        ]
    );
    let e = w.describe(c.id);
    assert_eq!(
        (e.text("public_state"), e.text("failure_category")),
        ("failed".into(), "budget_exceeded".into())
    );
    w.refused("FF210", "SELECT * FROM ff_complete($1)", &[&c.handle]);

    let (b, c) = reporter(&mut w, "suspend");
    let ((), words) = w.events_by(|w| breaches(w, &c.handle, b, "suspended"));
    assert_eq!(
        words,
        ["operator.budget_hard_breach", "lease.released(budget)"]
    );
    w.assert_vector(
        c.id,
        "runnable/unowned/blocked_by_budget/waiting_for_budget/none/attempt_interrupted",
        "rate_limited",
    );
    assert_eq!(
        w.describe(c.id).text("blocking_detail"),
        format!("budget {b}: tokens 10/10")
    );
    let attempt = w.one("SELECT * FROM ff_list_attempts($1)", &[&c.id]);
    assert_eq!(
        (attempt.text("attempt_state"), attempt.text("pause_kind")),
        ("suspended".into(), "budget".into())
    );
    w.refused("FF210", "SELECT * FROM ff_complete($1)", &[&c.handle]);
    w.reconciles("unblock", 0);
    w.one("SELECT * FROM ff_reset_budget($1)", &[&b]);
    w.reconciles("unblock", 1);
    assert_eq!(w.describe(c.id).text("public_state"), "resumable");
    let again = w.claim("");
    assert_eq!(
        (again.id, again.index, again.kind.as_str()),
        (c.id, c.index, "resumed")
    );
}

#[test]
fn b_23_cancel_reaches_waiting_and_running_executions() {
    let mut w = World::without_preload();
    let (b, c) = reporter(&mut w, "cancel");
    breaches(&mut w, &c.handle, b, "cancelled");
    let e = w.describe(c.id);
    assert_eq!(
        (
            e.text("public_state"),
            e.text("cancelled_by"),
            e.text("cancellation_reason")
        ),
        (
            "cancelled".into(),
            "budget".into(),
            "budget_exceeded".into()
        )
    );

    let b = budget(
        &mut w,
        "'namespace', 'n'",
        "hard_limits => '{\"tokens\":10}', on_hard_limit => 'cancel'",
    );
    let other = w.create("");
    let waiting = w.create_several(3, "namespace => 'n'");
    let running = w.claim("namespace => 'n'");
    let busy = waiting[2];
    rep(&mut w, b, 10);
    w.reconciles("budget_enforce", 0);
    let row = w.one(
        "SELECT * FROM ff_report_usage_admin($1, '{\"tokens\":1}')",
        &[&b],
    );
    assert_eq!(row.text("enforcement"), "scheduled");
    let mut session = w.session();
    session.run("BEGIN");
    session.one(
        "SELECT * FROM ff_set_execution_tags($1, '{\"app.x\":\"1\"}')",
        &[&busy],
    );
    w.reconciles("budget_enforce", 2);
    for id in [running.id, waiting[1]] {
        assert_eq!(w.describe(id).text("public_state"), "cancelled");
    }
    assert_eq!(w.describe(busy).text("public_state"), "waiting");
    session.run("COMMIT");
    w.reconciles("budget_enforce", 1);
    assert_eq!(w.describe(busy).text("cancelled_by"), "budget");
    assert_eq!(w.describe(other).text("public_state"), "waiting");
    w.reconciles("budget_enforce", 0);
}

#[test]
fn b_24_a_breach_is_announced_once_per_period() {
    let mut w = World::without_preload();
    for stripes in [1, 4] {
        let b = tokens(&mut w, 10, 5, &format!("stripes => {stripes}"));
        let breach_ten_times = |w: &mut Session| {
            assert_eq!(rep(w, b, 6).0, "soft_breach");
            assert_eq!(rep(w, b, 1).0, "soft_breach");
            for _ in 0..10 {
                assert_eq!(rep(w, b, 10).0, "hard_breach");
            }
        };
        let once = ["operator.budget_soft_breach", "operator.budget_hard_breach"];
        let ((), words) = w.events_by(breach_ten_times);
        assert_eq!(words, once);
        assert_eq!(status(&mut w, b).big("breach_count"), 10);
        w.one("SELECT * FROM ff_reset_budget($1)", &[&b]);
        let ((), words) = w.events_by(breach_ten_times);
        assert_eq!(words, once);
    }
    let quiet = tokens(&mut w, 10, 5, "on_soft_limit => 'none'");
    let (_, words) = w.events_by(|w| rep(w, quiet, 6));
    assert!(words.is_empty());
    assert_eq!(status(&mut w, quiet).big("soft_breach_count"), 1);
}

#[test]
fn an_operator_sweeps_once_whatever_the_budget_does_by_itself() {
    let mut w = World::without_preload();
    let b = tokens(&mut w, 10, 0, "");
    let sweep = |w: &mut World, arguments: &str| -> Vec<(Uuid, String)> {
        let call = format!("SELECT * FROM ff_enforce_budget('{b}', {arguments})");
        let rows = w.rows(&call, &[]);
        rows.iter()
            .map(|r| (r.uuid("execution_id"), r.text("outcome")))
            .collect()
    };
    let running = w.claimed(&with_budget(b), "");
    let waiting = w.create_several(2, &with_budget(b));
    let one = w.rows(
        &format!("SELECT * FROM ff_enforce_budget('{b}', 'cancel', max_items => 1)"),
        &[],
    );
    assert!(one.len() == 1 && one[0].flag("has_more"));
    assert_eq!(one[0].uuid("execution_id"), waiting[0]);
    assert_eq!(
        sweep(&mut w, "'suspend', 'running'"),
        [(running.id, "suspended".into())]
    );
    let mut session = w.session();
    session.run("BEGIN");
    session.one(
        "SELECT * FROM ff_set_execution_tags($1, '{\"app.x\":\"1\"}')",
        &[&waiting[1]],
    );
    let mut swept = sweep(&mut w, "'cancel', 'all'");
    swept.sort();
    let mut expected = vec![
        (running.id, "cancelled".to_owned()),
        (waiting[1], "deferred".into()),
    ];
    expected.sort();
    assert_eq!(swept, expected);
    session.run("COMMIT");
    assert_eq!(
        sweep(&mut w, "'cancel'"),
        [(waiting[1], "cancelled".into())]
    );
    let failing = w.claimed(&with_budget(b), "");
    assert_eq!(
        sweep(&mut w, "'fail', 'running'"),
        [(failing.id, "failed".into())]
    );
    for bad in [
        "'fail'",
        "'suspend', 'all'",
        "'block'",
        "'x'",
        "'cancel', 'x'",
        "NULL",
    ] {
        w.refused(
            "FF101",
            &format!("SELECT * FROM ff_enforce_budget('{b}', {bad})"),
            &[],
        );
    }
    w.refused(
        "FF004",
        "SELECT * FROM ff_enforce_budget($1, 'cancel')",
        &[&Uuid::new_v4()],
    );
}
