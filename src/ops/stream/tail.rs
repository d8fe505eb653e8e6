//! Waiting for frames (§30.7, G12): bounded, without locks, woken by the commit that brings them.

use std::time::{Duration, Instant};

use crate::error::{Error, Kind, Result};
use crate::guc;
use crate::model::stream::StreamKey;
use crate::pg::spi::Db;
use crate::pg::waiter::Registration;
use crate::pg::{process, session, snapshot};

use super::super::claim::wait::pause;
use super::read::{Asked, Page, page};

/// The frames of a stream, or those that come within `wait_ms`, or its end.
///
/// # Errors
/// `unsupported_isolation` for a wait under a fixed snapshot; `resource_exhausted` if too many wait.
pub fn tail(db: &Db, mut asked: Asked, wait_ms: i64) -> Result<Page> {
    let fixed = !session::read_committed();
    if wait_ms > 0 && fixed {
        return Err(Error::new(Kind::UnsupportedIsolation).with("argument", "wait"));
    }
    if fixed {
        return Ok(page(db, &asked));
    }
    let look = |asked: &Asked| snapshot::latest(|| page(db, asked));
    let found = look(&asked);
    let wait = wait_ms.min(i64::from(guc::MAX_TAIL_WAIT.value.get()));
    if wait <= 0 || !found.is_empty() {
        return Ok(found);
    }
    // A first attempt may start while this session waits.
    asked.attempt = asked.attempt.or(found.attempt);
    let stream = StreamKey {
        execution: asked.execution,
        attempt: asked.attempt.unwrap_or(0),
    };
    let until = Instant::now() + Duration::from_millis(wait.unsigned_abs());
    let mut registration = register(stream)?;
    loop {
        registration.look();
        let found = look(&asked);
        let left = until.saturating_duration_since(Instant::now());
        if !found.is_empty() || left.is_zero() {
            return Ok(found);
        }
        process::sleep(left.min(pause(&registration)).as_millis() as i64);
    }
}

fn register(stream: StreamKey) -> Result<Registration> {
    let max = guc::MAX_WAITING_TAILS.value.get();
    Registration::of_stream(stream.number(), max.unsigned_abs() as usize).ok_or_else(|| {
        Error::new(Kind::ResourceExhausted)
            .with("pool", "tails")
            .with("max", max)
            .with("retry_after_ms", guc::WAIT_POLL_INTERVAL.value.get())
    })
}
