//! `ff_engine.stream_live`: what is counted of best-effort frames. Unlogged, so absent on a standby.

use pgrx::pg_sys::BuiltinOid::*;

use crate::model::stream::position::FrameId;
use crate::model::stream::retention::Kept;
use crate::model::stream::window::Window;
use crate::model::stream::{Live, StreamKey};
use crate::model::time::Instant;
use crate::pg::composite::Composite;
use crate::pg::spi::{Arg, Db, Stmt};
use crate::pg::table::{Held, Named, Table};

use super::super::statement::{Inserts, Updates};
use super::key;

/// In the order of the table.
const COLUMNS: &[Named] = &[
    ("execution_id", UUIDOID),
    ("attempt_index", INT4OID),
    ("last_seq", INT4OID),
    ("last_ms", INT8OID),
    ("frames", INT8OID),
    ("bytes", INT8OID),
    ("kept_last", INT8OID),
    ("kept_floor", INT8OID),
    ("kept_stored", INT8OID),
    ("rate", FLOAT8OID),
    ("maxlen", INT4OID),
    ("rated_at_ms", INT8OID),
    ("last_at", TIMESTAMPTZOID),
];

static ROWS: Table = Table::new(c"stream_live", 2);
static INSERTS: Inserts = Inserts::new(c"stream_live", COLUMNS);
static UPDATES: Updates = Updates::by(c"stream_live", 2, COLUMNS);

static SHOWN: Stmt<2> = Stmt::new(
    c"SELECT l FROM ff_engine.stream_live AS l WHERE l.execution_id = $1 AND l.attempt_index = $2",
    [UUIDOID, INT4OID],
);

fn args(stream: StreamKey, l: &Live) -> Vec<Arg> {
    vec![
        stream.execution.into(),
        stream.attempt.into(),
        l.last.seq.into(),
        l.last.ms.into(),
        l.frames.into(),
        l.bytes.into(),
        l.kept.last.into(),
        l.kept.floor.into(),
        l.kept.stored.into(),
        l.window.rate.into(),
        l.window.maxlen.into(),
        l.window.at_ms.into(),
        l.last_at.0.into(),
    ]
}

fn decode(row: &Composite) -> Live {
    Live {
        last: FrameId {
            seq: row.get(2),
            ms: row.get(3),
        },
        frames: row.get(4),
        bytes: row.get(5),
        kept: Kept {
            last: row.get(6),
            floor: row.get(7),
            stored: row.get(8),
        },
        window: Window {
            rate: row.get(9),
            maxlen: row.get(10),
            at_ms: row.get(11),
        },
        last_at: Instant(row.get(12)),
    }
}

/// Locks the row of a stream, whose lock the caller has.
pub fn lock(db: &Db, stream: StreamKey) -> Option<Live> {
    ROWS.find(db, COLUMNS, |finder| {
        finder.lock(&key(stream), Held::Wait, decode)
    })
}

/// Reads the row of a stream.
pub fn read(db: &Db, stream: StreamKey) -> Option<Live> {
    ROWS.find(db, COLUMNS, |finder| finder.read(&key(stream), decode))
}

/// Reads the row of a stream on the active snapshot, for reads.
pub fn shown(db: &Db, stream: StreamKey) -> Option<Live> {
    let rows = SHOWN.read(db, key(stream));
    rows.first().map(|row| decode(&row.get(1)))
}

/// Stores the first row of a stream.
pub fn insert(db: &Db, stream: StreamKey, live: &Live) {
    INSERTS.run(db, u128::MAX, &[args(stream, live)]);
}

/// Stores a stream whose row is locked.
pub fn update(db: &Db, stream: StreamKey, live: &Live) {
    UPDATES.run(db, u128::MAX, &[args(stream, live)]);
}
