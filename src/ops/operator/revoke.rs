//! Takes a lease away (§10.16): T9.

use uuid::Uuid;

use crate::error::Result;
use crate::model::execution::Execution;
use crate::model::fence;
use crate::model::text;
use crate::model::transition;
use crate::model::words::{Lifecycle, Ownership};
use crate::pg::spi::Db;
use crate::store;

use super::super::{clock, save};

/// What became of it.
pub struct Revoked {
    /// The execution afterwards.
    pub execution: Execution,
    /// Why nothing was done; none if the lease was revoked.
    pub satisfied: Option<&'static str>,
    /// Instance that held the lease.
    pub instance: Option<String>,
}

/// Revokes the lease of an execution, if it is the expected one.
///
/// # Errors
/// `execution_not_found`, `invalid_input`.
pub fn revoke(
    db: &Db,
    id: Uuid,
    reason: &str,
    lease: Option<Uuid>,
    instance: Option<&str>,
) -> Result<Revoked> {
    text::reason("reason", reason, text::MAX_REASON_BYTES)?;
    let e = store::execution::lock(db, id).ok_or_else(|| fence::not_found(id))?;
    let holder = e
        .lease
        .claimer
        .and_then(|claimer| store::claimer::read(db, claimer))
        .map(|c| c.instance);
    let satisfied = match (e.vector.lifecycle, e.vector.ownership) {
        (Lifecycle::Active, Ownership::Revoked) => Some("already_revoked"),
        (Lifecycle::Active, Ownership::Expired) => Some("already_expired"),
        (Lifecycle::Active, _) if lease.is_some() && lease != e.lease.id => {
            Some("lease_id_mismatch")
        }
        (Lifecycle::Active, _) if instance.is_some() && instance != holder.as_deref() => {
            Some("different_worker_instance")
        }
        (Lifecycle::Active, _) => None,
        _ => Some("no_active_lease"),
    };
    if satisfied.is_some() {
        return Ok(Revoked {
            execution: e,
            satisfied,
            instance: holder,
        });
    }
    let now = clock::now();
    let change = transition::revoke(e, reason, now);
    save::apply(db, std::slice::from_ref(&change), now);
    Ok(Revoked {
        execution: *change.after,
        satisfied: None,
        instance: holder,
    })
}
