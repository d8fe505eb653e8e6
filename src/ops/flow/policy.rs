//! Declares when a child is released (§40.4), before its first edge is staged.

use serde_json::Value;
use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::model::edge_group::{Group, Policy};
use crate::pg::spi::Db;
use crate::store;

use super::lock_to_build;

/// `execution_not_in_flow`.
pub fn not_in_flow(flow: Uuid, id: Uuid) -> Error {
    Error::new(Kind::ExecutionNotInFlow)
        .with("flow_id", flow.to_string())
        .with("execution_id", id.to_string())
}

/// Sets the policy of a child's group; the outcome word, and the policy with every key.
///
/// # Errors
/// `invalid_edge_policy`, `execution_not_in_flow`, those of building.
pub fn set(db: &Db, flow: Uuid, child: Uuid, document: &Value) -> Result<(&'static str, Value)> {
    let policy = Policy::parse(document)?;
    lock_to_build(db, flow)?;
    let e = store::execution::lock(db, child).filter(|e| e.place.flow == Some(flow));
    e.ok_or_else(|| not_in_flow(flow, child))?;
    let group = store::edge_group::of(db, child).map(|found| found.group);
    let staged = store::edge::has_inbound(db, child);
    let stands = group
        .as_ref()
        .map(|g| g.policy)
        .or(staged.then_some(Policy::AllOf));
    if stands == Some(policy) {
        return Ok(("already_set", policy.json()));
    }
    if staged {
        return Err(Error::new(Kind::InvalidEdgePolicy)
            .say("an edge into the execution has been staged under another policy")
            .with("rule", "already_fixed")
            .with("policy", stands.map(|p| p.json())));
    }
    match group {
        Some(_) => store::edge_group::declare(db, child, policy),
        None => store::edge_group::insert(db, &Group::new(flow, child, policy)),
    }
    Ok(("set", policy.json()))
}
