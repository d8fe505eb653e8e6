//! `ff_engine.stream_summary`: summary documents.

use pgrx::pg_sys::BuiltinOid::*;

use crate::model::stream::StreamKey;
use crate::model::time::Instant;
use crate::pg::jsonb::Jsonb;
use crate::pg::spi::{Db, Stmt};
use crate::pg::table::{Named, Table};

use super::super::statement::{Inserts, Updates};
use super::key;

/// In the order of the table.
const COLUMNS: &[Named] = &[
    ("execution_id", UUIDOID),
    ("attempt_index", INT4OID),
    ("document", JSONBOID),
    ("version", INT8OID),
    ("first_applied_at", TIMESTAMPTZOID),
    ("last_updated_at", TIMESTAMPTZOID),
];

static ROWS: Table = Table::new(c"stream_summary", 2);
static INSERTS: Inserts = Inserts::new(c"stream_summary", COLUMNS);
static UPDATES: Updates = Updates::by(c"stream_summary", 2, COLUMNS);

static SHOWN: Stmt<2> = Stmt::new(
    c"SELECT m.document, m.version, m.first_applied_at, m.last_updated_at FROM ff_engine.stream_summary AS m
       WHERE m.execution_id = $1 AND m.attempt_index = $2",
    [UUIDOID, INT4OID],
);

/// A document and how it came about.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The document.
    pub document: Jsonb,
    /// Patches applied.
    pub version: i64,
    /// When the first was.
    pub first_at: Instant,
    /// When the last was.
    pub last_at: Instant,
}

/// Reads the document of a stream, whose row the caller has locked.
pub fn read(db: &Db, stream: StreamKey) -> Option<Summary> {
    ROWS.find(db, COLUMNS, |finder| {
        finder.read(&key(stream), |row| Summary {
            document: row.get(2),
            version: row.get(3),
            first_at: Instant(row.get(4)),
            last_at: Instant(row.get(5)),
        })
    })
}

/// Reads the document of a stream on the active snapshot, for reads.
pub fn shown(db: &Db, stream: StreamKey) -> Option<Summary> {
    let rows = SHOWN.read(db, key(stream));
    rows.first().map(|row| Summary {
        document: row.get(1),
        version: row.get(2),
        first_at: Instant(row.get(3)),
        last_at: Instant(row.get(4)),
    })
}

/// Stores a document, whose row is there or is new.
pub fn store(db: &Db, stream: StreamKey, summary: &Summary, new: bool) {
    let row = vec![
        stream.execution.into(),
        stream.attempt.into(),
        (&summary.document).into(),
        summary.version.into(),
        summary.first_at.0.into(),
        summary.last_at.0.into(),
    ];
    if new {
        INSERTS.run(db, u128::MAX, &[row]);
    } else {
        UPDATES.run(db, u128::MAX, &[row]);
    }
}
