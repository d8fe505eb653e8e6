//! Delivering signals (§20.11, §20.12) and showing a token to a trusted bridge (§20.13).

use pgrx::datum::{Interval, TimestampWithTimeZone, Uuid};
use pgrx::prelude::*;

use crate::error::{Error, Result};
use crate::ops::suspension::batch::{self, Approval, Signed};
use crate::ops::suspension::deliver::{Delivered, Delivery};
use crate::ops::suspension::token;
use crate::pg::jsonb::Jsonb;
use crate::pg::srf::TableIterator;
use crate::store::signal::Sent;

use super::signal_items::{self, Item};
use super::{entry, instant, micros, required, stamp, uuid_in, uuid_out};

type Row = (
    &'static str,
    Uuid,
    &'static str,
    bool,
    Uuid,
    &'static str,
    Option<TimestampWithTimeZone>,
);

fn row(d: Delivered) -> Row {
    (
        d.outcome,
        uuid_out(d.id),
        d.effect.word(),
        d.resumed,
        uuid_out(d.execution),
        d.public_state,
        stamp(d.accepted_at),
    )
}

/// Delivers a signal to a waitpoint with its token.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[allow(clippy::too_many_arguments, clippy::type_complexity)]
fn ff_deliver_signal(
    waitpoint_id: Option<Uuid>,
    waitpoint_token: Option<String>,
    signal_name: Option<String>,
    payload: default!(Option<&[u8]>, "NULL"),
    payload_encoding: default!(Option<String>, "'json'"),
    signal_category: default!(Option<String>, "'external'"),
    source_type: default!(Option<String>, "'external'"),
    source_identity: default!(Option<String>, "''"),
    correlation_id: default!(Option<String>, "NULL"),
    idempotency_key: default!(Option<String>, "NULL"),
    dedup_ttl: default!(Option<Interval>, "NULL"),
    target_scope: default!(Option<String>, "'waitpoint'"),
    occurred_at: default!(Option<TimestampWithTimeZone>, "NULL"),
    signal_id: default!(Option<Uuid>, "NULL"),
    execution_id: default!(Option<Uuid>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(signal_id, Uuid),
        name!(effect, &'static str),
        name!(resumed, bool),
        name!(execution_id, Uuid),
        name!(public_state, &'static str),
        name!(accepted_at, Option<TimestampWithTimeZone>),
    ),
> {
    let delivered = entry(|db| {
        let delivery = Delivery {
            waitpoint: uuid_in(required(waitpoint_id, "waitpoint_id")?),
            sent: Sent {
                name: &required(signal_name, "signal_name")?,
                category: &required(signal_category, "signal_category")?,
                source_type: &required(source_type, "source_type")?,
                source_identity: &required(source_identity, "source_identity")?,
                correlation_id: correlation_id.as_deref(),
                key: idempotency_key.as_deref(),
                scope: &required(target_scope, "target_scope")?,
                payload,
                encoding: &required(payload_encoding, "payload_encoding")?,
                occurred_at: instant(occurred_at),
            },
            dedup_ttl: micros(dedup_ttl, "dedup_ttl")?,
            id: signal_id.map(uuid_in),
        };
        let item = Signed {
            delivery,
            token: waitpoint_token.as_deref(),
            execution: execution_id.map(uuid_in),
        };
        one(batch::deliver(db, vec![Ok(item)]))
    });
    TableIterator::once(row(delivered))
}

fn one(mut answers: Vec<Result<Delivered>>) -> Result<Delivered> {
    answers
        .pop()
        .unwrap_or_else(|| Err(Error::invalid_input("waitpoint_id", "null")))
}

/// Delivers a batch of signals, each on its own.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_deliver_signals(
    items: Option<Jsonb>,
) -> TableIterator<
    'static,
    (
        name!(ordinal, i32),
        name!(outcome, &'static str),
        name!(signal_id, Option<Uuid>),
        name!(effect, Option<&'static str>),
        name!(resumed, Option<bool>),
        name!(execution_id, Option<Uuid>),
        name!(public_state, Option<&'static str>),
        name!(accepted_at, Option<TimestampWithTimeZone>),
        name!(error_code, Option<&'static str>),
    ),
> {
    let answers = entry(|db| {
        let items = signal_items::parse(&required(items, "items")?)?;
        let mut parsed = Vec::with_capacity(items.len());
        let mut failed = Vec::new();
        for (i, item) in items.into_iter().enumerate() {
            match item {
                Ok(item) => parsed.push(item),
                Err(error) => failed.push((i, error)),
            }
        }
        let mut signed: Vec<Result<Signed>> = parsed.iter().map(Item::signed).collect();
        for (i, error) in failed {
            signed.insert(i, Err(error));
        }
        Ok(batch::deliver(db, signed))
    });
    TableIterator::new(answers.into_iter().enumerate().map(|(i, answer)| {
        let i = i as i32;
        match answer.map(row) {
            Ok((outcome, id, effect, resumed, execution, state, at)) => (
                i,
                outcome,
                Some(id),
                Some(effect),
                Some(resumed),
                Some(execution),
                Some(state),
                at,
                None,
            ),
            Err(e) => (
                i,
                "rejected",
                None,
                None,
                None,
                None,
                None,
                None,
                Some(e.kind().sqlstate()),
            ),
        }
    }))
}

/// Delivers an operator's approval, which needs no token.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::too_many_arguments, clippy::type_complexity)]
fn ff_deliver_approval_signal(
    execution_id: Option<Uuid>,
    waitpoint_id: Option<Uuid>,
    signal_name: Option<String>,
    idempotency_suffix: Option<String>,
    lane: default!(Option<String>, "NULL"),
    dedup_ttl: default!(Option<Interval>, "NULL"),
    source_identity: default!(Option<String>, "''"),
    payload: default!(Option<&[u8]>, "NULL"),
    payload_encoding: default!(Option<String>, "'json'"),
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(signal_id, Uuid),
        name!(effect, &'static str),
        name!(resumed, bool),
        name!(execution_id, Uuid),
        name!(public_state, &'static str),
        name!(accepted_at, Option<TimestampWithTimeZone>),
    ),
> {
    let delivered = entry(|db| {
        let name = required(signal_name, "signal_name")?;
        let suffix = required(idempotency_suffix, "idempotency_suffix")?;
        let key = format!("approval:{name}:{suffix}");
        let approval = Approval {
            execution: uuid_in(required(execution_id, "execution_id")?),
            lane: lane.as_deref(),
            delivery: Delivery {
                waitpoint: uuid_in(required(waitpoint_id, "waitpoint_id")?),
                sent: Sent {
                    name: &name,
                    category: "approval",
                    source_type: "operator",
                    source_identity: &required(source_identity, "source_identity")?,
                    correlation_id: None,
                    key: Some(&key),
                    scope: "execution",
                    payload,
                    encoding: &required(payload_encoding, "payload_encoding")?,
                    occurred_at: None,
                },
                dedup_ttl: micros(dedup_ttl, "dedup_ttl")?,
                id: None,
            },
        };
        batch::approve(db, &approval)
    });
    TableIterator::once(row(delivered))
}

/// The token of an open waitpoint; every call is written to the server log, without the token.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ff_read_waitpoint_token(waitpoint_id: Option<Uuid>) -> Option<String> {
    entry(|db| {
        let id = uuid_in(required(waitpoint_id, "waitpoint_id")?);
        Ok(token::show(db, id))
    })
}

impl Item {
    /// As a delivery.
    fn signed(&self) -> Result<Signed<'_>> {
        Ok(Signed {
            delivery: Delivery {
                waitpoint: required(self.waitpoint, "waitpoint_id")?,
                sent: Sent {
                    name: required(self.name.as_deref(), "signal_name")?,
                    category: self.category.as_deref().unwrap_or("external"),
                    source_type: self.source_type.as_deref().unwrap_or("external"),
                    source_identity: self.source_identity.as_deref().unwrap_or_default(),
                    correlation_id: self.correlation_id.as_deref(),
                    key: self.key.as_deref(),
                    scope: self.scope.as_deref().unwrap_or("waitpoint"),
                    payload: self.payload.as_deref(),
                    encoding: self.encoding.as_deref().unwrap_or("json"),
                    occurred_at: self.occurred_at,
                },
                dedup_ttl: self.dedup_ttl,
                id: self.id,
            },
            token: self.token.as_deref(),
            execution: self.execution,
        })
    }
}
