//! Renews leases (§10.14.1). A single renewal is a batch of one.

use crate::error::{Error, Result};
use crate::guc;
use crate::model::event::{Code, Event};
use crate::model::execution::Execution;
use crate::model::fence::{self, Caller};
use crate::model::time::{Instant, MS};
use crate::model::transition::Change;
use crate::pg::spi::Db;
use crate::store;

use super::super::{clock, save};
use super::fenced;

/// A renewed lease.
#[derive(Clone, Copy, Debug)]
pub struct Renewed {
    /// Whose.
    pub id: uuid::Uuid,
    /// New end.
    pub expires_at: Instant,
    /// Unchanged epoch.
    pub epoch: i64,
    /// Length in milliseconds.
    pub ttl_ms: i32,
}

/// Renews every lease that holds; each handle gets its own answer, in order.
pub fn renew(db: &Db, handles: &[Option<String>], ttl_ms: Option<i32>) -> Vec<Result<Renewed>> {
    let callers = handles
        .iter()
        .map(|text| match text {
            Some(text) => Ok((&fenced::decode(db, text)?).into()),
            None => Err(Error::invalid_input("handles", "null_element")),
        })
        .collect();
    prolong(db, callers, ttl_ms)
}

/// Renews the lease of one caller.
///
/// # Errors
/// Those of the fence.
pub fn one(db: &Db, caller: Caller, ttl_ms: Option<i32>) -> Result<Renewed> {
    let mut answers = prolong(db, vec![Ok(caller)], ttl_ms);
    answers
        .pop()
        .unwrap_or_else(|| Err(fence::not_found(caller.id)))
}

fn prolong(db: &Db, callers: Vec<Result<Caller>>, ttl_ms: Option<i32>) -> Vec<Result<Renewed>> {
    let mut ids: Vec<_> = callers.iter().flatten().map(|c| c.id).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut locked: std::collections::BTreeMap<_, Execution> = store::execution::lock_all(db, &ids)
        .into_iter()
        .map(|e| (e.place.id, e))
        .collect();
    let now = clock::now();
    let mut changes: Vec<Change> = Vec::new();
    let answers = callers
        .into_iter()
        .map(|caller| {
            let caller = caller?;
            let e = locked
                .get(&caller.id)
                .ok_or_else(|| fence::not_found(caller.id))?;
            fence::check(e, &caller.fence(e), now)?;
            let change = extend(e.clone(), ttl_ms, now);
            let after = change.after.clone();
            match changes.iter_mut().find(|c| c.after.place.id == caller.id) {
                Some(earlier) => {
                    earlier.after = change.after;
                    earlier.events.extend(change.events);
                }
                None => changes.push(change),
            }
            let renewed = Renewed {
                id: after.place.id,
                expires_at: after.lease.expires_at.unwrap_or(now),
                epoch: after.lease.epoch,
                ttl_ms: after.lease.ttl_ms.unwrap_or_default(),
            };
            locked.insert(caller.id, *after);
            Ok(renewed)
        })
        .collect();
    save::apply(db, &changes, now);
    answers
}

/// The lease counts from now on; identity and epoch stay.
fn extend(before: Execution, ttl_ms: Option<i32>, now: Instant) -> Change {
    let event = guc::EMIT_LEASE_RENEWED
        .get()
        .then(|| Event::lease(&before, Code::LeaseRenewed, None));
    let mut change = Change::touch(before, now, |e| {
        let ttl = ttl_ms.or(e.lease.ttl_ms).unwrap_or_default();
        e.lease.ttl_ms = Some(ttl);
        e.lease.expires_at = Some(now.plus(i64::from(ttl) * MS));
        e.lease.last_renewed_at = Some(now);
    });
    change.events.extend(event);
    change
}
