//! What a change of an execution means for the stream of its attempt (§30.8): written here and nowhere else.
//!
//! The close itself is a fact of the attempt. Beside it only the end of the stream is stored, if it has frames.

use crate::model::stream::closing;
use crate::model::stream::{Final, StreamKey, so_far};
use crate::model::time::Instant;
use crate::model::transition::Change;
use crate::pg::spi::Db;
use crate::pg::xact;
use crate::store;
use crate::store::stream::watch::Watch;

/// Ends the streams of attempts that changes end. An attempt without frames costs one look-up by key.
pub fn settle(db: &Db, changes: &[Change], now: Instant) {
    let closes = |change: &Change| {
        closing::closes(change).map(|(attempt, _)| StreamKey {
            execution: change.after.place.id,
            attempt,
        })
    };
    let closed: Vec<StreamKey> = changes.iter().filter_map(closes).collect();
    if closed.is_empty() {
        return;
    }
    for stream in &closed {
        xact::streamed(stream.number());
    }
    let present = store::stream::present(db, closed);
    if present.is_empty() {
        return;
    }
    let ends: Vec<(StreamKey, Final)> = present
        .into_iter()
        .map(|(stream, logged)| {
            let live = if logged.live {
                store::stream::live::read(db, stream)
            } else {
                None
            };
            (stream, so_far(&logged, live.as_ref()))
        })
        .collect();
    store::stream::end::insert(db, &ends);
    let watches: Vec<Watch> = ends
        .iter()
        .map(|(stream, _)| Watch {
            due_at: now,
            stream: *stream,
        })
        .collect();
    store::stream::watch::insert(db, &watches);
}
