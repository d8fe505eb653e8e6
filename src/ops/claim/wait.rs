//! Waiting inside a claim (G12): bounded, without row locks, woken by the commit that brings work.

use std::time::{Duration, Instant};

use crate::error::{Error, Kind, Result};
use crate::guc;
use crate::pg::spi::Db;
use crate::pg::waiter::Registration;
use crate::pg::{background, process, session};
use crate::store;

use super::next::{Claim, Look, look};

/// A look by itself at least this often, which makes good a wake-up lost with a dying session.
const OWN_LOOK: Duration = Duration::from_secs(5);

/// Claims, and keeps trying for up to `wait_ms` as long as nothing was changed.
///
/// # Errors
/// `unsupported_isolation` for a wait under a fixed snapshot, and those of a claim.
pub fn claim(db: &Db, claim: &Claim, wait_ms: i64) -> Result<Look> {
    let wait = wait_ms.min(i64::from(guc::MAX_FUNCTION_WAIT.value.get()));
    if wait_ms > 0 && !session::read_committed() {
        return Err(Error::new(Kind::UnsupportedIsolation).with("argument", "wait"));
    }
    if wait <= 0 || claim.limit == 0 {
        return look(db, claim);
    }
    let until = Instant::now() + Duration::from_millis(wait.unsigned_abs());
    let lane = store::lane::find(db, &claim.lane).map(|l| l.id);
    let mut registration = Registration::new(lane.as_slice());
    loop {
        registration.look();
        let found = look(db, claim)?;
        let left = until.saturating_duration_since(Instant::now());
        if !found.claimed.is_empty() || found.changed || left.is_zero() {
            return Ok(found);
        }
        registration.pass_on();
        process::sleep(left.min(pause(&registration)).as_millis() as i64);
    }
}

/// How long a waiter sleeps between two looks of its own.
pub fn pause(registration: &Registration) -> Duration {
    if registration.is_known() && background::alive() {
        OWN_LOOK
    } else {
        Duration::from_millis(guc::WAIT_POLL_INTERVAL.value.get().unsigned_abs().into())
    }
}
