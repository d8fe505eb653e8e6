//! One step of a random life: when the table of §10.4 admits it, and how it is done.

use proptest::prelude::*;
use uuid::Uuid;

use super::super as transition;
use super::expected::{Expected, expect};
use crate::model::condition::Condition;
use crate::model::execution::{Execution, Grant};
use crate::model::policy::Policy;
use crate::model::policy::TimeoutBehavior;
use crate::model::suspension::{ResumePolicy, Suspension};
use crate::model::time::{Instant, MS, SECOND};
use crate::model::words::*;
use transition::{Change, Children, ClaimTerms, Denied, Failure, Opening, Rebirth, TimeoutSignal};

/// What may happen; times in milliseconds.
#[derive(Clone, Debug)]
pub enum Op {
    Claim {
        ttl: i32,
        takeover: bool,
    },
    Renew {
        ttl: i64,
    },
    Complete,
    Fail {
        retry: Option<i64>,
    },
    Cancel,
    Delay {
        by: i64,
    },
    WaitChildren {
        open: i32,
    },
    WaitInVain,
    HoldBack,
    Release,
    Skip,
    ExpireLease,
    ExhaustReclaims,
    Promote,
    TimeOut {
        retry: Option<i64>,
    },
    Deadline,
    Revoke,
    Block {
        reason: usize,
    },
    Unblock,
    ChangePriority {
        to: i16,
    },
    Grant {
        ttl: i64,
    },
    Ungrant,
    Mismatch {
        block: bool,
    },
    Replay {
        deadline: Option<i64>,
    },
    Suspend {
        timeout: Option<i64>,
        behavior: usize,
    },
    Resume {
        delay: i64,
    },
    TimeOutSuspension,
    Park,
    /// A reconciler looks at due timers.
    Look,
}

/// Any of them. Those that go on are more likely than those that end.
pub fn op() -> impl Strategy<Value = Op> {
    let retry = || prop::option::weighted(0.8, prop_oneof![Just(0i64), 1i64..2_000]);
    prop_oneof![
        10 => (1i32..4_000, prop::bool::weighted(0.1)).prop_map(|(ttl, takeover)| Op::Claim { ttl, takeover }),
        2 => (1i64..4_000).prop_map(|ttl| Op::Renew { ttl }),
        1 => Just(Op::Complete),
        3 => retry().prop_map(|retry| Op::Fail { retry }),
        1 => Just(Op::Cancel),
        3 => (-500i64..2_000).prop_map(|by| Op::Delay { by }),
        2 => (0i32..3).prop_map(|open| Op::WaitChildren { open }),
        1 => Just(Op::WaitInVain),
        3 => Just(Op::HoldBack),
        3 => Just(Op::Release),
        1 => Just(Op::Skip),
        4 => Just(Op::ExpireLease),
        1 => Just(Op::ExhaustReclaims),
        6 => Just(Op::Promote),
        4 => retry().prop_map(|retry| Op::TimeOut { retry }),
        4 => Just(Op::Deadline),
        2 => Just(Op::Revoke),
        3 => (0usize..REASONS.len()).prop_map(|reason| Op::Block { reason }),
        6 => Just(Op::Unblock),
        1 => (0i16..=9_000).prop_map(|to| Op::ChangePriority { to }),
        2 => (1i64..2_000).prop_map(|ttl| Op::Grant { ttl }),
        2 => Just(Op::Ungrant),
        1 => any::<bool>().prop_map(|block| Op::Mismatch { block }),
        8 => prop::option::of(1i64..20_000).prop_map(|deadline| Op::Replay { deadline }),
        4 => (prop::option::weighted(0.7, 1i64..2_000), 0usize..TimeoutBehavior::ALL.len())
            .prop_map(|(timeout, behavior)| Op::Suspend { timeout, behavior }),
        4 => prop_oneof![Just(0i64), 1i64..2_000].prop_map(|delay| Op::Resume { delay }),
        8 => Just(Op::TimeOutSuspension),
        3 => Just(Op::Park),
        6 => Just(Op::Look),
    ]
}

/// §10.10: reason, what it makes of the execution.
const REASONS: [(Blocking, Eligibility, &str); 6] = [
    (
        Blocking::Budget,
        Eligibility::Budget,
        "runnable unowned blocked_by_budget waiting_for_budget none = rate_limited",
    ),
    (
        Blocking::Quota,
        Eligibility::Quota,
        "runnable unowned blocked_by_quota waiting_for_quota none = rate_limited",
    ),
    (
        Blocking::CapableWorker,
        Eligibility::Route,
        "runnable unowned blocked_by_route waiting_for_capable_worker none = waiting",
    ),
    (
        Blocking::Locality,
        Eligibility::Route,
        "runnable unowned blocked_by_route waiting_for_locality_match none = waiting",
    ),
    (
        Blocking::PausedByOperator,
        Eligibility::Operator,
        "runnable unowned blocked_by_operator paused_by_operator none = waiting",
    ),
    (
        Blocking::PausedByPolicy,
        Eligibility::LaneState,
        "runnable unowned blocked_by_lane_state paused_by_policy none = waiting",
    ),
];

/// A suspension whose id tells its behaviour, so that the life need not carry it.
fn suspension(behavior: usize) -> Suspension {
    let condition = Condition::OperatorOnly;
    Suspension {
        id: Uuid::from_u128(behavior as u128),
        reason: "waiting_for_approval".to_owned(),
        progress: condition.fresh(),
        condition,
        policy: ResumePolicy {
            delay_ms: None,
            close_waitpoints: true,
            consume_matched: true,
            retain_buffer: false,
        },
        behavior: TimeoutBehavior::ALL[behavior],
        waitpoints: vec![Uuid::from_u128(8)],
    }
}

fn behavior_of(e: &Execution) -> TimeoutBehavior {
    TimeoutBehavior::ALL[e.suspension.unwrap_or_default().as_u128() as usize]
}

impl Op {
    /// What the specification says of doing this now; none if it does not allow it.
    pub fn expected(&self, e: &Execution, now: Instant) -> Option<Expected> {
        let passed = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let v = &e.vector;
        let runnable = v.lifecycle == Lifecycle::Runnable;
        let live = e.lease_live(now);
        let leased = v.ownership == Ownership::Leased;
        let late = passed(e.deadline);
        let suspended = v.lifecycle == Lifecycle::Suspended;
        let lost = v.lifecycle == Lifecycle::Active && !live && !late;
        let claimable =
            runnable && matches!(v.eligibility, Eligibility::Now | Eligibility::Route) && !late;
        let blocked = matches!(
            v.eligibility,
            Eligibility::Budget
                | Eligibility::Quota
                | Eligibility::Route
                | Eligibility::LaneState
                | Eligibility::Operator
        );
        match self {
            Op::Claim { .. } if lost => {
                let why = if v.ownership == Ownership::Revoked {
                    "lease.reclaimed lease_revoked"
                } else {
                    "lease.reclaimed lease_expired"
                };
                expect("T10", &[why])
            }
            Op::Claim { takeover, .. } if claimable && *takeover => {
                let same = v.attempt == AttemptState::Interrupted;
                let transition = if same { "T7" } else { "T6" };
                expect(transition, &["lease.acquired issue_grant_and_claim"])
            }
            Op::Claim { .. } if claimable && v.attempt == AttemptState::Interrupted => {
                expect("T7", &["lease.acquired claim_resumed"])
            }
            Op::Claim { .. } if claimable => expect("T6", &["lease.acquired claim"]),
            Op::Renew { .. } if live => expect("renew", &[]),
            Op::Complete if live => {
                expect("T12", &["lease.released completed", "completion.success"])
            }
            Op::Fail { retry } if live => match retry {
                Some(0) => expect("T13a", &["lease.released failed_retry_scheduled"]),
                Some(_) => expect("T13", &["lease.released failed_retry_scheduled"]),
                None => expect(
                    "T14",
                    &["lease.released failed_terminal", "completion.failed"],
                ),
            },
            Op::Cancel if leased => {
                expect("T15", &["lease.released cancelled", "completion.cancelled"])
            }
            Op::Cancel if suspended => {
                expect("T15", &["suspension.closed", "completion.cancelled"])
            }
            Op::Cancel if !e.is_terminal() => expect("T15", &["completion.cancelled"]),
            Op::Delay { by } if live => {
                let transition = if *by > 0 { "T16" } else { "T16a" };
                expect(transition, &["lease.released worker_delay"])
            }
            Op::WaitChildren { open } if live => {
                let transition = if *open > 0 { "T17" } else { "T17a" };
                expect(transition, &["lease.released waiting_children"])
            }
            Op::WaitInVain if live => expect(
                "T17, T5",
                &["lease.released waiting_children", "completion.skipped"],
            ),
            Op::HoldBack if transition::holdable(e) => expect("T3", &[]),
            Op::Release if transition::waits(e) => expect("T4", &[]),
            Op::Skip if transition::waits(e) => expect("T5", &["completion.skipped"]),
            Op::ExpireLease if leased && !live => expect("T8", &["lease.expired"]),
            Op::ExhaustReclaims if lost => expect(
                "T11",
                &["lease.released max_reclaims_exceeded", "completion.failed"],
            ),
            Op::Promote if v.eligibility == Eligibility::UntilTime && passed(e.delay_until) => {
                expect("T20", &[])
            }
            Op::TimeOut { retry } if leased && passed(e.attempt_deadline) => match retry {
                Some(0) => expect("T21a", &["lease.released attempt_timeout"]),
                Some(_) => expect("T21", &["lease.released attempt_timeout"]),
                None => expect(
                    "T22",
                    &["lease.released attempt_timeout", "completion.expired"],
                ),
            },
            Op::Deadline if late && leased => expect(
                "T23",
                &["lease.released execution_deadline", "completion.expired"],
            ),
            Op::Deadline if late && suspended => {
                expect("T23", &["suspension.closed", "completion.expired"])
            }
            Op::Deadline if late && !e.is_terminal() => expect("T23", &["completion.expired"]),
            Op::Suspend { .. } if live => {
                expect("T18", &["lease.released suspended", "suspension.suspended"])
            }
            Op::Resume { delay } if suspended => {
                let transition = if *delay > 0 { "T19a" } else { "T19" };
                expect(transition, &["suspension.resumed"])
            }
            Op::TimeOutSuspension if suspended && passed(e.suspension_timeout) => {
                let closed = "suspension.closed";
                match behavior_of(e) {
                    TimeoutBehavior::Fail => {
                        expect("suspension timeout", &[closed, "completion.failed"])
                    }
                    TimeoutBehavior::Cancel => {
                        expect("suspension timeout", &[closed, "completion.cancelled"])
                    }
                    TimeoutBehavior::Expire => {
                        expect("suspension timeout", &[closed, "completion.expired"])
                    }
                    TimeoutBehavior::AutoResume => expect("T19", &["suspension.resumed"]),
                    TimeoutBehavior::AutoResumeWithTimeoutSignal => {
                        expect("T19", &["signal.timeout", "suspension.resumed"])
                    }
                    TimeoutBehavior::Escalate => expect("escalation", &["suspension.escalated"]),
                }
            }
            Op::Park if live => expect("T28", &["lease.released budget"]),
            Op::Revoke if leased => expect("T9", &["lease.revoked why"]),
            Op::Block { reason } if runnable => {
                let (blocking, _, row) = REASONS.get(*reason)?;
                let paused = [Blocking::PausedByOperator, Blocking::PausedByPolicy];
                let held_too = v.eligibility == Eligibility::UntilTime && paused.contains(blocking);
                (v.eligibility == Eligibility::Now || blocked || held_too).then_some(Expected {
                    transition: "T24",
                    row,
                    events: Vec::new(),
                })
            }
            Op::Unblock if runnable && blocked => expect("T25", &[]),
            Op::ChangePriority { to } if !e.is_terminal() && *to != e.priority => {
                expect("priority", &["operator.priority_changed"])
            }
            // A lapsed grant is ignored and replaced.
            Op::Grant { .. }
                if (claimable || lost) && e.grant.as_ref().is_none_or(|g| g.expires_at <= now) =>
            {
                expect("grant", &[])
            }
            Op::Ungrant if e.grant.is_some() => expect("ungrant", &[]),
            Op::Mismatch { block: true } if claimable => expect("T24", &[]).map(|e| Expected {
                row: REASONS[2].2,
                ..e
            }),
            Op::Mismatch { block: false } if claimable || lost => expect("mismatch", &[]),
            Op::Replay { .. } if e.is_terminal() => expect("T26", &["operator.replayed"]),
            _ => None,
        }
    }

    /// Does it.
    pub fn apply(&self, before: Execution, policy: &Policy, now: Instant) -> Change {
        let later = |ms: i64| now.plus(ms * MS);
        let micros = |ms: Option<i64>| ms.map(|ms| ms * MS);
        match self {
            Op::Claim { ttl, takeover } => {
                let number = before.lease.epoch as u128 + 1;
                let terms = ClaimTerms {
                    claimer: 1,
                    lease_id: Uuid::from_u128(number),
                    attempt_id: Uuid::from_u128(number << 64),
                    ttl_ms: *ttl,
                    takeover: *takeover,
                };
                let fresh = before.vector.lifecycle == Lifecycle::Runnable;
                let slot = (fresh && ttl % 2 == 0).then_some(Uuid::from_u128(3));
                let change = transition::claim(before, &terms, policy, now).0;
                change.holding(slot)
            }
            Op::Renew { ttl } => Change::touch(before, now, |e| {
                e.lease.expires_at = Some(later(*ttl));
                e.lease.last_renewed_at = Some(now);
            }),
            Op::Complete => transition::complete(before, Some(vec![1]), None, now),
            Op::Fail { retry } => {
                let failure = Failure {
                    reason: "broken".to_owned(),
                    category: "transient".to_owned(),
                    class: "transient",
                    detail: None,
                };
                transition::fail(before, failure, micros(*retry), now)
            }
            Op::Cancel if before.lease_live(now) => {
                transition::cancel(before, "why", "lease_holder", now)
            }
            Op::Cancel => transition::cancel(before, "why", "operator_override", now),
            Op::Delay { by } => transition::delay(before, later(*by), now),
            Op::WaitChildren { open: 0 } => transition::wait_children(before, Children::Done, now),
            Op::WaitChildren { open } => {
                let children = Children::Open(*open, "unresolved".to_owned());
                transition::wait_children(before, children, now)
            }
            Op::WaitInVain => transition::wait_children(before, Children::Impossible, now),
            Op::HoldBack => transition::hold_back(before, "unresolved".to_owned(), now),
            Op::Release => transition::unblock(before, now),
            Op::Skip => transition::skip(before, now),
            Op::ExpireLease => transition::expire_lease(before, now),
            Op::ExhaustReclaims => transition::exhaust_reclaims(before, now),
            Op::Promote => transition::promote(before, now),
            Op::TimeOut { retry } => transition::time_out(before, micros(*retry), now),
            Op::Deadline => transition::deadline(before, now),
            Op::Park => {
                let denied = Denied {
                    policy: Uuid::from_u128(5),
                    detail: "no room".to_owned(),
                    recheck_at: None,
                };
                transition::park(before, denied, now)
            }
            Op::Revoke => transition::revoke(before, "why", now),
            Op::Block { reason } => {
                let (blocking, eligibility, _) = REASONS[*reason];
                transition::block(before, (eligibility, blocking), None, None, now)
            }
            Op::Unblock if before.vector.eligibility == Eligibility::Quota => {
                transition::offer(before, Uuid::from_u128(3), now.plus(SECOND), now)
            }
            Op::Unblock => transition::unblock(before, now),
            Op::ChangePriority { to } => transition::change_priority(before, *to, now),
            Op::Grant { ttl } => {
                let kind = if before.vector.lifecycle == Lifecycle::Active {
                    GrantKind::Reclaim
                } else {
                    GrantKind::Claim
                };
                let grant = Grant {
                    id: Uuid::from_u128(7),
                    kind,
                    claimer: 1,
                    expires_at: later(*ttl),
                    route_snapshot: None,
                    admission_summary: None,
                };
                let fresh = before.vector.lifecycle == Lifecycle::Runnable;
                let slot = (fresh && ttl % 2 == 0).then_some(Uuid::from_u128(4));
                transition::grant(before, grant, now).holding(slot)
            }
            Op::Mismatch { block: true } => {
                transition::mismatch_and_block(before, &["gpu".to_owned()], now)
            }
            Op::Mismatch { block: false } => transition::mismatch(before, now),
            Op::Ungrant => transition::ungrant(before, now),
            Op::Replay { deadline } => {
                let life = Rebirth {
                    deadline: deadline.map(later),
                    ..Rebirth::default()
                };
                transition::replay(before, life, now)
            }
            Op::Suspend { timeout, behavior } => {
                let suspension = suspension(*behavior);
                let opening = Opening {
                    id: suspension.id,
                    reason: &suspension.reason,
                    blocking: Blocking::Approval,
                    timeout_at: timeout.map(later),
                    behavior: suspension.behavior,
                    waitpoints: &suspension.waitpoints,
                };
                transition::suspend(before, &opening, now)
            }
            Op::Resume { delay } => {
                let id = before.suspension.unwrap_or_default();
                let ending = transition::operator_resume(id, ResumeTrigger::Operator);
                transition::resume(before, delay * MS, ending, now)
            }
            Op::TimeOutSuspension => {
                let suspension = suspension(behavior_of(&before) as usize);
                let asks = suspension.behavior == TimeoutBehavior::AutoResumeWithTimeoutSignal;
                let signal = asks.then(|| TimeoutSignal {
                    id: Uuid::from_u128(9),
                    seq: 1,
                    waitpoint: Uuid::from_u128(8),
                    key: "a".to_owned(),
                });
                transition::time_out_suspension(before, &suspension, signal, now)
            }
            Op::Look => Change::touch(before, now, |_| {}),
        }
    }
}
