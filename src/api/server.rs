//! What the engine says about itself: clock, errors, how the library runs (§10.20, §10.24).

use pgrx::datum::TimestampWithTimeZone;
use pgrx::prelude::*;

use crate::error::Kind;
use crate::ops::clock;
use crate::pg::srf::TableIterator;
use crate::pg::{background, shared};

use super::stamp;

/// The engine clock.
#[pg_extern(volatile, parallel_safe)]
#[search_path(pg_catalog, pg_temp)]
fn ff_server_time() -> Option<TimestampWithTimeZone> {
    stamp(clock::now())
}

/// The engine clock in milliseconds since 1970.
#[pg_extern(volatile, parallel_safe)]
#[search_path(pg_catalog, pg_temp)]
fn ff_server_time_ms() -> i64 {
    clock::now().unix_ms()
}

/// The error taxonomy.
#[pg_extern(immutable, parallel_safe)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_error_codes() -> TableIterator<
    'static,
    (
        name!(sqlstate, &'static str),
        name!(kind, &'static str),
        name!(error_group, &'static str),
        name!(advice, &'static str),
        name!(summary, &'static str),
    ),
> {
    let row = |kind: &Kind| {
        (
            kind.sqlstate(),
            kind.name(),
            kind.group(),
            kind.advice(),
            kind.summary(),
        )
    };
    TableIterator::new(Kind::ALL.iter().map(row))
}

#[pg_schema]
mod ff_engine {
    use super::*;

    /// Whether the server preloaded the library.
    #[pg_extern(stable, parallel_safe)]
    pub fn preloaded() -> bool {
        shared::preloaded()
    }

    /// Whether a background worker of this database has been heard of lately.
    #[pg_extern(stable, parallel_safe)]
    pub fn worker_alive() -> bool {
        background::alive()
    }
}
