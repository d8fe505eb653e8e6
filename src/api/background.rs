//! Background work: worker processes, pg_cron, and the procedure that a scheduler calls (§70.3).

use std::time::{Duration, Instant};

use pgrx::datum::Interval;
use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::bg;
use crate::error::{Error, Kind, Result};
use crate::ops::role::namespace::unbound;
use crate::pg::procedure::Procedure;
use crate::pg::srf::TableIterator;
use crate::pg::{process, session, xact};
use crate::reconcile::{self, Scope};
use crate::store;

use super::{entry, micros, required};

/// Pause between two rounds of `ff_run_reconcilers` while nothing is due, milliseconds.
const PAUSE_MS: i64 = 200;

/// Starts the background worker of this database.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ff_start_workers() -> TableIterator<'static, (name!(pid, i32), name!(outcome, &'static str))> {
    let row = entry(|db| {
        unbound()?;
        if let Some(pid) = store::process::worker(db) {
            return Ok((pid, "already_running"));
        }
        match bg::start() {
            bg::Started::Now(pid) => {
                // Another session, or the launcher, may have been faster: whoever holds the place is the worker.
                let mut holder = store::process::worker(db);
                for round in 0..1000 {
                    if holder.is_some() || (round > 50 && !store::process::exists(db, pid)) {
                        break;
                    }
                    process::sleep(2);
                    holder = store::process::worker(db);
                }
                let holder = holder.unwrap_or(pid);
                Ok((
                    holder,
                    if holder == pid {
                        "started"
                    } else {
                        "already_running"
                    },
                ))
            }
            bg::Started::NoSlot => Err(Error::new(Kind::ResourceExhausted)
                .say("no background worker slot is free")
                .with("pool", "background_workers")
                .hint("Raise max_worker_processes and restart the server.")),
        }
    });
    TableIterator::once(row)
}

/// Stops the background worker of this database and keeps it stopped.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ff_stop_workers()
-> TableIterator<'static, (name!(pid, Option<i32>), name!(outcome, &'static str))> {
    let row = entry(|db| {
        unbound()?;
        bg::stop();
        let Some(pid) = store::process::worker(db) else {
            return Ok((None, "not_running"));
        };
        store::process::terminate(db, pid);
        while store::process::worker(db) == Some(pid) {
            process::sleep(20);
        }
        Ok((Some(pid), "stopped"))
    });
    TableIterator::once(row)
}

/// Installs the pg_cron job that runs the reconcilers.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_schedule_reconcilers(
    schedule: default!(Option<String>, "'1 minute'"),
) -> TableIterator<
    'static,
    (
        name!(job_name, String),
        name!(schedule, String),
        name!(command, String),
        name!(outcome, &'static str),
    ),
> {
    let row = entry(|db| {
        unbound()?;
        let asked = required(schedule, "schedule")?;
        let seconds_known = store::cron::knows_seconds(db).ok_or_else(|| {
            Error::invalid_input("schedule", "pg_cron_missing")
                .say("pg_cron is not installed in this database")
                .hint("Run CREATE EXTENSION pg_cron in the database named by cron.database_name, or start a worker with ff_start_workers().")
        })?;
        let every = seconds(&asked);
        let (schedule, command) = match every {
            Some(n) if n < 60 && seconds_known => (format!("{n} seconds"), store::cron::tick(db)),
            Some(_) => ("* * * * *".to_owned(), store::cron::loops(db)),
            None => (asked, store::cron::loops(db)),
        };
        let (job, replaced) = store::cron::schedule(db, &schedule, &command);
        Ok((
            job,
            schedule,
            command,
            if replaced { "replaced" } else { "scheduled" },
        ))
    });
    TableIterator::once(row)
}

/// `N second(s)` or `N minute(s)` in seconds; anything else is a cron expression.
fn seconds(text: &str) -> Option<u32> {
    let (number, unit) = text.trim().split_once(' ')?;
    let number: u32 = number.parse().ok().filter(|n| *n > 0)?;
    match unit.trim() {
        "second" | "seconds" => Some(number),
        "minute" | "minutes" => number.checked_mul(60),
        _ => None,
    }
}

/// Removes the pg_cron job; returns how many were removed.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ff_unschedule_reconcilers() -> i32 {
    entry(|db| {
        unbound()?;
        Ok(if store::cron::knows_seconds(db).is_some() {
            store::cron::unschedule(db)
        } else {
            0
        })
    })
}

/// Runs the reconcilers for a while, in short transactions of its own.
#[pg_extern(
    sql = "CREATE PROCEDURE ff_run_reconcilers(max_duration interval DEFAULT '55 s') \
           LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';"
)]
fn ff_run_reconcilers(max_duration: Option<Interval>, fcinfo: pg_sys::FunctionCallInfo) {
    let duration: Result<i64> = required(max_duration, "max_duration")
        .and_then(|d| Ok(micros(Some(d), "max_duration")?.unwrap_or(0)));
    let duration = duration.unwrap_or_else(|error| error.raise());
    let until = Instant::now() + Duration::from_micros(duration.max(0).unsigned_abs());
    let procedure = Procedure::begin(fcinfo);
    loop {
        let mut remaining = false;
        for duty in reconcile::duties() {
            match procedure.look(|db| duty.run(db, &Scope::all())) {
                Ok(tally) => remaining |= tally.again(),
                Err(error) => {
                    duty.failed(&error.message());
                    session::warn(&format!("{} failed: {}", duty.name, error.message()));
                }
            }
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        if !remaining {
            process::sleep(PAUSE_MS.min(left.as_millis() as i64));
        }
    }
    procedure.end();
}

#[pg_schema]
mod ff_engine {
    use super::*;

    /// Tells the launcher that the extension has been installed in this database.
    #[pg_extern(volatile, parallel_unsafe)]
    fn announce_installation() {
        xact::poke();
    }
}
