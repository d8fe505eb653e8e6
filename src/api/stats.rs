//! What shared memory knows of the engine at work, for the views and checks of §70.6.

use pgrx::datum::TimestampWithTimeZone;
use pgrx::prelude::*;

use crate::model::time::Instant;
use crate::pg::calls;
use crate::pg::mark;
use crate::pg::rejection;
use crate::pg::srf::TableIterator;
use crate::reconcile;

use super::stamp;

/// An instant that zero means the lack of.
fn when(micros: i64) -> Option<TimestampWithTimeZone> {
    (micros > 0).then(|| stamp(Instant(micros))).flatten()
}

#[pg_schema]
mod ff_engine {
    use super::*;

    /// How each periodic duty has fared in this database since the server started.
    #[pg_extern(stable, parallel_restricted)]
    #[search_path(pg_catalog, pg_temp)]
    #[allow(clippy::type_complexity)]
    pub fn duty_runs() -> TableIterator<
        'static,
        (
            name!(place, i32),
            name!(duty, &'static str),
            name!(every_ms, i64),
            name!(runs, i64),
            name!(processed, i64),
            name!(errors, i64),
            name!(failures, i64),
            name!(last_run_at, Option<TimestampWithTimeZone>),
            name!(last_micros, i64),
            name!(longest_micros, i64),
            name!(last_failure_at, Option<TimestampWithTimeZone>),
            name!(last_failure, Option<String>),
        ),
    > {
        let rows = (1..).zip(reconcile::duties()).map(|(place, duty)| {
            let runs = duty.runs();
            (
                place,
                duty.name,
                duty.every_ms,
                runs.runs,
                runs.processed,
                runs.errors,
                runs.failures,
                when(runs.last_at),
                runs.last_micros,
                runs.longest_micros,
                when(runs.failed_at),
                runs.message(),
            )
        });
        TableIterator::new(rows.collect::<Vec<_>>())
    }

    /// How each function has fared in this database since the server started, times in microseconds.
    #[pg_extern(stable, parallel_restricted)]
    #[search_path(pg_catalog, pg_temp)]
    #[allow(clippy::type_complexity)]
    pub fn calls() -> TableIterator<
        'static,
        (
            name!(function, String),
            name!(calls, i64),
            name!(errors, i64),
            name!(micros, i64),
            name!(median, i64),
            name!(slow, i64),
        ),
    > {
        let row = |f: calls::Fared| {
            (
                f.name,
                f.calls as i64,
                f.errors as i64,
                f.micros as i64,
                f.median as i64,
                f.slow as i64,
            )
        };
        TableIterator::new(calls::all().into_iter().map(row))
    }

    /// Waitpoint tokens refused in this database since the server started, by the name of their key and the reason.
    #[pg_extern(stable, parallel_restricted)]
    #[search_path(pg_catalog, pg_temp)]
    #[allow(clippy::type_complexity)]
    pub fn token_refusals() -> TableIterator<
        'static,
        (
            name!(kid, Option<String>),
            name!(reason, &'static str),
            name!(refused, i64),
        ),
    > {
        let row = |r: rejection::Refused| (r.kid, r.reason, r.count as i64);
        TableIterator::new(rejection::all().into_iter().map(row))
    }

    /// Queues whose low-water mark the server remembers, and how many it can.
    #[pg_extern(stable, parallel_restricted)]
    #[search_path(pg_catalog, pg_temp)]
    pub fn marks() -> TableIterator<'static, (name!(used, i64), name!(room, i64))> {
        let (used, room) = mark::usage();
        TableIterator::once((used as i64, room as i64))
    }
}
