//! Stages an edge (§40.4): the graph knows it, the child does not yet.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::guc;
use crate::model::flow::{EdgeKind, EdgeState, Flow, MAX_REF_BYTES, too_large};
use crate::pg::spi::Db;
use crate::store;
use crate::store::edge::Edge;

use super::super::clock;
use super::lock;
use super::policy::not_in_flow;

/// What is asked for.
pub struct Request<'a> {
    /// Flow.
    pub flow: Uuid,
    /// Upstream.
    pub upstream: Uuid,
    /// The child.
    pub downstream: Uuid,
    /// The revision that the caller has seen.
    pub revision: Option<i64>,
    /// Chosen id.
    pub id: Option<Uuid>,
    /// Word of the kind.
    pub kind: &'a str,
    /// Asks for the upstream's result.
    pub data_ref: Option<&'a str>,
}

/// A staged edge in its locked flow.
pub struct Staged {
    /// It had been staged before.
    pub before: bool,
    /// The edge.
    pub edge: Edge,
    /// The flow.
    pub flow: Flow,
}

/// Stages an edge, first failure first.
///
/// # Errors
/// Those of §40.4.
pub fn stage(db: &Db, r: &Request) -> Result<Staged> {
    if r.upstream == r.downstream {
        return Err(
            Error::new(Kind::SelfReferencingEdge).with("execution_id", r.upstream.to_string())
        );
    }
    let kind = EdgeKind::from_word(r.kind)
        .ok_or_else(|| Error::invalid_input("dependency_kind", "unknown_word"))?;
    let data_ref = r.data_ref.filter(|text| !text.is_empty());
    if data_ref.is_some_and(|text| text.len() > MAX_REF_BYTES) {
        return Err(
            Error::invalid_input("data_passing_ref", "too_long").with("max_bytes", MAX_REF_BYTES)
        );
    }
    let mut flow = lock(db, r.flow)?;
    if let Some(edge) = r.id.and_then(|id| store::edge::read(db, id)) {
        let same = (edge.flow, edge.upstream, edge.downstream, edge.kind)
            == (r.flow, r.upstream, r.downstream, kind)
            && edge.data_ref.as_deref() == data_ref;
        return match same {
            true => Ok(Staged {
                before: true,
                edge,
                flow,
            }),
            false => Err(taken(&edge)),
        };
    }
    flow.buildable()?;
    if r.revision.is_some_and(|revision| revision != flow.revision) {
        return Err(Error::new(Kind::StaleGraphRevision)
            .with("flow_id", r.flow.to_string())
            .with("graph_revision", flow.revision));
    }
    let ends = [r.upstream, r.downstream];
    let members = store::execution::read(db, &store::binding::visible(db, &ends));
    for id in ends {
        if !members
            .iter()
            .any(|e| e.place.id == id && e.place.flow == Some(r.flow))
        {
            return Err(not_in_flow(r.flow, id));
        }
    }
    if let Some(edge) = store::edge::between(db, r.upstream, r.downstream) {
        return Err(taken(&edge));
    }
    let limit = guc::MAX_FLOW_EDGES.value.get();
    if flow.edges >= limit {
        return Err(too_large("max_flow_edges", i64::from(limit)));
    }
    if store::edge_group::of(db, r.downstream).is_some_and(|found| found.group.closed()) {
        return Err(Error::new(Kind::InvalidDependency)
            .say("the group of the execution has fired, and takes no more edges")
            .with("rule", "group_fired")
            .with("execution_id", r.downstream.to_string()));
    }
    acyclic(db, r.upstream, r.downstream)?;
    let now = clock::now();
    let edge = Edge {
        id: r
            .id
            .unwrap_or_else(|| clock::mint(u8::try_from(flow.partition).ok())),
        flow: r.flow,
        ordinal: store::edge::next_ordinal(db, r.flow),
        upstream: r.upstream,
        downstream: r.downstream,
        kind,
        data_ref: data_ref.map(str::to_owned),
        state: EdgeState::Pending,
    };
    store::edge::stage(db, std::slice::from_ref(&edge), now);
    flow.grow(0, 1, now);
    store::flow::save(db, &flow);
    Ok(Staged {
        before: false,
        edge,
        flow,
    })
}

/// Undoes what [`stage`] has just done.
pub fn unstage(db: &Db, mut staged: Staged) {
    store::edge::unstage(db, staged.edge.id);
    staged.flow.edges -= 1;
    staged.flow.revision -= 1;
    store::flow::save(db, &staged.flow);
}

fn taken(edge: &Edge) -> Error {
    Error::new(Kind::DependencyAlreadyExists)
        .with("edge_id", edge.id.to_string())
        .with(
            "edge",
            serde_json::json!({
                "edge_id": edge.id,
                "upstream_execution_id": edge.upstream,
                "downstream_execution_id": edge.downstream,
                "dependency_kind": edge.kind.word(),
                "data_passing_ref": edge.data_ref,
                "edge_state": edge.state.word(),
            }),
        )
}

/// Refuses an edge whose upstream can be reached from its downstream. The flow's lock keeps the graph as it is.
fn acyclic(db: &Db, upstream: Uuid, downstream: Uuid) -> Result<()> {
    if !store::edge::has_inbound(db, upstream) {
        return Ok(());
    }
    let limit = guc::MAX_GRAPH_WALK.value.get();
    let mut before: BTreeMap<Uuid, Uuid> = BTreeMap::new();
    for (id, via) in store::edge::reach(db, downstream) {
        before.entry(id).or_insert(via);
        if before.len() > limit as usize {
            return Err(too_large("max_graph_walk", i64::from(limit)));
        }
    }
    if !before.contains_key(&upstream) {
        return Ok(());
    }
    let mut path = vec![upstream];
    let mut at = upstream;
    while let Some(via) = before.get(&at).filter(|_| at != downstream) {
        path.push(*via);
        at = *via;
    }
    path.reverse();
    path.push(downstream);
    let path: Vec<String> = path.iter().map(Uuid::to_string).collect();
    Err(Error::new(Kind::CycleDetected).with("path", path))
}
