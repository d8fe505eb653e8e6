//! Writing rows of `ff_engine.execution`: a save sets the columns that have changed, and no others.

use std::ffi::CStr;

use uuid::Uuid;

use crate::model::execution::Execution;
use crate::model::words::Facts;
use crate::pg::spi::{Arg, Db};
use crate::store::statement::{Inserts, InsertsIfFree, Updates};

use super::columns::{ALL, COLUMNS, Column, PLACE, Value, value};

const TABLE: &CStr = c"execution";

static UPDATES: Updates = Updates::new(TABLE, COLUMNS);
static INSERTS: Inserts = Inserts::new(TABLE, COLUMNS);
/// Callers may choose one id at the same time; the loser waits and gets no row.
static INSERTS_CHOSEN: InsertsIfFree = InsertsIfFree::new(TABLE, COLUMNS);

/// An execution before and after.
pub type Saved<'a> = (&'a Execution, &'a Execution);

fn bit(column: Column) -> u128 {
    1 << column as usize
}

/// The columns that differ in any of the rows, and the key.
fn changed(rows: &[Saved]) -> u128 {
    let any = |differ: &dyn Fn(&Execution, &Execution) -> bool| {
        rows.iter().any(|(before, after)| differ(before, after))
    };
    // One look at all that hardly ever changes spares one for each of its columns.
    let placed = any(&|before, after| before.place != after.place);
    let differs =
        |column: Column| any(&|before, after| value(before, column) != value(after, column));
    ALL.iter()
        .filter(|c| (placed || !PLACE.contains(c)) && differs(**c))
        .fold(bit(Column::execution_id), |mask, c| mask | bit(*c))
}

/// What the table's constraint says to others (§10.3.2), said to ourselves.
fn must_be_legal(e: &Execution) {
    let facts = Facts {
        lease: e.lease.id.is_some()
            && e.attempt.is_some()
            && e.lease.claimer.is_some()
            && e.lease.epoch >= 1,
        expiry: e.lease.expires_at.is_some(),
        delay: e.delay_until.is_some(),
        completed: e.completed_at.is_some(),
    };
    if e.vector.broken(facts).is_some() {
        pgrx::error!(
            "execution {} was about to get an illegal state: {:?}",
            e.place.id,
            e.vector
        );
    }
}

/// The chosen columns of a row; those beside the row come from `more`.
fn args<'a>(e: &'a Execution, mask: u128, more: impl Fn(Column) -> Option<Value<'a>>) -> Vec<Arg> {
    must_be_legal(e);
    let chosen = ALL.iter().filter(|c| mask & bit(**c) != 0);
    let mut row = Vec::with_capacity(mask.count_ones() as usize);
    row.extend(chosen.map(|c| Arg::from(more(*c).unwrap_or_else(|| value(e, *c)))));
    row
}

/// Writes what has changed.
pub fn save(db: &Db, rows: &[Saved]) {
    let mask = changed(rows);
    let rows: Vec<_> = rows
        .iter()
        .map(|(_, after)| args(after, mask, |_| None))
        .collect();
    UPDATES.run(db, mask, &rows);
}

/// A completed execution with the bytes of its result and their label.
pub type WithResult<'a> = (Saved<'a>, Option<&'a [u8]>, Option<&'a str>);

/// Writes what has changed, and the result with its label.
pub fn save_with_result(db: &Db, rows: &[WithResult]) {
    let pairs: Vec<Saved> = rows.iter().map(|(pair, ..)| *pair).collect();
    let mask = changed(&pairs) | bit(Column::result) | bit(Column::result_encoding);
    let row = |((_, after), bytes, encoding): &WithResult| {
        args(after, mask, |column| match column {
            Column::result => Some(bytes.map_or(Value::Null, Value::Bytes)),
            Column::result_encoding => Some(encoding.map_or(Value::Null, Value::Text)),
            _ => None,
        })
    };
    UPDATES.run(db, mask, &rows.iter().map(row).collect::<Vec<_>>());
}

/// Writes what has changed, and the failure detail of the latest attempt.
pub fn save_with_detail(db: &Db, rows: &[(Saved, Option<&[u8]>)]) {
    let pairs: Vec<Saved> = rows.iter().map(|(pair, _)| *pair).collect();
    let mask = changed(&pairs) | bit(Column::attempt_failure_detail);
    let row = |((_, after), detail): &(Saved, Option<&[u8]>)| {
        args(after, mask, |column| {
            (column == Column::attempt_failure_detail)
                .then(|| detail.map_or(Value::Null, Value::Bytes))
        })
    };
    UPDATES.run(db, mask, &rows.iter().map(row).collect::<Vec<_>>());
}

/// A new execution with its kind and its creator.
pub type New<'a> = (&'a Execution, &'a str, &'a str);

/// The columns that any of the rows fills, and the rows.
fn new(rows: &[New]) -> (u128, Vec<Vec<Arg>>) {
    let filled = |column: Column| rows.iter().any(|(e, ..)| value(e, column) != Value::Null);
    let always = bit(Column::creator) | bit(Column::kind);
    let mask = ALL
        .iter()
        .filter(|c| filled(**c))
        .fold(always, |mask, c| mask | bit(*c));
    let row = |(e, kind, creator): &New| {
        args(e, mask, |column| match column {
            Column::kind => Some(Value::Text(kind)),
            Column::creator => Some(Value::Text(creator)),
            _ => None,
        })
    };
    (mask, rows.iter().map(row).collect())
}

/// Inserts new executions whose id the engine minted.
pub fn insert(db: &Db, rows: &[New]) {
    let (mask, rows) = new(rows);
    INSERTS.run(db, mask, &rows);
}

/// Inserts new executions whose id the caller chose; returns the ids that were still free.
pub fn insert_chosen(db: &Db, rows: &[New]) -> Vec<Uuid> {
    let (mask, rows) = new(rows);
    if rows.is_empty() {
        return Vec::new();
    }
    let won = INSERTS_CHOSEN.run(db, mask, &rows);
    won.iter().map(|r| r.get(1)).collect()
}
