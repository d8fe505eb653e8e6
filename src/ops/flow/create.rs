//! Creates a flow (§40.4).

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::model::flow::Flow;
use crate::model::{id, tags, text};
use crate::pg::spi::Db;
use crate::store;

use super::super::role::namespace::admitted;
use super::super::{clock, lane};

/// What is asked for.
pub struct Request<'a> {
    /// Chosen by the caller.
    pub id: Option<Uuid>,
    /// The caller's word.
    pub kind: &'a str,
    /// Namespace.
    pub namespace: &'a str,
    /// Tags.
    pub tags: &'a Map<String, Value>,
}

/// The flow, new or as it was.
pub struct Created {
    /// `created` or `already_satisfied`.
    pub outcome: &'static str,
    /// Its record.
    pub flow: Flow,
    /// Its namespace's name.
    pub namespace: String,
}

/// Creates a flow unless its id is in use.
///
/// # Errors
/// `invalid_input`, `invalid_tag_key`, `unauthorized`.
pub fn create(db: &Db, r: &Request) -> Result<Created> {
    text::literal("flow_kind", r.kind)?;
    text::identifier("namespace", r.namespace)?;
    tags::check(r.tags)?;
    admitted(db, r.namespace)?;
    let namespace = lane::ensure_namespace(db, r.namespace);
    let chosen = r.id.unwrap_or_else(|| clock::mint(None));
    let partition = i16::from(id::partition_of(chosen));
    let mut flow = Flow::new(chosen, partition, namespace, r.kind, clock::now());
    flow.tags = r.tags.clone();
    if store::flow::insert(db, &flow) {
        return Ok(Created {
            outcome: "created",
            flow,
            namespace: r.namespace.to_owned(),
        });
    }
    // In use by a flow of a namespace that the calling roles may not see, or under a snapshot that does not show it.
    let stored = store::flow::read(db, &[chosen]).pop().ok_or_else(|| {
        Error::new(Kind::Unauthorized)
            .say("the id belongs to a flow that the role may not see")
            .with("flow_id", chosen.to_string())
    })?;
    let namespace = store::lane::namespace_name(db, stored.namespace).unwrap_or_default();
    Ok(Created {
        outcome: "already_satisfied",
        flow: stored,
        namespace,
    })
}
