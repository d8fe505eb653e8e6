//! `ff_engine.execution_input`: payload and policy, written once.

use pgrx::pg_sys::BuiltinOid::*;
use uuid::Uuid;

use super::statement::{Named, Write};
use crate::pg::array;
use crate::pg::jsonb::Jsonb;
use crate::pg::spi::{Arg, Db, Stmt};
use crate::pg::table::Table;

const COLUMNS: [Named; 4] = [
    ("execution_id", UUIDOID),
    ("payload", BYTEAOID),
    ("payload_encoding", TEXTOID),
    ("policy", JSONBOID),
];

static INSERT: Write<4> = Write::insert(c"execution_input", COLUMNS);
static BY_ID: Table = Table::new(c"execution_input", 1);

static POLICIES: Stmt<1> = Stmt::new(
    c"SELECT i.execution_id, i.policy FROM ff_engine.execution_input AS i
       WHERE i.execution_id = ANY ($1) AND i.policy IS NOT NULL",
    [UUIDARRAYOID],
);

/// What the worker of one execution is told beside its state, with the names behind its numbers.
static WHOLE: Stmt<1> = Stmt::new(
    c"SELECT n.name, l.name, e.kind, i.payload, i.payload_encoding, i.policy
        FROM ff_engine.execution AS e
        JOIN ff_engine.namespace AS n ON n.namespace_id = e.namespace_id
        JOIN ff_engine.lane AS l ON l.lane_id = e.lane_id
        LEFT JOIN ff_engine.execution_input AS i ON i.execution_id = e.execution_id
       WHERE e.execution_id = $1",
    [UUIDOID],
);

/// Names and input of one execution.
pub struct Whole {
    /// Namespace name.
    pub namespace: String,
    /// Lane name.
    pub lane: String,
    /// Kind of work.
    pub kind: String,
    /// Payload.
    pub payload: Option<Vec<u8>>,
    /// Its label.
    pub encoding: Option<String>,
    /// Stored policy, none when all defaults.
    pub policy: Option<Jsonb>,
}

/// Names and input of an execution.
pub fn whole(db: &Db, id: Uuid) -> Option<Whole> {
    WHOLE.run(db, [id.into()]).first().map(|r| Whole {
        namespace: r.get(1),
        lane: r.get(2),
        kind: r.get(3),
        payload: r.get(4),
        encoding: r.get(5),
        policy: r.get(6),
    })
}

/// What a caller handed in.
pub struct Input<'a> {
    /// Whose.
    pub id: Uuid,
    /// Payload, byte for byte.
    pub payload: Option<&'a [u8]>,
    /// Its label.
    pub encoding: Option<&'a str>,
    /// Normalised policy, none when all defaults.
    pub policy: Option<&'a serde_json::Value>,
}

/// Stores inputs.
pub fn insert(db: &Db, inputs: &[Input]) {
    let rows: Vec<[Arg; 4]> = inputs
        .iter()
        .map(|i| {
            [
                i.id.into(),
                i.payload.into(),
                i.encoding.into(),
                i.policy.map(Jsonb::from_json).as_ref().into(),
            ]
        })
        .collect();
    INSERT.run(db, &rows);
}

/// A stored input.
#[derive(Default)]
pub struct Stored {
    /// Payload.
    pub payload: Option<Vec<u8>>,
    /// Its label.
    pub encoding: Option<String>,
    /// Stored policy, none when all defaults.
    pub policy: Option<Jsonb>,
}

/// The inputs of executions, in order; an empty one for those that have none.
pub fn read(db: &Db, ids: impl ExactSizeIterator<Item = Uuid>) -> Vec<Stored> {
    BY_ID.find(db, &COLUMNS, |finder| {
        finder.expect(ids.len());
        let stored = |id: Uuid| {
            finder.read(&[id.into()], |row| Stored {
                payload: row.get(1),
                encoding: row.get(2),
                policy: row.get(3),
            })
        };
        ids.map(|id| stored(id).unwrap_or_default()).collect()
    })
}

/// The policies of those executions that have one.
pub fn policies(db: &Db, ids: &[Uuid]) -> Vec<(Uuid, Jsonb)> {
    let rows = POLICIES.run(db, [array::uuids(ids.iter().copied())]);
    rows.iter().map(|r| (r.get(1), r.get(2))).collect()
}
