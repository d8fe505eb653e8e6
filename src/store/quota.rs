//! `ff_engine.quota` with its tokens and slots: rows that are free or not.

use pgrx::pg_sys::BuiltinOid::*;
use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::model::quota::{Limits, Quota};
use crate::model::time::Instant;
use crate::pg::array;
use crate::pg::spi::{Arg, Db, Row, Rows, Stmt};

macro_rules! columns {
    () => {
        "q.quota_policy_id, q.max_requests_per_window, q.window_us, q.max_concurrent, q.jitter_us"
    };
}

static LOAD: Stmt<1> = Stmt::new(
    sql!(
        "SELECT ",
        columns!(),
        " FROM ff_engine.quota AS q WHERE q.quota_policy_id = ANY ($1) ORDER BY q.quota_policy_id"
    ),
    [UUIDARRAYOID],
);

static LOCK: Stmt<1> = Stmt::new(
    sql!(
        "SELECT ",
        columns!(),
        " FROM ff_engine.quota AS q WHERE q.quota_policy_id = $1 FOR UPDATE"
    ),
    [UUIDOID],
);

static INSERT: Stmt<7> = Stmt::new(
    c"INSERT INTO ff_engine.quota (quota_policy_id, partition_key, max_requests_per_window, window_us, max_concurrent,
             jitter_us, created_at, updated_at)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $7) ON CONFLICT (quota_policy_id) DO NOTHING",
    [
        UUIDOID,
        INT2OID,
        INT8OID,
        INT8OID,
        INT4OID,
        INT8OID,
        TIMESTAMPTZOID,
    ],
);

static UPDATE: Stmt<6> = Stmt::new(
    c"UPDATE ff_engine.quota AS q
         SET max_requests_per_window = $2, window_us = $3, max_concurrent = $4, jitter_us = $5, updated_at = $6
       WHERE q.quota_policy_id = $1",
    [
        UUIDOID,
        INT8OID,
        INT8OID,
        INT4OID,
        INT8OID,
        TIMESTAMPTZOID,
    ],
);

/// What a start meets: whether the ring of tokens is there, its longest-rested token, and whether a slot is free.
static PEEK: Stmt<2> = Stmt::new(
    c"SELECT (SELECT t.last_used_at FROM ff_engine.quota_token AS t
               WHERE t.quota_policy_id = $1 AND t.dimension = $2 ORDER BY t.last_used_at LIMIT 1),
             EXISTS (SELECT FROM ff_engine.quota_slot AS s WHERE s.quota_policy_id = $1 AND s.execution_id IS NULL)",
    [UUIDOID, TEXTOID],
);

static MAKE_RING: Stmt<3> = Stmt::new(
    c"INSERT INTO ff_engine.quota_token (quota_policy_id, dimension, number, last_used_at)
      SELECT $1, $2, n, '-infinity' FROM generate_series(1, $3::int) AS n ON CONFLICT DO NOTHING",
    [UUIDOID, TEXTOID, INT8OID],
);

static TAKE_TOKEN: Stmt<5> = Stmt::new(
    c"UPDATE ff_engine.quota_token AS t SET last_used_at = $4, execution_id = $5
        FROM (SELECT o.number, o.last_used_at FROM ff_engine.quota_token AS o
               WHERE o.quota_policy_id = $1 AND o.dimension = $2 AND o.last_used_at <= $3
               ORDER BY o.last_used_at LIMIT 1 FOR UPDATE SKIP LOCKED) AS oldest
       WHERE t.quota_policy_id = $1 AND t.dimension = $2 AND t.number = oldest.number
      RETURNING t.number, oldest.last_used_at",
    [UUIDOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, UUIDOID],
);

static GIVE_TOKEN: Stmt<4> = Stmt::new(
    c"UPDATE ff_engine.quota_token AS t SET last_used_at = $4, execution_id = NULL
       WHERE t.quota_policy_id = $1 AND t.dimension = $2 AND t.number = $3",
    [UUIDOID, TEXTOID, INT4OID, TIMESTAMPTZOID],
);

static TAKE_SLOT: Stmt<3> = Stmt::new(
    c"UPDATE ff_engine.quota_slot AS s SET execution_id = $2, acquired_at = $3
       WHERE s.quota_policy_id = $1 AND s.number = (
             SELECT o.number FROM ff_engine.quota_slot AS o
              WHERE o.quota_policy_id = $1 AND o.execution_id IS NULL LIMIT 1 FOR UPDATE SKIP LOCKED)",
    [UUIDOID, UUIDOID, TIMESTAMPTZOID],
);

static HOLDS: Stmt<2> = Stmt::new(
    c"SELECT FROM ff_engine.quota_slot AS s WHERE s.quota_policy_id = $1 AND s.execution_id = $2",
    [UUIDOID, UUIDOID],
);

static STARTED: Stmt<4> = Stmt::new(
    c"SELECT FROM ff_engine.quota_token AS t
       WHERE t.quota_policy_id = $1 AND t.execution_id = $2 AND t.dimension = $3 AND t.last_used_at > $4 LIMIT 1",
    [UUIDOID, UUIDOID, TEXTOID, TIMESTAMPTZOID],
);

static LOCK_SLOT: Stmt<2> = Stmt::new(
    c"SELECT s.number FROM ff_engine.quota_slot AS s WHERE s.quota_policy_id = $1 AND s.execution_id = $2 FOR UPDATE",
    [UUIDOID, UUIDOID],
);

static FREE_SLOT: Stmt<2> = Stmt::new(
    c"UPDATE ff_engine.quota_slot AS s SET execution_id = NULL, acquired_at = NULL
        FROM ff_engine.quota AS q
       WHERE s.quota_policy_id = $1 AND s.execution_id = $2 AND q.quota_policy_id = $1 AND q.surplus = 0",
    [UUIDOID, UUIDOID],
);

static LESS_SURPLUS: Stmt<1> = Stmt::new(
    c"UPDATE ff_engine.quota AS q SET surplus = q.surplus - 1 WHERE q.quota_policy_id = $1 AND q.surplus > 0",
    [UUIDOID],
);

static DROP_SLOT: Stmt<2> = Stmt::new(
    c"DELETE FROM ff_engine.quota_slot AS s WHERE s.quota_policy_id = $1 AND s.execution_id = $2",
    [UUIDOID, UUIDOID],
);

static LOCK_SLOTS: Stmt<1> = Stmt::new(
    c"SELECT s.execution_id IS NULL FROM ff_engine.quota_slot AS s WHERE s.quota_policy_id = $1 ORDER BY s.number FOR UPDATE",
    [UUIDOID],
);

static DROP_FREE_SLOTS: Stmt<2> = Stmt::new(
    c"DELETE FROM ff_engine.quota_slot AS s USING (
        SELECT o.number FROM ff_engine.quota_slot AS o WHERE o.quota_policy_id = $1 AND o.execution_id IS NULL
         ORDER BY o.number DESC LIMIT $2) AS surplus
       WHERE s.quota_policy_id = $1 AND s.number = surplus.number",
    [UUIDOID, INT8OID],
);

static ADD_SLOTS: Stmt<3> = Stmt::new(
    c"INSERT INTO ff_engine.quota_slot (quota_policy_id, number)
      SELECT $1, n FROM generate_series(1, $2::int) AS n
       WHERE NOT EXISTS (SELECT FROM ff_engine.quota_slot AS s WHERE s.quota_policy_id = $1 AND s.number = n)
       ORDER BY n LIMIT $3 ON CONFLICT DO NOTHING",
    [UUIDOID, INT8OID, INT8OID],
);

static SET_SURPLUS: Stmt<2> = Stmt::new(
    c"UPDATE ff_engine.quota AS q SET surplus = $2 WHERE q.quota_policy_id = $1 AND q.surplus <> $2",
    [UUIDOID, INT4OID],
);

/// Of every ring: what was used longest ago goes first, so those that stay rest longest.
static DROP_TOKENS: Stmt<2> = Stmt::new(
    c"DELETE FROM ff_engine.quota_token AS t USING (
        SELECT o.dimension, o.number, row_number() OVER (PARTITION BY o.dimension ORDER BY o.last_used_at DESC, o.number) AS place
          FROM ff_engine.quota_token AS o WHERE o.quota_policy_id = $1) AS ring
       WHERE t.quota_policy_id = $1 AND t.dimension = ring.dimension AND t.number = ring.number AND ring.place > $2",
    [UUIDOID, INT8OID],
);

static ADD_TOKENS: Stmt<2> = Stmt::new(
    c"INSERT INTO ff_engine.quota_token (quota_policy_id, dimension, number, last_used_at)
      SELECT $1, d.dimension, n.number, '-infinity'
        FROM (SELECT t.dimension, count(*) AS tokens FROM ff_engine.quota_token AS t
               WHERE t.quota_policy_id = $1 GROUP BY t.dimension HAVING count(*) < $2) AS d
       CROSS JOIN LATERAL (
             SELECT s AS number FROM generate_series(1, 2 * $2::int) AS s
              WHERE NOT EXISTS (SELECT FROM ff_engine.quota_token AS o
                                 WHERE o.quota_policy_id = $1 AND o.dimension = d.dimension AND o.number = s)
              ORDER BY s LIMIT $2 - d.tokens) AS n
      ON CONFLICT DO NOTHING",
    [UUIDOID, INT8OID],
);

static FREE: Stmt<1> = Stmt::new(
    c"SELECT count(*) FROM ff_engine.quota_slot AS s WHERE s.quota_policy_id = $1 AND s.execution_id IS NULL",
    [UUIDOID],
);

static RESTED: Stmt<4> = Stmt::new(
    c"SELECT count(*) FROM (SELECT FROM ff_engine.quota_token AS t
        WHERE t.quota_policy_id = $1 AND t.dimension = $2 AND t.last_used_at <= $3 LIMIT $4) AS rested",
    [UUIDOID, TEXTOID, TIMESTAMPTZOID, INT8OID],
);

static PAGE: Stmt<2> = Stmt::new(
    c"SELECT q.quota_policy_id FROM ff_engine.quota AS q WHERE q.quota_policy_id > $1 ORDER BY q.quota_policy_id LIMIT $2",
    [UUIDOID, INT8OID],
);

/// Holders of slots that should not hold them: gone, ended, or neither running nor reserved for too long.
static ORPHANS: Stmt<2> = Stmt::new(
    c"SELECT s.execution_id FROM ff_engine.quota_slot AS s
        LEFT JOIN ff_engine.execution AS e ON e.execution_id = s.execution_id
       WHERE s.quota_policy_id = $1 AND s.execution_id IS NOT NULL
         AND CASE WHEN e.execution_id IS NULL THEN true
                  WHEN ff_engine.lifecycle(e.state) = 't' THEN true
                  ELSE ff_engine.lifecycle(e.state) <> 'a' AND (e.rare -> 'grant') IS NULL AND s.acquired_at <= $2 END
       ORDER BY s.execution_id",
    [UUIDOID, TIMESTAMPTZOID],
);

static SHAPE: Stmt<1> = Stmt::new(
    c"SELECT (SELECT count(*) FROM ff_engine.quota_slot AS s WHERE s.quota_policy_id = q.quota_policy_id) = q.max_concurrent + q.surplus
             AND NOT EXISTS (SELECT FROM ff_engine.quota_token AS t WHERE t.quota_policy_id = q.quota_policy_id
                              GROUP BY t.dimension HAVING count(*) <> q.max_requests_per_window)
        FROM ff_engine.quota AS q WHERE q.quota_policy_id = $1",
    [UUIDOID],
);

fn decode(r: Row) -> Quota {
    Quota {
        id: r.get(1),
        limits: Limits {
            requests: r.get(2),
            window_us: r.get(3),
            concurrent: r.get(4),
            jitter_us: r.get(5),
        },
    }
}

/// `quota_policy_not_found`.
pub fn not_found(id: Uuid) -> Error {
    Error::new(Kind::QuotaPolicyNotFound).with("quota_policy_id", id.to_string())
}

/// Those of the policies that exist.
pub fn find(db: &Db, ids: &[Uuid]) -> Vec<Quota> {
    let rows = LOAD.run(db, [array::uuids(ids.iter().copied())]);
    rows.iter().map(decode).collect()
}

/// Policies by id, ascending, without locks.
///
/// # Errors
/// `quota_policy_not_found` for the first that is missing.
pub fn load(db: &Db, ids: &[Uuid]) -> Result<Vec<Quota>> {
    let found = find(db, ids);
    match ids.iter().find(|id| !found.iter().any(|q| q.id == **id)) {
        Some(missing) => Err(not_found(*missing)),
        None => Ok(found),
    }
}

/// Locks all slots of a policy, then its row: the order in which slots that fall free lock them too. How many slots
/// are free, and how many there are.
///
/// # Errors
/// `quota_policy_not_found`.
pub fn lock(db: &Db, id: Uuid) -> Result<(Quota, usize, usize)> {
    let slots = LOCK_SLOTS.run(db, [id.into()]);
    let free = slots.iter().filter(|r| r.get(1)).count();
    let found = LOCK.run(db, [id.into()]).first().map(decode);
    Ok((found.ok_or_else(|| not_found(id))?, free, slots.len()))
}

fn limits(l: &Limits) -> [Arg; 4] {
    [
        l.requests.into(),
        l.window_us.into(),
        l.concurrent.into(),
        l.jitter_us.into(),
    ]
}

/// Makes a policy; false if its id is in use.
pub fn insert(db: &Db, quota: &Quota, partition: u8, now: Instant) -> bool {
    let [requests, window, concurrent, jitter] = limits(&quota.limits);
    let args = [
        quota.id.into(),
        i16::from(partition).into(),
        requests,
        window,
        concurrent,
        jitter,
        now.0.into(),
    ];
    !INSERT.run(db, args).is_empty()
}

/// Changes the limits of a locked policy.
pub fn update(db: &Db, quota: &Quota, now: Instant) {
    let [requests, window, concurrent, jitter] = limits(&quota.limits);
    let args = [
        quota.id.into(),
        requests,
        window,
        concurrent,
        jitter,
        now.0.into(),
    ];
    UPDATE.run(db, args);
}

/// When the longest-rested token of a ring was used, none without a ring; and whether a slot is free.
pub fn peek(db: &Db, id: Uuid, dimension: &str) -> (Option<Instant>, bool) {
    let rows = PEEK.run(db, [id.into(), dimension.into()]);
    rows.first().map_or((None, false), |r| {
        (r.get::<Option<i64>>(1).map(Instant), r.get(2))
    })
}

/// Makes the ring of a dimension.
pub fn make_ring(db: &Db, quota: &Quota, dimension: &str) {
    let args = [
        quota.id.into(),
        dimension.into(),
        quota.limits.requests.into(),
    ];
    MAKE_RING.run(db, args);
}

/// A token that was taken, and when it had been used before.
pub type Token = (i32, Instant);

/// Takes the longest-rested token that nobody else is taking.
pub fn take_token(
    db: &Db,
    quota: &Quota,
    dimension: &str,
    execution: Uuid,
    now: Instant,
) -> Option<Token> {
    let args = [
        quota.id.into(),
        dimension.into(),
        quota.limits.cutoff(now).0.into(),
        now.0.into(),
        execution.into(),
    ];
    let rows = TAKE_TOKEN.run(db, args);
    rows.first().map(|r| (r.get(1), Instant(r.get(2))))
}

/// Undoes the taking of a token.
pub fn give_token(db: &Db, quota: Uuid, dimension: &str, (number, used): Token) {
    let args = [quota.into(), dimension.into(), number.into(), used.0.into()];
    GIVE_TOKEN.run(db, args);
}

/// Takes a free slot that nobody else is taking.
pub fn take_slot(db: &Db, quota: Uuid, execution: Uuid, now: Instant) -> bool {
    let args = [quota.into(), execution.into(), now.0.into()];
    !TAKE_SLOT.run(db, args).is_empty()
}

/// Whether an execution holds a slot.
pub fn holds(db: &Db, quota: Uuid, execution: Uuid) -> bool {
    !HOLDS.run(db, [quota.into(), execution.into()]).is_empty()
}

/// Whether an execution has used a token of this dimension after an instant.
pub fn started(db: &Db, quota: Uuid, execution: Uuid, dimension: &str, after: Instant) -> bool {
    let args = [
        quota.into(),
        execution.into(),
        dimension.into(),
        after.0.into(),
    ];
    !STARTED.run(db, args).is_empty()
}

/// Frees the slot of an execution; whether it held one. A slot above the cap disappears.
pub fn free(db: &Db, quota: Uuid, execution: Uuid) -> bool {
    let key = || [quota.into(), execution.into()];
    if LOCK_SLOT.run(db, key()).is_empty() {
        return false;
    }
    if FREE_SLOT.run(db, key()).is_empty() {
        LESS_SURPLUS.run(db, [quota.into()]);
        DROP_SLOT.run(db, key());
    }
    true
}

/// Brings tokens and slots in step with the limits of a locked policy.
pub fn reshape(db: &Db, quota: &Quota, free: usize, slots: usize) {
    let (id, cap) = (quota.id, quota.limits.concurrent as usize);
    let busy = slots - free;
    if slots > cap {
        let unneeded = (slots - cap).min(free) as i64;
        DROP_FREE_SLOTS.run(db, [id.into(), unneeded.into()]);
    } else if slots < cap {
        let missing = (cap - slots) as i64;
        ADD_SLOTS.run(
            db,
            [id.into(), ((cap + slots) as i64).into(), missing.into()],
        );
    }
    let surplus = busy.saturating_sub(cap) as i32;
    SET_SURPLUS.run(db, [id.into(), surplus.into()]);
    let requests = quota.limits.requests;
    DROP_TOKENS.run(db, [id.into(), requests.into()]);
    if requests > 0 {
        ADD_TOKENS.run(db, [id.into(), requests.into()]);
    }
}

/// Whether tokens and slots are as many as the limits of a policy want.
pub fn in_shape(db: &Db, id: Uuid) -> bool {
    SHAPE.run(db, [id.into()]).first().is_some_and(|r| r.get(1))
}

fn count(rows: &Rows) -> i64 {
    rows.first().map_or(0, |r| r.get(1))
}

/// Slots that are free.
pub fn free_slots(db: &Db, id: Uuid) -> i64 {
    count(&FREE.run(db, [id.into()]))
}

/// Tokens that have rested long enough, up to a limit.
pub fn rested(db: &Db, quota: &Quota, dimension: &str, now: Instant, limit: i64) -> i64 {
    let args = [
        quota.id.into(),
        dimension.into(),
        quota.limits.cutoff(now).0.into(),
        limit.into(),
    ];
    count(&RESTED.run(db, args))
}

/// Policies in the order of their ids.
pub fn page(db: &Db, after: Uuid, limit: i64) -> Vec<Uuid> {
    let rows = PAGE.run(db, [after.into(), limit.into()]);
    rows.iter().map(|r| r.get(1)).collect()
}

/// Holders of slots of a policy whose execution is gone, has ended, or has been neither active nor reserved since.
pub fn orphans(db: &Db, id: Uuid, since: Instant) -> Vec<Uuid> {
    let rows = ORPHANS.run(db, [id.into(), since.0.into()]);
    rows.iter().map(|r| r.get(1)).collect()
}
