//! `ff_engine.budget_usage` and `ff_engine.budget_pool`: what has been used, and what may be used without asking.
//!
//! Counters of an earlier period are nothing: neither use nor allotment.

use pgrx::pg_sys::BuiltinOid::*;
use uuid::Uuid;

use crate::model::budget::{Amounts, Budget};
use crate::model::time::Instant;
use crate::pg::array;
use crate::pg::spi::{Db, Row, Stmt};

static LOCK_PLAIN: Stmt<2> = Stmt::new(
    c"SELECT u.dimension, u.stripe, u.period, u.used, u.allotted FROM ff_engine.budget_usage AS u
       WHERE u.budget_id = $1 AND u.dimension = ANY ($2) AND u.stripe = 0
       ORDER BY u.dimension FOR UPDATE",
    [UUIDOID, TEXTARRAYOID],
);

static MAKE: Stmt<5> = Stmt::new(
    c"INSERT INTO ff_engine.budget_usage (budget_id, dimension, stripe, period, used, allotted)
      VALUES ($1, $2, $3, $4, 0, $5) ON CONFLICT DO NOTHING",
    [UUIDOID, TEXTOID, INT4OID, INT8OID, INT8OID],
);

static TAKE_FREE: Stmt<4> = Stmt::new(
    c"SELECT u.dimension, u.stripe, u.period, u.used, u.allotted FROM ff_engine.budget_usage AS u
       WHERE u.budget_id = $1 AND u.dimension = $2 AND u.stripe < $4
       ORDER BY u.stripe <> $3, u.stripe LIMIT 1 FOR UPDATE SKIP LOCKED",
    [UUIDOID, TEXTOID, INT4OID, INT4OID],
);

static TAKE_WITH_ROOM: Stmt<5> = Stmt::new(
    c"SELECT u.dimension, u.stripe, u.period, u.used, u.allotted FROM ff_engine.budget_usage AS u
       WHERE u.budget_id = $1 AND u.dimension = $2 AND u.period = $4 AND u.allotted - u.used >= $5
       ORDER BY u.stripe <> $3, u.stripe LIMIT 1 FOR UPDATE SKIP LOCKED",
    [UUIDOID, TEXTOID, INT4OID, INT8OID, INT8OID],
);

static ALL: Stmt<2> = Stmt::new(
    c"SELECT u.dimension, u.stripe, u.period, u.used, u.allotted FROM ff_engine.budget_usage AS u
       WHERE u.budget_id = $1 AND u.dimension = $2 ORDER BY u.stripe",
    [UUIDOID, TEXTOID],
);

static LOCK_FREE: Stmt<2> = Stmt::new(
    c"SELECT u.dimension, u.stripe, u.period, u.used, u.allotted FROM ff_engine.budget_usage AS u
       WHERE u.budget_id = $1 AND u.dimension = $2 ORDER BY u.stripe FOR UPDATE SKIP LOCKED",
    [UUIDOID, TEXTOID],
);

static LOCK_ALL: Stmt<2> = Stmt::new(
    c"SELECT u.dimension, u.stripe, u.period, u.used, u.allotted FROM ff_engine.budget_usage AS u
       WHERE u.budget_id = $1 AND u.dimension = $2 ORDER BY u.stripe FOR UPDATE",
    [UUIDOID, TEXTOID],
);

static LOCK_ONE: Stmt<3> = Stmt::new(
    c"SELECT u.dimension, u.stripe, u.period, u.used, u.allotted FROM ff_engine.budget_usage AS u
       WHERE u.budget_id = $1 AND u.dimension = $2 AND u.stripe = $3 FOR UPDATE",
    [UUIDOID, TEXTOID, INT4OID],
);

static WRITE: Stmt<6> = Stmt::new(
    c"UPDATE ff_engine.budget_usage AS u
         SET last_breach_at = CASE WHEN u.period = $2 THEN u.last_breach_at END, period = $2, used = n.used, allotted = n.allotted
        FROM unnest($3, $4, $5, $6) AS n (dimension, stripe, used, allotted)
       WHERE u.budget_id = $1 AND u.dimension = n.dimension AND u.stripe = n.stripe",
    [
        UUIDOID,
        INT8OID,
        TEXTARRAYOID,
        INT4ARRAYOID,
        INT8ARRAYOID,
        INT8ARRAYOID,
    ],
);

static COUNT_BREACH: Stmt<6> = Stmt::new(
    c"INSERT INTO ff_engine.budget_usage AS u (budget_id, dimension, stripe, period, used, allotted, breach_count, last_breach_at)
      VALUES ($1, $2, $3, $4, 0, $5, 1, $6)
      ON CONFLICT (budget_id, dimension, stripe) DO UPDATE
         SET breach_count = u.breach_count + 1, last_breach_at = $6,
             used = CASE WHEN u.period >= $4 THEN u.used ELSE 0 END,
             allotted = CASE WHEN u.period >= $4 THEN u.allotted ELSE $5 END,
             period = greatest(u.period, $4)",
    [
        UUIDOID,
        TEXTOID,
        INT4OID,
        INT8OID,
        INT8OID,
        TIMESTAMPTZOID,
    ],
);

static COUNT_CROSSING: Stmt<5> = Stmt::new(
    c"UPDATE ff_engine.budget_usage AS u
         SET soft_breach_count = u.soft_breach_count + 1,
             breach_count = u.breach_count + CASE WHEN $5 IS NULL THEN 0 ELSE 1 END,
             last_breach_at = coalesce($5, u.last_breach_at)
       WHERE u.budget_id = $1 AND u.dimension = $2 AND u.stripe = $3 AND u.period = $4",
    [UUIDOID, TEXTOID, INT4OID, INT8OID, TIMESTAMPTZOID],
);

static TOTAL: Stmt<3> = Stmt::new(
    c"SELECT ff_engine.budget_used($1, $2, $3)",
    [UUIDOID, TEXTOID, INT8OID],
);

static LOCK_POOL: Stmt<2> = Stmt::new(
    c"SELECT p.period, p.unallotted, p.credit FROM ff_engine.budget_pool AS p
       WHERE p.budget_id = $1 AND p.dimension = $2 FOR UPDATE",
    [UUIDOID, TEXTOID],
);

static MAKE_POOL: Stmt<3> = Stmt::new(
    c"INSERT INTO ff_engine.budget_pool (budget_id, dimension, period, unallotted, credit)
      VALUES ($1, $2, $3, 0, 0) ON CONFLICT DO NOTHING",
    [UUIDOID, TEXTOID, INT8OID],
);

static WRITE_POOL: Stmt<5> = Stmt::new(
    c"UPDATE ff_engine.budget_pool AS p SET period = $3, unallotted = $4, credit = $5
       WHERE p.budget_id = $1 AND p.dimension = $2",
    [UUIDOID, TEXTOID, INT8OID, INT8OID, INT8OID],
);

/// A pool of an earlier period is dealt out when it is next touched, so it is right whatever it says. A dimension
/// without a pool, or with stripes that have no allotment, is not.
static BALANCED: Stmt<5> = Stmt::new(
    c"SELECT coalesce((SELECT p.period < $3 OR p.unallotted - p.credit
                               + (SELECT coalesce(sum(u.allotted), 0) FROM ff_engine.budget_usage AS u
                                   WHERE u.budget_id = $1 AND u.dimension = $2 AND u.period = $3) = $4
                        FROM ff_engine.budget_pool AS p WHERE p.budget_id = $1 AND p.dimension = $2), false)
             AND NOT EXISTS (SELECT FROM ff_engine.budget_usage AS u
                              WHERE u.budget_id = $1 AND u.dimension = $2 AND u.allotted IS NULL)
             AND (SELECT count(*) FROM ff_engine.budget_usage AS u WHERE u.budget_id = $1 AND u.dimension = $2) >= $5",
    [UUIDOID, TEXTOID, INT8OID, INT8OID, INT4OID],
);

/// One counter, in a period.
#[derive(Clone, Debug, PartialEq)]
pub struct Counter {
    /// Dimension.
    pub dimension: String,
    /// Stripe.
    pub stripe: i32,
    /// The period that it was last written in.
    pub period: i64,
    /// What was used then.
    pub used: i64,
    /// What it may use, where a limit is spread.
    pub allotted: Option<i64>,
}

impl Counter {
    fn decode(r: Row) -> Counter {
        Counter {
            dimension: r.get(1),
            stripe: r.get(2),
            period: r.get(3),
            used: r.get(4),
            allotted: r.get(5),
        }
    }

    /// As it reads in a period.
    pub fn within(self, period: i64) -> Counter {
        if self.period == period {
            return self;
        }
        Counter {
            period,
            used: 0,
            allotted: self.allotted.map(|_| 0),
            ..self
        }
    }

    /// What it may still use without asking.
    pub fn spare(&self) -> i64 {
        self.allotted.map_or(0, |allotted| allotted - self.used)
    }
}

/// The pool of a dimension whose limit is spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pool {
    /// The period that it was last written in.
    pub period: i64,
    /// What no stripe has been given.
    pub unallotted: i64,
    /// Usage that was taken back.
    pub credit: i64,
}

/// Locks the only counter of each dimension that has one, waiting, in byte order.
pub fn lock_plain(db: &Db, b: &Budget, amounts: &Amounts) -> Vec<Counter> {
    let names = array::texts(amounts.keys().map(String::as_str));
    let rows = LOCK_PLAIN.run(db, [b.id.into(), names]);
    rows.iter().map(Counter::decode).collect()
}

/// The same one after the other, and makes those that are missing: a counter that is made is held like one that is
/// locked, so it has its turn in the order.
pub fn make_plain(db: &Db, b: &Budget, amounts: &Amounts) -> Vec<Counter> {
    let only = |dimension: &String| {
        lock_one(db, b.id, dimension, 0).or_else(|| {
            make(db, b, dimension, 0, None);
            lock_one(db, b.id, dimension, 0)
        })
    };
    amounts.keys().filter_map(only).collect()
}

/// Locks a stripe that nobody holds, the home stripe if it can be.
pub fn take_free(db: &Db, b: &Budget, dimension: &str, home: i32) -> Option<Counter> {
    let args = [b.id.into(), dimension.into(), home.into(), b.stripes.into()];
    TAKE_FREE.run(db, args).first().map(Counter::decode)
}

/// Locks a stripe that nobody holds and that may use so much without asking.
pub fn take_with_room(
    db: &Db,
    b: &Budget,
    dimension: &str,
    home: i32,
    delta: i64,
) -> Option<Counter> {
    let args = [
        b.id.into(),
        dimension.into(),
        home.into(),
        b.period.into(),
        delta.into(),
    ];
    TAKE_WITH_ROOM.run(db, args).first().map(Counter::decode)
}

/// All counters of a dimension, without locks.
pub fn all(db: &Db, budget: Uuid, dimension: &str) -> Vec<Counter> {
    let rows = ALL.run(db, [budget.into(), dimension.into()]);
    rows.iter().map(Counter::decode).collect()
}

/// Locks those counters of a dimension that nobody holds.
pub fn lock_free(db: &Db, budget: Uuid, dimension: &str) -> Vec<Counter> {
    let rows = LOCK_FREE.run(db, [budget.into(), dimension.into()]);
    rows.iter().map(Counter::decode).collect()
}

/// Locks all counters of a dimension, waiting.
pub fn lock_all(db: &Db, budget: Uuid, dimension: &str) -> Vec<Counter> {
    let rows = LOCK_ALL.run(db, [budget.into(), dimension.into()]);
    rows.iter().map(Counter::decode).collect()
}

/// Locks one counter, waiting.
pub fn lock_one(db: &Db, budget: Uuid, dimension: &str, stripe: i32) -> Option<Counter> {
    let args = [budget.into(), dimension.into(), stripe.into()];
    LOCK_ONE.run(db, args).first().map(Counter::decode)
}

/// Makes a counter, unless it is there already.
pub fn make(db: &Db, b: &Budget, dimension: &str, stripe: i32, allotted: Option<i64>) {
    let args = [
        b.id.into(),
        dimension.into(),
        stripe.into(),
        b.period.into(),
        allotted.into(),
    ];
    MAKE.run(db, args);
}

/// Writes locked counters, all of one period.
pub fn write(db: &Db, budget: Uuid, period: i64, counters: &[Counter]) {
    if counters.is_empty() {
        return;
    }
    let used = counters.iter().map(|c| c.used.into());
    let allotted = counters.iter().map(|c| c.allotted.into());
    let args = [
        budget.into(),
        period.into(),
        array::texts(counters.iter().map(|c| c.dimension.as_str())),
        array::ints(counters.iter().map(|c| c.stripe)),
        array::array(INT8OID, used),
        array::array(INT8OID, allotted),
    ];
    WRITE.run(db, args);
}

/// Counts a rejected report.
pub fn count_breach(db: &Db, b: &Budget, dimension: &str, stripe: i32, now: Instant) {
    let args = [
        b.id.into(),
        dimension.into(),
        stripe.into(),
        b.period.into(),
        b.escrowed(dimension).map(|_| 0i64).into(),
        now.0.into(),
    ];
    COUNT_BREACH.run(db, args);
}

/// Counts an applied report that crossed a limit, on a counter that it holds.
pub fn count_crossing(db: &Db, b: &Budget, c: &Counter, hard_at: Option<Instant>) {
    let args = [
        b.id.into(),
        c.dimension.as_str().into(),
        c.stripe.into(),
        b.period.into(),
        hard_at.map(|at| at.0).into(),
    ];
    COUNT_CROSSING.run(db, args);
}

/// What a dimension has used in this period, as this transaction sees it.
pub fn total(db: &Db, b: &Budget, dimension: &str) -> i64 {
    let rows = TOTAL.run(db, [b.id.into(), dimension.into(), b.period.into()]);
    rows.first().map_or(0, |r| r.get(1))
}

/// Locks the pool of a dimension, waiting; makes it if it is missing.
pub fn lock_pool(db: &Db, b: &Budget, dimension: &str) -> Option<Pool> {
    let key = || [b.id.into(), dimension.into()];
    let pool = |r: Row| Pool {
        period: r.get(1),
        unallotted: r.get(2),
        credit: r.get(3),
    };
    let found = LOCK_POOL.run(db, key()).first().map(pool);
    if found.is_some() {
        return found;
    }
    MAKE_POOL.run(db, [b.id.into(), dimension.into(), b.period.into()]);
    LOCK_POOL.run(db, key()).first().map(pool)
}

/// Writes a locked pool.
pub fn write_pool(db: &Db, budget: Uuid, dimension: &str, pool: Pool) {
    let args = [
        budget.into(),
        dimension.into(),
        pool.period.into(),
        pool.unallotted.into(),
        pool.credit.into(),
    ];
    WRITE_POOL.run(db, args);
}

/// Whether all allotments of a dimension and its pool are the limit and the credit.
pub fn balanced(db: &Db, b: &Budget, dimension: &str) -> bool {
    let Some(limit) = b.escrowed(dimension) else {
        return true;
    };
    let args = [
        b.id.into(),
        dimension.into(),
        b.period.into(),
        limit.into(),
        b.stripes.into(),
    ];
    BALANCED.run(db, args).first().is_some_and(|r| r.get(1))
}
