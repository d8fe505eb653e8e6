//! Handles a page of rows at once, and row by row only after that has failed, so that one bad row stops no other.

use crate::error::Result;
use crate::pg::{subxact, trial};

use super::rest::{self, Row};
use super::{Scope, Tally};

/// Handles rows in a subtransaction, after a failure each in one of its own; a WARNING names those that fail.
pub fn handle<T: Clone>(
    scope: &Scope,
    rows: &[T],
    row: impl Fn(&T) -> Row,
    work: impl Fn(&[T]) -> Result<Tally>,
) -> Tally {
    let resting = scope.resting();
    let rows: Vec<T> = rows
        .iter()
        .filter(|r| !resting.contains_key(&row(r)))
        .cloned()
        .collect();
    if rows.is_empty() {
        return Tally::default();
    }
    // What is refused is undone as well as what is raised.
    let attempt = |rows: &[T]| {
        subxact::attempt(|| trial::attempt(|| work(rows)))
            .and_then(|done| done.map_err(|e| e.message()))
    };
    let failure = match attempt(&rows) {
        Ok(done) => return done,
        Err(message) => message,
    };
    let mut tally = Tally::default();
    for each in &rows {
        let done = match rows.len() {
            1 => Err(failure.clone()),
            _ => attempt(std::slice::from_ref(each)),
        };
        match done {
            Ok(done) => {
                tally.processed += done.processed;
                tally.skipped += done.skipped;
            }
            Err(message) => {
                tally.errors += 1;
                rest::report(row(each), &message);
            }
        }
    }
    tally
}
