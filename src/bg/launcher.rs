//! The launcher: knows the databases, starts a worker in each, and starts it again when it has ended.

use std::collections::BTreeMap;

use pgrx::bgworkers::{BackgroundWorkerBuilder, BgWorkerStartTime};
use pgrx::pg_sys;

use crate::pg::{background, clock, process, session};

use super::{signals, start};

/// A worker that has ended is tried again after this long, or at once after a poke, microseconds.
const RETRY: i64 = 5_000_000;
/// A database without the extension is tried again after this long.
const RETRY_ABSENT: i64 = 60_000_000;
/// A worker that ended sooner than this found nothing to do.
const SHORT_LIFE: i64 = 1_000_000;
const LOOK_EVERY_MS: i64 = 5_000;

/// Registers the launcher while the server starts, but not in the servers that pg_upgrade runs.
pub fn register() {
    // SAFETY: flags of the postmaster.
    let starting =
        unsafe { pg_sys::process_shared_preload_libraries_in_progress && !pg_sys::IsBinaryUpgrade };
    if starting {
        BackgroundWorkerBuilder::new("ff_engine launcher")
            .set_type("ff_engine launcher")
            .set_library("ff_engine")
            .set_function("ff_engine_launcher_main")
            .set_start_time(BgWorkerStartTime::RecoveryFinished)
            .set_restart_time(Some(std::time::Duration::from_secs(1)))
            .enable_spi_access()
            .load();
    }
}

/// A worker as the launcher knows it.
struct Known {
    handle: *mut pg_sys::BackgroundWorkerHandle,
    started_at: i64,
    retry_at: i64,
}

/// Entry point of the process.
#[unsafe(no_mangle)]
#[pgrx::pg_guard]
pub extern "C-unwind" fn ff_engine_launcher_main(_arg: pg_sys::Datum) {
    signals::install();
    // SAFETY: called once, at the start of a background process; no database is needed to read pg_database.
    unsafe { pg_sys::BackgroundWorkerInitializeConnection(std::ptr::null(), std::ptr::null(), 0) };
    session::report_application(c"ff_engine launcher");
    let mut workers: BTreeMap<u32, Known> = BTreeMap::new();
    let mut pokes = background::launcher();
    loop {
        signals::reload_if_asked();
        let poked = {
            let count = background::launcher();
            std::mem::replace(&mut pokes, count) != count
        };
        let databases = databases();
        workers.retain(|oid, _| databases.contains(oid));
        let now = clock::wall_micros();
        for oid in databases
            .into_iter()
            .filter(|oid| !background::stopped(*oid))
        {
            let known = workers.get_mut(&oid);
            let start_now = match known {
                None => true,
                Some(known) => {
                    if !known.handle.is_null() && !start::running(known.handle) {
                        known.handle = std::ptr::null_mut();
                        let absent = now - known.started_at < SHORT_LIFE;
                        known.retry_at = now + if absent { RETRY_ABSENT } else { RETRY };
                    }
                    known.handle.is_null() && (poked || known.retry_at <= now)
                }
            };
            if start_now {
                let handle = start::register(oid, session::pid());
                workers.insert(
                    oid,
                    Known {
                        handle,
                        started_at: now,
                        retry_at: now + RETRY,
                    },
                );
            }
        }
        session::report_idle();
        process::sleep(LOOK_EVERY_MS);
    }
}

/// Connectable databases that are not templates.
fn databases() -> Vec<u32> {
    // SAFETY: a catalog scan in a transaction of its own; SPI is impossible without a database.
    unsafe {
        pg_sys::StartTransactionCommand();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        let relation =
            pg_sys::table_open(pg_sys::DatabaseRelationId, pg_sys::AccessShareLock as i32);
        let scan = pg_sys::table_beginscan_catalog(relation, 0, std::ptr::null_mut());
        let mut found = Vec::new();
        loop {
            let tuple = pg_sys::heap_getnext(scan, pg_sys::ScanDirection::ForwardScanDirection);
            if tuple.is_null() {
                break;
            }
            let row = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_database>();
            if (*row).datallowconn && !(*row).datistemplate {
                found.push(u32::from((*row).oid));
            }
        }
        pg_sys::table_endscan(scan);
        pg_sys::table_close(relation, pg_sys::AccessShareLock as i32);
        pg_sys::PopActiveSnapshot();
        pg_sys::CommitTransactionCommand();
        found
    }
}
