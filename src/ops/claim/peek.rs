//! Waits for work without a snapshot (§10.11.2): looks, sleeps holding nothing, looks again.

use std::time::{Duration, Instant};

use crate::guc;
use crate::pg::procedure::Procedure;
use crate::pg::process;
use crate::pg::spi::Db;
use crate::pg::waiter::Registration;
use crate::store;
use crate::store::ready::Wanted;

use super::super::clock;
use super::super::lane::hands_out;
use super::super::limit::gate::{Lane, lane_state};
use super::wait::pause;

/// What a waiter could claim.
pub struct Interest {
    /// Lanes, in any order.
    pub lanes: Vec<String>,
    /// Sorted capabilities.
    pub capabilities: Vec<String>,
    /// Only this namespace.
    pub namespace: Option<String>,
    /// Lowest and highest partition.
    pub partitions: (i16, i16),
    /// Lost leases too.
    pub reclaim: bool,
}

/// Waits until a claim could get something (`true`) or the time is over.
pub fn wait(procedure: &Procedure, interest: &Interest, timeout_ms: i64) -> bool {
    let timeout = timeout_ms.min(i64::from(guc::MAX_CALL_WAIT.value.get()));
    let until = Instant::now() + Duration::from_millis(timeout.unsigned_abs());
    let known: Vec<i32> = procedure.look(|db| {
        interest
            .lanes
            .iter()
            .filter_map(|name| store::lane::find(db, name))
            .map(|lane| lane.id)
            .collect()
    });
    let mut registration = Registration::new(if known.len() == interest.lanes.len() {
        &known
    } else {
        &[]
    });
    loop {
        registration.look();
        if procedure.look(|db| interest.lanes.iter().any(|lane| work(db, lane, interest))) {
            return true;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        registration.pass_on();
        process::sleep(left.min(pause(&registration)).as_millis() as i64);
    }
}

/// Whether a claim of the lane with these conditions could get something now. Changes nothing.
fn work(db: &Db, lane: &str, interest: &Interest) -> bool {
    let namespace = interest.namespace.as_deref();
    let Some(served) = store::queue::served(db, lane, &interest.capabilities, namespace) else {
        return false;
    };
    if !hands_out(&served.state) || served.queues.is_empty() {
        return false;
    }
    let queues: Vec<i32> = served.queues.iter().map(|(id, _)| *id).collect();
    let wanted = Wanted {
        reclaim: interest.reclaim,
        now: clock::now(),
        low: interest.partitions.0,
        high: interest.partitions.1,
        limit: 1,
    };
    // What cannot be read never admits.
    let fresh = match lane_state(db, lane).unwrap_or(Lane::Closed) {
        Lane::Open => true,
        Lane::ReclaimOnly => false,
        Lane::Closed => return false,
    };
    store::ready::any(db, served.lane, &queues, wanted, fresh)
}
