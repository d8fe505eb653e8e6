//! Makes executions members of a flow (§40.4): those that exist, and those that are being created.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::guc;
use crate::model::fence;
use crate::model::flow::{Flow, node_name, too_large};
use crate::model::time::Instant;
use crate::model::transition::Change;
use crate::pg::spi::Db;
use crate::store;

use super::super::{clock, save};
use super::{lock, lock_to_build};

/// What became of it.
pub struct Added {
    /// `added` or `already_member`.
    pub outcome: &'static str,
    /// Members of the flow.
    pub nodes: i32,
    /// Its revision.
    pub revision: i64,
}

/// Makes an execution a member, in whatever state it is.
///
/// # Errors
/// `flow_not_found`, `flow_already_terminal`, `flow_sealed`, `execution_not_found`, `execution_already_in_flow`,
/// `invalid_input`.
pub fn add(db: &Db, flow_id: Uuid, id: Uuid, name: Option<&str>) -> Result<Added> {
    if let Some(name) = name {
        node_name(name)?;
    }
    let mut flow = lock(db, flow_id)?;
    let e = store::execution::lock(db, id).ok_or_else(|| fence::not_found(id))?;
    if e.place.flow == Some(flow_id) {
        return Ok(Added {
            outcome: "already_member",
            nodes: flow.nodes,
            revision: flow.revision,
        });
    }
    flow.buildable()?;
    if let Some(other) = e.place.flow {
        return Err(Error::new(Kind::ExecutionAlreadyInFlow)
            .with("execution_id", id.to_string())
            .with("flow_id", other.to_string()));
    }
    if let Some(holder) = name.and_then(|name| store::flow::named(db, flow_id, name)) {
        return Err(Error::invalid_input("node_name", "taken")
            .say("another member of the flow has this name")
            .with("execution_id", holder.to_string()));
    }
    let now = clock::now();
    room(&flow, 1)?;
    flow.grow(1, 0, now);
    store::flow::save(db, &flow);
    store::flow::join(db, flow_id, &[(id, name)]);
    let terminal = e.is_terminal();
    let change = Change::touch(e, now, |e| {
        e.place.flow = Some(flow_id);
        e.place.partition = flow.partition;
    });
    save::apply(db, &[change], now);
    if terminal {
        store::flow_summary::touch(db, std::iter::once(flow_id), now);
    }
    Ok(Added {
        outcome: "added",
        nodes: flow.nodes,
        revision: flow.revision,
    })
}

/// Refuses more members than a flow may have.
fn room(flow: &Flow, more: i32) -> Result<()> {
    let limit = guc::MAX_FLOW_NODES.value.get();
    match flow.nodes.saturating_add(more) > limit {
        true => Err(too_large("max_flow_nodes", i64::from(limit))),
        false => Ok(()),
    }
}

/// The flows that new executions join, locked.
pub struct Joining(BTreeMap<Uuid, Flow>);

/// Locks the flows that new executions are to join, in ascending id.
///
/// # Errors
/// `flow_not_found`, `flow_already_terminal`, `flow_sealed`, with the place of the first request that meets one.
pub fn joining(db: &Db, flows: &[(usize, Uuid)]) -> std::result::Result<Joining, (usize, Error)> {
    let mut ids: Vec<Uuid> = flows.iter().map(|(_, id)| *id).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut locked = BTreeMap::new();
    for id in ids {
        let place = flows
            .iter()
            .find(|(_, flow)| *flow == id)
            .map_or(0, |(i, _)| *i);
        let members = flows.iter().filter(|(_, flow)| *flow == id).count();
        let flow = lock_to_build(db, id)
            .and_then(|flow| room(&flow, members as i32).map(|()| flow))
            .map_err(|e| (place, e))?;
        locked.insert(id, flow);
    }
    Ok(Joining(locked))
}

impl Joining {
    /// Enters new executions with the flows they are members of.
    pub fn enter(mut self, db: &Db, members: &[(Uuid, Uuid)], now: Instant) {
        for (id, flow) in &mut self.0 {
            let new = members.iter().filter(|(_, of)| of == id);
            let new: Vec<_> = new.map(|(member, _)| (*member, None)).collect();
            if !new.is_empty() {
                flow.grow(new.len() as i32, 0, now);
                store::flow::save(db, flow);
                store::flow::join(db, *id, &new);
            }
        }
    }
}
