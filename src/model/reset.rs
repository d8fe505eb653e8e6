//! When the period of a budget ends (§50.3): intervals from an anchor, in the calendar of UTC.

use crate::error::Result;

use super::budget::invalid;
use super::time::{DAY, Instant, civil};

/// The length of a period: calendar months, and microseconds after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Every {
    months: i32,
    micros: i64,
}

impl Every {
    /// From the parts of an interval; days have 24 hours in UTC.
    ///
    /// # Errors
    /// `invalid_budget_spec`, rule `interval`, unless it is positive.
    pub fn new(months: i32, days: i32, micros: i64) -> Result<Every> {
        let total = i64::from(days)
            .checked_mul(DAY)
            .and_then(|d| d.checked_add(micros));
        match total {
            Some(micros) if months >= 0 && micros >= 0 && (months > 0 || micros > 0) => {
                Ok(Every { months, micros })
            }
            _ => Err(invalid("interval")),
        }
    }

    /// Calendar months.
    pub fn months(self) -> i32 {
        self.months
    }

    /// What comes after the months, microseconds.
    pub fn micros(self) -> i64 {
        self.micros
    }

    /// The anchor and `count` intervals.
    fn after(self, anchor: Instant, count: i64) -> Instant {
        let months = i64::from(self.months).saturating_mul(count);
        let micros = self.micros.saturating_mul(count);
        add_months(anchor, months).plus(micros)
    }

    /// The anchor and one interval.
    pub fn once(self, anchor: Instant) -> Option<Instant> {
        Some(self.after(anchor, 1)).filter(|at| at.is_finite())
    }

    /// The first instant after `now` that is the anchor or some intervals after it; none if time ends before.
    pub fn next(self, anchor: Instant, now: Instant) -> Option<Instant> {
        let later = |count: i64| self.after(anchor, count) > now;
        let mut high = 1;
        while !later(high) {
            high *= 2;
        }
        let mut low = -1;
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if later(middle) {
                high = middle;
            } else {
                low = middle;
            }
        }
        Some(self.after(anchor, high)).filter(|at| at.is_finite())
    }
}

/// The same day and time some months later, or the last day of a month that is too short.
fn add_months(at: Instant, months: i64) -> Instant {
    if months == 0 || !at.is_finite() {
        return at;
    }
    let (year, month, day) = civil(at.0.div_euclid(DAY));
    let Some(number) = (year * 12 + month - 1).checked_add(months) else {
        return Instant::INFINITY;
    };
    let (year, month) = (number.div_euclid(12), number.rem_euclid(12) + 1);
    // No calendar of the server reaches further, and arithmetic below stays in range.
    if year > 300_000 {
        return Instant::INFINITY;
    }
    let day = day.min(length(year, month));
    Instant(0).plus(days(year, month, day) * DAY + at.0.rem_euclid(DAY))
}

/// Days of a month.
fn length(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 2000-01-01 to a day of the proleptic Gregorian calendar; the inverse of [`civil`].
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March, so that the leap day is the last day of its year.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 730_425
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::model::time::SECOND;
    use proptest::prelude::*;

    fn day(year: i64, month: i64, day: i64) -> Instant {
        Instant(days(year, month, day) * DAY)
    }

    #[test]
    fn only_positive_intervals_make_periods() {
        for (months, days, micros) in [
            (0, 0, 0),
            (-1, 40, 0),
            (1, -1, 0),
            (0, 0, -1),
            (0, i32::MIN, 0),
        ] {
            assert!(Every::new(months, days, micros).is_err());
        }
        assert_eq!(Every::new(0, 1, -SECOND).unwrap().micros, DAY - SECOND);
    }

    #[test]
    fn a_month_anchored_on_the_31st_stays_on_month_ends() {
        let every = Every::new(1, 0, 0).unwrap();
        let anchor = day(2026, 1, 31).plus(SECOND);
        let mut now = anchor;
        let mut seen = Vec::new();
        for _ in 0..14 {
            now = every.next(anchor, now).unwrap();
            seen.push(now.iso()[..10].to_owned());
        }
        assert_eq!(
            seen[..4],
            ["2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"]
        );
        assert_eq!(seen[12], "2027-02-28");
        assert_eq!(now.iso(), "2027-03-31T00:00:01.000000Z");
        assert_eq!(
            every.next(day(2024, 1, 31), day(2024, 2, 1)),
            Some(day(2024, 2, 29))
        );
    }

    #[test]
    fn missed_periods_collapse_and_an_anchor_ahead_comes_first() {
        let every = Every::new(0, 1, 0).unwrap();
        let anchor = day(2026, 1, 1);
        let late = anchor.plus(3 * DAY + SECOND);
        assert_eq!(every.next(anchor, late), Some(day(2026, 1, 5)));
        assert_eq!(
            every.next(anchor, anchor),
            Some(day(2026, 1, 2)),
            "its own instant has passed"
        );
        assert_eq!(every.next(anchor, day(2025, 6, 1)), Some(anchor));
        assert_eq!(every.once(late), Some(late.plus(DAY)));
        let ages = Every::new(i32::MAX, 0, 0).unwrap();
        assert_eq!(ages.next(anchor, anchor), None, "beyond the calendar");
        let shortest = Every::new(0, 0, 1).unwrap();
        assert_eq!(shortest.next(anchor, late), Some(late.plus(1)));
    }

    proptest! {
        #[test]
        fn a_day_has_one_number(number in -800_000i64..10_000_000) {
            let (year, month, day) = civil(number);
            prop_assert_eq!(days(year, month, day), number);
            prop_assert!((1..=length(year, month)).contains(&day));
        }

        #[test]
        fn the_next_end_is_the_first_one_after_now(
            months in 0i32..40, micros in 0i64..100 * DAY, anchor in 0i64..10_000, ahead in 0i64..1_000_000
        ) {
            prop_assume!(months > 0 || micros > 0);
            let every = Every { months, micros: micros.max(i64::from(months == 0) * SECOND) };
            let anchor = Instant(anchor * DAY);
            let now = anchor.plus(ahead * SECOND);
            let next = every.next(anchor, now).unwrap();
            prop_assert!(next > now);
            let mut count = 0;
            while every.after(anchor, count) <= now {
                count += 1;
            }
            prop_assert_eq!(next, every.after(anchor, count));
        }
    }
}
