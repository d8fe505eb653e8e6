//! Sessions that wait for work, in shared memory: a commit wakes one of them for every new item.
//!
//! A session announces what it waits for *before* it looks, so no commit falls between look and sleep. A woken
//! session that finds nothing it can take passes the wake-up on to one that has not looked since.

use pgrx::lwlock::PgLwLock;
use pgrx::pg_sys;
use pgrx::shmem::PGRXSharedMemory;

const SLOTS: usize = 2048;
/// Lanes a waiter names; one that waits for more is woken for any.
const LANES: usize = 4;

/// Stands in place of a lane for sessions that wait for executions to end.
pub const COMPLETIONS: i32 = -1;

/// Stands for every stream there is.
pub const EVERY_STREAM: i32 = i32::MIN;

/// Stands in place of a lane for sessions that wait for a stream. Streams may share one: whoever is woken looks again.
pub fn of_stream(number: u64) -> i32 {
    -2 - (number >> 34) as i32
}

#[derive(Clone, Copy)]
struct Slot {
    database: u32,
    lanes: [i32; LANES],
    any: bool,
    looked: u64,
    signalled: bool,
}

const FREE: Slot = Slot {
    database: 0,
    lanes: [0; LANES],
    any: false,
    looked: 0,
    signalled: false,
};

/// All waiters of the server, by process number.
pub struct Waiters {
    serial: u64,
    count: usize,
    slots: [Slot; SLOTS],
}

impl Default for Waiters {
    fn default() -> Self {
        Waiters {
            serial: 0,
            count: 0,
            slots: [FREE; SLOTS],
        }
    }
}

impl Waiters {
    fn enter(&mut self, slot: usize, lanes: &[i32]) {
        let Some(s) = self.slots.get_mut(slot) else {
            return;
        };
        *s = FREE;
        s.any = lanes.is_empty() || lanes.len() > LANES;
        s.lanes
            .iter_mut()
            .zip(lanes)
            .for_each(|(to, from)| *to = *from);
        // SAFETY: set once when the backend connected.
        s.database = u32::from(unsafe { pg_sys::MyDatabaseId });
        self.count += 1;
    }

    /// Sessions of this database that wait for streams.
    fn of_streams(&self) -> usize {
        // SAFETY: set once when the backend connected.
        let database = u32::from(unsafe { pg_sys::MyDatabaseId });
        let waits = |s: &&Slot| s.database == database && s.lanes.iter().any(|l| *l < COMPLETIONS);
        self.slots.iter().filter(waits).count()
    }
}

// SAFETY: plain numbers in a fixed array, no pointers.
unsafe impl PGRXSharedMemory for Waiters {}

// SAFETY: the name is used once in this library.
pub(super) static WAITERS: PgLwLock<Waiters> = unsafe { PgLwLock::new(c"ff_engine waiters") };

/// This session's slot; none without shared memory.
fn free_slot() -> Option<usize> {
    let slot = super::shared::preloaded()
        .then(super::process::number)
        .filter(|n| *n < SLOTS);
    if slot.is_some() {
        super::process::at_exit(forget);
    }
    slot
}

/// Keeps the session registered while it lives.
pub struct Registration {
    slot: Option<usize>,
    lanes: Vec<i32>,
    serial: u64,
}

impl Registration {
    /// Announces that this session waits for work of these lanes; an empty list means any lane.
    pub fn new(lanes: &[i32]) -> Registration {
        let slot = free_slot();
        if let Some(slot) = slot {
            WAITERS.exclusive().enter(slot, lanes);
        }
        Registration {
            slot,
            lanes: lanes.to_vec(),
            serial: 0,
        }
    }

    /// Announces that this session waits for a stream, unless so many of its database wait for streams already.
    pub fn of_stream(number: u64, limit: usize) -> Option<Registration> {
        let lanes = vec![of_stream(number)];
        let slot = free_slot();
        if let Some(slot) = slot {
            let mut waiters = WAITERS.exclusive();
            if waiters.of_streams() >= limit {
                return None;
            }
            waiters.enter(slot, &lanes);
        }
        Some(Registration {
            slot,
            lanes,
            serial: 0,
        })
    }

    /// Whether commits will wake the session; otherwise it has to look by itself.
    pub fn is_known(&self) -> bool {
        self.slot.is_some()
    }

    /// Call before every look: from now on a commit wakes the session again.
    pub fn look(&mut self) {
        let Some(slot) = self.slot else { return };
        let mut waiters = WAITERS.exclusive();
        self.serial = waiters.serial;
        if let Some(s) = waiters.slots.get_mut(slot) {
            s.looked = self.serial;
            s.signalled = false;
        }
    }

    /// The look found nothing for this session: whoever has not looked since may be luckier.
    pub fn pass_on(&self) {
        if self.slot.is_some() {
            let lanes: &[i32] = &self.lanes;
            wake(lanes, 1, Some(self.serial));
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if self.slot.is_some() {
            forget();
        }
    }
}

/// Frees this session's slot.
fn forget() {
    let mut waiters = WAITERS.exclusive();
    if let Some(s) = waiters
        .slots
        .get_mut(super::process::number())
        .filter(|s| s.database != 0)
    {
        *s = FREE;
        waiters.count = waiters.count.saturating_sub(1);
    }
}

/// Wakes up to `items` sessions that wait for one of these lanes (any lane for an empty list) and have not been
/// woken since they last looked; with `before`, only those whose last look is older.
pub(super) fn wake(lanes: &[i32], items: usize, before: Option<u64>) {
    // SAFETY: set once when the backend connected.
    let database = u32::from(unsafe { pg_sys::MyDatabaseId });
    if WAITERS.share().count == 0 {
        return;
    }
    let mut waiters = WAITERS.exclusive();
    if before.is_none() {
        waiters.serial += 1;
    }
    // Who waits for any lane waits for work, not for the ends and streams of executions.
    let work = lanes.is_empty() || lanes.iter().any(|l| *l > COMPLETIONS);
    let streams = lanes.contains(&EVERY_STREAM);
    let concerned = |l: &i32| lanes.contains(l) || streams && *l < COMPLETIONS;
    let mut left = items;
    for (number, s) in waiters.slots.iter_mut().enumerate() {
        if left == 0 {
            break;
        }
        let wanted = s.any && work || lanes.is_empty() || s.lanes.iter().any(concerned);
        if s.database == database && wanted && !s.signalled && before.is_none_or(|b| s.looked < b) {
            s.signalled = true;
            super::process::set_latch(number);
            left -= 1;
        }
    }
}
