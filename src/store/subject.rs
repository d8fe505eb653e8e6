//! Which executions a budget applies to: those that have not ended, through all its attachments.

use pgrx::pg_sys::BuiltinOid::*;
use uuid::Uuid;

use crate::pg::spi::{Db, Stmt};

/// Through attachments to executions and flows by their ids; through the others by a walk over the executions.
static UNDER: Stmt<3> = Stmt::new(
    c"SELECT u.execution_id FROM (
        SELECT e.execution_id, e.created_at FROM ff_engine.attachment AS a
          JOIN ff_engine.execution AS e ON e.execution_id = a.target_id::uuid
         WHERE a.policy_id = $1 AND a.target_type = 'execution' AND ff_engine.lifecycle(e.state) <> 't'
           AND (ff_engine.lifecycle(e.state) = 'a') = $2
        UNION
        SELECT e.execution_id, e.created_at FROM ff_engine.attachment AS a
          JOIN ff_engine.flow_member AS m ON m.flow_id = a.target_id::uuid
          JOIN ff_engine.execution AS e ON e.execution_id = m.execution_id
         WHERE a.policy_id = $1 AND a.target_type = 'flow' AND ff_engine.lifecycle(e.state) <> 't'
           AND (ff_engine.lifecycle(e.state) = 'a') = $2
        UNION
        SELECT e.execution_id, e.created_at FROM ff_engine.execution AS e
          JOIN ff_engine.lane AS l ON l.lane_id = e.lane_id
          JOIN ff_engine.namespace AS n ON n.namespace_id = e.namespace_id
         WHERE EXISTS (SELECT FROM ff_engine.attachment AS x WHERE x.policy_id = $1 AND x.target_type IN ('lane', 'namespace', 'global'))
           AND EXISTS (SELECT FROM ff_engine.attachment AS a
                        WHERE a.policy_id = $1 AND a.kind = 'b'
                          AND (a.target_type = 'global'
                               OR a.target_type = 'lane' AND a.target_id = l.name
                               OR a.target_type = 'namespace' AND a.target_id = n.name))
           AND ff_engine.lifecycle(e.state) <> 't' AND (ff_engine.lifecycle(e.state) = 'a') = $2) AS u
       ORDER BY u.created_at, u.execution_id LIMIT $3",
    [UUIDOID, BOOLOID, INT8OID],
);

/// Waiting, or running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Has not ended and is not active.
    Waiting,
    /// Active.
    Running,
}

/// Executions under a budget, oldest first.
pub fn under(db: &Db, budget: Uuid, subject: Subject, limit: i64) -> Vec<Uuid> {
    let args = [
        budget.into(),
        (subject == Subject::Running).into(),
        limit.into(),
    ];
    UNDER.run(db, args).iter().map(|r| r.get(1)).collect()
}
