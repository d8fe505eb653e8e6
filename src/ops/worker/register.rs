//! Registers a worker instance, or refreshes its registration (§10.19).

use std::collections::BTreeSet;

use crate::error::{Error, Kind, Result};
use crate::model::event::Code;
use crate::model::registration::Registration;
use crate::model::time::{DAY, Instant, MS};
use crate::model::{lane_name, text};
use crate::pg::spi::Db;
use crate::store;
use crate::store::worker::{Announcement, Seat};

use super::super::role::namespace::admitted;
use super::super::{clock, lane};
use super::{announce, check};

/// Longest liveness time in milliseconds.
const MAX_TTL_MS: i64 = DAY / MS;
/// Most lanes of one registration.
const MAX_LANES: usize = 256;

/// What a worker says of itself.
pub struct Request<'a> {
    /// Pool identity.
    pub worker: &'a str,
    /// Process identity.
    pub instance: &'a str,
    /// Lanes it serves.
    pub lanes: Vec<String>,
    /// Sorted capabilities.
    pub capabilities: &'a [String],
    /// Liveness time in milliseconds.
    pub ttl_ms: i64,
    /// Namespace it serves.
    pub namespace: &'a str,
}

/// Registers; returns the outcome word and until when it holds.
///
/// # Errors
/// `invalid_input`, `invalid_lane`; `unauthorized` for a namespace the caller is not bound to; `worker_instance_reassigned` if the live instance is another worker's.
pub fn register(db: &Db, r: Request) -> Result<(&'static str, Instant)> {
    text::identifier("worker", r.worker)?;
    check(r.instance, r.namespace)?;
    admitted(db, r.namespace)?;
    let lanes = lanes(r.lanes)?;
    if r.ttl_ms > MAX_TTL_MS {
        return Err(Error::invalid_input("liveness_ttl", "too_long").with("max_ms", MAX_TTL_MS));
    }
    let seat = Seat {
        namespace: lane::ensure_namespace(db, r.namespace),
        instance: r.instance.to_owned(),
    };
    let before = store::worker::seat(db, &seat);
    let now = clock::now();
    let live = before.is_live(now);
    if live && before.worker != r.worker {
        return Err(Error::new(Kind::WorkerInstanceReassigned)
            .with("namespace", r.namespace)
            .with("worker_instance", r.instance)
            .with("worker", before.worker));
    }
    let registration = Registration {
        worker: r.worker.to_owned(),
        registered_at: if live { before.registered_at } else { now },
        expires_at: now.plus(r.ttl_ms * MS),
        ttl_ms: r.ttl_ms as i32,
    };
    let announcement = Announcement {
        registration: &registration,
        lanes: &lanes,
        capabilities: r.capabilities,
    };
    store::worker::fill(db, &seat, &announcement);
    let (outcome, code) = if live {
        ("refreshed", Code::WorkerRefreshed)
    } else {
        ("registered", Code::WorkerRegistered)
    };
    announce(db, now, code, &seat, r.worker, None);
    Ok((outcome, registration.expires_at))
}

/// Lane names, sorted by bytes and without duplicates.
fn lanes(names: Vec<String>) -> Result<Vec<String>> {
    for name in &names {
        lane_name::check(name)?;
    }
    let set: BTreeSet<String> = names.into_iter().collect();
    match set.len() {
        0 => Err(Error::invalid_input("lanes", "empty")),
        n if n > MAX_LANES => Err(Error::invalid_input("lanes", "too_many")
            .with("items", n)
            .with("limit", MAX_LANES)),
        _ => Ok(set.into_iter().collect()),
    }
}
