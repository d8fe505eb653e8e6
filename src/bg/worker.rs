//! The loop of one database: run what is due, each duty in transactions of its own, and sleep until the next.

use pgrx::pg_sys;
use pgrx::pg_sys::panic::CaughtError;

use crate::pg::spi::Db;
use crate::pg::{background, clock, lock, process, session};
use crate::reconcile::{self, Scope, Tally};

use super::schedule::{Pace, Schedule};
use super::signals;

/// Longest sleep, so that a dropped extension or database is noticed.
const LONGEST: i64 = 750_000;
/// Pause before due work that could not be moved is tried again.
const HELD: i64 = 50_000;
/// What nobody announces, such as a prepared transaction or a restore, is found this much later at most, microseconds.
const SEARCH_EVERY: i64 = 60_000_000;
/// An error of one duty is logged this often at most, microseconds.
const LOG_EVERY: i64 = 60_000_000;

/// Entry point of the process; `database` is the OID of the database to serve.
#[unsafe(no_mangle)]
#[pgrx::pg_guard]
pub extern "C-unwind" fn ff_engine_worker_main(database: pg_sys::Datum) {
    signals::install();
    // SAFETY: called once, at the start of a background process.
    unsafe {
        pg_sys::BackgroundWorkerInitializeConnectionByOid(
            pg_sys::Oid::from(database.value() as u32),
            pg_sys::InvalidOid,
            0,
        );
    }
    session::pin_search_path();
    session::report_application(c"ff_engine worker");
    if !transaction(c"ff_engine: starting", || {
        lock::extension_stays() && lock::only_worker()
    })
    .unwrap_or(false)
    {
        return;
    }
    process::at_exit(background::gone);
    serve();
    background::gone();
}

/// Runs until the extension or the database is going away.
fn serve() {
    let duties: Vec<_> = reconcile::duties().collect();
    let mut schedule = Schedule::new(duties.iter().map(|d| Pace {
        every_ms: d.every_ms,
        timed: d.timed,
    }));
    let mut logged = vec![0; duties.len()];
    let mut searched = i64::MIN;
    loop {
        signals::reload_if_asked();
        // From here on every commit that brings something due sets the latch, so none falls between look and sleep.
        background::sleeping(i64::MAX);
        let whole = clock::wall_micros().saturating_sub(searched) > SEARCH_EVERY;
        if whole {
            searched = clock::wall_micros();
        }
        reconcile::heard(background::announced().filter(|_| !whole));
        let looked = transaction(c"ff_engine: looking for due work", || {
            let leave = lock::database_is_wanted_elsewhere() || !lock::extension_stays();
            (
                leave,
                if leave {
                    None
                } else {
                    Db::with(reconcile::next_due)
                },
            )
        });
        let timer = match looked {
            Ok((true, _)) => return,
            Ok((false, timer)) => timer.map_or(i64::MAX, |at| at.0),
            Err(_) => {
                reconcile::heard(None);
                i64::MAX
            }
        };
        let now = clock::wall_micros();
        let mut moved = false;
        for index in schedule.due(now, timer <= now) {
            let Some(duty) = duties.get(index) else {
                continue;
            };
            let activity =
                std::ffi::CString::new(format!("ff_engine: {}", duty.name)).unwrap_or_default();
            let outcome = transaction(&activity, || {
                if lock::extension_stays() {
                    Db::with(|db| duty.run(db, &Scope::all()))
                } else {
                    Ok(Tally::default())
                }
            });
            let failure = match &outcome {
                Ok(Ok(tally)) => {
                    schedule.ran(index, now, tally.again());
                    moved |= tally.processed > 0 || tally.skipped > 0;
                    None
                }
                Ok(Err(error)) => Some(error.message()),
                Err(message) => Some(message.clone()),
            };
            if let Some(message) = failure {
                schedule.ran(index, now, false);
                duty.failed(&message);
                if let Some(last) = logged
                    .get_mut(index)
                    .filter(|last| now - **last > LOG_EVERY)
                {
                    *last = now;
                    session::log(&format!("ff_engine: {} failed: {message}", duty.name));
                }
            }
        }
        let now = clock::wall_micros();
        // Where nothing was moved, what was seen before still stands: a commit that has changed it since sets the latch.
        let timer = if moved { look_again() } else { timer };
        // What is due and could not be moved is held by somebody, or is broken: no use in asking at once.
        let soonest = if moved { now } else { now + HELD };
        let until = schedule.next().min(timer.max(soonest)).min(now + LONGEST);
        background::sleeping(until);
        session::report_idle();
        if until > now {
            process::sleep((until - now) / 1000 + 1);
        }
    }
}

/// The earliest timer after duties have run; none if that cannot be told, or the extension is going away.
fn look_again() -> i64 {
    let timer = transaction(c"ff_engine: looking for due work", || {
        if lock::extension_stays() {
            Db::with(reconcile::next_due)
        } else {
            None
        }
    });
    timer.ok().flatten().map_or(i64::MAX, |at| at.0)
}

/// One short transaction. An error is returned as its message, with everything undone.
fn transaction<T>(activity: &std::ffi::CStr, work: impl FnOnce() -> T) -> Result<T, String> {
    session::report_running(activity);
    // SAFETY: the pattern of every background process: begin, snapshot, work, commit; or abort.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        let context = pg_sys::CurrentMemoryContext;
        let outcome = pgrx::PgTryBuilder::new(std::panic::AssertUnwindSafe(|| {
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            let value = work();
            pg_sys::PopActiveSnapshot();
            pg_sys::CommitTransactionCommand();
            Ok(value)
        }))
        .catch_others(|error| {
            Err(match error {
                CaughtError::PostgresError(report)
                | CaughtError::ErrorReport(report)
                | CaughtError::RustPanic {
                    ereport: report, ..
                } => report.message().to_owned(),
            })
        })
        .execute();
        if outcome.is_err() {
            pg_sys::MemoryContextSwitchTo(context);
            pg_sys::AbortCurrentTransaction();
        }
        pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
        outcome
    }
}
