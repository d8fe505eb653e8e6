//! Summary documents (§30.4): merging patches into them, and reading them.

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::guc;
use crate::model::stream::{Logged, StreamKey, merge};
use crate::model::time::Instant;
use crate::pg::jsonb::Jsonb;
use crate::pg::spi::Db;
use crate::store;
use crate::store::stream::summary::Summary;

/// A document with its latest patches, not stored yet.
pub(super) struct Merged {
    summary: Summary,
    new: bool,
}

impl Merged {
    /// Stores it.
    pub(super) fn store(&self, db: &Db, stream: StreamKey) {
        store::stream::summary::store(db, stream, &self.summary, self.new);
    }
}

/// Applies patches to the document of a stream.
pub(super) fn merge(
    db: &Db,
    stream: StreamKey,
    row: &Logged,
    frames: &[(&str, &[u8])],
    now: Instant,
) -> Result<Merged> {
    let patches = frames
        .iter()
        .enumerate()
        .map(|(i, (_, payload))| merge::parse(payload).map_err(|e| e.item(i)));
    let patches: Vec<Map<String, Value>> = patches.collect::<Result<_>>()?;
    let before = store::stream::summary::read(db, stream);
    let mut document = match before.as_ref().map(|s| s.document.parse()) {
        Some(Value::Object(document)) => document,
        _ => Map::new(),
    };
    for patch in patches {
        merge::apply(&mut document, patch);
    }
    let text = Value::Object(document).to_string();
    let limit = guc::MAX_SUMMARY_BYTES.value.get().unsigned_abs() as usize;
    if text.len() > limit {
        return Err(Error::new(Kind::PayloadTooLarge)
            .with("bytes", text.len())
            .with("limit", limit));
    }
    let summary = Summary {
        document: Jsonb::from_text(&text),
        version: row.summary.last + frames.len() as i64,
        first_at: before.as_ref().map_or(now, |s| s.first_at),
        last_at: now,
    };
    Ok(Merged {
        summary,
        new: before.is_none(),
    })
}

/// The document of an attempt, of the current one without an index, and that attempt.
pub fn read(db: &Db, execution: Uuid, attempt: Option<i32>) -> Option<(Summary, i32)> {
    let sight = store::stream::sight::see(db, execution, attempt)?;
    let summary = store::stream::summary::shown(db, sight.stream)?;
    Some((summary, sight.stream.attempt))
}
