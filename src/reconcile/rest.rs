//! Rows whose handling has raised: whoever comes again and again leaves them alone for a while.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use uuid::Uuid;

use crate::pg::{clock, session};

/// How long such a row is left alone, microseconds.
const REST: i64 = 60_000_000;

/// A row that a duty handles by itself when its batch has failed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    /// An execution.
    Execution(Uuid),
    /// A budget.
    Budget(Uuid),
    /// A quota policy.
    Quota(Uuid),
    /// What waits for a budget or a quota policy, or what callers blocked.
    Waiting(Uuid),
    /// A flow.
    Flow(Uuid),
    /// The registration of a worker instance in a namespace.
    Registration(i32, String),
}

impl Row {
    /// The execution, if it is one.
    pub fn execution(&self) -> Option<Uuid> {
        match self {
            Row::Execution(id) => Some(*id),
            _ => None,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Row::Execution(id) => write!(f, "execution {id}"),
            Row::Budget(id) => write!(f, "budget {id}"),
            Row::Quota(id) => write!(f, "quota policy {id}"),
            Row::Waiting(id) => write!(f, "what waits for policy {id}"),
            Row::Flow(id) => write!(f, "flow {id}"),
            Row::Registration(_, instance) => {
                write!(f, "the registration of worker instance {instance}")
            }
        }
    }
}

/// Rows with the instant at which they are tried again.
#[derive(Default)]
struct Resting(BTreeMap<Row, i64>);

impl Resting {
    fn failed(&mut self, row: Row, now: i64) {
        self.at(now);
        self.0.insert(row, now + REST);
    }

    /// Those that are to be left alone now; the others are forgotten.
    fn at(&mut self, now: i64) -> &BTreeMap<Row, i64> {
        self.0.retain(|_, until| *until > now);
        &self.0
    }
}

thread_local! {
    /// Of this process.
    static RESTING: RefCell<Resting> = RefCell::default();
}

/// Reports a row whose handling has raised, and has it left alone by those who are patient.
pub fn report(row: Row, message: &str) {
    session::warn(&format!("{row} could not be reconciled: {message}"));
    RESTING.with_borrow_mut(|resting| resting.failed(row, clock::wall_micros()));
}

/// The rows that are left alone now, each with the instant at which it is tried again.
pub fn rows() -> BTreeMap<Row, i64> {
    RESTING.with_borrow_mut(|resting| resting.at(clock::wall_micros()).clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_failed_rests_for_a_minute_and_no_other_does() {
        let row = |n| Row::Execution(Uuid::from_u128(n));
        let mut resting = Resting::default();
        resting.failed(row(1), 0);
        resting.failed(row(2), 30_000_000);
        assert_eq!(resting.at(59_999_999).len(), 2);
        assert_eq!(resting.at(60_000_000).keys().collect::<Vec<_>>(), [&row(2)]);
        resting.failed(row(2), 80_000_000);
        assert_eq!(resting.at(139_999_999).get(&row(2)), Some(&140_000_000));
        assert!(resting.at(140_000_000).is_empty());
    }
}
