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
}

const FREE: Slot = Slot {
    database: 0,
    number: 0,
    pid: 0,
    sleeps_until: 0,
    heard_at: 0,
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
    };
    let mut workers = WORKERS.exclusive();
    let at = workers
        .slots
        .iter()
        .position(|s| s.database == mine.database);
    let at = at.or_else(|| workers.slots.iter().position(|s| s.database == 0));
    if let Some(slot) = at.and_then(|i| workers.slots.get_mut(i)) {
        *slot = mine;
    }
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

/// Something falls due at this instant: a worker that meant to sleep longer is woken.
pub(super) fn due(at: i64) {
    let database = database();
    let number = WORKERS
        .share()
        .slots
        .iter()
        .find(|s| s.database == database && s.sleeps_until > at)
        .map(|s| s.number);
    if let Some(number) = number {
        super::process::set_latch(number);
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
