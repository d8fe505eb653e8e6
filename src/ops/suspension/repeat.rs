//! Repeated suspends (§20.8): answered from what was recorded, before the fence, writing nothing.

use uuid::Uuid;

use crate::model::execution::Execution;
use crate::model::handle::{Handle, HandleKind};
use crate::model::suspension::close;
use crate::model::time::Instant;
use crate::pg::spi::Db;
use crate::store;

use super::super::installation;
use super::suspend::{Bound, Presented, Suspended};
use super::token;

/// The answer that this key has had, if it is remembered.
pub fn answer(
    db: &Db,
    e: &Execution,
    presented: &Presented,
    key: Option<&str>,
    now: Instant,
) -> Option<Suspended> {
    let key = key.filter(|key| !key.is_empty())?;
    let attempt = presented.fence.attempt_index.or(e.attempt_index())?;
    let s = store::suspension::recall(db, e.place.id, attempt, key, now)?;
    let fence = &presented.fence;
    let holds = e.lease_live(now)
        && e.lease.id == Some(fence.lease_id)
        && e.lease.epoch == fence.lease_epoch;
    let ring = store::secret::ring(db);
    let found = store::waitpoint::load(db, &s.waitpoints);
    let bindings = s
        .waitpoints
        .iter()
        .filter_map(|id| found.iter().find(|w| w.id() == *id))
        .map(|w| Bound {
            id: w.id(),
            key: w.subject.key.clone(),
            token: token::again(&ring, w, now),
            state: w.state,
            expires_at: w.expires_at,
        })
        .collect();
    // The step is being run again after the wake-up, or never had to wait.
    let satisfied = s.close_reason.as_deref() == Some(close::ALREADY_SATISFIED)
        || holds && s.closed && s.resumed;
    Some(Suspended {
        outcome: if satisfied {
            close::ALREADY_SATISFIED
        } else {
            "suspended"
        },
        id: s.id,
        handle: (!satisfied).then(|| {
            let attempt = (attempt, fence.attempt_id);
            handle(e.place.id, attempt, s.lease, installation::id(db))
        }),
        bindings,
        replayed: true,
    })
}

/// The handle of a lease that a suspension has released.
pub fn handle(
    execution_id: Uuid,
    (attempt_index, attempt_id): (i32, Uuid),
    (lease_id, lease_epoch): (Uuid, i64),
    installation: [u8; 4],
) -> String {
    Handle {
        kind: HandleKind::Suspended,
        installation,
        execution_id,
        attempt_index,
        attempt_id,
        lease_id,
        lease_epoch,
    }
    .encode()
}
