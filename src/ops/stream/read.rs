//! Reading streams (§30.7) and how they stand.

use uuid::Uuid;

use crate::model::stream::closing::Closed;
use crate::model::stream::position::FrameId;
use crate::model::stream::retention::Kept;
use crate::model::stream::{Final, Live, Logged, StreamKey, so_far};
use crate::model::time::Instant;
use crate::pg::snapshot;
use crate::pg::spi::Db;
use crate::store;
use crate::store::stream::frame::{self, Shown};
use crate::store::stream::sight::{self, Sight};

use super::super::clock;

/// What a reader asks for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Execution.
    pub execution: Uuid,
    /// Attempt, none for the current one.
    pub attempt: Option<i32>,
    /// First frame.
    pub from: FrameId,
    /// Last frame.
    pub to: FrameId,
    /// At most so many frames.
    pub limit: i64,
    /// With best-effort frames.
    pub all: bool,
}

/// Frames, and the end of the stream if they reach it.
pub struct Page {
    /// The attempt that was read, if it exists.
    pub attempt: Option<i32>,
    /// Frames, ascending.
    pub frames: Vec<Shown>,
    /// The end.
    pub end: Option<Closed>,
}

impl Page {
    /// Nothing is there to be told.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.end.is_none()
    }
}

/// The frames of a stream, everything on the active snapshot.
pub fn page(db: &Db, asked: &Asked) -> Page {
    let Some(sight) = sight::see(db, asked.execution, asked.attempt) else {
        return Page {
            attempt: None,
            frames: Vec::new(),
            end: None,
        };
    };
    let last = last(&sight);
    let (from, to) = (asked.from, asked.to.min(last));
    let limit = asked.limit + 1;
    let mut frames = Vec::new();
    if let Some(logged) = sight.logged.as_ref().filter(|_| from <= to) {
        let floors = (logged.durable.floor, logged.summary.floor);
        frames = frame::read(db, sight.stream, (from, to), floors, limit);
        if let Some(live) = counted(db, sight.stream, logged).filter(|_| asked.all) {
            let (floor, now) = (live.kept.floor, clock::now());
            let more = frame::read_live(db, sight.stream, (from, to), floor, now, limit);
            frames.extend(more);
            frames.sort_by_key(|f| f.id);
        }
    }
    let whole = frames.len() as i64 <= asked.limit;
    frames.truncate(asked.limit as usize);
    Page {
        attempt: Some(sight.stream.attempt),
        frames,
        end: sight.closed.filter(|_| whole && asked.to >= last),
    }
}

/// The last frame that belongs to a stream: of a closed one the last that its end found.
fn last(sight: &Sight) -> FrameId {
    match (sight.closed, &sight.last) {
        (None, _) => FrameId::END,
        (Some(_), Some(end)) => end.last,
        (Some(_), None) => FrameId::NONE,
    }
}

/// What is counted of best-effort frames, where there may be any.
fn counted(db: &Db, stream: StreamKey, logged: &Logged) -> Option<Live> {
    if logged.live && !snapshot::recovering() {
        store::stream::live::shown(db, stream)
    } else {
        None
    }
}

/// How a stream stands.
pub struct Status {
    /// Attempt.
    pub attempt: i32,
    /// All its frames.
    pub total: Final,
    /// Durable frames, patches and best-effort frames that can be read.
    pub retained: [i64; 3],
    /// Version of the summary document, if there is one.
    pub version: Option<i64>,
    /// Rate and size of the best-effort window.
    pub window: Option<(f64, i32)>,
    /// The end.
    pub closed: Option<Closed>,
}

/// How the stream of an attempt stands, of the current one without an index.
pub fn status(db: &Db, execution: Uuid, attempt: Option<i32>) -> Option<Status> {
    let sight = sight::see(db, execution, attempt)?;
    let none = Logged::new(None, None);
    let logged = sight.logged.as_ref().unwrap_or(&none);
    let live = counted(db, sight.stream, logged);
    let total = match (sight.closed, sight.last) {
        (None, _) => so_far(logged, live.as_ref()),
        (Some(_), Some(end)) => end,
        (Some(_), None) => so_far(&none, None),
    };
    let kept = |last: i64, kept: Kept| Kept { last, ..kept }.retained();
    let lively = live.as_ref().map_or(0, |l| {
        let now: Instant = clock::now();
        frame::count_live(db, sight.stream, last(&sight), l.kept.floor, now)
    });
    Some(Status {
        attempt: sight.stream.attempt,
        total,
        retained: [
            kept(total.durable, logged.durable),
            kept(total.summary, logged.summary),
            lively,
        ],
        version: (total.summary > 0).then_some(total.summary),
        window: live.map(|l| (l.window.rate, l.window.maxlen)),
        closed: sight.closed,
    })
}
