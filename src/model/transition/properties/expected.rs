//! What the specification expects of a transition: a row of the table of §10.4 and the events of §30.11.

use super::super::Change;
use super::step::Op;
use crate::model::event::Event;
use crate::model::execution::Execution;
use crate::model::stream;
use crate::model::words::*;

/// A row of the table: `=` unchanged, `T` terminal if there ever was an attempt, words joined by `|` either.
#[derive(Debug)]
pub struct Expected {
    pub transition: &'static str,
    pub row: &'static str,
    pub events: Vec<String>,
}

/// What a random life must be able to take.
pub const TRANSITIONS: [&str; 38] = [
    "T3",
    "T4",
    "T5",
    "T17, T5",
    "T6",
    "T7",
    "T8",
    "T9",
    "T10",
    "T11",
    "T12",
    "T13",
    "T13a",
    "T14",
    "T15",
    "T16",
    "T16a",
    "T17",
    "T17a",
    "T18",
    "T19",
    "T19a",
    "suspension timeout",
    "escalation",
    "T20",
    "T21",
    "T21a",
    "T22",
    "T23",
    "T24",
    "T25",
    "T26",
    "T28",
    "renew",
    "priority",
    "grant",
    "ungrant",
    "mismatch",
];

fn row(transition: &'static str) -> &'static str {
    match transition {
        "T3" => {
            "runnable unowned blocked_by_dependencies waiting_for_children none = waiting_children"
        }
        "T5" | "T17, T5" => "terminal unowned not_applicable none skipped T skipped",
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
        "T18" => {
            "suspended unowned not_applicable waiting_for_approval none attempt_interrupted suspended"
        }
        "T19" => {
            "runnable unowned eligible_now waiting_for_worker none attempt_interrupted resumable"
        }
        "T19a" => {
            "runnable unowned not_eligible_until_time waiting_for_resume_delay none attempt_interrupted delayed"
        }
        "suspension timeout" => {
            "terminal unowned not_applicable none failed|cancelled|expired attempt_terminal failed|cancelled|expired"
        }
        "escalation" => {
            "suspended unowned not_applicable paused_by_operator none attempt_interrupted suspended"
        }
        "T20" => "runnable unowned eligible_now waiting_for_worker none = waiting|resumable",
        "T22" => "terminal unowned not_applicable none expired attempt_terminal expired",
        "T23" => "terminal unowned not_applicable none expired T expired",
        "T4" | "T25" => {
            "runnable unowned eligible_now|not_eligible_until_time waiting_for_worker|waiting_for_delay|waiting_for_retry_backoff none = waiting|resumable|delayed"
        }
        "T26" => {
            "runnable unowned eligible_now waiting_for_worker none pending_replay_attempt waiting"
        }
        "T28" => {
            "runnable unowned blocked_by_budget waiting_for_budget none attempt_interrupted rate_limited"
        }
        _ => "= = = = = = =",
    }
}

/// §30.8: with what the attempt's stream is closed.
fn closing(transition: &str) -> Option<&'static str> {
    Some(match transition {
        "T8" | "T11" => "lease_expired",
        "T9" => "lease_revoked",
        "T10" => "reclaimed",
        "T12" => "attempt_success",
        "T13" | "T13a" | "T14" => "attempt_failure",
        "T15" => "attempt_cancelled",
        "T5" | "T17, T5" => "dependency_impossible",
        "T21" | "T21a" | "T22" | "T23" => "expired",
        "suspension timeout" => "suspension_timeout",
        _ => return None,
    })
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
        let before = change.before.as_deref().expect("an execution that exists");
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
        self.judge_stream(before, change);
    }

    /// The first end of a stream stands, unless the attempt is taken over.
    fn judge_stream(&self, before: &Execution, change: &Change) {
        let Some(was) = &before.attempt else { return };
        let archived = change.archive.as_ref().map(|s| &s.attempt);
        let is = archived.or(change.after.attempt.as_ref());
        let is = is.and_then(|a| a.closed).map(|c| c.reason.word());
        let earlier = was.closed.map(|c| c.reason.word());
        let earlier = earlier.filter(|_| self.transition != "T10");
        let expected = earlier.or(closing(self.transition));
        assert_eq!(is, expected, "{} from {earlier:?}", self.transition);
        let closes = stream::closing::closes(change).is_some();
        assert_eq!(closes, was.closed.is_none() && expected.is_some());
    }
}

pub fn expect(transition: &'static str, events: &[&str]) -> Option<Expected> {
    Some(Expected {
        transition,
        row: row(transition),
        events: events.iter().map(|e| (*e).to_owned()).collect(),
    })
}
