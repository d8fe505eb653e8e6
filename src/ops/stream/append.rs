//! Appending frames (§30.3): under the stream's own lock, with the execution only looked at.

use crate::error::{Error, Kind, Result};
use crate::guc;
use crate::model::execution::Execution;
use crate::model::fence;
use crate::model::handle::{Handle, HandleKind};
use crate::model::stream::closing::Closed;
use crate::model::stream::position::FrameId;
use crate::model::stream::retention::Kept;
use crate::model::stream::window::{Terms, Window};
use crate::model::stream::{Live, Logged, StreamKey, so_far};
use crate::model::time::{Instant, MS};
use crate::model::words::{FrameMode, Lifecycle};
use crate::pg::spi::Db;
use crate::pg::{lock, xact};
use crate::store;
use crate::store::stream::frame::{self, Frame, Shared};
use crate::store::stream::watch::Watch;

use super::super::claim::row::policy;
use super::super::clock;
use super::super::lease::fenced;
use super::summary;

/// Frames of one mode for the attempt of a handle.
pub struct Request<'a> {
    /// Handle text.
    pub handle: &'a str,
    /// Types and contents, in order.
    pub frames: &'a [(&'a str, &'a [u8])],
    /// How they are kept, and for best-effort frames how many.
    pub mode: FrameMode,
    /// Given exactly for best-effort frames.
    pub terms: Option<Terms>,
    /// Label of the contents.
    pub encoding: &'a str,
    /// Who wrote them.
    pub source: &'a str,
    /// Free.
    pub correlation: Option<&'a str>,
    /// Durable frames to keep.
    pub maxlen: Option<i32>,
}

/// What has become of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Appended {
    /// Ids of the first and the last frame, if there were any.
    pub ids: Option<(FrameId, FrameId)>,
    /// Frames ever appended.
    pub count: i64,
    /// Version of the summary document, in summary mode.
    pub version: Option<i64>,
}

/// Appends frames in order, all or none.
///
/// # Errors
/// `invalid_handle`, `handle_from_other_database`, `execution_not_found`, `stream_closed`,
/// `stale_owner_cannot_append`, and in summary mode those of a patch.
pub fn append(db: &Db, request: &Request) -> Result<Appended> {
    let handle = fenced::decode(db, request.handle)?;
    let stream = StreamKey {
        execution: handle.execution_id,
        attempt: handle.attempt_index,
    };
    lock::stream(stream.number());
    let execution = store::execution::look(db, handle.execution_id)
        .ok_or_else(|| fence::not_found(handle.execution_id))?;
    let now = clock::now();
    may_append(&execution, &handle, now)?;
    if request.frames.is_empty() {
        return Ok(unchanged(db, stream, request.mode));
    }
    let appended = match &request.terms {
        Some(terms) => best_effort(db, stream, request, terms, now)?,
        None => logged(db, stream, request, now)?,
    };
    xact::streamed(stream.number());
    Ok(appended)
}

/// What a call without frames reports.
fn unchanged(db: &Db, stream: StreamKey, mode: FrameMode) -> Appended {
    let row = store::stream::read(db, stream);
    let live = store::stream::live::read(db, stream);
    let version = row.as_ref().map_or(0, |row| row.summary.last);
    Appended {
        ids: None,
        count: row.map_or(0, |row| so_far(&row, live.as_ref()).frames),
        version: (mode == FrameMode::Summary).then_some(version),
    }
}

/// Whether the lease of a handle may append at this instant.
fn may_append(e: &Execution, handle: &Handle, now: Instant) -> Result<()> {
    let about = |kind| {
        Error::new(kind)
            .with("execution_id", e.place.id.to_string())
            .with("attempt_index", handle.attempt_index)
    };
    let latest = e.attempt_index().unwrap_or(-1);
    if handle.attempt_index < latest {
        return Err(about(Kind::StreamClosed));
    }
    let attempt = e.attempt.as_ref().filter(|a| a.id == handle.attempt_id);
    if let Some(Closed { at, reason }) = attempt.and_then(|a| a.closed) {
        return Err(about(Kind::StreamClosed)
            .with("closed_at", at.iso())
            .with("closed_reason", reason.word()));
    }
    let holds = handle.kind != HandleKind::Suspended
        && attempt.is_some()
        && handle.attempt_index == latest
        && e.vector.lifecycle == Lifecycle::Active
        && e.lease.id == Some(handle.lease_id)
        && e.lease.epoch == handle.lease_epoch
        && e.lease_live(now);
    if holds {
        Ok(())
    } else {
        Err(about(Kind::StaleOwnerCannotAppend)
            .with("lease_epoch", e.lease.epoch)
            .with("presented_epoch", handle.lease_epoch))
    }
}

/// Ids and ordinals for frames that are appended now, without those that would be too many at once.
struct Minted<'a> {
    frames: Vec<Frame<'a>>,
    ids: Option<(FrameId, FrameId)>,
    bytes: i64,
}

fn mint<'a>(request: &Request<'a>, last: FrameId, kept: &Kept, now: Instant) -> Minted<'a> {
    let mut id = last;
    let mut ids = None;
    let mut frames = Vec::with_capacity(request.frames.len());
    let first = kept.last - request.frames.len() as i64 + 1;
    for (ordinal, (frame_type, payload)) in (first..).zip(request.frames) {
        id = id.next(now);
        ids = Some((ids.map_or(id, |(first, _)| first), id));
        if ordinal >= kept.floor {
            frames.push(Frame {
                id,
                ordinal,
                frame_type,
                payload,
            });
        }
    }
    let bytes = request.frames.iter().map(|(_, p)| p.len() as i64).sum();
    Minted { frames, ids, bytes }
}

fn shared<'a>(request: &Request<'a>, at: Instant) -> Shared<'a> {
    Shared {
        at,
        encoding: request.encoding,
        source: request.source,
        correlation: request.correlation,
    }
}

fn logged(db: &Db, stream: StreamKey, request: &Request, now: Instant) -> Result<Appended> {
    let stored = store::stream::lock(db, stream);
    let new = stored.is_none();
    let mut row = match stored {
        Some(row) => row,
        None => open(db, stream)?,
    };
    let live = if row.live {
        store::stream::live::read(db, stream)
    } else {
        None
    };
    let merged = match request.mode {
        FrameMode::Summary => Some(summary::merge(db, stream, &row, request.frames, now)?),
        _ => None,
    };
    let count = request.frames.len() as i64;
    let limit = match request.mode {
        FrameMode::Summary => Some(guc::STREAM_SUMMARY_WINDOW.value.get()),
        _ => durable_limit(request, &row),
    };
    let kept = match request.mode {
        FrameMode::Summary => &mut row.summary,
        _ => &mut row.durable,
    };
    let spent = kept.append(count, limit.map(i64::from));
    let version = (request.mode == FrameMode::Summary).then_some(kept.last);
    let kept = *kept;
    let minted = mint(request, so_far(&row, live.as_ref()).last, &kept, now);
    row.last = minted.ids.map_or(row.last, |(_, last)| last);
    row.last_at = Some(now);
    row.frames += count;
    row.bytes += minted.bytes;
    // First, because here it shows whether another session has been faster.
    keep(db, stream, &row, new, now);
    if let Some(merged) = merged {
        merged.store(db, stream);
    }
    frame::insert(
        db,
        stream,
        request.mode,
        &minted.frames,
        &shared(request, now),
    );
    frame::delete(db, stream, request.mode, spent);
    Ok(Appended {
        ids: minted.ids,
        count: so_far(&row, live.as_ref()).frames,
        version,
    })
}

fn best_effort(
    db: &Db,
    stream: StreamKey,
    request: &Request,
    terms: &Terms,
    now: Instant,
) -> Result<Appended> {
    let stored = store::stream::read(db, stream);
    let (new, counted) = (
        stored.is_none(),
        stored.as_ref().is_some_and(|row| row.live),
    );
    let mut row = match stored {
        Some(row) => row,
        None => open(db, stream)?,
    };
    let before = if counted {
        store::stream::live::lock(db, stream)
    } else {
        None
    };
    if !counted {
        row.live = true;
        keep(db, stream, &row, new, now);
    }
    let last = so_far(&row, before.as_ref()).last;
    let count = request.frames.len() as i64;
    let window = (0..count).fold(before.as_ref().map(|l| l.window), |window, _| {
        Some(Window::after(window, terms, now.unix_ms()))
    });
    let window = window.unwrap_or_else(|| Window::after(None, terms, now.unix_ms()));
    let mut kept = before.as_ref().map(|l| l.kept).unwrap_or_default();
    let spent = kept.append(count, Some(i64::from(window.maxlen)));
    let minted = mint(request, last, &kept, now);
    let until = now.plus(2 * terms.ttl_ms * MS);
    frame::insert_live(db, stream, &minted.frames, &shared(request, now), until);
    frame::delete(db, stream, FrameMode::BestEffort, spent);
    let live = Live {
        last: minted.ids.map_or(last, |(_, last)| last),
        frames: before.as_ref().map_or(0, |l| l.frames) + count,
        bytes: before.as_ref().map_or(0, |l| l.bytes) + minted.bytes,
        kept,
        window,
        last_at: now,
    };
    match before {
        Some(_) => store::stream::live::update(db, stream, &live),
        None => store::stream::live::insert(db, stream, &live),
    }
    Ok(Appended {
        ids: minted.ids,
        count: so_far(&row, Some(&live)).frames,
        version: None,
    })
}

/// The row of a stream that has none yet, by the policy of its execution.
fn open(db: &Db, stream: StreamKey) -> Result<Logged> {
    let stored = store::input::policies(db, &[stream.execution]);
    let policy = policy(stored.first().map(|(_, policy)| policy))?;
    let maxlen = policy.stream.retention_maxlen;
    Ok(Logged::new(
        maxlen.map(|n| i32::try_from(n).unwrap_or(i32::MAX)),
        policy.stream.retention_ttl_ms,
    ))
}

/// Durable frames to keep: the call's word, else the policy's, else the setting's.
fn durable_limit(request: &Request, row: &Logged) -> Option<i32> {
    let setting = guc::STREAM_DURABLE_MAXLEN.value.get();
    let default = (setting > 0).then_some(setting);
    request.maxlen.or(row.maxlen).or(default)
}

/// Stores the row of a stream; a new one is looked after from now on.
fn keep(db: &Db, stream: StreamKey, row: &Logged, new: bool, now: Instant) {
    if new {
        let due_at = now;
        store::stream::insert(db, stream, row);
        store::stream::watch::insert(db, &[Watch { due_at, stream }]);
    } else {
        store::stream::update(db, stream, row);
    }
}
