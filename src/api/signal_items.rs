//! The items of `ff_deliver_signals`: JSON objects with the argument names as keys (§20.11).

use std::str::FromStr;

use pgrx::datum::Interval;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::model::time::Instant;
use crate::pg::jsonb::Jsonb;

use super::create::iso_instant;
use super::create_items::{id, payload, text};
use super::micros;

/// Most items of one call.
const MAX_ITEMS: usize = 1_000;

const KEYS: [&str; 17] = [
    "waitpoint_id",
    "waitpoint_token",
    "signal_name",
    "payload_base64",
    "payload_text",
    "payload_json",
    "payload_encoding",
    "signal_category",
    "source_type",
    "source_identity",
    "correlation_id",
    "idempotency_key",
    "dedup_ttl",
    "target_scope",
    "occurred_at",
    "signal_id",
    "execution_id",
];

/// A parsed item; what is absent has its default.
#[derive(Default)]
#[allow(missing_docs)]
pub struct Item {
    pub waitpoint: Option<Uuid>,
    pub token: Option<String>,
    pub name: Option<String>,
    pub payload: Option<Vec<u8>>,
    pub encoding: Option<String>,
    pub category: Option<String>,
    pub source_type: Option<String>,
    pub source_identity: Option<String>,
    pub correlation_id: Option<String>,
    pub key: Option<String>,
    pub dedup_ttl: Option<i64>,
    pub scope: Option<String>,
    pub occurred_at: Option<Instant>,
    pub id: Option<Uuid>,
    pub execution: Option<Uuid>,
}

/// Reads all items, each on its own: one that cannot be read is rejected alone.
///
/// # Errors
/// `invalid_input` unless it is an array of at most 1000.
pub fn parse(items: &Jsonb) -> Result<Vec<Result<Item>>> {
    match items.parse() {
        Value::Array(items) if items.len() > MAX_ITEMS => {
            Err(Error::invalid_input("items", "too_many").with("max", MAX_ITEMS))
        }
        Value::Array(items) => Ok(items.iter().map(Item::parse).collect()),
        _ => Err(Error::invalid_input("items", "not_an_array")),
    }
}

impl Item {
    fn parse(item: &Value) -> Result<Item> {
        let Value::Object(map) = item else {
            return Err(Error::invalid_input("items", "not_an_object"));
        };
        if let Some(key) = map.keys().find(|k| !KEYS.contains(&k.as_str())) {
            return Err(Error::invalid_input("items", "unknown_key").with("key", key.as_str()));
        }
        let (payload, _) = payload(map)?;
        Ok(Item {
            waitpoint: id(map, "waitpoint_id")?,
            token: text(map, "waitpoint_token")?,
            name: text(map, "signal_name")?,
            payload,
            encoding: text(map, "payload_encoding")?,
            category: text(map, "signal_category")?,
            source_type: text(map, "source_type")?,
            source_identity: text(map, "source_identity")?,
            correlation_id: text(map, "correlation_id")?,
            key: text(map, "idempotency_key")?,
            dedup_ttl: dedup_ttl(map)?,
            scope: text(map, "target_scope")?,
            occurred_at: text(map, "occurred_at")?
                .map(|text| iso_instant(&text, "occurred_at"))
                .transpose()?,
            id: id(map, "signal_id")?,
            execution: id(map, "execution_id")?,
        })
    }
}

fn dedup_ttl(map: &Map<String, Value>) -> Result<Option<i64>> {
    let Some(text) = text(map, "dedup_ttl")? else {
        return Ok(None);
    };
    let interval = Interval::from_str(&text)
        .map_err(|_| Error::invalid_input("dedup_ttl", "not_an_interval"))?;
    micros(Some(interval), "dedup_ttl")
}
