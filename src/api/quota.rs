//! Quota policies (§50.8).

use pgrx::datum::{Interval, Uuid};
use pgrx::prelude::*;

use crate::error::{Error, Kind, Result};
use crate::model::quota::{Denial, Limits};
use crate::ops::quota::admit::{self, Verdict};
use crate::ops::quota::define;
use crate::pg::srf::TableIterator;
use crate::store::attachment::Target;

use super::{entry, micros, required, uuid_in, uuid_out};

fn limits(
    requests: Option<i64>,
    window: Option<Interval>,
    concurrent: Option<i32>,
    jitter: Option<Interval>,
) -> Result<Limits> {
    let length = |value: Option<Interval>, argument: &str| {
        let value = required(value, argument)?;
        let micros = micros(Some(value), argument);
        let micros = micros.map_err(|_| {
            Error::new(Kind::InvalidQuotaSpec)
                .with("rule", "duration")
                .with("argument", argument)
        })?;
        Ok::<i64, Error>(micros.unwrap_or_default())
    };
    Ok(Limits {
        requests: required(requests, "max_requests_per_window")?,
        window_us: length(window, "window_length")?,
        concurrent: required(concurrent, "max_concurrent")?,
        jitter_us: length(jitter, "jitter")?,
    })
}

/// Makes a quota policy.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_create_quota_policy(
    max_requests_per_window: Option<i64>,
    window_length: Option<Interval>,
    max_concurrent: Option<i32>,
    jitter: default!(Option<Interval>, "'0'"),
    quota_policy_id: default!(Option<Uuid>, "NULL"),
) -> TableIterator<'static, (name!(outcome, &'static str), name!(quota_policy_id, Uuid))> {
    let (id, new) = entry(|db| {
        let limits = limits(
            max_requests_per_window,
            window_length,
            max_concurrent,
            jitter,
        )?;
        define::create(db, limits, quota_policy_id.map(uuid_in))
    });
    let outcome = if new { "created" } else { "already_satisfied" };
    TableIterator::once((outcome, uuid_out(id)))
}

/// Changes the limits of a quota policy.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ff_set_quota_limits(
    quota_policy_id: Option<Uuid>,
    max_requests_per_window: Option<i64>,
    window_length: Option<Interval>,
    max_concurrent: Option<i32>,
    jitter: default!(Option<Interval>, "'0'"),
) -> &'static str {
    entry(|db| {
        let id = uuid_in(required(quota_policy_id, "quota_policy_id")?);
        let limits = limits(
            max_requests_per_window,
            window_length,
            max_concurrent,
            jitter,
        )?;
        define::set_limits(db, id, limits)?;
        Ok("updated")
    })
}

/// Attaches a quota policy to a target.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ff_attach_quota(
    quota_policy_id: Option<Uuid>,
    target_type: Option<String>,
    target_id: Option<String>,
) -> &'static str {
    entry(|db| {
        let id = uuid_in(required(quota_policy_id, "quota_policy_id")?);
        let target = Target {
            kind: &required(target_type, "target_type")?,
            id: &required(target_id, "target_id")?,
        };
        let new = define::attach(db, id, target)?;
        Ok(if new { "attached" } else { "already_attached" })
    })
}

/// Detaches a quota policy from a target.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ff_detach_quota(
    quota_policy_id: Option<Uuid>,
    target_type: Option<String>,
    target_id: Option<String>,
) -> &'static str {
    entry(|db| {
        let id = uuid_in(required(quota_policy_id, "quota_policy_id")?);
        let target = Target {
            kind: &required(target_type, "target_type")?,
            id: &required(target_id, "target_id")?,
        };
        let gone = define::detach(db, id, target)?;
        Ok(if gone { "detached" } else { "not_attached" })
    })
}

/// Asks a quota policy for the start of an execution.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_check_admission(
    quota_policy_id: Option<Uuid>,
    execution_id: Option<Uuid>,
    dimension: default!(Option<String>, "'default'"),
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(retry_after, Option<Interval>),
    ),
> {
    let verdict = entry(|db| {
        let id = uuid_in(required(quota_policy_id, "quota_policy_id")?);
        let execution = uuid_in(required(execution_id, "execution_id")?);
        admit::check(db, id, execution, &required(dimension, "dimension")?)
    });
    TableIterator::once(match verdict {
        Verdict::Already => ("already_admitted", None),
        Verdict::Admitted(_) => ("admitted", None),
        Verdict::Denied(Denial::Concurrency) => ("concurrency_exceeded", None),
        Verdict::Denied(Denial::Rate { retry_after_us }) => {
            ("rate_exceeded", Interval::new(0, 0, retry_after_us).ok())
        }
    })
}

/// Gives the slot of an execution back.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ff_release_admission(quota_policy_id: Option<Uuid>, execution_id: Option<Uuid>) -> &'static str {
    entry(|db| {
        let id = uuid_in(required(quota_policy_id, "quota_policy_id")?);
        let execution = uuid_in(required(execution_id, "execution_id")?);
        let held = admit::release(db, id, execution)?;
        Ok(if held { "released" } else { "not_held" })
    })
}
