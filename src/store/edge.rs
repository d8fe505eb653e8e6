//! `ff_engine.edge`: staged, applied, resolved.

use pgrx::pg_sys::BuiltinOid::*;
use uuid::Uuid;

use super::statement::Write;
use crate::model::flow::{EdgeKind, EdgeState};
use crate::model::time::Instant;
use crate::model::words::TerminalOutcome;
use crate::pg::array;
use crate::pg::spi::{Arg, Db, Row, Stmt};

static STAGE: Write<9> = Write::insert(
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
    ],
);

/// The columns of [`decode`], of an edge `e`.
macro_rules! columns {
    () => {
        "e.edge_id, e.flow_id, e.ordinal, e.upstream_id, e.downstream_id, e.dependency_kind, e.data_passing_ref, \
         e.edge_state"
    };
}

static READ: Stmt<1> = Stmt::new(
    sql!(
        "SELECT ",
        columns!(),
        " FROM ff_engine.edge AS e WHERE e.edge_id = $1"
    ),
    [UUIDOID],
);

static BETWEEN: Stmt<2> = Stmt::new(
    sql!(
        "SELECT ",
        columns!(),
        " FROM ff_engine.edge AS e WHERE e.upstream_id = $1 AND e.downstream_id = $2"
    ),
    [UUIDOID, UUIDOID],
);

static DROP: Stmt<1> = Stmt::new(
    c"DELETE FROM ff_engine.edge AS e WHERE e.edge_id = $1",
    [UUIDOID],
);

static LAST: Stmt<1> = Stmt::new(
    c"SELECT max(e.ordinal) FROM ff_engine.edge AS e WHERE e.flow_id = $1",
    [UUIDOID],
);

static INBOUND: Stmt<1> = Stmt::new(
    c"SELECT EXISTS (SELECT FROM ff_engine.edge AS e WHERE e.downstream_id = $1)",
    [UUIDOID],
);

/// All that can be reached from an execution, each with one way of getting there per edge.
static REACH: Stmt<1> = Stmt::new(
    c"WITH RECURSIVE reach (id, via) AS (
          SELECT e.downstream_id, e.upstream_id FROM ff_engine.edge AS e WHERE e.upstream_id = $1
          UNION
          SELECT e.downstream_id, e.upstream_id FROM reach AS r JOIN ff_engine.edge AS e ON e.upstream_id = r.id)
      SELECT r.id, r.via FROM reach AS r",
    [UUIDOID],
);

static APPLY: Stmt<2> = Stmt::new(
    c"UPDATE ff_engine.edge AS e SET edge_state = 'unsatisfied', applied_at = $2 WHERE e.edge_id = $1",
    [UUIDOID, TIMESTAMPTZOID],
);

static UNAPPLIED: Stmt<1> = Stmt::new(
    c"SELECT e.edge_id FROM ff_engine.edge AS e WHERE e.flow_id = $1 AND e.edge_state = 'pending'
       ORDER BY e.ordinal LIMIT 20",
    [UUIDOID],
);

/// An edge is due if it is open and has not consumed the life that its upstream has ended.
macro_rules! due {
    () => {
        "e.edge_state = 'unsatisfied' AND coalesce(e.consumed_life, -1) < u.life"
    };
}

static DUE: Stmt<5> = Stmt::new(
    sql!(
        "SELECT u.place, d.edge_id, d.downstream_id, d.width \
           FROM unnest($1, $2, $3) WITH ORDINALITY AS u (id, life, after, place) \
          CROSS JOIN LATERAL ( \
                SELECT e.edge_id, e.downstream_id, g.total_deps AS width \
                  FROM ff_engine.edge AS e JOIN ff_engine.edge_group AS g ON g.downstream_id = e.downstream_id \
                 WHERE e.upstream_id = u.id AND e.downstream_id > u.after AND ",
        due!(),
        "        ORDER BY e.downstream_id LIMIT $4) AS d \
          ORDER BY u.place, d.downstream_id LIMIT $5"
    ),
    [UUIDARRAYOID, INT4ARRAYOID, UUIDARRAYOID, INT8OID, INT8OID],
);

static LEFT: Stmt<2> = Stmt::new(
    sql!(
        "SELECT u.id, count(*) \
           FROM unnest($1, $2) AS u (id, life) JOIN ff_engine.edge AS e ON e.upstream_id = u.id \
          WHERE ",
        due!(),
        " GROUP BY u.id"
    ),
    [UUIDARRAYOID, INT4ARRAYOID],
);

static STILL_DUE: Stmt<2> = Stmt::new(
    sql!(
        "SELECT u.place, e.downstream_id, e.dependency_kind \
           FROM unnest($1, $2) WITH ORDINALITY AS u (id, life, place) JOIN ff_engine.edge AS e ON e.edge_id = u.id \
          WHERE ",
        due!(),
        " ORDER BY e.ordinal"
    ),
    [UUIDARRAYOID, INT4ARRAYOID],
);

static RESOLVE: Stmt<5> = Stmt::new(
    c"UPDATE ff_engine.edge AS e
         SET edge_state = n.state, resolved_at = $5, resolved_outcome = n.outcome, consumed_life = n.life
        FROM unnest($1, $2, $3, $4) AS n (edge_id, state, outcome, life)
       WHERE e.edge_id = n.edge_id",
    [UUIDARRAYOID, TEXTARRAYOID, TEXTARRAYOID, INT4ARRAYOID, TIMESTAMPTZOID],
);

/// The open edges into a child whose upstream has ended a life that they have not consumed.
static DUE_INTO: Stmt<1> = Stmt::new(
    c"SELECT e.edge_id, ff_engine.outcome_word(ff_engine.outcome(u.state)),
             coalesce((u.rare ->> 'replays')::int, 0), e.dependency_kind
        FROM ff_engine.edge AS e JOIN ff_engine.execution AS u ON u.execution_id = e.upstream_id
       WHERE e.downstream_id = $1 AND e.edge_state = 'unsatisfied' AND ff_engine.lifecycle(u.state) = 't'
         AND coalesce(e.consumed_life, -1) < coalesce((u.rare ->> 'replays')::int, 0)
       ORDER BY e.ordinal",
    [UUIDOID],
);

/// The result that a released child takes over: of its satisfied edges that ask for one, the last that has one.
static PASS: Stmt<1> = Stmt::new(
    c"INSERT INTO ff_engine.execution_input AS i (execution_id, payload, payload_encoding)
      SELECT DISTINCT ON (e.downstream_id) e.downstream_id, u.result, u.result_encoding
        FROM ff_engine.edge AS e JOIN ff_engine.execution AS u ON u.execution_id = e.upstream_id
       WHERE e.downstream_id = ANY ($1) AND e.edge_state = 'satisfied' AND e.data_passing_ref IS NOT NULL
         AND u.result IS NOT NULL
       ORDER BY e.downstream_id, e.ordinal DESC
      ON CONFLICT (execution_id) DO UPDATE SET payload = excluded.payload, payload_encoding = excluded.payload_encoding
      RETURNING i.execution_id",
    [UUIDARRAYOID],
);

/// One edge.
#[derive(Clone, Debug)]
pub struct Edge {
    /// Identity.
    pub id: Uuid,
    /// Its flow.
    pub flow: Uuid,
    /// Order of staging.
    pub ordinal: i64,
    /// Where it comes from.
    pub upstream: Uuid,
    /// The child.
    pub downstream: Uuid,
    /// What satisfies it.
    pub kind: EdgeKind,
    /// Asks for the upstream's result.
    pub data_ref: Option<String>,
    /// How far it is.
    pub state: EdgeState,
}

/// A member that has ended: what its edges make of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which.
    pub id: Uuid,
    /// The life that has ended.
    pub life: i32,
    /// How.
    pub outcome: TerminalOutcome,
    /// Partition of its flow.
    pub partition: i16,
    /// Its namespace.
    pub namespace: i32,
}

/// A due edge, as seen without a lock on the child.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    /// Place of the upstream among those asked about.
    pub place: usize,
    /// The edge.
    pub id: Uuid,
    /// The child.
    pub child: Uuid,
    /// Edges into the child.
    pub width: i32,
}

fn decode(r: &Row) -> Edge {
    let mut c = r.cursor();
    Edge {
        id: c.next(),
        flow: c.next(),
        ordinal: c.next(),
        upstream: c.next(),
        downstream: c.next(),
        kind: kind(&c.next::<String>()),
        data_ref: c.next(),
        state: EdgeState::from_word(&c.next::<String>()).unwrap_or(EdgeState::Pending),
    }
}

/// The table's constraint admits known words only.
fn kind(word: &str) -> EdgeKind {
    EdgeKind::from_word(word).unwrap_or(EdgeKind::SuccessOnly)
}

/// Stages edges.
pub fn stage(db: &Db, edges: &[Edge], now: Instant) {
    let row = |e: &Edge| -> [Arg; 9] {
        [
            e.id.into(),
            e.flow.into(),
            e.ordinal.into(),
            e.upstream.into(),
            e.downstream.into(),
            e.kind.word().into(),
            e.data_ref.as_deref().into(),
            e.state.word().into(),
            now.0.into(),
        ]
    };
    STAGE.run(db, &edges.iter().map(row).collect::<Vec<_>>());
}

/// The edge of an id.
pub fn read(db: &Db, id: Uuid) -> Option<Edge> {
    READ.run(db, [id.into()]).first().map(|r| decode(&r))
}

/// The edge that joins a pair.
pub fn between(db: &Db, upstream: Uuid, downstream: Uuid) -> Option<Edge> {
    let rows = BETWEEN.run(db, [upstream.into(), downstream.into()]);
    rows.first().map(|r| decode(&r))
}

/// Removes an edge that was only staged.
pub fn unstage(db: &Db, id: Uuid) {
    DROP.run(db, [id.into()]);
}

/// The ordinal of the next edge of a flow.
pub fn next_ordinal(db: &Db, flow: Uuid) -> i64 {
    let rows = LAST.run(db, [flow.into()]);
    rows.first()
        .and_then(|r| r.get::<Option<i64>>(1))
        .map_or(1, |last| last + 1)
}

/// Whether an execution has inbound edges, applied or not.
pub fn has_inbound(db: &Db, id: Uuid) -> bool {
    INBOUND
        .run(db, [id.into()])
        .first()
        .is_some_and(|r| r.get(1))
}

/// What can be reached from an execution, each with the execution before it.
pub fn reach(db: &Db, from: Uuid) -> Vec<(Uuid, Uuid)> {
    let rows = REACH.run(db, [from.into()]);
    rows.iter().map(|r| (r.get(1), r.get(2))).collect()
}

/// Makes a staged edge count.
pub fn apply(db: &Db, id: Uuid, now: Instant) {
    APPLY.run(db, [id.into(), now.0.into()]);
}

/// Some edges of a flow that were staged and not applied.
pub fn unapplied(db: &Db, flow: Uuid) -> Vec<Uuid> {
    let rows = UNAPPLIED.run(db, [flow.into()]);
    rows.iter().map(|r| r.get(1)).collect()
}

/// Due edges of ended members, each from behind a child on: at most so many of each, and at most so many at all.
pub fn due(db: &Db, ended: &[(Ended, Uuid)], each: i64, all: i64) -> Vec<Due> {
    let rows = DUE.run(
        db,
        [
            array::uuids(ended.iter().map(|(e, _)| e.id)),
            array::ints(ended.iter().map(|(e, _)| e.life)),
            array::uuids(ended.iter().map(|(_, after)| *after)),
            each.into(),
            all.into(),
        ],
    );
    let due = |r: Row| Due {
        place: r.get::<i64>(1) as usize - 1,
        id: r.get(2),
        child: r.get(3),
        width: r.get(4),
    };
    rows.iter().map(due).collect()
}

/// How many due edges each of the ended members has left, for those that have any.
pub fn left(db: &Db, ended: &[Ended]) -> Vec<(Uuid, i64)> {
    let ids = array::uuids(ended.iter().map(|e| e.id));
    let lives = array::ints(ended.iter().map(|e| e.life));
    let rows = LEFT.run(db, [ids, lives]);
    rows.iter().map(|r| (r.get(1), r.get(2))).collect()
}

/// An edge that is still due under the lock of its child.
pub struct Open {
    /// Place among those asked about.
    pub place: usize,
    /// The child.
    pub child: Uuid,
    /// What satisfies it.
    pub kind: EdgeKind,
}

/// Those of the edges that are still due, in the order of staging.
pub fn still_due(db: &Db, edges: impl Iterator<Item = (Uuid, i32)>) -> Vec<Open> {
    let (ids, lives): (Vec<Uuid>, Vec<i32>) = edges.unzip();
    let rows = STILL_DUE.run(db, [array::uuids(ids), array::ints(lives)]);
    let open = |r: Row| Open {
        place: r.get::<i64>(1) as usize - 1,
        child: r.get(2),
        kind: kind(&r.get::<String>(3)),
    };
    rows.iter().map(open).collect()
}

/// What becomes of an edge.
pub struct Resolution {
    /// Which.
    pub id: Uuid,
    /// Its state now.
    pub state: EdgeState,
    /// How its upstream ended.
    pub outcome: TerminalOutcome,
    /// Which life.
    pub life: i32,
}

/// Resolves edges.
pub fn resolve(db: &Db, edges: &[Resolution], now: Instant) {
    if edges.is_empty() {
        return;
    }
    RESOLVE.run(
        db,
        [
            array::uuids(edges.iter().map(|e| e.id)),
            array::texts(edges.iter().map(|e| e.state.word())),
            array::texts(edges.iter().map(|e| e.outcome.word())),
            array::ints(edges.iter().map(|e| e.life)),
            now.0.into(),
        ],
    );
}

/// A due edge into a child, with how its upstream ended.
pub struct DueInto {
    /// The edge.
    pub id: Uuid,
    /// How its upstream ended.
    pub outcome: TerminalOutcome,
    /// Which life.
    pub life: i32,
    /// What satisfies the edge.
    pub kind: EdgeKind,
}

fn due_edge(r: Row) -> DueInto {
    DueInto {
        id: r.get(1),
        outcome: TerminalOutcome::from_word(&r.get::<String>(2)).unwrap_or(TerminalOutcome::None),
        life: r.get(3),
        kind: kind(&r.get::<String>(4)),
    }
}

/// The due edges into a child, whoever is to resolve them.
pub fn due_into(db: &Db, child: Uuid) -> Vec<DueInto> {
    DUE_INTO
        .run(db, [child.into()])
        .iter()
        .map(due_edge)
        .collect()
}

/// As [`due_into`], on the snapshot that is active, for reads.
pub fn seen_due_into(db: &Db, child: Uuid) -> Vec<DueInto> {
    DUE_INTO
        .read(db, [child.into()])
        .iter()
        .map(due_edge)
        .collect()
}

/// Gives released children the results that their edges ask for; those that got one.
pub fn pass_data(db: &Db, children: &[Uuid]) -> Vec<Uuid> {
    if children.is_empty() {
        return Vec::new();
    }
    let rows = PASS.run(db, [array::uuids(children.iter().copied())]);
    rows.iter().map(|r| r.get(1)).collect()
}

static REOPEN: Stmt<1> = Stmt::new(
    c"UPDATE ff_engine.edge AS e SET edge_state = 'unsatisfied', resolved_at = NULL, resolved_outcome = NULL
       WHERE e.downstream_id = $1 AND e.edge_state = 'impossible'",
    [UUIDOID],
);

/// Opens the impossible edges into a locked child anew, the life that each consumed kept; how many there were.
pub fn reopen(db: &Db, child: Uuid) -> i32 {
    REOPEN.run(db, [child.into()]).len() as i32
}
