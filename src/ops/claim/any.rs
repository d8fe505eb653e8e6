//! Claims from several lanes (§10.11): visited in a rotation, so that over time none is favoured.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use crate::error::{Error, Kind, Result};
use crate::guc;
use crate::model::lane_name;
use crate::pg::spi::Db;
use crate::pg::waiter::Registration;
use crate::pg::{process, session};
use crate::store;

use super::super::clock;
use super::next::{Claim, Look, look};
use super::wait::pause;

/// Claims up to the claim's limit from the lanes, waiting for up to `wait_ms` while nothing was changed.
///
/// # Errors
/// Those of a claim, for any of the lanes.
pub fn claim(db: &Db, lanes: &[String], template: &Claim, wait_ms: i64) -> Result<Look> {
    for lane in lanes {
        lane_name::check(lane)?;
    }
    let wait = wait_ms.min(i64::from(guc::MAX_FUNCTION_WAIT.value.get()));
    if wait_ms > 0 && !session::read_committed() {
        return Err(Error::new(Kind::UnsupportedIsolation).with("argument", "wait"));
    }
    let until = Instant::now() + Duration::from_millis(wait.unsigned_abs());
    let numbers: Vec<i32> = lanes
        .iter()
        .filter_map(|name| store::lane::find(db, name))
        .map(|lane| lane.id)
        .collect();
    let mut registration = Registration::new(if numbers.len() == lanes.len() {
        &numbers
    } else {
        &[]
    });
    loop {
        registration.look();
        let found = round(db, lanes, template)?;
        let left = until.saturating_duration_since(Instant::now());
        if !found.claimed.is_empty() || found.changed || left.is_zero() || template.limit == 0 {
            return Ok(found);
        }
        registration.pass_on();
        process::sleep(left.min(pause(&registration)).as_millis() as i64);
    }
}

/// One visit to every lane, taking what each offers.
fn round(db: &Db, lanes: &[String], template: &Claim) -> Result<Look> {
    let mut hash = DefaultHasher::new();
    template.claimer.instance.hash(&mut hash);
    let quarter_seconds = clock::now().unix_ms().unsigned_abs() / 250;
    let first = (hash.finish().wrapping_add(quarter_seconds) % lanes.len().max(1) as u64) as usize;
    let mut all = Look::default();
    for lane in lanes.iter().cycle().skip(first).take(lanes.len()) {
        let limit = template.limit - all.claimed.len() as i64;
        if limit <= 0 {
            break;
        }
        let claim = Claim {
            lane: lane.clone(),
            limit,
            ..template.clone()
        };
        let found = look(db, &claim)?;
        all.changed |= found.changed;
        all.claimed.extend(found.claimed);
    }
    Ok(all)
}
