//! Whole flows from documents (§40.11).

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Cells, World};

/// The document of §40.11, for the lane of the tests.
fn example() -> Value {
    let text = include_str!("../../contract/flow_document.json");
    let mut example: Value = serde_json::from_str(text).expect("a document");
    example["defaults"]["lane"] = "L".into();
    example
}

#[test]
fn f_69_a_flow_from_a_document() {
    let mut w = World::new();
    let (graph, words) = w.events_by(|w| w.graph(&example(), Some("run-42")));
    assert_eq!(words, [] as [&str; 0], "building appends no event");
    let row = &graph.row;
    assert_eq!(row.text("outcome"), "created");
    assert_eq!((row.int("node_count"), row.int("edge_count")), (5, 5));
    assert_eq!(row.big("graph_revision"), 10);
    assert_eq!(w.state(graph.node("fetch")), "waiting");
    for name in ["a", "b", "join", "report"] {
        w.assert_blocked(graph.node(name));
    }
    let join = w.group(graph.node("join"));
    assert_eq!(
        (join.state.as_str(), join.counts),
        ("pending", [2, 0, 0, 0])
    );
    assert_eq!(w.flow_fact(graph.flow, "sealed"), "true");
    assert_eq!(w.flow_fact(graph.flow, "tags ->> 'app.run'"), "42");
    let named: Uuid = w.value("SELECT ff_flow_node($1, 'join')", &[&graph.flow]);
    assert_eq!(named, graph.node("join"));
    let detail = w.describe(graph.node("join")).text("blocking_detail");
    assert_eq!(detail, "2 of 2 dependencies unresolved");
    let partitions: i64 = w.value(
        "SELECT count(DISTINCT partition_key) FROM (
            SELECT partition_key FROM ff_list_executions(flow_id => $1)
            UNION ALL SELECT partition_key FROM ff_describe_flow($1)) AS p",
        &[&graph.flow],
    );
    assert_eq!(partitions, 1);

    let again = w.graph(&example(), Some("run-42"));
    assert_eq!(again.row.text("outcome"), "already_satisfied");
    assert_eq!((again.flow, &again.members), (graph.flow, &graph.members));
    assert_eq!(again.row.big("graph_revision"), 10);
    let mut other = example();
    other["nodes"]["fetch"]["payload_json"] = json!({"url": "v"});
    w.refused(
        "FF311",
        "SELECT * FROM ff_create_flow_graph($1, 'run-42')",
        &[&other],
    );

    w.ok(graph.node("fetch"));
    assert_eq!(w.state(graph.node("a")), "waiting");
    assert_eq!(w.state(graph.node("b")), "delayed");
    w.ok(graph.node("a"));
    assert_eq!(w.state(graph.node("join")), "waiting");
    w.ok_with(graph.node("join"), Some(b"joined"));
    let claim = w.take(graph.node("report"));
    assert_eq!(claim.row.bytes("payload").as_deref(), Some(&b"joined"[..]));
    w.complete(&claim.handle, None);
    w.advance_ms(5_000);
    w.reconciles("delayed", 1);
    w.ok(graph.node("b"));
    w.settles();
    let projected: bool = w.value("SELECT ff_project_flow_summary($1)", &[&graph.flow]);
    assert!(projected);
    assert_eq!(w.flow_fact(graph.flow, "public_flow_state"), "completed");
}

#[test]
fn a_document_says_what_becomes_of_an_execution() {
    let mut w = World::new();
    let execution = Uuid::from_u128(0xe);
    let edge = Uuid::from_u128(0xd);
    let flow = Uuid::from_u128(0xf);
    let document = json!({
        "flow_id": flow.to_string(), "sealed": false, "flow_kind": "my kind",
        "nodes": {
            "one": {"lane": "L", "kind": "k1", "execution_id": execution.to_string(), "priority": 7, "tags": {"a.b": "c"},
                    "policy": {"routing_requirements": {"required_capabilities": ["gpu"]}},
                    "execution_deadline": "2100-01-01T00:00:00Z", "retention_ms": 5, "creator": "me",
                    "payload_base64": "AAE="},
            "two": {"lane": "M", "kind": "k2", "deadline_ms": 60000, "delay_ms": 1000}
        },
        "edges": [{"from": "one", "to": "two", "edge_id": edge.to_string(), "dependency_kind": "any_terminal"}]
    });
    let graph = w.graph(&document, None);
    assert_eq!((graph.flow, graph.node("one")), (flow, execution));
    assert_eq!(w.edge_state(flow, edge), "unsatisfied");
    assert_eq!(w.claims("").len(), 0, "the requirement holds");
    let claim = w.claim("capabilities => '{gpu}'");
    assert_eq!((claim.id, claim.row.int("priority")), (execution, 7));
    assert_eq!(claim.row.bytes("payload").as_deref(), Some(&[0u8, 1][..]));
    assert_eq!(claim.row.json("tags"), json!({"a.b": "c"}));
    assert_eq!(claim.row.uuid("flow_id"), flow);
    let row = w.describe(execution);
    assert_eq!(
        (row.text("creator"), row.text("kind")),
        ("me".into(), "k1".into())
    );
    let two = graph.node("two");
    assert!(
        w.describe(two)
            .maybe_instant("execution_deadline")
            .is_some()
    );
    w.fail(&claim.handle, "broken", "'permanent'");
    assert_eq!(w.state(two), "delayed", "the delay goes on behind the gate");
    let id = w.member(flow);
    assert_eq!(w.state(id), "waiting", "an unsealed flow takes members");
}

#[test]
fn f_70_faults_are_listed_and_nothing_is_written() {
    let mut w = World::new();
    let document = json!({
        "nodez": {},
        "defaults": {"lane": "new-lane", "kind": "k"},
        "nodes": {
            "a": {}, "b": {}, "x": {}, "y": {"after": ["x"]},
            "join": {"after": ["a", "b"], "group": {"kind": "quorum", "k": 5}}
        },
        "edges": [{"from": "a", "to": "ghost"}, {"from": "y", "to": "x"}]
    });
    let failure = w.refused(
        "FF101",
        "SELECT * FROM ff_create_flow_graph($1)",
        &[&document],
    );
    assert_eq!(failure.says("rule"), "flow_document");
    let errors = failure.detail["errors"].as_array().expect("errors").clone();
    let paths: Vec<&str> = errors.iter().filter_map(|e| e["path"].as_str()).collect();
    assert_eq!(
        paths,
        ["/nodez", "/edges/0/to", "/edges/1", "/nodes/join/group/k"]
    );
    let listed: Vec<Value> = w
        .rows("SELECT * FROM ff_validate_flow_document($1)", &[&document])
        .iter()
        .map(|row| json!({"path": row.text("path"), "error": row.text("error")}))
        .collect();
    assert_eq!(listed, errors);
    for table in [
        "flow",
        "execution",
        "edge",
        "edge_group",
        "flow_member",
        "lane",
    ] {
        assert_eq!(w.queued(table), 0, "{table}");
    }
    assert!(
        w.rows("SELECT * FROM ff_validate_flow_document($1)", &[&example()])
            .is_empty()
    );
    assert_eq!(w.queued("flow"), 0, "validating writes nothing");
}

#[test]
fn ids_in_use_and_unknown_limits_are_faults() {
    let mut w = World::new();
    let taken = w.create("").to_string();
    let budget = Uuid::from_u128(0xb).to_string();
    let document = json!({
        "defaults": {"lane": "L", "kind": "k"},
        "budgets": [budget],
        "nodes": {"a": {"execution_id": taken}, "b": {"policy": {"budget_ids": [budget]}}}
    });
    let rows = w.rows(
        "SELECT path FROM ff_validate_flow_document($1)",
        &[&document],
    );
    let paths: Vec<String> = rows.iter().map(|row| row.text("path")).collect();
    assert_eq!(
        paths,
        ["/nodes/a", "/budgets/0", "/nodes/b/policy/budget_ids/0"]
    );
    w.refused(
        "FF101",
        "SELECT * FROM ff_create_flow_graph($1)",
        &[&document],
    );
    assert_eq!(w.queued("flow"), 0);
    w.rows("SELECT * FROM ff_set_lane('L', 'draining')", &[]);
    let document = json!({"nodes": {"a": {"lane": "L", "kind": "k"}}});
    w.refused(
        "FF434",
        "SELECT * FROM ff_create_flow_graph($1)",
        &[&document],
    );
    assert_eq!(w.queued("flow"), 0);
}

#[test]
fn f_71_one_of_many_equal_calls_creates() {
    let mut w = World::new();
    let door = w.door();
    let document = json!({
        "defaults": {"lane": "L", "kind": "k"},
        "nodes": {"a": {}, "b": {"after": ["a"]}, "c": {"after": ["a", "b"]}}
    });
    let calls: Vec<_> = (0..32)
        .map(|_| {
            let (door, document) = (door.clone(), document.clone());
            std::thread::spawn(move || {
                let graph = door.open().graph(&document, Some("one key"));
                (graph.row.text("outcome"), graph.flow, graph.members)
            })
        })
        .collect();
    let answers: Vec<_> = calls
        .into_iter()
        .map(|call| call.join().expect("a session"))
        .collect();
    let created = answers
        .iter()
        .filter(|(word, ..)| word == "created")
        .count();
    let satisfied = answers
        .iter()
        .filter(|(word, ..)| word == "already_satisfied")
        .count();
    assert_eq!((created, satisfied), (1, 31));
    assert!(
        answers
            .iter()
            .all(|(_, flow, members)| *flow == answers[0].1 && *members == answers[0].2)
    );
    assert_eq!(
        (w.executions(), w.queued("flow"), w.queued("edge")),
        (3, 1, 3)
    );
    w.run("BEGIN");
    w.graph(&document, Some("another key"));
    w.run("ROLLBACK");
    assert_eq!(
        (w.executions(), w.queued("flow"), w.queued("edge")),
        (3, 1, 3)
    );
}

#[test]
fn f_72_a_large_document() {
    let mut w = World::new();
    let name = |i: usize| format!("n{i:05}");
    let node = |i: usize| match i {
        0 => json!({}),
        i => json!({"after": [name((i - 1) / 2)]}),
    };
    let nodes: serde_json::Map<String, Value> = (0..10_000).map(|i| (name(i), node(i))).collect();
    // With the tree's 9999 edges, 20 000 in all.
    let far = (1_000..9_000).map(|i| json!({"from": name(i), "to": name(i + 1_000)}));
    let farther = (2_000..4_001).map(|i| json!({"from": name(i), "to": name(i + 2_000)}));
    let edges: Vec<Value> = far.chain(farther).collect();
    let document = json!({"defaults": {"lane": "L", "kind": "k"}, "nodes": nodes, "edges": edges});
    let start = Instant::now();
    let graph = w.graph(&document, None);
    let took = start.elapsed();
    assert_eq!(graph.row.int("edge_count"), 20_000);
    assert!(took < Duration::from_secs(60), "it took {took:?}");
    let claim = w.claim("");
    assert_eq!(claim.id, graph.node("n00000"), "the only root");
    w.run("SET ff_engine.max_flow_nodes = 2");
    let document =
        json!({"defaults": {"lane": "L", "kind": "k"}, "nodes": {"a": {}, "b": {}, "c": {}}});
    let failure = w.refused(
        "FF101",
        "SELECT * FROM ff_create_flow_graph($1)",
        &[&document],
    );
    failure.mentions("more than 2 nodes");
}
