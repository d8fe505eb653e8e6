//! Clearing away what no reader of a stream can see any more (§30.9).

use uuid::Uuid;

use crate::model::stream::position::FrameId;
use crate::model::time::{Instant, MS, SECOND};
use crate::pg::lock;
use crate::pg::spi::Db;
use crate::store;
use crate::store::stream::frame;
use crate::store::stream::sight::{self, Sight};
use crate::store::stream::watch::Watch;

/// A stream that goes on is looked at again after this time.
const AGAIN: i64 = 60 * SECOND;

/// A stream to which somebody appends is, though it has ended.
const SOON: i64 = SECOND;

/// What has become of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cleared {
    /// Frames and streams deleted.
    pub deleted: i64,
    /// When to look again; none if the stream needs no further look.
    pub again: Option<Instant>,
}

/// Looks at one stream, and deletes at most so many frames of each kind.
pub fn clear(db: &Db, watch: &Watch, now: Instant, limit: i64) -> Cleared {
    let stream = watch.stream;
    let sight = sight::see_now(db, stream);
    // Asked after the look: who appends from now on finds closed what has been seen closed, and what others have
    // committed until now is seen by the statements that follow.
    let free = lock::stream_is_free(stream.number());
    let Some(Sight {
        closed,
        logged,
        last,
        ..
    }) = sight
    else {
        return discard(db, watch, now, free, limit);
    };
    let live = logged.as_ref().is_some_and(|l| l.live);
    let expired = if live {
        frame::delete_expired(db, stream, now, limit)
    } else {
        0
    };
    let Some(closed) = closed else {
        return Cleared {
            deleted: expired,
            again: Some(now.plus(AGAIN)),
        };
    };
    let Some(logged) = logged.filter(|_| free) else {
        // Nothing is there, or somebody may be about to commit something.
        return Cleared {
            deleted: expired,
            again: (!free).then(|| now.plus(SOON)),
        };
    };
    let ends_at = logged
        .ttl_ms
        .map(|ms| closed.at.plus(ms.saturating_mul(MS)));
    if last.is_none() || ends_at.is_some_and(|at| at <= now) {
        return discard(db, watch, now, free, limit);
    }
    let beyond = last.map_or(0, |end| frame::delete_beyond(db, stream, end.last, limit));
    let fades_at = frame::last_expiry(db, stream);
    let next = [ends_at, fades_at].into_iter().flatten().min();
    Cleared {
        deleted: expired + beyond,
        again: if beyond >= limit { Some(now) } else { next },
    }
}

/// Deletes a stream that nobody reads any more.
fn discard(db: &Db, watch: &Watch, now: Instant, free: bool, limit: i64) -> Cleared {
    if !free {
        return Cleared {
            deleted: 0,
            again: Some(now.plus(SOON)),
        };
    }
    let frames = frame::delete_beyond(db, watch.stream, FrameId::NONE, limit);
    if frames >= limit {
        store::stream::hide(db, watch.stream);
        return Cleared {
            deleted: frames,
            again: Some(now),
        };
    }
    let streams = store::stream::drop(db, watch.stream) as i64;
    Cleared {
        deleted: frames + streams,
        again: None,
    }
}

/// Those executions to whose streams somebody is appending at this moment.
pub fn busy(db: &Db, executions: &[Uuid]) -> Vec<Uuid> {
    let streams = store::stream::of(db, executions);
    let busy = streams
        .into_iter()
        .filter(|stream| !lock::stream_is_free(stream.number()));
    busy.map(|stream| stream.execution).collect()
}
