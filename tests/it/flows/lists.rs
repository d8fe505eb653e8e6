//! Pages of flows and members, names, and tags of flows (§40.10).

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Cells, World};

#[test]
fn f_53_pages_of_flows() {
    let mut w = World::new();
    let mut flows: Vec<Uuid> = (0..5).map(|_| w.flow()).collect();
    flows.sort();
    w.cancel_flow(flows[1], "");
    let mut seen = Vec::new();
    let mut pages = Vec::new();
    let mut after: Option<Uuid> = None;
    loop {
        let rows = w.rows(
            "SELECT * FROM ff_list_flows(after => $1, max_items => 2)",
            &[&after],
        );
        pages.push(rows.len());
        seen.extend(rows.iter().map(|row| row.uuid("flow_id")));
        after = seen.last().copied();
        if !rows.last().is_some_and(|row| row.flag("has_more")) {
            break;
        }
    }
    assert_eq!((pages, seen), (vec![2, 2, 1], flows.clone()));
    assert!(
        w.rows("SELECT * FROM ff_list_flows(max_items => 0)", &[])
            .is_empty()
    );
    w.refused("FF101", "SELECT * FROM ff_list_flows(max_items => -1)", &[]);
    let status = |w: &mut World, status: &str| -> Vec<(Uuid, String)> {
        let rows = w.rows("SELECT * FROM ff_list_flows(status => $1)", &[&status]);
        rows.iter()
            .map(|row| (row.uuid("flow_id"), row.text("public_flow_state")))
            .collect()
    };
    assert_eq!(
        status(&mut w, "cancelled"),
        [(flows[1], "cancelled".to_owned())]
    );
    assert_eq!(status(&mut w, "active").len(), 4);
    w.refused(
        "FF101",
        "SELECT * FROM ff_list_flows(status => 'open')",
        &[],
    );
    let row = w.one(
        "SELECT * FROM ff_create_flow(namespace => 'elsewhere', tags => '{\"a.b\": \"c\"}')",
        &[],
    );
    let (flow, partition) = (row.uuid("flow_id"), i32::from(row.small("partition_key")));
    for filter in [
        "namespace => 'elsewhere'".to_owned(),
        "tags => '{\"a.b\": \"c\"}'".to_owned(),
        format!("namespace => 'elsewhere', partition_key => {partition}"),
    ] {
        let found = w.one(&format!("SELECT * FROM ff_list_flows({filter})"), &[]);
        assert_eq!(
            (found.uuid("flow_id"), found.text("namespace")),
            (flow, "elsewhere".into())
        );
        assert_eq!(
            (found.text("status"), found.int("node_count")),
            ("active".into(), 0)
        );
    }
    assert!(
        w.rows("SELECT * FROM ff_list_flows(namespace => 'nowhere')", &[])
            .is_empty()
    );
}

#[test]
fn members_and_groups_are_listed() {
    let mut w = World::new();
    let document = json!({
        "defaults": {"lane": "L", "kind": "k"},
        "nodes": {
            "a": {}, "b": {"after": ["a"]},
            "c": {"after": ["a", "b"], "group": {"kind": "quorum", "k": 2, "on_satisfied": "let_run"}}
        }
    });
    let graph = w.graph(&document, None);
    w.ok(graph.node("a"));
    let rows = w.rows("SELECT * FROM ff_list_flow_members($1)", &[&graph.flow]);
    let mut members: Vec<(String, String, i32, i32)> = rows
        .iter()
        .map(|r| {
            (
                r.text("node_name"),
                r.text("public_state"),
                r.int("inbound"),
                r.int("outbound"),
            )
        })
        .collect();
    members.sort();
    let member = |name: &str, state: &str, i, o| (name.to_owned(), state.to_owned(), i, o);
    assert_eq!(
        members,
        [
            member("a", "completed", 0, 2),
            member("b", "waiting", 1, 1),
            member("c", "waiting_children", 2, 0)
        ]
    );
    let blocked = w.one(
        "SELECT * FROM ff_list_flow_members($1, public_states => '{waiting_children}')",
        &[&graph.flow],
    );
    assert_eq!(blocked.uuid("execution_id"), graph.node("c"));
    let first = w.one(
        "SELECT * FROM ff_list_flow_members($1, max_items => 1)",
        &[&graph.flow],
    );
    assert!(first.flag("has_more"));
    let rest = w.rows(
        "SELECT * FROM ff_list_flow_members($1, after => $2)",
        &[&graph.flow, &first.uuid("execution_id")],
    );
    assert_eq!((rest.len(), rest[1].flag("has_more")), (2, false));
    let groups = w.rows("SELECT * FROM ff_list_edge_groups($1)", &[&graph.flow]);
    assert_eq!(groups.len(), 2);
    let c = groups
        .iter()
        .find(|g| g.uuid("downstream_execution_id") == graph.node("c"))
        .expect("the group of c");
    assert_eq!(
        c.json("policy"),
        json!({"kind": "quorum", "k": 2, "on_satisfied": "let_run"})
    );
    assert_eq!(
        (
            c.int("total_deps"),
            c.int("satisfied_count"),
            c.int("running_count")
        ),
        (2, 1, 1)
    );
    assert_eq!(c.text("group_state"), "pending");
    w.rows(
        "SELECT * FROM ff_cancel_execution($1, 'enough')",
        &[&graph.node("c")],
    );
    let page = w.rows(
        "SELECT * FROM ff_list_edge_groups($1, max_items => 1)",
        &[&graph.flow],
    );
    assert_eq!((page.len(), page[0].flag("has_more")), (1, true));
    let states: Vec<String> = w
        .rows("SELECT * FROM ff_list_edge_groups($1)", &[&graph.flow])
        .iter()
        .map(|g| g.text("group_state"))
        .collect();
    assert!(states.contains(&"cancelled".to_owned()), "{states:?}");
    let unknown = Uuid::from_u128(1);
    for read in ["ff_list_flow_members", "ff_list_edge_groups"] {
        assert!(
            w.rows(&format!("SELECT * FROM {read}($1)"), &[&unknown])
                .is_empty()
        );
        w.refused(
            "FF101",
            &format!("SELECT * FROM {read}($1, max_items => -1)"),
            &[&graph.flow],
        );
    }
    let node = "SELECT ff_flow_node($1, $2)";
    assert_eq!(
        w.value::<Option<Uuid>>(node, &[&graph.flow, &"nobody"]),
        None
    );
    assert_eq!(w.value::<Option<Uuid>>(node, &[&unknown, &"a"]), None);
}

#[test]
fn f_55_tags_of_flows() {
    let mut w = World::new();
    for state in ["open", "cancelled"] {
        let flow = w.flow();
        if state == "cancelled" {
            w.cancel_flow(flow, "");
        }
        let before = w.flow_fact(flow, "last_mutation_at");
        w.advance_ms(10);
        let ((), words) = w.events_by(|w| {
            w.rows("SELECT ff_set_flow_tag($1, 'app.x', 'one')", &[&flow]);
        });
        assert_eq!(words, ["tag.attached"]);
        assert!(w.flow_fact(flow, "last_mutation_at") > before);
        let patch: Value = json!({"app.x": null, "app.y": "two", "app.z": "three"});
        let (applied, words) =
            w.events_by(|w| w.value::<i32>("SELECT ff_set_flow_tags($1, $2)", &[&flow, &patch]));
        assert_eq!(applied, 3);
        assert_eq!(words, ["tag.cleared", "tag.attached", "tag.attached"]);
        let get = "SELECT ff_get_flow_tag($1, $2)";
        assert_eq!(
            w.value::<Option<String>>(get, &[&flow, &"app.y"]),
            Some("two".into())
        );
        assert_eq!(w.value::<Option<String>>(get, &[&flow, &"app.x"]), None);
        for bad in ["nodot", "App.x", "app."] {
            w.refused("FF123", get, &[&flow, &bad]);
            w.refused(
                "FF123",
                "SELECT ff_set_flow_tag($1, $2, 'v')",
                &[&flow, &bad],
            );
            let patch = json!({"app.y": "changed", bad: "v"});
            w.refused("FF123", "SELECT ff_set_flow_tags($1, $2)", &[&flow, &patch]);
        }
        assert_eq!(
            w.value::<Option<String>>(get, &[&flow, &"app.y"]),
            Some("two".into())
        );
        w.refused("FF101", "SELECT ff_set_flow_tags($1, '{}')", &[&flow]);
        w.refused("FF101", "SELECT ff_set_flow_tags($1, '[]')", &[&flow]);
        w.refused(
            "FF101",
            "SELECT ff_set_flow_tag($1, 'app.y', NULL)",
            &[&flow],
        );
    }
    let unknown = Uuid::from_u128(1);
    w.refused(
        "FF002",
        "SELECT ff_set_flow_tag($1, 'app.x', 'v')",
        &[&unknown],
    );
    w.refused(
        "FF002",
        "SELECT ff_set_flow_tags($1, '{\"app.x\": \"v\"}')",
        &[&unknown],
    );
    let absent: Option<String> = w.value("SELECT ff_get_flow_tag($1, 'app.x')", &[&unknown]);
    assert_eq!(absent, None);
}
