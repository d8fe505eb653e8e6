//! Groups that need some of their edges: any_of and quorum (§40.5).

use uuid::Uuid;

use crate::support::{Cells, World};

const ANY: &str = r#"{"kind": "any_of"}"#;
const ANY_RUN: &str = r#"{"kind": "any_of", "on_satisfied": "let_run"}"#;

fn quorum(k: i32, then: &str) -> String {
    format!(r#"{{"kind": "quorum", "k": {k}, "on_satisfied": "{then}"}}"#)
}

/// A child with so many upstreams under a policy.
fn fan_in<const N: usize>(w: &mut World, flow: Uuid, policy: &str) -> ([Uuid; N], Uuid) {
    let ups = w.members(flow);
    let child = w.member(flow);
    assert_eq!(w.group_policy(flow, child, policy), "set");
    for up in ups {
        w.edge(flow, up, child);
    }
    w.assert_blocked(child);
    (ups, child)
}

#[test]
fn f_23_the_first_success_fires_and_asks_for_the_others() {
    let mut w = World::new();
    let flow = w.flow();
    let (ups, child) = fan_in::<3>(&mut w, flow, ANY);
    w.ok(ups[1]);
    assert_eq!(w.state(child), "waiting");
    let group = w.group(child);
    assert_eq!(
        (group.state.as_str(), group.cancel_pending),
        ("satisfied", true)
    );
    let queued: (Uuid, Uuid) = {
        let row = w.one(
            "SELECT flow_id, downstream_id FROM ff_engine.sibling_cancel",
            &[],
        );
        (row.uuid("flow_id"), row.uuid("downstream_id"))
    };
    assert_eq!(queued, (flow, child));
    assert_eq!(
        (w.state(ups[0]), w.state(ups[2])),
        ("waiting".into(), "waiting".into())
    );
}

#[test]
fn f_24_let_run_leaves_the_others_alone() {
    let mut w = World::new();
    let flow = w.flow();
    let (ups, child) = fan_in::<3>(&mut w, flow, ANY_RUN);
    w.ok(ups[0]);
    let fired = w.group(child);
    assert_eq!((fired.counts, fired.cancel_pending), ([3, 1, 0, 0], false));
    assert_eq!(w.queued("sibling_cancel"), 0);
    w.ok(ups[1]);
    w.fails(ups[2]);
    let after = w.group(child);
    assert_eq!(after.counts, [3, 2, 1, 0]);
    assert_eq!(
        (after.state, after.satisfied_at),
        (fired.state, fired.satisfied_at)
    );
    assert_eq!(w.state(child), "waiting");
}

#[test]
fn f_25_a_quorum_fires_with_its_last_vote() {
    let mut w = World::new();
    let flow = w.flow();
    let (ups, child) = fan_in::<5>(&mut w, flow, &quorum(3, "let_run"));
    w.ok(ups[0]);
    w.ok(ups[1]);
    assert_eq!(w.group(child).state, "pending");
    w.assert_blocked(child);
    w.ok(ups[2]);
    let fired = w.group(child);
    assert_eq!(
        (fired.state.as_str(), w.state(child).as_str()),
        ("satisfied", "waiting")
    );
    w.ok(ups[3]);
    let after = w.group(child);
    assert_eq!(
        (after.counts, after.satisfied_at),
        ([5, 4, 0, 0], fired.satisfied_at)
    );
    assert_eq!(w.state(ups[4]), "waiting");
    let (ups, child) = fan_in::<5>(&mut w, flow, &quorum(3, "cancel_remaining"));
    for up in &ups[..3] {
        w.ok(*up);
    }
    assert!(w.group(child).cancel_pending);
}

#[test]
fn f_26_a_quorum_that_cannot_be_reached_skips() {
    let mut w = World::new();
    let flow = w.flow();
    for (then, asked) in [("cancel_remaining", true), ("let_run", false)] {
        let (ups, child) = fan_in::<5>(&mut w, flow, &quorum(3, then));
        w.fails(ups[0]);
        w.fails(ups[1]);
        w.assert_blocked(child);
        w.fails(ups[2]);
        let group = w.group(child);
        assert_eq!(
            (w.state(child).as_str(), group.state.as_str()),
            ("skipped", "impossible")
        );
        assert_eq!((group.cancel_pending, group.satisfied_at), (asked, None));
        assert_eq!(w.state(ups[3]), "waiting");
    }
}

#[test]
fn f_27_any_of_is_given_up_with_its_last_upstream() {
    let mut w = World::new();
    let flow = w.flow();
    let (ups, child) = fan_in::<3>(&mut w, flow, ANY);
    w.fails(ups[0]);
    w.fails(ups[1]);
    w.assert_blocked(child);
    w.fails(ups[2]);
    assert_eq!(w.state(child), "skipped");

    let root = w.member(flow);
    let ([a, b, c], child) = fan_in::<3>(&mut w, flow, ANY);
    w.edge(flow, root, b);
    w.fails(a);
    w.fails(root);
    w.rows("SELECT * FROM ff_cancel_execution($1, 'enough')", &[&c]);
    assert_eq!(
        (w.state(b), w.state(child)),
        ("skipped".into(), "skipped".into())
    );
    assert_eq!(w.group(child).counts, [3, 0, 2, 1]);
}

#[test]
fn f_28_a_group_fires_once() {
    let mut w = World::new();
    let flow = w.flow();
    let (ups, child) = fan_in::<3>(&mut w, flow, ANY_RUN);
    w.ok(ups[0]);
    let fired = w.group(child);
    let claim = w.take(child);
    w.ok(ups[1]);
    let row = w.one("SELECT * FROM ff_cascade_completion($1)", &[&ups[0]]);
    assert_eq!(
        (row.text("outcome"), row.int("edges_resolved")),
        ("noop".into(), 0)
    );
    assert_eq!(
        (w.group(child).state, w.group(child).satisfied_at),
        (fired.state, fired.satisfied_at)
    );
    w.complete(&claim.handle, None);
    for id in [child, ups[2], Uuid::new_v4()] {
        let row = w.one("SELECT * FROM ff_cascade_completion($1)", &[&id]);
        assert_eq!(row.text("outcome"), "noop");
    }
}

#[test]
fn f_29_skipping_runs_down_through_any_policy() {
    let mut w = World::new();
    let flow = w.flow();
    let (ups, mid) = fan_in::<3>(&mut w, flow, &quorum(3, "cancel_remaining"));
    let tail = w.member(flow);
    w.edge(flow, mid, tail);
    w.fails(ups[0]);
    assert_eq!(
        (w.state(mid), w.state(tail)),
        ("skipped".into(), "skipped".into())
    );
}

#[test]
fn f_30_a_policy_is_declared_before_the_first_edge() {
    let mut w = World::new();
    let flow = w.flow();
    let [a, b, plain] = w.members(flow);
    assert_eq!(w.group_policy(flow, b, ANY), "set");
    assert_eq!(w.group_policy(flow, b, ANY), "already_set");
    assert_eq!(
        w.group_policy(flow, b, &quorum(1, "let_run")),
        "set",
        "another one before the first edge"
    );
    w.staged(flow, a, b);
    let row = w.one(
        "SELECT * FROM ff_set_edge_group_policy($1, $2, '{\"kind\": \"quorum\", \"k\": 1, \"on_satisfied\": \"let_run\"}')",
        &[&flow, &b],
    );
    assert_eq!(row.text("outcome"), "already_set");
    assert_eq!(row.json("policy")["on_satisfied"], "let_run");
    let set = "SELECT * FROM ff_set_edge_group_policy($1, $2, $3)";
    let policy = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("json");
    let failure = w.refused("FF135", set, &[&flow, &b, &policy(ANY)]);
    assert_eq!(failure.detail["rule"], "already_fixed");
    w.staged(flow, a, plain);
    assert_eq!(
        w.group_policy(flow, plain, r#"{"kind": "all_of"}"#),
        "already_set"
    );
    w.refused("FF135", set, &[&flow, &plain, &policy(ANY)]);
    let fresh = w.member(flow);
    for bad in [
        r#"{"kind": "quorum", "k": 0}"#,
        r#"{"kind": "any_of", "k": 1}"#,
        r#"{"kind": "all_of", "x": 1}"#,
        r#"{"kind": "any_of", "on_satisfied": "x"}"#,
        "[]",
        "null",
    ] {
        w.refused("FF135", set, &[&flow, &fresh, &policy(bad)]);
    }
    let stray = w.create("");
    w.refused("FF418", set, &[&flow, &stray, &policy(ANY)]);
    w.refused("FF002", set, &[&Uuid::new_v4(), &fresh, &policy(ANY)]);
    w.will_break_invariants();
}

#[test]
fn f_31_a_quorum_in_the_making_waits_and_a_fired_group_takes_no_more() {
    let mut w = World::new();
    let flow = w.flow();
    let [a, b, c, child] = w.members(flow);
    w.group_policy(flow, child, &quorum(3, "let_run"));
    w.edge(flow, a, child);
    w.fails(a);
    assert_eq!(w.group(child).state, "pending");
    w.assert_blocked(child);
    w.edge(flow, b, child);
    let failure = w.refused("FF135", "SELECT * FROM ff_seal_flow($1)", &[&flow]);
    assert_eq!(failure.detail["rule"], "quorum_unreachable");
    assert_eq!(failure.detail["executions"][0], child.to_string());
    let row = w.edge_row(flow, c, child, "");
    assert_eq!(
        (row.text("group_state"), row.text("child_effect")),
        ("impossible".into(), "skipped".into())
    );

    let [a, b, late, child] = w.members(flow);
    w.group_policy(flow, child, ANY_RUN);
    w.edge(flow, a, child);
    let staged = w.staged(flow, b, child);
    w.ok(a);
    let stage = "SELECT * FROM ff_stage_dependency_edge($1, $2, $3)";
    let failure = w.refused("FF112", stage, &[&flow, &late, &child]);
    assert_eq!(failure.detail["rule"], "group_fired");
    assert_eq!(
        w.apply(flow, staged).text("outcome"),
        "rejected_group_fired"
    );
    assert_eq!(w.edge_state(flow, staged), "pending");
}
