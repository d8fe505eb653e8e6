//! How many best-effort frames stay: as many as are appended in twice their life (§30.5).

use crate::error::{Error, Result};

/// Longest life of a best-effort frame, milliseconds.
const MAX_TTL_MS: i64 = 3_600_000;
/// Most frames that any window holds.
const MAX_FRAMES: i32 = 1_000_000;

/// How a caller wants the window to follow its rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// Life of a frame, milliseconds.
    pub ttl_ms: i64,
    /// Least size.
    pub floor: i32,
    /// Greatest size.
    pub ceiling: i32,
    /// Weight of the latest pause.
    pub alpha: f64,
}

/// Size and rate at the latest append.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Frames per second.
    pub rate: f64,
    /// Frames that stay.
    pub maxlen: i32,
    /// The instant of that append, in milliseconds.
    pub at_ms: i64,
}

/// Checks the three numbers.
///
/// # Errors
/// `invalid_input`, rule `out_of_range`.
pub fn check(floor: i32, ceiling: i32, alpha: f64) -> Result<()> {
    let wrong = if !(1..=MAX_FRAMES).contains(&floor) {
        "maxlen_floor"
    } else if !(floor..=MAX_FRAMES).contains(&ceiling) {
        "maxlen_ceiling"
    } else if !(alpha > 0.0 && alpha <= 1.0) {
        "ema_alpha"
    } else {
        return Ok(());
    };
    Err(Error::invalid_input(wrong, "out_of_range"))
}

/// Checks a life in microseconds and gives it in milliseconds.
///
/// # Errors
/// `invalid_input`, rule `out_of_range`.
pub fn ttl_ms(micros: i64) -> Result<i64> {
    if micros <= 0 || micros > MAX_TTL_MS * 1_000 {
        return Err(Error::invalid_input("ttl", "out_of_range"));
    }
    Ok((micros / 1_000).max(1))
}

impl Window {
    /// The window after an append at this instant.
    pub fn after(previous: Option<Window>, terms: &Terms, at_ms: i64) -> Window {
        let seconds = terms.ttl_ms as f64 / 1_000.0;
        let Some(before) = previous else {
            return Window {
                rate: f64::from(terms.floor) / (2.0 * seconds),
                maxlen: terms.floor,
                at_ms,
            };
        };
        let pause = (at_ms - before.at_ms).max(1) as f64;
        let rate = terms.alpha * 1_000.0 / pause + (1.0 - terms.alpha) * before.rate;
        let wanted = (2.0 * rate * seconds).ceil();
        let maxlen = wanted.clamp(f64::from(terms.floor), f64::from(terms.ceiling));
        Window {
            rate,
            maxlen: maxlen as i32,
            at_ms,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn terms() -> impl Strategy<Value = Terms> {
        (1..MAX_TTL_MS, 1..2_000i32, 0..100_000i32, 0.001..=1.0f64).prop_map(
            |(ttl_ms, floor, more, alpha)| Terms {
                ttl_ms,
                floor,
                ceiling: floor + more,
                alpha,
            },
        )
    }

    proptest! {
        #[test]
        fn the_size_stays_within_its_bounds_and_starts_at_the_least(
            terms in terms(), pauses in prop::collection::vec(-10i64..10_000, 1..50),
        ) {
            let mut at = 1_000_000;
            let mut window = Window::after(None, &terms, at);
            prop_assert_eq!(window.maxlen, terms.floor);
            for pause in pauses {
                at += pause;
                let next = Window::after(Some(window), &terms, at);
                prop_assert!((terms.floor..=terms.ceiling).contains(&next.maxlen));
                let now = 1_000.0 / pause.max(1) as f64;
                let (low, high) = (window.rate.min(now), window.rate.max(now));
                prop_assert!(next.rate >= low * 0.999 && next.rate <= high * 1.001);
                window = next;
            }
        }

        #[test]
        fn a_steady_rate_keeps_twice_the_life(pause in 1i64..500, life in 1i64..60) {
            let terms = Terms { ttl_ms: life * 1_000, floor: 1, ceiling: MAX_FRAMES, alpha: 0.2 };
            let mut window = Window::after(None, &terms, 0);
            for n in 1..200 {
                window = Window::after(Some(window), &terms, n * pause);
            }
            let wanted = 2.0 * life as f64 * 1_000.0 / pause as f64;
            prop_assert!((f64::from(window.maxlen) - wanted).abs() <= wanted * 0.01 + 2.0);
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        let wrong = |floor, ceiling, alpha| {
            let error = check(floor, ceiling, alpha).unwrap_err();
            error
                .detail_value("argument")
                .and_then(|v| v.as_str().map(str::to_owned))
                .unwrap()
        };
        assert!(check(1, 1, 1.0).is_ok() && check(64, MAX_FRAMES, 0.001).is_ok());
        assert_eq!(wrong(0, 1, 1.0), "maxlen_floor");
        assert_eq!(wrong(2, 1, 1.0), "maxlen_ceiling");
        assert_eq!(wrong(1, MAX_FRAMES + 1, 1.0), "maxlen_ceiling");
        for alpha in [0.0, -0.1, 1.5, f64::NAN, f64::INFINITY] {
            assert_eq!(wrong(1, 1, alpha), "ema_alpha");
        }
        assert_eq!(ttl_ms(1).unwrap(), 1);
        assert_eq!(ttl_ms(MAX_TTL_MS * 1_000).unwrap(), MAX_TTL_MS);
        assert!(ttl_ms(0).is_err() && ttl_ms(MAX_TTL_MS * 1_000 + 1).is_err());
    }
}
