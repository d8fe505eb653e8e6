//! Which frames of a mode stay (§30.2). Frames are numbered from 1 within their mode; what is below a floor is no
//! longer shown at once, and deleted soon after, many at a time.

use std::ops::Range;

/// Frames deleted by one call beyond those it adds.
const BATCH: i64 = 1_000;

/// The frames of one mode, by their ordinals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The latest.
    pub last: i64,
    /// The oldest that belongs to the stream.
    pub floor: i64,
    /// The oldest that may still be stored.
    pub stored: i64,
}

impl Default for Kept {
    fn default() -> Self {
        Kept {
            last: 0,
            floor: 1,
            stored: 1,
        }
    }
}

impl Kept {
    /// Frames that stay.
    pub fn retained(&self) -> i64 {
        (self.last - self.floor + 1).max(0)
    }

    /// Adds frames and keeps the newest of all, or every one without a limit; returns what is to be deleted now.
    pub fn append(&mut self, frames: i64, limit: Option<i64>) -> Range<i64> {
        self.last += frames;
        let Some(limit) = limit else {
            return self.stored..self.stored;
        };
        self.floor = self.floor.max(self.last - limit + 1);
        let (from, slack) = (self.stored, (limit / 10).clamp(1, BATCH));
        if self.floor - from >= slack {
            self.stored = self.floor.min(from + BATCH + frames);
        }
        from..self.stored
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn exactly_the_newest_are_shown_and_hardly_more_stored(
            appends in prop::collection::vec(1i64..200, 1..60), limit in 1i64..500,
        ) {
            let mut kept = Kept::default();
            for frames in appends {
                let before = kept;
                let gone = kept.append(frames, Some(limit));
                prop_assert_eq!(kept.retained(), kept.last.min(limit));
                prop_assert_eq!(gone.start, before.stored);
                prop_assert_eq!(gone.end, kept.stored);
                prop_assert!(kept.stored <= kept.floor);
                prop_assert!(kept.floor - kept.stored <= limit / 10);
            }
        }

        #[test]
        fn a_lower_limit_hides_at_once_and_deletes_a_bounded_number(many in 5_000i64..50_000) {
            let mut kept = Kept::default();
            prop_assert!(kept.append(many, None).is_empty());
            let gone = kept.append(1, Some(50));
            prop_assert_eq!(kept.retained(), 50);
            prop_assert_eq!(gone.end - gone.start, BATCH + 1);
            let mut calls = 0;
            while kept.stored < kept.floor - 5 {
                kept.append(1, Some(50));
                calls += 1;
            }
            prop_assert!(calls <= many / BATCH + 1);
        }
    }
}
