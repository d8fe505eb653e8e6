//! `ff_engine.denied`: executions that a budget or a quota holds back.

use pgrx::pg_sys::BuiltinOid::*;
use uuid::Uuid;

use super::statement::Write;
use crate::model::due::{Denied, Position};
use crate::model::time::Instant;
use crate::pg::spi::{Arg, Db, Row, Stmt};

static INSERT: Write<6> = Write::insert(
    c"denied",
    [
        ("policy_id", UUIDOID),
        ("rank", INT2OID),
        ("created_at", TIMESTAMPTZOID),
        ("execution_id", UUIDOID),
        ("recheck_at", TIMESTAMPTZOID),
        ("offered", BOOLOID),
    ],
);

static DELETE: Write<4> = Write::delete(
    c"denied",
    [
        ("policy_id", UUIDOID),
        ("rank", INT2OID),
        ("created_at", TIMESTAMPTZOID),
        ("execution_id", UUIDOID),
    ],
);

/// Policies with such executions, each found by one step along the index; those of budgets ('b'), of quotas ('q'),
/// and nil (' ') for what callers blocked.
static POLICIES: Stmt<0> = Stmt::new(
    c"WITH RECURSIVE waiting AS (
        (SELECT d.policy_id FROM ff_engine.denied AS d ORDER BY d.policy_id LIMIT 1)
        UNION ALL
        SELECT (SELECT d.policy_id FROM ff_engine.denied AS d WHERE d.policy_id > w.policy_id ORDER BY d.policy_id LIMIT 1)
          FROM waiting AS w WHERE w.policy_id IS NOT NULL)
      SELECT w.policy_id,
             CASE WHEN EXISTS (SELECT FROM ff_engine.budget AS b WHERE b.budget_id = w.policy_id) THEN 'b'
                  WHEN EXISTS (SELECT FROM ff_engine.quota AS q WHERE q.quota_policy_id = w.policy_id) THEN 'q'
                  ELSE ' ' END
        FROM waiting AS w WHERE w.policy_id IS NOT NULL",
    [],
);

static PAGE: Stmt<6> = Stmt::new(
    c"SELECT d.rank, d.created_at, d.execution_id FROM ff_engine.denied AS d
       WHERE d.policy_id = $1 AND (d.rank, d.created_at, d.execution_id) > ($2, $3, $4) AND NOT d.offered
         AND (d.recheck_at IS NULL OR d.recheck_at <= $5)
       ORDER BY d.rank, d.created_at, d.execution_id LIMIT $6",
    [
        UUIDOID,
        INT2OID,
        TIMESTAMPTZOID,
        UUIDOID,
        TIMESTAMPTZOID,
        INT8OID,
    ],
);

static ON_THEIR_WAY: Stmt<2> = Stmt::new(
    c"SELECT count(*) FROM ff_engine.denied AS d WHERE d.policy_id = $1 AND d.offered AND d.recheck_at > $2",
    [UUIDOID, TIMESTAMPTZOID],
);

/// Executions that wait for a policy which no longer applies to them.
static ESTRANGED: Stmt<2> = Stmt::new(
    c"SELECT d.rank, d.created_at, d.execution_id FROM ff_engine.denied AS d
        JOIN ff_engine.execution AS e ON e.execution_id = d.execution_id
        JOIN ff_engine.lane AS l ON l.lane_id = e.lane_id
        JOIN ff_engine.namespace AS n ON n.namespace_id = e.namespace_id
       WHERE d.policy_id = $1 AND NOT d.offered
         AND NOT EXISTS (SELECT FROM ff_engine.attachment AS a WHERE a.policy_id = $1
                            AND (a.target_type, a.target_id) IN (('execution', e.execution_id::text), ('flow', e.flow_id::text),
                                 ('lane', l.name), ('namespace', n.name), ('global', '')))
       ORDER BY d.rank, d.created_at, d.execution_id LIMIT $2",
    [UUIDOID, INT8OID],
);

fn key(d: &Denied) -> [Arg; 4] {
    let p = d.position;
    [
        d.policy.into(),
        p.rank.into(),
        p.created_at.0.into(),
        p.id.into(),
    ]
}

/// Notes executions.
pub fn insert(db: &Db, entries: &[Denied]) {
    let row = |d: &Denied| {
        let [policy, rank, created_at, id] = key(d);
        let recheck_at = d.recheck_at.map(|at| at.0).into();
        [policy, rank, created_at, id, recheck_at, d.offered.into()]
    };
    let rows: Vec<[Arg; 6]> = entries.iter().map(row).collect();
    INSERT.run(db, &rows);
}

/// Forgets executions.
pub fn delete(db: &Db, entries: &[Denied]) {
    let rows: Vec<[Arg; 4]> = entries.iter().map(key).collect();
    DELETE.run(db, &rows);
}

/// What holds executions back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A budget.
    Budget(Uuid),
    /// A quota policy.
    Quota(Uuid),
    /// A caller blocked them.
    Caller,
}

impl Holder {
    /// As the table names it.
    pub fn id(self) -> Uuid {
        match self {
            Holder::Budget(id) | Holder::Quota(id) => id,
            Holder::Caller => Uuid::nil(),
        }
    }
}

/// All that hold executions back, ascending.
pub fn holders(db: &Db) -> Vec<Holder> {
    let holder = |r: Row| match r.get::<String>(2).as_str() {
        "b" => Holder::Budget(r.get(1)),
        "q" => Holder::Quota(r.get(1)),
        _ => Holder::Caller,
    };
    POLICIES.run(db, []).iter().map(holder).collect()
}

/// Executions of a holder that may be looked at by `now`, in claim order after a position.
pub fn page(db: &Db, holder: Holder, after: Position, now: Instant, limit: i64) -> Vec<Position> {
    let args = [
        holder.id().into(),
        after.rank.into(),
        after.created_at.0.into(),
        after.id.into(),
        now.0.into(),
        limit.into(),
    ];
    PAGE.run(db, args).iter().map(position).collect()
}

fn position(r: Row) -> Position {
    Position {
        rank: r.get(1),
        created_at: Instant(r.get(2)),
        id: r.get(3),
    }
}

/// Executions that a quota has let go and that nobody has claimed yet.
pub fn on_their_way(db: &Db, quota: Uuid, now: Instant) -> i64 {
    let rows = ON_THEIR_WAY.run(db, [quota.into(), now.0.into()]);
    rows.first().map_or(0, |r| r.get(1))
}

/// Executions that wait for a policy which no longer applies to them, in claim order.
pub fn estranged(db: &Db, policy: Uuid, limit: i64) -> Vec<Position> {
    let rows = ESTRANGED.run(db, [policy.into(), limit.into()]);
    rows.iter().map(position).collect()
}
