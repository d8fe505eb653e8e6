//! Creating executions (§10.6).

use pgrx::datum::TimestampWithTimeZone;
use pgrx::datum::{Interval, Uuid};
use pgrx::prelude::*;
use serde_json::{Map, Value};

use crate::error::{Error, Kind, Result};
use crate::model::time::{Instant, MS};
use crate::ops::execution::create::{self, Created, Request};
use crate::pg::jsonb::Jsonb;
use crate::pg::srf::TableIterator;

use super::claim::elements;
use super::create_items::Item;
use super::lease::within_batch;
use super::{
    bytes, document, entry, instant, micros, object, positive_ms, required, uuid_in, uuid_out,
};

/// A retention argument in milliseconds; negative means for ever.
fn retention_ms(value: Option<Interval>) -> Result<Option<i64>> {
    Ok(micros(value, "retention")?.map(|us| if us < 0 { -1 } else { us / MS }))
}

/// Creates one execution.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[allow(clippy::too_many_arguments, clippy::type_complexity)]
fn ff_create_execution(
    lane: Option<String>,
    kind: Option<String>,
    payload: default!(Option<&[u8]>, "NULL"),
    payload_encoding: default!(Option<String>, "NULL"),
    namespace: default!(Option<String>, "'default'"),
    priority: default!(Option<i32>, "NULL"),
    tags: default!(Option<Jsonb>, "'{}'"),
    policy: default!(Option<Jsonb>, "'{}'"),
    delay_until: default!(Option<TimestampWithTimeZone>, "NULL"),
    execution_deadline: default!(Option<TimestampWithTimeZone>, "NULL"),
    idempotency_key: default!(Option<String>, "NULL"),
    dedup_window: default!(Option<Interval>, "NULL"),
    retention: default!(Option<Interval>, "NULL"),
    execution_id: default!(Option<Uuid>, "NULL"),
    flow_id: default!(Option<Uuid>, "NULL"),
    creator: default!(Option<String>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(execution_id, Uuid),
        name!(public_state, Option<String>),
        name!(partition_key, i16),
        name!(request_matches, Option<bool>),
    ),
> {
    let created = entry(|db| {
        let tags = object(tags, "tags")?;
        let policy = document(policy);
        let request = Request {
            lane: &required(lane, "lane")?,
            kind: &required(kind, "kind")?,
            payload,
            encoding: payload_encoding.as_deref(),
            namespace: &required(namespace, "namespace")?,
            priority: priority.map(i64::from),
            tags: &tags,
            policy: &policy,
            delay_until: instant(delay_until),
            deadline: instant(execution_deadline),
            key: idempotency_key.as_deref(),
            dedup_window_ms: positive_ms(dedup_window, "dedup_window")?,
            retention_ms: retention_ms(retention)?,
            id: execution_id.map(uuid_in),
            flow: flow_id.map(uuid_in),
            creator: creator.as_deref(),
        };
        create::create(db, &[request], false)
    });
    TableIterator::new(created.into_iter().map(|c| {
        (
            c.outcome,
            uuid_out(c.id),
            c.public_state,
            c.partition,
            c.request_matches,
        )
    }))
}

type BatchRow = (i32, &'static str, Uuid, Option<String>, i16, Option<bool>);

fn batch_row((i, c): (usize, Created)) -> BatchRow {
    (
        i as i32,
        c.outcome,
        uuid_out(c.id),
        c.public_state,
        c.partition,
        c.request_matches,
    )
}

/// Creates executions from a JSON array of objects whose keys are the argument names of `ff_create_execution`.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[allow(clippy::type_complexity)]
fn ff_create_executions(
    items: Option<Jsonb>,
) -> TableIterator<
    'static,
    (
        name!(ordinal, i32),
        name!(outcome, &'static str),
        name!(execution_id, Uuid),
        name!(public_state, Option<String>),
        name!(partition_key, i16),
        name!(request_matches, Option<bool>),
    ),
> {
    let created = entry(|db| {
        let Value::Array(items) = required(items, "items")?.parse() else {
            return Err(Error::invalid_input("items", "not_an_array"));
        };
        within_batch(items.len(), "items")?;
        let items: Vec<Item> = items
            .iter()
            .enumerate()
            .map(|(i, item)| Item::parse(item).map_err(|e| e.item(i)))
            .collect::<Result<_>>()?;
        let requests: Vec<Request> = items.iter().map(Item::request).collect();
        create::create(db, &requests, true)
    });
    TableIterator::new(created.into_iter().enumerate().map(batch_row))
}

/// Creates one execution per payload.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[allow(clippy::too_many_arguments, clippy::type_complexity)]
fn ff_create_many(
    lane: Option<String>,
    kind: Option<String>,
    payloads: Option<Array<&[u8]>>,
    payload_encoding: default!(Option<String>, "NULL"),
    namespace: default!(Option<String>, "'default'"),
    priority: default!(Option<i32>, "NULL"),
    tags: default!(Option<Jsonb>, "'{}'"),
    policy: default!(Option<Jsonb>, "'{}'"),
    delay_until: default!(Option<TimestampWithTimeZone>, "NULL"),
    idempotency_keys: default!(Option<Vec<Option<String>>>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(ordinal, i32),
        name!(outcome, &'static str),
        name!(execution_id, Uuid),
        name!(public_state, Option<String>),
        name!(partition_key, i16),
        name!(request_matches, Option<bool>),
    ),
> {
    let created = entry(|db| {
        let payloads = bytes(required(payloads, "payloads")?);
        within_batch(payloads.len(), "payloads")?;
        let keys = idempotency_keys
            .map(|keys| elements(Some(keys), "idempotency_keys"))
            .transpose()?;
        if keys
            .as_ref()
            .is_some_and(|keys| keys.len() != payloads.len())
        {
            return Err(Error::invalid_input("idempotency_keys", "length_differs"));
        }
        let lane = required(lane, "lane")?;
        let kind = required(kind, "kind")?;
        let namespace = required(namespace, "namespace")?;
        let tags: Map<String, Value> = object(tags, "tags")?;
        let policy = document(policy);
        let requests: Vec<Request> = payloads
            .iter()
            .enumerate()
            .map(|(i, payload)| Request {
                lane: &lane,
                kind: &kind,
                payload: payload.as_deref(),
                encoding: payload_encoding.as_deref(),
                namespace: &namespace,
                priority: priority.map(i64::from),
                tags: &tags,
                policy: &policy,
                delay_until: instant(delay_until),
                deadline: None,
                key: keys.as_ref().and_then(|k| k.get(i)).map(String::as_str),
                dedup_window_ms: None,
                retention_ms: None,
                id: None,
                flow: None,
                creator: None,
            })
            .collect();
        create::create(db, &requests, true)
    });
    TableIterator::new(created.into_iter().enumerate().map(batch_row))
}

/// Instants in JSON are ISO-8601 text, read by the server's own parser.
pub fn iso_instant(text: &str, key: &str) -> Result<Instant> {
    crate::pg::session::parse_timestamp(text)
        .map(Instant)
        .ok_or_else(|| {
            Error::new(Kind::InvalidInput)
                .with("argument", key)
                .with("rule", "not_an_instant")
        })
}
