//! `ff_engine.frame` and `ff_engine.frame_live`: the frames.

use std::ops::Range;

use pgrx::pg_sys::BuiltinOid::*;

use crate::model::stream::StreamKey;
use crate::model::stream::position::FrameId;
use crate::model::time::Instant;
use crate::model::words::FrameMode;
use crate::pg::spi::{Arg, Db, Row, Stmt};

use super::super::statement::Write;

static INSERT: Write<12> = Write::insert(
    c"frame",
    [
        ("execution_id", UUIDOID),
        ("attempt_index", INT4OID),
        ("seq", INT4OID),
        ("ms", INT8OID),
        ("ordinal", INT8OID),
        ("appended_at", TIMESTAMPTZOID),
        ("mode", CHAROID),
        ("frame_type", TEXTOID),
        ("encoding", TEXTOID),
        ("source", TEXTOID),
        ("correlation_id", TEXTOID),
        ("payload", BYTEAOID),
    ],
);

static INSERT_LIVE: Write<12> = Write::insert(
    c"frame_live",
    [
        ("execution_id", UUIDOID),
        ("attempt_index", INT4OID),
        ("seq", INT4OID),
        ("ms", INT8OID),
        ("ordinal", INT8OID),
        ("appended_at", TIMESTAMPTZOID),
        ("expires_at", TIMESTAMPTZOID),
        ("frame_type", TEXTOID),
        ("encoding", TEXTOID),
        ("source", TEXTOID),
        ("correlation_id", TEXTOID),
        ("payload", BYTEAOID),
    ],
);

static DELETE: Write<4> = Write::delete(
    c"frame",
    [
        ("execution_id", UUIDOID),
        ("attempt_index", INT4OID),
        ("mode", CHAROID),
        ("ordinal", INT8OID),
    ],
);

static DELETE_LIVE: Write<3> = Write::delete(
    c"frame_live",
    [
        ("execution_id", UUIDOID),
        ("attempt_index", INT4OID),
        ("ordinal", INT8OID),
    ],
);

static READ: Stmt<9> = Stmt::new(
    c"SELECT f.seq, f.ms, f.frame_type, f.mode, f.payload, f.encoding, f.source, f.correlation_id, f.ordinal, f.appended_at
        FROM ff_engine.frame AS f
       WHERE f.execution_id = $1 AND f.attempt_index = $2 AND (f.ms, f.seq) >= ($3, $4) AND (f.ms, f.seq) <= ($5, $6)
         AND f.ordinal >= CASE f.mode WHEN 'd' THEN $7 ELSE $8 END
       ORDER BY f.ms, f.seq LIMIT $9",
    [UUIDOID, INT4OID, INT8OID, INT4OID, INT8OID, INT4OID, INT8OID, INT8OID, INT8OID],
);

static READ_LIVE: Stmt<9> = Stmt::new(
    c"SELECT f.seq, f.ms, f.frame_type, 'b'::\"char\", f.payload, f.encoding, f.source, f.correlation_id, f.ordinal, f.appended_at
        FROM ff_engine.frame_live AS f
       WHERE f.execution_id = $1 AND f.attempt_index = $2 AND (f.ms, f.seq) >= ($3, $4) AND (f.ms, f.seq) <= ($5, $6)
         AND f.ordinal >= $7 AND f.expires_at > $8
       ORDER BY f.ms, f.seq LIMIT $9",
    [UUIDOID, INT4OID, INT8OID, INT4OID, INT8OID, INT4OID, INT8OID, TIMESTAMPTZOID, INT8OID],
);

static COUNT_LIVE: Stmt<6> = Stmt::new(
    c"SELECT count(*) FROM ff_engine.frame_live AS f
       WHERE f.execution_id = $1 AND f.attempt_index = $2 AND (f.ms, f.seq) <= ($3, $4) AND f.ordinal >= $5
         AND f.expires_at > $6",
    [UUIDOID, INT4OID, INT8OID, INT4OID, INT8OID, TIMESTAMPTZOID],
);

static DELETE_BEYOND: Stmt<5> = Stmt::new(
    c"WITH late AS (DELETE FROM ff_engine.frame AS f
       USING (SELECT x.ms, x.seq FROM ff_engine.frame AS x
               WHERE x.execution_id = $1 AND x.attempt_index = $2 AND (x.ms, x.seq) > ($3, $4)
               ORDER BY x.ms, x.seq LIMIT $5) AS b
       WHERE f.execution_id = $1 AND f.attempt_index = $2 AND f.ms = b.ms AND f.seq = b.seq
       RETURNING 1),
       late_live AS (DELETE FROM ff_engine.frame_live AS f
       USING (SELECT x.ms, x.seq FROM ff_engine.frame_live AS x
               WHERE x.execution_id = $1 AND x.attempt_index = $2 AND (x.ms, x.seq) > ($3, $4)
               ORDER BY x.ms, x.seq LIMIT $5) AS b
       WHERE f.execution_id = $1 AND f.attempt_index = $2 AND f.ms = b.ms AND f.seq = b.seq
       RETURNING 1)
      SELECT (SELECT count(*) FROM late) + (SELECT count(*) FROM late_live)",
    [UUIDOID, INT4OID, INT8OID, INT4OID, INT8OID],
);

static DELETE_EXPIRED: Stmt<4> = Stmt::new(
    c"DELETE FROM ff_engine.frame_live AS f
       USING (SELECT x.ms, x.seq FROM ff_engine.frame_live AS x
               WHERE x.execution_id = $1 AND x.attempt_index = $2 AND x.expires_at <= $3
               ORDER BY x.ms, x.seq LIMIT $4) AS b
       WHERE f.execution_id = $1 AND f.attempt_index = $2 AND f.ms = b.ms AND f.seq = b.seq",
    [UUIDOID, INT4OID, TIMESTAMPTZOID, INT8OID],
);

static LAST_EXPIRY: Stmt<2> = Stmt::new(
    c"SELECT max(f.expires_at) FROM ff_engine.frame_live AS f WHERE f.execution_id = $1 AND f.attempt_index = $2",
    [UUIDOID, INT4OID],
);

/// A frame with what is said of it.
#[derive(Clone, Debug)]
pub struct Frame<'a> {
    /// Where it stands.
    pub id: FrameId,
    /// Its number within its mode.
    pub ordinal: i64,
    /// Free word.
    pub frame_type: &'a str,
    /// Content.
    pub payload: &'a [u8],
}

/// What the frames of one call share.
#[derive(Clone, Copy, Debug)]
pub struct Shared<'a> {
    /// When they were appended.
    pub at: Instant,
    /// Label of the contents.
    pub encoding: &'a str,
    /// Who wrote them.
    pub source: &'a str,
    /// Free.
    pub correlation: Option<&'a str>,
}

fn row(stream: StreamKey, f: &Frame, shared: &Shared, seventh: Arg) -> [Arg; 12] {
    [
        stream.execution.into(),
        stream.attempt.into(),
        f.id.seq.into(),
        f.id.ms.into(),
        f.ordinal.into(),
        shared.at.0.into(),
        seventh,
        f.frame_type.into(),
        shared.encoding.into(),
        shared.source.into(),
        shared.correlation.into(),
        f.payload.into(),
    ]
}

/// Stores durable frames or patches.
pub fn insert(db: &Db, stream: StreamKey, mode: FrameMode, frames: &[Frame], shared: &Shared) {
    let mode: Arg = (mode.letter() as i8).into();
    let rows: Vec<_> = frames
        .iter()
        .map(|f| row(stream, f, shared, mode))
        .collect();
    INSERT.run(db, &rows);
}

/// Stores best-effort frames that nobody sees from an instant on.
pub fn insert_live(
    db: &Db,
    stream: StreamKey,
    frames: &[Frame],
    shared: &Shared,
    expires_at: Instant,
) {
    let until: Arg = expires_at.0.into();
    let rows: Vec<_> = frames
        .iter()
        .map(|f| row(stream, f, shared, until))
        .collect();
    INSERT_LIVE.run(db, &rows);
}

/// Deletes frames of a mode by their ordinals.
pub fn delete(db: &Db, stream: StreamKey, mode: FrameMode, ordinals: Range<i64>) {
    let (execution, attempt): (Arg, Arg) = (stream.execution.into(), stream.attempt.into());
    if mode == FrameMode::BestEffort {
        let keys: Vec<_> = ordinals.map(|n| [execution, attempt, n.into()]).collect();
        DELETE_LIVE.run(db, &keys);
    } else {
        let mode: Arg = (mode.letter() as i8).into();
        let keys: Vec<_> = ordinals
            .map(|n| [execution, attempt, mode, n.into()])
            .collect();
        DELETE.run(db, &keys);
    }
}

/// A frame as a reader gets it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Where it stands.
    pub id: FrameId,
    /// Free word.
    pub frame_type: String,
    /// How it is kept.
    pub mode: FrameMode,
    /// Content.
    pub payload: Vec<u8>,
    /// Its label.
    pub encoding: String,
    /// Who wrote it.
    pub source: String,
    /// Free.
    pub correlation: Option<String>,
    /// Version of the summary document that a patch has made.
    pub summary_version: Option<i64>,
    /// When it was appended.
    pub appended_at: Instant,
}

fn decode(row: Row) -> Shown {
    let mode = FrameMode::from_letter(row.get::<i8>(4) as u8).unwrap_or(FrameMode::Durable);
    Shown {
        id: FrameId {
            seq: row.get(1),
            ms: row.get(2),
        },
        frame_type: row.get(3),
        mode,
        payload: row.get(5),
        encoding: row.get(6),
        source: row.get(7),
        correlation: row.get(8),
        summary_version: (mode == FrameMode::Summary).then(|| row.get(9)),
        appended_at: Instant(row.get(10)),
    }
}

fn between(stream: StreamKey, from: FrameId, to: FrameId) -> [Arg; 6] {
    [
        stream.execution.into(),
        stream.attempt.into(),
        from.ms.into(),
        from.seq.into(),
        to.ms.into(),
        to.seq.into(),
    ]
}

/// Durable frames and patches between two ids, both included, that are not below the floors of their modes.
pub fn read(
    db: &Db,
    stream: StreamKey,
    (from, to): (FrameId, FrameId),
    (durable, summary): (i64, i64),
    limit: i64,
) -> Vec<Shown> {
    let [a, b, c, d, e, f] = between(stream, from, to);
    let args = [
        a,
        b,
        c,
        d,
        e,
        f,
        durable.into(),
        summary.into(),
        limit.into(),
    ];
    READ.read(db, args).iter().map(decode).collect()
}

/// Best-effort frames between two ids, both included, that are not below their floor and not too old.
pub fn read_live(
    db: &Db,
    stream: StreamKey,
    (from, to): (FrameId, FrameId),
    floor: i64,
    now: Instant,
    limit: i64,
) -> Vec<Shown> {
    let [a, b, c, d, e, f] = between(stream, from, to);
    let args = [a, b, c, d, e, f, floor.into(), now.0.into(), limit.into()];
    READ_LIVE.read(db, args).iter().map(decode).collect()
}

/// How many best-effort frames a reader could get.
pub fn count_live(db: &Db, stream: StreamKey, to: FrameId, floor: i64, now: Instant) -> i64 {
    let args = [
        stream.execution.into(),
        stream.attempt.into(),
        to.ms.into(),
        to.seq.into(),
        floor.into(),
        now.0.into(),
    ];
    COUNT_LIVE.read(db, args).first().map_or(0, |r| r.get(1))
}

/// Deletes frames that were committed after the end of their stream, up to so many of each kind; how many.
pub fn delete_beyond(db: &Db, stream: StreamKey, last: FrameId, limit: i64) -> i64 {
    let args = [
        stream.execution.into(),
        stream.attempt.into(),
        last.ms.into(),
        last.seq.into(),
        limit.into(),
    ];
    DELETE_BEYOND.run(db, args).first().map_or(0, |r| r.get(1))
}

/// Deletes best-effort frames that are too old, up to so many; how many.
pub fn delete_expired(db: &Db, stream: StreamKey, now: Instant, limit: i64) -> i64 {
    let args = [
        stream.execution.into(),
        stream.attempt.into(),
        now.0.into(),
        limit.into(),
    ];
    DELETE_EXPIRED.run(db, args).len() as i64
}

/// When the last of the best-effort frames of a stream will be too old; none if there are none.
pub fn last_expiry(db: &Db, stream: StreamKey) -> Option<Instant> {
    let rows = LAST_EXPIRY.run(db, super::key(stream));
    let row = rows.first()?;
    row.get::<Option<i64>>(1).map(Instant)
}
