//! `ff_engine.cancel_backlog`, `ff_engine.cancel_backlog_member`: what cancelled flows still owe.
//!
//! Rows of a flow are written under the lock of its header, or of the flow while there is none.

use pgrx::pg_sys::BuiltinOid::*;
use uuid::Uuid;

use crate::model::time::{Instant, SECOND};
use crate::pg::array;
use crate::pg::jsonb::Jsonb;
use crate::pg::spi::{Db, Row, Stmt};
use crate::pg::xact;

use super::binding;

static OPEN: Stmt<3> = Stmt::new(
    c"INSERT INTO ff_engine.cancel_backlog (flow_id, grace_ends_at, queued_at) VALUES ($1, $2, $3)
      ON CONFLICT (flow_id) DO UPDATE SET grace_ends_at = least(cancel_backlog.grace_ends_at, excluded.grace_ends_at)",
    [UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID],
);

static OWE: Stmt<3> = Stmt::new(
    c"INSERT INTO ff_engine.cancel_backlog_member (flow_id, execution_id, due_at)
      SELECT $1, m.execution_id, $3 FROM unnest($2) AS m (execution_id) ORDER BY m.execution_id
      ON CONFLICT (flow_id, execution_id) DO NOTHING",
    [UUIDOID, UUIDARRAYOID, TIMESTAMPTZOID],
);

static LOCK: Stmt<1> = Stmt::new(
    c"SELECT true FROM ff_engine.cancel_backlog AS b WHERE b.flow_id = $1 FOR UPDATE",
    [UUIDOID],
);

static DUE: Stmt<6> = Stmt::new(
    c"SELECT b.flow_id, f.flow_id IS NULL
        FROM ff_engine.cancel_backlog AS b
        LEFT JOIN ff_engine.flow AS f ON f.flow_id = b.flow_id
       WHERE b.grace_ends_at <= $1
         AND (f.flow_id IS NULL
              OR f.partition_key BETWEEN $3 AND $4
                 AND ($5 IS NULL OR f.namespace_id = ANY ($5))
                 AND ($6 IS NULL OR coalesce(f.tags, '{}'::jsonb) @> $6))
       ORDER BY b.grace_ends_at, b.flow_id LIMIT $2
         FOR UPDATE OF b SKIP LOCKED",
    [
        TIMESTAMPTZOID,
        INT8OID,
        INT2OID,
        INT2OID,
        INT4ARRAYOID,
        JSONBOID,
    ],
);

static ANY_DUE: Stmt<5> = Stmt::new(
    c"SELECT EXISTS (
        SELECT FROM ff_engine.cancel_backlog AS b
          LEFT JOIN ff_engine.flow AS f ON f.flow_id = b.flow_id
         WHERE b.grace_ends_at <= $1
           AND (f.flow_id IS NULL
                OR f.partition_key BETWEEN $2 AND $3
                   AND ($4 IS NULL OR f.namespace_id = ANY ($4))
                   AND ($5 IS NULL OR coalesce(f.tags, '{}'::jsonb) @> $5))
           AND EXISTS (SELECT FROM ff_engine.cancel_backlog_member AS m WHERE m.flow_id = b.flow_id AND m.due_at <= $1))",
    [TIMESTAMPTZOID, INT2OID, INT2OID, INT4ARRAYOID, JSONBOID],
);

static MEMBERS: Stmt<3> = Stmt::new(
    c"SELECT m.execution_id FROM ff_engine.cancel_backlog_member AS m
       WHERE m.flow_id = $1 AND m.due_at <= $2 ORDER BY m.execution_id LIMIT $3",
    [UUIDOID, TIMESTAMPTZOID, INT8OID],
);

static OWED: Stmt<2> = Stmt::new(
    c"SELECT m.execution_id FROM ff_engine.cancel_backlog_member AS m WHERE m.flow_id = $1 ORDER BY m.execution_id LIMIT $2",
    [UUIDOID, INT8OID],
);

static COUNT: Stmt<1> = Stmt::new(
    c"SELECT count(*) FROM ff_engine.cancel_backlog_member AS m WHERE m.flow_id = $1",
    [UUIDOID],
);

static IS_OWED: Stmt<2> = Stmt::new(
    c"SELECT true FROM ff_engine.cancel_backlog_member AS m WHERE m.flow_id = $1 AND m.execution_id = $2",
    [UUIDOID, UUIDOID],
);

static SETTLE: Stmt<2> = Stmt::new(
    c"DELETE FROM ff_engine.cancel_backlog_member AS m WHERE m.flow_id = $1 AND m.execution_id = ANY ($2)",
    [UUIDOID, UUIDARRAYOID],
);

static POSTPONE: Stmt<4> = Stmt::new(
    c"UPDATE ff_engine.cancel_backlog_member AS m
         SET tries = m.tries + 1, due_at = $3 + least(2 ^ least(m.tries + 1, 6), $4) * interval '1 second'
       WHERE m.flow_id = $1 AND m.execution_id = ANY ($2)",
    [UUIDOID, UUIDARRAYOID, TIMESTAMPTZOID, INT8OID],
);

static CLOSE: Stmt<1> = Stmt::new(
    c"DELETE FROM ff_engine.cancel_backlog AS b
       WHERE b.flow_id = $1 AND NOT EXISTS (SELECT FROM ff_engine.cancel_backlog_member AS m WHERE m.flow_id = $1)
      RETURNING true",
    [UUIDOID],
);

static FORGET: Stmt<1> = Stmt::new(
    c"WITH members AS (DELETE FROM ff_engine.cancel_backlog_member AS m WHERE m.flow_id = $1)
      DELETE FROM ff_engine.cancel_backlog AS b WHERE b.flow_id = $1",
    [UUIDOID],
);

/// What is not handled soon after it has fallen due is held by somebody, and waits for the reconciler's pause.
static NEXT: Stmt<1> = Stmt::new(
    c"SELECT min(greatest(b.grace_ends_at, m.due_at))
        FROM ff_engine.cancel_backlog AS b JOIN ff_engine.cancel_backlog_member AS m ON m.flow_id = b.flow_id
       WHERE greatest(b.grace_ends_at, m.due_at) > $1",
    [TIMESTAMPTZOID],
);

/// How long a debt wakes the background worker.
const FRESH: i64 = 2 * SECOND;
/// Longest pause between two tries of one member, in seconds.
const LONGEST_PAUSE: i64 = 60;

/// Notes members that a flow owes, and until when an external canceller has a head start.
pub fn owe(db: &Db, flow: Uuid, members: &[Uuid], grace_ends_at: Instant, now: Instant) {
    OPEN.run(db, [flow.into(), grace_ends_at.0.into(), now.0.into()]);
    let members = array::uuids(members.iter().copied());
    OWE.run(db, [flow.into(), members, now.0.into()]);
    xact::due(grace_ends_at.0);
}

/// When the next debt falls due that nobody has looked at in vain.
pub fn next(db: &Db, now: Instant) -> Option<Instant> {
    let rows = NEXT.run(db, [now.minus(FRESH).0.into()]);
    rows.first()
        .and_then(|r| r.get::<Option<i64>>(1))
        .map(Instant)
}

/// Locks the header of a flow; whether there is one.
pub fn lock(db: &Db, flow: Uuid) -> bool {
    !LOCK.run(db, [flow.into()]).is_empty()
}

/// Locks headers past their grace, oldest first, that nobody else holds and a scope admits; true for those whose flow
/// is gone.
pub fn due(
    db: &Db,
    now: Instant,
    limit: i64,
    (low, high): (i16, i16),
    namespaces: Option<&[i32]>,
    tags: Option<&Jsonb>,
) -> Vec<(Uuid, bool)> {
    let args = [
        now.0.into(),
        limit.into(),
        low.into(),
        high.into(),
        binding::among(namespaces),
        tags.into(),
    ];
    let row = |r: Row| (r.get(1), r.get(2));
    DUE.run(db, args).iter().map(row).collect()
}

/// Whether members are owed whose next try has come.
pub fn any_due(
    db: &Db,
    now: Instant,
    (low, high): (i16, i16),
    namespaces: Option<&[i32]>,
    tags: Option<&Jsonb>,
) -> bool {
    let args = [
        now.0.into(),
        low.into(),
        high.into(),
        binding::among(namespaces),
        tags.into(),
    ];
    ANY_DUE.run(db, args).first().is_some_and(|r| r.get(1))
}

/// Members that a flow owes and whose next try has come, in ascending order.
pub fn members(db: &Db, flow: Uuid, now: Instant, limit: i64) -> Vec<Uuid> {
    let rows = MEMBERS.run(db, [flow.into(), now.0.into(), limit.into()]);
    rows.iter().map(|r| r.get(1)).collect()
}

/// Members that a flow owes.
pub fn owed(db: &Db, flow: Uuid, limit: i64) -> Vec<Uuid> {
    let rows = OWED.run(db, [flow.into(), limit.into()]);
    rows.iter().map(|r| r.get(1)).collect()
}

/// How many members a flow owes.
pub fn count(db: &Db, flow: Uuid) -> i64 {
    COUNT.run(db, [flow.into()]).first().map_or(0, |r| r.get(1))
}

/// Whether a flow owes a member.
pub fn owes(db: &Db, flow: Uuid, member: Uuid) -> bool {
    !IS_OWED.run(db, [flow.into(), member.into()]).is_empty()
}

/// Members are owed no longer.
pub fn settle(db: &Db, flow: Uuid, members: &[Uuid]) {
    SETTLE.run(db, [flow.into(), array::uuids(members.iter().copied())]);
}

/// Members could not be cancelled; each pause is twice as long as the one before.
pub fn postpone(db: &Db, flow: Uuid, members: &[Uuid], now: Instant) {
    let members = array::uuids(members.iter().copied());
    let args = [flow.into(), members, now.0.into(), LONGEST_PAUSE.into()];
    POSTPONE.run(db, args);
}

/// Deletes the header of a flow that owes nobody any more; whether it did.
pub fn close(db: &Db, flow: Uuid) -> bool {
    !CLOSE.run(db, [flow.into()]).is_empty()
}

/// Deletes all that is noted of a flow that is gone.
pub fn forget(db: &Db, flow: Uuid) {
    FORGET.run(db, [flow.into()]);
}
