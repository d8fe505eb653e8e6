//! Why an execution is not running, or what comes next (§70.6).

use uuid::Uuid;

use crate::support::waiting::READY;
use crate::support::work::requiring;
use crate::support::{Cells, Session, World};

/// The reasons in their order.
fn reasons(s: &mut Session, id: Uuid) -> Vec<String> {
    s.rows("SELECT reason FROM ff_explain_execution($1)", &[&id])
        .iter()
        .map(|row| row.text("reason"))
        .collect()
}

/// The only reason, its detail, and the call that changes it.
#[track_caller]
fn only(s: &mut Session, id: Uuid, reason: &str) -> (serde_json::Value, String) {
    let rows = s.rows("SELECT * FROM ff_explain_execution($1)", &[&id]);
    assert_eq!(rows.len(), 1, "{:?}", reasons(s, id));
    assert_eq!(rows[0].text("reason"), reason);
    (rows[0].json("detail"), rows[0].text("remedy"))
}

#[test]
fn o_12_a_delay_a_retry_and_their_end() {
    let mut w = World::new();
    let delayed = w.create("delay_until => ff_server_time() + interval '1 h'");
    let (detail, remedy) = only(&mut w, delayed, "delayed");
    assert_eq!(detail["due"], false);
    assert!(detail["delay_until"].is_string());
    assert!(remedy.starts_with("ff_cancel_execution("));

    let claim = w.claimed(r#"policy => '{"retry_policy":{"max_retries":3}}'"#, "");
    w.fail(&claim.handle, "mailbox busy", "retry_after => '1 h'");
    let (detail, _) = only(&mut w, claim.id, "retrying");
    assert_eq!(detail["retry_count"], 1);
    assert_eq!(detail["failure_reason"], "mailbox busy");

    w.advance_ms(3_600_000);
    let mut remedies = Vec::new();
    for (id, reason) in [(delayed, "delayed"), (claim.id, "retrying")] {
        let (detail, remedy) = only(&mut w, id, reason);
        assert_eq!(detail["due"], true);
        remedies.push(remedy);
    }
    for remedy in remedies {
        w.run(&format!("SELECT * FROM {remedy}"));
    }
    for id in [delayed, claim.id] {
        only(&mut w, id, "ready");
    }
}

#[test]
fn o_12_a_lane_that_hands_nothing_out() {
    let mut w = World::new();
    let waiting = w.create("");
    let delayed = w.create("delay_until => ff_server_time() + interval '1 h'");
    let (detail, _) = only(&mut w, waiting, "ready");
    assert_eq!(
        (&detail["lane"], &detail["ahead"]),
        (&"L".into(), &0.into())
    );
    for state in ["paused", "disabled"] {
        w.one(
            "SELECT * FROM ff_set_lane('L', $1, 'maintenance')",
            &[&state],
        );
        let (detail, remedy) = only(&mut w, waiting, &format!("lane_{state}"));
        assert_eq!(detail["lane_reason"], "maintenance");
        assert_eq!(
            reasons(&mut w, delayed),
            ["delayed".to_string(), format!("lane_{state}")]
        );
        w.run(&format!("SELECT * FROM {remedy}"));
        only(&mut w, waiting, "ready");
    }
    w.one("SELECT * FROM ff_set_lane('L', 'draining')", &[]);
    only(&mut w, waiting, "ready");
    let claim = w.claim("");
    w.one("SELECT * FROM ff_set_lane('L', 'paused')", &[]);
    only(&mut w, claim.id, "leased");
}

#[test]
fn o_12_a_lease_through_its_life() {
    let mut w = World::new();
    let claim = w.claimed("", "lease_ttl => '1 min'");
    w.run(&format!(
        "SELECT ff_progress('{}', 40, 'half way')",
        claim.handle
    ));
    let (detail, remedy) = only(&mut w, claim.id, "leased");
    assert_eq!(detail["worker_instance"], "w-1");
    assert_eq!(detail["progress_message"], "half way");
    assert!(detail["lease_expires_at"].is_string());
    w.advance_ms(60_000);
    let (detail, _) = only(&mut w, claim.id, "lease_expired");
    assert_eq!(detail["marked"], false);
    w.reconciles("lease_expiry", 1);
    let (detail, next) = only(&mut w, claim.id, "lease_expired");
    assert_eq!(detail["marked"], true);
    assert!(next.starts_with("ff_claim('L'"));
    let again = w.claim("");
    w.run(&format!("SELECT * FROM {remedy}"));
    let (detail, _) = only(&mut w, again.id, "lease_revoked");
    assert_eq!(detail["revoke_reason"], "operator");
    let last = w.claim("");
    w.complete(&last.handle, None);
    let (detail, remedy) = only(&mut w, last.id, "terminal");
    assert_eq!(detail["public_state"], "completed");
    w.run(&format!("SELECT * FROM {remedy}"));
    only(&mut w, last.id, "ready");
}

#[test]
fn o_12_a_worker_that_is_not_there() {
    let mut w = World::new();
    let id = w.create(&requiring(&["gpu", "torch"]));
    let (detail, remedy) = only(&mut w, id, "missing_capability");
    assert_eq!(
        detail["required_capabilities"],
        serde_json::json!(["gpu", "torch"])
    );
    assert_eq!(detail["nearest_workers"], serde_json::json!([]));
    assert!(remedy.starts_with("ff_register_worker("));
    let register = |w: &mut World, instance: &str, more: &str| {
        w.run(&format!(
            "SELECT * FROM ff_register_worker('x', '{instance}', '{{L}}', {more})"
        ));
    };
    register(&mut w, "x-1", "'{gpu}'");
    register(&mut w, "x-2", "'{}'");
    register(&mut w, "x-3", "'{gpu,torch}', namespace => 'other'");
    let (detail, _) = only(&mut w, id, "missing_capability");
    assert_eq!(
        detail["nearest_workers"],
        serde_json::json!([
            {"worker": "x", "worker_instance": "x-1", "missing": ["torch"]},
            {"worker": "x", "worker_instance": "x-2", "missing": ["gpu", "torch"]}
        ])
    );
    w.run(&format!(
        "SELECT * FROM ff_block_route('{id}', 'nobody has torch')"
    ));
    let (detail, _) = only(&mut w, id, "missing_capability");
    assert_eq!(detail["blocking_detail"], "nobody has torch");
    register(&mut w, "x-4", "'{gpu,torch}'");
    let (_, remedy) = only(&mut w, id, "missing_capability");
    w.run(&format!("SELECT * FROM {remedy}"));
    only(&mut w, id, "ready");
}

#[test]
fn o_12_a_suspension_and_its_end() {
    let mut w = World::new();
    let s = w.waiting(&format!("{READY}, reason => 'waiting_for_approval'"));
    let (detail, remedy) = only(&mut w, s.id, "suspended");
    assert_eq!(detail["blocking_reason"], "waiting_for_approval");
    assert_eq!(detail["suspension_id"], s.suspension.to_string());
    assert_eq!(detail["waitpoint_id"], s.point().id.to_string());
    w.one("SELECT * FROM ff_set_lane('L', 'paused')", &[]);
    assert_eq!(reasons(&mut w, s.id), ["suspended", "lane_paused"]);
    w.one("SELECT * FROM ff_set_lane('L', 'active')", &[]);
    w.run(&format!("SELECT * FROM {remedy}"));
    let (detail, _) = only(&mut w, s.id, "ready");
    assert_eq!(detail["attempt_state"], "attempt_interrupted");

    let again = w.claim("");
    let policy = r#"resume_policy => '{"resume_delay_ms":60000}'"#;
    let s = w.suspended(again, &format!("{READY}, {policy}"));
    w.effect(&s.point(), "ready");
    let (detail, _) = only(&mut w, s.id, "delayed");
    assert_eq!(detail["blocking_reason"], "waiting_for_resume_delay");

    let s = w.waiting(&format!(
        "{READY}, timeout => '1 s', timeout_behavior => 'escalate'"
    ));
    w.advance_ms(1_000);
    w.reconciles("suspension_timeout", 1);
    let (detail, _) = only(&mut w, s.id, "suspended");
    assert_eq!(detail["blocking_reason"], "paused_by_operator");
    assert!(detail["blocking_detail"].to_string().contains("escalated"));
}

#[test]
fn what_an_operator_or_a_policy_holds_back() {
    let mut w = World::new();
    let id = w.create("");
    for (reason, shown) in [
        ("paused_by_operator", "paused_by_operator"),
        ("paused_by_policy", "paused_by_policy"),
        ("waiting_for_budget", "budget_denied"),
        ("waiting_for_quota", "quota_denied"),
    ] {
        w.one(
            "SELECT * FROM ff_block_execution($1, $2, 'why')",
            &[&id, &reason],
        );
        let (detail, remedy) = only(&mut w, id, shown);
        assert_eq!(detail["blocking_detail"], "why");
        w.run(&format!("SELECT * FROM {remedy}"));
        only(&mut w, id, "ready");
    }
}

#[test]
fn a_deadline_that_has_passed_comes_first() {
    let mut w = World::new();
    let id = w.create("execution_deadline => ff_server_time() + interval '1 s', delay_until => ff_server_time() + interval '1 h'");
    only(&mut w, id, "delayed");
    w.advance_ms(1_000);
    assert_eq!(reasons(&mut w, id), ["deadline_passed", "delayed"]);
    w.run("SELECT * FROM ff_reconcile_execution_deadline()");
    let (detail, _) = only(&mut w, id, "terminal");
    assert_eq!(detail["failure_reason"], "execution_deadline");
}

#[test]
fn how_many_are_ahead_follows_the_order_of_claims() {
    let mut w = World::new();
    let first = w.create("");
    let second = w.create("");
    let urgent = w.create("priority => 5");
    for (id, ahead) in [(urgent, 0), (first, 1), (second, 2)] {
        assert_eq!(only(&mut w, id, "ready").0["ahead"], ahead);
    }
}

#[test]
fn an_absent_execution_has_no_reason_and_none_is_refused() {
    let mut w = World::new();
    assert!(reasons(&mut w, Uuid::nil()).is_empty());
    w.refused("FF101", "SELECT * FROM ff_explain_execution(NULL)", &[]);
}

#[test]
fn a_grant_reserves_for_one_worker() {
    let mut w = World::new();
    let id = w.create("");
    w.run(&format!(
        "SELECT * FROM ff_issue_claim_grant('{id}', 'w', 'w-1')"
    ));
    let (detail, remedy) = only(&mut w, id, "granted");
    assert_eq!(
        (&detail["worker"], &detail["kind"]),
        (&"w".into(), &"claim".into())
    );
    w.run(&format!("SELECT * FROM {remedy}"));
    only(&mut w, id, "leased");
    w.advance_ms(60_000);
    w.run(&format!(
        "SELECT * FROM ff_issue_reclaim_grant('{id}', 'x')"
    ));
    assert_eq!(reasons(&mut w, id), ["lease_expired", "granted"]);
}
