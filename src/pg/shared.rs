//! Shared memory of the library: present only when the server preloaded it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pgrx::{PgAtomic, pg_guard, pg_shmem_init, pg_sys};

use super::background::{WORKERS, Workers};
use super::calls::{CALLS, Calls};
use super::mark::{MARKS, Marks};
use super::rejection::{REJECTIONS, Rejections};
use super::runs::{LOG, Log};
use super::waiter::{WAITERS, Waiters};

static PRELOADED: AtomicBool = AtomicBool::new(false);

/// Raised by every commit that changed lanes, namespaces or queues.
// SAFETY: the name is used once in this library.
static NAMES: PgAtomic<AtomicU64> = unsafe { PgAtomic::new(c"ff_engine names") };

/// Number of commits so far that changed lanes, namespaces or queues.
pub fn generation() -> u64 {
    NAMES.get().load(Ordering::Acquire)
}

pub(super) fn next_generation() {
    if remembers_names() {
        NAMES.get().fetch_add(1, Ordering::AcqRel);
    }
}

/// Whether backends may remember names at all.
pub fn remembers_names() -> bool {
    preloaded() && generation() != NEVER
}

pub(super) fn remember_no_names() {
    NAMES.get().store(NEVER, Ordering::Release);
}

/// Generation of a server in which a change of names may commit unseen.
const NEVER: u64 = u64::MAX;

/// Whether the library was loaded with the server; without, every waiter polls and no mark is kept.
pub fn preloaded() -> bool {
    PRELOADED.load(Ordering::Relaxed)
}

/// Reserves shared memory if the server is starting; called once from `_PG_init`.
pub fn init() {
    // SAFETY: a flag of the postmaster.
    if unsafe { pg_sys::process_shared_preload_libraries_in_progress } {
        pg_shmem_init!(MARKS = Marks::default());
        pg_shmem_init!(WAITERS = Waiters::default());
        pg_shmem_init!(NAMES = AtomicU64::new(1));
        pg_shmem_init!(WORKERS = Workers::default());
        pg_shmem_init!(LOG = Log::default());
        pg_shmem_init!(CALLS = Calls::default());
        pg_shmem_init!(REJECTIONS = Rejections::default());
        PRELOADED.store(true, Ordering::Relaxed);
    }
}
