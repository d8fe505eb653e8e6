//! The ring of signing keys (§20.10), and tokens as they may be shown (§20.9).

use pgrx::datum::{Interval, TimestampWithTimeZone};
use pgrx::prelude::*;

use crate::model::token;
use crate::ops::suspension::key;
use crate::pg::srf::TableIterator;

use super::{entry, micros, required, stamp};

/// Installs the first signing key; harmless at every start of a deployment.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_seed_waitpoint_secret(
    kid: Option<String>,
    secret: default!(Option<&[u8]>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(kid, String),
        name!(same_secret, Option<bool>),
    ),
> {
    let row = entry(|db| {
        let kid = required(kid, "kid")?;
        let (installed, same) = key::seed(db, &kid, secret)?;
        let outcome = if installed {
            "seeded"
        } else {
            "already_seeded"
        };
        Ok((outcome, kid, same))
    });
    TableIterator::once(row)
}

/// Makes a new signing key current.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_rotate_waitpoint_secret(
    new_kid: Option<String>,
    new_secret: default!(Option<&[u8]>, "NULL"),
    grace: default!(Option<Interval>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(previous_kid, Option<String>),
        name!(new_kid, String),
        name!(previous_expires_at, Option<TimestampWithTimeZone>),
        name!(removed_kids, i32),
    ),
> {
    let row = entry(|db| {
        let kid = required(new_kid, "new_kid")?;
        let done = key::rotate(db, &kid, new_secret, micros(grace, "grace")?)?;
        Ok((
            done.outcome,
            done.previous,
            kid,
            done.expires_at.and_then(stamp),
            done.removed as i32,
        ))
    });
    TableIterator::once(row)
}

/// Ends a retired signing key at once.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_revoke_waitpoint_kid(
    kid: Option<String>,
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(kid, String),
        name!(open_waitpoints, i32),
    ),
> {
    let row = entry(|db| {
        let kid = required(kid, "kid")?;
        let open = key::revoke(db, &kid)?;
        let outcome = if open.is_some() { "revoked" } else { "unknown" };
        Ok((outcome, kid, open.unwrap_or_default() as i32))
    });
    TableIterator::once(row)
}

/// A token as it may be shown.
#[pg_extern(immutable, parallel_safe)]
fn ff_redact_token(token: Option<String>) -> Option<String> {
    token.map(|text| token::redact(&text))
}

/// What tells tokens apart without giving anything of them away.
#[pg_extern(immutable, parallel_safe)]
fn ff_token_fingerprint(token: Option<String>) -> Option<String> {
    token.map(|text| token::fingerprint(&text))
}
