//! Starting and stopping the worker of a database.

use pgrx::bgworkers::{BackgroundWorkerBuilder, BgWorkerStartTime};
use pgrx::pg_sys;

use crate::pg::{background, session};

/// What became of a start.
pub enum Started {
    /// A process was started.
    Now(i32),
    /// No process slot was free.
    NoSlot,
}

/// Registers a worker for a database; null if no slot is free. The server does not start it again by itself: that
/// is the launcher's business, and a worker that was stopped is to stay so.
pub fn register(database: u32, notify: i32) -> *mut pg_sys::BackgroundWorkerHandle {
    let mut worker: pg_sys::BackgroundWorker = (&BackgroundWorkerBuilder::new("ff_engine worker")
        .set_type("ff_engine worker")
        .set_library("ff_engine")
        .set_function("ff_engine_worker_main")
        .set_start_time(BgWorkerStartTime::RecoveryFinished)
        .set_restart_time(None)
        .set_argument(Some(pg_sys::Datum::from(database)))
        .set_notify_pid(notify)
        .enable_spi_access())
        .into();
    let mut handle = std::ptr::null_mut();
    // SAFETY: the description is complete; the handle is allocated in a context that lives with the process.
    let registered = unsafe {
        let context = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
        let registered = pg_sys::RegisterDynamicBackgroundWorker(&mut worker, &mut handle);
        pg_sys::MemoryContextSwitchTo(context);
        registered
    };
    if !registered {
        session::log("ff_engine: no free background worker slot; raise max_worker_processes");
        return std::ptr::null_mut();
    }
    handle
}

/// Whether a worker is running or about to.
pub fn running(handle: *mut pg_sys::BackgroundWorkerHandle) -> bool {
    let mut pid = 0;
    // SAFETY: the handle comes from `register`.
    unsafe {
        pg_sys::GetBackgroundWorkerPid(handle, &mut pid) != pg_sys::BgwHandleStatus::BGWH_STOPPED
    }
}

/// Starts the worker of this session's database and waits until it runs.
pub fn start() -> Started {
    background::allow(session::database());
    let handle = register(session::database(), session::pid());
    if handle.is_null() {
        return Started::NoSlot;
    }
    let mut pid = 0;
    // SAFETY: the handle comes from `register`; the wait serves interrupts.
    let status = unsafe { pg_sys::WaitForBackgroundWorkerStartup(handle, &mut pid) };
    match status {
        pg_sys::BgwHandleStatus::BGWH_STARTED => Started::Now(pid),
        _ => Started::NoSlot,
    }
}

/// Keeps the launcher from starting a worker in this session's database.
pub fn stop() {
    background::forbid(session::database());
}
