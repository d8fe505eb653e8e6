//! What a worker does to wait for the outside (§20.5, §20.6, §20.14, §20.17), and who resumes it (§20.15, §20.16).

use pgrx::datum::{Interval, TimestampWithTimeZone, Uuid};
use pgrx::prelude::*;

use crate::error::{Error, Kind, Result};
use crate::model::fence::Fence;
use crate::ops::lease::fenced;
use crate::ops::suspension::suspend::{self, Presented, Request, Suspended};
use crate::ops::suspension::{close, expire, observe, resume, waitpoint};
use crate::pg::jsonb::Jsonb;
use crate::pg::spi::Db;
use crate::pg::srf::TableIterator;

use super::{document, entry, instant, micros, required, stamp, uuid_in, uuid_out};

type Row = (
    &'static str,
    Uuid,
    Option<String>,
    i32,
    Uuid,
    String,
    Option<String>,
    &'static str,
    Option<TimestampWithTimeZone>,
    &'static str,
    bool,
);

fn rows(s: Suspended) -> TableIterator<'static, Row> {
    let public_state = match s.outcome {
        "suspended" => "suspended",
        _ => "active",
    };
    let (outcome, id, handle, replayed) = (s.outcome, uuid_out(s.id), s.handle, s.replayed);
    TableIterator::new(s.bindings.into_iter().enumerate().map(move |(i, b)| {
        (
            outcome,
            id,
            handle.clone(),
            i as i32 + 1,
            uuid_out(b.id),
            b.key,
            b.token,
            b.state.word(),
            b.expires_at.and_then(stamp),
            public_state,
            replayed,
        )
    }))
}

/// Declares a function that suspends: what it is called with beside the arguments all of them share.
macro_rules! suspends {
    ($(#[$meta:meta])* fn $name:ident($($first:ident: $type:ty),* ; $($extra:tt)*) |$db:ident| $presented:expr) => {
        $(#[$meta])*
        #[pg_extern(volatile, parallel_unsafe, security_definer)]
        #[allow(clippy::too_many_arguments, clippy::type_complexity)]
        fn $name(
            $($first: $type,)*
            condition: Option<Jsonb>,
            $($extra)*
            waitpoints: default!(Option<Jsonb>, "NULL"),
            reason: default!(Option<String>, "'waiting_for_signal'"),
            timeout: default!(Option<Interval>, "NULL"),
            timeout_at: default!(Option<TimestampWithTimeZone>, "NULL"),
            timeout_behavior: default!(Option<String>, "NULL"),
            resume_policy: default!(Option<Jsonb>, "'{}'"),
            continuation: default!(Option<String>, "NULL"),
            requested_by: default!(Option<String>, "'worker'"),
            idempotency_key: default!(Option<String>, "NULL"),
            suspension_id: default!(Option<Uuid>, "NULL"),
        ) -> TableIterator<
            'static,
            (
                name!(outcome, &'static str),
                name!(suspension_id, Uuid),
                name!(handle, Option<String>),
                name!(ordinal, i32),
                name!(waitpoint_id, Uuid),
                name!(waitpoint_key, String),
                name!(waitpoint_token, Option<String>),
                name!(waitpoint_state, &'static str),
                name!(expires_at, Option<TimestampWithTimeZone>),
                name!(public_state, &'static str),
                name!(replayed, bool),
            ),
        > {
            rows(entry(|$db| {
                let request = Request {
                    condition: required(condition, "condition")?.parse(),
                    waitpoints: waitpoints.map(|w| w.parse()),
                    reason: &required(reason, "reason")?,
                    timeout: micros(timeout, "timeout")?,
                    timeout_at: instant(timeout_at),
                    behavior: timeout_behavior.as_deref(),
                    policy: document(resume_policy),
                    continuation: continuation.as_deref(),
                    requested_by: &required(requested_by, "requested_by")?,
                    key: idempotency_key.as_deref(),
                    id: suspension_id.map(uuid_in),
                };
                let checked = suspend::check(&request)?;
                let presented: Presented = $presented?;
                suspend::suspend($db, &presented, checked)
            }))
        }
    };
}

suspends! {
    /// Suspends the execution of a handle until its condition holds.
    fn ff_suspend(handle: Option<String>;) |db| {
        fenced::decode(db, &required(handle, "handle")?).map(|h| (&h).into())
    }
}

suspends! {
    /// Suspends for callers that keep the fence instead of a handle.
    fn ff_suspend_execution(
        execution_id: Option<Uuid>,
        lease_id: Option<Uuid>,
        lease_epoch: Option<i64>,
        attempt_id: Option<Uuid>;
        attempt_index: default!(Option<i32>, "NULL"),
    ) |db| presented(execution_id, (lease_id, lease_epoch, attempt_id), attempt_index)
}

/// A whole fence from its three parts; there is no override.
fn presented(
    execution: Option<Uuid>,
    parts: (Option<Uuid>, Option<i64>, Option<Uuid>),
    attempt_index: Option<i32>,
) -> Result<Presented> {
    let execution = uuid_in(required(execution, "execution_id")?);
    let fence = match parts {
        (Some(lease), Some(lease_epoch), Some(attempt)) => Fence {
            lease_id: uuid_in(lease),
            lease_epoch,
            attempt_id: uuid_in(attempt),
            attempt_index,
        },
        (None, None, None) => {
            return Err(Error::new(Kind::FenceRequired)
                .hint("Pass lease_id, lease_epoch and attempt_id; nothing overrides them here."));
        }
        _ => return Err(Error::new(Kind::PartialFenceTriple)),
    };
    Ok(Presented {
        execution,
        fence,
        kind: None,
    })
}

/// Creates a waitpoint ahead of its suspension.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_create_waitpoint(
    handle: Option<String>,
    waitpoint_key: Option<String>,
    expires_in: Option<Interval>,
    waitpoint_id: default!(Option<Uuid>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(waitpoint_id, Uuid),
        name!(waitpoint_key, String),
        name!(waitpoint_token, String),
        name!(expires_at, Option<TimestampWithTimeZone>),
    ),
> {
    let w = entry(|db| {
        let handle = required(handle, "handle")?;
        let key = required(waitpoint_key, "waitpoint_key")?;
        waitpoint::check_key(&key)?;
        let expires_in = required(micros(expires_in, "expires_in")?, "expires_in")?;
        let handle = fenced::decode(db, &handle)?;
        waitpoint::create(db, &handle, &key, expires_in, waitpoint_id.map(uuid_in))
    });
    TableIterator::once((uuid_out(w.id), w.key, w.token, stamp(w.expires_at)))
}

/// Closes a waitpoint before its suspension ends.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_close_waitpoint(
    waitpoint_id: Option<Uuid>,
    reason: default!(Option<String>, "'proactive_close'"),
    handle: default!(Option<String>, "NULL"),
    force: default!(Option<bool>, "false"),
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(state, &'static str),
        name!(still_satisfiable, Option<bool>),
    ),
> {
    let c = entry(|db| {
        let id = uuid_in(required(waitpoint_id, "waitpoint_id")?);
        let reason = required(reason, "reason")?;
        let force = required(force, "force")?;
        let handle = decoded(db, handle)?;
        close::close(db, id, &reason, handle.as_ref(), force)
    });
    TableIterator::once((c.outcome, c.state, c.still_satisfiable))
}

fn decoded(db: &Db, handle: Option<String>) -> Result<Option<crate::model::handle::Handle>> {
    handle.map(|text| fenced::decode(db, &text)).transpose()
}

/// Resumes a suspended execution without a signal.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_resume_execution(
    execution_id: Option<Uuid>,
    trigger: default!(Option<String>, "'operator'"),
    resume_delay: default!(Option<Interval>, "'0'"),
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(execution_id, Uuid),
        name!(public_state, &'static str),
        name!(delay_until, Option<TimestampWithTimeZone>),
    ),
> {
    let e = entry(|db| {
        let id = uuid_in(required(execution_id, "execution_id")?);
        let trigger = required(trigger, "trigger")?;
        let delay = required(micros(resume_delay, "resume_delay")?, "resume_delay")?;
        resume::resume(db, id, &trigger, delay)
    });
    TableIterator::once((
        "resumed",
        uuid_out(e.place.id),
        e.vector.public_state().word(),
        e.delay_until.and_then(stamp),
    ))
}

/// Applies a due suspension timeout to one execution.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_expire_suspension(
    execution_id: Option<Uuid>,
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(behavior, Option<&'static str>),
        name!(public_state, Option<&'static str>),
    ),
> {
    let row = entry(|db| expire::expire(db, uuid_in(required(execution_id, "execution_id")?)));
    TableIterator::once(row)
}

/// The signals of the attempt's latest suspension.
#[pg_extern(stable, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_observe_signals(
    handle: Option<String>,
    include_unmatched: default!(Option<bool>, "false"),
) -> TableIterator<
    'static,
    (
        name!(signal_seq, i64),
        name!(signal_id, Uuid),
        name!(waitpoint_id, Uuid),
        name!(waitpoint_key, String),
        name!(signal_name, String),
        name!(signal_category, String),
        name!(source_type, String),
        name!(source_identity, String),
        name!(correlation_id, Option<String>),
        name!(payload, Option<Vec<u8>>),
        name!(payload_encoding, String),
        name!(accepted_at, Option<TimestampWithTimeZone>),
        name!(matched, bool),
        name!(closer, bool),
    ),
> {
    let signals = entry(|db| {
        let handle = required(handle, "handle")?;
        let unmatched = required(include_unmatched, "include_unmatched")?;
        observe::signals(db, &fenced::shown(db, &handle)?, unmatched)
    });
    TableIterator::new(signals.into_iter().map(|s| {
        (
            s.seq,
            uuid_out(s.id),
            uuid_out(s.waitpoint),
            s.key,
            s.name,
            s.category,
            s.source_type,
            s.source_identity,
            s.correlation_id,
            s.payload,
            s.encoding,
            stamp(s.accepted_at),
            s.matched,
            s.closer,
        )
    }))
}

/// Why and how the attempt was resumed.
#[pg_extern(stable, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_resume_context(
    handle: Option<String>,
) -> TableIterator<
    'static,
    (
        name!(suspension_id, Uuid),
        name!(reason, String),
        name!(close_reason, Option<String>),
        name!(resume_trigger, Option<String>),
        name!(continuation, Option<String>),
        name!(suspended_at, Option<TimestampWithTimeZone>),
        name!(closed_at, Option<TimestampWithTimeZone>),
        name!(timed_out, bool),
        name!(closer_signal_id, Option<Uuid>),
    ),
> {
    let context = entry(|db| {
        let handle = required(handle, "handle")?;
        observe::context(db, &fenced::shown(db, &handle)?)
    });
    TableIterator::new(context.into_iter().map(|c| {
        let timed_out = c
            .close_reason
            .as_deref()
            .is_some_and(|word| word.starts_with("timed_out"));
        (
            uuid_out(c.id),
            c.reason,
            c.close_reason,
            c.trigger,
            c.continuation,
            stamp(c.suspended_at),
            c.closed_at.and_then(stamp),
            timed_out,
            c.closer.map(uuid_out),
        )
    }))
}
