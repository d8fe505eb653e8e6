//! Staging and applying edges (§40.4).

use uuid::Uuid;

use crate::support::{Cells, World};

const STAGE: &str = "SELECT * FROM ff_stage_dependency_edge($1, $2, $3)";
const STAGE_AT: &str = "SELECT * FROM ff_stage_dependency_edge($1, $2, $3, $4::bigint)";

#[test]
fn f_6_a_cycle_and_a_self_edge_are_refused() {
    let mut w = World::new();
    let flow = w.flow();
    let [a, b, c] = w.members(flow);
    let row = w.one(STAGE_AT, &[&flow, &a, &b, &3i64]);
    assert_eq!(
        (row.text("outcome"), row.big("graph_revision")),
        ("staged".into(), 4)
    );
    let row = w.one(STAGE_AT, &[&flow, &b, &c, &4i64]);
    assert_eq!(row.big("graph_revision"), 5);
    let failure = w.refused("FF302", STAGE_AT, &[&flow, &c, &a, &5i64]);
    let path = serde_json::json!([a, b, c, a].map(|id| id.to_string()));
    assert_eq!(
        failure.detail["path"], path,
        "from the downstream round to it"
    );
    let failure = w.refused("FF303", STAGE, &[&flow, &a, &a]);
    assert_eq!(failure.detail["execution_id"], a.to_string());
    let row = w.one("SELECT * FROM ff_describe_flow($1)", &[&flow]);
    assert_eq!((row.big("graph_revision"), row.int("edge_count")), (5, 2));
}

#[test]
fn f_7_the_revision_is_compared_and_set() {
    let mut w = World::new();
    let flow = w.flow();
    let [a, b, c] = w.members(flow);
    w.staged(flow, a, b);
    w.staged(flow, b, c);
    let failure = w.refused("FF209", STAGE_AT, &[&flow, &a, &c, &4i64]);
    assert_eq!(failure.detail["graph_revision"], 5);
    w.run("BEGIN");
    w.rows(STAGE_AT, &[&flow, &a, &c, &5i64]);
    let mut other = w.session();
    let pid = other.pid();
    let d = w.door().open().create("");
    let loses = std::thread::spawn(move || {
        let failure = other.refused("FF209", STAGE_AT, &[&flow, &a, &d, &5i64]);
        failure.detail["graph_revision"].clone()
    });
    w.door().open().waits_until_blocked(pid);
    w.run("COMMIT");
    assert_eq!(loses.join().expect("a refusal"), 6);
}

#[test]
fn f_8_a_repeated_edge_is_the_same_edge() {
    let mut w = World::new();
    let flow = w.flow();
    let [a, b, c] = w.members(flow);
    let edge = Uuid::new_v4();
    let stage = "SELECT * FROM ff_stage_dependency_edge($1, $2, $3, 3, $4)";
    let row = w.one(stage, &[&flow, &a, &b, &edge]);
    assert_eq!(
        (row.text("outcome"), row.uuid("edge_id")),
        ("staged".into(), edge)
    );
    let row = w.one(stage, &[&flow, &a, &b, &edge]);
    assert_eq!(
        (row.text("outcome"), row.big("graph_revision")),
        ("already_staged".into(), 4)
    );
    w.refused("FF301", stage, &[&flow, &a, &c, &edge]);
    let other_kind = "SELECT * FROM ff_stage_dependency_edge($1, $2, $3, 3, $4, 'any_terminal')";
    w.refused("FF301", other_kind, &[&flow, &a, &b, &edge]);
    let failure = w.refused("FF301", STAGE, &[&flow, &a, &b]);
    assert_eq!(failure.detail["edge"]["edge_id"], edge.to_string());
    assert_eq!(failure.detail["edge"]["edge_state"], "pending");
    let row = w.one("SELECT * FROM ff_describe_flow($1)", &[&flow]);
    assert_eq!((row.big("graph_revision"), row.int("edge_count")), (4, 1));
}

#[test]
fn f_9_edges_join_members_with_known_words() {
    let mut w = World::new();
    let flow = w.flow();
    let [a, b] = w.members(flow);
    let stray = w.create("");
    w.refused("FF418", STAGE, &[&flow, &a, &stray]);
    w.refused("FF418", STAGE, &[&flow, &Uuid::new_v4(), &b]);
    let worded = "SELECT * FROM ff_stage_dependency_edge($1, $2, $3, dependency_kind => $4, data_passing_ref => $5)";
    let failure = w.refused("FF101", worded, &[&flow, &a, &b, &"maybe", &"x"]);
    assert_eq!(failure.detail["argument"], "dependency_kind");
    let failure = w.refused(
        "FF101",
        worded,
        &[&flow, &a, &b, &"success_only", &"x".repeat(1025)],
    );
    assert_eq!(failure.detail["argument"], "data_passing_ref");
    w.refused("FF002", STAGE, &[&Uuid::new_v4(), &a, &b]);
    w.rows(worded, &[&flow, &a, &b, &"success_only", &""]);
    let edge = w.one("SELECT * FROM ff_list_edges($1)", &[&flow]);
    assert_eq!(
        edge.maybe_text("data_passing_ref"),
        None,
        "an empty ref asks for nothing"
    );
    w.refused("FF112", "SELECT * FROM ff_seal_flow($1)", &[&flow]);
    w.apply(flow, edge.uuid("edge_id"));
    w.rows("SELECT * FROM ff_seal_flow($1)", &[&flow]);
    w.refused("FF435", STAGE, &[&flow, &b, &a]);
}

#[test]
fn f_10_the_search_for_a_cycle_is_exact_and_bounded() {
    let mut w = World::new();
    let flow = w.flow();
    let n = 5000;
    w.run("SET ff_engine.max_claim_items = 5000");
    let items: Vec<_> = (0..n)
        .map(|_| serde_json::json!({"lane": "L", "kind": "k", "flow_id": flow.to_string()}))
        .collect();
    let rows = w.rows(
        "SELECT * FROM ff_create_executions($1)",
        &[&serde_json::json!(items)],
    );
    let ids: Vec<Uuid> = rows.iter().map(|row| row.uuid("execution_id")).collect();
    // In several transactions: one keeps every version of the flow's row that it has made.
    for links in ids.windows(2).collect::<Vec<_>>().chunks(100) {
        let (ups, downs): (Vec<Uuid>, Vec<Uuid>) = links.iter().map(|l| (l[0], l[1])).unzip();
        w.rows(
            "SELECT s.outcome FROM unnest($2::uuid[], $3::uuid[]) AS l (up, down),
                    LATERAL ff_stage_dependency_edge($1, l.up, l.down) AS s",
            &[&flow, &ups, &downs],
        );
    }
    let failure = w.refused("FF302", STAGE, &[&flow, &ids[n - 1], &ids[0]]);
    assert_eq!(failure.detail["path"].as_array().map(Vec::len), Some(n + 1));
    assert_eq!(
        w.one(STAGE, &[&flow, &ids[0], &ids[n - 1]]).text("outcome"),
        "staged"
    );
    w.run("SET ff_engine.max_graph_walk = 100");
    let failure = w.refused("FF101", STAGE, &[&flow, &ids[n - 1], &ids[0]]);
    assert_eq!(failure.detail["rule"], "graph_too_large");
    let row = w.one(STAGE, &[&flow, &ids[n - 200], &ids[n - 100]]);
    assert_eq!(
        row.text("outcome"),
        "staged",
        "what is near the end is seen whole"
    );
    w.will_break_invariants();
}

#[test]
fn f_11_a_staged_edge_counts_once_it_is_applied() {
    let mut w = World::new();
    let flow = w.flow();
    let [a, b] = w.members(flow);
    let edge = w.staged(flow, a, b);
    assert_eq!(
        (w.edge_state(flow, edge), w.state(b)),
        ("pending".into(), "waiting".into())
    );
    let row = w.apply(flow, edge);
    assert_eq!(
        (
            row.text("outcome"),
            row.int("unsatisfied_count"),
            row.text("group_state"),
            row.text("child_effect")
        ),
        ("applied".into(), 1, "pending".into(), "blocked".into())
    );
    assert_eq!(w.edge_state(flow, edge), "unsatisfied");
    w.assert_blocked(b);
    let detail: String = w
        .one("SELECT * FROM ff_read_execution_info($1)", &[&b])
        .text("blocking_detail");
    assert_eq!(detail, "1 of 1 dependencies unresolved");
    let row = w.apply(flow, edge);
    assert_eq!(
        (row.text("outcome"), row.int("unsatisfied_count")),
        ("already_applied".into(), 1)
    );
    assert_eq!(w.group(b).counts, [1, 0, 0, 0]);
    w.refused(
        "FF008",
        "SELECT * FROM ff_apply_dependency_to_child($1, $2)",
        &[&flow, &Uuid::new_v4()],
    );
    assert!(
        w.claims("").iter().all(|c| c.id == a),
        "what waits is not handed out"
    );
}

#[test]
fn f_12_an_edge_from_what_has_ended_resolves_at_once() {
    let mut w = World::new();
    let flow = w.flow();
    let [a, b, c, d] = w.members(flow);
    w.ok(a);
    let edge = w.staged(flow, a, b);
    let row = w.apply(flow, edge);
    assert_eq!(
        (row.text("group_state"), row.int("unsatisfied_count")),
        ("satisfied".into(), 0)
    );
    assert!(["none", "released"].contains(&row.text("child_effect").as_str()));
    assert_eq!(w.state(b), "waiting");
    w.fails(c);
    let edge = w.staged(flow, c, d);
    let (row, words) = w.events_by(|w| w.apply(flow, edge));
    assert_eq!(row.text("child_effect"), "skipped");
    assert_eq!(words, ["completion.skipped"]);
    assert_eq!(w.state(d), "skipped");
}

#[test]
fn f_13_no_edge_slips_between_applying_and_completing() {
    let mut w = World::new();
    let flow = w.flow();
    let [a, b, c, d] = w.members(flow);
    let (one, two) = (w.staged(flow, a, b), w.staged(flow, c, d));
    let (claim, second) = (w.take(a), w.take(c));

    let mut other = w.session();
    let pid = other.pid();
    w.run("BEGIN");
    w.complete(&claim.handle, None);
    let applies = std::thread::spawn(move || other.apply(flow, one).text("group_state"));
    w.door().open().waits_until_blocked(pid);
    w.run("COMMIT");
    assert_eq!(applies.join().expect("applied"), "satisfied");
    assert_eq!(w.state(b), "waiting");

    let mut other = w.session();
    let pid = other.pid();
    w.run("BEGIN");
    assert_eq!(w.apply(flow, two).text("child_effect"), "blocked");
    let completes = std::thread::spawn(move || {
        other.complete(&second.handle, None);
    });
    w.door().open().waits_until_blocked(pid);
    w.run("COMMIT");
    completes.join().expect("completed");
    w.background();
    assert_eq!(w.state(d), "waiting");
    assert_eq!(w.group(d).counts, [1, 1, 0, 0]);
}

#[test]
fn f_14_an_edge_blocks_what_is_reserved_and_spares_what_is_held_or_over() {
    let mut w = World::new();
    let flow = w.flow();
    let [a, b, c, d] = w.members(flow);
    let granted = w.one(
        "SELECT * FROM ff_issue_claim_grant($1, 'w', 'w-1', grant_ttl => '1 min')",
        &[&b],
    );
    assert_eq!(granted.text("outcome"), "granted");
    assert_eq!(w.edge_row(flow, a, b, "").text("child_effect"), "blocked");
    w.refused(
        "FF203",
        "SELECT * FROM ff_claim_execution($1, 'w', 'w-1')",
        &[&b],
    );

    w.rows("SELECT * FROM ff_cancel_execution($1, 'enough')", &[&c]);
    let before = w
        .one("SELECT * FROM ff_describe_flow($1)", &[&flow])
        .big("graph_revision");
    let row = w.edge_row(flow, a, c, "");
    assert_eq!(
        (row.text("outcome"), row.big("graph_revision")),
        ("rejected_terminal".into(), before)
    );
    let edges = w.rows("SELECT * FROM ff_list_edges($1, $2)", &[&flow, &c]);
    assert!(edges.is_empty(), "nothing is left of it");
    let staged = w.staged(flow, a, c);
    assert_eq!(w.apply(flow, staged).text("outcome"), "rejected_terminal");
    assert_eq!(w.edge_state(flow, staged), "pending");

    w.rows(
        "SELECT * FROM ff_block_execution($1, 'paused_by_operator')",
        &[&d],
    );
    assert_eq!(w.edge_row(flow, a, d, "").text("child_effect"), "none");
    assert_eq!(w.state(d), "waiting");
    w.rows("SELECT * FROM ff_unblock_execution($1)", &[&d]);
    w.assert_blocked(d);
}

#[test]
fn edges_are_listed_by_ordinal_and_by_direction() {
    let mut w = World::new();
    let flow = w.flow();
    let [a, b, c, alone] = w.members(flow);
    w.edge(flow, a, b);
    w.edge(flow, a, c);
    let last = w.edge_with(flow, b, c, "data_passing_ref => 'artifact://x'");
    let count = |w: &mut World, id: Uuid, direction: &str| {
        w.rows(
            "SELECT * FROM ff_list_edges($1, $2, $3)",
            &[&flow, &id, &direction],
        )
        .len()
    };
    assert_eq!(
        (count(&mut w, a, "outgoing"), count(&mut w, b, "incoming")),
        (2, 1)
    );
    assert_eq!(
        (count(&mut w, c, "incoming"), count(&mut w, b, "both")),
        (2, 2)
    );
    assert_eq!(
        (
            count(&mut w, alone, "both"),
            count(&mut w, Uuid::new_v4(), "both")
        ),
        (0, 0)
    );
    let unknown = w.rows("SELECT * FROM ff_list_edges($1)", &[&Uuid::new_v4()]);
    assert!(unknown.is_empty());
    let page = w.rows("SELECT * FROM ff_list_edges($1, max_items => 2)", &[&flow]);
    assert_eq!(
        (page.len(), page[0].flag("has_more"), page[0].big("ordinal")),
        (2, true, 1)
    );
    let rest = w.rows("SELECT * FROM ff_list_edges($1, after => 2)", &[&flow]);
    assert_eq!(
        (
            rest.len(),
            rest[0].flag("has_more"),
            rest[0].uuid("edge_id")
        ),
        (1, false, last)
    );
    assert!(
        w.rows("SELECT * FROM ff_list_edges($1, max_items => 0)", &[&flow])
            .is_empty()
    );
    w.refused(
        "FF101",
        "SELECT * FROM ff_list_edges($1, direction => 'up')",
        &[&flow],
    );
    let edge = w.one("SELECT * FROM ff_describe_edge($1, $2)", &[&flow, &last]);
    assert_eq!(
        (
            edge.text("data_passing_ref"),
            edge.text("satisfaction_condition"),
            edge.text("created_by")
        ),
        (
            "artifact://x".into(),
            "all_required".into(),
            "engine".into()
        )
    );
    let unknown = w.rows(
        "SELECT * FROM ff_describe_edge($1, $2)",
        &[&flow, &Uuid::new_v4()],
    );
    assert!(unknown.is_empty());
}

#[test]
fn staging_and_applying_in_one_step_is_repeatable() {
    let mut w = World::new();
    let flow = w.flow();
    let [a, b] = w.members(flow);
    let id = Uuid::new_v4();
    let add = format!("edge_id => '{id}'");
    let row = w.edge_row(flow, a, b, &add);
    assert_eq!(
        (
            row.text("outcome"),
            row.big("graph_revision"),
            row.int("unsatisfied_count"),
            row.text("child_effect")
        ),
        ("added".into(), 3, 1, "blocked".into())
    );
    let row = w.edge_row(flow, a, b, &add);
    assert_eq!(
        (row.text("outcome"), row.big("graph_revision")),
        ("already_staged".into(), 3)
    );
    assert_eq!(w.group(b).counts, [1, 0, 0, 0]);
    let [c] = w.members(flow);
    let staged = w.staged(flow, a, c);
    let row = w.edge_row(flow, a, c, &format!("edge_id => '{staged}'"));
    assert_eq!(
        (row.text("outcome"), row.text("child_effect")),
        ("already_staged".into(), "blocked".into())
    );
}

#[test]
fn a_flow_has_no_more_edges_than_it_may() {
    let mut w = World::new();
    let flow = w.flow();
    let [a, b, c] = w.members(flow);
    w.run("SET ff_engine.max_flow_edges = 1");
    w.staged(flow, a, b);
    let failure = w.refused("FF101", STAGE, &[&flow, &b, &c]);
    assert_eq!(failure.detail["rule"], "graph_too_large");
}
