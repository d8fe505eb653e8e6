//! Reservations by an external scheduler (§10.12): a grant, its end, and a worker that does not fit.

use crate::model::execution::{Execution, Grant};
use crate::model::time::Instant;
use crate::model::words::*;

use super::{Change, block, drop_grant};

/// Reserves what may be handed out. The vector stays: only claims learn of it.
pub fn grant(before: Execution, grant: Grant, now: Instant) -> Change {
    Change::touch(before, now, |e| {
        drop_grant(e);
        e.offered = None;
        e.grant = Some(grant);
    })
}

/// Removes a grant, lapsed or withdrawn.
pub fn ungrant(before: Execution, now: Instant) -> Change {
    Change::touch(before, now, drop_grant)
}

/// Notes that the worker of a scheduler lacks capabilities.
pub fn mismatch(before: Execution, now: Instant) -> Change {
    Change::touch(before, now, |e| e.last_capability_mismatch_at = Some(now))
}

/// As [`mismatch`], and T24: the execution waits for a capable worker.
pub fn mismatch_and_block(before: Execution, missing: &[String], now: Instant) -> Change {
    let detail = format!("no worker with {}", missing.join(", "));
    let state = (Eligibility::Route, Blocking::CapableWorker);
    let mut change = block(before, state, Some(detail), None, now);
    change.after.last_capability_mismatch_at = Some(now);
    change
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::due;
    use crate::model::grant::{live, missing};
    use crate::model::time::SECOND;
    use crate::model::transition::properties::newborn;
    use crate::model::transition::unblock;
    use uuid::Uuid;

    const NOW: Instant = Instant(900_000_000 * SECOND);

    fn reserved() -> Execution {
        let grant = Grant {
            id: Uuid::from_u128(7),
            kind: GrantKind::Claim,
            claimer: 1,
            expires_at: NOW.plus(SECOND),
            route_snapshot: None,
            admission_summary: None,
        };
        *super::grant(newborn(), grant, NOW).after
    }

    #[test]
    fn a_grant_hides_the_execution_until_it_is_dropped_and_changes_nothing_else() {
        let before = newborn();
        let after = reserved();
        assert_eq!(after.vector, before.vector);
        assert_eq!(after.last_transition_at, before.last_transition_at);
        assert!(due::ready(&before).is_some() && due::ready(&after).is_none());
        assert_eq!(due::next_due(&after), Some(NOW.plus(SECOND)));
        assert!(live(&after, NOW).is_some());
        assert!(live(&after, NOW.plus(SECOND)).is_none(), "its end has come");
        assert_eq!(due::ready(&ungrant(after, NOW).after), due::ready(&before));
    }

    #[test]
    fn what_is_unblocked_into_its_delay_is_reserved_no_longer() {
        let routed = (Eligibility::Route, Blocking::CapableWorker);
        let mut e = reserved();
        let grant = e.grant.clone();
        e = *block(e, routed, None, None, NOW).after;
        e.grant = grant;
        let ready = unblock(e.clone(), NOW).after;
        assert!(ready.grant.is_some(), "still claimable, still reserved");
        e.delay_until = Some(NOW.plus(SECOND));
        let delayed = unblock(e, NOW).after;
        assert_eq!(delayed.vector.eligibility, Eligibility::UntilTime);
        assert_eq!(delayed.grant, None);
    }

    #[test]
    fn a_worker_that_does_not_fit_leaves_a_stamp_and_if_wished_a_block() {
        let token = |s: &str| s.to_owned();
        let lacking = missing(
            &[token("cuda"), token("gpu"), token("x")],
            &[token("GPU"), token("x")],
        );
        assert_eq!(lacking, [token("cuda"), token("gpu")]);
        let noted = mismatch(reserved(), NOW).after;
        assert_eq!(noted.last_capability_mismatch_at, Some(NOW));
        assert_eq!(
            (noted.vector, noted.grant.is_some()),
            (newborn().vector, true)
        );
        let blocked = mismatch_and_block(reserved(), &lacking, NOW).after;
        assert_eq!(blocked.last_capability_mismatch_at, Some(NOW));
        assert_eq!(blocked.vector.eligibility, Eligibility::Route);
        assert_eq!(blocked.grant, None);
        let detail = blocked.blocking_detail.unwrap_or_default();
        assert_eq!(detail, "no worker with cuda, gpu");
        assert!(due::ready(&mismatch_and_block(newborn(), &lacking, NOW).after).is_some());
    }
}
