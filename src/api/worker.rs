//! The registry of workers (§10.19).

use pgrx::datum::{Interval, TimestampWithTimeZone};
use pgrx::prelude::*;

use crate::model::capability::{self, Side};
use crate::ops::worker::{heartbeat, mark_dead, register};
use crate::pg::srf::TableIterator;

use super::claim::elements;
use super::{entry, positive_ms, required, stamp};

/// Registers a worker instance, or refreshes its registration.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ff_register_worker(
    worker: Option<String>,
    worker_instance: Option<String>,
    lanes: Option<Vec<Option<String>>>,
    capabilities: default!(Option<Vec<Option<String>>>, "'{}'"),
    liveness_ttl: default!(Option<Interval>, "'60s'"),
    namespace: default!(Option<String>, "'default'"),
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(expires_at, Option<TimestampWithTimeZone>),
    ),
> {
    let (outcome, expires_at) = entry(|db| {
        let capabilities = required(capabilities, "capabilities")?;
        let request = register::Request {
            worker: &required(worker, "worker")?,
            instance: &required(worker_instance, "worker_instance")?,
            lanes: elements(lanes, "lanes")?,
            capabilities: &capability::normalise(
                Side::Worker,
                capabilities.iter().map(Option::as_deref),
            )?,
            ttl_ms: required(positive_ms(liveness_ttl, "liveness_ttl")?, "liveness_ttl")?,
            namespace: &required(namespace, "namespace")?,
        };
        register::register(db, request)
    });
    TableIterator::once((outcome, stamp(expires_at)))
}

/// Keeps a registration alive.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ff_heartbeat_worker(
    worker_instance: Option<String>,
    namespace: default!(Option<String>, "'default'"),
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(next_expiry, Option<TimestampWithTimeZone>),
    ),
> {
    let next = entry(|db| {
        let instance = required(worker_instance, "worker_instance")?;
        heartbeat::heartbeat(db, &instance, &required(namespace, "namespace")?)
    });
    TableIterator::once(match next {
        Some(at) => ("refreshed", stamp(at)),
        None => ("not_registered", None),
    })
}

/// Removes a registration, and with `revoke_leases` every lease the instance holds.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ff_mark_worker_dead(
    worker_instance: Option<String>,
    reason: Option<String>,
    namespace: default!(Option<String>, "'default'"),
    revoke_leases: default!(Option<bool>, false),
) -> TableIterator<'static, (name!(outcome, &'static str), name!(leases_revoked, i32))> {
    let (marked, revoked) = entry(|db| {
        let reason = required(reason, "reason")?;
        mark_dead::check_reason(&reason)?;
        let instance = required(worker_instance, "worker_instance")?;
        let namespace = required(namespace, "namespace")?;
        let revoke = required(revoke_leases, "revoke_leases")?;
        mark_dead::mark_dead(db, &instance, &reason, &namespace, revoke)
    });
    let outcome = if marked { "marked" } else { "not_registered" };
    TableIterator::once((outcome, revoked))
}
