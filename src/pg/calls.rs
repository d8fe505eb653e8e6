//! How often each function of a database is called and how long that takes, in shared memory.
//!
//! Calls add to counters and wait for nobody but who enters a new function. Where there is no room for another
//! function, the one that has been quiet for longest makes it.

use std::cell::RefCell;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use pgrx::lwlock::PgLwLock;
use pgrx::shmem::PGRXSharedMemory;

const SLOTS: usize = 2048;
const NAME: usize = 48;
/// Two to each doubling from a microsecond on; the last holds all above eight seconds.
const BUCKETS: usize = 48;

struct Slot {
    database: u32,
    name: [u8; NAME],
    length: usize,
    calls: AtomicU64,
    errors: AtomicU64,
    micros: AtomicU64,
    touched_at: AtomicI64,
    buckets: [AtomicU32; BUCKETS],
}

impl Slot {
    fn new(database: u32, text: &str) -> Slot {
        let mut name = [0; NAME];
        let mut length = 0;
        for (to, from) in name.iter_mut().zip(text.bytes()) {
            *to = from;
            length += 1;
        }
        Slot {
            database,
            name,
            length,
            calls: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            micros: AtomicU64::new(0),
            touched_at: AtomicI64::new(0),
            buckets: [const { AtomicU32::new(0) }; BUCKETS],
        }
    }

    fn is(&self, database: u32, name: &str) -> bool {
        self.database == database && self.name.get(..self.length) == Some(name.as_bytes())
    }
}

/// All functions of all databases.
pub struct Calls([Slot; SLOTS]);

impl Default for Calls {
    fn default() -> Self {
        Calls(std::array::from_fn(|_| Slot::new(0, "")))
    }
}

// SAFETY: plain numbers in a fixed array, no pointers.
unsafe impl PGRXSharedMemory for Calls {}

// SAFETY: the name is used once in this library.
pub(super) static CALLS: PgLwLock<Calls> = unsafe { PgLwLock::new(c"ff_engine calls") };

thread_local! {
    /// Where this backend has found its functions.
    static PLACES: RefCell<Vec<(&'static str, usize)>> = const { RefCell::new(Vec::new()) };
}

/// A call that is under way; one that is dropped has raised.
pub struct Call {
    name: &'static str,
    start: Instant,
    failed: bool,
}

/// Begins the call of a function.
pub fn begin(name: &'static str) -> Call {
    Call {
        name,
        start: Instant::now(),
        failed: true,
    }
}

impl Call {
    /// It has gone through.
    pub fn done(mut self) {
        self.failed = false;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if super::shared::preloaded() {
            let took = self.start.elapsed().as_micros();
            note(
                self.name,
                u64::try_from(took).unwrap_or(u64::MAX),
                self.failed,
            );
        }
    }
}

fn note(name: &'static str, micros: u64, failed: bool) {
    let database = super::session::database();
    let known = PLACES.with_borrow(|places| {
        let mut places = places.iter();
        places.find(|(n, _)| *n == name).map(|(_, place)| *place)
    });
    if let Some(place) = known {
        let calls = CALLS.share();
        if let Some(slot) = calls.0.get(place).filter(|s| s.is(database, name)) {
            add(slot, micros, failed);
            return;
        }
    }
    let place = settle(database, name);
    PLACES.with_borrow_mut(|places| {
        places.retain(|(n, _)| *n != name);
        places.push((name, place));
    });
    if let Some(slot) = CALLS.share().0.get(place).filter(|s| s.is(database, name)) {
        add(slot, micros, failed);
    }
}

fn add(slot: &Slot, micros: u64, failed: bool) {
    let count = slot.calls.fetch_add(1, Relaxed);
    slot.micros.fetch_add(micros, Relaxed);
    if failed {
        slot.errors.fetch_add(1, Relaxed);
    }
    if let Some(bucket) = slot.buckets.get(bucket(micros)) {
        bucket.fetch_add(1, Relaxed);
    }
    // Which of them is quiet need not be known to the microsecond.
    if count.is_multiple_of(64) {
        slot.touched_at.store(super::clock::wall_micros(), Relaxed);
    }
}

/// The place of a function, given to it now if it has none.
fn settle(database: u32, name: &str) -> usize {
    let mut calls = CALLS.exclusive();
    let known = calls.0.iter().position(|s| s.is(database, name));
    known.unwrap_or_else(|| {
        let all = calls.0.iter().enumerate();
        let quiet = all.min_by_key(|(_, s)| s.touched_at.load(Relaxed));
        let place = quiet.map_or(0, |(place, _)| place);
        if let Some(slot) = calls.0.get_mut(place) {
            *slot = Slot::new(database, name);
        }
        place
    })
}

/// Doublings of a microsecond, in halves.
fn bucket(micros: u64) -> usize {
    let Some(doublings) = micros.checked_ilog2() else {
        return 0;
    };
    let half = doublings > 0 && micros >> (doublings - 1) & 1 == 1;
    (1 + 2 * doublings as usize + usize::from(half)).min(BUCKETS - 1)
}

/// The least number of microseconds above a bucket.
fn above(bucket: usize) -> u64 {
    let Some(place) = bucket.checked_sub(1) else {
        return 1;
    };
    let whole = 1u64 << (place / 2);
    if place % 2 == 0 {
        (whole + whole / 2).max(whole + 1)
    } else {
        2 * whole
    }
}

/// How a function has fared since the server started.
pub struct Fared {
    /// Its name.
    pub name: String,
    /// Calls, those that raised included.
    pub calls: u64,
    /// Those that raised.
    pub errors: u64,
    /// Time of all, microseconds.
    pub micros: u64,
    /// Half of the calls took no longer, microseconds, rounded up by half at most.
    pub median: u64,
    /// So did 99 of 100.
    pub slow: u64,
}

/// The functions of this database.
pub fn all() -> Vec<Fared> {
    if !super::shared::preloaded() {
        return Vec::new();
    }
    let database = super::session::database();
    let calls = CALLS.share();
    let mine = calls.0.iter().filter(|s| s.database == database);
    let fared = |slot: &Slot| {
        let buckets: Vec<u64> = slot
            .buckets
            .iter()
            .map(|b| u64::from(b.load(Relaxed)))
            .collect();
        Fared {
            name: String::from_utf8_lossy(slot.name.get(..slot.length).unwrap_or_default())
                .into_owned(),
            calls: slot.calls.load(Relaxed),
            errors: slot.errors.load(Relaxed),
            micros: slot.micros.load(Relaxed),
            median: quantile(&buckets, 50),
            slow: quantile(&buckets, 99),
        }
    };
    mine.map(fared).collect()
}

/// The upper bound of the bucket that holds a percentile.
fn quantile(buckets: &[u64], percent: u64) -> u64 {
    let total: u64 = buckets.iter().sum();
    let wanted = (total * percent).div_ceil(100);
    let mut seen = 0;
    let reached = buckets.iter().position(|count| {
        seen += count;
        seen >= wanted
    });
    above(reached.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_lies_below_the_bound_of_its_bucket_and_above_that_of_the_one_before() {
        for micros in (0..5_000).chain([8_000_000, 12_000_000]) {
            let at = bucket(micros);
            assert!(micros < above(at), "{micros} in {at}");
            assert!(at == 0 || micros >= above(at - 1), "{micros} in {at}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn a_percentile_is_the_bound_of_the_bucket_it_falls_into() {
        let mut buckets = [0; BUCKETS];
        buckets[bucket(10)] = 98;
        buckets[bucket(3_000)] = 2;
        assert_eq!(quantile(&buckets, 50), above(bucket(10)));
        assert_eq!(quantile(&buckets, 99), above(bucket(3_000)));
        assert_eq!(quantile(&[0; BUCKETS], 99), 1);
    }
}
