//! `ff_engine.unrouted`: executions that wait for a worker which is not there.

use pgrx::pg_sys::BuiltinOid::*;
use uuid::Uuid;

use super::statement::Write;
use crate::model::due::{Position, Unrouted};
use crate::model::time::Instant;
use crate::pg::spi::{Arg, Db, Stmt};

static INSERT: Write<5> = Write::insert(
    c"unrouted",
    [
        ("queue_id", INT4OID),
        ("rank", INT2OID),
        ("created_at", TIMESTAMPTZOID),
        ("execution_id", UUIDOID),
        ("recheck_at", TIMESTAMPTZOID),
    ],
);

static DELETE: Write<4> = Write::delete(
    c"unrouted",
    [
        ("queue_id", INT4OID),
        ("rank", INT2OID),
        ("created_at", TIMESTAMPTZOID),
        ("execution_id", UUIDOID),
    ],
);

/// Queues with such executions, each found by one step along the index, whose requirement a live worker covers.
static COVERED: Stmt<2> = Stmt::new(
    c"WITH RECURSIVE waiting AS (
        (SELECT u.queue_id FROM ff_engine.unrouted AS u ORDER BY u.queue_id LIMIT 1)
        UNION ALL
        SELECT (SELECT u.queue_id FROM ff_engine.unrouted AS u WHERE u.queue_id > p.queue_id ORDER BY u.queue_id LIMIT 1)
          FROM waiting AS p WHERE p.queue_id IS NOT NULL)
      SELECT q.queue_id
        FROM waiting AS p
        JOIN ff_engine.queue AS q ON q.queue_id = p.queue_id
        JOIN ff_engine.lane AS l ON l.lane_id = q.lane_id
       WHERE ($2 IS NULL OR q.namespace_id = $2)
         AND EXISTS (SELECT FROM ff_engine.worker AS w
                      WHERE w.namespace_id = q.namespace_id AND w.expires_at > $1
                        AND l.name = ANY (w.lanes) AND q.required <@ w.capabilities)
       ORDER BY q.queue_id",
    [TIMESTAMPTZOID, INT4OID],
);

static DUE: Stmt<6> = Stmt::new(
    c"SELECT u.rank, u.created_at, u.execution_id FROM ff_engine.unrouted AS u
       WHERE u.queue_id = $1 AND (u.rank, u.created_at, u.execution_id) > ($2, $3, $4)
         AND (u.recheck_at IS NULL OR u.recheck_at <= $5)
       ORDER BY u.rank, u.created_at, u.execution_id LIMIT $6",
    [
        INT4OID,
        INT2OID,
        TIMESTAMPTZOID,
        UUIDOID,
        TIMESTAMPTZOID,
        INT8OID,
    ],
);

fn key(u: &Unrouted) -> [Arg; 4] {
    let p = u.position;
    [
        u.queue.into(),
        p.rank.into(),
        p.created_at.0.into(),
        p.id.into(),
    ]
}

/// Notes executions.
pub fn insert(db: &Db, entries: &[Unrouted]) {
    let rows: Vec<[Arg; 5]> = entries
        .iter()
        .map(|u| {
            let [queue, rank, created_at, id] = key(u);
            let recheck_at = u.recheck_at.map(|at| at.0).into();
            [queue, rank, created_at, id, recheck_at]
        })
        .collect();
    INSERT.run(db, &rows);
}

/// Forgets executions.
pub fn delete(db: &Db, entries: &[Unrouted]) {
    let rows: Vec<[Arg; 4]> = entries.iter().map(key).collect();
    DELETE.run(db, &rows);
}

/// Queues whose requirement a live worker of their lane and namespace covers, of one namespace if given.
pub fn covered(db: &Db, now: Instant, namespace: Option<i32>) -> Vec<i32> {
    let rows = COVERED.run(db, [now.0.into(), namespace.into()]);
    rows.iter().map(|r| r.get(1)).collect()
}

/// Executions of a queue that may be looked at, in claim order after a position.
pub fn due(db: &Db, queue: i32, after: Position, now: Instant, limit: i64) -> Vec<Position> {
    let args = [
        queue.into(),
        after.rank.into(),
        after.created_at.0.into(),
        after.id.into(),
        now.0.into(),
        limit.into(),
    ];
    let position = |r: crate::pg::spi::Row| Position {
        rank: r.get(1),
        created_at: Instant(r.get(2)),
        id: r.get::<Uuid>(3),
    };
    DUE.run(db, args).iter().map(position).collect()
}
