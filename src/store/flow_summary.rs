//! `ff_engine.flow_touch` and `ff_engine.flow_summary`: which flows to project, and what was projected.

use pgrx::pg_sys::BuiltinOid::*;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::binding;
use super::statement::Write;
use crate::model::time::Instant;
use crate::pg::array;
use crate::pg::jsonb::Jsonb;
use crate::pg::spi::{Arg, Db, Row, Stmt};

static TOUCH: Write<2> = Write::insert(
    c"flow_touch",
    [("touched_at", TIMESTAMPTZOID), ("flow_id", UUIDOID)],
);

/// The marks of some flows, those first that have waited longest; a flow whose marks somebody else takes is his.
static TAKE: Stmt<6> = Stmt::new(
    c"WITH first AS (
          SELECT t.flow_id, min(t.touched_at) AS touched_at
            FROM (SELECT m.flow_id, m.touched_at FROM ff_engine.flow_touch AS m
                   WHERE m.touched_at <= $1 ORDER BY m.touched_at LIMIT 100000) AS t
            LEFT JOIN ff_engine.flow AS f ON f.flow_id = t.flow_id
           WHERE f.flow_id IS NULL
              OR f.partition_key BETWEEN $2 AND $3 AND ($4 IS NULL OR f.namespace_id = $4)
                 AND coalesce(f.tags, '{}') @> $5 AND ff_engine.admits(f.namespace_id)
           GROUP BY t.flow_id ORDER BY 2 LIMIT $6),
      mine AS (
          SELECT t.ctid AS place, t.flow_id FROM ff_engine.flow_touch AS t
           WHERE t.touched_at <= $1 AND t.flow_id IN (SELECT n.flow_id FROM first AS n)
             FOR UPDATE SKIP LOCKED),
      gone AS (DELETE FROM ff_engine.flow_touch AS t USING mine AS m WHERE t.ctid = m.place RETURNING t.flow_id)
      SELECT DISTINCT g.flow_id FROM gone AS g",
    [
        TIMESTAMPTZOID,
        INT2OID,
        INT2OID,
        INT4OID,
        JSONBOID,
        INT8OID,
    ],
);

/// Open flows that nobody has projected for a while.
static STALE: Stmt<6> = Stmt::new(
    c"SELECT f.flow_id
        FROM ff_engine.flow AS f LEFT JOIN ff_engine.flow_summary AS s ON s.flow_id = f.flow_id
       WHERE f.public_flow_state = 'open' AND (s.projected_at IS NULL OR s.projected_at <= $1 - interval '15 s')
         AND f.partition_key BETWEEN $2 AND $3 AND ($4 IS NULL OR f.namespace_id = $4) AND coalesce(f.tags, '{}') @> $5
         AND ff_engine.admits(f.namespace_id)
       ORDER BY s.projected_at NULLS FIRST, f.flow_id LIMIT $6",
    [
        TIMESTAMPTZOID,
        INT2OID,
        INT2OID,
        INT4OID,
        JSONBOID,
        INT8OID,
    ],
);

static COUNT: Stmt<1> = Stmt::new(
    c"SELECT c.total_members, c.derived_state, c.last_end, c.over,
             to_jsonb(c) - '{total_members,derived_state,last_end,over}'::text[]
        FROM ff_engine.flow_counts($1) AS c",
    [UUIDOID],
);

static STANDING: Stmt<2> = Stmt::new(
    c"SELECT f.public_flow_state, c.derived_state, c.over,
             (SELECT count(*) FROM ff_engine.cancel_backlog_member AS m WHERE m.flow_id = f.flow_id)
        FROM ff_engine.flow AS f CROSS JOIN LATERAL ff_engine.flow_counts(f.flow_id) AS c
       WHERE f.flow_id = $1 AND ($2 IS NULL OR f.namespace_id = ANY ($2))",
    [UUIDOID, INT4ARRAYOID],
);

static PROJECT: Stmt<4> = Stmt::new(
    c"INSERT INTO ff_engine.flow_summary AS s (flow_id, projected_at, members, derived_state) VALUES ($1, $2, $3, $4)
      ON CONFLICT (flow_id) DO UPDATE
         SET projected_at = excluded.projected_at, members = excluded.members, derived_state = excluded.derived_state
      RETURNING (SELECT o.members = $3 AND o.derived_state = $4 FROM ff_engine.flow_summary AS o WHERE o.flow_id = $1)",
    [UUIDOID, TIMESTAMPTZOID, JSONBOID, TEXTOID],
);

static NEXT: Stmt<0> = Stmt::new(
    c"SELECT t.touched_at FROM ff_engine.flow_touch AS t ORDER BY t.touched_at LIMIT 1",
    [],
);

/// Terminal flows that have lost their last member, or never had one and have been kept long enough.
static EMPTY: Stmt<6> = Stmt::new(
    c"SELECT f.flow_id FROM ff_engine.flow AS f
       WHERE f.terminal_at IS NOT NULL AND f.terminal_at <= CASE f.node_count WHEN 0 THEN $1 ELSE 'infinity' END
         AND f.partition_key BETWEEN $2 AND $3 AND ($4 IS NULL OR f.namespace_id = $4) AND coalesce(f.tags, '{}') @> $5
         AND ff_engine.admits(f.namespace_id)
         AND NOT EXISTS (SELECT FROM ff_engine.flow_member AS m WHERE m.flow_id = f.flow_id)
       ORDER BY f.terminal_at LIMIT $6 FOR UPDATE SKIP LOCKED",
    [
        TIMESTAMPTZOID,
        INT2OID,
        INT2OID,
        INT4OID,
        JSONBOID,
        INT8OID,
    ],
);

static DELETE: Stmt<1> = Stmt::new(
    c"WITH edges AS (DELETE FROM ff_engine.edge AS e WHERE e.flow_id = ANY ($1)),
           groups AS (DELETE FROM ff_engine.edge_group AS g WHERE g.flow_id = ANY ($1)),
           summaries AS (DELETE FROM ff_engine.flow_summary AS s WHERE s.flow_id = ANY ($1)),
           limits AS (DELETE FROM ff_engine.attachment AS a USING unnest($1) AS n (flow_id)
                       WHERE a.target_type = 'flow' AND a.target_id = n.flow_id::text),
           owed AS (DELETE FROM ff_engine.cancel_backlog_member AS m WHERE m.flow_id = ANY ($1)),
           backlog AS (DELETE FROM ff_engine.cancel_backlog AS b WHERE b.flow_id = ANY ($1))
      DELETE FROM ff_engine.flow AS f WHERE f.flow_id = ANY ($1)",
    [UUIDARRAYOID],
);

/// Which flows a run concerns.
pub struct Only<'a> {
    /// Lowest and highest partition.
    pub partitions: (i16, i16),
    /// Only this namespace.
    pub namespace: Option<i32>,
    /// Only flows whose tags contain these.
    pub tags: &'a Map<String, Value>,
}

impl Only<'_> {
    fn args(&self, at: Instant, limit: i64) -> [Arg; 6] {
        let tags = Jsonb::from_json(&Value::Object(self.tags.clone()));
        let (low, high) = self.partitions;
        [
            at.0.into(),
            low.into(),
            high.into(),
            self.namespace.into(),
            (&tags).into(),
            limit.into(),
        ]
    }
}

/// Marks flows whose members have ended.
pub fn touch(db: &Db, flows: impl Iterator<Item = Uuid>, now: Instant) {
    let rows: Vec<[Arg; 2]> = flows.map(|id| [now.0.into(), id.into()]).collect();
    TOUCH.run(db, &rows);
    if !rows.is_empty() {
        crate::pg::xact::due(now.plus(REST).0);
    }
}

/// A touched flow is projected once in so long, however many of its members end.
const REST: i64 = crate::model::time::SECOND;

fn ids(rows: &crate::pg::spi::Rows) -> Vec<Uuid> {
    rows.iter().map(|r| r.get(1)).collect()
}

/// Takes the marks of some flows.
pub fn take(db: &Db, only: &Only, now: Instant, limit: i64) -> Vec<Uuid> {
    ids(&TAKE.run(db, only.args(now, limit)))
}

/// Open flows that nobody has projected for a while.
pub fn stale(db: &Db, only: &Only, now: Instant, limit: i64) -> Vec<Uuid> {
    ids(&STALE.run(db, only.args(now, limit)))
}

/// When the next touched flow is to be projected.
pub fn next(db: &Db) -> Option<Instant> {
    let first = NEXT.run(db, []).first().map(|r| Instant(r.get(1)));
    first.map(|at| at.plus(REST))
}

/// The members of a flow, counted.
#[derive(Clone, Debug)]
pub struct Counts {
    /// All of them.
    pub total: i64,
    /// The state that they make of the flow.
    pub derived: String,
    /// The latest end among them.
    pub last_end: Option<Instant>,
    /// All have ended, and if there are none, none can come.
    over: bool,
    /// Members by public state word.
    pub members: Map<String, Value>,
}

impl Counts {
    /// Whether all have ended; a sealed flow without members is over too.
    pub fn over(&self) -> bool {
        self.over
    }
}

/// Counts the members of a flow.
pub fn count(db: &Db, flow: Uuid) -> Counts {
    let rows = COUNT.run(db, [flow.into()]);
    let counts = |r: Row| Counts {
        total: r.get(1),
        derived: r.get(2),
        last_end: r.get::<Option<i64>>(3).map(Instant),
        over: r.get(4),
        members: match r.get::<Jsonb>(5).parse() {
            Value::Object(members) => members,
            _ => Map::new(),
        },
    };
    rows.first().map(counts).unwrap_or(Counts {
        total: 0,
        derived: String::new(),
        last_end: None,
        over: false,
        members: Map::new(),
    })
}

/// How a flow stands.
pub struct Standing {
    /// Its authoritative state.
    pub state: String,
    /// The state that its members make of it.
    pub derived: String,
    /// All members have ended.
    pub over: bool,
    /// Members that its cancellation still owes.
    pub owed: i64,
}

/// How a flow that the calling roles may see stands.
pub fn standing(db: &Db, flow: Uuid) -> Option<Standing> {
    let rows = STANDING.run(db, [flow.into(), binding::only()]);
    rows.first().map(|r| Standing {
        state: r.get(1),
        derived: r.get(2),
        over: r.get(3),
        owed: r.get(4),
    })
}

/// Stores a summary; whether it says something new.
pub fn project(db: &Db, flow: Uuid, counts: &Counts, now: Instant) -> bool {
    let members = Jsonb::from_json(&Value::Object(counts.members.clone()));
    let args = [
        flow.into(),
        now.0.into(),
        (&members).into(),
        counts.derived.as_str().into(),
    ];
    let rows = PROJECT.run(db, args);
    rows.first().and_then(|r| r.get(1)) != Some(true)
}

/// Locks flows that may be deleted.
pub fn empty(db: &Db, only: &Only, kept_since: Instant, limit: i64) -> Vec<Uuid> {
    ids(&EMPTY.run(db, only.args(kept_since, limit)))
}

/// Deletes flows with all that belongs to them but members.
pub fn delete(db: &Db, flows: &[Uuid]) {
    DELETE.run(db, [array::uuids(flows.iter().copied())]);
}
