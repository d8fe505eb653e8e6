//! The document of a whole flow (§40.11): strict reading, derived ids, and the digest that tells two of them apart.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::model::time::Instant;
use crate::model::{tags, text};

use super::{EdgeKind, MAX_REF_BYTES, node_name};
use crate::model::edge_group::Policy;

mod graph;
mod node;
mod place;

pub use node::{Node, Spec, When};
pub use place::{Fault, Faults, member, refusal};

use graph::Drawn;
use place::Object;

/// What an installation allows, and how its server reads instants.
pub struct Rules<'a> {
    /// Nodes of a flow.
    pub nodes: usize,
    /// Edges of a flow.
    pub edges: usize,
    /// Bytes of a payload.
    pub payload_bytes: usize,
    /// The server's own parser.
    pub instant: &'a dyn Fn(&str) -> Option<Instant>,
}

/// A checked document.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Id: given, derived from an idempotency key, or minted.
    pub flow: Uuid,
    /// Kind of flow.
    pub kind: String,
    /// Tenant scope.
    pub namespace: String,
    /// Takes no further members or edges.
    pub sealed: bool,
    /// Tags.
    pub tags: Map<String, Value>,
    /// Budgets to attach to the flow.
    pub budgets: Vec<Uuid>,
    /// Quota policies to attach to the flow.
    pub quotas: Vec<Uuid>,
    /// Members, by name.
    pub nodes: Vec<Node>,
    /// Edges, in the order in which they are staged.
    pub edges: Vec<Edge>,
    /// SHA-256 of what the document says.
    pub digest: [u8; 32],
}

/// A checked edge.
#[derive(Clone, Debug, PartialEq)]
pub struct Edge {
    /// Its id, given or derived.
    pub id: Uuid,
    /// Place of its upstream among the nodes.
    pub upstream: usize,
    /// Place of its downstream among the nodes.
    pub downstream: usize,
    /// What satisfies it.
    pub kind: EdgeKind,
    /// What of the upstream is passed on.
    pub data_ref: Option<String>,
    /// Place in the document, for faults found later.
    pub path: String,
    given: Option<Uuid>,
}

const TOP: [&str; 10] = [
    "nodes",
    "edges",
    "defaults",
    "flow_id",
    "flow_kind",
    "namespace",
    "tags",
    "sealed",
    "budgets",
    "quotas",
];
const EDGE: [&str; 5] = [
    "from",
    "to",
    "edge_id",
    "dependency_kind",
    "data_passing_ref",
];
/// Ids derived from idempotency keys are below this one.
const BY_KEY: Uuid = Uuid::from_u128(0x6f66_6c6f_7764_4c63_8a11_5a0d_40b1_7e4e);

/// Reads a document. `minted` is the flow's id where neither the document nor a key says one.
///
/// # Errors
/// Up to twenty faults, with where they are.
pub fn parse(
    value: &Value,
    key: Option<&str>,
    minted: Uuid,
    rules: &Rules,
) -> Result<Document, Vec<Fault>> {
    let faults = Faults::default();
    match read(value, key, minted, rules, &faults) {
        Some(document) if faults.is_empty() => Ok(document),
        _ => Err(faults.take()),
    }
}

fn read(
    value: &Value,
    key: Option<&str>,
    minted: Uuid,
    rules: &Rules,
    faults: &Faults,
) -> Option<Document> {
    let top = Object::at(String::new(), value, &TOP, faults)?;
    let namespace = top.text("namespace").unwrap_or("default");
    top.check("namespace", text::identifier("namespace", namespace));
    let kind = top.text("flow_kind").unwrap_or("dag");
    top.check("flow_kind", text::literal("flow_kind", kind));
    let labels = top.map("tags").cloned().unwrap_or_default();
    top.check("tags", tags::check(&labels));
    let derived = key.map(|key| Uuid::new_v5(&BY_KEY, format!("{namespace}\n{key}").as_bytes()));
    let flow = top.uuid("flow_id").or(derived).unwrap_or(minted);
    let defaults = top
        .value("defaults")
        .and_then(|value| Object::at(top.path("defaults"), value, &node::KEYS, faults))
        .map(|object| Spec::read(&object, rules))
        .unwrap_or_default();
    let (nodes, mut drawn) = nodes(&top, flow, &defaults, rules, faults);
    for (path, value) in top.array("edges") {
        drawn.extend(edge(path, value, faults));
    }
    if drawn.len() > rules.edges {
        top.fault("edges", format!("more than {} edges", rules.edges));
    }
    let budgets = ids(&top, "budgets", faults);
    let quotas = ids(&top, "quotas", faults);
    let mut edges = graph::join(&nodes, drawn, faults);
    distinct(&nodes, &edges, faults);
    for e in &mut edges {
        let (from, to) = (&nodes[e.upstream].name, &nodes[e.downstream].name);
        let derived = || Uuid::new_v5(&flow, format!("{from}\n{to}").as_bytes());
        e.id = e.given.unwrap_or_else(derived);
    }
    let mut document = Document {
        flow,
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        sealed: top.boolean("sealed").unwrap_or(true),
        tags: labels,
        budgets,
        quotas,
        nodes,
        edges,
        digest: [0; 32],
    };
    document.digest = document.digest();
    Some(document)
}

/// The nodes by name, and the edges that their `after` draws.
fn nodes<'a>(
    top: &Object<'a>,
    flow: Uuid,
    defaults: &Spec,
    rules: &Rules,
    faults: &'a Faults,
) -> (Vec<Node>, Vec<Drawn<'a>>) {
    let (mut nodes, mut drawn) = (Vec::new(), Vec::new());
    let given = top.map("nodes");
    if given.is_none_or(Map::is_empty) && top.value("nodes").is_none_or(Value::is_object) {
        top.fault("nodes", "at least one node is required");
    }
    let mut given: Vec<_> = given.into_iter().flatten().collect();
    if given.len() > rules.nodes {
        top.fault("nodes", format!("more than {} nodes", rules.nodes));
    }
    given.sort_by_key(|(name, _)| *name);
    let own = ["execution_id", "after", "group"];
    let known = [&node::KEYS[..], &own[..]].concat();
    let by_default = |key| {
        let value = top.value("defaults").and_then(|value| value.get(key));
        value.is_some_and(|value| !value.is_null())
    };
    for (name, value) in given {
        let path = member("/nodes", name);
        if node_name(name).is_err() {
            faults.add(&path, "bad name");
        }
        let Some(object) = Object::at(path, value, &known, faults) else {
            continue;
        };
        for (path, value) in object.array("after") {
            match value.as_str() {
                Some(upstream) => drawn.push(Drawn {
                    from: (upstream, path.clone()),
                    to: (name, path.clone()),
                    edge: Edge::plain(path.clone()),
                    path,
                }),
                None => faults.add(&path, "wrong type, a text is expected"),
            }
        }
        let spec = Spec::read(&object, rules).over(defaults);
        for key in ["lane", "kind"] {
            if object.value(key).is_none() && !by_default(key) {
                object.fault(key, "required here or in the defaults");
            }
        }
        let group = object.value("group").map(Policy::parse);
        let group = group.and_then(|parsed| {
            let found = parsed.as_ref().ok().copied();
            object.check("group", parsed.map(|_| ()));
            found
        });
        let given = object.uuid("execution_id");
        nodes.push(Node {
            name: name.clone(),
            id: given.unwrap_or_else(|| Uuid::new_v5(&flow, name.as_bytes())),
            given: given.is_some(),
            spec,
            group,
        });
    }
    (nodes, drawn)
}

/// An element of `edges`.
fn edge<'a>(path: String, value: &'a Value, faults: &'a Faults) -> Option<Drawn<'a>> {
    let object = Object::at(path.clone(), value, &EDGE, faults)?;
    let word = object.text("dependency_kind");
    let kind = word.and_then(EdgeKind::from_word);
    if word.is_some() && kind.is_none() {
        object.fault("dependency_kind", "unknown word");
    }
    let data_ref = object.text("data_passing_ref").filter(|r| !r.is_empty());
    if data_ref.is_some_and(|r| r.len() > MAX_REF_BYTES) {
        object.fault(
            "data_passing_ref",
            format!("more than {MAX_REF_BYTES} bytes"),
        );
    }
    let given = object.uuid("edge_id");
    let end = |key: &str| {
        let name = object.text(key);
        if object.value(key).is_none() {
            object.fault(key, "required");
        }
        name.map(|name| (name, object.path(key)))
    };
    let (from, to) = (end("from"), end("to"));
    Some(Drawn {
        from: from?,
        to: to?,
        edge: Edge {
            kind: kind.unwrap_or(EdgeKind::SuccessOnly),
            data_ref: data_ref.map(str::to_owned),
            given,
            ..Edge::plain(path.clone())
        },
        path,
    })
}

/// A list of ids, none of them twice.
fn ids(top: &Object, key: &str, faults: &Faults) -> Vec<Uuid> {
    let mut ids = Vec::new();
    for (path, value) in top.array(key) {
        match value.as_str().and_then(|text| Uuid::try_parse(text).ok()) {
            None => faults.add(&path, "wrong type, a uuid is expected"),
            Some(id) if ids.contains(&id) => faults.add(&path, "given twice"),
            Some(id) => ids.push(id),
        }
    }
    ids
}

/// No id stands for two nodes or two edges.
fn distinct(nodes: &[Node], edges: &[Edge], faults: &Faults) {
    let mut seen = std::collections::BTreeSet::new();
    for node in nodes.iter().filter(|node| !seen.insert(node.id)) {
        let path = member(&member("/nodes", &node.name), "execution_id");
        faults.add(&path, "id in use by another node");
    }
    let mut seen = std::collections::BTreeSet::new();
    for edge in edges.iter().filter(|e| e.given.is_some()) {
        if !seen.insert(edge.given) {
            faults.add(&member(&edge.path, "edge_id"), "id in use by another edge");
        }
    }
}

impl Edge {
    /// A default edge, its ends still open.
    fn plain(path: String) -> Edge {
        Edge {
            id: Uuid::nil(),
            upstream: 0,
            downstream: 0,
            kind: EdgeKind::SuccessOnly,
            data_ref: None,
            path,
            given: None,
        }
    }
}

impl Document {
    /// For each node, how many edges run into it, and whether one of them passes data on.
    pub fn inbound(&self) -> Vec<(i32, bool)> {
        let mut inbound = vec![(0, false); self.nodes.len()];
        for edge in &self.edges {
            if let Some((n, data)) = inbound.get_mut(edge.downstream) {
                *n += 1;
                *data |= edge.data_ref.is_some();
            }
        }
        inbound
    }

    /// Equal for documents that say the same: in another order of keys, with defaults written out, with `after` for
    /// edges. The flow's own id is not part of it.
    fn digest(&self) -> [u8; 32] {
        let node = |n: &Node| {
            json!([
                n.name,
                n.given.then_some(n.id),
                n.spec.normalised(),
                n.group.unwrap_or(Policy::AllOf).json(),
            ])
        };
        let edge = |e: &Edge| json!([e.upstream, e.downstream, e.kind.word(), e.data_ref, e.given]);
        let whole = json!([
            self.kind,
            self.namespace,
            self.sealed,
            node::sorted(&self.tags),
            self.budgets,
            self.quotas,
            self.nodes.iter().map(node).collect::<Vec<_>>(),
            self.edges.iter().map(edge).collect::<Vec<_>>(),
        ]);
        Sha256::digest(whole.to_string()).into()
    }
}

#[cfg(test)]
mod tests;
