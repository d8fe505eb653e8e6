//! Interventions of an operator (§10.10, §10.16, §10.18) and tags (§10.8).

use pgrx::datum::{TimestampWithTimeZone, Uuid};
use pgrx::prelude::*;
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::ops::operator::block::Blocked;
use crate::ops::operator::{block, cancel, priority, replay, revoke, tags};
use crate::pg::jsonb::Jsonb;
use crate::pg::spi::Db;
use crate::pg::srf::TableIterator;

use super::{entry, instant, object, required, uuid_in, uuid_out};

/// Cancels an execution in any phase.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_cancel_execution(
    execution_id: Option<Uuid>,
    reason: Option<String>,
    source: default!(Option<String>, "'operator_override'"),
    lease_id: default!(Option<Uuid>, "NULL"),
    lease_epoch: default!(Option<i64>, "NULL"),
    attempt_id: default!(Option<Uuid>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(execution_id, Uuid),
        name!(public_state, &'static str),
        name!(cancelled_from, &'static str),
        name!(replayed, bool),
    ),
> {
    let row = entry(|db| {
        let id = required(execution_id, "execution_id")?;
        let request = cancel::Request {
            id: uuid_in(id),
            reason: &required(reason, "reason")?,
            source: &required(source, "source")?,
            fence: (lease_id.map(uuid_in), lease_epoch, attempt_id.map(uuid_in)),
        };
        let done = cancel::cancel(db, &request)?;
        Ok(("cancelled", id, "cancelled", done.from, done.replayed))
    });
    TableIterator::once(row)
}

/// Takes the lease of an execution away.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_revoke_lease(
    execution_id: Option<Uuid>,
    reason: default!(Option<String>, "'operator'"),
    expected_lease_id: default!(Option<Uuid>, "NULL"),
    expected_worker_instance: default!(Option<String>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(execution_id, Uuid),
        name!(lease_id, Option<Uuid>),
        name!(lease_epoch, Option<i64>),
        name!(worker_instance, Option<String>),
        name!(reason, Option<String>),
    ),
> {
    let row = entry(|db| {
        let id = required(execution_id, "execution_id")?;
        let reason = required(reason, "reason")?;
        let lease = expected_lease_id.map(uuid_in);
        let done = revoke::revoke(
            db,
            uuid_in(id),
            &reason,
            lease,
            expected_worker_instance.as_deref(),
        )?;
        let (outcome, why) = match done.satisfied {
            Some(why) => ("already_satisfied", why.to_owned()),
            None => ("revoked", reason),
        };
        let lease = &done.execution.lease;
        Ok((
            outcome,
            id,
            lease.id.map(uuid_out),
            Some(lease.epoch),
            done.instance,
            Some(why),
        ))
    });
    TableIterator::once(row)
}

/// Changes the priority of an execution that has not ended.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_change_priority(
    execution_id: Option<Uuid>,
    priority: Option<i32>,
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(execution_id, Uuid),
        name!(old_priority, i32),
        name!(new_priority, i32),
    ),
> {
    let row = entry(|db| {
        let id = required(execution_id, "execution_id")?;
        let (old, new) = priority::change(db, uuid_in(id), required(priority, "priority")?)?;
        let outcome = if old == new { "unchanged" } else { "changed" };
        Ok((outcome, id, i32::from(old), i32::from(new)))
    });
    TableIterator::once(row)
}

/// Starts a terminal execution anew.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_replay_execution(
    execution_id: Option<Uuid>,
    reason: default!(Option<String>, "NULL"),
    execution_deadline: default!(Option<TimestampWithTimeZone>, "NULL"),
    requested_by: default!(Option<String>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(execution_id, Uuid),
        name!(public_state, &'static str),
        name!(replay_count, i32),
        name!(open_dependencies, i32),
    ),
> {
    let row = entry(|db| {
        let id = required(execution_id, "execution_id")?;
        let request = replay::Request {
            id: uuid_in(id),
            reason: reason.as_deref(),
            deadline: instant(execution_deadline),
            requested_by: requested_by.as_deref(),
        };
        let done = replay::replay(db, &request)?;
        let e = &done.execution;
        let state = e.vector.public_state().word();
        Ok(("replayed", id, state, e.replays, done.open))
    });
    TableIterator::once(row)
}

type BlockRow = (&'static str, &'static str, &'static str);

fn block_row(done: Blocked) -> BlockRow {
    let v = &done.execution.vector;
    (done.outcome, v.eligibility.word(), v.public_state().word())
}

/// Keeps an execution from being handed out.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_block_execution(
    execution_id: Option<Uuid>,
    reason: Option<String>,
    detail: default!(Option<String>, "NULL"),
    recheck_at: default!(Option<TimestampWithTimeZone>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(eligibility_state, &'static str),
        name!(public_state, &'static str),
    ),
> {
    let done = entry(|db| {
        let id = uuid_in(required(execution_id, "execution_id")?);
        block::block(
            db,
            id,
            &required(reason, "reason")?,
            detail.as_deref(),
            instant(recheck_at),
        )
    });
    TableIterator::once(block_row(done))
}

/// Notes that no worker covers an execution's requirement; it stays claimable for one that does.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_block_route(
    execution_id: Option<Uuid>,
    detail: default!(Option<String>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(eligibility_state, &'static str),
        name!(public_state, &'static str),
    ),
> {
    let done = entry(|db| {
        let id = uuid_in(required(execution_id, "execution_id")?);
        block::block(
            db,
            id,
            "waiting_for_capable_worker",
            detail.as_deref(),
            None,
        )
    });
    TableIterator::once(block_row(done))
}

/// Lets a blocked execution be handed out again.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_unblock_execution(
    execution_id: Option<Uuid>,
    expected_reason: default!(Option<String>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(eligibility_state, &'static str),
        name!(public_state, &'static str),
    ),
> {
    let done = entry(|db| {
        let id = uuid_in(required(execution_id, "execution_id")?);
        block::unblock(db, id, expected_reason.as_deref())
    });
    TableIterator::once(block_row(done))
}

fn set_tags(db: &Db, id: Option<Uuid>, patch: &Map<String, Value>) -> Result<()> {
    tags::set(db, uuid_in(required(id, "execution_id")?), patch)
}

/// Sets one tag.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ff_set_execution_tag(execution_id: Option<Uuid>, key: Option<String>, value: Option<String>) {
    entry(|db| {
        let key = required(key, "key")?;
        let value = required(value, "value")?;
        set_tags(
            db,
            execution_id,
            &Map::from_iter([(key, Value::String(value))]),
        )
    });
}

/// Merges tags; JSON null removes a key. Returns the number of keys applied.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ff_set_execution_tags(execution_id: Option<Uuid>, tags: Option<Jsonb>) -> i32 {
    entry(|db| {
        let patch = object(Some(required(tags, "tags")?), "tags")?;
        if patch.is_empty() {
            return Err(Error::invalid_input("tags", "empty"));
        }
        set_tags(db, execution_id, &patch)?;
        Ok(patch.len() as i32)
    })
}
