//! `ff_engine.budget`: definitions, periods and breaches; its counters have a file of their own.

use pgrx::pg_sys::BuiltinOid::*;
use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::model::budget::{Action, Amounts, Budget, json};
use crate::model::reset::Every;
use crate::model::time::Instant;
use crate::pg::array;
use crate::pg::jsonb::Jsonb;
use crate::pg::spi::{Db, Row, Rows, Stmt};

pub mod ledger;
pub mod room;
pub mod usage;

macro_rules! columns {
    () => {
        "b.budget_id, b.enforcement_mode, b.on_hard_limit, b.on_soft_limit, b.hard_limits, b.soft_limits, b.stripes, \
         b.period, b.breached_at, b.soft_breached_at"
    };
}

static LOAD: Stmt<1> = Stmt::new(
    sql!(
        "SELECT ",
        columns!(),
        " FROM ff_engine.budget AS b WHERE b.budget_id = ANY ($1) ORDER BY b.budget_id"
    ),
    [UUIDARRAYOID],
);

static LOCK: Stmt<1> = Stmt::new(
    sql!(
        "SELECT ",
        columns!(),
        " FROM ff_engine.budget AS b WHERE b.budget_id = $1 FOR UPDATE"
    ),
    [UUIDOID],
);

static LOCK_FREE: Stmt<1> = Stmt::new(
    sql!(
        "SELECT ",
        columns!(),
        " FROM ff_engine.budget AS b WHERE b.budget_id = $1 FOR UPDATE SKIP LOCKED"
    ),
    [UUIDOID],
);

static INSERT: Stmt<15> = Stmt::new(
    c"INSERT INTO ff_engine.budget (budget_id, partition_key, scope_type, scope_id, enforcement_mode, on_hard_limit,
             on_soft_limit, hard_limits, soft_limits, stripes, reset_months, reset_us, reset_anchor, next_reset_at, created_at, updated_at)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15)
      ON CONFLICT (budget_id) DO NOTHING",
    [
        UUIDOID,
        INT2OID,
        TEXTOID,
        TEXTOID,
        TEXTOID,
        TEXTOID,
        TEXTOID,
        JSONBOID,
        JSONBOID,
        INT4OID,
        INT4OID,
        INT8OID,
        TIMESTAMPTZOID,
        TIMESTAMPTZOID,
        TIMESTAMPTZOID,
    ],
);

static NEXT_RESET: Stmt<1> = Stmt::new(
    c"SELECT b.next_reset_at FROM ff_engine.budget AS b WHERE b.budget_id = $1",
    [UUIDOID],
);

static SCHEDULE: Stmt<1> = Stmt::new(
    c"SELECT b.reset_months, b.reset_us, b.reset_anchor
        FROM ff_engine.budget AS b WHERE b.budget_id = $1 AND b.reset_us IS NOT NULL",
    [UUIDOID],
);

static SET_LIMITS: Stmt<4> = Stmt::new(
    c"UPDATE ff_engine.budget AS b SET hard_limits = $2, soft_limits = $3, updated_at = $4 WHERE b.budget_id = $1",
    [UUIDOID, JSONBOID, JSONBOID, TIMESTAMPTZOID],
);

static SET_BREACHES: Stmt<3> = Stmt::new(
    c"UPDATE ff_engine.budget AS b SET breached_at = $2, soft_breached_at = $3 WHERE b.budget_id = $1",
    [UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID],
);

static RESET: Stmt<3> = Stmt::new(
    c"UPDATE ff_engine.budget AS b
         SET period = b.period + 1, reset_count = b.reset_count + 1, last_reset_at = $2, next_reset_at = $3,
             breached_at = NULL, soft_breached_at = NULL
       WHERE b.budget_id = $1",
    [UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID],
);

static RESET_DUE: Stmt<2> = Stmt::new(
    c"SELECT b.budget_id FROM ff_engine.budget AS b WHERE b.next_reset_at <= $1 ORDER BY b.next_reset_at, b.budget_id LIMIT $2",
    [TIMESTAMPTZOID, INT8OID],
);

static NEAREST_RESET: Stmt<0> = Stmt::new(
    c"SELECT b.next_reset_at FROM ff_engine.budget AS b WHERE b.next_reset_at IS NOT NULL ORDER BY b.next_reset_at LIMIT 1",
    [],
);

static TO_CANCEL: Stmt<0> = Stmt::new(
    c"SELECT b.budget_id FROM ff_engine.budget AS b
       WHERE b.breached_at IS NOT NULL AND b.on_hard_limit = 'cancel' AND b.enforcement_mode = 'strict'
       ORDER BY b.breached_at, b.budget_id",
    [],
);

static PAGE: Stmt<2> = Stmt::new(
    c"SELECT b.budget_id FROM ff_engine.budget AS b WHERE b.budget_id > $1 ORDER BY b.budget_id LIMIT $2",
    [UUIDOID, INT8OID],
);

/// A budget about to be made.
pub struct New<'a> {
    /// What reports will see.
    pub budget: &'a Budget,
    /// Its partition.
    pub partition: u8,
    /// Target type or `custom`.
    pub scope_type: &'a str,
    /// Target.
    pub scope_id: &'a str,
    /// Length of a period.
    pub every: Option<Every>,
    /// Where periods begin.
    pub anchor: Instant,
    /// When the first one ends.
    pub next_reset_at: Option<Instant>,
    /// Now.
    pub now: Instant,
}

/// Makes a budget; false if its id is in use.
pub fn insert(db: &Db, new: &New) -> bool {
    let b = new.budget;
    let args = [
        b.id.into(),
        i16::from(new.partition).into(),
        new.scope_type.into(),
        new.scope_id.into(),
        if b.strict { "strict" } else { "warn" }.into(),
        b.action.word().into(),
        if b.warns { "warn" } else { "none" }.into(),
        (&Jsonb::from_json(&json(&b.hard))).into(),
        (&Jsonb::from_json(&json(&b.soft))).into(),
        b.stripes.into(),
        new.every.map(Every::months).into(),
        new.every.map(Every::micros).into(),
        new.anchor.0.into(),
        new.next_reset_at.map(|at| at.0).into(),
        new.now.0.into(),
    ];
    !INSERT.run(db, args).is_empty()
}

/// `budget_not_found`.
pub fn not_found(id: Uuid) -> Error {
    Error::new(Kind::BudgetNotFound).with("budget_id", id.to_string())
}

fn limits(value: Jsonb) -> Result<Amounts> {
    serde_json::from_value(value.parse())
        .map_err(|_| Error::new(Kind::Corruption).say("the limits of a budget cannot be read"))
}

fn decode(r: Row) -> Result<Budget> {
    let action = Action::from_word(&r.get::<String>(3));
    Ok(Budget {
        id: r.get(1),
        strict: r.get::<String>(2) == "strict",
        action: action.unwrap_or(Action::Block),
        warns: r.get::<String>(4) == "warn",
        hard: limits(r.get(5))?,
        soft: limits(r.get(6))?,
        stripes: r.get(7),
        period: r.get(8),
        breached_at: r.get::<Option<i64>>(9).map(Instant),
        soft_breached_at: r.get::<Option<i64>>(10).map(Instant),
    })
}

fn one(rows: &Rows) -> Result<Option<Budget>> {
    rows.first().map(decode).transpose()
}

/// Budgets by id, ascending, without locks.
///
/// # Errors
/// `budget_not_found` for the first that is missing; `corruption`.
pub fn load(db: &Db, ids: &[Uuid]) -> Result<Vec<Budget>> {
    let rows = LOAD.run(db, [array::uuids(ids.iter().copied())]);
    let found: Vec<Budget> = rows.iter().map(decode).collect::<Result<_>>()?;
    match ids.iter().find(|id| !found.iter().any(|b| b.id == **id)) {
        Some(missing) => Err(not_found(*missing)),
        None => Ok(found),
    }
}

/// Locks a budget's own row.
///
/// # Errors
/// `budget_not_found`, `corruption`.
pub fn lock(db: &Db, id: Uuid) -> Result<Budget> {
    one(&LOCK.run(db, [id.into()]))?.ok_or_else(|| not_found(id))
}

/// Locks a budget's own row unless somebody else has.
///
/// # Errors
/// `corruption`.
pub fn lock_free(db: &Db, id: Uuid) -> Result<Option<Budget>> {
    one(&LOCK_FREE.run(db, [id.into()]))
}

fn instant(rows: &Rows) -> Option<Instant> {
    let at = rows.first().and_then(|r| r.get::<Option<i64>>(1));
    at.map(Instant)
}

/// When the period of a budget ends.
pub fn next_reset(db: &Db, id: Uuid) -> Option<Instant> {
    instant(&NEXT_RESET.run(db, [id.into()]))
}

/// The length of a budget's periods, and their anchor; none without periods.
pub fn schedule(db: &Db, id: Uuid) -> Option<(Every, Instant)> {
    let rows = SCHEDULE.run(db, [id.into()]);
    let first = rows.first()?;
    let every = Every::new(first.get(1), 0, first.get(2)).ok()?;
    Some((every, Instant(first.get(3))))
}

/// Replaces the limits of a locked budget.
pub fn set_limits(db: &Db, b: &Budget, now: Instant) {
    let args = [
        b.id.into(),
        (&Jsonb::from_json(&json(&b.hard))).into(),
        (&Jsonb::from_json(&json(&b.soft))).into(),
        now.0.into(),
    ];
    SET_LIMITS.run(db, args);
}

/// Notes when a locked budget was first breached in this period, hard and soft.
pub fn set_breaches(db: &Db, b: &Budget) {
    let at = |i: Option<Instant>| i.map(|at| at.0).into();
    SET_BREACHES.run(db, [b.id.into(), at(b.breached_at), at(b.soft_breached_at)]);
}

/// Begins the next period of a locked budget.
pub fn reset(db: &Db, id: Uuid, now: Instant, next: Option<Instant>) {
    RESET.run(db, [id.into(), now.0.into(), next.map(|at| at.0).into()]);
}

fn ids(rows: &Rows) -> Vec<Uuid> {
    rows.iter().map(|r| r.get(1)).collect()
}

/// Budgets whose period has ended, in due order.
pub fn reset_due(db: &Db, now: Instant, limit: i64) -> Vec<Uuid> {
    ids(&RESET_DUE.run(db, [now.0.into(), limit.into()]))
}

/// When the next period of any budget ends.
pub fn nearest_reset(db: &Db) -> Option<Instant> {
    instant(&NEAREST_RESET.run(db, []))
}

/// Breached budgets that cancel what they apply to.
pub fn to_cancel(db: &Db) -> Vec<Uuid> {
    ids(&TO_CANCEL.run(db, []))
}

/// Budgets in the order of their ids.
pub fn page(db: &Db, after: Uuid, limit: i64) -> Vec<Uuid> {
    ids(&PAGE.run(db, [after.into(), limit.into()]))
}
