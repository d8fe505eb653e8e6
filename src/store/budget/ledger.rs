//! `ff_engine.budget_ledger` and `ff_engine.budget_dedup`: who caused which spend, and which reports were applied.

use pgrx::pg_sys::BuiltinOid::*;
use uuid::Uuid;

use crate::model::budget::Amounts;
use crate::model::time::Instant;
use crate::pg::array;
use crate::pg::spi::{Arg, Db, Stmt};

static CONSUME: Stmt<4> = Stmt::new(
    c"INSERT INTO ff_engine.budget_dedup AS d (budget_id, key, applied_at, expires_at) VALUES ($1, $2, $3, $4)
      ON CONFLICT (budget_id, key) DO UPDATE SET applied_at = $3, expires_at = $4 WHERE d.expires_at <= $3",
    [UUIDOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID],
);

static FORGET: Stmt<2> = Stmt::new(
    c"DELETE FROM ff_engine.budget_dedup AS d USING (
        SELECT x.budget_id, x.key FROM ff_engine.budget_dedup AS x
         WHERE x.expires_at <= $1 ORDER BY x.expires_at LIMIT $2 FOR UPDATE SKIP LOCKED) AS due
       WHERE d.budget_id = due.budget_id AND d.key = due.key",
    [TIMESTAMPTZOID, INT8OID],
);

static ATTRIBUTE: Stmt<5> = Stmt::new(
    c"INSERT INTO ff_engine.budget_ledger AS l (budget_id, execution_id, dimension, period, amount)
      SELECT $1, $2, n.dimension, $3, n.amount FROM unnest($4, $5) AS n (dimension, amount) ORDER BY n.dimension COLLATE \"C\"
      ON CONFLICT (budget_id, execution_id, dimension) DO UPDATE
         SET amount = excluded.amount + CASE WHEN l.period = excluded.period THEN l.amount ELSE 0 END, period = excluded.period",
    [UUIDOID, UUIDOID, INT8OID, TEXTARRAYOID, INT8ARRAYOID],
);

static LOCK: Stmt<2> = Stmt::new(
    c"SELECT l.dimension, l.period, l.amount FROM ff_engine.budget_ledger AS l
       WHERE l.budget_id = $1 AND l.execution_id = $2 ORDER BY l.dimension FOR UPDATE",
    [UUIDOID, UUIDOID],
);

static ERASE: Stmt<2> = Stmt::new(
    c"DELETE FROM ff_engine.budget_ledger AS l WHERE l.budget_id = $1 AND l.execution_id = $2",
    [UUIDOID, UUIDOID],
);

/// Consumes the key of a report; false if a live one stands there. Waits for a session that is consuming it.
pub fn consume(db: &Db, budget: Uuid, key: &str, now: Instant, until: Instant) -> bool {
    let args = [budget.into(), key.into(), now.0.into(), until.0.into()];
    !CONSUME.run(db, args).is_empty()
}

/// Forgets keys past their lifetime, oldest first; how many.
pub fn forget_keys(db: &Db, now: Instant, limit: i64) -> usize {
    FORGET.run(db, [now.0.into(), limit.into()]).len()
}

/// Adds spend to what an execution has caused in this period.
pub fn attribute(db: &Db, budget: Uuid, execution: Uuid, period: i64, amounts: &Amounts) {
    let values = amounts.values().map(|amount| Arg::from(*amount));
    let args = [
        budget.into(),
        execution.into(),
        period.into(),
        array::texts(amounts.keys().map(String::as_str)),
        array::array(INT8OID, values),
    ];
    ATTRIBUTE.run(db, args);
}

/// Locks what an execution has caused: dimension, period and amount.
pub fn lock(db: &Db, budget: Uuid, execution: Uuid) -> Vec<(String, i64, i64)> {
    let rows = LOCK.run(db, [budget.into(), execution.into()]);
    rows.iter()
        .map(|r| (r.get(1), r.get(2), r.get(3)))
        .collect()
}

/// Forgets what an execution has caused.
pub fn erase(db: &Db, budget: Uuid, execution: Uuid) {
    ERASE.run(db, [budget.into(), execution.into()]);
}
