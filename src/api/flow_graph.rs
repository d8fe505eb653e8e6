//! Flows from documents and flows as pictures (§40.11, §40.12).

use pgrx::datum::Uuid;
use pgrx::prelude::*;

use crate::error::{Error, Result};
use crate::model::flow::drawing::{Direction, Picture};
use crate::ops::flow::{draw, graph};
use crate::pg::jsonb::Jsonb;
use crate::pg::srf::TableIterator;

use super::{entry, required, uuid_in, uuid_out};

/// Creates a whole flow from one document.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_create_flow_graph(
    document: Option<Jsonb>,
    idempotency_key: default!(Option<String>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(flow_id, Uuid),
        name!(graph_revision, i64),
        name!(node_count, i32),
        name!(edge_count, i32),
        name!(members, Jsonb),
    ),
> {
    let graph = entry(|db| {
        let document = required(document, "document")?.parse();
        graph::create(db, &document, idempotency_key.as_deref())
    });
    TableIterator::once((
        graph.outcome,
        uuid_out(graph.flow),
        graph.revision,
        graph.nodes,
        graph.edges,
        Jsonb::from_json(&graph.members.into()),
    ))
}

/// Lists what is wrong with the document of a flow.
#[pg_extern(stable, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ff_validate_flow_document(
    document: Option<Jsonb>,
) -> TableIterator<'static, (name!(path, String), name!(error, String))> {
    let faults = entry(|db| {
        let document = required(document, "document")?.parse();
        Ok(graph::validate(db, &document))
    });
    TableIterator::new(faults.into_iter().map(|f| (f.path, f.error)))
}

/// The arguments of a picture.
struct Asked {
    flow: Option<Uuid>,
    focus: Option<Uuid>,
    radius: Option<i32>,
    max_nodes: Option<i32>,
    direction: Option<String>,
}

/// A picture in one of the two forms.
fn drawn(
    db: &crate::pg::spi::Db,
    asked: Asked,
    form: fn(&Picture, Direction) -> String,
) -> Result<Option<String>> {
    let size = |value: Option<i32>, argument: &str| {
        usize::try_from(required(value, argument)?)
            .map_err(|_| Error::invalid_input(argument, "negative"))
    };
    let direction = draw::direction(&required(asked.direction, "direction")?)?;
    let request = draw::Request {
        flow: uuid_in(required(asked.flow, "flow_id")?),
        focus: asked.focus.map(uuid_in),
        radius: size(asked.radius, "radius")?,
        max_nodes: size(asked.max_nodes, "max_nodes")?,
    };
    let picture = draw::picture(db, &request)?;
    Ok(picture.map(|picture| form(&picture, direction)))
}

macro_rules! pictures {
    ($(#[$doc:meta] $function:ident = $form:expr;)*) => {
        $(
            #[$doc]
            #[pg_extern(stable, parallel_unsafe, security_definer)]
            #[search_path(pg_catalog, pg_temp)]
            fn $function(
                flow_id: Option<Uuid>,
                focus: default!(Option<Uuid>, "NULL"),
                radius: default!(Option<i32>, "2"),
                max_nodes: default!(Option<i32>, "500"),
                direction: default!(Option<String>, "'TD'"),
            ) -> Option<String> {
                let asked = Asked {
                    flow: flow_id,
                    focus,
                    radius,
                    max_nodes,
                    direction,
                };
                entry(|db| drawn(db, asked, $form))
            }
        )*
    };
}

pictures! {
    /// A flow as a Mermaid flowchart.
    ff_flow_mermaid = Picture::mermaid;
    /// A flow as a DOT digraph.
    ff_flow_dot = Picture::dot;
}
