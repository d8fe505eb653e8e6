//! Locking tables as a writer before they are read.
//!
//! A transaction that reads a table holds a lock on its index when it asks for the writer's lock on the table. A REINDEX
//! that comes in between has the table and waits for the index: the two would wait for each other.

use crate::pg::spi::{Db, Stmt};

/// What background work writes after it has read it.
static BACKGROUND: Stmt<0> = Stmt::new(
    c"LOCK TABLE ff_engine.execution, ff_engine.execution_input, ff_engine.attempt, ff_engine.ready, ff_engine.timer,
                 ff_engine.unrouted, ff_engine.worker, ff_engine.suspension, ff_engine.waitpoint, ff_engine.waitpoint_expiry,
                 ff_engine.denied, ff_engine.attachment, ff_engine.budget, ff_engine.budget_usage, ff_engine.budget_pool,
                 ff_engine.budget_ledger, ff_engine.budget_dedup, ff_engine.quota, ff_engine.quota_token, ff_engine.quota_slot,
                 ff_engine.signal, ff_engine.stream, ff_engine.stream_live, ff_engine.frame, ff_engine.frame_live,
                 ff_engine.stream_summary, ff_engine.stream_end, ff_engine.stream_watch,
                 ff_engine.flow, ff_engine.flow_member, ff_engine.edge, ff_engine.edge_group,
                 ff_engine.cascade, ff_engine.flow_touch, ff_engine.flow_summary, ff_engine.moved, ff_engine.tally, ff_engine.tally_position
      IN ROW EXCLUSIVE MODE",
    [],
);

/// Announces that background work is going to write.
pub fn background(db: &Db) {
    BACKGROUND.run(db, []);
}
