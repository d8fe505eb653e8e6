//! The background workers of the server's databases, in shared memory: who they are and until when they sleep.

use pgrx::lwlock::PgLwLock;
use pgrx::pg_sys;
use pgrx::shmem::PGRXSharedMemory;

const SLOTS: usize = 128;
/// A worker that has not been heard of for so long is taken for gone, microseconds.
const STALE: i64 = 5_000_000;

#[derive(Clone, Copy)]
struct Slot {
    database: u32,
    number: usize,
    pid: i32,
    sleeps_until: i64,
    heard_at: i64,
    /// The earliest instant that others have announced since the worker asked.
    announced: i64,
}

const FREE: Slot = Slot {
    database: 0,
    number: 0,
    pid: 0,
    sleeps_until: 0,
    heard_at: 0,
    announced: i64::MAX,
};

/// All background workers.
pub struct Workers {
    slots: [Slot; SLOTS],
    /// Raised when an extension is created, so that the launcher looks again.
    pokes: u64,
    launcher: Option<usize>,
    /// Databases whose worker was stopped on purpose.
    stopped: [u32; SLOTS],
}

impl Default for Workers {
    fn default() -> Self {
        Workers {
            slots: [FREE; SLOTS],
            pokes: 0,
            launcher: None,
            stopped: [0; SLOTS],
        }
    }
}

// SAFETY: plain numbers in a fixed array, no pointers.
unsafe impl PGRXSharedMemory for Workers {}

// SAFETY: the name is used once in this library.
pub(super) static WORKERS: PgLwLock<Workers> = unsafe { PgLwLock::new(c"ff_engine workers") };

fn database() -> u32 {
    // SAFETY: set once when the backend connected.
    u32::from(unsafe { pg_sys::MyDatabaseId })
}

/// The worker of this database is about to sleep until the given instant (server clock, microseconds).
pub fn sleeping(until: i64) {
    if !super::shared::preloaded() {
        return;
    }
    let mine = Slot {
        database: database(),
        number: super::process::number(),
        // SAFETY: set at process start.
        pid: unsafe { pg_sys::MyProcPid },
        sleeps_until: until,
        heard_at: super::clock::wall_micros(),
        announced: i64::MAX,
    };
    let mut workers = WORKERS.exclusive();
    let at = workers
        .slots
        .iter()
        .position(|s| s.database == mine.database);
    let at = at.or_else(|| workers.slots.iter().position(|s| s.database == 0));
    if let Some(slot) = at.and_then(|i| workers.slots.get_mut(i)) {
        let announced = slot.announced;
        *slot = Slot { announced, ..mine };
    }
}

/// The earliest instant that commits have announced since this worker asked last; none if it has no place to hear them.
pub fn announced() -> Option<i64> {
    if !super::shared::preloaded() {
        return None;
    }
    // SAFETY: set at process start.
    let pid = unsafe { pg_sys::MyProcPid };
    let mut workers = WORKERS.exclusive();
    let slot = workers.slots.iter_mut().find(|s| s.pid == pid)?;
    Some(std::mem::replace(&mut slot.announced, i64::MAX))
}

/// The worker of this database has ended.
pub fn gone() {
    if super::shared::preloaded() {
        // SAFETY: set at process start.
        let pid = unsafe { pg_sys::MyProcPid };
        WORKERS
            .exclusive()
            .slots
            .iter_mut()
            .filter(|s| s.pid == pid)
            .for_each(|s| *s = FREE);
    }
}

/// Whether a worker of this database has been heard of lately.
pub fn alive() -> bool {
    if !super::shared::preloaded() {
        return false;
    }
    let now = super::clock::wall_micros();
    let database = database();
    WORKERS
        .share()
        .slots
        .iter()
        .any(|s| s.database == database && s.heard_at > now - STALE)
}

/// Something falls due at this instant: a worker that meant to sleep longer is woken. Told after the commit, when others
/// can see what falls due.
pub(super) fn due(at: i64) {
    let database = database();
    let of_mine = |s: &&Slot| s.database == database;
    let Some(slot) = WORKERS.share().slots.iter().find(of_mine).copied() else {
        return;
    };
    if slot.announced > at
        && let Some(slot) = WORKERS
            .exclusive()
            .slots
            .iter_mut()
            .find(|s| s.database == database)
    {
        slot.announced = slot.announced.min(at);
    }
    if slot.sleeps_until > at {
        super::process::set_latch(slot.number);
    }
}

/// Has the launcher look for databases again.
pub(super) fn poke() {
    let launcher = {
        let mut workers = WORKERS.exclusive();
        workers.pokes += 1;
        workers.launcher
    };
    if let Some(number) = launcher {
        super::process::set_latch(number);
    }
}

/// This process is the launcher; returns how often it has been poked.
pub fn launcher() -> u64 {
    let mut workers = WORKERS.exclusive();
    workers.launcher = Some(super::process::number());
    workers.pokes
}

/// Whether the worker of a database was stopped on purpose.
pub fn stopped(database: u32) -> bool {
    WORKERS.share().stopped.contains(&database)
}

/// The launcher is to leave a database alone.
pub fn forbid(database: u32) {
    if super::shared::preloaded() {
        let mut workers = WORKERS.exclusive();
        if !workers.stopped.contains(&database)
            && let Some(free) = workers.stopped.iter_mut().find(|d| **d == 0)
        {
            *free = database;
        }
    }
}

/// The launcher may serve a database again.
pub fn allow(database: u32) {
    if super::shared::preloaded() {
        WORKERS
            .exclusive()
            .stopped
            .iter_mut()
            .filter(|d| **d == database)
            .for_each(|d| *d = 0);
    }
}
