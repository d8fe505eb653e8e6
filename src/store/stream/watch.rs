//! `ff_engine.stream_watch`: where to look for what nobody needs any more.

use pgrx::pg_sys::BuiltinOid::*;
use serde_json::{Map, Value};

use crate::model::stream::StreamKey;
use crate::model::time::Instant;
use crate::pg::jsonb::Jsonb;
use crate::pg::spi::{Arg, Db, Stmt};

use super::super::binding;
use super::super::statement::{Named, Write};

const COLUMNS: [Named; 3] = [
    ("due_at", TIMESTAMPTZOID),
    ("execution_id", UUIDOID),
    ("attempt_index", INT4OID),
];

static INSERT: Write<3> = Write::insert(c"stream_watch", COLUMNS);
static DELETE: Write<3> = Write::delete(c"stream_watch", COLUMNS);

/// A stream without an execution is everybody's to clear away.
static DUE: Stmt<7> = Stmt::new(
    c"SELECT w.due_at, w.execution_id, w.attempt_index
        FROM ff_engine.stream_watch AS w
        LEFT JOIN ff_engine.execution AS e ON e.execution_id = w.execution_id
       WHERE w.due_at <= $1
         AND (e.execution_id IS NULL
              OR e.partition_key BETWEEN $2 AND $3 AND ($4 IS NULL OR e.namespace_id = $4)
                 AND ($5 IS NULL OR e.namespace_id = ANY ($5)) AND ($6 IS NULL OR e.tags @> $6))
       ORDER BY w.due_at, w.execution_id, w.attempt_index LIMIT $7
         FOR UPDATE OF w SKIP LOCKED",
    [
        TIMESTAMPTZOID,
        INT2OID,
        INT2OID,
        INT4OID,
        INT4ARRAYOID,
        JSONBOID,
        INT8OID,
    ],
);

/// One entry.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    /// Not to be looked at earlier.
    pub due_at: Instant,
    /// What to look at.
    pub stream: StreamKey,
}

fn args(watches: &[Watch]) -> Vec<[Arg; 3]> {
    let row = |w: &Watch| {
        [
            w.due_at.0.into(),
            w.stream.execution.into(),
            w.stream.attempt.into(),
        ]
    };
    watches.iter().map(row).collect()
}

/// Adds entries.
pub fn insert(db: &Db, watches: &[Watch]) {
    INSERT.run(db, &args(watches));
}

/// Removes entries.
pub fn delete(db: &Db, watches: &[Watch]) {
    DELETE.run(db, &args(watches));
}

/// What the streams to look at are restricted to.
pub struct Wanted<'a> {
    /// Lowest and highest partition.
    pub partitions: (i16, i16),
    /// Only this namespace.
    pub namespace: Option<i32>,
    /// Only executions whose tags contain these.
    pub tags: &'a Map<String, Value>,
}

/// Due entries that nobody else looks at, locked, in due order.
pub fn due(db: &Db, now: Instant, wanted: &Wanted, limit: i64) -> Vec<Watch> {
    let tags =
        (!wanted.tags.is_empty()).then(|| Jsonb::from_json(&Value::Object(wanted.tags.clone())));
    let args = [
        now.0.into(),
        wanted.partitions.0.into(),
        wanted.partitions.1.into(),
        wanted.namespace.into(),
        binding::only(),
        tags.as_ref().into(),
        limit.into(),
    ];
    DUE.run(db, args)
        .iter()
        .map(|r| Watch {
            due_at: Instant(r.get(1)),
            stream: StreamKey {
                execution: r.get(2),
                attempt: r.get(3),
            },
        })
        .collect()
}
