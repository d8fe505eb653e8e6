//! Which duty runs when: pure arithmetic over instants in microseconds.

use crate::reconcile::Reconciler;

/// When every duty ran last.
pub struct Schedule {
    duties: &'static [Reconciler],
    due_at: Vec<i64>,
}

impl Schedule {
    /// Everything is due at once.
    pub fn new(duties: &'static [Reconciler]) -> Schedule {
        Schedule {
            duties,
            due_at: vec![i64::MIN; duties.len()],
        }
    }

    /// The duties to run at `now`: those whose pause is over, and the timed ones if a timer is due.
    pub fn due(&self, now: i64, timer_due: bool) -> Vec<usize> {
        (0..self.duties.len())
            .filter(|i| {
                let timed = self.duties.get(*i).is_some_and(|d| d.timed);
                self.due_at.get(*i).is_some_and(|at| *at <= now) || (timed && timer_due)
            })
            .collect()
    }

    /// A duty has run; with rows left it is due again at once.
    pub fn ran(&mut self, index: usize, now: i64, remaining: bool) {
        let pause = self.duties.get(index).map_or(0, |d| d.every_ms * 1000);
        if let Some(at) = self.due_at.get_mut(index) {
            *at = if remaining { now } else { now + pause };
        }
    }

    /// When the next duty is due by its pause.
    pub fn next(&self) -> i64 {
        self.due_at.iter().copied().min().unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duty_rests_for_its_pause_unless_rows_are_left_or_a_timer_is_due() {
        let mut schedule = Schedule::new(crate::reconcile::ALL);
        let all: Vec<usize> = (0..crate::reconcile::ALL.len()).collect();
        assert_eq!(schedule.due(0, false), all);
        for i in &all {
            schedule.ran(*i, 0, false);
        }
        assert!(schedule.due(1, false).is_empty());
        assert_eq!(schedule.next(), 750_000);
        let timed = schedule.due(1, true);
        assert!(!timed.is_empty() && timed.len() < all.len());
        schedule.ran(0, 1, true);
        assert_eq!(schedule.due(1, false), vec![0]);
    }
}
