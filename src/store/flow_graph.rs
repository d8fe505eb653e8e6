//! A whole flow at once: `flow`, `flow_member`, `edge`, `edge_group` as a document fills them, and as a picture reads them.

use pgrx::pg_sys::BuiltinOid::*;
use uuid::Uuid;

use super::statement::{InsertsIfFree, Named, Write};
use crate::model::edge_group::{OnSatisfied, Policy};
use crate::model::flow::EdgeState;
use crate::model::flow::document::{Document, Node as DocumentNode};
use crate::model::flow::drawing::{Edge, Node, Picture};
use crate::model::time::Instant;
use crate::pg::array;
use crate::pg::jsonb::Jsonb;
use crate::pg::spi::{Arg, Db, Row, Stmt};

use super::binding;

const FLOW: &[Named] = &[
    ("flow_id", UUIDOID),
    ("partition_key", INT2OID),
    ("namespace_id", INT4OID),
    ("flow_kind", TEXTOID),
    ("public_flow_state", TEXTOID),
    ("sealed", BOOLOID),
    ("graph_revision", INT8OID),
    ("node_count", INT4OID),
    ("edge_count", INT4OID),
    ("created_at", TIMESTAMPTZOID),
    ("last_mutation_at", TIMESTAMPTZOID),
    ("tags", JSONBOID),
    ("definition_digest", BYTEAOID),
];

/// Equal calls meet here: the second one waits for the first.
static INSERT_FLOW: InsertsIfFree = InsertsIfFree::new(c"flow", FLOW);

static INSERT_MEMBERS: Write<3> = Write::insert(
    c"flow_member",
    [
        ("execution_id", UUIDOID),
        ("flow_id", UUIDOID),
        ("node_name", TEXTOID),
    ],
);

static INSERT_EDGES: Write<10> = Write::insert(
    c"edge",
    [
        ("edge_id", UUIDOID),
        ("flow_id", UUIDOID),
        ("ordinal", INT8OID),
        ("upstream_id", UUIDOID),
        ("downstream_id", UUIDOID),
        ("dependency_kind", TEXTOID),
        ("data_passing_ref", TEXTOID),
        ("edge_state", TEXTOID),
        ("created_at", TIMESTAMPTZOID),
        ("applied_at", TIMESTAMPTZOID),
    ],
);

static INSERT_GROUPS: Write<12> = Write::insert(
    c"edge_group",
    [
        ("downstream_id", UUIDOID),
        ("flow_id", UUIDOID),
        ("policy", TEXTOID),
        ("k", INT4OID),
        ("on_satisfied", TEXTOID),
        ("total_deps", INT4OID),
        ("satisfied_count", INT4OID),
        ("failed_count", INT4OID),
        ("skipped_count", INT4OID),
        ("group_state", TEXTOID),
        ("cancel_siblings_pending", BOOLOID),
        ("passes_data", BOOLOID),
    ],
);

static EXISTING: Stmt<1> = Stmt::new(
    c"SELECT f.definition_digest, f.graph_revision, f.node_count, f.edge_count FROM ff_engine.flow AS f WHERE f.flow_id = $1",
    [UUIDOID],
);

static TAKEN: Stmt<2> = Stmt::new(
    c"SELECT e.execution_id, false FROM ff_engine.execution AS e WHERE e.execution_id = ANY ($1)
      UNION ALL SELECT d.edge_id, true FROM ff_engine.edge AS d WHERE d.edge_id = ANY ($2)",
    [UUIDARRAYOID, UUIDARRAYOID],
);

static HEAD: Stmt<2> = Stmt::new(
    c"SELECT f.flow_kind, f.public_flow_state, f.graph_revision, f.node_count FROM ff_engine.flow AS f
       WHERE f.flow_id = $1 AND ($2 IS NULL OR f.namespace_id = ANY ($2))",
    [UUIDOID, INT4ARRAYOID],
);

static NODES: Stmt<2> = Stmt::new(
    c"SELECT m.execution_id, m.node_name, ff_engine.public_word(e.state),
             CASE g.policy WHEN 'any_of' THEN 'any_of' WHEN 'quorum' THEN format('quorum %s/%s', g.k, g.total_deps) END
        FROM ff_engine.flow_member AS m
        JOIN ff_engine.execution AS e ON e.execution_id = m.execution_id
        LEFT JOIN ff_engine.edge_group AS g ON g.downstream_id = m.execution_id
       WHERE m.flow_id = $1 AND ($2 IS NULL OR e.namespace_id = ANY ($2))",
    [UUIDOID, INT4ARRAYOID],
);

static EDGES: Stmt<1> = Stmt::new(
    c"SELECT d.upstream_id, d.downstream_id, d.edge_state, d.dependency_kind, d.data_passing_ref IS NOT NULL
        FROM ff_engine.edge AS d WHERE d.flow_id = $1",
    [UUIDOID],
);

/// Inserts a flow if its id is free; whether it was.
pub fn insert_flow(db: &Db, d: &Document, partition: i16, namespace: i32, now: Instant) -> bool {
    let tags = (!d.tags.is_empty()).then(|| Jsonb::from_json(&d.tags.clone().into()));
    let row: Vec<Arg> = vec![
        d.flow.into(),
        partition.into(),
        namespace.into(),
        (&d.kind).into(),
        "open".into(),
        d.sealed.into(),
        ((d.nodes.len() + d.edges.len()) as i64).into(),
        (d.nodes.len() as i32).into(),
        (d.edges.len() as i32).into(),
        now.0.into(),
        now.0.into(),
        tags.as_ref().into(),
        d.digest.as_slice().into(),
    ];
    !INSERT_FLOW
        .run(db, (1 << FLOW.len()) - 1, &[row])
        .is_empty()
}

/// Makes the document's executions members, and joins them.
pub fn insert_graph(db: &Db, d: &Document, now: Instant) {
    let id = |place: usize| d.nodes.get(place).map(|n| n.id);
    let mut nodes: Vec<&DocumentNode> = d.nodes.iter().collect();
    // In the order of their ids, in which they are read.
    nodes.sort_by_key(|n| n.id);
    let member = |n: &&DocumentNode| [n.id.into(), d.flow.into(), (&n.name).into()];
    let members: Vec<[Arg; 3]> = nodes.iter().map(member).collect();
    INSERT_MEMBERS.run(db, &members);
    let edges: Vec<[Arg; 10]> = d
        .edges
        .iter()
        .zip(1i64..)
        .map(|(e, ordinal)| {
            [
                e.id.into(),
                d.flow.into(),
                ordinal.into(),
                id(e.upstream).into(),
                id(e.downstream).into(),
                e.kind.word().into(),
                e.data_ref.as_ref().into(),
                EdgeState::Unsatisfied.word().into(),
                now.0.into(),
                now.0.into(),
            ]
        })
        .collect();
    INSERT_EDGES.run(db, &edges);
    let inbound = d.inbound();
    let groups: Vec<[Arg; 12]> = d
        .nodes
        .iter()
        .zip(inbound)
        .filter(|(_, (n, _))| *n > 0)
        .map(|(node, (n, data))| {
            let policy = node.group.unwrap_or(Policy::AllOf);
            [
                node.id.into(),
                d.flow.into(),
                policy.word().into(),
                policy.k().into(),
                policy.on_satisfied().map(OnSatisfied::word).into(),
                n.into(),
                0.into(),
                0.into(),
                0.into(),
                "pending".into(),
                false.into(),
                data.into(),
            ]
        })
        .collect();
    INSERT_GROUPS.run(db, &groups);
}

/// A flow that stands where a document would make one.
pub struct Existing {
    /// Digest of the document that made it, if one did.
    pub digest: Option<Vec<u8>>,
    /// Its graph revision.
    pub revision: i64,
    /// Its members.
    pub nodes: i32,
    /// Its edges.
    pub edges: i32,
}

/// The flow of an id, unlocked.
pub fn existing(db: &Db, flow: Uuid) -> Option<Existing> {
    let row = |r: Row| Existing {
        digest: r.get(1),
        revision: r.get(2),
        nodes: r.get(3),
        edges: r.get(4),
    };
    EXISTING.run(db, [flow.into()]).first().map(row)
}

/// Those of the ids that executions or edges have already; true for an edge's.
pub fn taken(db: &Db, d: &Document) -> Vec<(Uuid, bool)> {
    let nodes = array::uuids(d.nodes.iter().map(|n| n.id));
    let edges = array::uuids(d.edges.iter().map(|e| e.id));
    let rows = TAKEN.run(db, [nodes, edges]);
    rows.iter().map(|r| (r.get(1), r.get(2))).collect()
}

/// A flow that may be drawn.
pub struct Head {
    kind: String,
    state: String,
    revision: i64,
    /// Its members.
    pub nodes: i32,
}

/// What is drawn of a flow itself; none if it is absent, or the calling roles may not see it.
pub fn head(db: &Db, flow: Uuid) -> Option<Head> {
    let row = |r: Row| Head {
        kind: r.get(1),
        state: r.get(2),
        revision: r.get(3),
        nodes: r.get(4),
    };
    HEAD.read(db, [flow.into(), binding::only()])
        .first()
        .map(row)
}

/// The ends of all edges of a flow.
pub fn pairs(db: &Db, flow: Uuid) -> Vec<(Uuid, Uuid)> {
    let rows = EDGES.run(db, [flow.into()]);
    rows.iter().map(|r| (r.get(1), r.get(2))).collect()
}

/// The whole picture of a flow.
pub fn picture(db: &Db, flow: Uuid, head: Head) -> Picture {
    let node = |r: Row| Node {
        id: r.get(1),
        name: r.get(2),
        state: r.get(3),
        group: r.get(4),
    };
    let edge = |r: Row| Edge {
        from: r.get(1),
        to: r.get(2),
        state: r.get(3),
        kind: r.get(4),
        data: r.get(5),
    };
    let nodes = NODES.read(db, [flow.into(), binding::only()]);
    let edges = EDGES.read(db, [flow.into()]);
    Picture {
        flow,
        kind: head.kind,
        state: head.state,
        revision: head.revision,
        nodes: nodes.iter().map(node).collect(),
        edges: edges.iter().map(edge).collect(),
    }
}
