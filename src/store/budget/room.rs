//! Which budgets have no room, read without locks: what admission asks.

use pgrx::pg_sys::BuiltinOid::*;
use uuid::Uuid;

use crate::model::time::Instant;
use crate::pg::array;
use crate::pg::spi::{Db, Row, Stmt};

static FULL: Stmt<1> = Stmt::new(
    c"SELECT b.budget_id, h.dimension, h.used, h.hard_limit, b.next_reset_at
        FROM ff_engine.budget AS b
       CROSS JOIN LATERAL (
             SELECT l.key COLLATE \"C\" AS dimension, l.value::bigint AS hard_limit,
                    ff_engine.budget_used(b.budget_id, l.key, b.period) AS used
               FROM jsonb_each_text(b.hard_limits) AS l) AS h
       WHERE b.budget_id = ANY ($1) AND b.enforcement_mode = 'strict' AND h.used >= h.hard_limit
       ORDER BY b.budget_id, h.dimension",
    [UUIDARRAYOID],
);

static KNOWN: Stmt<1> = Stmt::new(
    c"SELECT b.budget_id FROM ff_engine.budget AS b WHERE b.budget_id = ANY ($1)",
    [UUIDARRAYOID],
);

/// A budget without room for one unit more.
#[derive(Clone, Debug)]
pub struct Full {
    /// Which.
    pub budget: Uuid,
    /// The first such dimension.
    pub dimension: String,
    /// What it has used.
    pub used: i64,
    /// Its hard limit.
    pub limit: i64,
    /// When the period ends.
    pub next_reset_at: Option<Instant>,
}

impl Full {
    /// What stands in `blocking_detail`.
    pub fn detail(&self) -> String {
        let (id, name) = (self.budget, &self.dimension);
        format!("budget {id}: {name} {}/{}", self.used, self.limit)
    }
}

/// Those of the budgets that are full, ascending, each with its first full dimension.
pub fn full(db: &Db, budgets: &[Uuid]) -> Vec<Full> {
    let full = |r: Row| Full {
        budget: r.get(1),
        dimension: r.get(2),
        used: r.get(3),
        limit: r.get(4),
        next_reset_at: r.get::<Option<i64>>(5).map(Instant),
    };
    let rows = FULL.run(db, [array::uuids(budgets.iter().copied())]);
    let mut all: Vec<Full> = rows.iter().map(full).collect();
    all.dedup_by_key(|f| f.budget);
    all
}

/// Those of the budgets that exist.
pub fn known(db: &Db, budgets: &[Uuid]) -> Vec<Uuid> {
    let rows = KNOWN.run(db, [array::uuids(budgets.iter().copied())]);
    rows.iter().map(|r| r.get(1)).collect()
}
