//! Consults the groups of flow members that nothing else holds back any longer (T20, T25).

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::model::edge_group::GroupState;
use crate::model::execution::Execution;
use crate::model::time::Instant;
use crate::model::transition::{self, Change};
use crate::pg::spi::Db;
use crate::store;
use crate::store::edge_group::Found;

/// The groups of some executions.
pub struct Gates(BTreeMap<Uuid, Found>);

impl Gates {
    /// Reads the groups of those locked executions that must not start before theirs allows it.
    pub fn of(db: &Db, executions: &[Execution]) -> Gates {
        let gated = |e: &&Execution| e.place.flow.is_some() && transition::gated(e);
        let ids: Vec<Uuid> = executions
            .iter()
            .filter(gated)
            .map(|e| e.place.id)
            .collect();
        if ids.is_empty() {
            return Gates(BTreeMap::new());
        }
        let found = store::edge_group::under_lock(db, &ids).into_iter();
        Gates(found.map(|f| (f.group.child, f)).collect())
    }

    /// Lets an execution go where its group says; `free` if that says nothing against it.
    pub fn open(
        &self,
        db: &Db,
        e: Execution,
        now: Instant,
        free: impl FnOnce(Execution, Instant) -> Change,
    ) -> Change {
        let Some(found) = self.0.get(&e.place.id) else {
            return free(e, now);
        };
        if found.cancelled.is_some_and(|policy| policy.covers(&e)) {
            return cancelled(e, found, now);
        }
        if found.group.state == GroupState::Satisfied && found.group.passes_data {
            store::edge::pass_data(db, &[e.place.id]);
        }
        transition::pass_gate(e, Some(&found.group), now, free)
    }
}

/// What becomes of a member that the cancellation of its flow covers.
pub fn cancelled(e: Execution, found: &Found, now: Instant) -> Change {
    let reason = found.cancel_reason.as_deref().unwrap_or("flow_cancelled");
    transition::cancel(e, reason, "flow_cascade", now)
}
