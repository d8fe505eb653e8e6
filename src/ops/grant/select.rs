//! Selects the next claimable execution of a lane and reserves it for a worker (§10.12): a claim that ends in a grant.

use crate::error::Result;
use crate::model::execution::{Execution, Grant};
use crate::model::transition;
use crate::model::words::GrantKind;
use crate::pg::spi::Db;
use crate::store;

use super::super::claim::next::{Claim, search};
use super::super::limit::gate::Admission;
use super::super::{clock, save};
use super::grant_of;

/// Reserves one execution, none if there is no work. The claim's length is the grant's.
///
/// # Errors
/// `corruption` for an unreadable policy.
pub fn select(db: &Db, claim: &Claim) -> Result<Option<(Execution, Grant)>> {
    let mut found = None;
    search(db, claim, |gate, queues, candidates| {
        let now = clock::now();
        let claimer = store::claimer::intern(db, &claim.claimer);
        for e in candidates.into_iter().map(|c| c.execution) {
            let slots = match gate.admit(db, &e, queues, now) {
                Admission::Admitted(slots) => slots,
                Admission::Blocked(change) => {
                    save::apply(db, &[*change], now);
                    continue;
                }
                Admission::Left => continue,
            };
            let grant = grant_of(&e, GrantKind::Claim, claimer, claim.ttl_ms, now);
            let change = transition::grant(e, grant.clone(), now).holding(slots);
            save::apply(db, std::slice::from_ref(&change), now);
            found = Some((*change.after, grant));
        }
        Ok(usize::from(found.is_some()))
    })?;
    Ok(found)
}
