//! Operations on flows that meet, some of them under a snapshot older than what the other has done: whoever comes
//! second sees what the first has done, or is told that it lost (§10.2 G5, §40.3.1).

use uuid::Uuid;

use crate::support::{Cells, Session, World};

const RETRY: &str =
    r#"policy => '{"retry_policy":{"max_retries":3,"backoff":{"type":"fixed","delay_ms":0}}}'"#;

/// A second session in a transaction whose snapshot is fixed now.
fn with_an_old_snapshot(w: &World) -> Session {
    let mut session = w.session();
    session.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM ff_executions LIMIT 1");
    session
}

#[test]
fn f_61_an_old_snapshot_hands_out_no_member_of_a_cancelled_flow() {
    let mut w = World::new();
    let flow = w.flow();
    let id = w.member(flow);
    let lost = w.member(flow);
    w.one(
        "SELECT * FROM ff_issue_grant_and_claim($1, '1 s')",
        &[&lost],
    );
    w.advance_ms(1_000);
    let mut late = with_an_old_snapshot(&w);
    w.run("SET ff_engine.cancel_inline_limit = 0");
    w.cancel_flow(flow, "");
    assert_eq!(late.claims("max_items => 2").len(), 0);
    let grant = "SELECT outcome FROM ff_issue_claim_grant($1, 'w')";
    assert_eq!(late.value::<String>(grant, &[&id]), "not_eligible");
    late.run("COMMIT");
    w.reconciles("cancel_backlog", 2);
}

#[test]
fn f_58_an_old_snapshot_grants_no_retry_in_a_cancelled_flow() {
    let mut w = World::new();
    let flow = w.flow();
    let id = w.member_with(flow, RETRY);
    let claim = w.take(id);
    let mut late = with_an_old_snapshot(&w);
    let row = w.cancel_flow(flow, "policy => 'cancel_pending'");
    assert_eq!(
        (row.text("outcome"), row.int("member_count")),
        ("cancelled".into(), 0)
    );
    let row = late.fail(&claim.handle, "late", "");
    assert_eq!(row.text("outcome"), "terminal_failed");
    late.run("COMMIT");
    assert_eq!(w.state(id), "failed");
}

#[test]
fn a_flow_is_neither_cancelled_nor_closed_under_a_snapshot_older_than_a_replay() {
    for call in [
        "SELECT * FROM ff_cancel_flow($1)",
        "SELECT * FROM ff_cancel_flow_header($1, 'cancel_all', 'enough')",
        "SELECT * FROM ff_project_flow_summary($1)",
    ] {
        let mut w = World::new();
        let flow = w.flow();
        let id = w.member(flow);
        w.fails(id);
        w.rows("SELECT * FROM ff_seal_flow($1)", &[&flow]);
        let mut late = with_an_old_snapshot(&w);
        w.replay(id);
        late.refused("40001", call, &[&flow]);
        late.run("ROLLBACK");
        assert_eq!(w.flow_fact(flow, "public_flow_state"), "open");
        assert_eq!(w.state(id), "waiting");
    }
}

#[test]
fn f_49_a_parent_under_an_old_snapshot_does_not_wait_for_what_has_ended() {
    let mut w = World::new();
    let flow = w.flow();
    let [parent, child]: [Uuid; 2] = w.members(flow);
    let run = w.take(parent);
    w.edge(flow, child, parent);
    let mut late = with_an_old_snapshot(&w);
    w.ok(child);
    assert_eq!(w.group(parent).state, "satisfied");
    match late.query("SELECT outcome FROM ff_wait_children($1)", &[&run.handle]) {
        Ok(rows) => assert_eq!(rows[0].text("outcome"), "ready"),
        Err(e) => assert_eq!(e.code().expect("a code").code(), "40001"),
    }
    late.run("COMMIT");
    assert_ne!(w.state(parent), "waiting_children");
}

#[test]
fn f_75_a_hold_lifted_under_an_old_snapshot_sees_what_the_group_says() {
    let mut w = World::new();
    let flow = w.flow();
    let [up, down]: [Uuid; 2] = w.members(flow);
    w.one(
        "SELECT * FROM ff_block_execution($1, 'paused_by_operator')",
        &[&down],
    );
    w.edge(flow, up, down);
    let mut late = with_an_old_snapshot(&w);
    w.ok(up);
    match late.query("SELECT outcome FROM ff_unblock_execution($1)", &[&down]) {
        Ok(_) => late.run("COMMIT"),
        Err(e) => {
            assert_eq!(e.code().expect("a code").code(), "40001");
            late.run("ROLLBACK");
            w.one("SELECT * FROM ff_unblock_execution($1)", &[&down]);
        }
    }
    assert_eq!(w.state(down), "waiting");
}

#[test]
fn f_67_a_replay_under_an_old_snapshot_misses_no_newer_end_of_an_upstream() {
    let mut w = World::new();
    let flow = w.flow();
    let [up, down]: [Uuid; 2] = w.members(flow);
    w.edge(flow, up, down);
    w.fails(up);
    w.replay(up);
    let run = w.take(up);
    let mut late = with_an_old_snapshot(&w);
    w.complete(&run.handle, None);
    late.refused("40001", "SELECT * FROM ff_replay_execution($1)", &[&down]);
    late.run("ROLLBACK");
    assert_eq!(w.replay(down).text("public_state"), "waiting");
}
