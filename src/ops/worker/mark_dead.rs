//! Declares a worker instance dead (§10.19), and takes its leases away if asked to.

use crate::error::Result;
use crate::model::event::Code;
use crate::model::execution::Execution;
use crate::model::text;
use crate::model::transition;
use crate::model::words::Ownership;
use crate::pg::spi::Db;
use crate::store;
use crate::store::worker::Seat;

use super::super::{clock, save};
use super::{announce, check, find};

/// Longest reason in bytes.
const MAX_REASON_BYTES: usize = 256;

/// Checks the reason, which comes before everything else.
///
/// # Errors
/// `invalid_input`.
pub fn check_reason(reason: &str) -> Result<()> {
    text::reason("reason", reason, MAX_REASON_BYTES)
}

/// Removes a live registration; returns whether there was one, and how many leases were revoked.
///
/// # Errors
/// `invalid_input`.
pub fn mark_dead(
    db: &Db,
    instance: &str,
    reason: &str,
    namespace: &str,
    revoke: bool,
) -> Result<(bool, i32)> {
    check(instance, namespace)?;
    let Some(seat) = find(db, instance, namespace) else {
        return Ok((false, 0));
    };
    let before = store::worker::lock(db, &seat);
    let now = clock::now();
    let live = before.filter(|registration| registration.is_live(now));
    if let Some(registration) = &live {
        store::worker::remove(db, std::slice::from_ref(&seat));
        let worker = &registration.worker;
        announce(db, now, Code::WorkerMarkedDead, &seat, worker, Some(reason));
    }
    let revoked = if revoke {
        revoke_leases(db, &seat, namespace, &format!("worker_dead: {reason}"))
    } else {
        0
    };
    Ok((live.is_some(), revoked))
}

/// T9 for every lease the instance holds in the namespace; returns how many there were.
fn revoke_leases(db: &Db, seat: &Seat, namespace: &str, reason: &str) -> i32 {
    let mut ids: Vec<_> = store::held::by(db, None, &seat.instance, Some(namespace))
        .iter()
        .map(|held| held.execution.place.id)
        .collect();
    ids.sort_unstable();
    // Between look and lock a lease may have ended, or gone to somebody else.
    let held: Vec<_> = store::execution::lock_all(db, &ids)
        .into_iter()
        .filter(|e| e.vector.ownership == Ownership::Leased && is_holder(db, e, &seat.instance))
        .collect();
    let now = clock::now();
    let changes: Vec<_> = held
        .into_iter()
        .map(|e| transition::revoke(e, reason, now))
        .collect();
    save::apply(db, &changes, now);
    changes.len() as i32
}

fn is_holder(db: &Db, e: &Execution, instance: &str) -> bool {
    let holder = e
        .lease
        .claimer
        .and_then(|claimer| store::claimer::read(db, claimer));
    holder.is_some_and(|claimer| claimer.instance == instance)
}
