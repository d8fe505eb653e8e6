//! A rollback by the caller undoes what is done to flows (§40, §10.2 G1).

use uuid::Uuid;

use crate::rollback::assert_undone;
use crate::support::World;

const ANY: &str = r#"{"kind":"any_of"}"#;

/// A flow whose child has been let go by the first of its two upstreams, while the other goes on.
fn fired(w: &mut World) -> (Uuid, Uuid, Uuid) {
    let flow = w.flow();
    let [first, second, child]: [Uuid; 3] = w.members(flow);
    w.group_policy(flow, child, ANY);
    w.edge(flow, first, child);
    w.edge(flow, second, child);
    let rest = w.take(second);
    w.ok(first);
    w.ok(child);
    (flow, child, rest.id)
}

#[test]
fn a_rollback_undoes_what_every_function_about_flows_has_done() {
    let mut w = World::without_preload();
    w.will_break_invariants();
    // A flow without members left, to be deleted.
    let gone = w.flow();
    let purged = w.member_with(gone, "retention => '0'");
    w.ok(purged);
    w.rows("SELECT * FROM ff_seal_flow($1)", &[&gone]);
    w.rows("SELECT ff_project_flow_summary($1)", &[&gone]);
    w.advance_ms(120_000);
    w.reconciles("retention", 1);
    // One whose requests to cancel siblings have nobody left to cancel, and two where they have.
    let (drained, ended, rest) = fired(&mut w);
    w.one(
        "SELECT * FROM ff_cancel_execution($1, 'enough', 'operator_override')",
        &[&rest],
    );
    let (racing, racer, _) = fired(&mut w);
    // One to build in.
    let open = w.flow();
    let [a, b, c, d]: [Uuid; 4] = w.members(open);
    let staged = w.staged(open, a, b);
    let stray = w.create("");
    let whole = w.flow();
    w.member(whole);
    // One whose propagation is left to be done, and one whose child is stuck.
    w.run("SET ff_engine.inline_edge_limit = 0");
    let due = w.flow();
    let [up, down]: [Uuid; 2] = w.members(due);
    let edge = w.edge(due, up, down);
    let stuck_in = w.flow();
    let [before, stuck]: [Uuid; 2] = w.members(stuck_in);
    w.edge(stuck_in, before, stuck);
    w.ok(up);
    w.run(&format!(
        "UPDATE ff_engine.edge_group SET group_state = 'satisfied', satisfied_count = 1, satisfied_at = now() WHERE downstream_id = '{stuck}';
         UPDATE ff_engine.edge SET edge_state = 'satisfied', consumed_life = 0, resolved_outcome = 'success' WHERE downstream_id = '{stuck}'"
    ));
    // One that is owed to an external canceller, one to cancel and one to replay.
    let owing = w.flow();
    let owed = w.member(owing);
    w.rows(
        "SELECT * FROM ff_cancel_flow_header($1, 'cancel_all', 'enough', '1 s')",
        &[&owing],
    );
    let failed = w.flow();
    let again = w.member(failed);
    w.fails(again);
    w.advance_ms(11_000);

    let mut steps: Vec<String> = [
        "ff_create_flow()".to_owned(),
        r#"ff_create_flow_graph('{"nodes":{"x":{"lane":"L","kind":"k"},"y":{"lane":"L","kind":"k","after":["x"]}}}')"#.into(),
        format!("ff_add_execution_to_flow('{open}', '{stray}', 'name')"),
        format!("ff_set_edge_group_policy('{open}', '{d}', '{ANY}')"),
        format!("ff_stage_dependency_edge('{open}', '{a}', '{d}')"),
        format!("ff_apply_dependency_to_child('{open}', '{staged}')"),
        format!("ff_add_dependency('{open}', '{c}', '{d}')"),
        format!("ff_seal_flow('{whole}')"),
        format!("ff_set_flow_tag('{open}', 'app.x', 'y')"),
        format!("ff_set_flow_tags('{open}', '{{\"app.x\":\"y\"}}')"),
        format!("ff_resolve_dependency('{due}', '{edge}')"),
        format!("ff_cascade_completion('{up}')"),
        format!("ff_promote_blocked_to_eligible('{stuck}')"),
        format!("ff_project_flow_summary('{due}')"),
        format!("ff_cancel_siblings('{racing}', '{racer}')"),
        format!("ff_drain_sibling_cancel_group('{racing}', '{racer}')"),
        format!("ff_reconcile_sibling_cancel_group('{drained}', '{ended}')"),
        format!("ff_cancel_flow('{open}')"),
        format!("ff_cancel_flow('{open}', wait_mode => 'timeout', wait => '1 s')"),
        format!("ff_cancel_flow_header('{open}', 'cancel_pending', 'enough')"),
        format!("ff_ack_cancel_member('{owing}', '{owed}', force => true)"),
        format!("ff_replay_flow('{failed}')"),
        format!("ff_replay_execution('{again}')"),
    ]
    .into();
    let reconcilers = [
        "cascade",
        "sibling_cancel",
        "sibling_cancel_repair",
        "cancel_backlog",
        "dependency",
        "flow_summary",
        "flow_retention",
    ];
    steps.extend(reconcilers.map(|name| format!("ff_reconcile_{name}()")));
    assert_undone(&mut w, "40", &steps, &["ff_wait_flow"]);
}
