//! Resolves one edge (§40.5.4), waiting for the locks: how its upstream ended is read, never supplied.

use uuid::Uuid;

use crate::error::Result;
use crate::model::edge_group::GroupState;
use crate::model::flow::{EdgeState, not_found};
use crate::pg::spi::Db;
use crate::store;

use super::super::clock;
use super::apply::find;
use super::step::{self, Due, Effect};
use super::{ended, propagate};

/// What became of it.
pub struct Resolved {
    /// Outcome word.
    pub outcome: &'static str,
    /// State of the group.
    pub state: &'static str,
    /// What became of the child.
    pub effect: &'static str,
    /// The child has taken over a result.
    pub data_injected: bool,
}

/// Resolves an edge if it is due.
///
/// # Errors
/// `flow_not_found`, `edge_not_found`.
pub fn resolve(db: &Db, flow: Uuid, id: Uuid) -> Result<Resolved> {
    if store::flow::read(db, &[flow]).is_empty() {
        return Err(not_found(flow));
    }
    let edge = find(db, flow, id)?;
    let child = store::execution::lock(db, edge.downstream);
    let upstream = store::execution::read(db, &[edge.upstream]).pop();
    let nothing = |outcome| {
        let group = store::edge_group::of(db, edge.downstream);
        Ok(Resolved {
            outcome,
            state: group.map_or(GroupState::Pending, |f| f.group.state).word(),
            effect: Effect::None.word(),
            data_injected: false,
        })
    };
    // Read again under the child's lock, where it changes.
    let edge = find(db, flow, id)?;
    if edge.state == EdgeState::Pending {
        return nothing("not_applied");
    }
    let Some(end) = upstream.as_ref().and_then(ended) else {
        return nothing("upstream_not_terminal");
    };
    let now = clock::now();
    let due = Due {
        id,
        outcome: end.outcome,
        life: end.life,
    };
    let moved = step::resolve(db, child.into_iter().collect(), &[due], now)?;
    let Some(moved) = moved.first() else {
        return nothing("already_resolved");
    };
    propagate::after(db, moved, now);
    Ok(Resolved {
        outcome: edge.kind.judge(end.outcome).state().word(),
        state: moved.state.word(),
        effect: moved.effect.word(),
        data_injected: moved.data_injected,
    })
}
