//! Handles a page of rows at once, and row by row only after that has failed, so that one bad row stops no other.

use crate::error::Result;
use crate::pg::{session, subxact, trial};

use super::Tally;

/// Handles rows in a subtransaction, after a failure each in one of its own; a WARNING names those that fail.
pub fn handle<T>(
    rows: &[T],
    name: impl Fn(&T) -> String,
    work: impl Fn(&[T]) -> Result<Tally>,
) -> Tally {
    // What is refused is undone as well as what is raised.
    let attempt = |rows: &[T]| {
        subxact::attempt(|| trial::attempt(|| work(rows)))
            .and_then(|done| done.map_err(|e| e.message()))
    };
    let failure = match attempt(rows) {
        Ok(done) => return done,
        Err(message) => message,
    };
    let mut tally = Tally::default();
    for row in rows {
        let done = match rows.len() {
            1 => Err(failure.clone()),
            _ => attempt(std::slice::from_ref(row)),
        };
        match done {
            Ok(done) => {
                tally.processed += done.processed;
                tally.skipped += done.skipped;
            }
            Err(message) => {
                tally.errors += 1;
                session::warn(&format!("{} could not be reconciled: {message}", name(row)));
            }
        }
    }
    tally
}
