//! Random lives of one execution: whatever happens to it in whatever order, the rules of §10.3 and §10.4 hold.
//!
//! `step` says what may happen next and what the specification expects of it, `look` models the timers.

mod expected;
mod look;
mod step;

use proptest::collection::vec;
use proptest::prelude::*;
use uuid::Uuid;

use super::{Change, Superseded};
use crate::model::due::{self, Duty};
use crate::model::execution::{Execution, Lease, Place, Progress};
use crate::model::grant;
use crate::model::policy::{FallbackTier, Policy};
use crate::model::time::{Instant, MS, SECOND};
use crate::model::words::*;

use look::Timers;
use step::{Op, op};

const BIRTH: Instant = Instant(800_000_000 * SECOND);

const DUTIES: [Duty; 7] = [
    Duty::ExecutionDeadline,
    Duty::AttemptTimeout,
    Duty::LeaseExpiry,
    Duty::Delay,
    Duty::Grant,
    Duty::SuspensionTimeout,
    Duty::Purge,
];

/// What a caller may choose at creation, milliseconds after birth.
#[derive(Clone, Debug)]
struct Birth {
    delay: Option<i64>,
    deadline: Option<i64>,
    retention: Option<i64>,
    attempt_timeout: Option<i64>,
    tiers: usize,
}

fn birth() -> impl Strategy<Value = Birth> {
    (
        prop::option::of(1i64..3_000),
        prop::option::weighted(0.3, -500i64..20_000),
        prop::option::of(-1i64..5_000),
        prop::option::of(1i64..3_000),
        0usize..3,
    )
        .prop_map(
            |(delay, deadline, retention, attempt_timeout, tiers)| Birth {
                delay,
                deadline,
                retention,
                attempt_timeout,
                tiers,
            },
        )
}

/// T1: nothing has happened to it, and nothing will by itself.
pub fn newborn() -> Execution {
    execution(&Birth {
        delay: None,
        deadline: None,
        retention: None,
        attempt_timeout: None,
        tiers: 0,
    })
}

/// T1, T2.
fn execution(birth: &Birth) -> Execution {
    let after = |ms: i64| BIRTH.plus(ms * MS);
    let (eligibility, blocking) = match birth.delay {
        Some(_) => (Eligibility::UntilTime, Blocking::Delay),
        None => (Eligibility::Now, Blocking::Worker),
    };
    Execution {
        place: Place {
            id: Uuid::from_u128(1),
            created_at: BIRTH,
            queue: 1,
            lane: 1,
            namespace: 1,
            partition: 0,
            flow: None,
            retention_ms: birth.retention,
        },
        priority: 0,
        vector: super::runnable(eligibility, blocking, AttemptState::PendingFirst),
        lease: Lease::default(),
        attempt: None,
        total_attempts: 0,
        retries: 0,
        replays: 0,
        reclaims: 0,
        started_at: None,
        completed_at: None,
        purge_at: None,
        delay_until: birth.delay.map(after),
        deadline: birth.deadline.map(after),
        attempt_deadline: None,
        recheck_at: None,
        blocked_by_policy: None,
        blocking_detail: None,
        pending_reason: None,
        failure_reason: None,
        failure_category: None,
        cancellation_reason: None,
        cancelled_by: None,
        grant: None,
        progress: Progress::default(),
        last_capability_mismatch_at: None,
        suspension: None,
        waitpoint: None,
        suspension_timeout: None,
        pending_waitpoints: 0,
        limited: false,
        slots: Vec::new(),
        offered: None,
        tags: None,
        last_transition_at: BIRTH,
        last_mutation_at: BIRTH,
    }
}

fn policy(birth: &Birth) -> Policy {
    let mut policy = Policy::default();
    policy.timeout.attempt_timeout_ms = birth.attempt_timeout;
    policy.fallback_tiers = (0..birth.tiers)
        .map(|tier| FallbackTier {
            provider: "p".to_owned(),
            model: format!("m{tier}"),
            timeout_ms: None,
        })
        .collect();
    policy
}

/// The life so far, with what must be remembered to judge it.
struct Life {
    now: Instant,
    policy: Policy,
    execution: Execution,
    archive: Vec<Superseded>,
    leases: i64,
    started_at: Option<Instant>,
    timers: Timers,
}

impl Life {
    fn begin(birth: &Birth) -> Life {
        let execution = execution(birth);
        let mut timers = Timers::default();
        timers.settle(None, &execution);
        let life = Life {
            now: BIRTH,
            policy: policy(birth),
            execution,
            archive: Vec::new(),
            leases: 0,
            started_at: None,
            timers,
        };
        life.check();
        life
    }

    /// Lets time pass and then does what the table admits; nothing else happens.
    fn go(&mut self, passing_ms: i64, op: &Op) {
        self.now = self.now.plus(passing_ms * MS);
        match op {
            Op::Look => self.timers.look(&self.execution, self.now),
            op => {
                if let Some(expected) = op.expected(&self.execution, self.now) {
                    let before = self.execution.clone();
                    let change = op.apply(before, &self.policy, self.now);
                    expected.judge(&change, op);
                    self.take(op, change);
                }
            }
        }
        self.check();
    }

    fn take(&mut self, op: &Op, change: Change) {
        let (before, after) = (&self.execution, &change.after);
        let claims = i64::from(matches!(op, Op::Claim { .. }));
        self.leases += claims;
        assert_eq!(after.lease.epoch - before.lease.epoch, claims, "{op:?}");
        if claims == 1 {
            self.started_at = self.started_at.or(Some(self.now));
        }
        assert_eq!(after.last_mutation_at, self.now, "G7 after {op:?}");
        if after.vector != before.vector {
            assert_eq!(after.last_transition_at, self.now, "G7 after {op:?}");
        }
        if matches!(op, Op::ExpireLease) {
            assert!(grant::live(after, self.now).is_some() || after.grant.is_none());
        }
        if before.is_terminal() != after.is_terminal() && after.is_terminal() {
            assert!(
                after.deadline == before.deadline,
                "a deadline stays readable"
            );
        }
        self.timers.settle(Some(before), after);
        self.archive.extend(change.archive.map(|s| *s));
        self.execution = *change.after;
    }

    /// V1–V10, and what is derived from the execution.
    fn check(&self) {
        let e = &self.execution;
        let facts = Facts {
            lease: e.lease.id.is_some()
                && e.lease.claimer.is_some()
                && e.attempt.is_some()
                && e.lease.epoch > 0,
            expiry: e.lease.expires_at.is_some(),
            delay: e.delay_until.is_some(),
            completed: e.completed_at.is_some(),
        };
        assert_eq!(e.vector.broken(facts), None, "{e:#?}");
        self.check_attempts();
        assert_eq!(e.lease.epoch, self.leases, "V8");
        assert_eq!(e.started_at, self.started_at, "V10");
        if e.vector.lifecycle != Lifecycle::Active {
            let held = (e.lease.expires_at, e.lease.acquired_at, e.attempt_deadline);
            assert_eq!(held, (None, None, None), "nobody holds it");
        }
        let suspended = e.vector.lifecycle == Lifecycle::Suspended;
        let waits = (e.suspension.is_some(), e.waitpoint.is_some());
        assert_eq!(waits, (suspended, suspended), "{e:#?}");
        assert!(suspended || e.suspension_timeout.is_none());
        let holds = e.vector.lifecycle == Lifecycle::Active || e.grant.is_some();
        assert!(
            holds || e.slots.is_empty(),
            "a slot is held for a run: {e:#?}"
        );
        let waits = matches!(
            e.vector.eligibility,
            Eligibility::Budget | Eligibility::Quota
        );
        assert_eq!(due::denied(e).is_some(), waits || e.offered.is_some());
        assert!(e.offered.is_none() || due::ready(e).is_some(), "{e:#?}");
        assert!(waits || e.blocked_by_policy.is_none(), "{e:#?}");
        self.check_ready();
        self.check_grant();
        self.check_due();
        self.timers.check(e);
    }

    /// V7, V9, and one record per index.
    fn check_attempts(&self) {
        let e = &self.execution;
        assert_eq!(e.attempt_index().is_none(), e.total_attempts == 0, "V7");
        assert_eq!(e.attempt.is_some(), e.total_attempts > 0, "V7");
        let numbers: Vec<i32> = self.archive.iter().map(|s| s.index).collect();
        let older: Vec<i32> = (0..e.total_attempts - 1).collect();
        assert_eq!(numbers, older, "indexes are dense");
        let records = self.archive.iter().map(|s| &s.attempt).chain(&e.attempt);
        let started = records
            .clone()
            .filter(|a| a.record == AttemptRecord::Started);
        let active = usize::from(e.vector.lifecycle == Lifecycle::Active);
        assert_eq!(started.count(), active, "V9");
        for a in records.clone() {
            let open = [AttemptRecord::Started, AttemptRecord::Suspended].contains(&a.record);
            assert_eq!(a.ended_at.is_none(), open, "{a:?}");
            let lost = e.attempt.as_ref() == Some(a)
                && [Ownership::Expired, Ownership::Revoked].contains(&e.vector.ownership);
            assert_eq!(a.closed.is_some(), lost || !open, "{a:?}");
            let paused = a.record == AttemptRecord::Suspended;
            assert_eq!(a.suspended_at.is_some(), paused, "{a:?}");
            assert_eq!(a.pause_kind.is_some(), paused, "{a:?}");
        }
        let mut ids: Vec<Uuid> = records.map(|a| a.id).collect();
        ids.dedup();
        assert_eq!(ids.len() as i32, e.total_attempts, "one identity each");
        if let Some(last) = self.archive.last() {
            assert!(last.attempt.ended_at.is_some(), "superseded is over");
        }
    }

    /// The ready queue holds exactly what a claim may hand out (§10.11), in claim order.
    fn check_ready(&self) {
        let e = &self.execution;
        let words = (
            e.vector.lifecycle.word(),
            e.vector.ownership.word(),
            e.vector.eligibility.word(),
        );
        let claimable = matches!(
            words,
            ("runnable", "unowned", "eligible_now" | "blocked_by_route")
        );
        let reclaimable = matches!(
            words,
            ("active", "lease_expired_reclaimable" | "lease_revoked", _)
        );
        match due::ready(e) {
            Some(entry) => {
                assert!(e.grant.is_none() && (claimable || reclaimable), "{e:#?}");
                assert_eq!(entry.reclaim, reclaimable);
                assert_eq!(entry.position.rank, 9000 - e.priority);
            }
            None => assert!(e.grant.is_some() || !(claimable || reclaimable), "{e:#?}"),
        }
    }

    /// A reservation stands on what may be handed out, for the way in which it may be.
    fn check_grant(&self) {
        let e = &self.execution;
        let Some(grant) = &e.grant else { return };
        let words = (
            e.vector.lifecycle,
            e.vector.eligibility,
            e.vector.ownership,
            grant.kind,
        );
        let fits = match words {
            (Lifecycle::Runnable, Eligibility::Now | Eligibility::Route, _, GrantKind::Claim) => {
                true
            }
            // The elapsed lease may still have to be marked.
            (Lifecycle::Active, _, _, GrantKind::Reclaim) => !e.lease_live(self.now),
            _ => false,
        };
        assert!(fits, "{e:#?}");
        assert_eq!(
            grant::live(e, self.now).is_none(),
            grant.expires_at <= self.now
        );
    }

    /// Nothing falls due before `next_due`, and something does then.
    fn check_due(&self) {
        let e = &self.execution;
        let next = due::next_due(e);
        let stored = [
            e.purge_at,
            e.deadline,
            e.lease.expires_at,
            e.attempt_deadline,
            e.delay_until,
            e.grant.as_ref().map(|g| g.expires_at),
            e.suspension_timeout,
            Some(self.now),
        ];
        let probes = stored.into_iter().flatten();
        for at in probes.flat_map(|at| [at.plus(-1), at, at.plus(1), at.plus(20 * SECOND)]) {
            let is_due: Vec<Duty> = DUTIES
                .into_iter()
                .filter(|d| due::is_due(e, *d, at))
                .collect();
            let passed = next.is_some_and(|next| next <= at);
            assert_eq!(!is_due.is_empty(), passed, "{is_due:?} at {at:?} of {e:#?}");
            assert_eq!(due::duty(e, at).is_some(), passed);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_life_keeps_the_invariants(birth in birth(), steps in vec((0i64..1_500, op()), 1..80)) {
        let mut life = Life::begin(&birth);
        for (passing, op) in &steps {
            life.go(*passing, op);
        }
    }
}

/// A walk that is refused at every step would prove nothing.
#[test]
fn random_lives_take_every_transition() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut taken = std::collections::BTreeSet::new();
    for _ in 0..200 {
        let tree = (birth(), vec((0i64..1_500, op()), 80)).new_tree(&mut runner);
        let (birth, steps) = tree.expect("a life").current();
        let mut life = Life::begin(&birth);
        for (passing, op) in &steps {
            let later = life.now.plus(passing * MS);
            if let Some(expected) = op.expected(&life.execution, later) {
                taken.insert(expected.transition);
            }
            life.go(*passing, op);
        }
    }
    let missing: Vec<_> = expected::TRANSITIONS
        .iter()
        .filter(|t| !taken.contains(**t))
        .collect();
    assert!(missing.is_empty(), "never taken: {missing:?}");
}
