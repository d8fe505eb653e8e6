//! The checker can fail: every kind of fault, put into a history that holds, is found by the rule against it.

use std::collections::BTreeMap;
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

const FAULTS: [Fault; 20] = [
    ("a lease was told and not given", "lost", |_, facts| {
        remove(facts, "lease.reclaimed")
    }),
    ("a lease was given twice", "exclusive", |_, facts| {
        repeat(facts, "lease.acquired")
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
    ("a lease was taken before its end", "expiry", |_, facts| {
        change(facts, "lease.expired", |entry| entry.at -= 3_600_000_000)
    }),
    (
        "a lease is unknown to its claimer",
        "unasked",
        |calls, _| forget(calls, |effect| matches!(effect, Effect::Granted(_))),
    ),
    ("an execution is gone", "lost", |_, facts| {
        facts.rows.pop_first().is_some()
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
    ("a completion was lost", "lost", |_, facts| {
        let last = facts
            .log
            .iter()
            .rposition(|entry| entry.word == "completion.success");
        let Some(n) = last else { return false };
        facts.log.drain(n - 1..=n);
        true
    }),
    ("a renewal happened twice", "unasked", |_, facts| {
        repeat(facts, "lease.renewed")
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
    let mut placed = 0;
    for (fault, rule, put) in FAULTS {
        let (mut calls, mut facts) = (calls.to_vec(), facts.clone());
        if put(&mut calls, &mut facts) {
            placed += 1;
            let found = check(&calls, &facts);
            assert!(found.iter().any(|v| v.rule == rule), "{fault}: {found:#?}");
        }
    }
    assert!(
        placed >= FAULTS.len() - 2,
        "only {placed} faults have a place"
    );
}

fn nth(facts: &Facts, word: &str) -> Option<usize> {
    facts.log.iter().position(|entry| entry.word == word)
}

fn remove(facts: &mut Facts, word: &str) -> bool {
    nth(facts, word).map(|n| facts.log.remove(n)).is_some()
}

fn change(facts: &mut Facts, word: &str, change: impl Fn(&mut Entry)) -> bool {
    // A lease that the checker knows the end of, so that every fault shows.
    nth(facts, word)
        .map(|n| change(&mut facts.log[n]))
        .is_some()
}

fn repeat(facts: &mut Facts, word: &str) -> bool {
    let Some(n) = nth(facts, word) else {
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
    assert_eq!(
        check(
            &[],
            &Facts {
                log: Vec::new(),
                rows: BTreeMap::new()
            }
        ),
        []
    );
}

#[test]
fn every_fault_is_found_by_the_rule_against_it() {
    let story = Story::told();
    is_found(&story.calls, &story.facts);
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
