//! Output streams: appending, reading, tailing (§30.3–§30.7).

use pgrx::datum::{Interval, TimestampWithTimeZone, Uuid};
use pgrx::prelude::*;

use crate::error::{Error, Kind, Result};
use crate::guc;
use crate::model::stream::position::{self, FrameId};
use crate::model::stream::window::{self, Terms};
use crate::model::text;
use crate::model::words::FrameMode;
use crate::ops::stream::append::{self, Appended, Request};
use crate::ops::stream::read::{self, Asked, Page};
use crate::ops::stream::{summary, tail};
use crate::pg::jsonb::Jsonb;
use crate::pg::srf::TableIterator;

use super::{bytes, entry, micros, required, stamp, uuid_in, wait_ms};

/// Most frames of one append, and most of one read.
const MAX_BATCH: usize = 1_000;
const MAX_PAGE: i32 = 10_000;
/// The only kind of patch there is.
const PATCH_KIND: &str = "json_merge_patch";

/// What the two appending functions share, beside handle and frames.
struct Options {
    mode: Option<String>,
    encoding: Option<String>,
    correlation_id: Option<String>,
    source: Option<String>,
    retention_maxlen: Option<i32>,
    patch_kind: Option<String>,
    ttl: Option<Interval>,
    maxlen_floor: Option<i32>,
    maxlen_ceiling: Option<i32>,
    ema_alpha: Option<f64>,
}

impl Options {
    /// Checks them and appends.
    fn append(
        self,
        db: &crate::pg::spi::Db,
        handle: Option<String>,
        frames: &[(&str, &[u8])],
    ) -> Result<Appended> {
        let handle = required(handle, "handle")?;
        let mode = FrameMode::from_word(&required(self.mode, "mode")?)
            .ok_or_else(|| Error::invalid_input("mode", "unknown_word"))?;
        if required(self.patch_kind, "patch_kind")? != PATCH_KIND {
            return Err(Error::invalid_input("patch_kind", "unknown_word"));
        }
        let encoding = label(self.encoding, "encoding")?;
        let source = label(self.source, "source")?;
        if self
            .correlation_id
            .as_ref()
            .is_some_and(|id| id.len() > 256)
        {
            return Err(Error::invalid_input("correlation_id", "too_long"));
        }
        if self.retention_maxlen.is_some_and(|n| n < 1) {
            return Err(Error::invalid_input("retention_maxlen", "out_of_range"));
        }
        let floor = required(self.maxlen_floor, "maxlen_floor")?;
        let ceiling = required(self.maxlen_ceiling, "maxlen_ceiling")?;
        let alpha = required(self.ema_alpha, "ema_alpha")?;
        window::check(floor, ceiling, alpha)?;
        let ttl = micros(self.ttl, "ttl")?;
        let terms = match (mode, ttl) {
            (FrameMode::BestEffort, Some(ttl)) => Some(Terms {
                ttl_ms: window::ttl_ms(ttl)?,
                floor,
                ceiling,
                alpha,
            }),
            (FrameMode::BestEffort, None) => return Err(Error::invalid_input("ttl", "required")),
            (_, Some(_)) => return Err(Error::invalid_input("ttl", "only_best_effort")),
            (_, None) => None,
        };
        let request = Request {
            handle: &handle,
            frames,
            mode,
            terms,
            encoding: &encoding,
            source: &source,
            correlation: self.correlation_id.as_deref(),
            maxlen: self.retention_maxlen,
        };
        append::append(db, &request)
    }
}

/// `encoding` and `source`: 1–32 bytes.
fn label(value: Option<String>, argument: &str) -> Result<String> {
    let value = required(value, argument)?;
    if value.is_empty() || value.len() > 32 {
        let rule = if value.is_empty() {
            "empty"
        } else {
            "too_long"
        };
        return Err(Error::invalid_input(argument, rule));
    }
    Ok(value)
}

/// Checks one frame: its type and the size of its payload.
fn frame<'a>(frame_type: &'a str, payload: &'a [u8]) -> Result<(&'a str, &'a [u8])> {
    let proper = (1..=64).contains(&frame_type.len()) && !frame_type.chars().any(char::is_control);
    if !proper {
        return Err(Error::new(Kind::InvalidFrameType).with("frame_type", text::cut(frame_type)));
    }
    let limit = guc::MAX_FRAME_BYTES.value.get().unsigned_abs() as usize;
    if payload.len() > limit {
        return Err(Error::new(Kind::RetentionLimitExceeded)
            .with("bytes", payload.len())
            .with("limit", limit));
    }
    Ok((frame_type, payload))
}

/// Appends one frame to the stream of an attempt.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[allow(clippy::too_many_arguments, clippy::type_complexity)]
fn ff_append_frame(
    handle: Option<String>,
    payload: Option<&[u8]>,
    frame_type: default!(Option<String>, "'event'"),
    mode: default!(Option<String>, "'durable'"),
    encoding: default!(Option<String>, "'utf8'"),
    correlation_id: default!(Option<String>, "NULL"),
    source: default!(Option<String>, "'worker'"),
    retention_maxlen: default!(Option<i32>, "NULL"),
    patch_kind: default!(Option<String>, "'json_merge_patch'"),
    ttl: default!(Option<Interval>, "NULL"),
    maxlen_floor: default!(Option<i32>, 64),
    maxlen_ceiling: default!(Option<i32>, 16384),
    ema_alpha: default!(Option<f64>, 0.2),
) -> TableIterator<
    'static,
    (
        name!(frame_id, Option<String>),
        name!(frame_count, i64),
        name!(summary_version, Option<i64>),
    ),
> {
    let options = Options {
        mode,
        encoding,
        correlation_id,
        source,
        retention_maxlen,
        patch_kind,
        ttl,
        maxlen_floor,
        maxlen_ceiling,
        ema_alpha,
    };
    let a = entry(|db| {
        let payload = required(payload, "payload")?;
        let frame_type = required(frame_type, "frame_type")?;
        options.append(db, handle, &[frame(&frame_type, payload)?])
    });
    let id = a.ids.map(|(id, _)| id.to_string());
    TableIterator::once((id, a.count, a.version))
}

/// Appends several frames of one mode, all or none.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[allow(clippy::too_many_arguments, clippy::type_complexity)]
fn ff_append_frames(
    handle: Option<String>,
    payloads: Option<Array<&[u8]>>,
    frame_types: default!(Option<Vec<Option<String>>>, "NULL"),
    mode: default!(Option<String>, "'durable'"),
    encoding: default!(Option<String>, "'utf8'"),
    correlation_id: default!(Option<String>, "NULL"),
    source: default!(Option<String>, "'worker'"),
    retention_maxlen: default!(Option<i32>, "NULL"),
    patch_kind: default!(Option<String>, "'json_merge_patch'"),
    ttl: default!(Option<Interval>, "NULL"),
    maxlen_floor: default!(Option<i32>, 64),
    maxlen_ceiling: default!(Option<i32>, 16384),
    ema_alpha: default!(Option<f64>, 0.2),
) -> TableIterator<
    'static,
    (
        name!(first_frame_id, Option<String>),
        name!(last_frame_id, Option<String>),
        name!(frame_count, i64),
        name!(summary_version, Option<i64>),
    ),
> {
    let payloads = payloads.map(bytes);
    let options = Options {
        mode,
        encoding,
        correlation_id,
        source,
        retention_maxlen,
        patch_kind,
        ttl,
        maxlen_floor,
        maxlen_ceiling,
        ema_alpha,
    };
    let a = entry(|db| {
        let payloads = required(payloads, "payloads")?;
        let frames = frames(&payloads, frame_types.as_deref())?;
        options.append(db, handle, &frames)
    });
    let (first, last) = a.ids.unzip();
    TableIterator::once((
        first.map(|id| id.to_string()),
        last.map(|id| id.to_string()),
        a.count,
        a.version,
    ))
}

/// The frames of a batch; an error names the item.
fn frames<'a>(
    payloads: &'a [Option<Vec<u8>>],
    types: Option<&'a [Option<String>]>,
) -> Result<Vec<(&'a str, &'a [u8])>> {
    if payloads.len() > MAX_BATCH {
        return Err(Error::invalid_input("payloads", "too_many")
            .with("items", payloads.len())
            .with("limit", MAX_BATCH));
    }
    if types.is_some_and(|types| types.len() != payloads.len()) {
        return Err(Error::invalid_input("frame_types", "length_differs"));
    }
    let one = |(i, payload): (usize, &'a Option<Vec<u8>>)| {
        let given = types.and_then(|types| types.get(i));
        let frame_type = match given {
            None => Ok("event"),
            Some(given) => required(given.as_deref(), "frame_types"),
        };
        let payload = required(payload.as_deref(), "payloads");
        frame_type
            .and_then(|frame_type| frame(frame_type, payload?))
            .map_err(|e| e.item(i))
    };
    payloads.iter().enumerate().map(one).collect()
}

/// The summary document of an attempt's stream.
#[pg_extern(stable, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_read_summary(
    execution_id: Option<Uuid>,
    attempt_index: default!(Option<i32>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(document, Jsonb),
        name!(version, i64),
        name!(patch_kind, &'static str),
        name!(first_applied_at, Option<TimestampWithTimeZone>),
        name!(last_updated_at, Option<TimestampWithTimeZone>),
        name!(attempt_index, i32),
    ),
> {
    let found = entry(|db| {
        let execution = uuid_in(required(execution_id, "execution_id")?);
        Ok(summary::read(db, execution, attempt_index))
    });
    TableIterator::new(found.map(|(s, attempt)| {
        let (first, last) = (stamp(s.first_at), stamp(s.last_at));
        (s.document, s.version, PATCH_KIND, first, last, attempt)
    }))
}

type Frame = (
    Option<String>,
    Option<String>,
    Option<&'static str>,
    Option<Vec<u8>>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<TimestampWithTimeZone>,
    Option<i32>,
    Option<TimestampWithTimeZone>,
    Option<&'static str>,
);

fn rows(page: Page) -> Vec<Frame> {
    let attempt = page.attempt;
    let frame = |f: crate::store::stream::frame::Shown| {
        (
            Some(f.id.to_string()),
            Some(f.frame_type),
            Some(f.mode.word()),
            Some(f.payload),
            Some(f.encoding),
            Some(f.source),
            f.correlation,
            f.summary_version,
            stamp(f.appended_at),
            attempt,
            None,
            None,
        )
    };
    let end = page.end.map(|closed| {
        let (at, reason) = (stamp(closed.at), Some(closed.reason.word()));
        (
            None, None, None, None, None, None, None, None, None, attempt, at, reason,
        )
    });
    page.frames.into_iter().map(frame).chain(end).collect()
}

/// A number of frames. A shorter answer than asked for would look like the end, so nothing is lowered.
fn page_size(max_items: Option<i32>) -> Result<i64> {
    match required(max_items, "max_items")? {
        n if (1..=MAX_PAGE).contains(&n) => Ok(i64::from(n)),
        _ => Err(Error::invalid_input("max_items", "out_of_range")),
    }
}

/// Whether best-effort frames are wanted.
fn all(visibility: Option<String>) -> Result<bool> {
    match required(visibility, "visibility")?.as_str() {
        "all" => Ok(true),
        "exclude_best_effort" => Ok(false),
        _ => Err(Error::invalid_input("visibility", "unknown_word")),
    }
}

/// Declares a function that returns frames.
macro_rules! returns_frames {
    ($(#[$meta:meta])* fn $name:ident($($arguments:tt)*) $work:expr) => {
        $(#[$meta])*
        #[search_path(pg_catalog, pg_temp)]
        #[allow(clippy::type_complexity)]
        fn $name($($arguments)*) -> TableIterator<
            'static,
            (
                name!(frame_id, Option<String>),
                name!(frame_type, Option<String>),
                name!(mode, Option<&'static str>),
                name!(payload, Option<Vec<u8>>),
                name!(encoding, Option<String>),
                name!(source, Option<String>),
                name!(correlation_id, Option<String>),
                name!(summary_version, Option<i64>),
                name!(appended_at, Option<TimestampWithTimeZone>),
                name!(attempt_index, Option<i32>),
                name!(closed_at, Option<TimestampWithTimeZone>),
                name!(closed_reason, Option<&'static str>),
            ),
        > {
            TableIterator::new(rows(entry($work)))
        }
    };
}

returns_frames! {
    /// The frames of a stream between two positions.
    #[pg_extern(stable, parallel_unsafe, security_definer)]
    fn ff_read_stream(
        execution_id: Option<Uuid>,
        attempt_index: default!(Option<i32>, "NULL"),
        from_id: default!(Option<String>, "'start'"),
        to_id: default!(Option<String>, "'end'"),
        max_items: default!(Option<i32>, 1000),
        visibility: default!(Option<String>, "'all'"),
    ) |db| {
        let asked = Asked {
            execution: uuid_in(required(execution_id, "execution_id")?),
            attempt: attempt_index,
            from: position::lower("from_id", &required(from_id, "from_id")?)?,
            to: position::upper("to_id", &required(to_id, "to_id")?)?,
            limit: page_size(max_items)?,
            all: all(visibility)?,
        };
        Ok(read::page(db, &asked))
    }
}

returns_frames! {
    /// The frames of a stream behind a position, or the first that come.
    #[pg_extern(volatile, parallel_unsafe, security_definer)]
    fn ff_tail_stream(
        execution_id: Option<Uuid>,
        attempt_index: default!(Option<i32>, "NULL"),
        after_id: default!(Option<String>, "'0-0'"),
        wait: default!(Option<Interval>, "NULL"),
        max_items: default!(Option<i32>, 100),
        visibility: default!(Option<String>, "'all'"),
    ) |db| {
        let after = position::exclusive("after_id", &required(after_id, "after_id")?)?;
        let asked = Asked {
            execution: uuid_in(required(execution_id, "execution_id")?),
            attempt: attempt_index,
            from: after.successor(),
            to: FrameId::END,
            limit: page_size(max_items)?,
            all: all(visibility)?,
        };
        tail::tail(db, asked, wait_ms(wait, "wait")?)
    }
}

/// Counters and end of a stream.
#[pg_extern(stable, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_stream_status(
    execution_id: Option<Uuid>,
    attempt_index: default!(Option<i32>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(attempt_index, i32),
        name!(last_frame_id, Option<String>),
        name!(frame_count, i64),
        name!(total_bytes, i64),
        name!(retained_durable, i64),
        name!(retained_summary, i64),
        name!(retained_best_effort, i64),
        name!(summary_version, Option<i64>),
        name!(best_effort_rate_hz, Option<f64>),
        name!(best_effort_maxlen, Option<i32>),
        name!(last_frame_at, Option<TimestampWithTimeZone>),
        name!(closed_at, Option<TimestampWithTimeZone>),
        name!(closed_reason, Option<&'static str>),
    ),
> {
    let found = entry(|db| {
        let execution = uuid_in(required(execution_id, "execution_id")?);
        Ok(read::status(db, execution, attempt_index))
    });
    TableIterator::new(found.map(|s| {
        let [durable, summary, best_effort] = s.retained;
        (
            s.attempt,
            s.total.last.text(),
            s.total.frames,
            s.total.bytes,
            durable,
            summary,
            best_effort,
            s.version,
            s.window.map(|(rate, _)| rate),
            s.window.map(|(_, maxlen)| maxlen),
            s.total.last_at.and_then(stamp),
            s.closed.and_then(|closed| stamp(closed.at)),
            s.closed.map(|closed| closed.reason.word()),
        )
    }))
}
