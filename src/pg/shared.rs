//! Shared memory of the library: present only when the server preloaded it.

use std::sync::atomic::{AtomicBool, Ordering};

use pgrx::{pg_guard, pg_shmem_init, pg_sys};

use super::background::{WORKERS, Workers};
use super::mark::{MARKS, Marks};
use super::waiter::{WAITERS, Waiters};

static PRELOADED: AtomicBool = AtomicBool::new(false);

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
        pg_shmem_init!(WORKERS = Workers::default());
        PRELOADED.store(true, Ordering::Relaxed);
    }
}
