//! One step of a random life: when the table of §10.4 admits it, what it writes, what it announces.

use proptest::prelude::*;
use uuid::Uuid;

use super::super as transition;
use crate::model::event::Event;
use crate::model::execution::{Execution, Grant};
use crate::model::policy::Policy;
use crate::model::time::{Instant, MS};
use crate::model::words::*;
use transition::{Change, ClaimTerms, Failure};

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

/// A row of the table: `=` unchanged, `T` terminal if there ever was an attempt, words joined by `|` either.
#[derive(Debug)]
pub struct Expected {
    pub transition: &'static str,
    row: &'static str,
    events: Vec<String>,
}

/// What a random life must be able to take.
pub const TRANSITIONS: [&str; 28] = [
    "T6", "T7", "T8", "T9", "T10", "T11", "T12", "T13", "T13a", "T14", "T15", "T16", "T16a", "T17",
    "T17a", "T20", "T21", "T21a", "T22", "T23", "T24", "T25", "T26", "renew", "priority", "grant",
    "ungrant", "mismatch",
];

fn row(transition: &'static str) -> &'static str {
    match transition {
        "T6" | "T7" | "T10" => "active leased not_applicable none none running_attempt active",
        "T8" => {
            "active lease_expired_reclaimable not_applicable waiting_for_worker none attempt_interrupted active"
        }
        "T9" => {
            "active lease_revoked not_applicable waiting_for_worker none attempt_interrupted active"
        }
        "T11" | "T14" => "terminal unowned not_applicable none failed attempt_terminal failed",
        "T12" => "terminal unowned not_applicable none success attempt_terminal completed",
        "T13" | "T21" => {
            "runnable unowned not_eligible_until_time waiting_for_retry_backoff none pending_retry_attempt delayed"
        }
        "T13a" | "T21a" => {
            "runnable unowned eligible_now waiting_for_worker none pending_retry_attempt waiting"
        }
        "T15" => "terminal unowned not_applicable none cancelled T cancelled",
        "T16" => {
            "runnable unowned not_eligible_until_time waiting_for_delay none attempt_interrupted delayed"
        }
        "T16a" | "T17a" => {
            "runnable unowned eligible_now waiting_for_worker none attempt_interrupted resumable"
        }
        "T17" => {
            "runnable unowned blocked_by_dependencies waiting_for_children none attempt_interrupted waiting_children"
        }
        "T20" => "runnable unowned eligible_now waiting_for_worker none = waiting|resumable",
        "T22" => "terminal unowned not_applicable none expired attempt_terminal expired",
        "T23" => "terminal unowned not_applicable none expired T expired",
        "T25" => {
            "runnable unowned eligible_now|not_eligible_until_time waiting_for_worker|waiting_for_delay|waiting_for_retry_backoff none = waiting|resumable|delayed"
        }
        "T26" => {
            "runnable unowned eligible_now waiting_for_worker none pending_replay_attempt waiting"
        }
        _ => "= = = = = = =",
    }
}

fn words(v: &Vector) -> [&'static str; 7] {
    [
        v.lifecycle.word(),
        v.ownership.word(),
        v.eligibility.word(),
        v.blocking.word(),
        v.outcome.word(),
        v.attempt.word(),
        v.public_state().word(),
    ]
}

/// The rows that a reader of the log gets from one stored event (§30.10).
fn read(event: &Event) -> Vec<String> {
    let (family, kind) = event.code.words();
    let reason = event.reason.as_deref();
    let read = |name: String, reason: Option<&str>| match reason {
        Some(reason) => format!("{name} {reason}"),
        None => name,
    };
    if event.released {
        let released = read("lease.released".to_owned(), reason);
        return vec![released, format!("{family}.{kind}")];
    }
    vec![read(format!("{family}.{kind}"), reason)]
}

impl Expected {
    /// Compares what was written and announced with the specification.
    pub fn judge(&self, change: &Change, op: &Op) {
        let before = change.before.as_ref().expect("an execution that exists");
        let (was, is) = (words(&before.vector), words(&change.after.vector));
        for ((expected, was), is) in self.row.split(' ').zip(was).zip(is) {
            let fits = match expected {
                "=" => is == was,
                "T" if before.total_attempts > 0 => is == "attempt_terminal",
                "T" => is == was,
                words => words.split('|').any(|word| word == is),
            };
            assert!(
                fits,
                "{} {op:?}: {is} is not {expected}, was {was}",
                self.transition
            );
        }
        let announced: Vec<String> = change.events.iter().flat_map(read).collect();
        assert_eq!(announced, self.events, "{} {op:?}", self.transition);
        let ends = !before.is_terminal() && change.after.is_terminal();
        let completions = announced.iter().filter(|e| e.starts_with("completion."));
        assert_eq!(completions.count(), usize::from(ends), "{op:?}");
    }
}

fn expect(transition: &'static str, events: &[&str]) -> Option<Expected> {
    Some(Expected {
        transition,
        row: row(transition),
        events: events.iter().map(|e| (*e).to_owned()).collect(),
    })
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
            Op::Cancel if !e.is_terminal() => expect("T15", &["completion.cancelled"]),
            Op::Delay { by } if live => {
                let transition = if *by > 0 { "T16" } else { "T16a" };
                expect(transition, &["lease.released worker_delay"])
            }
            Op::WaitChildren { open } if live => {
                let transition = if *open > 0 { "T17" } else { "T17a" };
                expect(transition, &["lease.released waiting_children"])
            }
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
            Op::Deadline if late && !e.is_terminal() => expect("T23", &["completion.expired"]),
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
                transition::claim(before, &terms, policy, now).0
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
            Op::WaitChildren { open } => transition::wait_children(before, *open, now),
            Op::ExpireLease => transition::expire_lease(before, now),
            Op::ExhaustReclaims => transition::exhaust_reclaims(before, now),
            Op::Promote => transition::promote(before, now),
            Op::TimeOut { retry } => transition::time_out(before, micros(*retry), now),
            Op::Deadline => transition::deadline(before, now),
            Op::Revoke => transition::revoke(before, "why", now),
            Op::Block { reason } => {
                let (blocking, eligibility, _) = REASONS[*reason];
                transition::block(before, (eligibility, blocking), None, None, now)
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
                transition::grant(before, grant, now)
            }
            Op::Mismatch { block: true } => {
                transition::mismatch_and_block(before, &["gpu".to_owned()], now)
            }
            Op::Mismatch { block: false } => transition::mismatch(before, now),
            Op::Ungrant => transition::ungrant(before, now),
            Op::Replay { deadline } => {
                transition::replay(before, None, None, deadline.map(later), now)
            }
            Op::Look => Change::touch(before, now, |_| {}),
        }
    }
}
