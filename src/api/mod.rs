//! The SQL surface: one wrapper per function. Checks arguments, calls an operation, shapes rows, raises errors.
//!
//! Every argument is optional in Rust, so that no function is STRICT and a NULL gets the engine's own error.

use pgrx::datum::Interval;
use pgrx::datum::TimestampWithTimeZone;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::model::time::{Instant, MS};
use crate::pg::calls;
use crate::pg::jsonb::Jsonb;
use crate::pg::spi::Db;

pub mod attempt;
pub mod background;
pub mod budget;
pub mod check;
pub mod claim;
pub mod claim_row;
pub mod config;
pub mod create;
pub mod create_items;
pub mod dependency;
pub mod event;
pub mod flow;
pub mod flow_graph;
pub mod flow_operator;
pub mod grant;
pub mod id;
pub mod key;
pub mod lane;
pub mod lease;
pub mod operator;
pub mod quota;
pub mod reconcile;
pub mod role;
pub mod server;
pub mod service;
pub mod signal;
pub mod signal_items;
pub mod stats;
pub mod stream;
pub mod suspend;
pub mod wait;
pub mod words;
pub mod worker;

/// Runs an operation inside one SPI connection and raises its error after SPI has been left. The call is counted
/// under the name of the function that the operation stands in.
pub fn entry<T, F: FnOnce(&Db) -> Result<T>>(work: F) -> T {
    let call = calls::begin(caller(std::any::type_name::<F>()));
    match Db::with(work) {
        Ok(value) => {
            call.done();
            value
        }
        Err(error) => {
            drop(call);
            error.raise()
        }
    }
}

/// The function whose closure has this type, such as `ff_engine::api::claim::ff_claim::{{closure}}`.
fn caller(closure: &'static str) -> &'static str {
    let path = closure.trim_end_matches("::{{closure}}");
    path.rsplit("::").next().unwrap_or(path)
}

/// An argument that must not be NULL.
///
/// # Errors
/// `invalid_input`, rule `null`.
pub fn required<T>(value: Option<T>, argument: &str) -> Result<T> {
    value.ok_or_else(|| {
        Error::invalid_input(argument, "null").say(format!("{argument} must not be null"))
    })
}

/// A duration in microseconds (G10): months and infinity have no fixed length.
///
/// # Errors
/// `invalid_input`, rules `months`, `not_finite`.
pub fn micros(value: Option<Interval>, argument: &str) -> Result<Option<i64>> {
    let Some(interval) = value else {
        return Ok(None);
    };
    let (months, days, micros) = (interval.months(), interval.days(), interval.micros());
    if (months, days, micros) == (i32::MAX, i32::MAX, i64::MAX)
        || (months, days, micros) == (i32::MIN, i32::MIN, i64::MIN)
    {
        return Err(Error::invalid_input(argument, "not_finite"));
    }
    if months != 0 {
        return Err(Error::invalid_input(argument, "months").hint(
            "Give the duration in days, hours or smaller units; months have no fixed length.",
        ));
    }
    let total = i64::from(days)
        .checked_mul(86_400_000_000)
        .and_then(|d| d.checked_add(micros));
    total
        .map(Some)
        .ok_or_else(|| Error::invalid_input(argument, "out_of_range"))
}

/// A positive duration in whole milliseconds, at least one.
///
/// # Errors
/// `invalid_input`, rule `not_positive` and those of [`micros`].
pub fn positive_ms(value: Option<Interval>, argument: &str) -> Result<Option<i64>> {
    match micros(value, argument)? {
        Some(micros) if micros <= 0 => Err(Error::invalid_input(argument, "not_positive")),
        found => Ok(found.map(|micros| (micros / MS).max(1))),
    }
}

/// A wait in milliseconds; NULL and zero mean none.
///
/// # Errors
/// `invalid_input`, rule `negative` and those of [`micros`].
pub fn wait_ms(value: Option<Interval>, argument: &str) -> Result<i64> {
    match micros(value, argument)? {
        Some(micros) if micros < 0 => Err(Error::invalid_input(argument, "negative")),
        found => Ok(found.unwrap_or_default() / MS),
    }
}

/// An instant argument.
pub fn instant(value: Option<TimestampWithTimeZone>) -> Option<Instant> {
    value.map(|at| Instant(i64::from(at)))
}

/// An instant as a column.
pub fn stamp(at: Instant) -> Option<TimestampWithTimeZone> {
    TimestampWithTimeZone::try_from(at.0).ok()
}

/// A limit of items (G9): negative is refused, too much is lowered to the cap.
///
/// # Errors
/// `invalid_input`, rule `negative`.
pub fn limit(value: Option<i32>, argument: &str, cap: i32) -> Result<i64> {
    match required(value, argument)? {
        n if n < 0 => Err(Error::invalid_input(argument, "negative")),
        n => Ok(i64::from(n.min(cap))),
    }
}

/// A jsonb argument parsed, an object as default.
pub fn document(value: Option<Jsonb>) -> Value {
    value.map_or_else(
        || Value::Object(serde_json::Map::new()),
        |json| json.parse(),
    )
}

/// A jsonb argument that must be an object.
///
/// # Errors
/// `invalid_input`, rule `not_an_object`.
pub fn object(value: Option<Jsonb>, argument: &str) -> Result<serde_json::Map<String, Value>> {
    match document(value) {
        Value::Object(map) => Ok(map),
        _ => Err(Error::invalid_input(argument, "not_an_object")),
    }
}

/// A uuid as the server knows it.
pub fn uuid_out(id: uuid::Uuid) -> pgrx::Uuid {
    pgrx::Uuid::from_bytes(id.into_bytes())
}

/// A uuid as the engine knows it.
pub fn uuid_in(id: pgrx::Uuid) -> uuid::Uuid {
    uuid::Uuid::from_bytes(*id.as_bytes())
}

/// The elements of a bytea[] argument, each NULL or owned bytes.
pub fn bytes(array: pgrx::Array<&[u8]>) -> Vec<Option<Vec<u8>>> {
    array
        .iter()
        .map(|element| element.map(<[u8]>::to_vec))
        .collect()
}
