//! What the upstreams of a flow member make of it: held back T3, skipped T5. Released by them (T4) it is unblocked as by
//! anybody else.

use crate::model::edge_group::{Group, GroupState};
use crate::model::execution::Execution;
use crate::model::time::Instant;
use crate::model::words::*;

use super::{Change, completion, drop_grant, end_attempt, finish, runnable};

/// Why a member ended that could never run.
pub const IMPOSSIBLE: &str = "dependency_impossible";

/// Whether an execution must not start before its group allows it (§40.1).
pub fn gated(e: &Execution) -> bool {
    e.vector.lifecycle == Lifecycle::Runnable
        && matches!(
            e.vector.attempt,
            AttemptState::PendingFirst | AttemptState::PendingReplay
        )
}

/// Whether an edge that is applied now holds an execution back: gated, and held by nobody else (§40.4).
pub fn holdable(e: &Execution) -> bool {
    use Eligibility::*;
    gated(e)
        && matches!(
            e.vector.eligibility,
            Now | UntilTime | Budget | Quota | Route
        )
}

/// Whether it waits for its upstreams.
pub fn waits(e: &Execution) -> bool {
    e.vector.eligibility == Eligibility::Dependencies
}

/// T3: it waits for its upstreams from now on; its delay goes on behind that.
pub fn hold_back(before: Execution, detail: String, now: Instant) -> Change {
    let mut change = Change::of(before, now);
    let e = &mut change.after;
    drop_grant(e);
    e.recheck_at = None;
    e.blocked_by_policy = None;
    e.blocking_detail = Some(detail);
    let attempt = e.vector.attempt;
    change.enter(
        runnable(Eligibility::Dependencies, Blocking::Children, attempt),
        now,
    );
    change
}

/// T5: it can never run.
pub fn skip(before: Execution, now: Instant) -> Change {
    let mut change = Change::of(before, now);
    end_attempt(
        &mut change.after,
        AttemptRecord::EndedCancelled,
        now,
        Some(IMPOSSIBLE),
    );
    finish(&mut change, TerminalOutcome::Skipped, now);
    let event = change
        .before
        .as_ref()
        .map(|before| completion(before, &change.after, None));
    change.events.extend(event);
    change
}

/// What becomes of an execution that nothing but its group may hold back any longer (T20 and T25 of a gated member);
/// `free` does what happens outside flows.
pub fn pass_gate(
    before: Execution,
    group: Option<&Group>,
    now: Instant,
    free: impl FnOnce(Execution, Instant) -> Change,
) -> Change {
    match group
        .filter(|g| gated(&before) && g.total > 0)
        .map(|g| (g, g.state))
    {
        Some((group, GroupState::Pending)) => {
            let elapsed = before.delay_until.is_some_and(|at| at <= now);
            let mut change = hold_back(before, group.detail(), now);
            if elapsed {
                change.after.delay_until = None;
            }
            change
        }
        Some((_, GroupState::Impossible)) => skip(before, now),
        _ => free(before, now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::due;
    use crate::model::edge_group::Policy;
    use crate::model::event::Code;
    use crate::model::flow::Disposition;
    use crate::model::time::SECOND;
    use crate::model::transition::properties::newborn;
    use crate::model::transition::{block, promote, unblock};
    use uuid::Uuid;

    const NOW: Instant = Instant(900_000_000 * SECOND);

    fn group(ends: &[Disposition], open: i32) -> Group {
        let mut group = Group::new(Uuid::nil(), Uuid::nil(), Policy::AllOf);
        for _ in 0..ends.len() as i32 + open {
            group.add_edge(false);
        }
        for end in ends {
            group.count(*end);
        }
        group.fire(NOW);
        group
    }

    #[test]
    fn a_held_back_member_is_nowhere_and_keeps_its_delay() {
        let mut e = newborn();
        e.delay_until = Some(NOW.plus(SECOND));
        let held = *hold_back(e, "1 of 1 dependencies unresolved".to_owned(), NOW).after;
        assert!(due::ready(&held).is_none() && due::next_due(&held).is_none());
        assert_eq!(held.vector.public_state(), PublicState::WaitingChildren);
        assert_eq!(held.delay_until, Some(NOW.plus(SECOND)));
        let released = unblock(held.clone(), NOW).after;
        assert_eq!(released.vector.public_state(), PublicState::Delayed);
        let later = unblock(held, NOW.plus(SECOND)).after;
        assert_eq!(later.vector.public_state(), PublicState::Waiting);
        assert_eq!((later.delay_until, later.blocking_detail), (None, None));
    }

    #[test]
    fn a_skipped_member_ends_with_one_event() {
        let held = *hold_back(newborn(), String::new(), NOW).after;
        let change = skip(held, NOW);
        assert!(change.after.is_terminal());
        assert_eq!(change.after.vector.public_state(), PublicState::Skipped);
        assert_eq!(change.after.completed_at, Some(NOW));
        let codes: Vec<Code> = change.events.iter().map(|e| e.code).collect();
        assert_eq!(codes, [Code::CompletionSkipped]);
    }

    #[test]
    fn f_75_a_hold_ends_where_the_group_says() {
        let operator = (Eligibility::Operator, Blocking::PausedByOperator);
        let held = || *block(newborn(), operator, None, None, NOW).after;
        let ends = |group: Option<&Group>| {
            let change = pass_gate(held(), group, NOW, unblock);
            change.after.vector.public_state()
        };
        assert_eq!(ends(None), PublicState::Waiting);
        assert_eq!(ends(Some(&group(&[], 1))), PublicState::WaitingChildren);
        assert_eq!(
            ends(Some(&group(&[Disposition::Satisfied], 0))),
            PublicState::Waiting
        );
        assert_eq!(
            ends(Some(&group(&[Disposition::Failed], 1))),
            PublicState::Skipped
        );
        assert_eq!(
            ends(Some(&group(&[], 0))),
            PublicState::Waiting,
            "a declared policy without edges holds nobody"
        );
    }

    #[test]
    fn an_elapsed_delay_does_not_return_behind_the_group() {
        let mut e = newborn();
        e.delay_until = Some(NOW);
        e.vector.eligibility = Eligibility::UntilTime;
        let change = pass_gate(e, Some(&group(&[], 2)), NOW, promote);
        assert_eq!(change.after.delay_until, None);
        assert_eq!(
            change.after.blocking_detail.as_deref(),
            Some("2 of 2 dependencies unresolved")
        );
    }
}
