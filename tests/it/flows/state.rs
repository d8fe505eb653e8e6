//! What a flow and its children make of themselves: eligibility, waiting parents, summaries, closing (§40.5.6–§40.6).

use uuid::Uuid;

use crate::support::{Cells, World};

fn status(w: &mut World, id: Uuid) -> String {
    w.one("SELECT * FROM ff_evaluate_flow_eligibility($1)", &[&id])
        .text("status")
}

fn project(w: &mut World, flow: Uuid) -> bool {
    w.value("SELECT ff_project_flow_summary($1)", &[&flow])
}

fn flow_state(w: &mut World, flow: Uuid) -> (String, String) {
    let row = w.one("SELECT * FROM ff_describe_flow($1, false)", &[&flow]);
    (row.text("public_flow_state"), row.text("derived_state"))
}

#[test]
fn f_47_part_what_the_edges_say_now() {
    let mut w = World::new();
    w.run("SET ff_engine.inline_edge_limit = 0");
    let flow = w.flow();
    let [a, b, c] = w.members(flow);
    let stray = w.create("");
    assert_eq!(status(&mut w, Uuid::new_v4()), "not_found");
    assert_eq!(status(&mut w, stray), "eligible");
    w.edge(flow, a, b);
    w.edge(flow, c, b);
    let row = w.one("SELECT * FROM ff_evaluate_flow_eligibility($1)", &[&b]);
    assert_eq!(
        (
            row.text("status"),
            row.int("total_deps"),
            row.int("open_dependencies")
        ),
        ("blocked_by_dependencies".into(), 2, 2)
    );
    let claim = w.take(a);
    assert_eq!(status(&mut w, a), "not_runnable");
    w.fail(&claim.handle, "broken", "'permanent'");
    assert_eq!(status(&mut w, a), "terminal");
    let row = w.one("SELECT * FROM ff_evaluate_flow_eligibility($1)", &[&b]);
    assert_eq!(
        (
            row.text("status"),
            row.int("failed_count"),
            row.int("open_dependencies")
        ),
        ("impossible".into(), 1, 1)
    );
    w.assert_blocked(b);
}

#[test]
fn f_48_a_parent_waits_for_its_children_and_goes_on() {
    let mut w = World::new();
    let flow = w.flow();
    let [p, one, two] = w.members(flow);
    let claim = w.take(p);
    w.edge(flow, one, p);
    w.edge(flow, two, p);
    let (row, words) =
        w.events_by(|w| w.one("SELECT * FROM ff_wait_children($1)", &[&claim.handle]));
    assert_eq!(
        (row.text("outcome"), row.int("open_dependencies")),
        ("waiting".into(), 2)
    );
    assert_eq!(words, ["lease.released(waiting_children)"]);
    let detail = w
        .one("SELECT * FROM ff_read_execution_info($1)", &[&p])
        .text("blocking_detail");
    assert_eq!(detail, "2 of 2 dependencies unresolved");
    let again = w.one("SELECT * FROM ff_wait_children($1)", &[&claim.handle]);
    assert_eq!(
        (again.flag("replayed"), again.int("open_dependencies")),
        (true, 2)
    );
    w.ok(one);
    w.assert_blocked(p);
    w.ok(two);
    assert_eq!(w.state(p), "resumable");
    let next = w.take(p);
    assert_eq!(
        (next.index, next.attempt_id),
        (claim.index, claim.attempt_id)
    );
}

#[test]
fn f_49_rounds_of_waiting() {
    let mut w = World::new();
    let flow = w.flow();
    let [p, one, two, three] = w.members(flow);
    let claim = w.take(p);
    w.edge(flow, one, p);
    w.edge(flow, two, p);
    w.ok(one);
    w.ok(two);
    let wait = "SELECT * FROM ff_wait_children($1)";
    assert_eq!(w.one(wait, &[&claim.handle]).text("outcome"), "ready");
    let claim = w.take(p);
    w.edge(flow, three, p);
    let row = w.one(wait, &[&claim.handle]);
    assert_eq!(
        (row.text("outcome"), row.int("open_dependencies")),
        ("waiting".into(), 1)
    );
    w.fails(three);
    assert_eq!(w.state(p), "skipped");

    let [p, child] = w.members(flow);
    let claim = w.take(p);
    assert_eq!(
        w.one(wait, &[&claim.handle]).text("outcome"),
        "ready",
        "no edges"
    );
    let claim = w.take(p);
    w.edge_with(flow, child, p, "dependency_kind => 'any_terminal'");
    w.rows(wait, &[&claim.handle]);
    w.fails(child);
    assert_eq!(w.state(p), "resumable");
    let row = w.one("SELECT * FROM ff_read_dependency_results($1)", &[&p]);
    assert_eq!(
        (
            row.text("upstream_outcome"),
            row.text("edge_state"),
            row.flag("has_more")
        ),
        ("failed".into(), "satisfied".into(), false)
    );
}

#[test]
fn a_parent_counts_what_propagation_has_not() {
    let mut w = World::new();
    w.run("SET ff_engine.inline_edge_limit = 0");
    let flow = w.flow();
    let [p, good, bad] = w.members(flow);
    let claim = w.take(p);
    w.edge(flow, good, p);
    w.ok(good);
    let row = w.one("SELECT * FROM ff_wait_children($1)", &[&claim.handle]);
    assert_eq!(row.text("outcome"), "ready");
    let claim = w.take(p);
    w.edge(flow, bad, p);
    w.fails(bad);
    let row = w.one("SELECT * FROM ff_wait_children($1)", &[&claim.handle]);
    assert_eq!(row.text("outcome"), "skipped");
}

#[test]
fn results_of_upstreams_are_read_in_order() {
    let mut w = World::new();
    let flow = w.flow();
    let ups = w.members::<3>(flow);
    let child = w.member(flow);
    let named = w.create("");
    w.rows(
        "SELECT * FROM ff_add_execution_to_flow($1, $2, 'extra')",
        &[&flow, &named],
    );
    for up in ups.into_iter().chain([named]) {
        w.edge_with(flow, up, child, "data_passing_ref => 'r'");
    }
    w.ok_with(named, Some(b"x"));
    let rows = w.rows("SELECT * FROM ff_read_dependency_results($1)", &[&child]);
    let seen: Vec<(i64, Uuid)> = rows
        .iter()
        .map(|r| (r.big("ordinal"), r.uuid("upstream_execution_id")))
        .collect();
    assert_eq!(seen, [(1, ups[0]), (2, ups[1]), (3, ups[2]), (4, named)]);
    assert_eq!(rows[0].maybe_text("upstream_outcome"), None);
    assert_eq!(
        (
            rows[3].maybe_text("node_name"),
            rows[3].bytes("result"),
            rows[3].text("data_passing_ref")
        ),
        (Some("extra".into()), Some(b"x".to_vec()), "r".into())
    );
    let page = w.rows(
        "SELECT * FROM ff_read_dependency_results($1, 1, 2)",
        &[&child],
    );
    assert_eq!(
        (page.len(), page[0].big("ordinal"), page[0].flag("has_more")),
        (2, 2, true)
    );
    let none = w.rows(
        "SELECT * FROM ff_read_dependency_results($1, max_items => 0)",
        &[&child],
    );
    assert!(none.is_empty());
    w.refused(
        "FF101",
        "SELECT * FROM ff_read_dependency_results($1, max_items => -1)",
        &[&child],
    );
}

#[test]
fn f_50_the_state_that_members_make_of_a_flow() {
    let mut w = World::new();
    let flow = w.flow();
    assert!(!project(&mut w, flow) && !project(&mut w, Uuid::new_v4()));
    let [a, b, c, d] = w.members(flow);
    assert_eq!(flow_state(&mut w, flow).1, "open");
    assert!(project(&mut w, flow));
    w.ok(a);
    w.ok(b);
    let claim = w.take(c);
    assert_eq!(flow_state(&mut w, flow).1, "running");
    w.seed();
    let held = w.take(d);
    w.complete(&claim.handle, None);
    w.rows(
        "SELECT * FROM ff_suspend($1, ff_cond_signal('wpk:a', 'ready'), reason => 'waiting_for_approval')",
        &[&held.handle],
    );
    assert_eq!(flow_state(&mut w, flow).1, "blocked");
    let row = w.one("SELECT * FROM ff_flow_summary($1)", &[&flow]);
    assert_eq!(
        (
            row.big("total_members"),
            row.int("completed"),
            row.int("suspended"),
            row.text("derived_state")
        ),
        (4, 3, 1, "blocked".into())
    );
    assert!(row.maybe_instant("projected_at").is_some());
    assert!(
        w.rows("SELECT * FROM ff_flow_summary($1)", &[&Uuid::new_v4()])
            .is_empty()
    );
}

#[test]
fn f_51_a_flow_closes_when_it_is_sealed_and_over() {
    let mut w = World::new();
    for (fails, state, event) in [
        (false, "completed", "operator.flow_completed"),
        (true, "failed", "operator.flow_failed"),
    ] {
        let flow = w.flow();
        let [a, b, c] = w.members(flow);
        w.edge_with(flow, a, b, "dependency_kind => 'failure_only'");
        w.ok(a);
        if fails {
            w.fails(c);
        } else {
            w.ok(c);
        }
        assert_eq!(w.state(b), "skipped");
        assert!(project(&mut w, flow));
        assert_eq!(
            flow_state(&mut w, flow),
            ("open".into(), state.into()),
            "members may still come"
        );
        w.rows("SELECT * FROM ff_seal_flow($1)", &[&flow]);
        let ((), words) =
            w.events_by(|w| assert_eq!(w.reconcile("flow_summary", ""), (1, 0, 0, false)));
        assert_eq!(words, [event]);
        assert_eq!(flow_state(&mut w, flow).0, state);
        let row = w.one("SELECT * FROM ff_describe_flow($1)", &[&flow]);
        let last = w.value::<chrono::DateTime<chrono::Utc>>(
            "SELECT max(completed_at) FROM ff_executions WHERE flow_id = $1",
            &[&flow],
        );
        assert_eq!(row.maybe_instant("terminal_at"), Some(last));
        assert_eq!(w.reconcile("flow_summary", ""), (0, 0, 0, false));
        w.refused(
            "FF419",
            "SELECT * FROM ff_create_execution('L', 'k', flow_id => $1)",
            &[&flow],
        );
        let counts = w
            .rows("SELECT details FROM ff_read_events('start', max_items => 10000) WHERE flow_id = $1", &[&flow])
            .last()
            .map(|row| row.json("details"));
        assert_eq!(counts.map(|c| c["total_members"].clone()), Some(3.into()));
    }
}

#[test]
fn f_51_an_idle_flow_is_sealed_by_itself() {
    let mut w = World::new();
    let flow = w.flow();
    let a = w.member(flow);
    w.ok(a);
    w.reconcile("flow_summary", "");
    assert_eq!(
        flow_state(&mut w, flow),
        ("open".into(), "completed".into())
    );
    w.advance_ms(24 * 3_600_000 - 60_000);
    w.reconcile("flow_summary", "");
    assert_eq!(flow_state(&mut w, flow).0, "open");
    w.advance_ms(60_000);
    let (_, words) = w.events_by(|w| w.reconcile("flow_summary", ""));
    assert_eq!(words, ["operator.flow_sealed", "operator.flow_completed"]);
    assert_eq!(flow_state(&mut w, flow).0, "completed");
}

#[test]
fn f_52_groups_are_described() {
    let mut w = World::new();
    assert!(
        w.rows("SELECT * FROM ff_describe_flow($1)", &[&Uuid::new_v4()])
            .is_empty()
    );
    let flow = w.flow();
    for explicit in [true, false] {
        let ups = w.members::<3>(flow);
        let child = w.member(flow);
        if explicit {
            w.group_policy(flow, child, r#"{"kind": "all_of"}"#);
        }
        for up in ups {
            w.edge(flow, up, child);
        }
        for up in ups {
            w.ok(up);
        }
        let groups = w
            .one("SELECT * FROM ff_describe_flow($1)", &[&flow])
            .json("edge_groups");
        let group = groups
            .as_array()
            .into_iter()
            .flatten()
            .find(|g| g["downstream_execution_id"] == child.to_string())
            .cloned()
            .expect("the child's group");
        assert_eq!(
            (
                group["total_deps"].clone(),
                group["satisfied_count"].clone(),
                group["group_state"].clone()
            ),
            (3.into(), 3.into(), "satisfied".into())
        );
        assert_eq!(group["policy"], serde_json::json!({"kind": "all_of"}));
    }
    let row = w.one("SELECT * FROM ff_describe_flow($1, false)", &[&flow]);
    assert!(
        row.get::<_, Option<serde_json::Value>>("edge_groups")
            .is_none()
    );
}

#[test]
fn f_56_part_waiting_for_a_flow_is_bounded() {
    let mut w = World::new();
    let flow = w.flow();
    let [a, b] = w.members(flow);
    let wait = "SELECT * FROM ff_wait_flow($1, $2, '10 ms')";
    let row = w.one(wait, &[&flow, &"cancelled"]);
    assert_eq!(
        (
            row.text("outcome"),
            row.text("public_flow_state"),
            row.text("derived_state"),
            row.big("owed_members")
        ),
        ("timeout".into(), "open".into(), "open".into(), 0)
    );
    assert_eq!(
        w.one(wait, &[&Uuid::new_v4(), &"terminal"]).text("outcome"),
        "gone"
    );
    w.refused("FF101", wait, &[&flow, &"done"]);
    w.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    w.refused("FF134", wait, &[&flow, &"terminal"]);
    w.run("ROLLBACK");
    w.ok(a);
    let mut other = w.session();
    let waits = std::thread::spawn(move || {
        other.run("SET ff_engine.max_function_wait = '60s'");
        other
            .one("SELECT * FROM ff_wait_flow($1, wait => '1 min')", &[&flow])
            .text("outcome")
    });
    w.ok(b);
    assert_eq!(waits.join().expect("an answer"), "satisfied");
}

#[test]
fn e_98_members_say_which_flow_they_are_in() {
    let mut w = World::new();
    let flow = w.flow();
    let [a, b] = w.members(flow);
    w.edge(flow, a, b);
    let info = w.one("SELECT * FROM ff_read_execution_info($1)", &[&b]);
    assert_eq!(
        (info.maybe_uuid("flow_id"), info.text("public_state")),
        (Some(flow), "waiting_children".into())
    );
}

#[test]
fn e_104_the_flow_of_a_member() {
    let mut w = World::new();
    let flow = w.flow();
    let [a] = w.members(flow);
    let stray = w.create("");
    for (id, of) in [(a, Some(flow)), (stray, None), (Uuid::new_v4(), None)] {
        let found: Option<Uuid> = w.value("SELECT ff_resolve_execution_flow_id($1)", &[&id]);
        assert_eq!(found, of);
    }
}

#[test]
fn o_12_a_waiting_child_names_what_it_waits_for() {
    let mut w = World::new();
    w.run("SET ff_engine.inline_edge_limit = 0");
    let flow = w.flow();
    let [a, b] = w.members(flow);
    let edge = w.edge(flow, a, b);
    let row = w.one("SELECT * FROM ff_explain_execution($1)", &[&b]);
    let detail = row.json("detail");
    assert_eq!(row.text("reason"), "waiting_for_dependencies");
    assert_eq!(detail["open_edges"][0]["edge_id"], edge.to_string());
    assert_eq!(
        detail["open_edges"][0]["upstream_execution_id"],
        a.to_string()
    );
    assert_eq!(row.text("remedy"), format!("ff_explain_execution('{a}')"));
    w.ok(a);
    let row = w.one("SELECT * FROM ff_explain_execution($1)", &[&b]);
    assert_eq!(row.text("remedy"), format!("ff_cascade_completion('{a}')"));
}

#[test]
fn a_member_that_the_cancellation_of_its_flow_covers_is_explained() {
    let mut w = World::new();
    w.run("SET ff_engine.cancel_inline_limit = 0");
    let flow = w.flow();
    let [waits, runs] = w.members(flow);
    w.take(runs);
    let reasons = |w: &mut World, id: Uuid| -> Vec<String> {
        let rows = w.rows("SELECT * FROM ff_explain_execution($1)", &[&id]);
        rows.iter().map(|row| row.text("reason")).collect()
    };
    assert_eq!(reasons(&mut w, waits), ["ready"]);
    w.cancel_flow(flow, "policy => 'cancel_pending', reason => 'enough'");
    let row = w.one("SELECT * FROM ff_explain_execution($1)", &[&waits]);
    let detail = row.json("detail");
    assert_eq!(row.text("reason"), "flow_cancelled");
    assert_eq!(
        (
            &detail["flow_id"],
            &detail["cancellation_policy"],
            &detail["cancel_reason"]
        ),
        (
            &flow.to_string().into(),
            &"cancel_pending".into(),
            &"enough".into()
        )
    );
    assert_eq!(row.text("remedy"), "ff_reconcile_cancel_backlog()");
    assert_eq!(reasons(&mut w, runs), ["leased"], "it goes on");
    w.cancel_flow(flow, "escalate => true");
    assert_eq!(reasons(&mut w, runs), ["leased", "flow_cancelled"]);
    w.reconciles("cancel_backlog", 2);
    assert_eq!(reasons(&mut w, waits), ["terminal"]);
}

#[test]
fn e_111_members_outlive_their_retention_until_the_flow_is_over() {
    let mut w = World::new();
    let flow = w.flow();
    let a = w.member_with(flow, "retention => '1 s'");
    w.ok(a);
    w.advance_ms(2_000);
    assert_eq!(w.reconcile("retention", "").0, 0);
    w.rows("SELECT * FROM ff_seal_flow($1)", &[&flow]);
    w.reconcile("flow_summary", "");
    assert_eq!(
        w.reconcile("flow_retention", "").0,
        0,
        "it still has a member"
    );
    w.advance_ms(60_000);
    assert_eq!(w.reconcile("retention", "").0, 1);
    assert_eq!(w.reconcile("flow_retention", "").0, 1);
    assert!(
        w.rows("SELECT * FROM ff_describe_flow($1)", &[&flow])
            .is_empty()
    );
    for table in ["edge", "edge_group", "flow_member", "flow_summary"] {
        assert_eq!(w.queued(table), 0, "{table}");
    }
}
