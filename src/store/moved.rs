//! `ff_engine.moved`: what transitions without an event of their own mean for the counts.

use std::collections::BTreeMap;

use pgrx::pg_sys::BuiltinOid::*;

use super::statement::Write;
use crate::model::execution::Execution;
use crate::model::moved::Moved;
use crate::pg::spi::{Arg, Db};
use crate::pg::xact;

static APPEND: Write<5> = Write::insert(
    c"moved",
    [
        ("txid", XID8OID),
        ("lane_id", INT4OID),
        ("namespace_id", INT4OID),
        ("moved", INT2OID),
        ("executions", INT4OID),
    ],
);

/// Notes what has moved: one row per lane, namespace and kind of move.
pub fn append(db: &Db, moves: &[(&Execution, Moved)]) {
    if moves.is_empty() {
        return;
    }
    let mut sums: BTreeMap<(i32, i32, i16), i32> = BTreeMap::new();
    for (e, moved) in moves {
        let key = (e.place.lane, e.place.namespace, moved.number());
        *sums.entry(key).or_default() += 1;
    }
    let txid = xact::id();
    let row = |((lane, namespace, moved), n): (&(i32, i32, i16), &i32)| -> [Arg; 5] {
        [
            txid,
            (*lane).into(),
            (*namespace).into(),
            (*moved).into(),
            (*n).into(),
        ]
    };
    APPEND.run(db, &sums.iter().map(row).collect::<Vec<_>>());
}
