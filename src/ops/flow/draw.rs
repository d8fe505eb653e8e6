//! Draws a flow (§40.12).

use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::model::flow::drawing::{Direction, Picture};
use crate::pg::spi::Db;
use crate::store::flow_graph;

/// What of a flow is drawn.
pub struct Request {
    /// Flow.
    pub flow: Uuid,
    /// Only what is near this member.
    pub focus: Option<Uuid>,
    /// How near, in edges.
    pub radius: usize,
    /// At most so many members.
    pub max_nodes: usize,
}

/// The picture, none of an unknown flow.
///
/// # Errors
/// `invalid_input`, rule `graph_too_large`; `execution_not_in_flow` for a focus elsewhere.
pub fn picture(db: &Db, r: &Request) -> Result<Option<Picture>> {
    let Some(head) = flow_graph::head(db, r.flow) else {
        return Ok(None);
    };
    // A flow that is drawn whole need not be read to see that it is too large.
    if r.focus.is_none() && head.nodes as usize > r.max_nodes {
        return Err(too_large(head.nodes as usize, r.max_nodes));
    }
    let mut picture = flow_graph::picture(db, r.flow, head);
    if let Some(focus) = r.focus {
        if !picture.nodes.iter().any(|node| node.id == focus) {
            return Err(Error::new(Kind::ExecutionNotInFlow)
                .with("flow_id", r.flow.to_string())
                .with("execution_id", focus.to_string()));
        }
        picture = picture.around(focus, r.radius);
    }
    match picture.nodes.len() {
        n if n > r.max_nodes => Err(too_large(n, r.max_nodes)),
        _ => Ok(Some(picture)),
    }
}

fn too_large(nodes: usize, max: usize) -> Error {
    Error::invalid_input("max_nodes", "graph_too_large")
        .say("the flow has more members than are to be drawn")
        .with("nodes", nodes)
        .with("max_nodes", max)
        .hint("Draw the neighbourhood of one member with focus and radius, or raise max_nodes.")
}

/// The direction of a word.
///
/// # Errors
/// `invalid_input`.
pub fn direction(word: &str) -> Result<Direction> {
    Direction::from_word(word).ok_or_else(|| {
        Error::invalid_input("direction", "unknown_word").hint("A picture runs TD, LR, BT or RL.")
    })
}
