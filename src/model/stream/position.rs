//! Frame ids and positions in a stream (§30.1, §30.6).

use std::fmt;

use crate::error::{Error, Kind, Result};
use crate::model::time::Instant;

/// Where a frame stands: `<ms>-<seq>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrameId {
    /// Milliseconds since 1970.
    pub ms: i64,
    /// Place among the frames of that millisecond.
    pub seq: i32,
}

impl FrameId {
    /// Before every frame.
    pub const NONE: FrameId = FrameId { ms: 0, seq: -1 };
    /// Behind every frame.
    pub const END: FrameId = FrameId {
        ms: i64::MAX,
        seq: i32::MAX,
    };

    /// The next id of a stream at an instant of the clock, which may have stepped back.
    pub fn next(self, now: Instant) -> FrameId {
        let ms = now.unix_ms().max(0);
        if ms > self.ms {
            FrameId { ms, seq: 0 }
        } else {
            self.successor()
        }
    }

    /// The least id above this one.
    pub fn successor(self) -> FrameId {
        match self.seq.checked_add(1) {
            Some(seq) => FrameId { ms: self.ms, seq },
            None => FrameId {
                ms: self.ms.saturating_add(1),
                seq: 0,
            },
        }
    }

    /// As users see it; nothing before the first frame.
    pub fn text(self) -> Option<String> {
        (self != FrameId::NONE).then(|| self.to_string())
    }
}

impl fmt::Display for FrameId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// The first frame that a read returns.
///
/// # Errors
/// `invalid_offset`.
pub fn lower(argument: &str, text: &str) -> Result<FrameId> {
    match text {
        "start" => Ok(FrameId::NONE),
        "end" => Ok(FrameId::END),
        _ => exact(argument, text, 0),
    }
}

/// The last frame that a read returns.
///
/// # Errors
/// `invalid_offset`.
pub fn upper(argument: &str, text: &str) -> Result<FrameId> {
    match text {
        "start" => Ok(FrameId::NONE),
        "end" => Ok(FrameId::END),
        _ => exact(argument, text, i32::MAX),
    }
}

/// The frame behind which a tail goes on.
///
/// # Errors
/// `invalid_offset`, also for the words.
pub fn exclusive(argument: &str, text: &str) -> Result<FrameId> {
    exact(argument, text, 0)
}

/// `<ms>-<seq>`, or `<ms>` alone with the place that stands for it.
fn exact(argument: &str, text: &str, seq: i32) -> Result<FrameId> {
    let parsed = match text.split_once('-') {
        Some((ms, seq)) => number(ms).zip(number(seq)),
        None => number(text).map(|ms| (ms, i64::from(seq))),
    };
    let (ms, seq) = parsed.ok_or_else(|| {
        Error::new(Kind::InvalidOffset)
            .with("argument", argument)
            .with("offset", crate::model::text::cut(text))
    })?;
    let seq = i32::try_from(seq).unwrap_or(i32::MAX);
    Ok(FrameId { ms, seq })
}

/// Decimal digits; what is too large stands behind everything.
fn number(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(i64::MAX))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ids_ascend_however_the_clock_steps(steps in prop::collection::vec(-5_000i64..5_000, 1..50)) {
            let mut now = Instant::from_unix_ms(1_000_000);
            let mut last = FrameId::NONE;
            for step in steps {
                now = now.plus(step * 1_000);
                let id = last.next(now);
                prop_assert!(id > last);
                prop_assert!(id.ms >= now.unix_ms());
                prop_assert_eq!(id.seq == 0, id.ms > last.ms);
                last = id;
            }
        }

        #[test]
        fn an_id_reads_as_itself(ms in 0..i64::MAX, seq in 0..i32::MAX) {
            let id = FrameId { ms, seq };
            prop_assert_eq!(lower("a", &id.to_string()).unwrap(), id);
            prop_assert_eq!(upper("a", &id.to_string()).unwrap(), id);
            prop_assert_eq!(exclusive("a", &id.to_string()).unwrap(), id);
        }

        #[test]
        fn any_other_text_is_refused(text in "\\PC{0,12}") {
            let shaped = text.split('-').count() <= 2
                && text.split('-').all(|part| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit()));
            prop_assert_eq!(exclusive("a", &text).is_ok(), shaped);
        }
    }

    #[test]
    fn a_millisecond_alone_is_its_first_or_its_last_frame() {
        assert_eq!(lower("a", "7").unwrap(), FrameId { ms: 7, seq: 0 });
        assert_eq!(exclusive("a", "7").unwrap(), FrameId { ms: 7, seq: 0 });
        let last = FrameId {
            ms: 7,
            seq: i32::MAX,
        };
        assert_eq!(upper("a", "7").unwrap(), last);
        assert!(last.successor() > last && last.successor().ms == 8);
    }

    #[test]
    fn words_are_for_reads_and_large_numbers_for_nobody() {
        assert_eq!(lower("a", "start").unwrap(), FrameId::NONE);
        assert_eq!(upper("a", "end").unwrap(), FrameId::END);
        for word in [
            "start", "end", "", "-", "+", "12-", "-5", "1-2-3", " 1", "1 ", "٣",
        ] {
            let error = exclusive("a", word).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidOffset, "{word}");
        }
        let digits = "9".repeat(40);
        assert_eq!(lower("a", &digits).unwrap().ms, i64::MAX);
        assert_eq!(
            lower("a", &format!("1-{digits}")).unwrap(),
            FrameId {
                ms: 1,
                seq: i32::MAX
            }
        );
    }
}
