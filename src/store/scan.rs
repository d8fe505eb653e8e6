//! Claimable work as an external scheduler sees it: no locks, no capabilities.

use pgrx::pg_sys::BuiltinOid::*;
use uuid::Uuid;

use crate::model::time::Instant;
use crate::pg::spi::{Db, Stmt};

use super::binding;

/// Ready work of all queues of a lane, and what a claim would promote: a lapsed grant or delay leaves an execution
/// out of the queue until somebody notices, and its due timer leads to it.
static SCAN: Stmt<7> = Stmt::new(
    c"WITH wanted AS MATERIALIZED (
        SELECT q.queue_id, q.lane_id, q.required
          FROM ff_engine.lane AS l
          JOIN ff_engine.queue AS q ON q.lane_id = l.lane_id
          JOIN ff_engine.namespace AS n ON n.namespace_id = q.namespace_id
         WHERE l.name = $1 AND l.state IN ('active', 'draining') AND ($2 IS NULL OR n.name = $2)
           AND ($7 IS NULL OR q.namespace_id = ANY ($7)))
      SELECT s.execution_id, s.priority::int, s.created_at, s.required,
             ff_engine.attempt_state_word(ff_engine.attempt_state(s.state))
        FROM (SELECT h.execution_id, h.priority, h.created_at, h.state, w.required
                FROM wanted AS w
               CROSS JOIN LATERAL (
                     SELECT e.execution_id, e.priority, e.created_at, e.state
                       FROM ff_engine.ready AS r
                       JOIN ff_engine.execution AS e ON e.execution_id = r.execution_id
                      WHERE r.queue_id = w.queue_id AND NOT r.reclaim AND ff_engine.claimable(e.state, false)
                        AND (e.execution_deadline IS NULL OR e.execution_deadline > $3)
                        AND e.partition_key BETWEEN $4 AND $5
                        AND (e.flow_id IS NULL OR NOT EXISTS (
                             SELECT FROM ff_engine.flow AS f
                              WHERE f.flow_id = e.flow_id AND ff_engine.covers(f.cancellation_policy, e.state)))
                      ORDER BY r.rank, r.created_at, r.execution_id LIMIT $6) AS h
              UNION
              SELECT e.execution_id, e.priority, e.created_at, e.state, w.required
                FROM (SELECT DISTINCT o.lane_id FROM wanted AS o) AS l
                JOIN ff_engine.timer AS t ON t.kind = 'l' AND t.lane_id = l.lane_id AND t.due_at <= $3
                JOIN ff_engine.execution AS e ON e.execution_id = t.execution_id
                JOIN wanted AS w ON w.queue_id = e.queue_id
               WHERE (e.execution_deadline IS NULL OR e.execution_deadline > $3)
                 AND e.partition_key BETWEEN $4 AND $5
                 AND (e.flow_id IS NULL OR NOT EXISTS (
                      SELECT FROM ff_engine.flow AS f
                       WHERE f.flow_id = e.flow_id AND ff_engine.covers(f.cancellation_policy, e.state)))
                 AND (ff_engine.eligibility(e.state) = 't' AND e.delay_until <= $3
                      OR ff_engine.claimable(e.state, false)
                         AND ff_engine.instant(e.rare #> '{grant,expires_at}') <= $3)) AS s
       ORDER BY s.priority DESC, s.created_at, s.execution_id LIMIT $6",
    [TEXTOID, TEXTOID, TIMESTAMPTZOID, INT2OID, INT2OID, INT8OID, INT4ARRAYOID],
);

/// What a scheduler asks for.
pub struct Asked<'a> {
    /// Lane name.
    pub lane: &'a str,
    /// Only this namespace.
    pub namespace: Option<&'a str>,
    /// Lowest and highest partition.
    pub partitions: (i16, i16),
    /// At most so many.
    pub limit: i64,
}

/// One claimable execution.
pub struct Seen {
    /// Identity.
    pub id: Uuid,
    /// Higher runs first.
    pub priority: i32,
    /// Creation instant.
    pub created_at: Instant,
    /// What a worker must offer.
    pub required: Vec<String>,
    /// Attempt state word: whether a claim starts, retries, replays or continues.
    pub attempt_state: String,
}

/// Claimable executions of a lane in claim order.
pub fn claimable(db: &Db, asked: &Asked, now: Instant) -> Vec<Seen> {
    let (low, high) = asked.partitions;
    let args = [
        asked.lane.into(),
        asked.namespace.into(),
        now.0.into(),
        low.into(),
        high.into(),
        asked.limit.into(),
        binding::only(),
    ];
    SCAN.run(db, args)
        .iter()
        .map(|r| Seen {
            id: r.get(1),
            priority: r.get(2),
            created_at: Instant(r.get(3)),
            required: r.get(4),
            attempt_state: r.get(5),
        })
        .collect()
}
