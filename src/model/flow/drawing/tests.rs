//! Pictures of small flows, line by line, and of random ones by their properties.
use std::collections::BTreeSet;

use proptest::prelude::*;
use uuid::Uuid;

use super::{Direction, Edge, Node, Picture};

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n << 96)
}

fn node(n: u128, name: Option<&str>, state: &str) -> Node {
    Node {
        id: id(n),
        name: name.map(str::to_owned),
        state: state.to_owned(),
        group: None,
    }
}

fn edge(from: u128, to: u128) -> Edge {
    Edge {
        from: id(from),
        to: id(to),
        state: "unsatisfied".to_owned(),
        kind: "success_only".to_owned(),
        data: false,
    }
}

fn picture(nodes: Vec<Node>, edges: Vec<Edge>) -> Picture {
    Picture {
        flow: id(0xf),
        kind: "dag".to_owned(),
        state: "open".to_owned(),
        revision: 7,
        nodes,
        edges,
    }
}

fn satisfied() -> Picture {
    let mut b = node(2, Some("B"), "waiting");
    b.group = Some("any_of".to_owned());
    let mut ab = edge(1, 2);
    ab.state = "satisfied".to_owned();
    picture(vec![b, node(1, Some("A"), "completed")], vec![ab])
}

#[test]
fn mermaid_of_two_members() {
    assert_eq!(
        satisfied().mermaid(Direction::Down),
        "flowchart TD\n  \
           %% flow 0000000f-0000-0000-0000-000000000000 kind=dag state=open revision=7\n  \
           n0[\"A<br/>completed\"]:::completed\n  \
           n1[\"B<br/>waiting<br/>any_of\"]:::waiting\n  \
           n0 --> n1\n  \
           classDef completed fill:#c9f2c7,stroke:#333333,color:#000000\n  \
           classDef waiting fill:#cfe8ff,stroke:#333333,color:#000000\n"
    );
}

#[test]
fn dot_of_two_members() {
    assert_eq!(
        satisfied().dot(Direction::Right),
        "digraph \"0000000f-0000-0000-0000-000000000000\" {\n  \
           rankdir=LR;\n  \
           node [shape=box, style=filled];\n  \
           \"00000001-0000-0000-0000-000000000000\" [label=\"A\\ncompleted\", fillcolor=\"#c9f2c7\"];\n  \
           \"00000002-0000-0000-0000-000000000000\" [label=\"B\\nwaiting\\nany_of\", fillcolor=\"#cfe8ff\"];\n  \
           \"00000001-0000-0000-0000-000000000000\" -> \"00000002-0000-0000-0000-000000000000\" \
             [style=solid, arrowhead=normal];\n}\n"
    );
}

#[test]
fn edges_show_their_state_kind_and_data() {
    let mut crossed = edge(1, 3);
    crossed.state = "impossible".to_owned();
    crossed.kind = "any_terminal".to_owned();
    crossed.data = true;
    let p = picture(
        vec![
            node(1, None, "failed"),
            node(2, None, "waiting_children"),
            node(3, None, "skipped"),
        ],
        vec![crossed, edge(1, 2)],
    );
    let mermaid = p.mermaid(Direction::Up);
    assert!(mermaid.starts_with("flowchart BT\n"));
    assert!(mermaid.contains("  n0[\"00000001<br/>failed\"]:::failed\n"));
    assert!(mermaid.contains("  n0 -.-> n1\n  n0 --x|any_terminal · data| n2\n"));
    let dot = p.dot(Direction::Left);
    assert!(dot.contains("rankdir=RL;"));
    assert!(dot.contains("[style=dotted, arrowhead=normal];"));
    assert!(dot.contains("[style=dashed, arrowhead=tee, label=\"any_terminal · data\"];"));
}

#[test]
fn literals_of_callers_stay_where_they_stand() {
    let mut p = picture(vec![node(1, Some("a\"]<b>&#\\"), "active")], Vec::new());
    p.kind = "one\r\ntwo\u{2028}%% #".to_owned();
    let mermaid = p.mermaid(Direction::Down);
    assert!(mermaid.contains("kind=one  two %% #35; state=open"));
    assert!(mermaid.contains("n0[\"a#quot;]#lt;b#gt;#amp;#35;\\<br/>active\"]"));
    assert_eq!(mermaid.lines().count(), 4);
    assert!(
        p.dot(Direction::Down)
            .contains("label=\"a\\\"]<b>&#\\\\\\nactive\"")
    );
}

#[test]
fn the_neighbourhood_of_a_member_is_drawn_in_both_directions() {
    let nodes = (1..=5).map(|n| node(n, None, "waiting")).collect();
    let chain = picture(nodes, (1..5).map(|n| edge(n, n + 1)).collect());
    let drawn = |radius| {
        let near = chain.clone().around(id(3), radius);
        near.nodes.iter().map(|n| n.id).collect::<Vec<_>>()
    };
    assert_eq!(drawn(0), [id(3)]);
    assert_eq!(drawn(1), [id(2), id(3), id(4)]);
    assert_eq!(drawn(9).len(), 5);
    let near = chain.around(id(3), 1).mermaid(Direction::Down);
    assert!(near.contains("n0 -.-> n1\n") && near.contains("n1 -.-> n2\n") && !near.contains("n3"));
}

/// Any acyclic picture: edges run from lower to higher numbers, in any order of nodes.
fn pictures() -> impl Strategy<Value = Picture> {
    let names = proptest::collection::vec(proptest::option::of("[ab]{1,2}"), 1..12);
    let pairs = proptest::collection::btree_set((0u128..12, 0u128..12), 0..30);
    (names, pairs).prop_map(|(names, pairs)| {
        let n = names.len() as u128;
        let nodes = (0..n)
            .zip(&names)
            .map(|(i, name)| node(i * 7 % 13 + 1, name.as_deref(), "waiting"));
        let edges = pairs.iter().filter(|(a, b)| a < b && *b < n);
        let edges = edges.map(|(a, b)| edge(a * 7 % 13 + 1, b * 7 % 13 + 1));
        picture(nodes.collect(), edges.collect())
    })
}

proptest! {
    #[test]
    fn edges_run_downwards_and_none_is_lost(p in pictures()) {
        let ordered = p.ordered();
        prop_assert_eq!(ordered.nodes.len(), p.nodes.len());
        prop_assert_eq!(ordered.edges.len(), p.edges.len());
        for (from, to, _) in &ordered.edges {
            prop_assert!(from < to);
        }
    }

    #[test]
    fn the_order_of_rows_does_not_matter(p in pictures()) {
        let mut other = p.clone();
        other.nodes.reverse();
        other.edges.reverse();
        prop_assert_eq!(p.mermaid(Direction::Down), other.mermaid(Direction::Down));
        prop_assert_eq!(p.dot(Direction::Down), other.dot(Direction::Down));
    }

    #[test]
    fn both_forms_have_the_same_nodes_and_edges(p in pictures()) {
        let mermaid = p.mermaid(Direction::Down);
        let dot = p.dot(Direction::Down);
        let arrows = |text: &str, arrow: &str| text.lines().filter(|l| l.contains(arrow)).count();
        prop_assert_eq!(arrows(&mermaid, " -.-> "), p.edges.len());
        prop_assert_eq!(arrows(&dot, "\" -> \""), p.edges.len());
        prop_assert_eq!(arrows(&mermaid, ":::"), p.nodes.len());
        prop_assert_eq!(arrows(&dot, "fillcolor="), p.nodes.len());
    }

    #[test]
    fn a_wide_neighbourhood_is_what_is_joined(p in pictures()) {
        let focus = p.nodes[0].id;
        let mut joined = BTreeSet::from([focus]);
        while p.edges.iter().any(|e| joined.contains(&e.from) != joined.contains(&e.to)) {
            for e in &p.edges {
                if joined.contains(&e.from) || joined.contains(&e.to) {
                    joined.extend([e.from, e.to]);
                }
            }
        }
        let near = p.around(focus, 100);
        prop_assert_eq!(near.nodes.iter().map(|n| n.id).collect::<BTreeSet<_>>(), joined);
    }

    #[test]
    fn any_text_stays_on_its_line(text in "\\PC{0,20}\n?\\PC{0,20}") {
        let mut p = picture(vec![node(1, Some(&text), "waiting")], Vec::new());
        p.kind = text;
        prop_assert_eq!(p.mermaid(Direction::Down).lines().count(), 4);
        prop_assert_eq!(p.dot(Direction::Down).lines().count(), 5);
    }
}
