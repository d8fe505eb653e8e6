//! Waits until executions have ended (§10.20): bounded, seeing what others commit meanwhile.

use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::guc;
use crate::pg::spi::Db;
use crate::pg::waiter::{COMPLETIONS, Registration};
use crate::pg::{process, session};
use crate::store::execution::{self, Standing};

use super::super::claim::wait::pause;

/// A waiter looks no more often, however many executions end.
const REST: Duration = Duration::from_millis(5);

/// Waits for all of the executions, or any of them, to be terminal or absent; returns how they stand at the end.
///
/// # Errors
/// `unsupported_isolation` for a wait under a fixed snapshot.
pub fn wait(db: &Db, ids: &[Uuid], wait_ms: i64, any: bool) -> Result<Vec<Standing>> {
    if wait_ms > 0 && !session::read_committed() {
        return Err(Error::new(Kind::UnsupportedIsolation).with("argument", "wait"));
    }
    let wait = wait_ms
        .min(i64::from(guc::MAX_FUNCTION_WAIT.value.get()))
        .max(0);
    let until = Instant::now() + Duration::from_millis(wait.unsigned_abs());
    let mut registration = Registration::new(&[COMPLETIONS]);
    loop {
        registration.look();
        let standings = execution::standings(db, ids);
        let ended = |s: &Standing| s.completed_at.is_some() || s.public_state.is_none();
        let done = if any {
            standings.iter().any(ended)
        } else {
            standings.iter().all(ended)
        };
        let left = until.saturating_duration_since(Instant::now());
        if done || left.is_zero() || ids.is_empty() {
            return Ok(standings);
        }
        process::rest(REST.min(left).as_millis() as i64);
        process::sleep(left.min(pause(&registration)).as_millis() as i64);
    }
}
