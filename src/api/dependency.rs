//! Edges between members of a flow: staging, applying, resolving (§40.4, §40.5).

use pgrx::datum::Uuid;
use pgrx::prelude::*;

use crate::error::Result;
use crate::ops::flow::apply::{self, Applied};
use crate::ops::flow::stage::{self, Request};
use crate::ops::flow::{cascade, eligibility, repair, resolve};
use crate::pg::srf::TableIterator;

use super::{entry, required, uuid_in, uuid_out};

struct Asked {
    flow: Option<Uuid>,
    upstream: Option<Uuid>,
    downstream: Option<Uuid>,
    revision: Option<i64>,
    id: Option<Uuid>,
    kind: Option<String>,
    data_ref: Option<String>,
}

fn with_request<T>(asked: Asked, work: impl FnOnce(&Request) -> Result<T>) -> Result<T> {
    work(&Request {
        flow: uuid_in(required(asked.flow, "flow_id")?),
        upstream: uuid_in(required(asked.upstream, "upstream_execution_id")?),
        downstream: uuid_in(required(asked.downstream, "downstream_execution_id")?),
        revision: asked.revision,
        id: asked.id.map(uuid_in),
        kind: &required(asked.kind, "dependency_kind")?,
        data_ref: asked.data_ref.as_deref(),
    })
}

/// Stages an edge without touching the child.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::too_many_arguments, clippy::type_complexity)]
fn ff_stage_dependency_edge(
    flow_id: Option<Uuid>,
    upstream_execution_id: Option<Uuid>,
    downstream_execution_id: Option<Uuid>,
    expected_graph_revision: default!(Option<i64>, "NULL"),
    edge_id: default!(Option<Uuid>, "NULL"),
    dependency_kind: default!(Option<String>, "'success_only'"),
    data_passing_ref: default!(Option<String>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(edge_id, Uuid),
        name!(graph_revision, i64),
    ),
> {
    let asked = Asked {
        flow: flow_id,
        upstream: upstream_execution_id,
        downstream: downstream_execution_id,
        revision: expected_graph_revision,
        id: edge_id,
        kind: dependency_kind,
        data_ref: data_passing_ref,
    };
    let staged = entry(|db| with_request(asked, |request| stage::stage(db, request)));
    let outcome = if staged.before {
        "already_staged"
    } else {
        "staged"
    };
    TableIterator::once((outcome, uuid_out(staged.edge.id), staged.flow.revision))
}

type AppliedRow = (&'static str, i32, &'static str, &'static str);

fn applied_row(a: &Applied) -> AppliedRow {
    (a.outcome, a.open, a.state, a.effect)
}

/// Makes a staged edge count for the child.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_apply_dependency_to_child(
    flow_id: Option<Uuid>,
    edge_id: Option<Uuid>,
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(unsatisfied_count, i32),
        name!(group_state, &'static str),
        name!(child_effect, &'static str),
    ),
> {
    let a = entry(|db| {
        let flow = uuid_in(required(flow_id, "flow_id")?);
        apply::apply(db, flow, uuid_in(required(edge_id, "edge_id")?))
    });
    TableIterator::once(applied_row(&a))
}

/// Stages and applies an edge in one step.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::too_many_arguments, clippy::type_complexity)]
fn ff_add_dependency(
    flow_id: Option<Uuid>,
    upstream_execution_id: Option<Uuid>,
    downstream_execution_id: Option<Uuid>,
    dependency_kind: default!(Option<String>, "'success_only'"),
    data_passing_ref: default!(Option<String>, "NULL"),
    expected_graph_revision: default!(Option<i64>, "NULL"),
    edge_id: default!(Option<Uuid>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(edge_id, Uuid),
        name!(graph_revision, i64),
        name!(unsatisfied_count, i32),
        name!(group_state, &'static str),
        name!(child_effect, &'static str),
    ),
> {
    let asked = Asked {
        flow: flow_id,
        upstream: upstream_execution_id,
        downstream: downstream_execution_id,
        revision: expected_graph_revision,
        id: edge_id,
        kind: dependency_kind,
        data_ref: data_passing_ref,
    };
    let added = entry(|db| with_request(asked, |request| apply::add(db, request)));
    let (_, open, state, effect) = applied_row(&added.applied);
    let edge = uuid_out(added.edge);
    TableIterator::once((added.outcome, edge, added.revision, open, state, effect))
}

/// Resolves one due edge.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_resolve_dependency(
    flow_id: Option<Uuid>,
    edge_id: Option<Uuid>,
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(group_state, &'static str),
        name!(child_effect, &'static str),
        name!(data_injected, bool),
    ),
> {
    let r = entry(|db| {
        let flow = uuid_in(required(flow_id, "flow_id")?);
        resolve::resolve(db, flow, uuid_in(required(edge_id, "edge_id")?))
    });
    TableIterator::once((r.outcome, r.state, r.effect, r.data_injected))
}

/// Propagates one member's terminal transition now.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_cascade_completion(
    execution_id: Option<Uuid>,
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(edges_resolved, i32),
        name!(children_released, i32),
        name!(children_skipped, i32),
        name!(deferred, i32),
        name!(edges_remaining, i32),
    ),
> {
    let a = entry(|db| {
        let id = uuid_in(required(execution_id, "execution_id")?);
        Ok(cascade::one(db, id))
    });
    let r = a.report;
    let left = i32::try_from(a.remaining).unwrap_or(i32::MAX);
    TableIterator::once((
        a.outcome, r.resolved, r.released, r.skipped, r.deferred, left,
    ))
}

/// The verdict of an execution's edge group.
#[pg_extern(stable, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_evaluate_flow_eligibility(
    execution_id: Option<Uuid>,
) -> TableIterator<
    'static,
    (
        name!(status, &'static str),
        name!(total_deps, i32),
        name!(satisfied_count, i32),
        name!(failed_count, i32),
        name!(skipped_count, i32),
        name!(open_dependencies, i32),
    ),
> {
    let e = entry(|db| {
        let id = uuid_in(required(execution_id, "execution_id")?);
        Ok(eligibility::evaluate(db, id))
    });
    let counts = e.group.map_or((0, 0, 0, 0, 0), |g| {
        (g.total, g.satisfied, g.failed, g.skipped, g.open())
    });
    let (total, satisfied, failed, skipped, open) = counts;
    TableIterator::once((e.status, total, satisfied, failed, skipped, open))
}

/// Releases a child that waits for its upstreams without reason.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ff_promote_blocked_to_eligible(execution_id: Option<Uuid>) -> &'static str {
    entry(|db| repair::promote(db, uuid_in(required(execution_id, "execution_id")?)))
}
