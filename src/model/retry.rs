//! Whether a failed attempt is retried, and when (§10.14.5, §10.7).

use super::policy::{Backoff, Policy};
use super::time::MS;
use crate::error::{Error, Result};

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// May go better next time.
    Transient,
    /// Will fail again; never retried.
    Permanent,
    /// The worker or its machine broke down.
    InfraCrash,
    /// The attempt ran out of time.
    Timeout,
    /// Somebody called it off; never retried.
    Cancelled,
}

impl FailureClass {
    /// Every class, in the order of §10.3.
    pub const ALL: &[FailureClass] = &[
        FailureClass::Transient,
        FailureClass::Permanent,
        FailureClass::InfraCrash,
        FailureClass::Timeout,
        FailureClass::Cancelled,
    ];

    /// The word in arguments and results.
    pub const fn word(self) -> &'static str {
        match self {
            FailureClass::Transient => "transient",
            FailureClass::Permanent => "permanent",
            FailureClass::InfraCrash => "infra_crash",
            FailureClass::Timeout => "timeout",
            FailureClass::Cancelled => "cancelled",
        }
    }

    /// The class a word names.
    ///
    /// # Errors
    /// `invalid_input` for `classification` with rule `unknown_word`.
    pub fn parse(word: &str) -> Result<FailureClass> {
        FailureClass::ALL
            .iter()
            .copied()
            .find(|class| class.word() == word)
            .ok_or_else(|| Error::invalid_input("classification", "unknown_word"))
    }

    /// Whether a retry may help at all.
    pub const fn is_retryable(self) -> bool {
        !matches!(self, FailureClass::Permanent | FailureClass::Cancelled)
    }
}

/// The delay in microseconds before the retry of a failed attempt; `None` when there is none, and 0
/// when it may start at once.
///
/// `retry_count` counts the retries before this failure. `category` is the worker's own word, by
/// default that of the class. `retry_after`, in microseconds, replaces the backoff without adding
/// to the retries; a negative one counts as 0. `draw` is a uniform random number in [0, 1) for the
/// jitter. That a member of a cancelled flow is not retried (§40.8.1) is for the caller to see to.
pub fn decide(
    policy: &Policy,
    retry_count: i32,
    class: FailureClass,
    category: &str,
    retry_after: Option<i64>,
    draw: f64,
) -> Option<i64> {
    let retry = policy.retry.as_ref()?;
    let listed = &retry.retryable_categories;
    let wanted = listed.is_empty() || listed.iter().any(|c| c == category || c == class.word());
    if retry_count >= retry.retries_allowed() || !class.is_retryable() || !wanted {
        return None;
    }
    let backoff = retry.backoff.as_ref().unwrap_or(&Backoff::DEFAULT);
    Some(match retry_after {
        Some(micros) => micros.max(0),
        None => delay(backoff, retry_count, draw),
    })
}

/// The delay in microseconds that a backoff prescribes after `retry_count` retries, saturating.
pub fn delay(backoff: &Backoff, retry_count: i32, draw: f64) -> i64 {
    match backoff {
        Backoff::Fixed { delay_ms } => delay_ms.saturating_mul(MS),
        Backoff::Exponential {
            initial_delay_ms,
            max_delay_ms,
            multiplier,
            jitter,
        } => {
            let full = exponential(
                initial_delay_ms
                    .unwrap_or(Backoff::INITIAL_DELAY_MS)
                    .saturating_mul(MS),
                max_delay_ms
                    .unwrap_or(Backoff::MAX_DELAY_MS)
                    .saturating_mul(MS),
                multiplier.unwrap_or(Backoff::MULTIPLIER),
                retry_count,
            );
            if jitter.unwrap_or(false) {
                upper_half(full, draw)
            } else {
                full
            }
        }
    }
}

/// The fallback tier of the attempt made after `retry_count` retries; `None` without tiers.
pub fn tier(policy: &Policy, retry_count: i32) -> Option<usize> {
    let last = policy.fallback_tiers.len().checked_sub(1)?;
    Some(usize::try_from(retry_count).unwrap_or(0).min(last))
}

/// Whether the retry with this `retry_count` (1 for the first) runs on another tier than the
/// attempt before it: its attempt type is then `fallback` instead of `retry`.
pub fn is_fallback(policy: &Policy, retry_count: i32) -> bool {
    retry_count > 0 && tier(policy, retry_count) != tier(policy, retry_count - 1)
}

/// The running time in microseconds allowed to the attempt made after `retry_count` retries: its
/// tier's, else that of the policy, else unlimited.
pub fn attempt_timeout(policy: &Policy, retry_count: i32) -> Option<i64> {
    tier(policy, retry_count)
        .and_then(|index| policy.fallback_tiers.get(index))
        .and_then(|tier| tier.timeout_ms)
        .or(policy.timeout.attempt_timeout_ms)
        .map(|ms| ms.saturating_mul(MS))
}

/// `min(initial × multiplier^retry_count, max)`, also where the product leaves every number range.
fn exponential(initial: i64, max: i64, multiplier: f64, retry_count: i32) -> i64 {
    // Nothing times infinity would not be a number.
    if initial == 0 {
        return 0;
    }
    let product = initial as f64 * multiplier.powi(retry_count.max(0));
    // The conversion saturates; the comparison in integers keeps the limit exact.
    (product.round() as i64).min(max)
}

/// A uniform draw from the upper half of a delay, both ends included.
fn upper_half(full: i64, draw: f64) -> i64 {
    let low = full - full / 2;
    low.saturating_add(((full / 2) as f64 * draw.clamp(0.0, 1.0)) as i64)
        .min(full)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::{FailureClass, attempt_timeout, decide, delay, is_fallback, tier};
    use crate::model::policy::{Backoff, Policy};
    use crate::model::time::SECOND;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn policy(value: Value) -> Policy {
        Policy::parse(&value).unwrap()
    }

    fn transient(policy: &Policy, retry_count: i32, draw: f64) -> Option<i64> {
        decide(
            policy,
            retry_count,
            FailureClass::Transient,
            "transient",
            None,
            draw,
        )
    }

    fn e_58_policy(jitter: bool) -> Policy {
        policy(json!({"retry_policy": {"max_retries": 9, "backoff": {
            "type": "exponential", "initial_delay_ms": 1000, "multiplier": 2.0,
            "max_delay_ms": 5000, "jitter": jitter,
        }}}))
    }

    const E_58: [i64; 4] = [1_000_000, 2_000_000, 4_000_000, 5_000_000];

    #[test]
    fn e_58_delays_double_up_to_the_limit() {
        for (r, micros) in (0..).zip(E_58) {
            assert_eq!(transient(&e_58_policy(false), r, 0.9), Some(micros));
        }
    }

    #[test]
    fn e_58_jitter_draws_from_the_upper_half() {
        for (r, micros) in (0..).zip(E_58) {
            assert_eq!(transient(&e_58_policy(true), r, 0.0), Some(micros / 2));
            assert_eq!(transient(&e_58_policy(true), r, 0.5), Some(micros * 3 / 4));
            assert!(transient(&e_58_policy(true), r, 0.999_999) <= Some(micros));
        }
    }

    #[test]
    fn e_58_retry_after_replaces_the_backoff() {
        let given = |after| {
            decide(
                &e_58_policy(false),
                1,
                FailureClass::Transient,
                "x",
                Some(after),
                0.0,
            )
        };
        assert_eq!(given(30 * SECOND), Some(30 * SECOND));
        assert_eq!(given(0), Some(0));
    }

    #[test]
    fn defaults_are_three_retries_from_one_second() {
        let all = policy(json!({"retry_policy": {}}));
        let delays: Vec<_> = (0..5).map(|r| transient(&all, r, 0.0)).collect();
        assert_eq!(
            delays,
            [Some(SECOND), Some(2 * SECOND), Some(4 * SECOND), None, None]
        );
        assert_eq!(transient(&policy(json!({})), 0, 0.0), None);
        assert_eq!(delay(&Backoff::DEFAULT, 6, 0.0), 60 * SECOND);
        assert_eq!(delay(&Backoff::Fixed { delay_ms: 7 }, 40, 0.0), 7_000);
    }

    #[test]
    fn class_and_category_decide() {
        let all = policy(json!({"retry_policy": {}}));
        let some = policy(
            json!({"retry_policy": {"retryable_categories": ["io", "timeout", "permanent"]}}),
        );
        let granted =
            |p: &Policy, class, category| decide(p, 0, class, category, Some(5), 0.0).is_some();
        for class in FailureClass::ALL {
            assert_eq!(granted(&all, *class, "anything"), class.is_retryable());
        }
        assert!(granted(&some, FailureClass::Transient, "io"));
        assert!(granted(&some, FailureClass::Timeout, "anything"));
        assert!(!granted(&some, FailureClass::Transient, "disk"));
        assert!(!granted(&some, FailureClass::Permanent, "io"));
    }

    #[test]
    fn class_words_round_trip() {
        for class in FailureClass::ALL {
            assert_eq!(FailureClass::parse(class.word()).unwrap(), *class);
        }
        let error = FailureClass::parse("Transient").unwrap_err();
        assert_eq!(error.detail_value("argument").unwrap(), "classification");
    }

    #[test]
    fn tiers_and_their_timeouts() {
        let two = policy(json!({
            "timeout_policy": {"attempt_timeout_ms": 9000},
            "fallback_policy": {"tiers": [
                {"provider": "a", "model": "m"}, {"provider": "b", "model": "n", "timeout_ms": 4000},
            ]},
        }));
        let found: Vec<_> = (0..3)
            .map(|r| {
                (
                    tier(&two, r),
                    is_fallback(&two, r),
                    attempt_timeout(&two, r),
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                (Some(0), false, Some(9 * SECOND)),
                (Some(1), true, Some(4 * SECOND)),
                (Some(1), false, Some(4 * SECOND)),
            ]
        );
        let none = Policy::default();
        assert_eq!(
            (
                tier(&none, 3),
                is_fallback(&none, 3),
                attempt_timeout(&none, 3)
            ),
            (None, false, None)
        );
    }

    fn any_exponential() -> impl Strategy<Value = (i64, i64, f64)> {
        (0i64..=i64::MAX, 0i64..=i64::MAX, 1.0f64..=1000.0)
    }

    fn exponential(parts: (i64, i64, f64), jitter: bool) -> Backoff {
        Backoff::Exponential {
            initial_delay_ms: Some(parts.0),
            max_delay_ms: Some(parts.1),
            multiplier: Some(parts.2),
            jitter: Some(jitter),
        }
    }

    proptest! {
        #[test]
        fn backoff_grows_and_saturates(parts in any_exponential(), r in 0i32..1_000_000) {
            let backoff = exponential(parts, false);
            let (now, next) = (delay(&backoff, r, 0.0), delay(&backoff, r + 1, 0.0));
            prop_assert!(0 <= now && now <= next);
            prop_assert!(next <= parts.1.saturating_mul(1_000));
        }

        #[test]
        fn jitter_stays_in_the_upper_half(parts in any_exponential(), r in 0i32..50, draw in 0.0f64..1.0) {
            let full = delay(&exponential(parts, false), r, 0.0);
            let drawn = delay(&exponential(parts, true), r, draw);
            prop_assert!(full - full / 2 <= drawn && drawn <= full);
        }

        #[test]
        fn small_backoffs_are_exact(initial in 0i64..1000, m in 1u32..5, r in 0i32..10) {
            let backoff = exponential((initial, i64::MAX, f64::from(m)), false);
            prop_assert_eq!(delay(&backoff, r, 0.0), initial * i64::from(m).pow(r.unsigned_abs()) * 1_000);
        }
    }
}
