//! The settings as one table (§70.4).

use pgrx::prelude::*;

use crate::guc::{EMIT_LEASE_RENEWED, INTS, Unit};
use crate::pg::srf::TableIterator;

type Row = (String, String, String, Option<&'static str>, i32, String);

/// Every setting with its value in this session.
#[pg_extern(stable, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_config() -> TableIterator<
    'static,
    (
        name!(name, String),
        name!(value, String),
        name!(default_value, String),
        name!(unit, Option<&'static str>),
        name!(chapter, i32),
        name!(description, String),
    ),
> {
    let word = |on: bool| if on { "on" } else { "off" }.to_owned();
    let ints = INTS.iter().map(|s| -> Row {
        let unit = match s.unit {
            Unit::None => None,
            Unit::Ms => Some("ms"),
            Unit::S => Some("s"),
            Unit::B => Some("B"),
        };
        (
            s.name.to_string_lossy().into_owned(),
            s.value.get().to_string(),
            s.default.to_string(),
            unit,
            s.chapter,
            s.meaning.to_string_lossy().into_owned(),
        )
    });
    let renewals: Row = (
        "ff_engine.emit_lease_renewed".to_owned(),
        word(EMIT_LEASE_RENEWED.get()),
        word(true),
        None,
        10,
        "Whether renewals append a lease event.".to_owned(),
    );
    let mut rows: Vec<Row> = ints.chain([renewals]).collect();
    rows.sort();
    TableIterator::new(rows)
}
