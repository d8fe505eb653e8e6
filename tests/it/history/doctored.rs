//! The checker can fail: every kind of fault, put into a history that holds, is found by the rule against it.
//!
//! Silence excuses much, so a fault is put where somebody was told otherwise.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use super::call::{Asked, Call, Effect, Fate, Lease, Mark, Reply};
use super::check::check;
use super::facts::{Entry, Facts, Row};

/// A fault, the rule that finds it, and how it is put in; false where the history has no place for it.
type Fault = (
    &'static str,
    &'static str,
    fn(&mut Vec<Call>, &mut Facts) -> bool,
);

const FAULTS: [Fault; 21] = [
    ("a lease was told and not given", "lost", |calls, facts| {
        let told = granted(calls);
        let of_it = |entry: &Entry| entry.word == "lease.reclaimed" && of(&told, entry);
        let place = facts.log.iter().position(of_it);
        place.map(|n| facts.log.remove(n)).is_some()
    }),
    ("a lease was given twice", "exclusive", |_, facts| {
        repeat(facts, |entry| entry.word == "lease.acquired")
    }),
    ("two hold one execution", "life", |_, facts| {
        change(facts, "lease.reclaimed", |entry| {
            entry.word = "lease.acquired".into()
        })
    }),
    ("an epoch was left out", "life", |_, facts| {
        change(facts, "lease.reclaimed", |entry| {
            entry.details["lease_epoch"] = 99.into()
        })
    }),
    ("an attempt was left out", "life", |_, facts| {
        change(facts, "lease.reclaimed", |entry| {
            entry.index = entry.index.map(|n| n + 1)
        })
    }),
    (
        "a lease was taken before its end",
        "expiry",
        |calls, facts| {
            let told = granted(calls);
            let of_it = |entry: &&mut Entry| entry.word == "lease.expired" && of(&told, entry);
            let entry = facts.log.iter_mut().find(of_it);
            entry.map(|entry| entry.at -= 3_600_000_000).is_some()
        },
    ),
    (
        "a lease is unknown to its claimer",
        "unasked",
        |calls, _| forget(calls, |effect| matches!(effect, Effect::Granted(_))),
    ),
    ("an execution is gone", "lost", |calls, facts| {
        let told = told(calls, |effect| match effect {
            Effect::Created(id) => Some(*id),
            _ => None,
        });
        told.first().and_then(|id| facts.rows.remove(id)).is_some()
    }),
    (
        "an execution is unknown to its maker",
        "unasked",
        |calls, _| forget(calls, |effect| matches!(effect, Effect::Created(_))),
    ),
    ("what was undone is there", "unasked", |calls, _| {
        let said = |call: &&mut Call| matches!(call.said(), [Effect::Granted(_), ..]);
        turn(calls, Fate::Committed, Fate::Undone, said)
    }),
    ("what was committed is undone", "lost", |calls, _| {
        let said = |call: &&mut Call| matches!(call.said(), [Effect::Granted(_), ..]);
        turn(calls, Fate::Undone, Fate::Committed, said)
    }),
    ("a row forgot an attempt", "row", |_, facts| {
        let row = facts.rows.values_mut().find(|row| row.attempts.len() > 1);
        row.map(|row| row.attempts.pop()).is_some()
    }),
    ("a row has another epoch", "row", |_, facts| {
        facts
            .rows
            .first_entry()
            .map(|mut row| row.get_mut().epoch += 1)
            .is_some()
    }),
    ("a result was replaced", "result", |calls, facts| {
        let done = calls.iter().find_map(|call| {
            let Asked::Complete(lease, _) = &call.asked else {
                return None;
            };
            let done = call.fate == Fate::Committed && matches!(call.said(), [Effect::Did(_)]);
            let row = facts.rows.get(&lease.execution)?;
            let last = row.epoch == lease.epoch && row.state == "completed";
            (done && last).then_some(lease.execution)
        });
        let row = done.and_then(|id| facts.rows.get_mut(&id));
        row.map(|row| row.result = Some(b"other".to_vec()))
            .is_some()
    }),
    ("a completion was lost", "lost", |calls, facts| {
        let told = told(calls, |effect| match effect {
            Effect::Did(("completed", lease)) => Some(*lease),
            _ => None,
        });
        // The end of the lease, and behind it that of the execution.
        let of_it = |entry: &Entry| entry.text("reason") == "completed" && of(&told, entry);
        let place = facts.log.iter().rposition(of_it);
        place.map(|n| facts.log.drain(n..=n + 1).count()).is_some()
    }),
    ("a renewal happened twice", "unasked", |calls, facts| {
        let silent: BTreeSet<Uuid> = calls
            .iter()
            .filter_map(|call| match (&call.asked, &call.reply) {
                (Asked::Renew(lease), Reply::Silence) => Some(lease.id),
                _ => None,
            })
            .collect();
        let sure = |entry: &Entry| entry.word == "lease.renewed" && !of(&silent, entry);
        repeat(facts, sure)
    }),
    ("a key stands for two", "key", |_, facts| {
        let key = facts.rows.values().find_map(|row| row.key.clone());
        let other = facts.rows.values_mut().find(|row| row.key.is_none());
        match (key, other) {
            (Some(key), Some(row)) => {
                row.key = Some(key);
                true
            }
            _ => false,
        }
    }),
    ("the log turns time around", "time", |calls, facts| {
        let late = facts
            .log
            .iter()
            .rev()
            .find(|entry| entry.word == "lease.reclaimed");
        let number = late.and_then(|entry| entry.text("worker_instance")[2..].parse::<u32>().ok());
        let call = calls.iter_mut().find(|call| Some(call.number) == number);
        call.map(|call| call.ended = Some(Duration::ZERO)).is_some()
    }),
    ("a live lease was refused", "refusal", |calls, facts| {
        let kept = |lease: Uuid| {
            !facts
                .log
                .iter()
                .any(|e| e.word == "lease.revoked" && e.uuid("lease_id") == lease)
        };
        let call = calls.iter_mut().find(|call| {
            call.number == call.transaction + 1
                && matches!(call.said(), [Effect::Renewed { lease, .. }] if kept(*lease))
        });
        call.map(|call| call.reply = Reply::Refused("FF403".into()))
            .is_some()
    }),
    (
        "a child ran before its upstream",
        "dependency",
        |_, facts| {
            let start = facts.log.iter().find(|e| e.word == "lease.acquired");
            let child = start.map(|entry| entry.execution);
            let never = |id| facts.upstreams.insert(id, Uuid::nil());
            child.map(never).is_some()
        },
    ),
    ("an answer repeats what never was", "answer", |calls, _| {
        let call = calls
            .iter_mut()
            .find(|call| call.number == call.transaction + 1);
        let never: Mark = ("completed", Uuid::nil());
        call.map(|call| call.reply = Reply::Said(vec![Effect::Again(never)]))
            .is_some()
    }),
];

/// Puts every fault that has a place into a history that holds. Most must have one.
pub fn is_found(calls: &[Call], facts: &Facts) {
    let placed = place_all(calls, facts);
    assert!(
        placed >= FAULTS.len() - 2,
        "only {placed} faults have a place"
    );
}

/// How many faults have a place; each of them is found by its rule.
#[track_caller]
fn place_all(calls: &[Call], facts: &Facts) -> usize {
    let mut placed = 0;
    for (fault, rule, put) in FAULTS {
        let (mut calls, mut facts) = (calls.to_vec(), facts.clone());
        if put(&mut calls, &mut facts) {
            placed += 1;
            let found = check(&calls, &facts);
            assert!(found.iter().any(|v| v.rule == rule), "{fault}: {found:#?}");
        }
    }
    placed
}

/// What committed calls were told.
fn told(calls: &[Call], what: impl Fn(&Effect) -> Option<Uuid>) -> BTreeSet<Uuid> {
    let committed = calls.iter().filter(|call| call.fate == Fate::Committed);
    committed.flat_map(Call::said).filter_map(what).collect()
}

/// Leases that somebody knows to hold.
fn granted(calls: &[Call]) -> BTreeSet<Uuid> {
    told(calls, |effect| match effect {
        Effect::Granted(lease) => Some(lease.id),
        _ => None,
    })
}

/// Whether an entry is about one of these leases.
fn of(leases: &BTreeSet<Uuid>, entry: &Entry) -> bool {
    leases.contains(&entry.uuid("lease_id"))
}

fn change(facts: &mut Facts, word: &str, change: impl Fn(&mut Entry)) -> bool {
    let entry = facts.log.iter_mut().find(|entry| entry.word == word);
    entry.map(change).is_some()
}

fn repeat(facts: &mut Facts, which: impl Fn(&Entry) -> bool) -> bool {
    let Some(n) = facts.log.iter().position(which) else {
        return false;
    };
    let mut entry = facts.log[n].clone();
    entry.id += 1;
    facts.log.insert(n + 1, entry);
    true
}

/// A committed call whose answer has lost everything of a kind.
fn forget(calls: &mut [Call], what: impl Fn(&Effect) -> bool) -> bool {
    let call = calls
        .iter_mut()
        .find(|call| call.fate == Fate::Committed && call.said().first().is_some_and(&what));
    call.map(|call| call.reply = Reply::Said(Vec::new()))
        .is_some()
}

fn turn(calls: &mut [Call], from: Fate, to: Fate, which: impl Fn(&&mut Call) -> bool) -> bool {
    let call = calls
        .iter_mut()
        .filter(which)
        .find(|call| call.fate == from);
    call.map(|call| call.fate = to).is_some()
}

/// A history written by hand: two executions, one of them lost, taken over, renewed and completed.
#[derive(Default)]
struct Story {
    calls: Vec<Call>,
    facts: Facts,
}

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

impl Story {
    fn call(&mut self, asked: Asked, fate: Fate, said: Vec<Effect>) -> u32 {
        let n = self.calls.len() as u32 * 2;
        self.calls.push(Call {
            number: n + 1,
            transaction: n,
            asked,
            reply: Reply::Said(said),
            fate,
            began: Duration::from_secs(n.into()),
            ended: Some(Duration::from_secs(u64::from(n) + 1)),
            answered_at: i64::from(n) * 1_000_000,
        });
        n + 1
    }

    fn create(&mut self, execution: Uuid, key: Option<&str>) {
        let key = key.map(str::to_owned);
        let asked = Asked::Create {
            items: 1,
            key: key.clone(),
        };
        let call = self.call(asked, Fate::Committed, vec![Effect::Created(execution)]);
        let row = Row {
            state: "waiting".into(),
            epoch: 0,
            lease: None,
            retries: 0,
            replays: 0,
            reclaims: 0,
            attempts: Vec::new(),
            result: None,
            call,
            key,
        };
        self.facts.rows.insert(execution, row);
    }

    fn claim(&mut self, lease: &Lease, fate: Fate, reason: &str) {
        let granted = vec![Effect::Granted(lease.clone())];
        let call = self.call(Asked::Claim { items: 1 }, fate, granted);
        if fate == Fate::Committed {
            let word = match reason {
                "claim" => "lease.acquired",
                _ => "lease.reclaimed",
            };
            self.event(word, lease, reason);
            let last = self.facts.log.last_mut().expect("an event");
            last.details["worker_instance"] = Call::instance(call).into();
            last.details["previous_lease_epoch"] = (lease.epoch - 1).into();
        }
    }

    fn event(&mut self, word: &str, lease: &Lease, reason: &str) {
        let id = self.facts.log.last().map_or(2, |entry| entry.id + 2);
        self.facts.log.push(Entry {
            id,
            at: id * 10_000_000,
            word: word.into(),
            execution: lease.execution,
            index: Some(lease.index),
            details: json!({ "lease_id": lease.id.to_string(), "lease_epoch": lease.epoch, "attempt_id": lease.attempt.to_string(), "reason": reason }),
        });
    }

    fn told() -> Self {
        let lease = |n: u128, epoch: i64| Lease {
            execution: id(1),
            id: id(n),
            epoch,
            attempt: id(n + 1),
            index: epoch as i32 - 1,
            handle: String::new(),
            expires_at: 20_000_000,
        };
        let (first, second, undone) = (lease(10, 1), lease(20, 2), lease(30, 2));
        let mut story = Self::default();
        story.create(id(1), Some("k"));
        story.create(id(2), None);
        story.claim(&first, Fate::Committed, "claim");
        story.event("lease.expired", &first, "");
        story.claim(&undone, Fate::Undone, "lease_expired");
        story.claim(&second, Fate::Committed, "lease_expired");
        let renewed = Effect::Renewed {
            lease: second.id,
            expires_at: 30_000_000,
        };
        story.call(Asked::Renew(second.clone()), Fate::Committed, vec![renewed]);
        story.event("lease.renewed", &second, "");
        story.call(Asked::Progress(second.clone()), Fate::Committed, Vec::new());
        let done = vec![Effect::Did(("completed", second.id))];
        let asked = Asked::Complete(second.clone(), b"result".to_vec());
        story.call(asked, Fate::Committed, done);
        story.event("lease.released", &second, "completed");
        story.event("completion.success", &second, "");
        let last = story.facts.log.last_mut().expect("an event");
        last.id -= 1;
        let row = story.facts.rows.get_mut(&id(1)).expect("a row");
        row.state = "completed".into();
        (row.epoch, row.reclaims) = (2, 1);
        row.result = Some(b"result".to_vec());
        row.attempts = vec![
            (0, first.attempt, "interrupted_reclaimed".into()),
            (1, second.attempt, "ended_success".into()),
        ];
        story
    }
}

#[test]
fn a_story_without_a_fault_holds() {
    let story = Story::told();
    assert_eq!(check(&story.calls, &story.facts), []);
    assert_eq!(check(&[], &Facts::default()), []);
}

#[test]
fn every_fault_is_found_by_the_rule_against_it() {
    let story = Story::told();
    is_found(&story.calls, &story.facts);
}

/// Whoever lost his answer, the history still holds, and what is put into it is found all the same.
#[test]
fn every_fault_is_found_beside_a_lost_answer() {
    let calls = Story::told().calls.len();
    for n in 0..calls {
        let mut story = Story::told();
        (story.calls[n].fate, story.calls[n].reply) = (Fate::Unknown, Reply::Silence);
        assert_eq!(check(&story.calls, &story.facts), [], "call {n}");
        place_all(&story.calls, &story.facts);
    }
}

#[test]
fn a_report_under_a_lease_that_was_taken_over_is_found() {
    let mut story = Story::told();
    let lease = story.calls.iter().find_map(|call| match call.said() {
        [Effect::Granted(lease)] if lease.epoch == 1 => Some(lease.clone()),
        _ => None,
    });
    let lease = lease.expect("the first lease");
    story.call(Asked::Progress(lease), Fate::Committed, Vec::new());
    let found = check(&story.calls, &story.facts);
    assert_eq!(
        found.iter().map(|v| v.rule).collect::<Vec<_>>(),
        ["exclusive"]
    );
}

#[test]
fn silence_excuses_either_way_and_only_that() {
    for (fate, reply, rule) in [
        (Fate::Unknown, Reply::Silence, None),
        (Fate::Undone, Reply::Silence, Some("unasked")),
        (
            Fate::Undone,
            Reply::Refused("FF401".into()),
            Some("unasked"),
        ),
    ] {
        let mut story = Story::told();
        let complete = story
            .calls
            .iter_mut()
            .find(|call| matches!(call.asked, Asked::Complete(..)));
        let complete = complete.expect("a completion");
        (complete.fate, complete.reply) = (fate, reply);
        let found = check(&story.calls, &story.facts);
        assert_eq!(found.first().map(|v| v.rule), rule, "{found:?}");
    }
}
