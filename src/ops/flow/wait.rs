//! Waits until a flow is over (§40.6): bounded, seeing what others commit meanwhile.

use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::guc;
use crate::pg::spi::Db;
use crate::pg::waiter::{COMPLETIONS, Registration};
use crate::pg::{process, session};
use crate::store;
use crate::store::flow_summary::Standing;

use super::super::claim::wait::pause;

/// A waiter looks no more often, however many executions end.
const REST: Duration = Duration::from_millis(5);

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// All members have ended.
    Terminal,
    /// The flow is cancelled and owes no member.
    Cancelled,
}

/// Waits; the outcome word, and how the flow stands at the end.
///
/// # Errors
/// `unsupported_isolation` for a wait under a fixed snapshot.
pub fn wait(
    db: &Db,
    id: Uuid,
    condition: Condition,
    wait_ms: Option<i64>,
) -> Result<(&'static str, Option<Standing>)> {
    let most = i64::from(guc::MAX_FUNCTION_WAIT.value.get());
    let wait = wait_ms.unwrap_or(most).min(most).max(0);
    if wait > 0 && !session::read_committed() {
        return Err(Error::new(Kind::UnsupportedIsolation).with("argument", "wait"));
    }
    let until = Instant::now() + Duration::from_millis(wait.unsigned_abs());
    let mut registration = Registration::new(&[COMPLETIONS]);
    loop {
        registration.look();
        let Some(standing) = store::flow_summary::standing(db, id) else {
            return Ok(("gone", None));
        };
        let done = match condition {
            Condition::Terminal => standing.over,
            Condition::Cancelled => standing.state == "cancelled" && standing.owed == 0,
        };
        if done {
            return Ok(("satisfied", Some(standing)));
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(("timeout", Some(standing)));
        }
        process::rest(REST.min(left).as_millis() as i64);
        process::sleep(left.min(pause(&registration)).as_millis() as i64);
    }
}
