//! Interventions in flows: cancelling, replaying, siblings, tags (§40.7 to §40.10).

use pgrx::datum::{Interval, Uuid};
use pgrx::prelude::*;
use serde_json::{Map, Value};

use crate::error::{Error, Kind, Result};
use crate::guc;
use crate::model::time::MS;
use crate::ops::flow::cancel::{self, Cancelled, Mode, Request};
use crate::ops::flow::{backlog, replay, siblings, tags};
use crate::pg::jsonb::Jsonb;
use crate::pg::spi::Db;
use crate::pg::srf::TableIterator;

use super::{entry, limit, micros, object, positive_ms, required, uuid_in, uuid_out};

/// Most members that one call replays.
const MAX_REPLAYS: i32 = 10_000;

fn out(ids: Vec<uuid::Uuid>) -> Vec<Uuid> {
    ids.into_iter().map(uuid_out).collect()
}

/// How a cancellation waits for busy members.
fn mode(word: &str, wait: Option<Interval>) -> Result<Mode> {
    let ceiling = i64::from(guc::CANCEL_WAIT_CEILING.value.get());
    match word {
        "none" => Ok(Mode::None),
        "indefinite" => Ok(Mode::Wait(ceiling)),
        "timeout" => match required(positive_ms(wait, "wait")?, "wait")? {
            ms if ms > ceiling => {
                Err(Error::invalid_input("wait", "too_long").with("max_ms", ceiling))
            }
            ms => Ok(Mode::Wait(ms)),
        },
        _ => Err(Error::invalid_input("wait_mode", "unknown_word")),
    }
}

/// Cancels a flow and its members by policy.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::too_many_arguments, clippy::type_complexity)]
fn ff_cancel_flow(
    flow_id: Option<Uuid>,
    policy: default!(Option<String>, "'cancel_all'"),
    reason: default!(Option<String>, "'flow_cancelled'"),
    wait_mode: default!(Option<String>, "'none'"),
    wait: default!(Option<Interval>, "NULL"),
    requester: default!(Option<String>, "''"),
    escalate: default!(Option<bool>, "false"),
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(cancellation_policy, Option<&'static str>),
        name!(cancel_reason, Option<String>),
        name!(member_count, i32),
        name!(cancelled_count, i32),
        name!(member_execution_ids, Vec<Uuid>),
        name!(failed_member_execution_ids, Vec<Uuid>),
    ),
> {
    let c: Cancelled = entry(|db| {
        let request = Request {
            flow: uuid_in(required(flow_id, "flow_id")?),
            policy: &required(policy, "policy")?,
            reason: &required(reason, "reason")?,
            requester: &requester.unwrap_or_default(),
            escalate: required(escalate, "escalate")?,
        };
        let mode = mode(&required(wait_mode, "wait_mode")?, wait)?;
        cancel::cancel(db, &request, mode)
    });
    TableIterator::once((
        c.outcome,
        c.policy.map(|p| p.word()),
        c.reason,
        c.members as i32,
        c.cancelled as i32,
        out(c.ids),
        out(c.failed),
    ))
}

/// A grace in milliseconds, the setting's by default.
fn grace_ms(grace: Option<Interval>) -> Result<i64> {
    let invalid = |rule: &str| Error::new(Kind::InvalidGrace).with("rule", rule);
    match micros(grace, "grace") {
        Ok(None) => Ok(i64::from(guc::CANCEL_GRACE.value.get())),
        Ok(Some(us)) if us < 0 => Err(invalid("negative")),
        Ok(Some(us)) => Ok(us / MS),
        Err(error) => {
            let rule = error.detail_value("rule").and_then(Value::as_str);
            Err(invalid(rule.unwrap_or("not_finite")))
        }
    }
}

/// Cancels a flow and leaves its members to an external canceller.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_cancel_flow_header(
    flow_id: Option<Uuid>,
    policy: Option<String>,
    reason: Option<String>,
    grace: default!(Option<Interval>, "NULL"),
    requester: default!(Option<String>, "''"),
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(cancellation_policy, Option<&'static str>),
        name!(cancel_reason, Option<String>),
        name!(member_execution_ids, Vec<Uuid>),
    ),
> {
    let c = entry(|db| {
        let request = Request {
            flow: uuid_in(required(flow_id, "flow_id")?),
            policy: &required(policy, "policy")?,
            reason: &required(reason, "reason")?,
            requester: &requester.unwrap_or_default(),
            escalate: false,
        };
        cancel::header(db, &request, grace_ms(grace)?)
    });
    TableIterator::once((c.outcome, c.policy.map(|p| p.word()), c.reason, out(c.ids)))
}

/// Acknowledges a member that an external canceller has cancelled.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ff_ack_cancel_member(
    flow_id: Option<Uuid>,
    execution_id: Option<Uuid>,
    force: default!(Option<bool>, "false"),
) -> TableIterator<'static, (name!(outcome, &'static str), name!(remaining, i64))> {
    let row = entry(|db| {
        let flow = uuid_in(required(flow_id, "flow_id")?);
        let member = uuid_in(required(execution_id, "execution_id")?);
        Ok(backlog::acknowledge(
            db,
            flow,
            member,
            required(force, "force")?,
        ))
    });
    TableIterator::once(row)
}

/// Replays the members of a flow that ended in one of the ways named.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_replay_flow(
    flow_id: Option<Uuid>,
    outcomes: default!(Option<Vec<Option<String>>>, "'{failed,expired,skipped}'"),
    max_items: default!(Option<i32>, "1000"),
    reason: default!(Option<String>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(execution_id, Uuid),
        name!(outcome, &'static str),
        name!(public_state, &'static str),
        name!(has_more, bool),
    ),
> {
    let (rows, more) = entry(|db| {
        let flow = uuid_in(required(flow_id, "flow_id")?);
        let outcomes = super::claim::elements(outcomes, "outcomes")?;
        let limit = limit(max_items, "max_items", MAX_REPLAYS)?;
        replay::flow(db, flow, &outcomes, limit, reason.as_deref())
    });
    TableIterator::new(
        rows.into_iter()
            .map(move |r| (uuid_out(r.id), r.outcome, r.public_state, more)),
    )
}

/// The two ids of a group.
fn group(flow: Option<Uuid>, child: Option<Uuid>) -> Result<(uuid::Uuid, uuid::Uuid)> {
    let flow = uuid_in(required(flow, "flow_id")?);
    Ok((flow, uuid_in(required(child, "downstream_execution_id")?)))
}

/// Cancels the siblings of a fired group now.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ff_cancel_siblings(
    flow_id: Option<Uuid>,
    downstream_execution_id: Option<Uuid>,
    max_items: default!(Option<i32>, "NULL"),
) -> TableIterator<'static, (name!(execution_id, Uuid), name!(disposition, &'static str))> {
    let pass = entry(|db| {
        let (flow, child) = group(flow_id, downstream_execution_id)?;
        let batch = guc::SIBLING_CANCEL_BATCH.value.get();
        let limit = limit(Some(max_items.unwrap_or(batch)), "max_items", batch)?;
        Ok(siblings::cancel(db, flow, child, limit))
    });
    let handled = pass.handled.into_iter();
    TableIterator::new(handled.map(|(id, disposition)| (uuid_out(id), disposition)))
}

/// Forgets a request to cancel siblings.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ff_drain_sibling_cancel_group(
    flow_id: Option<Uuid>,
    downstream_execution_id: Option<Uuid>,
) -> &'static str {
    entry(|db| {
        let (flow, child) = group(flow_id, downstream_execution_id)?;
        Ok(siblings::drain(db, flow, child))
    })
}

/// Repairs one request to cancel siblings.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ff_reconcile_sibling_cancel_group(
    flow_id: Option<Uuid>,
    downstream_execution_id: Option<Uuid>,
) -> TableIterator<'static, (name!(action, &'static str), name!(detail, &'static str))> {
    let row = entry(|db| {
        let (flow, child) = group(flow_id, downstream_execution_id)?;
        Ok(siblings::reconcile(db, flow, child))
    });
    TableIterator::once(row)
}

fn set_tags(db: &Db, id: Option<Uuid>, patch: &Map<String, Value>) -> Result<()> {
    tags::set(db, uuid_in(required(id, "flow_id")?), patch)
}

/// Sets one tag of a flow.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ff_set_flow_tag(flow_id: Option<Uuid>, key: Option<String>, value: Option<String>) {
    entry(|db| {
        let key = required(key, "key")?;
        let value = required(value, "value")?;
        set_tags(db, flow_id, &Map::from_iter([(key, Value::String(value))]))
    });
}

/// Merges tags into those of a flow; JSON null removes a key. Returns the number of keys applied.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ff_set_flow_tags(flow_id: Option<Uuid>, tags: Option<Jsonb>) -> i32 {
    entry(|db| {
        let patch = object(Some(required(tags, "tags")?), "tags")?;
        set_tags(db, flow_id, &patch)?;
        Ok(patch.len() as i32)
    })
}
