//! `ff_engine.stream_end`: streams as their ends found them.

use pgrx::pg_sys::BuiltinOid::*;

use crate::model::stream::position::FrameId;
use crate::model::stream::{Final, StreamKey};
use crate::model::time::Instant;
use crate::pg::composite::Composite;
use crate::pg::spi::{Arg, Db};

use super::super::statement::Write;

/// In the order of the table.
static INSERT: Write<9> = Write::insert(
    c"stream_end",
    [
        ("execution_id", UUIDOID),
        ("attempt_index", INT4OID),
        ("final_seq", INT4OID),
        ("final_ms", INT8OID),
        ("frames", INT8OID),
        ("bytes", INT8OID),
        ("durable_last", INT8OID),
        ("summary_last", INT8OID),
        ("last_at", TIMESTAMPTZOID),
    ],
);

/// Stores the ends of streams.
pub fn insert(db: &Db, ends: &[(StreamKey, Final)]) {
    let rows: Vec<[Arg; 9]> = ends
        .iter()
        .map(|(stream, end)| {
            [
                stream.execution.into(),
                stream.attempt.into(),
                end.last.seq.into(),
                end.last.ms.into(),
                end.frames.into(),
                end.bytes.into(),
                end.durable.into(),
                end.summary.into(),
                end.last_at.map(|at| at.0).into(),
            ]
        })
        .collect();
    INSERT.run(db, &rows);
}

/// A whole row, selected as one value.
pub(super) fn decode(row: &Composite) -> Final {
    Final {
        last: FrameId {
            seq: row.get(2),
            ms: row.get(3),
        },
        frames: row.get(4),
        bytes: row.get(5),
        durable: row.get(6),
        summary: row.get(7),
        last_at: row.get::<Option<i64>>(8).map(Instant),
    }
}
