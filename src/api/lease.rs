//! Renewing leases (§10.14.1).

use pgrx::datum::Interval;
use pgrx::datum::TimestampWithTimeZone;
use pgrx::prelude::*;

use crate::error::{Error, Result};
use crate::guc;
use crate::ops::claim::next::lease_ttl;
use crate::ops::claim::row::renew_before;
use crate::ops::lease::renew::{self, Renewed};
use crate::pg::srf::TableIterator;

use super::{entry, positive_ms, required, stamp, uuid_out};

pub fn ttl(value: Option<Interval>) -> Result<Option<i32>> {
    positive_ms(value, "lease_ttl")?
        .map(|ms| lease_ttl(Some(ms)))
        .transpose()
}

type Row = (
    Option<TimestampWithTimeZone>,
    i64,
    Option<TimestampWithTimeZone>,
);

/// The row of a renewal.
pub fn row(r: Renewed) -> Row {
    let before = renew_before(r.expires_at, r.ttl_ms);
    (stamp(r.expires_at), r.epoch, stamp(before))
}

/// Extends the lease of a handle from now on.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[allow(clippy::type_complexity)]
fn ff_renew(
    handle: Option<String>,
    lease_ttl: default!(Option<Interval>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(lease_expires_at, Option<TimestampWithTimeZone>),
        name!(lease_epoch, i64),
        name!(renew_before, Option<TimestampWithTimeZone>),
    ),
> {
    let renewed = entry(|db| {
        let handle = required(handle, "handle")?;
        let mut answers = renew::renew(db, &[Some(handle)], ttl(lease_ttl)?);
        answers
            .pop()
            .unwrap_or_else(|| Err(Error::invalid_input("handle", "null")))
    });
    TableIterator::once(row(renewed))
}

/// Extends all leases of a worker; one that does not hold is reported, not raised.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[allow(clippy::type_complexity)]
fn ff_renew_many(
    handles: Option<Vec<Option<String>>>,
    lease_ttl: default!(Option<Interval>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(ordinal, i32),
        name!(outcome, &'static str),
        name!(execution_id, Option<pgrx::Uuid>),
        name!(lease_expires_at, Option<TimestampWithTimeZone>),
        name!(error_code, Option<&'static str>),
    ),
> {
    let answers = entry(|db| {
        let handles = required(handles, "handles")?;
        within_batch(handles.len(), "handles")?;
        Ok(renew::renew(db, &handles, ttl(lease_ttl)?))
    });
    TableIterator::new(
        answers
            .into_iter()
            .enumerate()
            .map(|(i, answer)| match answer {
                Ok(r) => (
                    i as i32,
                    "renewed",
                    Some(uuid_out(r.id)),
                    stamp(r.expires_at),
                    None,
                ),
                Err(e) => (i as i32, "rejected", None, None, Some(e.kind().sqlstate())),
            }),
    )
}

/// A batch no longer than `max_claim_items`.
///
/// # Errors
/// `invalid_input`, rule `too_many`.
pub fn within_batch(items: usize, argument: &str) -> Result<()> {
    let limit = guc::MAX_CLAIM_ITEMS.value.get();
    if items as i64 > i64::from(limit) {
        return Err(Error::invalid_input(argument, "too_many")
            .with("items", items)
            .with("limit", limit));
    }
    Ok(())
}
