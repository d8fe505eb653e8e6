//! `ff_engine.moved`: what transitions without an event of their own mean for the counts.

use std::collections::BTreeMap;

use pgrx::pg_sys::BuiltinOid::*;

use crate::model::execution::Execution;
use crate::model::moved::Moved;
use crate::pg::spi::{Arg, Db};
use crate::pg::table::Own;
use crate::pg::xact;

/// Lane, namespace and kind of move.
type Key = (i32, i32, i16);

/// Each session goes on adding to its row of a kind until the background work has taken it.
static SUMS: Own<Key, 5> = Own::new(
    c"moved",
    [
        ("begun", XID8OID),
        ("lane_id", INT4OID),
        ("namespace_id", INT4OID),
        ("moved", INT2OID),
        ("executions", INT4OID),
    ],
);

/// Notes what has moved, summed by lane, namespace and kind of move.
pub fn append(db: &Db, moves: &[(&Execution, Moved)]) {
    let mut sums: BTreeMap<Key, i32> = BTreeMap::new();
    for (e, moved) in moves {
        let key = (e.place.lane, e.place.namespace, moved.number());
        *sums.entry(key).or_default() += 1;
    }
    for (key, n) in sums {
        let (lane, namespace, moved) = key;
        let row = |begun: Arg, executions: i32| {
            [
                begun,
                lane.into(),
                namespace.into(),
                moved.into(),
                executions.into(),
            ]
        };
        let added = SUMS.change(db, &key, |own| {
            let same = (own.get(1), own.get(2), own.get(3)) == key;
            let sum = own.get::<i32>(4).checked_add(n).filter(|_| same)?;
            Some(row(own.get::<i64>(0).into(), sum))
        });
        if !added {
            SUMS.insert(db, key, &row(xact::id(), n));
        }
    }
}
