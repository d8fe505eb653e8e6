//! Which duty runs when: pure arithmetic over instants in microseconds.

/// What a schedule knows of a duty.
#[derive(Clone, Copy)]
pub struct Pace {
    /// Longest pause between two runs, milliseconds.
    pub every_ms: i64,
    /// A due timer calls for it.
    pub timed: bool,
}

/// When every duty is due.
pub struct Schedule {
    duties: Vec<(Pace, i64)>,
}

impl Schedule {
    /// Everything is due at once.
    pub fn new(duties: impl Iterator<Item = Pace>) -> Schedule {
        Schedule {
            duties: duties.map(|pace| (pace, i64::MIN)).collect(),
        }
    }

    /// The duties to run at `now`: those whose pause is over, and the timed ones if a timer is due.
    pub fn due(&self, now: i64, timer_due: bool) -> Vec<usize> {
        let is_due = |(pace, at): &(Pace, i64)| *at <= now || (pace.timed && timer_due);
        let all = self.duties.iter().enumerate();
        all.filter(|(_, duty)| is_due(duty))
            .map(|(i, _)| i)
            .collect()
    }

    /// A duty has run; with rows left it is due again at once.
    pub fn ran(&mut self, index: usize, now: i64, remaining: bool) {
        if let Some((pace, at)) = self.duties.get_mut(index) {
            *at = if remaining {
                now
            } else {
                now + pace.every_ms * 1000
            };
        }
    }

    /// When the next duty is due by its pause.
    pub fn next(&self) -> i64 {
        self.duties
            .iter()
            .map(|(_, at)| *at)
            .min()
            .unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duty_rests_for_its_pause_unless_rows_are_left_or_a_timer_is_due() {
        let pace = |every_ms, timed| Pace { every_ms, timed };
        let mut schedule = Schedule::new([pace(5_000, true), pace(60_000, false)].into_iter());
        assert_eq!(schedule.due(0, false), [0, 1]);
        schedule.ran(0, 0, false);
        schedule.ran(1, 0, false);
        assert!(schedule.due(1, false).is_empty());
        assert_eq!(schedule.next(), 5_000_000);
        assert_eq!(schedule.due(1, true), [0]);
        schedule.ran(1, 1, true);
        assert_eq!(schedule.due(1, false), [1]);
    }
}
