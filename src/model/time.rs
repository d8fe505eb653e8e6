//! Instants and durations in PostgreSQL's own units, free of PostgreSQL (G3, §10.2).

/// Microseconds per millisecond.
pub const MS: i64 = 1_000;
/// Microseconds per second.
pub const SECOND: i64 = 1_000 * MS;
/// Microseconds per day of 24 hours.
pub const DAY: i64 = 86_400 * SECOND;

/// Milliseconds between 1970-01-01 and 2000-01-01, both UTC.
const UNIX_TO_2000_MS: i64 = 946_684_800_000;
/// The first instant a `timestamptz` can hold (4714-11-24 BC).
const FIRST: i64 = -211_813_488_000_000_000;
/// The first instant after the last a `timestamptz` can hold (294277-01-01).
const END: i64 = 9_223_371_331_200_000_000;

/// An instant as `timestamptz` stores it: microseconds since 2000-01-01 UTC, with the two extreme
/// values of `i64` standing for `-infinity` and `infinity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub i64);

impl Instant {
    /// `infinity`, later than every other instant.
    pub const INFINITY: Instant = Instant(i64::MAX);
    /// `-infinity`, earlier than every other instant.
    pub const NEG_INFINITY: Instant = Instant(i64::MIN);

    /// The instant `micros` microseconds later (earlier when negative). A sum outside the range of
    /// `timestamptz` becomes the infinity on that side, and an infinity stays what it is.
    pub fn plus(self, micros: i64) -> Instant {
        if self.is_finite() {
            Instant::in_range(self.0.saturating_add(micros))
        } else {
            self
        }
    }

    /// The instant `micros` microseconds earlier, saturating as [`Instant::plus`] does.
    pub fn minus(self, micros: i64) -> Instant {
        if self.is_finite() {
            Instant::in_range(self.0.saturating_sub(micros))
        } else {
            self
        }
    }

    /// Microseconds from `earlier` to `self`, negative when `earlier` is the later one; saturating.
    pub fn since(self, earlier: Instant) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Whether this is neither of the infinities.
    pub fn is_finite(self) -> bool {
        self != Instant::INFINITY && self != Instant::NEG_INFINITY
    }

    /// Milliseconds since 1970-01-01 UTC, rounded towards the past.
    pub fn unix_ms(self) -> i64 {
        self.0.div_euclid(MS) + UNIX_TO_2000_MS
    }

    /// Microseconds since 1970-01-01 UTC, saturating.
    pub fn unix_micros(self) -> i64 {
        self.0.saturating_add(UNIX_TO_2000_MS * MS)
    }

    /// The instant of a Unix time in milliseconds; outside the range of `timestamptz` an infinity.
    pub fn from_unix_ms(ms: i64) -> Instant {
        Instant::in_range(ms.saturating_sub(UNIX_TO_2000_MS).saturating_mul(MS))
    }

    /// ISO-8601 text in UTC with microseconds, `2026-11-21T12:34:56.123456Z`; `infinity` and
    /// `-infinity` for the two extremes. Years before 1 are written astronomically (`-0043`).
    pub fn iso(self) -> String {
        match self {
            Instant::INFINITY => return "infinity".to_owned(),
            Instant::NEG_INFINITY => return "-infinity".to_owned(),
            _ => {}
        }
        let (year, month, day) = civil(self.0.div_euclid(DAY));
        let micros = self.0.rem_euclid(DAY);
        let (second, fraction) = (micros / SECOND, micros % SECOND);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let sign = if year < 0 { "-" } else { "" };
        let year = year.abs();
        format!(
            "{sign}{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:06}Z"
        )
    }

    /// A sum, or the infinity on the side on which PostgreSQL could no longer store it.
    fn in_range(micros: i64) -> Instant {
        match micros {
            ..FIRST => Instant::NEG_INFINITY,
            END.. => Instant::INFINITY,
            _ => Instant(micros),
        }
    }
}

/// Year, month and day of the proleptic Gregorian calendar, from days since 2000-01-01.
///
/// Counts years from March 1st of year 0, so that the leap day is the last day of its year.
pub(super) fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 730_425;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::{DAY, END, FIRST, Instant, MS, SECOND, civil};
    use proptest::prelude::*;

    #[test]
    fn iso_names_known_instants() {
        assert_eq!(Instant(0).iso(), "2000-01-01T00:00:00.000000Z");
        assert_eq!(Instant(-1).iso(), "1999-12-31T23:59:59.999999Z");
        assert_eq!(
            Instant::from_unix_ms(0).iso(),
            "1970-01-01T00:00:00.000000Z"
        );
        assert_eq!(
            Instant::from_unix_ms(951_782_400_123).iso(),
            "2000-02-29T00:00:00.123000Z"
        );
        assert_eq!(
            Instant::from_unix_ms(1_795_264_496_123).plus(456).iso(),
            "2026-11-21T12:34:56.123456Z"
        );
        assert_eq!(Instant(FIRST).iso(), "-4713-11-24T00:00:00.000000Z");
        assert_eq!(Instant(END - 1).iso(), "294276-12-31T23:59:59.999999Z");
        assert_eq!(Instant(i64::MAX).iso(), "infinity");
        assert_eq!(Instant(i64::MIN).iso(), "-infinity");
    }

    #[test]
    fn arithmetic_ends_in_the_infinities() {
        assert_eq!(Instant(0).plus(SECOND).minus(MS), Instant(999 * MS));
        assert_eq!(Instant(0).plus(i64::MAX), Instant::INFINITY);
        assert_eq!(Instant(0).minus(i64::MAX), Instant::NEG_INFINITY);
        assert_eq!(Instant(END - 1).plus(1), Instant::INFINITY);
        assert_eq!(Instant::INFINITY.minus(DAY), Instant::INFINITY);
        assert_eq!(Instant::INFINITY.since(Instant(-5)), i64::MAX);
        assert_eq!(Instant::from_unix_ms(i64::MAX), Instant::INFINITY);
        assert_eq!(Instant(-1).unix_ms(), 946_684_799_999);
        assert_eq!(Instant(7).unix_micros(), 946_684_800_000_007);
    }

    #[test]
    fn consecutive_days_follow_one_another() {
        let mut before = civil(-800_000);
        for day in -799_999..800_000 {
            let now = civil(day);
            let next_day = now.0 == before.0 && now.1 == before.1 && now.2 == before.2 + 1;
            let next_month = now.0 == before.0 && now.1 == before.1 + 1 && now.2 == 1;
            let next_year = now == (before.0 + 1, 1, 1) && before.1 == 12 && before.2 == 31;
            assert!(
                next_day || (next_month && before.2 >= 28) || next_year,
                "{before:?} {now:?}"
            );
            before = now;
        }
    }

    proptest! {
        #[test]
        fn text_order_is_time_order(a in 0i64..200_000_000_000_000_000, b in 0i64..200_000_000_000_000_000) {
            prop_assert_eq!(Instant(a).iso().cmp(&Instant(b).iso()), a.cmp(&b));
        }

        #[test]
        fn unix_milliseconds_round_trip(ms in -60_000_000_000_000i64..9_000_000_000_000_000) {
            prop_assert_eq!(Instant::from_unix_ms(ms).unix_ms(), ms);
        }

        #[test]
        fn nothing_overflows(a: i64, b: i64) {
            let sum = Instant(a).plus(b);
            prop_assert!(a == i64::MIN || sum.0 == i64::MIN || sum.0 == i64::MAX || (FIRST..END).contains(&sum.0) || sum.0 == a);
            let _ = (Instant(a).minus(b), Instant(a).since(Instant(b)), Instant(a).iso(), Instant(a).unix_ms());
        }
    }
}
