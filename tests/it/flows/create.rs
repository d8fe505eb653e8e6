//! Creating flows and joining them (§40.4).

use uuid::Uuid;

use crate::support::{Cells, World};

const ADD: &str = "SELECT * FROM ff_add_execution_to_flow($1, $2)";

#[test]
fn f_1_creating_twice_is_creating_once() {
    let mut w = World::new();
    let id = Uuid::new_v4();
    let row = w.one("SELECT * FROM ff_create_flow($1, 'dag', 'ns')", &[&id]);
    assert_eq!(row.text("outcome"), "created");
    let again = w.one(
        "SELECT * FROM ff_create_flow($1, 'x', 'other', '{\"app.a\": \"b\"}')",
        &[&id],
    );
    assert_eq!(
        (
            again.text("outcome"),
            again.text("flow_kind"),
            again.text("namespace")
        ),
        ("already_satisfied".into(), "dag".into(), "ns".into())
    );
    let flow = w.one("SELECT * FROM ff_describe_flow($1)", &[&id]);
    assert_eq!(
        (
            flow.text("public_flow_state"),
            flow.text("derived_state"),
            flow.flag("sealed")
        ),
        ("open".into(), "open".into(), false)
    );
    assert_eq!(
        (
            flow.big("graph_revision"),
            flow.int("node_count"),
            flow.int("edge_count")
        ),
        (0, 0, 0)
    );
    assert_eq!(flow.instant("last_mutation_at"), flow.instant("created_at"));
    assert_eq!(
        (flow.json("tags"), flow.json("edge_groups")),
        (serde_json::json!({}), serde_json::json!([]))
    );
    for column in ["cancel_reason", "cancellation_policy", "cancel_requester"] {
        assert_eq!(flow.maybe_text(column), None);
    }
    for column in ["terminal_at", "cancelled_at"] {
        assert_eq!(flow.maybe_instant(column), None);
    }
    let partition: i16 = w.value("SELECT ff_partition_of($1)", &[&id]);
    assert_eq!(flow.small("partition_key"), partition);
}

#[test]
fn f_2_members_are_counted_once() {
    let mut w = World::new();
    let flow = w.flow();
    let partition: i16 = w.value("SELECT ff_partition_of($1)", &[&flow]);
    let ids = [
        w.create(""),
        w.create(""),
        w.create("execution_id => gen_random_uuid()"),
    ];
    for (n, id) in (1..).zip(ids) {
        let row = w.one(ADD, &[&flow, &id]);
        assert_eq!(
            (
                row.text("outcome"),
                row.int("node_count"),
                row.big("graph_revision")
            ),
            ("added".into(), n, i64::from(n))
        );
        let of: Option<Uuid> = w.value("SELECT ff_resolve_execution_flow_id($1)", &[&id]);
        assert_eq!(of, Some(flow));
        let own: i16 = w.value(
            "SELECT partition_key FROM ff_executions WHERE execution_id = $1",
            &[&id],
        );
        assert_eq!(own, partition);
    }
    let row = w.one(ADD, &[&flow, &ids[0]]);
    assert_eq!(
        (
            row.text("outcome"),
            row.int("node_count"),
            row.big("graph_revision")
        ),
        ("already_member".into(), 3, 3)
    );
}

#[test]
fn f_3_strangers_and_members_of_others_are_refused() {
    let mut w = World::new();
    let (one, two) = (w.flow(), w.flow());
    let a = w.create("");
    w.refused("FF002", ADD, &[&Uuid::new_v4(), &a]);
    let of: Option<Uuid> = w.value("SELECT ff_resolve_execution_flow_id($1)", &[&a]);
    assert_eq!(of, None);
    w.refused("FF001", ADD, &[&one, &Uuid::new_v4()]);
    w.rows(ADD, &[&one, &a]);
    let failure = w.refused("FF304", ADD, &[&two, &a]);
    assert_eq!(failure.detail["flow_id"], one.to_string());
    for (flow, nodes) in [(one, 1), (two, 0)] {
        let row = w.one("SELECT * FROM ff_describe_flow($1)", &[&flow]);
        assert_eq!(
            (row.int("node_count"), row.big("graph_revision")),
            (nodes, i64::from(nodes))
        );
    }
}

#[test]
fn f_4_two_sessions_join_one_after_the_other() {
    let mut w = World::new();
    let flow = w.flow();
    let (a, b) = (w.create(""), w.create(""));
    w.run("BEGIN");
    w.rows(ADD, &[&flow, &a]);
    let mut other = w.session();
    let pid = other.pid();
    let joins = std::thread::spawn(move || {
        let row = other.one(ADD, &[&flow, &b]);
        (row.int("node_count"), row.big("graph_revision"))
    });
    w.waits_until_blocked(pid);
    w.run("COMMIT");
    assert_eq!(joins.join().expect("a member"), (2, 2));
    let row = w.one("SELECT * FROM ff_flow_summary($1)", &[&flow]);
    assert_eq!(row.big("total_members"), 2);
}

#[test]
fn f_5_a_sealed_flow_takes_no_members() {
    let mut w = World::new();
    let flow = w.flow();
    let (a, b) = (w.create(""), w.create(""));
    w.rows(ADD, &[&flow, &a]);
    let row = w.one("SELECT * FROM ff_seal_flow($1)", &[&flow]);
    assert_eq!(
        (row.text("outcome"), row.big("graph_revision")),
        ("sealed".into(), 1)
    );
    let row = w.one("SELECT * FROM ff_seal_flow($1)", &[&flow]);
    assert_eq!(row.text("outcome"), "already_sealed");
    w.refused("FF435", ADD, &[&flow, &b]);
    let before = w.executions();
    w.refused(
        "FF435",
        "SELECT * FROM ff_create_execution('L', 'k', flow_id => $1)",
        &[&flow],
    );
    assert_eq!(w.executions(), before, "nothing was created");
    assert_eq!(w.one(ADD, &[&flow, &a]).text("outcome"), "already_member");
}

#[test]
fn e_120_members_are_minted_with_the_partition_of_their_flow() {
    let mut w = World::new();
    let flow = w.flow();
    let partition: i16 = w.value("SELECT ff_partition_of($1)", &[&flow]);
    let row = w.create_row(&format!("flow_id => '{flow}'"));
    assert_eq!(row.small("partition_key"), partition);
    let own: i16 = w.value("SELECT ff_partition_of($1)", &[&row.uuid("execution_id")]);
    assert_eq!(own, partition);
    let chosen = Uuid::new_v4();
    let row = w.create_row(&format!("flow_id => '{flow}', execution_id => '{chosen}'"));
    assert_eq!(row.small("partition_key"), partition);
}

#[test]
fn a_batch_joins_several_flows_at_once() {
    let mut w = World::new();
    let (one, two) = (w.flow(), w.flow());
    let items = serde_json::json!([
        {"lane": "L", "kind": "k", "flow_id": one.to_string()},
        {"lane": "L", "kind": "k"},
        {"lane": "L", "kind": "k", "flow_id": two.to_string()},
        {"lane": "L", "kind": "k", "flow_id": one.to_string()},
    ]);
    let rows = w.rows("SELECT * FROM ff_create_executions($1)", &[&items]);
    assert_eq!(rows.len(), 4);
    let nodes = |w: &mut World, flow: Uuid| {
        w.one("SELECT * FROM ff_describe_flow($1)", &[&flow])
            .int("node_count")
    };
    assert_eq!((nodes(&mut w, one), nodes(&mut w, two)), (2, 1));
    let unknown = serde_json::json!([{"lane": "L", "kind": "k"}, {"lane": "L", "kind": "k", "flow_id": Uuid::new_v4().to_string()}]);
    let failure = w.refused(
        "FF002",
        "SELECT * FROM ff_create_executions($1)",
        &[&unknown],
    );
    assert_eq!(failure.detail["item"], 1);
    assert_eq!(w.executions(), 4);
}

#[test]
fn a_duplicate_is_answered_before_the_flow_is_looked_at() {
    let mut w = World::new();
    let flow = w.flow();
    let call = format!("flow_id => '{flow}', idempotency_key => 'x'");
    let id = w.create(&call);
    w.rows("SELECT * FROM ff_seal_flow($1)", &[&flow]);
    let row = w.create_row(&call);
    assert_eq!(
        (row.text("outcome"), row.uuid("execution_id")),
        ("duplicate".into(), id)
    );
}

#[test]
fn node_names_are_unique_and_well_formed() {
    let mut w = World::new();
    let flow = w.flow();
    let (a, b) = (w.create(""), w.create(""));
    let named = "SELECT * FROM ff_add_execution_to_flow($1, $2, $3)";
    w.rows(named, &[&flow, &a, &"fetch"]);
    let failure = w.refused("FF101", named, &[&flow, &b, &"fetch"]);
    assert_eq!(failure.detail["rule"], "taken");
    for bad in ["", "-a", "a b", &"x".repeat(129)] {
        let failure = w.refused("FF101", named, &[&flow, &b, &bad]);
        assert_eq!(failure.detail["argument"], "node_name");
    }
    let other = w.flow();
    assert_eq!(
        w.one(named, &[&other, &b, &"fetch"]).text("outcome"),
        "added"
    );
}

#[test]
fn a_flow_has_no_more_members_than_it_may() {
    let mut w = World::new();
    let flow = w.flow();
    w.run("SET ff_engine.max_flow_nodes = 2");
    w.members::<2>(flow);
    let failure = w.refused(
        "FF101",
        "SELECT * FROM ff_create_execution('L', 'k', flow_id => $1)",
        &[&flow],
    );
    assert_eq!(failure.detail["rule"], "graph_too_large");
    let stray = w.create("");
    let failure = w.refused("FF101", ADD, &[&flow, &stray]);
    assert_eq!(failure.detail["rule"], "graph_too_large");
}

#[test]
fn a_flow_kind_is_its_callers_affair_however_it_is_told() {
    let mut w = World::new();
    let kind = "line\nbreak\u{7}";
    let row = w.one("SELECT * FROM ff_create_flow(flow_kind => $1)", &[&kind]);
    assert_eq!(row.text("flow_kind"), kind);
    let document =
        serde_json::json!({"flow_kind": kind, "nodes": {"a": {"lane": "L", "kind": "k"}}});
    let graph = w.graph(&document, None);
    assert_eq!(w.flow_fact(graph.flow, "flow_kind"), kind);
    for (kind, rule) in [(String::new(), "empty"), ("x".repeat(257), "too_long")] {
        let failure = w.refused(
            "FF101",
            "SELECT * FROM ff_create_flow(flow_kind => $1)",
            &[&kind],
        );
        assert_eq!(failure.detail["rule"], rule);
        let document =
            serde_json::json!({"flow_kind": kind, "nodes": {"a": {"lane": "L", "kind": "k"}}});
        let fault = w.one("SELECT * FROM ff_validate_flow_document($1)", &[&document]);
        assert_eq!(fault.text("path"), "/flow_kind");
    }
}
