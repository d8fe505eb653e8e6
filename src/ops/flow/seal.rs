//! Closes a flow for further members and edges (§40.4).

use serde_json::json;
use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::model::event::{Code, Event};
use crate::model::flow::{Flow, FlowState};
use crate::model::time::Instant;
use crate::pg::spi::Db;
use crate::store;

use super::super::clock;
use super::lock;

/// Seals; the outcome word and the flow's revision.
///
/// # Errors
/// `flow_not_found`, `flow_already_terminal`, `invalid_dependency`, `invalid_edge_policy`.
pub fn seal(db: &Db, id: Uuid) -> Result<(&'static str, i64)> {
    let mut flow = lock(db, id)?;
    if flow.sealed && flow.state == FlowState::Open {
        return Ok(("already_sealed", flow.revision));
    }
    flow.buildable()?;
    whole(db, id)?;
    close(db, &mut flow, clock::now());
    Ok(("sealed", flow.revision))
}

/// Refuses a graph that is not whole.
///
/// # Errors
/// `invalid_dependency`, `invalid_edge_policy`.
pub fn whole(db: &Db, id: Uuid) -> Result<()> {
    let list = |ids: Vec<Uuid>| ids.iter().map(Uuid::to_string).collect::<Vec<_>>();
    let unapplied = store::edge::unapplied(db, id);
    if !unapplied.is_empty() {
        return Err(Error::new(Kind::InvalidDependency)
            .say("the flow has edges that are staged and not applied")
            .with("rule", "edge_not_applied")
            .with("edges", list(unapplied)));
    }
    let unreachable = store::edge_group::unreachable(db, id);
    if !unreachable.is_empty() {
        return Err(Error::new(Kind::InvalidEdgePolicy)
            .say("a quorum asks for more edges than there are")
            .with("rule", "quorum_unreachable")
            .with("executions", list(unreachable)));
    }
    Ok(())
}

/// Seals a locked flow.
pub fn close(db: &Db, flow: &mut Flow, now: Instant) {
    flow.sealed = true;
    flow.last_mutation_at = now;
    store::flow::save(db, flow);
    let details = json!({
        "graph_revision": flow.revision,
        "node_count": flow.nodes,
        "edge_count": flow.edges,
    });
    let event = Event::plain(Code::OperatorFlowSealed, Some(details));
    store::event::append_flow(db, now, flow, &event);
    store::flow_summary::touch(db, std::iter::once(flow.id), now);
}
