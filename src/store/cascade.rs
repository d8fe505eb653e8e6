//! `ff_engine.cascade`: ended members whose edges are still to be resolved.

use pgrx::pg_sys::BuiltinOid::*;
use uuid::Uuid;

use super::edge::Ended;
use crate::model::time::Instant;
use crate::pg::array;
use crate::pg::spi::{Db, Row, Stmt};

static QUEUE: Stmt<4> = Stmt::new(
    c"INSERT INTO ff_engine.cascade (execution_id, partition_key, namespace_id, due_at)
      SELECT n.id, n.partition, n.namespace, $4 FROM unnest($1, $2, $3) AS n (id, partition, namespace)",
    [UUIDARRAYOID, INT4ARRAYOID, INT4ARRAYOID, TIMESTAMPTZOID],
);

static TAKE: Stmt<5> = Stmt::new(
    c"SELECT q.cascade_id, q.execution_id FROM ff_engine.cascade AS q
       WHERE q.due_at <= $1 AND q.partition_key BETWEEN $2 AND $3 AND ($4 IS NULL OR q.namespace_id = $4)
         AND ff_engine.admits(q.namespace_id)
       ORDER BY q.deferred, q.due_at, q.cascade_id LIMIT $5 FOR UPDATE SKIP LOCKED",
    [TIMESTAMPTZOID, INT2OID, INT2OID, INT4OID, INT8OID],
);

static DONE: Stmt<1> = Stmt::new(
    c"DELETE FROM ff_engine.cascade AS q WHERE q.cascade_id = ANY ($1)",
    [INT8ARRAYOID],
);

static DEFER: Stmt<2> = Stmt::new(
    c"UPDATE ff_engine.cascade AS q SET deferred = true, due_at = $2 WHERE q.cascade_id = ANY ($1)",
    [INT8ARRAYOID, TIMESTAMPTZOID],
);

static RETRY: Stmt<2> = Stmt::new(
    c"UPDATE ff_engine.cascade AS q
         SET tries = least(q.tries + 1, 30), deferred = false,
             due_at = $2 + least(2 ^ least(q.tries + 1, 10), 60) * interval '1 second'
       WHERE q.cascade_id = ANY ($1)",
    [INT8ARRAYOID, TIMESTAMPTZOID],
);

static ANY_DUE: Stmt<4> = Stmt::new(
    c"SELECT EXISTS (SELECT FROM ff_engine.cascade AS q
                      WHERE q.due_at <= $1 AND q.partition_key BETWEEN $2 AND $3 AND ($4 IS NULL OR q.namespace_id = $4)
                        AND ff_engine.admits(q.namespace_id))",
    [TIMESTAMPTZOID, INT2OID, INT2OID, INT4OID],
);

static QUEUED: Stmt<1> = Stmt::new(
    c"SELECT EXISTS (SELECT FROM ff_engine.cascade AS q WHERE q.execution_id = $1)",
    [UUIDOID],
);

/// What was looked at and left waits for the reconciler's pause.
static NEXT: Stmt<0> = Stmt::new(
    c"SELECT q.due_at FROM ff_engine.cascade AS q WHERE NOT q.deferred ORDER BY q.due_at LIMIT 1",
    [],
);

/// An entry of the queue, taken.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its number.
    pub number: i64,
    /// The member that has ended.
    pub execution: Uuid,
}

/// Which entries a run concerns.
#[derive(Clone, Copy)]
pub struct Only {
    /// Lowest and highest partition.
    pub partitions: (i16, i16),
    /// Only this namespace.
    pub namespace: Option<i32>,
}

/// Queues ended members.
pub fn queue(db: &Db, ended: &[Ended], now: Instant) {
    if ended.is_empty() {
        return;
    }
    QUEUE.run(
        db,
        [
            array::uuids(ended.iter().map(|e| e.id)),
            array::ints(ended.iter().map(|e| i32::from(e.partition))),
            array::ints(ended.iter().map(|e| e.namespace)),
            now.0.into(),
        ],
    );
    crate::pg::xact::due(now.0);
}

/// Takes due entries that nobody else holds, first those that nobody has looked at.
pub fn take(db: &Db, only: Only, now: Instant, limit: i64) -> Vec<Entry> {
    let (low, high) = only.partitions;
    let args = [
        now.0.into(),
        low.into(),
        high.into(),
        only.namespace.into(),
        limit.into(),
    ];
    let entry = |r: Row| Entry {
        number: r.get(1),
        execution: r.get(2),
    };
    TAKE.run(db, args).iter().map(entry).collect()
}

fn numbers(entries: &[Entry]) -> crate::pg::spi::Arg {
    array::array(INT8OID, entries.iter().map(|e| e.number.into()))
}

/// Nothing is left to do for entries.
pub fn done(db: &Db, entries: &[Entry]) {
    if !entries.is_empty() {
        DONE.run(db, [numbers(entries)]);
    }
}

/// Children of entries were busy.
pub fn defer(db: &Db, entries: &[Entry], now: Instant) {
    if !entries.is_empty() {
        DEFER.run(db, [numbers(entries), now.0.into()]);
    }
}

/// Children of entries failed: again later, and later still each time.
pub fn retry(db: &Db, entries: &[Entry], now: Instant) {
    if !entries.is_empty() {
        RETRY.run(db, [numbers(entries), now.0.into()]);
    }
}

/// Whether due entries are left.
pub fn any_due(db: &Db, only: Only, now: Instant) -> bool {
    let (low, high) = only.partitions;
    let args = [now.0.into(), low.into(), high.into(), only.namespace.into()];
    ANY_DUE.run(db, args).first().is_some_and(|r| r.get(1))
}

/// Whether an ended member is queued.
pub fn queued(db: &Db, execution: Uuid) -> bool {
    let rows = QUEUED.run(db, [execution.into()]);
    rows.first().is_some_and(|r| r.get(1))
}

/// When the next entry is due that nobody has looked at in vain.
pub fn next(db: &Db) -> Option<Instant> {
    NEXT.run(db, []).first().map(|r| Instant(r.get(1)))
}
