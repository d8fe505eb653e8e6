//! From the document of §10.7 to a [`Policy`]: which member has which type and range.

use super::document::{self, Object};
use super::{
    Backoff, DurabilityMode, FallbackTier, Policy, RetryPolicy, RoutingRequirements, StreamPolicy,
    SuspensionPolicy, TimeoutBehavior, TimeoutPolicy,
};
use crate::error::Result;
use crate::model::capability::{self, Side};
use serde_json::Value;
use std::ops::RangeInclusive;
use uuid::Uuid;

/// Most budgets a policy may name.
const MAX_BUDGETS: usize = 64;
/// Most retries a policy may allow.
const MAX_RETRIES: i32 = 1_000_000;

/// Any integer.
const ANY: RangeInclusive<i64> = i64::MIN..=i64::MAX;
/// Above 0.
const POSITIVE: RangeInclusive<i64> = 1..=i64::MAX;
/// 0 and above.
const NOT_NEGATIVE: RangeInclusive<i64> = 0..=i64::MAX;
/// 0 and above, and −1 for ever.
const RETENTION: RangeInclusive<i64> = -1..=i64::MAX;

/// Reads the whole document.
pub fn policy(value: &Value) -> Result<Policy> {
    let known = [
        "priority",
        "delay_until",
        "retry_policy",
        "timeout_policy",
        "max_reclaim_count",
        "max_replay_count",
        "suspension_policy",
        "fallback_policy",
        "budget_ids",
        "quota_policy_id",
        "routing_requirements",
        "dedup_window_ms",
        "stream_policy",
        "max_signals_per_execution",
        "retention_ms",
    ];
    let Some(doc) = Object::root(value, &known)? else {
        return Ok(Policy::default());
    };
    Ok(Policy {
        priority: doc.int("priority", ANY)?,
        delay_until_ms: doc.int("delay_until", ANY)?,
        retry: retry(&doc)?,
        timeout: timeout(&doc)?,
        max_reclaim_count: doc.int("max_reclaim_count", NOT_NEGATIVE)?,
        max_replay_count: doc.int("max_replay_count", NOT_NEGATIVE)?,
        suspension: suspension(&doc)?,
        fallback_tiers: fallback_tiers(&doc)?,
        budget_ids: budget_ids(&doc)?,
        quota_policy_id: doc.uuid("quota_policy_id")?,
        routing: routing(&doc)?,
        dedup_window_ms: doc.int("dedup_window_ms", POSITIVE)?,
        stream: stream(&doc)?,
        max_signals_per_execution: doc.int("max_signals_per_execution", POSITIVE)?,
        retention_ms: doc.int("retention_ms", RETENTION)?,
    })
}

fn retry(doc: &Object) -> Result<Option<RetryPolicy>> {
    let known = ["max_retries", "backoff", "retryable_categories"];
    let Some(part) = doc.object("retry_policy", &known)? else {
        return Ok(None);
    };
    let max_retries = part.int("max_retries", 0..=i64::from(MAX_RETRIES))?;
    let categories = part.array("retryable_categories")?;
    Ok(Some(RetryPolicy {
        // The range keeps the value within 32 bits.
        max_retries: max_retries.map(|n| i32::try_from(n).unwrap_or(MAX_RETRIES)),
        backoff: backoff(&part)?,
        retryable_categories: categories
            .iter()
            .map(|(path, value)| document::text(path, value))
            .collect::<Result<_>>()?,
    }))
}

fn backoff(retry: &Object) -> Result<Option<Backoff>> {
    let exponential = ["initial_delay_ms", "max_delay_ms", "multiplier", "jitter"];
    let known = [&["type", "delay_ms"][..], &exponential[..]].concat();
    let Some(part) = retry.object("backoff", &known)? else {
        return Ok(None);
    };
    let is_fixed = part.word("type", |word| match word {
        "fixed" => Some(true),
        "exponential" => Some(false),
        _ => None,
    })?;
    if part.required("type", is_fixed)? {
        part.forbid(&exponential)?;
        let delay_ms = part.int("delay_ms", NOT_NEGATIVE)?;
        return Ok(Some(Backoff::Fixed {
            delay_ms: part.required("delay_ms", delay_ms)?,
        }));
    }
    part.forbid(&["delay_ms"])?;
    Ok(Some(Backoff::Exponential {
        initial_delay_ms: part.int("initial_delay_ms", NOT_NEGATIVE)?,
        max_delay_ms: part.int("max_delay_ms", NOT_NEGATIVE)?,
        multiplier: part.number("multiplier", 1.0..=1_000.0)?,
        jitter: part.boolean("jitter")?,
    }))
}

fn timeout(doc: &Object) -> Result<TimeoutPolicy> {
    let known = [
        "attempt_timeout_ms",
        "execution_deadline_ms",
        "max_reclaim_count",
    ];
    let Some(part) = doc.object("timeout_policy", &known)? else {
        return Ok(Default::default());
    };
    Ok(TimeoutPolicy {
        attempt_timeout_ms: part.int("attempt_timeout_ms", POSITIVE)?,
        execution_deadline_ms: part.int("execution_deadline_ms", POSITIVE)?,
        max_reclaim_count: part.int("max_reclaim_count", NOT_NEGATIVE)?,
    })
}

fn suspension(doc: &Object) -> Result<SuspensionPolicy> {
    let known = ["default_timeout_ms", "timeout_behavior"];
    let Some(part) = doc.object("suspension_policy", &known)? else {
        return Ok(Default::default());
    };
    Ok(SuspensionPolicy {
        default_timeout_ms: part.int("default_timeout_ms", POSITIVE)?,
        timeout_behavior: part.word("timeout_behavior", TimeoutBehavior::from_word)?,
    })
}

fn fallback_tiers(doc: &Object) -> Result<Vec<FallbackTier>> {
    let Some(part) = doc.object("fallback_policy", &["tiers"])? else {
        return Ok(Vec::new());
    };
    part.array("tiers")?
        .into_iter()
        .map(|(path, value)| fallback_tier(path, value))
        .collect()
}

fn fallback_tier(path: String, value: &Value) -> Result<FallbackTier> {
    let tier = Object::at(path.clone(), value, &["provider", "model", "timeout_ms"])?
        .ok_or_else(|| document::refused(&path, "wrong_type"))?;
    Ok(FallbackTier {
        provider: tier
            .required("provider", tier.text("provider")?)?
            .to_owned(),
        model: tier.required("model", tier.text("model")?)?.to_owned(),
        timeout_ms: tier.int("timeout_ms", POSITIVE)?,
    })
}

fn budget_ids(doc: &Object) -> Result<Vec<Uuid>> {
    let elements = doc.array("budget_ids")?;
    if elements.len() > MAX_BUDGETS {
        return Err(doc.refused("budget_ids", "too_many"));
    }
    let mut ids = Vec::with_capacity(elements.len());
    for (path, value) in elements {
        let id = document::uuid(&path, value)?;
        if ids.contains(&id) {
            return Err(document::refused(&path, "not_distinct"));
        }
        ids.push(id);
    }
    Ok(ids)
}

fn routing(doc: &Object) -> Result<RoutingRequirements> {
    let known = [
        "required_capabilities",
        "preferred_locality",
        "isolation_level",
    ];
    let Some(part) = doc.object("routing_requirements", &known)? else {
        return Ok(Default::default());
    };
    let key = "required_capabilities";
    let capabilities = part.value(key).map(|value| {
        capability::from_json(Side::Required, value)
            .map_err(|error| error.with("path", part.path(key)))
    });
    Ok(RoutingRequirements {
        required_capabilities: capabilities.transpose()?.unwrap_or_default(),
        preferred_locality: part.text("preferred_locality")?.map(str::to_owned),
        isolation_level: part.text("isolation_level")?.map(str::to_owned),
    })
}

fn stream(doc: &Object) -> Result<StreamPolicy> {
    let known = ["retention_maxlen", "retention_ttl_ms", "durability_mode"];
    let Some(part) = doc.object("stream_policy", &known)? else {
        return Ok(Default::default());
    };
    Ok(StreamPolicy {
        retention_maxlen: part.int("retention_maxlen", POSITIVE)?,
        retention_ttl_ms: part.int("retention_ttl_ms", POSITIVE)?,
        durability_mode: part.word("durability_mode", DurabilityMode::from_word)?,
    })
}
