//! The policy of an execution: the document of §10.7, typed, and its stored form.
//!
//! A `None` says that the document is silent; where §10.7 names a fixed default, a method supplies
//! it, and where it names a setting, the caller passes the setting's value.

mod document;
mod parse;

use crate::error::{Error, Kind, Result};
use serde_json::{Map, Number, Value};
use uuid::Uuid;

/// A checked policy. `Default` is the policy of `{}`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    /// Priority, not yet clamped into 0–9000.
    pub priority: Option<i64>,
    /// Instant before which the execution is not handed out, Unix milliseconds.
    pub delay_until_ms: Option<i64>,
    /// How failures are retried; absent means never.
    pub retry: Option<RetryPolicy>,
    /// `timeout_policy`.
    pub timeout: TimeoutPolicy,
    /// Lost leases that are taken over before the execution fails; see [`Policy::reclaim_limit`].
    pub max_reclaim_count: Option<i64>,
    /// Replays allowed; see [`Policy::replay_limit`].
    pub max_replay_count: Option<i64>,
    /// `suspension_policy`.
    pub suspension: SuspensionPolicy,
    /// `fallback_policy.tiers`, in order; empty when there are none.
    pub fallback_tiers: Vec<FallbackTier>,
    /// Budgets to attach at creation, distinct, in the order given.
    pub budget_ids: Vec<Uuid>,
    /// Quota policy to attach at creation.
    pub quota_policy_id: Option<Uuid>,
    /// `routing_requirements`.
    pub routing: RoutingRequirements,
    /// Lifetime of the idempotency key, milliseconds, above 0.
    pub dedup_window_ms: Option<i64>,
    /// `stream_policy`.
    pub stream: StreamPolicy,
    /// Signals the execution accepts.
    pub max_signals_per_execution: Option<i64>,
    /// Time the terminal execution is kept, milliseconds; −1 means for ever.
    pub retention_ms: Option<i64>,
}

/// `retry_policy`: its presence alone means that failures are retried.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RetryPolicy {
    /// Retries beyond the first attempt, 0–1000000; see [`RetryPolicy::retries_allowed`].
    pub max_retries: Option<i32>,
    /// How long to wait before a retry; absent means exponential with its defaults.
    pub backoff: Option<Backoff>,
    /// Categories or failure classes that are retried; empty means every retryable class.
    pub retryable_categories: Vec<String>,
}

/// `retry_policy.backoff`, delays in milliseconds and not negative.
#[derive(Clone, Debug, PartialEq)]
pub enum Backoff {
    /// The same delay before every retry.
    Fixed {
        /// The delay.
        delay_ms: i64,
    },
    /// A delay that grows by a factor with every retry.
    Exponential {
        /// Delay before the first retry, default [`Backoff::INITIAL_DELAY_MS`].
        initial_delay_ms: Option<i64>,
        /// Upper bound of the delay, default [`Backoff::MAX_DELAY_MS`].
        max_delay_ms: Option<i64>,
        /// Growth factor 1–1000, default [`Backoff::MULTIPLIER`].
        multiplier: Option<f64>,
        /// Whether the delay is drawn from its upper half, default no.
        jitter: Option<bool>,
    },
}

/// `timeout_policy`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TimeoutPolicy {
    /// Running time of one attempt, milliseconds, above 0.
    pub attempt_timeout_ms: Option<i64>,
    /// Time from creation or replay to the deadline, milliseconds, above 0.
    pub execution_deadline_ms: Option<i64>,
    /// Stands in for the top-level `max_reclaim_count`.
    pub max_reclaim_count: Option<i64>,
}

/// `suspension_policy`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SuspensionPolicy {
    /// Timeout of a suspension that names none, milliseconds, above 0.
    pub default_timeout_ms: Option<i64>,
    /// What that timeout does; absent means `fail`.
    pub timeout_behavior: Option<TimeoutBehavior>,
}

/// One entry of `fallback_policy.tiers`.
#[derive(Clone, Debug, PartialEq)]
pub struct FallbackTier {
    /// Provider, uninterpreted.
    pub provider: String,
    /// Model, uninterpreted.
    pub model: String,
    /// Attempt timeout of this tier, milliseconds, above 0.
    pub timeout_ms: Option<i64>,
}

/// `routing_requirements`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoutingRequirements {
    /// Capabilities a worker must have, sorted and distinct (§10.9).
    pub required_capabilities: Vec<String>,
    /// Returned to the worker, not matched.
    pub preferred_locality: Option<String>,
    /// Returned to the worker, not matched.
    pub isolation_level: Option<String>,
}

/// `stream_policy`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamPolicy {
    /// Durable frames kept per stream, above 0.
    pub retention_maxlen: Option<i64>,
    /// Time a stream is kept after its end, milliseconds, above 0.
    pub retention_ttl_ms: Option<i64>,
    /// Accepted for interop, without effect.
    pub durability_mode: Option<DurabilityMode>,
}

/// A closed set of words of the document.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        #[allow(dead_code)]
        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word in documents and results.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// The value of a word.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

words! {
    /// What the timeout of a suspension does (§20.16).
    TimeoutBehavior {
        /// Ends the execution as failed.
        Fail = "fail",
        /// Ends it as cancelled.
        Cancel = "cancel",
        /// Ends it as expired.
        Expire = "expire",
        /// Resumes it.
        AutoResume = "auto_resume",
        /// Records a signal named `timeout` and resumes it.
        AutoResumeWithTimeoutSignal = "auto_resume_with_timeout_signal",
        /// Leaves it suspended for an operator.
        Escalate = "escalate",
    }
}

words! {
    /// `stream_policy.durability_mode`.
    DurabilityMode {
        /// The default.
        Buffered = "buffered",
        /// Asks for durable frames; the mode is chosen per frame instead.
        Durable = "durable",
    }
}

/// Whether a document says nothing at all.
pub fn is_blank(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(|members| members.is_empty())
}

impl Policy {
    /// Checks a document; JSON null counts as `{}`.
    ///
    /// # Errors
    /// `invalid_policy` with the `path` (`$` for the document itself) and the `rule`: `wrong_type`,
    /// `unknown_key`, `out_of_range`, `required`, `not_allowed`, `unknown_word`, `bad_uuid`,
    /// `not_distinct` or `too_many`. A bad capability list is `invalid_capabilities` with the path.
    pub fn parse(value: &Value) -> Result<Policy> {
        if is_blank(value) {
            return Ok(Policy::default());
        }
        parse::policy(value)
    }

    /// Whether it names budgets or a quota.
    pub fn limits(&self) -> bool {
        !self.budget_ids.is_empty() || self.quota_policy_id.is_some()
    }

    /// The document that is stored: members in a fixed order, without nulls and empty parts, ids
    /// and capability lists in one spelling. Absent when the document says nothing at all, so that
    /// `{}` and a document of nulls are stored alike. What was given explicitly stays, even where
    /// it equals a default; an empty `retry_policy` stays too, since it means something.
    pub fn normalised(&self) -> Option<Value> {
        let mut out = Members::default();
        out.put("priority", self.priority);
        out.put("delay_until", self.delay_until_ms);
        out.put(
            "retry_policy",
            self.retry.as_ref().map(RetryPolicy::normalised),
        );
        let mut timeout = Members::default();
        timeout.put("attempt_timeout_ms", self.timeout.attempt_timeout_ms);
        timeout.put("execution_deadline_ms", self.timeout.execution_deadline_ms);
        timeout.put("max_reclaim_count", self.timeout.max_reclaim_count);
        out.put("timeout_policy", timeout.filled());
        out.put("max_reclaim_count", self.max_reclaim_count);
        out.put("max_replay_count", self.max_replay_count);
        let mut suspension = Members::default();
        suspension.put("default_timeout_ms", self.suspension.default_timeout_ms);
        let behavior = self.suspension.timeout_behavior;
        suspension.put("timeout_behavior", behavior.map(TimeoutBehavior::word));
        out.put("suspension_policy", suspension.filled());
        let mut fallback = Members::default();
        fallback.list(
            "tiers",
            self.fallback_tiers.iter().map(FallbackTier::normalised),
        );
        out.put("fallback_policy", fallback.filled());
        out.list(
            "budget_ids",
            self.budget_ids.iter().map(|id| Value::from(id.to_string())),
        );
        out.put(
            "quota_policy_id",
            self.quota_policy_id.map(|id| id.to_string()),
        );
        let mut routing = Members::default();
        let capabilities = self.routing.required_capabilities.iter().cloned();
        routing.list("required_capabilities", capabilities.map(Value::from));
        routing.put(
            "preferred_locality",
            self.routing.preferred_locality.clone(),
        );
        routing.put("isolation_level", self.routing.isolation_level.clone());
        out.put("routing_requirements", routing.filled());
        out.put("dedup_window_ms", self.dedup_window_ms);
        let mut stream = Members::default();
        stream.put("retention_maxlen", self.stream.retention_maxlen);
        stream.put("retention_ttl_ms", self.stream.retention_ttl_ms);
        stream.put(
            "durability_mode",
            self.stream.durability_mode.map(DurabilityMode::word),
        );
        out.put("stream_policy", stream.filled());
        out.put("max_signals_per_execution", self.max_signals_per_execution);
        out.put("retention_ms", self.retention_ms);
        out.filled()
    }

    /// Reads a stored document.
    ///
    /// # Errors
    /// `corruption` with the path, since only checked documents are ever stored.
    pub fn from_stored(text: &str) -> Result<Policy> {
        let damaged = || {
            Error::new(Kind::Corruption)
                .say("a stored policy cannot be interpreted")
                .with("document", "policy")
        };
        let value: Value = serde_json::from_str(text).map_err(|_| damaged())?;
        Policy::parse(&value).map_err(|cause| {
            let path = cause.detail_value("path").cloned().unwrap_or_default();
            damaged().with("path", path)
        })
    }

    /// Lost leases that are taken over before the execution fails; `setting` is
    /// `default_max_reclaim_count`.
    pub fn reclaim_limit(&self, setting: i64) -> i64 {
        self.max_reclaim_count
            .or(self.timeout.max_reclaim_count)
            .unwrap_or(setting)
    }

    /// Replays allowed; `setting` is `default_max_replay_count`.
    pub fn replay_limit(&self, setting: i64) -> i64 {
        self.max_replay_count.unwrap_or(setting)
    }
}

impl RetryPolicy {
    /// Retries beyond the first attempt, 3 unless the policy says otherwise.
    pub fn retries_allowed(&self) -> i32 {
        self.max_retries.unwrap_or(3)
    }

    fn normalised(&self) -> Value {
        let mut out = Members::default();
        out.put("max_retries", self.max_retries);
        out.put("backoff", self.backoff.as_ref().map(Backoff::normalised));
        let categories = self.retryable_categories.iter().cloned();
        out.list("retryable_categories", categories.map(Value::from));
        Value::Object(out.0)
    }
}

impl Backoff {
    /// Default of `initial_delay_ms`.
    pub const INITIAL_DELAY_MS: i64 = 1_000;
    /// Default of `max_delay_ms`.
    pub const MAX_DELAY_MS: i64 = 60_000;
    /// Default of `multiplier`.
    pub const MULTIPLIER: f64 = 2.0;
    /// What holds where a retry policy names no backoff.
    pub const DEFAULT: Backoff = Backoff::Exponential {
        initial_delay_ms: None,
        max_delay_ms: None,
        multiplier: None,
        jitter: None,
    };

    fn normalised(&self) -> Value {
        let mut out = Members::default();
        match self {
            Backoff::Fixed { delay_ms } => {
                out.put("type", Some("fixed"));
                out.put("delay_ms", Some(*delay_ms));
            }
            Backoff::Exponential {
                initial_delay_ms,
                max_delay_ms,
                multiplier,
                jitter,
            } => {
                out.put("type", Some("exponential"));
                out.put("initial_delay_ms", *initial_delay_ms);
                out.put("max_delay_ms", *max_delay_ms);
                out.put("multiplier", multiplier.and_then(Number::from_f64));
                out.put("jitter", *jitter);
            }
        }
        Value::Object(out.0)
    }
}

impl FallbackTier {
    fn normalised(&self) -> Value {
        let mut out = Members::default();
        out.put("provider", Some(self.provider.as_str()));
        out.put("model", Some(self.model.as_str()));
        out.put("timeout_ms", self.timeout_ms);
        Value::Object(out.0)
    }
}

/// A JSON object under construction that leaves out what says nothing.
#[derive(Default)]
struct Members(Map<String, Value>);

impl Members {
    fn put(&mut self, key: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.0.insert(key.to_owned(), value.into());
        }
    }

    fn list(&mut self, key: &str, values: impl Iterator<Item = Value>) {
        let values: Vec<Value> = values.collect();
        self.put(key, (!values.is_empty()).then_some(values));
    }

    /// The object, unless it has no members.
    fn filled(self) -> Option<Value> {
        (!self.0.is_empty()).then_some(Value::Object(self.0))
    }
}

#[cfg(test)]
mod tests;
