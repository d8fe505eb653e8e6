//! What the dependency reconciler looks for: edges, counters and children that disagree.

use pgrx::pg_sys::BuiltinOid::*;
use uuid::Uuid;

use crate::model::time::Instant;
use crate::pg::spi::{Arg, Db, Rows, Stmt};

/// Flows whose graphs go on: open ones, and cancelled ones whose members drain.
macro_rules! flows {
    () => {
        "ff_engine.flow AS f \
         JOIN ff_engine.edge_group AS g ON g.flow_id = f.flow_id \
         WHERE f.public_flow_state IN ('open', 'cancelled') \
           AND f.partition_key BETWEEN $1 AND $2 AND ($3 IS NULL OR f.namespace_id = $3)"
    };
}

static LOST: Stmt<5> = Stmt::new(
    sql!(
        "SELECT DISTINCT u.execution_id \
           FROM (SELECT g.downstream_id FROM ",
        flows!(),
        "          AND g.total_deps > g.satisfied_count + g.failed_count + g.skipped_count) AS d \
           JOIN ff_engine.edge AS e ON e.downstream_id = d.downstream_id AND e.edge_state = 'unsatisfied' \
           JOIN ff_engine.execution AS u ON u.execution_id = e.upstream_id \
          WHERE ff_engine.lifecycle(u.state) = 't' AND u.completed_at < $4 \
            AND coalesce(e.consumed_life, -1) < coalesce((u.rare ->> 'replays')::int, 0) \
            AND NOT EXISTS (SELECT FROM ff_engine.cascade AS q WHERE q.execution_id = u.execution_id) \
          LIMIT $5"
    ),
    [INT2OID, INT2OID, INT4OID, TIMESTAMPTZOID, INT8OID],
);

static WRONG: Stmt<4> = Stmt::new(
    sql!(
        "SELECT d.downstream_id \
           FROM (SELECT g.* FROM ",
        flows!(),
        ") AS d \
          CROSS JOIN LATERAL ( \
                SELECT count(*) FILTER (WHERE e.edge_state <> 'pending') AS total, \
                       count(*) FILTER (WHERE e.edge_state = 'satisfied') AS satisfied, \
                       count(*) FILTER (WHERE e.edge_state = 'impossible' AND e.resolved_outcome <> 'skipped') AS failed, \
                       count(*) FILTER (WHERE e.edge_state = 'impossible' AND e.resolved_outcome = 'skipped') AS skipped \
                  FROM ff_engine.edge AS e WHERE e.downstream_id = d.downstream_id) AS c \
           LEFT JOIN ff_engine.execution AS x ON x.execution_id = d.downstream_id \
          WHERE (c.total, c.satisfied, c.failed, c.skipped) \
                IS DISTINCT FROM (d.total_deps, d.satisfied_count, d.failed_count, d.skipped_count) \
             OR ff_engine.eligibility(x.state) = 'd' AND (d.group_state <> 'pending' OR c.total = c.satisfied + c.failed + c.skipped) \
                AND NOT (d.group_state = 'pending' AND d.policy = 'quorum' AND d.k > c.total) \
          LIMIT $4"
    ),
    [INT2OID, INT2OID, INT4OID, INT8OID],
);

/// Which flows are looked at.
#[derive(Clone, Copy)]
pub struct Only {
    /// Lowest and highest partition.
    pub partitions: (i16, i16),
    /// Only this namespace.
    pub namespace: Option<i32>,
}

impl Only {
    fn args(&self) -> [Arg; 3] {
        let (low, high) = self.partitions;
        [low.into(), high.into(), self.namespace.into()]
    }
}

fn ids(rows: &Rows) -> Vec<Uuid> {
    rows.iter().map(|r| r.get(1)).collect()
}

/// Members that ended before an instant, have due edges and are not queued.
pub fn lost(db: &Db, only: Only, before: Instant, limit: i64) -> Vec<Uuid> {
    let [low, high, namespace] = only.args();
    ids(&LOST.run(db, [low, high, namespace, before.0.into(), limit.into()]))
}

/// Children whose counters are unlike their edges, or that wait although nothing is open.
pub fn wrong(db: &Db, only: Only, limit: i64) -> Vec<Uuid> {
    let [low, high, namespace] = only.args();
    ids(&WRONG.run(db, [low, high, namespace, limit.into()]))
}
