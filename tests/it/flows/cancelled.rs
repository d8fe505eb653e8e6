//! What a cancelled, a replayed and an ended flow mean to builders, waiters and readers.

use uuid::Uuid;

use crate::support::{Cells, World};

#[test]
fn f_5_f_9_a_cancelled_flow_takes_neither_members_nor_edges() {
    let mut w = World::new();
    let flow = w.flow();
    w.cancel_flow(flow, "");
    let stranger = w.create("");
    let add = "SELECT * FROM ff_add_execution_to_flow($1, $2)";
    w.refused("FF419", add, &[&flow, &stranger]);
    w.refused(
        "FF419",
        "SELECT * FROM ff_create_execution('L', 'k', flow_id => $1)",
        &[&flow],
    );
    assert_eq!(w.executions(), 1);

    let flow = w.flow();
    let [a, b]: [Uuid; 2] = w.members(flow);
    w.cancel_flow(flow, "policy => 'cancel_flow_only'");
    let stage = "SELECT * FROM ff_stage_dependency_edge($1, $2, $3)";
    w.refused("FF419", stage, &[&flow, &a, &b]);
    let row = w.one(add, &[&flow, &a]);
    assert_eq!(row.text("outcome"), "already_member");
    assert_eq!(w.queued("edge"), 0);
}

#[test]
fn f_51_a_replay_opens_an_ended_flow() {
    let mut w = World::new();
    let flow = w.flow();
    let id = w.member(flow);
    w.rows("SELECT * FROM ff_seal_flow($1)", &[&flow]);
    w.ok(id);
    w.rows("SELECT ff_project_flow_summary($1)", &[&flow]);
    assert_eq!(w.flow_fact(flow, "public_flow_state"), "completed");
    w.replay(id);
    assert_eq!(w.flow_fact(flow, "public_flow_state"), "open");
    assert_eq!(w.flow_fact(flow, "terminal_at"), "");
    assert_eq!(
        w.flow_words(flow),
        ["flow_sealed", "flow_completed", "flow_reopened"]
    );
    w.fails(id);
    w.rows("SELECT ff_project_flow_summary($1)", &[&flow]);
    assert_eq!(w.flow_fact(flow, "public_flow_state"), "failed");
}

#[test]
fn f_54_edges_by_end() {
    let mut w = World::new();
    let flow = w.flow();
    let [a, b, c, alone]: [Uuid; 4] = w.members(flow);
    w.edge(flow, a, b);
    let kept = w.edge_with(flow, a, c, "data_passing_ref => 'artifact://x'");
    w.edge(flow, b, c);
    let outside = w.create("");
    let mut count = |flow: Uuid, id: Uuid, direction: &str| {
        let sql = "SELECT * FROM ff_list_edges($1, $2, $3)";
        w.rows(sql, &[&flow, &id, &direction]).len()
    };
    assert_eq!(
        (count(flow, a, "outgoing"), count(flow, a, "incoming")),
        (2, 0)
    );
    assert_eq!((count(flow, b, "incoming"), count(flow, b, "both")), (1, 2));
    for nobody in [alone, outside] {
        assert_eq!(count(flow, nobody, "both"), 0);
    }
    assert_eq!(count(Uuid::from_u128(1), a, "both"), 0);
    let edge = w.one("SELECT * FROM ff_describe_edge($1, $2)", &[&flow, &kept]);
    assert_eq!(edge.text("data_passing_ref"), "artifact://x");
    let unknown = w.rows(
        "SELECT * FROM ff_describe_edge($1, $2)",
        &[&flow, &Uuid::from_u128(1)],
    );
    assert!(unknown.is_empty());
}

#[test]
fn f_56_part_waiting_for_a_cancellation() {
    let mut w = World::new();
    let flow = w.flow();
    w.member(flow);
    let wait = "SELECT outcome FROM ff_wait_flow($1, 'cancelled', $2::text::interval)";
    let outcome: String = w.value(wait, &[&flow, &"10ms"]);
    assert_eq!(outcome, "timeout");
    w.one(
        "SELECT * FROM ff_cancel_flow_header($1, 'cancel_all', 'outside')",
        &[&flow],
    );
    let row = w.one(
        "SELECT * FROM ff_wait_flow($1, 'cancelled', '10ms')",
        &[&flow],
    );
    assert_eq!(
        (row.text("outcome"), row.big("owed_members")),
        ("timeout".into(), 1)
    );
    w.advance_ms(30_000);
    w.reconciles("cancel_backlog", 1);
    let outcome: String = w.value(wait, &[&flow, &"10ms"]);
    assert_eq!(outcome, "satisfied");
}

#[test]
fn e_122_a_covered_member_ends_no_wait() {
    let mut w = World::new();
    let flow = w.flow();
    w.member(flow);
    w.run("SET ff_engine.cancel_inline_limit = 0");
    w.cancel_flow(flow, "");
    let call = "CALL ff_wait_for_work('L', '10 ms')";
    assert_eq!(w.one(call, &[]).text("outcome"), "timeout");
    w.create("");
    assert_eq!(w.one(call, &[]).text("outcome"), "work");
    w.reconciles("cancel_backlog", 1);
}
