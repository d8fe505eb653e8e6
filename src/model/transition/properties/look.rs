//! Timers as a saved change arms them and a reconciler moves them: lazily, and never too late.

use crate::model::due;
use crate::model::execution::Execution;
use crate::model::time::Instant;

/// The timers of one execution: those of the living and those of the purge.
#[derive(Default)]
pub struct Timers {
    live: Vec<Instant>,
    purge: Vec<Instant>,
}

impl Timers {
    /// What saving a change does.
    pub fn settle(&mut self, before: Option<&Execution>, after: &Execution) {
        if let Some(at) = due::arm(before, after) {
            self.set(after).push(at);
        }
    }

    /// What every reconciler does, whatever its duty: a due timer that stands for nothing yet is moved.
    /// One that stands for something stays until that is done, which here is a step of its own.
    pub fn look(&mut self, e: &Execution, now: Instant) {
        let is_due = |at: &Instant| *at <= now;
        if e.is_terminal() && self.live.iter().any(is_due) {
            self.live.retain(|at| !is_due(at));
            self.purge.extend(e.purge_at);
        }
        if due::duty(e, now).is_some() {
            return;
        }
        let spent = self.live.iter().chain(&self.purge).filter(|at| is_due(at));
        let moved: Vec<Instant> = spent.filter_map(|_| due::next_due(e)).collect();
        self.live.retain(|at| !is_due(at));
        self.purge.retain(|at| !is_due(at));
        self.set(e).extend(moved);
    }

    /// A look comes no later than what is due, and for the living it is one of the reconcilers of the living.
    pub fn check(&self, e: &Execution) {
        let Some(next) = due::next_due(e) else {
            return;
        };
        let purge = self.purge.iter().filter(|_| e.is_terminal());
        let first = self.live.iter().chain(purge).min();
        assert!(
            first.is_some_and(|first| *first <= next),
            "no timer at or before {next:?}: live {:?}, purge {:?}, {e:#?}",
            self.live,
            self.purge
        );
    }

    fn set(&mut self, e: &Execution) -> &mut Vec<Instant> {
        if e.is_terminal() {
            &mut self.purge
        } else {
            &mut self.live
        }
    }
}
