//! `ff_engine.flow` as those see it who hand out work: whether a member may still run (§40.8.1).

use pgrx::pg_sys::BuiltinOid::*;

use crate::model::execution::Execution;
use crate::model::flow::CancelPolicy;
use crate::pg::snapshot;
use crate::pg::spi::Db;
use crate::pg::table::{Named, Table};

static FLOW: Table = Table::new(c"flow", 1);
const ID: &[Named] = &[("flow_id", UUIDOID)];
/// Place of `cancellation_policy` in the table; it is set exactly if the flow is cancelled.
const POLICY: usize = 14;

/// How the flow of an execution was cancelled, if it was. An execution outside flows costs a look at one field. A
/// snapshot that is older than the cancellation would let the member start, and nobody would ever end it.
pub fn policy(db: &Db, e: &Execution) -> Option<CancelPolicy> {
    let flow = e.place.flow?;
    let word = snapshot::latest(|| {
        FLOW.find_in_active(db, ID, |finder| {
            finder.read(&[flow.into()], |row| row.get::<Option<String>>(POLICY))
        })
    });
    CancelPolicy::from_word(&word.flatten()?)
}

/// Whether an execution is a member that the cancellation of its flow is to end: it is never handed out.
pub fn covers(db: &Db, e: &Execution) -> bool {
    policy(db, e).is_some_and(|policy| policy.covers(e))
}

/// Whether the flow of an execution has been cancelled so that nothing in it is tried again (§10.14.5).
pub fn forbids_retry(db: &Db, e: &Execution) -> bool {
    policy(db, e).is_some_and(|policy| policy != CancelPolicy::FlowOnly)
}
