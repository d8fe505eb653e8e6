//! Cancelling flows by policy (§40.8).

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::waiting::READY;
use crate::support::{Cells, World};

fn cascade(reason: &str) -> (String, String) {
    (reason.to_owned(), "flow_cascade".to_owned())
}

/// Members of all kinds: waiting, active, suspended.
fn three(w: &mut World, flow: Uuid) -> [Uuid; 3] {
    w.seed();
    let [waiting, active, suspended]: [Uuid; 3] = w.members(flow);
    w.take(active);
    let claim = w.take(suspended);
    w.suspended(claim, READY);
    [waiting, active, suspended]
}

/// So many members that wait.
pub fn crowd(w: &mut World, n: usize) -> (Uuid, Vec<Uuid>) {
    let nodes: serde_json::Map<String, Value> =
        (0..n).map(|i| (format!("n{i}"), json!({}))).collect();
    let graph = w.graph(
        &json!({"defaults": {"lane": "L", "kind": "k"}, "nodes": nodes}),
        None,
    );
    let mut ids: Vec<Uuid> = (0..n).map(|i| graph.node(&format!("n{i}"))).collect();
    ids.sort();
    (graph.flow, ids)
}

pub fn ids(row: &postgres::Row, column: &str) -> Vec<Uuid> {
    row.get(column)
}

#[test]
fn f_57_everything_ends_at_once() {
    let mut w = World::new();
    let flow = w.flow();
    let mut members = three(&mut w, flow);
    let (row, mut words) =
        w.events_by(|w| w.cancel_flow(flow, "reason => 'enough', requester => 'me'"));
    assert_eq!(row.text("outcome"), "cancelled");
    assert_eq!(
        (row.int("member_count"), row.int("cancelled_count")),
        (3, 3)
    );
    members.sort();
    assert_eq!(ids(&row, "member_execution_ids"), members);
    assert!(ids(&row, "failed_member_execution_ids").is_empty());
    words.sort();
    assert_eq!(
        words,
        [
            "completion.cancelled",
            "completion.cancelled",
            "completion.cancelled",
            "lease.released(cancelled)",
            "operator.flow_cancel_requested(enough)",
            "suspension.closed",
        ]
    );
    for id in members {
        assert_eq!(w.cancellation(id), cascade("enough"));
    }
    assert_eq!(
        (
            w.queued("cancel_backlog"),
            w.queued("cancel_backlog_member")
        ),
        (0, 0)
    );
    for (column, value) in [
        ("public_flow_state", "cancelled"),
        ("cancel_reason", "enough"),
        ("cancellation_policy", "cancel_all"),
        ("cancel_requester", "me"),
        ("owed_members", "0"),
    ] {
        assert_eq!(w.flow_fact(flow, column), value);
    }
    assert_eq!(w.flow_fact(flow, "(cancelled_at = terminal_at)"), "true");
}

/// What retries twice, at once.
const RETRIES: &str = r#"policy => '{"retry_policy": {"max_retries": 2, "backoff": {"type": "fixed", "delay_ms": 0}}}'"#;

#[test]
fn f_58_pending_work_ends_and_running_work_drains() {
    let mut w = World::new();
    let flow = w.flow();
    let [waiting, active, suspended] = three(&mut w, flow);
    let delayed = w.member_with(flow, "delay_until => ff_server_time() + interval '1 h'");
    let blocked = w.member(flow);
    w.edge(flow, active, blocked);
    let retrying = w.member_with(flow, RETRIES);
    let claim = w.take(retrying);
    assert_eq!(
        w.fail(&claim.handle, "again", "'transient'")
            .text("outcome"),
        "retry_scheduled"
    );
    let failing = w.member_with(flow, RETRIES);
    let failing_claim = w.take(failing);
    let timing = w.member_with(
        flow,
        r#"policy => '{"retry_policy": {"max_retries": 2}, "timeout_policy": {"attempt_timeout_ms": 1000}}'"#,
    );
    w.take(timing);
    let paused = w.member(flow);
    let claim = w.take(paused);
    w.one(
        "SELECT * FROM ff_delay($1, ff_server_time() + interval '1 s')",
        &[&claim.handle],
    );
    let lost = w.member(flow);
    w.one(
        "SELECT * FROM ff_issue_grant_and_claim($1, '1 s')",
        &[&lost],
    );

    let row = w.cancel_flow(flow, "policy => 'cancel_pending'");
    assert_eq!(
        (row.text("outcome"), row.int("cancelled_count")),
        ("cancelled".into(), 4)
    );
    let mut covered = vec![waiting, delayed, blocked, retrying];
    covered.sort();
    assert_eq!(ids(&row, "member_execution_ids"), covered);
    for id in covered {
        assert_eq!(w.cancellation(id), cascade("flow_cancelled"));
    }
    assert_eq!(
        (w.state(active), w.state(suspended), w.state(paused)),
        ("active".into(), "suspended".into(), "delayed".into())
    );
    // No retry is granted any more.
    assert_eq!(
        w.fail(&failing_claim.handle, "broken", "'transient'")
            .text("outcome"),
        "terminal_failed"
    );
    w.advance_ms(1_000);
    w.reconciles("attempt_timeout", 1);
    assert_eq!(
        (w.state(failing), w.state(timing)),
        ("failed".into(), "expired".into())
    );
    // What has begun goes on: a pause ends, a lost lease is taken over.
    let mut drained: Vec<Uuid> = w.claims("max_items => 10").iter().map(|c| c.id).collect();
    drained.sort();
    let mut expected = vec![paused, lost];
    expected.sort();
    assert_eq!(drained, expected);
    assert_eq!(w.flow_fact(flow, "owed_members"), "0");
}

#[test]
fn f_58_lost_leases_under_cancel_all_and_a_flow_that_is_cancelled_alone() {
    let mut w = World::new();
    let flow = w.flow();
    let lost = w.member(flow);
    w.one(
        "SELECT * FROM ff_issue_grant_and_claim($1, '1 s')",
        &[&lost],
    );
    w.run("SET ff_engine.cancel_inline_limit = 0");
    let row = w.cancel_flow(flow, "");
    assert_eq!(row.text("outcome"), "cancellation_scheduled");
    w.advance_ms(1_000);
    assert_eq!(w.claims("").len(), 0);
    w.reconcile("lease_expiry", "");
    assert_eq!(w.claims("").len(), 0, "nor once its end has been noticed");
    let refused = w.one(
        "SELECT * FROM ff_issue_reclaim_grant($1, 'w', 'w-1')",
        &[&lost],
    );
    assert_eq!(refused.text("outcome"), "not_reclaimable");
    w.reconciles("cancel_backlog", 1);
    assert_eq!(w.cancellation(lost), cascade("flow_cancelled"));

    let flow = w.flow();
    let [up, down]: [Uuid; 2] = w.members(flow);
    w.edge(flow, up, down);
    let row = w.cancel_flow(flow, "policy => 'cancel_flow_only'");
    assert_eq!(
        (row.text("outcome"), row.int("member_count")),
        ("cancelled".into(), 0)
    );
    assert_eq!(w.queued("cancel_backlog"), 0);
    w.ok(up);
    assert_eq!(w.state(down), "waiting", "edges still release");
    let stranger = w.create("");
    w.refused(
        "FF419",
        "SELECT * FROM ff_add_execution_to_flow($1, $2)",
        &[&flow, &stranger],
    );
}

#[test]
fn f_59_cancelled_beats_skipped() {
    for first in ["backlog", "cascade"] {
        let mut w = World::new();
        let flow = w.flow();
        let [up, down]: [Uuid; 2] = w.members(flow);
        w.edge(flow, up, down);
        w.run("SET ff_engine.cancel_inline_limit = 1");
        let mut other = w.session();
        other.run("BEGIN");
        other.rows("SELECT * FROM ff_change_priority($1, 7)", &[&down]);
        w.cancel_flow(flow, "");
        other.run("COMMIT");
        assert_eq!(
            (w.state(up), w.state(down)),
            ("cancelled".into(), "waiting_children".into())
        );
        if first == "cascade" {
            w.reconcile("cascade", "");
            assert_eq!(w.state(down), "cancelled");
        }
        w.reconcile("cancel_backlog", "");
        w.settles();
        assert_eq!(w.cancellation(down), cascade("flow_cancelled"));
        assert_eq!(
            w.event_words(down),
            ["operator.priority_changed", "completion.cancelled"]
        );
        assert_eq!(w.queued("cancel_backlog"), 0);
    }
    let mut w = World::new();
    let flow = w.flow();
    let id = w.member_with(flow, RETRIES);
    let claim = w.take(id);
    w.fail(&claim.handle, "again", "'transient'");
    let again = w.take(id);
    w.cancel_flow(flow, "");
    assert_eq!(w.attempt_words(id)[1], "1 retry ended_cancelled");
    w.refused("FF210", "SELECT * FROM ff_complete($1)", &[&again.handle]);
}

#[test]
fn f_60_a_second_cancellation_and_a_stronger_one() {
    let mut w = World::new();
    let flow = w.flow();
    let [_, active, _] = three(&mut w, flow);
    w.cancel_flow(flow, "policy => 'cancel_pending', reason => 'first'");
    let (row, words) =
        w.events_by(|w| w.cancel_flow(flow, "policy => 'cancel_all', reason => 'second'"));
    assert_eq!(words, [] as [&str; 0]);
    assert_eq!(row.text("outcome"), "already_terminal");
    assert_eq!(
        (row.text("cancellation_policy"), row.text("cancel_reason")),
        ("cancel_pending".into(), "first".into())
    );
    assert_eq!(
        (row.int("member_count"), row.int("cancelled_count")),
        (3, 0)
    );
    assert_eq!(ids(&row, "member_execution_ids").len(), 3);
    assert_eq!(w.state(active), "active");
    let weaker = w.cancel_flow(flow, "policy => 'cancel_flow_only', escalate => true");
    assert_eq!(weaker.text("outcome"), "already_terminal");
    let row = w.cancel_flow(flow, "reason => 'third', escalate => true");
    assert_eq!(
        (row.text("outcome"), row.int("cancelled_count")),
        ("cancelled".into(), 2)
    );
    assert_eq!(w.cancellation(active), cascade("third"));
    assert_eq!(w.flow_fact(flow, "cancellation_policy"), "cancel_all");
    let again = w.cancel_flow(flow, "escalate => true");
    assert_eq!(again.text("outcome"), "already_terminal");

    let (large, members) = crowd(&mut w, 5_000);
    w.run("SET ff_engine.cancel_inline_limit = 10000");
    assert_eq!(w.cancel_flow(large, "").int("cancelled_count"), 5_000);
    let row = w.cancel_flow(large, "");
    assert_eq!(row.int("member_count"), 5_000);
    assert_eq!(ids(&row, "member_execution_ids"), members[..1000]);

    let call = "SELECT * FROM ff_cancel_flow($1, policy => $2, wait_mode => $3, wait => $4::text::interval)";
    let none: Option<&str> = None;
    let unknown = Uuid::from_u128(1);
    w.refused("FF002", call, &[&unknown, &"cancel_all", &"none", &none]);
    for (policy, mode, wait) in [
        ("x", "none", none),
        ("cancel_all", "sometimes", none),
        ("cancel_all", "timeout", none),
        ("cancel_all", "timeout", Some("0 s")),
        ("cancel_all", "timeout", Some("301 s")),
    ] {
        w.refused("FF101", call, &[&flow, &policy, &mode, &wait]);
    }
}
