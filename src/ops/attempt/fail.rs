//! Fails an attempt (§10.14.5): T13, T13a with a retry, T14 without.

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::model::fence::Caller;
use crate::model::retry::{self, FailureClass};
use crate::model::text;
use crate::model::time::Instant;
use crate::model::transition::{self, Failure};
use crate::model::words::EndOp;
use crate::pg::spi::Db;
use crate::store;

use super::super::execution::{create::within_limit, duty};
use super::super::lease::fenced::{self, Passage};
use super::super::{clock, save};

/// What the worker says of the failure.
pub struct Report<'a> {
    /// What went wrong; cut at 8192 bytes.
    pub reason: &'a str,
    /// Failure class word.
    pub classification: &'a str,
    /// Free category, the class by default.
    pub category: Option<&'a str>,
    /// Opaque detail.
    pub detail: Option<&'a [u8]>,
    /// Retry no earlier than so many microseconds from now, instead of the backoff.
    pub retry_after: Option<i64>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Failed {
    /// `retry_scheduled` or `terminal_failed`.
    pub outcome: &'static str,
    /// Whose.
    pub id: Uuid,
    /// State afterwards.
    pub public_state: &'static str,
    /// When the retry is due.
    pub delay_until: Option<Instant>,
    /// Number of the attempt to come.
    pub next_attempt_index: Option<i32>,
    /// Retries used.
    pub retry_count: i32,
    /// The lease had failed this attempt before.
    pub replayed: bool,
}

/// Fails the attempt of a caller.
///
/// # Errors
/// Those of the fence; `invalid_input` for an unknown class or a negative `retry_after`.
pub fn fail(db: &Db, caller: &Caller, report: &Report) -> Result<Failed> {
    let class = FailureClass::parse(report.classification)?;
    if report.retry_after.is_some_and(|micros| micros < 0) {
        return Err(Error::invalid_input("retry_after", "negative"));
    }
    within_limit(report.detail)?;
    let category = text::cut(report.category.unwrap_or(class.word()));
    match fenced::pass(db, caller, EndOp::Fail)? {
        Passage::Replay(r) => Ok(replayed(caller.id, r.end.values.as_ref())),
        Passage::Live(e, now) => {
            let policies = duty::policies(db, std::slice::from_ref(&*e))?;
            let policy = policies.get(&e.place.id).cloned().unwrap_or_default();
            let retry = match store::covered::forbids_retry(db, &e) {
                true => None,
                false => retry::decide(
                    &policy,
                    e.retries,
                    class,
                    category,
                    report.retry_after,
                    clock::draw(),
                ),
            };
            let failure = Failure {
                reason: text::cut(report.reason).to_owned(),
                category: category.to_owned(),
                class: class.word(),
                detail: report.detail.map(<[u8]>::to_vec),
            };
            let change = transition::fail(*e, failure, retry, now);
            save::apply(db, std::slice::from_ref(&change), now);
            let after = &change.after;
            Ok(Failed {
                outcome: if retry.is_some() {
                    "retry_scheduled"
                } else {
                    "terminal_failed"
                },
                id: after.place.id,
                public_state: after.vector.public_state().word(),
                delay_until: retry.map(|delay| now.plus(delay)),
                next_attempt_index: retry.map(|_| after.total_attempts),
                retry_count: after.retries,
                replayed: false,
            })
        }
    }
}

/// The recorded answer, whatever has become of the execution since.
fn replayed(id: Uuid, values: Option<&serde_json::Value>) -> Failed {
    let int = |key: &str| {
        values
            .and_then(|v| v.get(key))
            .and_then(serde_json::Value::as_i64)
    };
    let delay_until = int("delay_until").map(Instant);
    let retry = delay_until.is_some();
    let at_once = values.and_then(|v| v.get("at_once")).is_some();
    Failed {
        outcome: if retry {
            "retry_scheduled"
        } else {
            "terminal_failed"
        },
        id,
        public_state: match (retry, at_once) {
            (true, true) => "waiting",
            (true, false) => "delayed",
            _ => "failed",
        },
        delay_until,
        next_attempt_index: int("next_attempt_index").map(|i| i as i32),
        retry_count: int("retry_count").unwrap_or_default() as i32,
        replayed: true,
    }
}
