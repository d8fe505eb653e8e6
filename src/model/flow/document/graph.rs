//! The edges of a document: endpoints, pairs, cycles, and groups that can be satisfied.

use std::collections::{BTreeMap, BTreeSet};

use super::place::{Faults, member};
use super::{Edge, Node};
use crate::model::edge_group::Policy;

/// Most names that a fault lists of a cycle.
const MOST_NAMES: usize = 50;

/// An edge as the document names it, by its ends, and where.
pub struct Drawn<'a> {
    /// Place of the edge itself.
    pub path: String,
    /// Name of the upstream, and its place.
    pub from: (&'a str, String),
    /// Name of the downstream, and its place.
    pub to: (&'a str, String),
    /// What else is said of it.
    pub edge: Edge,
}

/// Checks edges against nodes; returns those between two different nodes, ends resolved.
pub fn join(nodes: &[Node], drawn: Vec<Drawn>, faults: &Faults) -> Vec<Edge> {
    let places: BTreeMap<&str, usize> = nodes.iter().map(|n| n.name.as_str()).zip(0..).collect();
    let mut pairs = BTreeSet::new();
    let mut found = Vec::new();
    let mut paths = Vec::new();
    for d in drawn {
        let end = |(name, path): &(&str, String)| {
            let place = places.get(name).copied();
            if place.is_none() {
                faults.add(path, format!("no such node: {name}"));
            }
            place
        };
        let (from, to) = (end(&d.from), end(&d.to));
        let (Some(from), Some(to)) = (from, to) else {
            continue;
        };
        if from == to {
            faults.add(&d.path, "self edge");
        } else if !pairs.insert((from, to)) {
            faults.add(
                &d.path,
                format!("duplicate pair: {} -> {}", d.from.0, d.to.0),
            );
        } else {
            paths.push(d.path);
            found.push(Edge {
                upstream: from,
                downstream: to,
                ..d.edge
            });
        }
    }
    cycles(nodes, &found, &paths, faults);
    groups(nodes, &found, faults);
    found
}

/// A group needs edges, and no more of them than there are.
fn groups(nodes: &[Node], edges: &[Edge], faults: &Faults) {
    let mut inbound = vec![0i64; nodes.len()];
    for edge in edges {
        if let Some(n) = inbound.get_mut(edge.downstream) {
            *n += 1;
        }
    }
    for (node, n) in nodes.iter().zip(inbound) {
        let path = || member(&member("/nodes", &node.name), "group");
        match node.group {
            Some(_) if n == 0 => faults.add(&path(), "a group without inbound edges"),
            Some(Policy::Quorum(k, _)) if i64::from(k) > n => {
                faults.add(
                    &member(&path(), "k"),
                    format!("k is above the number of inbound edges, {n}"),
                );
            }
            _ => {}
        }
    }
}

/// One fault for each knot of nodes that reach each other, with a shortest cycle through its first node.
fn cycles(nodes: &[Node], edges: &[Edge], paths: &[String], faults: &Faults) {
    let mut out: Vec<Vec<(usize, usize)>> = vec![Vec::new(); nodes.len()];
    let mut into: Vec<Vec<(usize, usize)>> = vec![Vec::new(); nodes.len()];
    for (i, e) in edges.iter().enumerate() {
        out[e.upstream].push((e.downstream, i));
        into[e.downstream].push((e.upstream, i));
    }
    // What is left when every node without an open edge on one of its sides is taken away, again and again.
    let mut left = peel(&out, &into, vec![true; nodes.len()]);
    left = peel(&into, &out, left);
    while let Some(start) = left.iter().position(|l| *l) {
        if let Some(cycle) = shortest(&out, &left, start) {
            let (_, last) = cycle.last().copied().unwrap_or_default();
            let mut names: Vec<&str> = Vec::new();
            for (node, _) in cycle.iter().take(MOST_NAMES) {
                names.push(&nodes[*node].name);
            }
            if cycle.len() > MOST_NAMES {
                names.push("...");
            }
            names.push(&nodes[start].name);
            faults.add(&paths[last], format!("cycle: {}", names.join(" -> ")));
            // The rest of the knot would tell of the same.
            for node in knot(&out, &into, &left, start) {
                left[node] = false;
            }
        } else {
            left[start] = false;
        }
        left = peel(&out, &into, left);
    }
}

type Adjacent = [Vec<(usize, usize)>];

/// Takes away what has no edge from what is left, until nothing more goes.
fn peel(out: &Adjacent, into: &Adjacent, mut left: Vec<bool>) -> Vec<bool> {
    let mut open: Vec<usize> = into
        .iter()
        .map(|edges| edges.iter().filter(|(from, _)| left[*from]).count())
        .collect();
    let mut ends: Vec<usize> = (0..left.len())
        .filter(|n| left[*n] && open[*n] == 0)
        .collect();
    while let Some(node) = ends.pop() {
        left[node] = false;
        for (to, _) in &out[node] {
            open[*to] -= 1;
            if open[*to] == 0 && left[*to] {
                ends.push(*to);
            }
        }
    }
    left
}

/// The nodes of a shortest cycle from `start` back to it, each with the edge that leaves it.
fn shortest(out: &Adjacent, left: &[bool], start: usize) -> Option<Vec<(usize, usize)>> {
    let mut came: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    let mut row = vec![start];
    while !row.is_empty() {
        let mut next = Vec::new();
        for node in row {
            for (to, edge) in out[node].iter().filter(|(to, _)| left[*to]) {
                if *to == start {
                    let mut cycle = vec![(node, *edge)];
                    let mut at = node;
                    while at != start {
                        let (before, edge) = *came.get(&at)?;
                        cycle.push((before, edge));
                        at = before;
                    }
                    cycle.reverse();
                    return Some(cycle);
                }
                if !came.contains_key(to) {
                    came.insert(*to, (node, *edge));
                    next.push(*to);
                }
            }
        }
        row = next;
    }
    None
}

/// All that `start` reaches and that reaches it.
fn knot(out: &Adjacent, into: &Adjacent, left: &[bool], start: usize) -> Vec<usize> {
    let reach = |edges: &Adjacent| {
        let mut seen = vec![false; left.len()];
        let mut open = vec![start];
        while let Some(node) = open.pop() {
            if !std::mem::replace(&mut seen[node], true) {
                open.extend(edges[node].iter().map(|(to, _)| *to).filter(|to| left[*to]));
            }
        }
        seen
    };
    let (forth, back) = (reach(out), reach(into));
    (0..left.len()).filter(|n| forth[*n] && back[*n]).collect()
}
