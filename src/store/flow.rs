//! `ff_engine.flow` and `ff_engine.flow_member`: flows and who belongs to them.

use pgrx::pg_sys::BuiltinOid::*;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::binding;
use super::statement::Write;
use crate::model::flow::{CancelPolicy, Flow, FlowState};
use crate::model::time::Instant;
use crate::pg::array;
use crate::pg::jsonb::Jsonb;
use crate::pg::spi::{Arg, Db, Row, Stmt};

/// The columns of [`decode`], of a flow `f`.
macro_rules! columns {
    () => {
        "f.flow_id, f.partition_key, f.namespace_id, f.flow_kind, f.public_flow_state, f.sealed, f.graph_revision, \
         f.node_count, f.edge_count, f.created_at, f.last_mutation_at, f.terminal_at, f.cancelled_at, f.cancel_reason, \
         f.cancellation_policy, f.cancel_requester, f.tags"
    };
}

static INSERT: Stmt<6> = Stmt::new(
    c"INSERT INTO ff_engine.flow (flow_id, partition_key, namespace_id, flow_kind, public_flow_state, sealed, graph_revision,
                                  node_count, edge_count, created_at, last_mutation_at, tags)
      VALUES ($1, $2, $3, $4, 'open', false, 0, 0, 0, $5, $5, $6)
      ON CONFLICT (flow_id) DO NOTHING RETURNING flow_id",
    [UUIDOID, INT2OID, INT4OID, TEXTOID, TIMESTAMPTZOID, JSONBOID],
);

static READ: Stmt<2> = Stmt::new(
    sql!(
        "SELECT ",
        columns!(),
        " FROM ff_engine.flow AS f \
          WHERE f.flow_id = ANY ($1) AND ($2 IS NULL OR f.namespace_id = ANY ($2)) ORDER BY f.flow_id"
    ),
    [UUIDARRAYOID, INT4ARRAYOID],
);

static LOCK: Stmt<2> = Stmt::new(
    sql!(
        "SELECT ",
        columns!(),
        " FROM ff_engine.flow AS f \
          WHERE f.flow_id = ANY ($1) AND ($2 IS NULL OR f.namespace_id = ANY ($2)) ORDER BY f.flow_id FOR UPDATE"
    ),
    [UUIDARRAYOID, INT4ARRAYOID],
);

static LOCK_FREE: Stmt<1> = Stmt::new(
    sql!(
        "SELECT ",
        columns!(),
        " FROM ff_engine.flow AS f WHERE f.flow_id = ANY ($1) ORDER BY f.flow_id FOR UPDATE SKIP LOCKED"
    ),
    [UUIDARRAYOID],
);

static SAVE: Stmt<13> = Stmt::new(
    c"UPDATE ff_engine.flow AS f
         SET public_flow_state = $2, sealed = $3, graph_revision = $4, node_count = $5, edge_count = $6,
             last_mutation_at = $7, terminal_at = $8, cancelled_at = $9, cancel_reason = $10, cancellation_policy = $11,
             cancel_requester = $12, tags = $13
       WHERE f.flow_id = $1",
    [
        UUIDOID,
        TEXTOID,
        BOOLOID,
        INT8OID,
        INT4OID,
        INT4OID,
        TIMESTAMPTZOID,
        TIMESTAMPTZOID,
        TIMESTAMPTZOID,
        TEXTOID,
        TEXTOID,
        TEXTOID,
        JSONBOID,
    ],
);

static JOIN: Write<3> = Write::insert(
    c"flow_member",
    [
        ("execution_id", UUIDOID),
        ("flow_id", UUIDOID),
        ("node_name", TEXTOID),
    ],
);

static NAMED: Stmt<2> = Stmt::new(
    c"SELECT m.execution_id FROM ff_engine.flow_member AS m WHERE m.flow_id = $1 AND m.node_name = $2",
    [UUIDOID, TEXTOID],
);

/// A flow that is gone holds up nobody's retention.
static OVER: Stmt<1> = Stmt::new(
    c"SELECT n.id FROM unnest($1) AS n (id) LEFT JOIN ff_engine.flow AS f ON f.flow_id = n.id
       WHERE f.public_flow_state IS DISTINCT FROM 'open'",
    [UUIDARRAYOID],
);

fn decode(r: &Row) -> Flow {
    let mut c = r.cursor();
    let at = |micros: Option<i64>| micros.map(Instant);
    Flow {
        id: c.next(),
        partition: c.next(),
        namespace: c.next(),
        kind: c.next(),
        state: FlowState::from_word(&c.next::<String>()).unwrap_or(FlowState::Open),
        sealed: c.next(),
        revision: c.next(),
        nodes: c.next(),
        edges: c.next(),
        created_at: Instant(c.next()),
        last_mutation_at: Instant(c.next()),
        terminal_at: at(c.next()),
        cancelled_at: at(c.next()),
        cancel_reason: c.next(),
        cancel_policy: c
            .next::<Option<String>>()
            .and_then(|word| CancelPolicy::from_word(&word)),
        cancel_requester: c.next(),
        tags: match c.next::<Option<Jsonb>>().map(|tags| tags.parse()) {
            Some(Value::Object(tags)) => tags,
            _ => Map::new(),
        },
    }
}

fn tags(flow: &Flow) -> Option<Jsonb> {
    let tags = || Jsonb::from_json(&Value::Object(flow.tags.clone()));
    (!flow.tags.is_empty()).then(tags)
}

/// Stores a new flow; whether its id was free.
pub fn insert(db: &Db, flow: &Flow) -> bool {
    let args = [
        flow.id.into(),
        flow.partition.into(),
        flow.namespace.into(),
        flow.kind.as_str().into(),
        flow.created_at.0.into(),
        tags(flow).as_ref().into(),
    ];
    !INSERT.run(db, args).is_empty()
}

/// Flows that the calling roles may see, unlocked.
pub fn read(db: &Db, ids: &[Uuid]) -> Vec<Flow> {
    let args = [array::uuids(ids.iter().copied()), binding::only()];
    READ.run(db, args).iter().map(|r| decode(&r)).collect()
}

/// Locks a flow (G4). One that the calling roles may not see is absent.
pub fn lock(db: &Db, id: Uuid) -> Option<Flow> {
    lock_all(db, &[id]).pop()
}

/// Locks flows in ascending id.
pub fn lock_all(db: &Db, ids: &[Uuid]) -> Vec<Flow> {
    let args = [array::uuids(ids.iter().copied()), binding::only()];
    LOCK.run(db, args).iter().map(|r| decode(&r)).collect()
}

/// Locks a flow that nobody else holds, for what time does to it, whoever calls.
pub fn lock_free(db: &Db, id: Uuid) -> Option<Flow> {
    let rows = LOCK_FREE.run(db, [array::uuids([id])]);
    rows.first().map(|r| decode(&r))
}

/// Writes a locked flow.
pub fn save(db: &Db, flow: &Flow) {
    let at = |instant: Option<Instant>| instant.map(|i| i.0);
    let args: [Arg; 13] = [
        flow.id.into(),
        flow.state.word().into(),
        flow.sealed.into(),
        flow.revision.into(),
        flow.nodes.into(),
        flow.edges.into(),
        flow.last_mutation_at.0.into(),
        at(flow.terminal_at).into(),
        at(flow.cancelled_at).into(),
        flow.cancel_reason.as_deref().into(),
        flow.cancel_policy.map(|p| p.word()).into(),
        flow.cancel_requester.as_deref().into(),
        tags(flow).as_ref().into(),
    ];
    SAVE.run(db, args);
}

/// Makes executions members.
pub fn join(db: &Db, flow: Uuid, members: &[(Uuid, Option<&str>)]) {
    let row = |(id, name): &(Uuid, Option<&str>)| [(*id).into(), flow.into(), (*name).into()];
    JOIN.run(db, &members.iter().map(row).collect::<Vec<_>>());
}

/// The member with this node name.
pub fn named(db: &Db, flow: Uuid, name: &str) -> Option<Uuid> {
    let rows = NAMED.run(db, [flow.into(), name.into()]);
    rows.first().map(|r| r.get(1))
}

/// Those of the flows that are not open any more, or gone.
pub fn over(db: &Db, ids: &[Uuid]) -> Vec<Uuid> {
    let rows = OVER.run(db, [array::uuids(ids.iter().copied())]);
    rows.iter().map(|r| r.get(1)).collect()
}

static MEMBERS: Stmt<2> = Stmt::new(
    c"SELECT m.execution_id FROM ff_engine.flow_member AS m WHERE m.flow_id = $1 ORDER BY m.execution_id LIMIT $2",
    [UUIDOID, INT8OID],
);

/// Members of a flow in ascending id, up to a limit.
pub fn members(db: &Db, flow: Uuid, limit: i64) -> Vec<Uuid> {
    let rows = MEMBERS.run(db, [flow.into(), limit.into()]);
    rows.iter().map(|r| r.get(1)).collect()
}
