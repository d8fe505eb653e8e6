//! Lanes (§10.5).

use pgrx::datum::Interval;
use pgrx::prelude::*;

use crate::model::time::MS;
use crate::ops::lane;
use crate::pg::srf::TableIterator;

use super::{entry, micros, required};

/// Registers a lane, or changes its state and retention.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_set_lane(
    lane: Option<String>,
    state: default!(Option<String>, "'active'"),
    reason: default!(Option<String>, "NULL"),
    retention: default!(Option<Interval>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(lane, String),
        name!(state, String),
    ),
> {
    let row = entry(|db| {
        let name = required(lane, "lane")?;
        let state = required(state, "state")?;
        let retention = micros(retention, "retention")?.map(|us| if us < 0 { -1 } else { us / MS });
        let outcome = lane::set(db, &name, &state, reason.as_deref(), retention)?;
        Ok((outcome, name, state))
    });
    TableIterator::once(row)
}
