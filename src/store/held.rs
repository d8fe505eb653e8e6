//! Leases by holder: the live timers lead to every leased execution.

use pgrx::pg_sys::BuiltinOid::*;

use crate::model::execution::Execution;
use crate::pg::jsonb::Jsonb;
use crate::pg::spi::{Db, Stmt};

use super::{binding, execution};

static HELD: Stmt<3> = Stmt::new(
    sql!(
        "SELECT DISTINCT ON (coalesce(e.lease_acquired_at, e.attempt_started_at), e.execution_id) e, e.kind, i.payload, i.payload_encoding, i.policy, n.name, l.name, \
           (SELECT a.attempt_failure_reason FROM ff_engine.attempt AS a \
             WHERE a.execution_id = e.execution_id AND a.attempt_index = e.total_attempt_count - 2) \
           FROM ff_engine.lane AS l \
           JOIN ff_engine.timer AS t ON t.kind = 'l' AND t.lane_id = l.lane_id \
           JOIN ff_engine.execution AS e ON e.execution_id = t.execution_id AND ff_engine.ownership(e.state) = 'l' \
           JOIN ff_engine.claimer AS c ON c.claimer_id = e.claimer_id \
           JOIN ff_engine.namespace AS n ON n.namespace_id = e.namespace_id \
           LEFT JOIN ff_engine.execution_input AS i ON i.execution_id = e.execution_id \
          WHERE ($1 IS NULL OR c.worker = $1) AND c.worker_instance = $2 AND ($3 IS NULL OR n.name = $3) \
          ORDER BY coalesce(e.lease_acquired_at, e.attempt_started_at), e.execution_id"
    ),
    [TEXTOID, TEXTOID, TEXTOID],
);

/// A leased execution with what its worker was told.
pub struct Held {
    /// State.
    pub execution: Execution,
    /// Kind of work.
    pub kind: String,
    /// Payload.
    pub payload: Option<Vec<u8>>,
    /// Its label.
    pub encoding: Option<String>,
    /// Stored policy.
    pub policy: Option<Jsonb>,
    /// Namespace name.
    pub namespace: String,
    /// Lane name.
    pub lane: String,
    /// Failure of the attempt before.
    pub previous_failure: Option<String>,
}

/// The leases an instance holds, as far as the calling roles may see them, oldest first, unlocked.
pub fn by(db: &Db, worker: Option<&str>, instance: &str, namespace: Option<&str>) -> Vec<Held> {
    HELD.run(db, [worker.into(), instance.into(), namespace.into()])
        .iter()
        .map(|row| Held {
            execution: execution::decode(&row.get(1)),
            kind: row.get(2),
            payload: row.get(3),
            encoding: row.get(4),
            policy: row.get(5),
            namespace: row.get(6),
            lane: row.get(7),
            previous_failure: row.get(8),
        })
        .filter(|held| binding::admits(held.execution.place.namespace))
        .collect()
}
