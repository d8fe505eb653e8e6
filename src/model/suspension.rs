//! Suspensions and waitpoints (§20.2, §20.4, §20.6): what a caller asks for, checked, and the words of it.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::error::{Error, Kind, Result};

use super::condition::{Condition, Progress};
use super::policy::TimeoutBehavior;
use super::time::{Instant, SECOND};
use super::words::Blocking;
use super::{text, time};

/// Most bytes of a continuation.
pub const MAX_CONTINUATION_BYTES: usize = 4_096;
/// How far in the past a timeout may lie, microseconds.
const LATEST_TIMEOUT: i64 = 10 * 60 * SECOND;

/// Suspensions end with these words; a waitpoint closes with one of them or another.
pub mod close {
    /// Its condition held, or it was resumed.
    pub const RESUMED: &str = "resumed";
    /// Buffered signals had satisfied it.
    pub const ALREADY_SATISFIED: &str = "already_satisfied";
    /// Its execution was cancelled.
    pub const CANCELLED: &str = "cancelled";
    /// Its execution passed its deadline.
    pub const DEADLINE: &str = "expired:execution_deadline";
    /// A waitpoint that no suspension used in time.
    pub const NEVER_COMMITTED: &str = "never_committed";
    /// The attempt of a pending waitpoint ended, and another may follow.
    pub const ATTEMPT_ENDED: &str = "attempt_ended";
    /// The execution of a pending waitpoint ended.
    pub const EXECUTION_TERMINAL: &str = "execution_terminal";
}

/// The open suspension of a locked execution.
#[derive(Clone, Debug, PartialEq)]
pub struct Suspension {
    /// Identity.
    pub id: Uuid,
    /// Why.
    pub reason: String,
    /// What ends it.
    pub condition: Condition,
    /// What signals have brought about so far.
    pub progress: Progress,
    /// What becomes of waitpoints and signals at a resume.
    pub policy: ResumePolicy,
    /// What its timeout does.
    pub behavior: TimeoutBehavior,
    /// Its waitpoints, the primary first.
    pub waitpoints: Vec<Uuid>,
}

impl Suspension {
    /// How many of its waitpoints a resume makes pending again, at most.
    pub fn kept(&self) -> i32 {
        if self.policy.close_waitpoints {
            0
        } else {
            self.waitpoints.len() as i32
        }
    }
}

/// What happens at a resume by signal or timeout (§20.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumePolicy {
    /// Delay applied when a signal resumes, milliseconds.
    pub delay_ms: Option<i64>,
    /// Waitpoints close; otherwise they become pending again.
    pub close_waitpoints: bool,
    /// Signals that counted never count again.
    pub consume_matched: bool,
    /// Unmatched signals of a kept waitpoint stay in its buffer.
    pub retain_buffer: bool,
}

impl ResumePolicy {
    /// Reads the document of a caller.
    ///
    /// # Errors
    /// `invalid_policy` with path and rule.
    pub fn parse(value: &Value) -> Result<ResumePolicy> {
        let invalid = |path: &str, rule: &str| {
            Error::new(Kind::InvalidPolicy)
                .say(format!(
                    "the resume policy breaks the rule {rule} at {path}"
                ))
                .with("path", path)
                .with("rule", rule)
        };
        let members = value
            .as_object()
            .ok_or_else(|| invalid("$", "wrong_type"))?;
        let flag = |key: &str, default: bool| match members.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(invalid(key, "wrong_type")),
        };
        for key in members.keys() {
            if !Self::KEYS.contains(&key.as_str()) {
                return Err(invalid(text::cut(key), "unknown_key"));
            }
        }
        match members.get("resume_target") {
            None | Some(Value::Null) => {}
            Some(Value::String(word)) if word == "runnable" => {}
            Some(Value::String(_)) => return Err(invalid("resume_target", "unknown_word")),
            Some(_) => return Err(invalid("resume_target", "wrong_type")),
        }
        let delay_ms = match members.get("resume_delay_ms") {
            None | Some(Value::Null) => None,
            Some(Value::Number(ms)) => match ms.as_i64() {
                Some(ms) if ms < 0 => return Err(invalid("resume_delay_ms", "out_of_range")),
                Some(ms) => Some(ms),
                None => return Err(invalid("resume_delay_ms", "wrong_type")),
            },
            Some(_) => return Err(invalid("resume_delay_ms", "wrong_type")),
        };
        Ok(ResumePolicy {
            delay_ms,
            close_waitpoints: flag("close_waitpoint_on_resume", true)?,
            consume_matched: flag("consume_matched_signals", true)?,
            retain_buffer: flag("retain_signal_buffer_until_closed", false)?,
        })
    }

    const KEYS: [&str; 5] = [
        "resume_target",
        "resume_delay_ms",
        "close_waitpoint_on_resume",
        "consume_matched_signals",
        "retain_signal_buffer_until_closed",
    ];

    /// As it is stored and shown.
    pub fn json(&self) -> Value {
        json!({
            "resume_target": "runnable",
            "resume_delay_ms": self.delay_ms,
            "close_waitpoint_on_resume": self.close_waitpoints,
            "consume_matched_signals": self.consume_matched,
            "retain_signal_buffer_until_closed": self.retain_buffer,
        })
    }
}

/// One waitpoint that takes part in a suspension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binding {
    /// Made for it.
    Fresh {
        /// Its key.
        key: String,
        /// Chosen id.
        id: Option<Uuid>,
    },
    /// Made earlier.
    Used(Uuid),
}

/// Reads the bindings of a caller, at most `most`.
///
/// # Errors
/// `invalid_input` for the shape, `invalid_waitpoint_key` for a key or a key given twice.
pub fn bindings(value: &Value, most: usize) -> Result<Vec<Binding>> {
    let invalid = |rule: &str| Error::invalid_input("waitpoints", rule);
    let items = value.as_array().ok_or_else(|| invalid("not_an_array"))?;
    if items.is_empty() {
        return Err(invalid("waitpoints_empty"));
    }
    if items.len() > most {
        return Err(invalid("too_many").with("max", most));
    }
    let mut found = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        let wrong = |rule: &str| invalid(rule).item(i);
        let object = item.as_object().ok_or_else(|| wrong("not_an_object"))?;
        found.push(binding(object).map_err(wrong)?);
    }
    let mut keys: Vec<&str> = Vec::new();
    for binding in &found {
        if let Binding::Fresh { key, .. } = binding {
            waitpoint_key(key)?;
            if keys.contains(&key.as_str()) {
                return Err(invalid_key("duplicate"));
            }
            keys.push(key);
        }
    }
    let mut ids = found.iter().filter_map(|b| match b {
        Binding::Fresh { id, .. } => *id,
        Binding::Used(id) => Some(*id),
    });
    let mut seen = Vec::new();
    if ids.any(|id| {
        seen.contains(&id) || {
            seen.push(id);
            false
        }
    }) {
        return Err(invalid("duplicate_id"));
    }
    Ok(found)
}

fn binding(object: &Map<String, Value>) -> std::result::Result<Binding, &'static str> {
    let text = |key: &str| match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err("wrong_type"),
    };
    let uuid = |key: &str| match text(key)? {
        None => Ok(None),
        Some(text) => Uuid::parse_str(text).map(Some).map_err(|_| "bad_uuid"),
    };
    if object
        .keys()
        .any(|k| !["key", "id", "use"].contains(&k.as_str()))
    {
        return Err("unknown_key");
    }
    match (text("key")?, uuid("id")?, uuid("use")?) {
        (Some(key), id, None) => Ok(Binding::Fresh {
            key: key.to_owned(),
            id,
        }),
        (None, None, Some(id)) => Ok(Binding::Used(id)),
        _ => Err("key_or_use"),
    }
}

/// Checks the key of a waitpoint: 1–256 bytes without control characters.
///
/// # Errors
/// `invalid_waitpoint_key` with the rule.
pub fn waitpoint_key(key: &str) -> Result<()> {
    text::identifier("waitpoint_key", key).map_err(|e| {
        let rule = e.detail_value("rule").and_then(Value::as_str);
        invalid_key(rule.unwrap_or_default())
    })
}

/// `invalid_waitpoint_key`.
pub fn invalid_key(rule: &str) -> Error {
    Error::new(Kind::InvalidWaitpointKey).with("rule", rule)
}

/// What a reason blocks as (§20.6); custom words wait for a signal.
///
/// # Errors
/// `invalid_input` for what is neither a word of the list nor a custom word.
pub fn blocking(reason: &str) -> Result<Blocking> {
    let mut bytes = reason.bytes();
    let is_word = reason.len() <= 64
        && bytes.next().is_some_and(|c| c.is_ascii_lowercase())
        && bytes.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_');
    Ok(match reason {
        "waiting_for_approval" => Blocking::Approval,
        "waiting_for_callback" => Blocking::Callback,
        "waiting_for_tool_result" => Blocking::ToolResult,
        "waiting_for_operator_review" | "manual_pause" => Blocking::PausedByOperator,
        "paused_by_policy" => Blocking::PausedByPolicy,
        "paused_by_budget" => Blocking::Budget,
        _ if is_word => Blocking::Signal,
        _ => return Err(Error::invalid_input("reason", "bad_word")),
    })
}

/// Who asks for a suspension.
///
/// # Errors
/// `invalid_input` for an unknown word.
pub fn requester(word: &str) -> Result<()> {
    match word {
        "worker" | "operator" | "policy" | "system_timeout_policy" => Ok(()),
        _ => Err(Error::invalid_input("requested_by", "unknown_word")),
    }
}

/// When a suspension times out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// So many microseconds from now.
    After(i64),
    /// At an instant.
    At(Instant),
}

impl Timeout {
    /// Reads the two arguments.
    ///
    /// # Errors
    /// `invalid_input` for both, for a duration that is not positive, and for an instant long past.
    pub fn of(after: Option<i64>, at: Option<Instant>, now: Instant) -> Result<Option<Timeout>> {
        match (after, at) {
            (Some(_), Some(_)) => Err(Error::invalid_input("timeout_at", "both_given")),
            (Some(micros), None) if micros <= 0 => {
                Err(Error::invalid_input("timeout", "not_positive"))
            }
            (Some(micros), None) => Ok(Some(Timeout::After(micros))),
            (None, Some(at)) if !at.is_finite() => {
                Err(Error::invalid_input("timeout_at", "not_finite"))
            }
            (None, Some(at)) if at < now.minus(LATEST_TIMEOUT) => {
                Err(Error::invalid_input("timeout_at", "timeout_at_in_past"))
            }
            (None, Some(at)) => Ok(Some(Timeout::At(at))),
            (None, None) => Ok(None),
        }
    }

    /// The instant it stands for.
    pub fn instant(self, now: Instant) -> Instant {
        match self {
            Timeout::After(micros) => now.plus(micros),
            Timeout::At(at) => at,
        }
    }
}

/// How long the idempotency key of a suspend is remembered (§20.8).
pub fn remembered_until(
    timeout_at: Option<Instant>,
    grace_ms: i64,
    most_ms: i64,
    now: Instant,
) -> Instant {
    let most = now.plus(most_ms.saturating_mul(time::MS));
    timeout_at.map_or(most, |at| {
        at.plus(grace_ms.saturating_mul(time::MS)).min(most)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn rule(error: Error) -> String {
        error
            .detail_value("rule")
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn bindings_are_fresh_or_used() {
        let id = Uuid::from_u128(7);
        let document = json!([{"key": "a"}, {"key": "b", "id": id}, {"use": id.to_string().replace('7', "8")}]);
        let read = bindings(&document, 64).unwrap();
        assert_eq!(read.len(), 3);
        assert_eq!(read[2], Binding::Used(Uuid::from_u128(8)));
        for (document, expected) in [
            (json!({}), "not_an_array"),
            (json!([]), "waitpoints_empty"),
            (json!([1]), "not_an_object"),
            (json!([{}]), "key_or_use"),
            (json!([{"key": "a", "use": id}]), "key_or_use"),
            (json!([{"key": 1}]), "wrong_type"),
            (json!([{"use": "x"}]), "bad_uuid"),
            (json!([{"key": "a", "kex": 1}]), "unknown_key"),
            (json!([{"key": "a"}, {"key": "a"}]), "duplicate"),
            (json!([{"key": "a\n"}]), "control_character"),
            (json!([{"key": ""}]), "empty"),
            (json!([{"use": id}, {"use": id}]), "duplicate_id"),
        ] {
            assert_eq!(rule(bindings(&document, 64).unwrap_err()), expected);
        }
        assert_eq!(rule(bindings(&document, 2).unwrap_err()), "too_many");
    }

    #[test]
    fn s_8_reasons_and_what_they_block_as() {
        for (reason, blocking_reason) in [
            ("waiting_for_signal", Blocking::Signal),
            ("step_boundary", Blocking::Signal),
            ("awaiting_kyc", Blocking::Signal),
            ("waiting_for_approval", Blocking::Approval),
            ("waiting_for_callback", Blocking::Callback),
            ("waiting_for_tool_result", Blocking::ToolResult),
            ("waiting_for_operator_review", Blocking::PausedByOperator),
            ("manual_pause", Blocking::PausedByOperator),
            ("paused_by_policy", Blocking::PausedByPolicy),
            ("paused_by_budget", Blocking::Budget),
        ] {
            assert_eq!(blocking(reason).unwrap(), blocking_reason);
        }
        for word in ["", "Bad Word", "1st", "_x", &"x".repeat(65)] {
            assert!(blocking(word).is_err());
        }
    }

    #[test]
    fn resume_policies_are_closed_documents() {
        let policy = ResumePolicy::parse(&json!({})).unwrap();
        assert!(policy.close_waitpoints && policy.consume_matched && !policy.retain_buffer);
        assert_eq!(ResumePolicy::parse(&policy.json()).unwrap(), policy);
        for document in [
            json!([]),
            json!({"resume_target": "active"}),
            json!({"resume_delay_ms": -1}),
            json!({"resume_delay_ms": 1.5}),
            json!({"close_waitpoint_on_resume": "yes"}),
            json!({"close_waitpoint": true}),
        ] {
            let error = ResumePolicy::parse(&document).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidPolicy);
        }
    }

    #[test]
    fn s_15_a_key_is_remembered_beyond_the_timeout_but_not_for_ever() {
        let now = Instant(0);
        let until = |at| remembered_until(at, 60_000, 604_800_000, now);
        assert_eq!(until(Some(Instant(10 * SECOND))), Instant(70 * SECOND));
        assert_eq!(until(None), Instant(7 * time::DAY));
        assert_eq!(until(Some(Instant(30 * time::DAY))), Instant(7 * time::DAY));
    }
}
