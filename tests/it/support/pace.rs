//! Waiting for an observable fact, and having the machine to oneself.

use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Looks again and again, without a fixed pause, until the fact holds or the time is up.
pub fn eventually(limit: Duration, mut fact: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if fact() {
            return true;
        }
        if start.elapsed() > limit {
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Runs in a thread of its own; the panic of a thread becomes the panic of the test.
pub fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Apart<T> {
    Apart(thread::spawn(work))
}

pub struct Apart<T>(JoinHandle<T>);

impl<T> Apart<T> {
    pub fn outcome(self) -> T {
        match self.0.join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

static MACHINE: RwLock<()> = RwLock::new(());

/// Held by tests that use the processor hard, so that they do not spoil a measurement of time.
pub fn busy() -> RwLockReadGuard<'static, ()> {
    MACHINE
        .read()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Held by tests that measure time: no busy test runs beside them.
pub fn quiet() -> RwLockWriteGuard<'static, ()> {
    MACHINE
        .write()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// How long the concurrent tests work: `FF_TORTURE_SECONDS`, or what fits into `make test`.
pub fn torture_time() -> Duration {
    let seconds = std::env::var("FF_TORTURE_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(20))
}
