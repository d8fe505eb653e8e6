//! Flows (§40): building graphs, and what follows from a member's end.
//!
//! Whatever touches a child because an upstream has ended goes through [`step`], under the child's lock, which is never
//! waited for while anything else is held but by the calls that name one edge.

pub mod apply;
pub mod backlog;
pub mod cancel;
pub mod cascade;
pub mod close;
pub mod create;
pub mod draw;
pub mod eligibility;
pub mod gate;
pub mod graph;
pub mod member;
pub mod policy;
pub mod propagate;
pub mod repair;
pub mod replay;
pub mod resolve;
pub mod seal;
pub mod siblings;
pub mod stage;
pub mod step;
pub mod tags;
pub mod wait;

use uuid::Uuid;

use crate::error::Result;
use crate::model::execution::Execution;
use crate::model::flow::{Flow, not_found};
use crate::pg::spi::Db;
use crate::store;
use crate::store::edge::Ended;

/// Locks a flow.
///
/// # Errors
/// `flow_not_found`.
pub fn lock(db: &Db, id: Uuid) -> Result<Flow> {
    store::flow::lock(db, id).ok_or_else(|| not_found(id))
}

/// Locks a flow to build in.
///
/// # Errors
/// `flow_not_found`, `flow_already_terminal`, `flow_sealed`.
pub fn lock_to_build(db: &Db, id: Uuid) -> Result<Flow> {
    let flow = lock(db, id)?;
    flow.buildable().map(|()| flow)
}

/// A member that has ended, as its edges see it; none of one that has not, or that is in no flow.
pub fn ended(e: &Execution) -> Option<Ended> {
    (e.is_terminal() && e.place.flow.is_some()).then_some(Ended {
        id: e.place.id,
        life: e.replays,
        outcome: e.vector.outcome,
        partition: e.place.partition,
        namespace: e.place.namespace,
    })
}
