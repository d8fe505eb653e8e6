//! Output streams: `ff_engine.stream` here, the tables beside it in files of their own.

use pgrx::pg_sys::BuiltinOid::*;
use uuid::Uuid;

use crate::model::stream::position::FrameId;
use crate::model::stream::retention::Kept;
use crate::model::stream::{Logged, StreamKey};
use crate::model::time::Instant;
use crate::pg::array;
use crate::pg::composite::Composite;
use crate::pg::session;
use crate::pg::spi::{Arg, Db, Stmt};
use crate::pg::table::{Held, Named, Table};

use super::statement::Updates;

pub mod end;
pub mod frame;
pub mod live;
pub mod sight;
pub mod summary;
pub mod watch;

/// In the order of the table.
const COLUMNS: &[Named] = &[
    ("execution_id", UUIDOID),
    ("attempt_index", INT4OID),
    ("last_seq", INT4OID),
    ("last_ms", INT8OID),
    ("frames", INT8OID),
    ("bytes", INT8OID),
    ("durable_last", INT8OID),
    ("durable_floor", INT8OID),
    ("durable_stored", INT8OID),
    ("summary_last", INT8OID),
    ("summary_floor", INT8OID),
    ("summary_stored", INT8OID),
    ("last_at", TIMESTAMPTZOID),
    ("maxlen", INT4OID),
    ("ttl_ms", INT8OID),
    ("live", BOOLOID),
];

static ROWS: Table = Table::new(c"stream", 2);
static UPDATES: Updates = Updates::by(c"stream", 2, COLUMNS);

/// Under a fixed snapshot another session's row may be there and not be seen: the conflict says so.
static INSERT: Stmt<16> = Stmt::new(
    c"INSERT INTO ff_engine.stream (execution_id, attempt_index, last_seq, last_ms, frames, bytes, durable_last, durable_floor,
             durable_stored, summary_last, summary_floor, summary_stored, last_at, maxlen, ttl_ms, live)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) ON CONFLICT DO NOTHING",
    [
        UUIDOID, INT4OID, INT4OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID,
        TIMESTAMPTZOID, INT4OID, INT8OID, BOOLOID,
    ],
);

static OF: Stmt<1> = Stmt::new(
    c"SELECT s.execution_id, s.attempt_index FROM ff_engine.stream AS s WHERE s.execution_id = ANY ($1)",
    [UUIDARRAYOID],
);

static PURGE: Stmt<1> = Stmt::new(
    c"WITH frames AS (DELETE FROM ff_engine.frame AS f WHERE f.execution_id = ANY ($1)),
           lives AS (DELETE FROM ff_engine.frame_live AS f WHERE f.execution_id = ANY ($1)),
           rates AS (DELETE FROM ff_engine.stream_live AS l WHERE l.execution_id = ANY ($1)),
           summaries AS (DELETE FROM ff_engine.stream_summary AS m WHERE m.execution_id = ANY ($1)),
           ends AS (DELETE FROM ff_engine.stream_end AS n WHERE n.execution_id = ANY ($1))
      DELETE FROM ff_engine.stream AS s WHERE s.execution_id = ANY ($1)",
    [UUIDARRAYOID],
);

static HIDE: Stmt<2> = Stmt::new(
    c"WITH lives AS (UPDATE ff_engine.stream_live AS l SET kept_floor = l.kept_last + 1
                      WHERE l.execution_id = $1 AND l.attempt_index = $2)
      UPDATE ff_engine.stream AS s SET durable_floor = s.durable_last + 1, summary_floor = s.summary_last + 1
       WHERE s.execution_id = $1 AND s.attempt_index = $2",
    [UUIDOID, INT4OID],
);

static DROP: Stmt<2> = Stmt::new(
    c"WITH frames AS (DELETE FROM ff_engine.frame AS f WHERE f.execution_id = $1 AND f.attempt_index = $2),
           lives AS (DELETE FROM ff_engine.frame_live AS f WHERE f.execution_id = $1 AND f.attempt_index = $2),
           rates AS (DELETE FROM ff_engine.stream_live AS l WHERE l.execution_id = $1 AND l.attempt_index = $2),
           summaries AS (DELETE FROM ff_engine.stream_summary AS m WHERE m.execution_id = $1 AND m.attempt_index = $2),
           ends AS (DELETE FROM ff_engine.stream_end AS n WHERE n.execution_id = $1 AND n.attempt_index = $2)
      DELETE FROM ff_engine.stream AS s WHERE s.execution_id = $1 AND s.attempt_index = $2",
    [UUIDOID, INT4OID],
);

fn key(stream: StreamKey) -> [Arg; 2] {
    [stream.execution.into(), stream.attempt.into()]
}

fn args(stream: StreamKey, s: &Logged) -> [Arg; 16] {
    [
        stream.execution.into(),
        stream.attempt.into(),
        s.last.seq.into(),
        s.last.ms.into(),
        s.frames.into(),
        s.bytes.into(),
        s.durable.last.into(),
        s.durable.floor.into(),
        s.durable.stored.into(),
        s.summary.last.into(),
        s.summary.floor.into(),
        s.summary.stored.into(),
        s.last_at.map(|at| at.0).into(),
        s.maxlen.into(),
        s.ttl_ms.into(),
        s.live.into(),
    ]
}

fn decode(row: &Composite) -> Logged {
    let kept = |first: usize| Kept {
        last: row.get(first),
        floor: row.get(first + 1),
        stored: row.get(first + 2),
    };
    Logged {
        last: FrameId {
            seq: row.get(2),
            ms: row.get(3),
        },
        frames: row.get(4),
        bytes: row.get(5),
        durable: kept(6),
        summary: kept(9),
        last_at: row.get::<Option<i64>>(12).map(Instant),
        maxlen: row.get(13),
        ttl_ms: row.get(14),
        live: row.get(15),
    }
}

/// Locks the row of a stream, whose lock the caller has.
pub fn lock(db: &Db, stream: StreamKey) -> Option<Logged> {
    ROWS.find(db, COLUMNS, |finder| {
        finder.lock(&key(stream), Held::Wait, decode)
    })
}

/// Reads the row of a stream, whose lock the caller has, so that nobody else writes it. Only under a fixed snapshot,
/// which may be older than that lock, is the row locked as well.
pub fn read(db: &Db, stream: StreamKey) -> Option<Logged> {
    if !session::read_committed() {
        return lock(db, stream);
    }
    ROWS.find(db, COLUMNS, |finder| finder.read(&key(stream), decode))
}

/// Reads the rows of those streams that have one, in the transaction that ends them.
pub fn present(db: &Db, streams: impl IntoIterator<Item = StreamKey>) -> Vec<(StreamKey, Logged)> {
    ROWS.find(db, COLUMNS, |finder| {
        let streams = streams.into_iter();
        streams
            .filter_map(|stream| Some((stream, finder.read(&key(stream), decode)?)))
            .collect()
    })
}

/// Stores the first row of a stream.
pub fn insert(db: &Db, stream: StreamKey, logged: &Logged) {
    INSERT.run(db, args(stream, logged));
}

/// Stores a stream whose row is there.
pub fn update(db: &Db, stream: StreamKey, logged: &Logged) {
    UPDATES.run(db, u128::MAX, &[args(stream, logged).to_vec()]);
}

/// The streams of executions.
pub fn of(db: &Db, executions: &[Uuid]) -> Vec<StreamKey> {
    let rows = OF.run(db, [array::uuids(executions.iter().copied())]);
    rows.iter()
        .map(|r| StreamKey {
            execution: r.get(1),
            attempt: r.get(2),
        })
        .collect()
}

/// Deletes all streams of executions; few have any.
pub fn purge(db: &Db, executions: &[Uuid]) {
    let mut having: Vec<Uuid> = of(db, executions).iter().map(|s| s.execution).collect();
    having.dedup();
    if !having.is_empty() {
        PURGE.run(db, [array::uuids(having)]);
    }
}

/// Hides all frames of a stream, so that they can be deleted little by little.
pub fn hide(db: &Db, stream: StreamKey) {
    HIDE.run(db, key(stream));
}

/// Deletes one stream with all that belongs to it; how many rows of streams there were.
pub fn drop(db: &Db, stream: StreamKey) -> usize {
    DROP.run(db, key(stream)).len()
}
