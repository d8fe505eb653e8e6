//! A flow as a picture in text (§40.12): Mermaid and DOT, the same for the same flow.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;

use uuid::Uuid;

/// What is drawn.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Flow.
    pub flow: Uuid,
    /// Its kind, a caller's literal.
    pub kind: String,
    /// Its state word.
    pub state: String,
    /// Its graph revision.
    pub revision: i64,
    /// Members.
    pub nodes: Vec<Node>,
    /// Edges; those that do not join two of the members are left out.
    pub edges: Vec<Edge>,
}

/// A member.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Execution.
    pub id: Uuid,
    /// Its name in the flow.
    pub name: Option<String>,
    /// Public state word.
    pub state: String,
    /// `any_of` or `quorum k/n`; none for `all_of`.
    pub group: Option<String>,
}

/// An edge.
#[derive(Clone, Debug, PartialEq)]
pub struct Edge {
    /// Upstream execution.
    pub from: Uuid,
    /// Downstream execution.
    pub to: Uuid,
    /// Edge state word.
    pub state: String,
    /// Dependency kind word.
    pub kind: String,
    /// The upstream's result is passed on.
    pub data: bool,
}

/// The way the edges run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Top down.
    Down,
    /// Left to right.
    Right,
    /// Bottom to top.
    Up,
    /// Right to left.
    Left,
}

impl Direction {
    /// The direction of a word.
    pub fn from_word(word: &str) -> Option<Direction> {
        Some(match word {
            "TD" => Direction::Down,
            "LR" => Direction::Right,
            "BT" => Direction::Up,
            "RL" => Direction::Left,
            _ => return None,
        })
    }

    fn mermaid(self) -> &'static str {
        match self {
            Direction::Down => "TD",
            other => other.dot(),
        }
    }

    fn dot(self) -> &'static str {
        match self {
            Direction::Down => "TB",
            Direction::Right => "LR",
            Direction::Up => "BT",
            Direction::Left => "RL",
        }
    }
}

/// A picture with its nodes and edges in their order.
struct Ordered<'a> {
    nodes: Vec<&'a Node>,
    /// Places of both ends, and the edge.
    edges: Vec<(usize, usize, &'a Edge)>,
}

impl Picture {
    /// The picture without what is more than `radius` edges away from `focus`, in either direction.
    pub fn around(mut self, focus: Uuid, radius: usize) -> Picture {
        let mut near: BTreeMap<Uuid, Vec<Uuid>> = BTreeMap::new();
        for edge in &self.edges {
            near.entry(edge.from).or_default().push(edge.to);
            near.entry(edge.to).or_default().push(edge.from);
        }
        let mut seen = BTreeSet::from([focus]);
        let mut row = vec![focus];
        for _ in 0..radius {
            let neighbours = row.iter().filter_map(|id| near.get(id)).flatten();
            row = neighbours.copied().filter(|id| seen.insert(*id)).collect();
            if row.is_empty() {
                break;
            }
        }
        self.nodes.retain(|node| seen.contains(&node.id));
        self
    }

    /// Mermaid text.
    pub fn mermaid(&self, direction: Direction) -> String {
        let ordered = self.ordered();
        let mut out = format!("flowchart {}\n", direction.mermaid());
        let (kind, state) = (html(&self.kind), &self.state);
        let (flow, revision) = (self.flow, self.revision);
        put(
            &mut out,
            format_args!("  %% flow {flow} kind={kind} state={state} revision={revision}"),
        );
        for (i, node) in ordered.nodes.iter().enumerate() {
            let label: Vec<String> = node.label().iter().map(|line| html(line)).collect();
            let (label, state) = (label.join("<br/>"), &node.state);
            put(&mut out, format_args!("  n{i}[\"{label}\"]:::{state}"));
        }
        for (from, to, edge) in &ordered.edges {
            let arrow = match edge.state.as_str() {
                "satisfied" => "-->",
                "impossible" => "--x",
                _ => "-.->",
            };
            let label = match edge.label() {
                label if label.is_empty() => label,
                label => format!("|{}|", html(&label)),
            };
            put(&mut out, format_args!("  n{from} {arrow}{label} n{to}"));
        }
        let states: BTreeSet<&str> = self.nodes.iter().map(|n| n.state.as_str()).collect();
        for state in states {
            let colour = colour(state);
            put(
                &mut out,
                format_args!("  classDef {state} fill:{colour},stroke:#333333,color:#000000"),
            );
        }
        out
    }

    /// DOT text.
    pub fn dot(&self, direction: Direction) -> String {
        let ordered = self.ordered();
        let mut out = format!("digraph \"{}\" {{\n", self.flow);
        put(&mut out, format_args!("  rankdir={};", direction.dot()));
        put(&mut out, format_args!("  node [shape=box, style=filled];"));
        for node in &ordered.nodes {
            let label: Vec<String> = node.label().iter().map(|line| quoted(line)).collect();
            let (id, label, colour) = (node.id, label.join("\\n"), colour(&node.state));
            put(
                &mut out,
                format_args!("  \"{id}\" [label=\"{label}\", fillcolor=\"{colour}\"];"),
            );
        }
        for (_, _, edge) in &ordered.edges {
            let (style, head) = match edge.state.as_str() {
                "satisfied" => ("solid", "normal"),
                "impossible" => ("dashed", "tee"),
                _ => ("dotted", "normal"),
            };
            let label = match edge.label() {
                label if label.is_empty() => label,
                label => format!(", label=\"{}\"", quoted(&label)),
            };
            let (from, to) = (edge.from, edge.to);
            put(
                &mut out,
                format_args!("  \"{from}\" -> \"{to}\" [style={style}, arrowhead={head}{label}];"),
            );
        }
        out.push_str("}\n");
        out
    }

    /// Nodes by longest distance from a root, name and id, the nameless last; edges by the places of their ends.
    fn ordered(&self) -> Ordered<'_> {
        let pairs = self.edges.iter().map(|e| (e.from, e.to));
        let layers = layers(self.nodes.iter().map(|n| n.id), pairs);
        let mut nodes: Vec<&Node> = self.nodes.iter().collect();
        nodes.sort_by_key(|n| (layers.get(&n.id).copied(), n.name.is_none(), &n.name, n.id));
        let places: BTreeMap<Uuid, usize> = nodes.iter().map(|n| n.id).zip(0..).collect();
        let place = |e| ends(&places, e).map(|(from, to)| (from, to, e));
        let mut edges: Vec<_> = self.edges.iter().filter_map(place).collect();
        edges.sort_by_key(|(from, to, _)| (*from, *to));
        Ordered { nodes, edges }
    }
}

/// How many edges the longest way from a root has, for each node; edges to others do not count. A flow has no cycles.
pub fn layers(
    nodes: impl Iterator<Item = Uuid>,
    edges: impl Iterator<Item = (Uuid, Uuid)>,
) -> BTreeMap<Uuid, usize> {
    let mut layers: BTreeMap<Uuid, usize> = nodes.map(|id| (id, 0)).collect();
    let mut open: BTreeMap<Uuid, usize> = BTreeMap::new();
    let mut out: BTreeMap<Uuid, Vec<Uuid>> = BTreeMap::new();
    for (from, to) in
        edges.filter(|(from, to)| layers.contains_key(from) && layers.contains_key(to))
    {
        *open.entry(to).or_default() += 1;
        out.entry(from).or_default().push(to);
    }
    let roots = layers.keys().filter(|id| !open.contains_key(id));
    let mut ready: VecDeque<Uuid> = roots.copied().collect();
    while let Some(id) = ready.pop_front() {
        let next = layers.get(&id).copied().unwrap_or_default() + 1;
        for to in out.get(&id).into_iter().flatten() {
            let layer = layers.entry(*to).or_default();
            *layer = next.max(*layer);
            if let Some(n) = open.get_mut(to) {
                *n -= 1;
                if *n == 0 {
                    ready.push_back(*to);
                }
            }
        }
    }
    layers
}

/// What is known of both ends, if both are drawn.
fn ends(known: &BTreeMap<Uuid, usize>, edge: &Edge) -> Option<(usize, usize)> {
    known
        .get(&edge.from)
        .copied()
        .zip(known.get(&edge.to).copied())
}

impl Node {
    /// The lines of its label; a nameless member shows how its id begins.
    fn label(&self) -> Vec<String> {
        let mut name = self.name.clone().unwrap_or_else(|| self.id.to_string());
        if self.name.is_none() {
            name.truncate(8);
        }
        let lines = [Some(name), Some(self.state.clone()), self.group.clone()];
        lines.into_iter().flatten().collect()
    }
}

impl Edge {
    fn label(&self) -> String {
        let kind = Some(self.kind.as_str()).filter(|kind| *kind != "success_only");
        let parts = [kind, self.data.then_some("data")];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
    }
}

/// Adds a line.
fn put(out: &mut String, line: std::fmt::Arguments) {
    // Writing to a text cannot fail.
    let _ = writeln!(out, "{line}");
}

/// Text that neither ends a label or a comment of Mermaid nor is markup in it.
fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '#' => out.push_str("#35;"),
            '"' => out.push_str("#quot;"),
            '<' => out.push_str("#lt;"),
            '>' => out.push_str("#gt;"),
            '&' => out.push_str("#amp;"),
            c if breaks(c) => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// Text inside the quotes of DOT.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '"') {
            out.push('\\');
        }
        out.push(if breaks(c) { ' ' } else { c });
    }
    out
}

/// Whether some reader ends a line there.
fn breaks(c: char) -> bool {
    matches!(
        c,
        '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

/// The colour of a public state.
fn colour(state: &str) -> &'static str {
    match state {
        "waiting" => "#cfe8ff",
        "delayed" => "#e3dcff",
        "rate_limited" => "#ffe3c2",
        "waiting_children" => "#eeeeee",
        "active" => "#fff3a3",
        "suspended" => "#ffd6ec",
        "resumable" => "#b9ecf0",
        "completed" => "#c9f2c7",
        "failed" => "#ffb3ad",
        "cancelled" => "#d0d0d0",
        "expired" => "#f0c0a0",
        _ => "#f7f7f7",
    }
}

#[cfg(test)]
mod tests;
