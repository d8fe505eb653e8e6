//! Flows as pictures (§40.12).

use serde_json::json;
use uuid::Uuid;

use crate::support::World;

fn mermaid(w: &mut World, flow: Uuid, arguments: &str) -> String {
    w.value(&format!("SELECT ff_flow_mermaid($1{arguments})"), &[&flow])
}

#[test]
fn f_73_a_flow_is_drawn() {
    let mut w = World::new();
    let document = json!({
        "flow_kind": "line\nbreak", "defaults": {"lane": "L", "kind": "k"},
        "nodes": {"A": {}, "B": {"after": ["A"], "group": {"kind": "any_of"}}}
    });
    let graph = w.graph(&document, None);
    w.ok(graph.node("A"));
    let drawn = mermaid(&mut w, graph.flow, "");
    assert_eq!(drawn, mermaid(&mut w, graph.flow, ""), "twice the same");
    let lines: Vec<&str> = drawn.lines().collect();
    assert_eq!(lines[0], "flowchart TD");
    assert_eq!(
        lines[1],
        format!(
            "  %% flow {} kind=line break state=open revision=3",
            graph.flow
        )
    );
    assert_eq!(lines[2], "  n0[\"A<br/>completed\"]:::completed");
    assert_eq!(lines[3], "  n1[\"B<br/>waiting<br/>any_of\"]:::waiting");
    assert_eq!(lines[4], "  n0 --> n1");
    assert!(
        lines[5].starts_with("  classDef completed ")
            && lines[6].starts_with("  classDef waiting ")
    );
    assert_eq!(lines.len(), 7);

    let dot: String = w.value("SELECT ff_flow_dot($1, direction => 'LR')", &[&graph.flow]);
    let (a, b) = (graph.node("A"), graph.node("B"));
    assert!(dot.starts_with(&format!("digraph \"{}\" {{\n", graph.flow)) && dot.ends_with("}\n"));
    assert!(dot.contains("rankdir=LR;") && dot.contains("node [shape=box, style=filled];"));
    assert!(dot.contains(&format!("\"{a}\" [label=\"A\\ncompleted\", fillcolor=")));
    assert!(dot.contains(&format!(
        "\"{a}\" -> \"{b}\" [style=solid, arrowhead=normal];"
    )));
    assert_eq!(dot.matches(" -> ").count(), 1);
}

#[test]
fn f_73_impossible_edges_and_neighbourhoods() {
    let mut w = World::new();
    let flow = w.flow();
    let chain: [Uuid; 5] = w.members(flow);
    for pair in chain.windows(2) {
        w.edge(flow, pair[0], pair[1]);
    }
    w.fails(chain[0]);
    let drawn = mermaid(&mut w, flow, "");
    assert_eq!(drawn.matches(" --x ").count(), 4);
    assert!(drawn.contains(&format!(
        "n0[\"{}<br/>failed\"]",
        &chain[0].to_string()[..8]
    )));
    let focused = |w: &mut World, arguments: &str| {
        let arguments = format!(", focus => '{}'{arguments}", chain[2]);
        mermaid(w, flow, &arguments).matches("]:::").count()
    };
    assert_eq!(focused(&mut w, ""), 5);
    assert_eq!(focused(&mut w, ", radius => 1"), 3);
    assert_eq!(focused(&mut w, ", radius => 0"), 1);
    assert_eq!(focused(&mut w, ", radius => 1, max_nodes => 3"), 3);
    let draw = |arguments: &str| format!("SELECT ff_flow_mermaid($1{arguments})");
    let failure = w.refused("FF101", &draw(", max_nodes => 4"), &[&flow]);
    assert_eq!(failure.says("rule"), "graph_too_large");
    w.refused("FF101", &draw(", direction => 'XX'"), &[&flow]);
    w.refused("FF101", &draw(", radius => -1"), &[&flow]);
    let stranger = w.create("");
    w.refused(
        "FF418",
        &draw(&format!(", focus => '{stranger}'")),
        &[&flow],
    );
    let unknown: Option<String> = w.value("SELECT ff_flow_dot($1)", &[&stranger]);
    assert_eq!(unknown, None);
}

#[test]
fn f_73_no_picture_is_silently_cut() {
    let mut w = World::new();
    let nodes: serde_json::Map<_, _> = (0..501).map(|i| (format!("n{i}"), json!({}))).collect();
    let graph = w.graph(
        &json!({"defaults": {"lane": "L", "kind": "k"}, "nodes": nodes}),
        None,
    );
    let failure = w.refused("FF101", "SELECT ff_flow_dot($1)", &[&graph.flow]);
    assert_eq!(failure.says("rule"), "graph_too_large");
    let whole = mermaid(&mut w, graph.flow, ", max_nodes => 501");
    assert_eq!(whole.matches("]:::waiting").count(), 501);
}
