//! Documents that hold, documents that do not and where, and what makes two of them equal.
#![allow(clippy::unwrap_used, clippy::needless_range_loop)]

use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Document, Fault, Rules, When, parse};
use crate::model::time::Instant;

fn instant(text: &str) -> Option<Instant> {
    match text {
        "infinity" => Some(Instant::INFINITY),
        _ => text.parse().ok().map(Instant),
    }
}

fn rules() -> Rules<'static> {
    Rules {
        nodes: 100,
        edges: 200,
        payload_bytes: 64,
        instant: &instant,
    }
}

fn read(value: &Value) -> Result<Document, Vec<Fault>> {
    parse(value, None, Uuid::from_u128(1), &rules())
}

fn faults(value: Value) -> Vec<(String, String)> {
    let faults = read(&value).unwrap_err();
    faults.into_iter().map(|f| (f.path, f.error)).collect()
}

/// The only fault's place, and what is wrong there.
fn fault(value: Value) -> (String, String) {
    let found = faults(value);
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

fn at(path: &str, error: &str) -> (String, String) {
    (path.to_owned(), error.to_owned())
}

/// A document whose nodes need nothing more.
fn with(nodes: Value, edges: Value) -> Value {
    json!({"defaults": {"lane": "l", "kind": "k"}, "nodes": nodes, "edges": edges})
}

/// The document of §40.11.
fn example() -> Value {
    serde_json::from_str(include_str!(
        "../../../../tests/contract/flow_document.json"
    ))
    .unwrap()
}

#[test]
fn the_example_is_read_as_it_stands() {
    let d = read(&example()).unwrap();
    let names: Vec<&str> = d.nodes.iter().map(|n| n.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "fetch", "join", "report"]);
    let pairs: Vec<(&str, &str)> = d
        .edges
        .iter()
        .map(|e| (names[e.upstream], names[e.downstream]))
        .collect();
    let expected = [
        ("fetch", "a"),
        ("fetch", "b"),
        ("a", "join"),
        ("b", "join"),
        ("join", "report"),
    ];
    assert_eq!(pairs, expected);
    assert_eq!(d.nodes[1].spec.start, Some(When::After(5000)));
    assert_eq!(
        (d.nodes[2].spec.label(), d.nodes[4].spec.label()),
        (Some("json"), None)
    );
    assert_eq!(
        d.nodes[2].spec.payload.as_ref().unwrap().bytes,
        br#"{"url":"u"}"#
    );
    assert_eq!(d.nodes[0].spec.priority, Some(5));
    assert_eq!(d.edges[4].data_ref.as_deref(), Some("result"));
    assert!(d.sealed && d.nodes[3].group.is_some());
}

#[test]
fn ids_follow_from_the_key_and_from_the_names() {
    let by_key = |doc: Value, key: &str| parse(&doc, Some(key), Uuid::nil(), &rules()).unwrap();
    let (one, two) = (by_key(example(), "k"), by_key(example(), "k"));
    assert_eq!(one, two);
    assert_eq!(one.flow.get_version_num(), 5);
    assert_ne!(one.flow, by_key(example(), "other").flow);
    let mut elsewhere = example();
    elsewhere["namespace"] = json!("n");
    assert_ne!(one.flow, by_key(elsewhere, "k").flow);
    assert_eq!(one.nodes[0].id, Uuid::new_v5(&one.flow, b"a"));
    let mut ids: Vec<Uuid> = one
        .nodes
        .iter()
        .map(|n| n.id)
        .chain(one.edges.iter().map(|e| e.id))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 10);
    let flow = Uuid::from_u128(77);
    let mut named = example();
    named["flow_id"] = json!(flow);
    assert_eq!(by_key(named, "k").flow, flow);
    assert_eq!(read(&example()).unwrap().flow, Uuid::from_u128(1));
}

#[test]
fn a_node_replaces_what_the_defaults_say_as_a_whole() {
    let d = read(&json!({
        "defaults": {"lane": "l", "kind": "k", "payload_text": "p", "delay_ms": 1, "tags": {"a.b": "1"},
                     "policy": {"max_replay_count": 1}, "deadline_ms": 9},
        "nodes": {
            "own": {"lane": "m", "payload_json": null, "delay_until": "7", "tags": {"a.c": "2"}, "policy": {},
                    "retention_ms": -1, "creator": "me"},
            "same": {"lane": null}
        }
    }))
    .unwrap();
    let (own, same) = (&d.nodes[0].spec, &d.nodes[1].spec);
    assert_eq!(
        (own.lane.as_deref(), same.lane.as_deref()),
        (Some("m"), Some("l"))
    );
    assert_eq!(own.payload.as_ref().unwrap().bytes, b"null");
    assert_eq!(own.start, Some(When::At(Instant(7))));
    assert_eq!(own.tags.as_ref().unwrap().len(), 1);
    assert_eq!(own.policy.as_ref().unwrap().max_replay_count, None);
    assert_eq!(same.policy.as_ref().unwrap().max_replay_count, Some(1));
    assert_eq!(
        (same.start, same.deadline),
        (Some(When::After(1)), Some(When::After(9)))
    );
}

#[test]
fn equal_documents_have_equal_digests() {
    let digest = |value: &Value| read(value).unwrap().digest;
    let first = digest(&example());
    let mut spelt = example();
    for node in ["a", "b", "fetch", "join"] {
        spelt["nodes"][node]["lane"] = json!("gpu");
    }
    spelt["nodes"]["a"]["group"] = json!({"kind": "all_of"});
    spelt["nodes"]["a"]["policy"] = json!({});
    spelt["nodes"]["a"]["tags"] = json!({});
    spelt["edges"][0]["dependency_kind"] = Value::Null;
    spelt.as_object_mut().unwrap().shift_remove("sealed");
    spelt["flow_id"] = json!(Uuid::from_u128(5));
    assert_eq!(first, digest(&spelt));
    let mut others = vec![first];
    for (pointer, value) in [
        ("/nodes/a/payload_text", json!("x")),
        ("/nodes/a/delay_ms", json!(1)),
        ("/nodes/join/group/k", json!(2)),
        ("/nodes/a/execution_id", json!(Uuid::from_u128(9))),
        ("/edges/0/data_passing_ref", json!("other")),
        ("/edges/0/edge_id", json!(Uuid::from_u128(9))),
        ("/sealed", json!(false)),
        ("/tags/app.run", json!("43")),
        ("/flow_kind", json!("other")),
    ] {
        let mut changed = example();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        changed.pointer_mut(parent).unwrap()[key] = value;
        others.push(digest(&changed));
    }
    others.sort_unstable();
    others.dedup();
    assert_eq!(others.len(), 10);
}

#[test]
fn several_faults_are_told_of_at_once() {
    let found = faults(json!({
        "nodez": {},
        "defaults": {"lane": "l", "kind": "k"},
        "nodes": {
            "a": {}, "b": {}, "x": {}, "y": {"after": ["x"]},
            "join": {"after": ["a", "b"], "group": {"kind": "quorum", "k": 5}}
        },
        "edges": [{"from": "a", "to": "ghost"}, {"from": "y", "to": "x"}]
    }));
    assert_eq!(
        found,
        [
            at("/nodez", "unknown key"),
            at("/edges/0/to", "no such node: ghost"),
            at("/edges/1", "cycle: x -> y -> x"),
            at(
                "/nodes/join/group/k",
                "k is above the number of inbound edges, 2"
            ),
        ]
    );
}

#[test]
fn faults_of_shape() {
    let (path, error) = fault(json!([]));
    assert_eq!(
        (path.as_str(), error.as_str()),
        ("", "wrong type, an object is expected")
    );
    for (document, path, error) in [
        (json!({}), "/nodes", "at least one node is required"),
        (
            json!({"nodes": {}}),
            "/nodes",
            "at least one node is required",
        ),
        (
            json!({"nodes": []}),
            "/nodes",
            "wrong type, an object is expected",
        ),
        (
            with(json!({"a": 1}), json!([])),
            "/nodes/a",
            "wrong type, an object is expected",
        ),
        (
            with(json!({"a": {}}), json!({})),
            "/edges",
            "wrong type, an array is expected",
        ),
        (
            with(json!({"a": {}}), json!([7])),
            "/edges/0",
            "wrong type, an object is expected",
        ),
        (
            with(json!({"a/~": {}}), json!([])),
            "/nodes/a~1~0",
            "bad name",
        ),
        (with(json!({".a": {}}), json!([])), "/nodes/.a", "bad name"),
        (with(json!({"": {}}), json!([])), "/nodes/", "bad name"),
        (
            with(json!({"a": {"after": [1]}}), json!([])),
            "/nodes/a/after/0",
            "wrong type, a text is expected",
        ),
        (
            with(json!({"a": {"after": ["a"]}}), json!([])),
            "/nodes/a/after/0",
            "self edge",
        ),
        (
            with(json!({"a": {"flow_id": "x"}}), json!([])),
            "/nodes/a/flow_id",
            "unknown key",
        ),
        (
            with(json!({"a": {"group": {"kind": "any_of"}}}), json!([])),
            "/nodes/a/group",
            "a group without inbound edges",
        ),
        (
            with(json!({"a": {"execution_id": "x"}}), json!([])),
            "/nodes/a/execution_id",
            "wrong type, a uuid is expected",
        ),
        (
            with(json!({"a": {}}), json!([{"to": "a"}])),
            "/edges/0/from",
            "required",
        ),
        (
            json!({"nodes": {"a": {"kind": "k"}}}),
            "/nodes/a/lane",
            "required here or in the defaults",
        ),
    ] {
        assert_eq!(fault(document), at(path, error));
    }
}

#[test]
fn faults_of_values() {
    for (key, value, path, error) in [
        ("lane", json!(""), "lane", "invalid_lane: empty"),
        (
            "kind",
            json!("a\nb"),
            "kind",
            "invalid_input: control_character",
        ),
        ("kind", json!(1), "kind", "wrong type, a text is expected"),
        (
            "tags",
            json!({"nodot": "1"}),
            "tags",
            "invalid_tag_key: nodot",
        ),
        (
            "policy",
            json!({"retry_policy": {"max_retries": -1}}),
            "policy/retry_policy/max_retries",
            "invalid_policy: out_of_range",
        ),
        (
            "policy",
            json!({"what": 1}),
            "policy/what",
            "invalid_policy: unknown_key",
        ),
        (
            "priority",
            json!(1.5),
            "priority",
            "wrong type, an integer is expected",
        ),
        ("payload_base64", json!("*"), "payload_base64", "not base64"),
        (
            "payload_text",
            json!("x".repeat(65)),
            "payload_text",
            "more than 64 bytes",
        ),
        ("delay_ms", json!(-1), "delay_ms", "negative"),
        (
            "delay_until",
            json!("soon"),
            "delay_until",
            "not an instant",
        ),
        (
            "execution_deadline",
            json!("infinity"),
            "execution_deadline",
            "not finite",
        ),
    ] {
        let node = json!({"lane": "l", "kind": "k", key: value});
        let defaults = json!({"lane": "l", "kind": "k", key: value});
        let on_node = fault(json!({"nodes": {"a": node}}));
        assert_eq!(on_node, at(&format!("/nodes/a/{path}"), error));
        let on_defaults = fault(json!({"nodes": {"a": {}}, "defaults": defaults}));
        assert_eq!(on_defaults, at(&format!("/defaults/{path}"), error));
    }
    let two = json!({"payload_text": "a", "payload_json": null});
    assert_eq!(
        fault(with(json!({"a": two}), json!([]))),
        at("/nodes/a/payload_json", "a payload has one form only")
    );
    let both = json!({"delay_ms": 1, "delay_until": "1"});
    assert_eq!(
        fault(with(json!({"a": both}), json!([]))),
        at("/nodes/a/delay_ms", "delay_until is given as well")
    );
}

#[test]
fn faults_of_edges_and_ids() {
    let nodes = json!({"a": {}, "b": {"after": ["a"]}, "c": {}});
    let one = |edge: Value| fault(with(nodes.clone(), json!([edge])));
    assert_eq!(
        one(json!({"from": "a", "to": "b"})),
        at("/edges/0", "duplicate pair: a -> b")
    );
    assert_eq!(
        one(json!({"from": "c", "to": "c"})),
        at("/edges/0", "self edge")
    );
    assert_eq!(
        one(json!({"from": "a", "to": "c", "dependency_kind": "maybe"})),
        at("/edges/0/dependency_kind", "unknown word")
    );
    assert_eq!(
        one(json!({"from": "a", "to": "c", "data_passing_ref": "x".repeat(1025)})),
        at("/edges/0/data_passing_ref", "more than 1024 bytes")
    );
    let id = Uuid::from_u128(3);
    assert_eq!(
        fault(with(
            json!({"a": {"execution_id": id}, "b": {"execution_id": id}}),
            json!([])
        )),
        at("/nodes/b/execution_id", "id in use by another node")
    );
    assert_eq!(
        fault(with(
            nodes.clone(),
            json!([{"from": "a", "to": "c", "edge_id": id}, {"from": "b", "to": "c", "edge_id": id}])
        )),
        at("/edges/1/edge_id", "id in use by another edge")
    );
    let mut document = with(nodes, json!([]));
    document["budgets"] = json!([id, "x", id]);
    let found = faults(document);
    assert_eq!(
        found,
        [
            at("/budgets/1", "wrong type, a uuid is expected"),
            at("/budgets/2", "given twice")
        ]
    );
}

#[test]
fn limits_hold_and_faults_end_at_twenty() {
    let many = |n: usize, value: Value| -> Value {
        (0..n)
            .map(|i| (format!("n{i:03}"), value.clone()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    assert_eq!(
        fault(with(many(101, json!({})), json!([]))),
        at("/nodes", "more than 100 nodes")
    );
    let all: Vec<Value> = (0..201)
        .map(|i| json!({"from": format!("n{:03}", i / 3), "to": format!("n{:03}", 97 + i % 3)}))
        .collect();
    assert_eq!(
        fault(with(many(100, json!({})), json!(all))),
        at("/edges", "more than 200 edges")
    );
    assert_eq!(
        faults(json!({"nodes": many(50, json!({"what": 1}))})).len(),
        20
    );
}

#[test]
fn a_knot_is_told_of_once_and_a_second_one_as_well() {
    let nodes = json!({
        "a": {"after": ["b", "c"]}, "b": {"after": ["a"]}, "c": {"after": ["b"]},
        "d": {"after": ["a"]}, "p": {"after": ["q"]}, "q": {"after": ["p", "d"]}
    });
    let found = faults(with(nodes, json!([])));
    let errors: Vec<&str> = found.iter().map(|(_, error)| error.as_str()).collect();
    assert_eq!(errors, ["cycle: a -> b -> a", "cycle: p -> q -> p"]);
}

proptest! {
    #[test]
    fn cycles_are_found_exactly(pairs in proptest::collection::btree_set((0usize..9, 0usize..9), 0..16)) {
        let pairs: Vec<_> = pairs.into_iter().filter(|(a, b)| a != b).collect();
        let names: Vec<String> = (0..9).map(|i| format!("n{i}")).collect();
        let nodes: serde_json::Map<_, _> = names.iter().map(|n| (n.clone(), json!({}))).collect();
        let edges: Vec<Value> = pairs.iter().map(|(a, b)| json!({"from": names[*a], "to": names[*b]})).collect();
        // What reaches itself, by repeated squaring.
        let mut reach = [[false; 9]; 9];
        for (a, b) in &pairs {
            reach[*a][*b] = true;
        }
        for k in 0..9 {
            for i in 0..9 {
                for j in 0..9 {
                    reach[i][j] |= reach[i][k] && reach[k][j];
                }
            }
        }
        let knots = (0..9).filter(|i| reach[*i][*i] && !(0..*i).any(|j| reach[*i][j] && reach[j][*i])).count();
        match read(&with(nodes.into(), edges.into())) {
            Ok(_) => prop_assert_eq!(knots, 0),
            Err(faults) => {
                prop_assert_eq!(faults.len(), knots);
                for fault in faults {
                    let names: Vec<&str> = fault.error.trim_start_matches("cycle: ").split(" -> ").collect();
                    prop_assert_eq!(names.first(), names.last());
                    for pair in names.windows(2) {
                        let place = |name: &str| name[1..].parse::<usize>().unwrap();
                        prop_assert!(pairs.contains(&(place(pair[0]), place(pair[1]))));
                    }
                }
            }
        }
    }

    #[test]
    fn any_document_is_answered(text in "[\\[\\]{}\",:a-z0-9]{0,40}") {
        if let Ok(value) = serde_json::from_str::<Value>(&text) {
            let _ = read(&value);
            let _ = read(&json!({"nodes": value}));
            let _ = read(&json!({"nodes": {"a": value.clone()}, "defaults": value.clone(), "edges": value}));
        }
    }
}
