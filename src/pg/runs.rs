//! How the periodic duties of each database have fared, in shared memory.

use pgrx::lwlock::PgLwLock;
use pgrx::shmem::PGRXSharedMemory;

/// Databases that are remembered; the one that has been quiet for longest makes room.
const DATABASES: usize = 64;
/// Duties of a database.
const DUTIES: usize = 32;
/// Bytes of a message that are kept.
const MESSAGE: usize = 120;

/// How one duty has fared since the server started.
#[derive(Clone, Copy)]
pub struct Runs {
    /// Runs that went through.
    pub runs: i64,
    /// Rows handled.
    pub processed: i64,
    /// Rows whose handling failed.
    pub errors: i64,
    /// Runs that did not go through.
    pub failures: i64,
    /// When it last went through (server clock, microseconds), 0 if never.
    pub last_at: i64,
    /// How long that took, microseconds.
    pub last_micros: i64,
    /// The longest run so far.
    pub longest_micros: i64,
    /// When it last failed, 0 if never.
    pub failed_at: i64,
    message: [u8; MESSAGE],
    length: usize,
}

const NONE: Runs = Runs {
    runs: 0,
    processed: 0,
    errors: 0,
    failures: 0,
    last_at: 0,
    last_micros: 0,
    longest_micros: 0,
    failed_at: 0,
    message: [0; MESSAGE],
    length: 0,
};

impl Runs {
    /// What the last failure said.
    pub fn message(&self) -> Option<String> {
        let text = self.message.get(..self.length)?;
        (self.failed_at > 0).then(|| String::from_utf8_lossy(text).into_owned())
    }
}

#[derive(Clone, Copy)]
struct Slot {
    database: u32,
    touched_at: i64,
    duties: [Runs; DUTIES],
}

/// All databases.
pub struct Log {
    slots: [Slot; DATABASES],
}

impl Default for Log {
    fn default() -> Self {
        let slot = Slot {
            database: 0,
            touched_at: 0,
            duties: [NONE; DUTIES],
        };
        Log {
            slots: [slot; DATABASES],
        }
    }
}

// SAFETY: plain numbers in fixed arrays, no pointers.
unsafe impl PGRXSharedMemory for Log {}

// SAFETY: the name is used once in this library.
pub(super) static LOG: PgLwLock<Log> = unsafe { PgLwLock::new(c"ff_engine runs") };

fn update(duty: usize, work: impl FnOnce(&mut Runs, i64)) {
    if !super::shared::preloaded() {
        return;
    }
    let database = super::session::database();
    let now = super::clock::wall_micros();
    let mut log = LOG.exclusive();
    let place = log.slots.iter().position(|s| s.database == database);
    let slot = match place {
        Some(place) => log.slots.get_mut(place),
        None => log.slots.iter_mut().min_by_key(|s| s.touched_at),
    };
    let Some(slot) = slot else { return };
    if slot.database != database {
        slot.database = database;
        slot.duties = [NONE; DUTIES];
    }
    slot.touched_at = now;
    if let Some(runs) = slot.duties.get_mut(duty) {
        work(runs, now);
    }
}

/// A duty has run.
pub fn went(duty: usize, processed: i32, errors: i32, micros: i64) {
    update(duty, |runs, now| {
        runs.runs += 1;
        runs.processed += i64::from(processed);
        runs.errors += i64::from(errors);
        runs.last_at = now;
        runs.last_micros = micros;
        runs.longest_micros = runs.longest_micros.max(micros);
    });
}

/// A duty could not run.
pub fn failed(duty: usize, message: &str) {
    update(duty, |runs, now| {
        runs.failures += 1;
        runs.failed_at = now;
        runs.length = 0;
        for (to, from) in runs.message.iter_mut().zip(message.bytes()) {
            *to = from;
            runs.length += 1;
        }
    });
}

/// How a duty of this database has fared.
pub fn of(duty: usize) -> Runs {
    if !super::shared::preloaded() {
        return NONE;
    }
    let database = super::session::database();
    let log = LOG.share();
    let slot = log.slots.iter().find(|s| s.database == database);
    slot.and_then(|s| s.duties.get(duty))
        .copied()
        .unwrap_or(NONE)
}
