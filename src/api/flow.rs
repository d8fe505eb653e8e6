//! Flows: creating, joining, sealing, their state (§40.4, §40.6).

use pgrx::datum::{Interval, Uuid};
use pgrx::prelude::*;

use crate::error::Error;
use crate::ops::clock;
use crate::ops::flow::create::{self, Request};
use crate::ops::flow::wait::{self, Condition};
use crate::ops::flow::{close, member, policy, seal};
use crate::pg::jsonb::Jsonb;
use crate::pg::srf::TableIterator;

use super::{document, entry, object, required, uuid_in, uuid_out, wait_ms};

/// Creates a flow.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_create_flow(
    flow_id: default!(Option<Uuid>, "NULL"),
    flow_kind: default!(Option<String>, "'dag'"),
    namespace: default!(Option<String>, "'default'"),
    tags: default!(Option<Jsonb>, "'{}'"),
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(flow_id, Uuid),
        name!(partition_key, i16),
        name!(public_flow_state, &'static str),
        name!(graph_revision, i64),
        name!(flow_kind, String),
        name!(namespace, String),
    ),
> {
    let c = entry(|db| {
        let tags = object(tags, "tags")?;
        let request = Request {
            id: flow_id.map(uuid_in),
            kind: &required(flow_kind, "flow_kind")?,
            namespace: &required(namespace, "namespace")?,
            tags: &tags,
        };
        create::create(db, &request)
    });
    TableIterator::once((
        c.outcome,
        uuid_out(c.flow.id),
        c.flow.partition,
        c.flow.state.word(),
        c.flow.revision,
        c.flow.kind,
        c.namespace,
    ))
}

/// Makes an execution a member of a flow.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_add_execution_to_flow(
    flow_id: Option<Uuid>,
    execution_id: Option<Uuid>,
    node_name: default!(Option<String>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(execution_id, Option<Uuid>),
        name!(node_count, i32),
        name!(graph_revision, i64),
    ),
> {
    let a = entry(|db| {
        let flow = uuid_in(required(flow_id, "flow_id")?);
        let id = uuid_in(required(execution_id, "execution_id")?);
        member::add(db, flow, id, node_name.as_deref())
    });
    TableIterator::once((a.outcome, execution_id, a.nodes, a.revision))
}

/// Declares when a child is released.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ff_set_edge_group_policy(
    flow_id: Option<Uuid>,
    downstream_execution_id: Option<Uuid>,
    policy: Option<Jsonb>,
) -> TableIterator<'static, (name!(outcome, &'static str), name!(policy, Jsonb))> {
    let (outcome, policy) = entry(|db| {
        let flow = uuid_in(required(flow_id, "flow_id")?);
        let child = uuid_in(required(
            downstream_execution_id,
            "downstream_execution_id",
        )?);
        let policy = document(Some(required(policy, "policy")?));
        policy::set(db, flow, child, &policy)
    });
    TableIterator::once((outcome, Jsonb::from_json(&policy)))
}

/// Closes a flow for further members and edges.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ff_seal_flow(
    flow_id: Option<Uuid>,
) -> TableIterator<'static, (name!(outcome, &'static str), name!(graph_revision, i64))> {
    let sealed = entry(|db| seal::seal(db, uuid_in(required(flow_id, "flow_id")?)));
    TableIterator::once(sealed)
}

/// Stores the summary of a flow, and closes it when it is due.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ff_project_flow_summary(flow_id: Option<Uuid>) -> bool {
    entry(|db| {
        let id = uuid_in(required(flow_id, "flow_id")?);
        Ok(close::project(db, id, clock::now(), true)?.stored)
    })
}

/// Waits until all members of a flow have ended, or until it is cancelled for good.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_wait_flow(
    flow_id: Option<Uuid>,
    condition: default!(Option<String>, "'terminal'"),
    wait: default!(Option<Interval>, "'5s'"),
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(public_flow_state, Option<String>),
        name!(derived_state, Option<String>),
        name!(owed_members, Option<i64>),
    ),
> {
    let (outcome, standing) = entry(|db| {
        let id = uuid_in(required(flow_id, "flow_id")?);
        let condition = match required(condition, "condition")?.as_str() {
            "terminal" => Condition::Terminal,
            "cancelled" => Condition::Cancelled,
            _ => return Err(Error::invalid_input("condition", "unknown_word")),
        };
        let wait = wait.map(|wait| wait_ms(Some(wait), "wait")).transpose()?;
        wait::wait(db, id, condition, wait)
    });
    let (state, derived, owed) = match standing {
        Some(s) => (Some(s.state), Some(s.derived), Some(s.owed)),
        None => (None, None, None),
    };
    TableIterator::once((outcome, state, derived, owed))
}
