//! The row of a claim, shared by every function that hands out work.

use pgrx::datum::TimestampWithTimeZone;
use pgrx::datum::Uuid;

use crate::ops::claim::row::Claimed;
use crate::pg::jsonb::Jsonb;

use super::{stamp, uuid_out};

/// Columns of §10.11, in order.
pub type Row = (
    Option<Uuid>,
    Option<String>,
    Option<&'static str>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<Vec<u8>>,
    Option<String>,
    Option<Jsonb>,
    Option<Jsonb>,
    Option<Uuid>,
    Option<i16>,
    Option<i32>,
    Option<i32>,
    Option<Uuid>,
    Option<&'static str>,
    Option<i32>,
    Option<String>,
    Option<Uuid>,
    Option<i64>,
    Option<TimestampWithTimeZone>,
    Option<TimestampWithTimeZone>,
    Option<TimestampWithTimeZone>,
    Option<TimestampWithTimeZone>,
    Option<i32>,
    Option<i32>,
    Option<i32>,
    Option<TimestampWithTimeZone>,
);

/// Declares a function that returns claim rows, with further columns before them if given.
macro_rules! claims {
    ($volatility:ident $(#[$meta:meta])* fn $name:ident($($args:tt)*) -> [$($before:tt)*] $body:block) => {
        $(#[$meta])*
        #[pgrx::pg_extern($volatility, parallel_unsafe, security_definer)]
        #[allow(clippy::too_many_arguments, clippy::type_complexity)]
        fn $name($($args)*) -> TableIterator<'static, (
            $($before)*
            name!(execution_id, Option<Uuid>),
            name!(handle, Option<String>),
            name!(handle_kind, Option<&'static str>),
            name!(namespace, Option<String>),
            name!(lane, Option<String>),
            name!(kind, Option<String>),
            name!(payload, Option<Vec<u8>>),
            name!(payload_encoding, Option<String>),
            name!(tags, Option<Jsonb>),
            name!(policy, Option<Jsonb>),
            name!(flow_id, Option<Uuid>),
            name!(partition_key, Option<i16>),
            name!(priority, Option<i32>),
            name!(attempt_index, Option<i32>),
            name!(attempt_id, Option<Uuid>),
            name!(attempt_type, Option<&'static str>),
            name!(previous_attempt_index, Option<i32>),
            name!(previous_failure, Option<String>),
            name!(lease_id, Option<Uuid>),
            name!(lease_epoch, Option<i64>),
            name!(lease_expires_at, Option<TimestampWithTimeZone>),
            name!(renew_before, Option<TimestampWithTimeZone>),
            name!(attempt_deadline, Option<TimestampWithTimeZone>),
            name!(execution_deadline, Option<TimestampWithTimeZone>),
            name!(retry_count, Option<i32>),
            name!(reclaim_count, Option<i32>),
            name!(total_attempt_count, Option<i32>),
            name!(created_at, Option<TimestampWithTimeZone>),
        )> $body
    };
}
pub(super) use claims;

/// Puts columns before those of a row.
macro_rules! prepend {
    ($row:expr; $($before:expr),*) => {{
        let (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x, y, z, aa, bb) = $row;
        ($($before,)* a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x, y, z, aa, bb)
    }};
}
pub(super) use prepend;

/// A row of NULLs, where there is no claim.
pub const NONE: Row = (
    None, None, None, None, None, None, None, None, None, None, None, None, None, None, None, None,
    None, None, None, None, None, None, None, None, None, None, None, None,
);

/// A row that tells nothing but how often an execution has been reclaimed.
pub fn reclaimed(count: i32) -> Row {
    let mut row = NONE;
    row.25 = Some(count);
    row
}

/// The row of a handed-out execution.
pub fn row(claimed: Claimed) -> Row {
    let renew_before = claimed.renew_before();
    let tags = claimed.tags().map_or_else(empty, Jsonb::from);
    let Claimed {
        execution: e,
        handle,
        kind,
        input,
        previous_failure,
    } = claimed;
    let attempt = e.attempt.as_ref();
    let index = e.attempt_index();
    (
        Some(uuid_out(e.place.id)),
        Some(handle),
        Some(kind.word()),
        Some(input.namespace),
        Some(input.lane),
        Some(input.kind),
        input.payload,
        input.encoding,
        Some(tags),
        Some(input.policy.unwrap_or_else(empty)),
        e.place.flow.map(uuid_out),
        Some(e.place.partition),
        Some(i32::from(e.priority)),
        index,
        attempt.map(|a| uuid_out(a.id)),
        attempt.map(|a| a.kind.word()),
        attempt.and_then(|a| a.previous_index),
        previous_failure,
        e.lease.id.map(uuid_out),
        Some(e.lease.epoch),
        e.lease.expires_at.and_then(stamp),
        renew_before.and_then(stamp),
        e.attempt_deadline.and_then(stamp),
        e.deadline.and_then(stamp),
        Some(e.retries),
        Some(e.reclaims),
        Some(e.total_attempts),
        stamp(e.place.created_at),
    )
}

fn empty() -> Jsonb {
    thread_local! {
        static EMPTY: Jsonb = Jsonb::from_text("{}");
    }
    EMPTY.with(Jsonb::clone)
}
