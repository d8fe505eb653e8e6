//! Quota policies (§50.8): a sliding window as a ring of tokens, and slots for what runs at once.

use uuid::Uuid;

use crate::error::{Error, Kind, Result};

use super::time::Instant;

/// Most starts of one window.
const MAX_REQUESTS: i64 = 100_000;
/// Most executions that run at once.
const MAX_CONCURRENT: i32 = 10_000;

/// What a policy allows; 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Starts per window.
    pub requests: i64,
    /// Length of the window, microseconds.
    pub window_us: i64,
    /// Executions at once.
    pub concurrent: i32,
    /// Most that is added to a retry time, microseconds.
    pub jitter_us: i64,
}

impl Limits {
    /// Checks limits.
    ///
    /// # Errors
    /// `invalid_quota_spec` with the rule.
    pub fn check(&self) -> Result<()> {
        let rule = if !(0..=MAX_REQUESTS).contains(&self.requests) {
            "requests"
        } else if !(0..=MAX_CONCURRENT).contains(&self.concurrent) {
            "concurrency"
        } else if self.window_us < 0 || self.requests > 0 && self.window_us == 0 {
            "window"
        } else if !(0..=self.window_us).contains(&self.jitter_us) {
            "jitter"
        } else {
            return Ok(());
        };
        Err(Error::new(Kind::InvalidQuotaSpec).with("rule", rule))
    }

    /// Tokens used after this instant are still used.
    pub fn cutoff(&self, now: Instant) -> Instant {
        now.minus(self.window_us)
    }

    /// How long to wait for a token, microseconds: until the oldest has rested for a window, and some more, so that
    /// those who wait do not come back at once. `draw` is uniform in [0, 1).
    pub fn retry_after(&self, oldest: Instant, now: Instant, draw: f64) -> i64 {
        let rest = oldest.plus(self.window_us).since(now).max(0);
        rest.saturating_add((self.jitter_us as f64 * draw) as i64)
    }
}

/// A quota policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Identity.
    pub id: Uuid,
    /// What it allows.
    pub limits: Limits,
}

/// Why a policy does not admit an execution now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// No token has rested long enough.
    Rate {
        /// When to ask again, microseconds from now.
        retry_after_us: i64,
    },
    /// No slot is free.
    Concurrency,
}

impl Denial {
    /// What stands in `blocking_detail`.
    pub fn detail(&self, quota: &Quota) -> String {
        let (id, limits) = (quota.id, &quota.limits);
        match self {
            Denial::Rate { .. } => format!(
                "quota {id}: rate {} per {}",
                limits.requests,
                length(limits.window_us)
            ),
            Denial::Concurrency => format!("quota {id}: concurrency {}", limits.concurrent),
        }
    }

    /// When to look at a denied execution again; none: when a slot falls free.
    pub fn recheck_at(&self, now: Instant) -> Option<Instant> {
        match self {
            Denial::Rate { retry_after_us } => Some(now.plus(*retry_after_us)),
            Denial::Concurrency => None,
        }
    }
}

/// A duration in words, as the server writes an interval of hours or less.
fn length(micros: i64) -> String {
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let clock = format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    );
    if fraction == 0 {
        return clock;
    }
    let fraction = format!("{fraction:06}");
    format!("{clock}.{}", fraction.trim_end_matches('0'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::model::time::SECOND;
    use proptest::prelude::*;

    fn limits(requests: i64, window_us: i64, concurrent: i32, jitter_us: i64) -> Limits {
        Limits {
            requests,
            window_us,
            concurrent,
            jitter_us,
        }
    }

    #[test]
    fn what_a_policy_may_say() {
        for fine in [
            limits(0, 0, 0, 0),
            limits(100_000, 1, 10_000, 1),
            limits(0, SECOND, 3, SECOND),
        ] {
            fine.check().expect("accepted");
        }
        for (bad, rule) in [
            (limits(5, 0, 0, 0), "window"),
            (limits(-1, SECOND, 0, 0), "requests"),
            (limits(100_001, SECOND, 0, 0), "requests"),
            (limits(1, SECOND, -1, 0), "concurrency"),
            (limits(1, SECOND, 10_001, 0), "concurrency"),
            (limits(1, -SECOND, 0, 0), "window"),
            (limits(1, SECOND, 0, SECOND + 1), "jitter"),
            (limits(1, SECOND, 0, -1), "jitter"),
        ] {
            let error = bad.check().expect_err("refused");
            assert_eq!(error.kind(), Kind::InvalidQuotaSpec);
            assert_eq!(error.detail_value("rule").unwrap(), rule);
        }
    }

    #[test]
    fn details_name_the_policy_and_its_limit() {
        let quota = Quota {
            id: Uuid::nil(),
            limits: limits(5, 90 * SECOND + 250_000, 2, 0),
        };
        let rate = Denial::Rate { retry_after_us: 7 };
        let id = Uuid::nil();
        assert_eq!(
            rate.detail(&quota),
            format!("quota {id}: rate 5 per 00:01:30.25")
        );
        assert_eq!(rate.recheck_at(Instant(1)), Some(Instant(8)));
        assert_eq!(
            Denial::Concurrency.detail(&quota),
            format!("quota {id}: concurrency 2")
        );
        assert_eq!(Denial::Concurrency.recheck_at(Instant(1)), None);
    }

    proptest! {
        /// Starts by the rule of the ring, whoever takes which token, never exceed the limit in any window.
        #[test]
        fn no_window_holds_more_starts_than_tokens(
            tokens in 1usize..8, window in 1i64..50, steps in proptest::collection::vec(0i64..20, 1..200)
        ) {
            let limits = limits(tokens as i64, window, 0, 0);
            let mut ring = vec![Instant::NEG_INFINITY; tokens];
            let (mut now, mut starts) = (Instant(0), Vec::new());
            for step in steps {
                now = now.plus(step);
                let oldest = *ring.iter().min().expect("a token");
                let free = ring.iter_mut().find(|used| **used <= limits.cutoff(now));
                let wait = limits.retry_after(oldest, now, 0.0);
                match free {
                    Some(token) => {
                        prop_assert!(oldest == Instant::NEG_INFINITY || wait == 0);
                        *token = now;
                        starts.push(now.0);
                    }
                    None => prop_assert!(0 < wait && wait <= window),
                }
            }
            for (i, start) in starts.iter().enumerate() {
                let within = starts[i..].iter().take_while(|at| **at < start + window).count();
                prop_assert!(within <= tokens);
            }
        }

        #[test]
        fn jitter_stays_within_its_bounds(draw in 0.0f64..1.0, rest in 0i64..SECOND) {
            let limits = limits(1, SECOND, 0, 200_000);
            let now = Instant(SECOND);
            let wait = limits.retry_after(now.minus(SECOND - rest), now, draw);
            prop_assert!((rest..rest + 200_000).contains(&wait));
        }
    }
}
