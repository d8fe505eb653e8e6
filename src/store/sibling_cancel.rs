//! `ff_engine.sibling_cancel`: fired groups whose remaining upstreams are to be cancelled.

use pgrx::pg_sys::BuiltinOid::*;
use uuid::Uuid;

use crate::model::time::{Instant, SECOND};
use crate::pg::jsonb::Jsonb;
use crate::pg::spi::{Db, Row, Stmt};

use super::binding;

static LOCK: Stmt<2> = Stmt::new(
    c"SELECT true FROM ff_engine.sibling_cancel AS s WHERE s.flow_id = $1 AND s.downstream_id = $2 FOR UPDATE SKIP LOCKED",
    [UUIDOID, UUIDOID],
);

static QUEUED: Stmt<2> = Stmt::new(
    c"SELECT true FROM ff_engine.sibling_cancel AS s WHERE s.flow_id = $1 AND s.downstream_id = $2",
    [UUIDOID, UUIDOID],
);

/// Oldest first, those that nobody else works on.
static DUE: Stmt<6> = Stmt::new(
    c"SELECT s.flow_id, s.downstream_id
        FROM ff_engine.sibling_cancel AS s
        LEFT JOIN ff_engine.flow AS f ON f.flow_id = s.flow_id
       WHERE s.queued_at <= $1
         AND (f.flow_id IS NULL
              OR f.partition_key BETWEEN $3 AND $4
                 AND ($5 IS NULL OR f.namespace_id = ANY ($5))
                 AND ($6 IS NULL OR coalesce(f.tags, '{}'::jsonb) @> $6))
       ORDER BY s.queued_at, s.downstream_id LIMIT $2
         FOR UPDATE OF s SKIP LOCKED",
    [
        TIMESTAMPTZOID,
        INT8OID,
        INT2OID,
        INT2OID,
        INT4ARRAYOID,
        JSONBOID,
    ],
);

/// What is not served soon waits for the reconciler's pause: somebody holds a sibling.
static NEXT: Stmt<1> = Stmt::new(
    c"SELECT s.queued_at FROM ff_engine.sibling_cancel AS s WHERE s.queued_at > $1 ORDER BY s.queued_at LIMIT 1",
    [TIMESTAMPTZOID],
);

static DELETE: Stmt<2> = Stmt::new(
    c"DELETE FROM ff_engine.sibling_cancel AS s WHERE s.flow_id = $1 AND s.downstream_id = $2",
    [UUIDOID, UUIDOID],
);

/// The upstreams of the open edges of a child, those first that are to be cancelled. An edge that has not been applied
/// yet, or is open, keeps its upstream if the child at its end still waits for a verdict.
static SIBLINGS: Stmt<2> = Stmt::new(
    c"SELECT s.upstream_id, s.state
        FROM (SELECT d.upstream_id, d.ordinal,
                     CASE WHEN e.execution_id IS NULL THEN 'n'::\"char\"
                          WHEN ff_engine.lifecycle(e.state) = 't' THEN 't'
                          WHEN EXISTS (SELECT FROM ff_engine.edge AS o
                                         JOIN ff_engine.execution AS c ON c.execution_id = o.downstream_id
                                         LEFT JOIN ff_engine.edge_group AS g ON g.downstream_id = o.downstream_id
                                        WHERE o.upstream_id = d.upstream_id AND o.downstream_id <> d.downstream_id
                                          AND o.edge_state IN ('pending', 'unsatisfied')
                                          AND coalesce(g.group_state, 'pending') = 'pending'
                                          AND ff_engine.lifecycle(c.state) <> 't') THEN 's'
                          ELSE 'l' END AS state
                FROM ff_engine.edge AS d
                LEFT JOIN ff_engine.execution AS e ON e.execution_id = d.upstream_id
               WHERE d.downstream_id = $1 AND d.edge_state = 'unsatisfied') AS s
       ORDER BY s.state <> 'l', s.ordinal LIMIT $2",
    [UUIDOID, INT8OID],
);

/// How long a request wakes the background worker.
const FRESH: i64 = SECOND;

/// How a sibling stands, unlocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There is no such execution.
    Gone,
    /// It has ended.
    Ended,
    /// Another child still waits for it.
    Shared,
    /// It is to be cancelled.
    Live,
}

/// Locks a request unless somebody else has it; whether it is locked now.
pub fn lock(db: &Db, flow: Uuid, child: Uuid) -> bool {
    !LOCK.run(db, [flow.into(), child.into()]).is_empty()
}

/// Whether there is a request, unlocked.
pub fn queued(db: &Db, flow: Uuid, child: Uuid) -> bool {
    !QUEUED.run(db, [flow.into(), child.into()]).is_empty()
}

/// Locks the oldest requests that nobody else has: flow and child.
pub fn due(
    db: &Db,
    queued_until: Instant,
    limit: i64,
    (low, high): (i16, i16),
    namespaces: Option<&[i32]>,
    tags: Option<&Jsonb>,
) -> Vec<(Uuid, Uuid)> {
    let args = [
        queued_until.0.into(),
        limit.into(),
        low.into(),
        high.into(),
        binding::among(namespaces),
        tags.into(),
    ];
    let row = |r: Row| (r.get(1), r.get(2));
    DUE.run(db, args).iter().map(row).collect()
}

/// When a request was made that nobody has served in vain.
pub fn next(db: &Db, now: Instant) -> Option<Instant> {
    let rows = NEXT.run(db, [now.minus(FRESH).0.into()]);
    rows.first().map(|r| Instant(r.get(1)))
}

/// Deletes a request; whether there was one.
pub fn delete(db: &Db, flow: Uuid, child: Uuid) -> bool {
    !DELETE.run(db, [flow.into(), child.into()]).is_empty()
}

/// The siblings of a fired group, those to be cancelled first.
pub fn siblings(db: &Db, child: Uuid, limit: i64) -> Vec<(Uuid, Standing)> {
    let standing = |letter: i8| match letter as u8 {
        b'n' => Standing::Gone,
        b't' => Standing::Ended,
        b's' => Standing::Shared,
        _ => Standing::Live,
    };
    let row = |r: Row| (r.get(1), standing(r.get(2)));
    SIBLINGS
        .run(db, [child.into(), limit.into()])
        .iter()
        .map(row)
        .collect()
}
