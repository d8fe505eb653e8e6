//! `ff_engine.purge`: ended executions by when they may be deleted, many in a row.

use pgrx::pg_sys::BuiltinOid::*;
use uuid::Uuid;

use super::statement::Write;
use crate::model::time::{Instant, MS};
use crate::pg::array;
use crate::pg::sequence::Sequence;
use crate::pg::spi::{Arg, Db, Stmt};

/// Executions in one lot at most.
const SIZE: usize = 100;
/// The first of a lot waits for the last, but no longer than this.
const SPREAD: i64 = 250 * MS;

static LOT: Sequence = Sequence::new(c"purge_lot");

static INSERT: Write<3> = Write::insert(
    c"purge",
    [
        ("due_at", TIMESTAMPTZOID),
        ("lot", INT8OID),
        ("execution_ids", UUIDARRAYOID),
    ],
);

/// A lot that another session is at is left to it.
static DUE: Stmt<3> = Stmt::new(
    c"SELECT p.due_at, p.lot, p.execution_ids FROM ff_engine.purge AS p
       WHERE p.due_at <= $1 AND (p.due_at, p.lot) > ($2, $3)
       ORDER BY p.due_at, p.lot LIMIT 1 FOR UPDATE SKIP LOCKED",
    [TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID],
);

static DELETE: Write<2> = Write::delete(c"purge", [("due_at", TIMESTAMPTZOID), ("lot", INT8OID)]);

static KEEP: Stmt<3> = Stmt::new(
    c"UPDATE ff_engine.purge AS p SET execution_ids = $3 WHERE p.due_at = $1 AND p.lot = $2",
    [TIMESTAMPTZOID, INT8OID, UUIDARRAYOID],
);

/// Where a lot stands among all.
pub type Place = (Instant, i64);

/// The place before every lot.
pub const FIRST: Place = (Instant(i64::MIN), 0);

/// Ended executions that may be deleted at one instant.
pub struct Lot {
    /// Where it stands.
    pub place: Place,
    /// Which.
    pub ids: Vec<Uuid>,
}

/// Lists ended executions by the instants at which they may be deleted.
pub fn insert(db: &Db, mut ended: Vec<(Instant, Uuid)>) {
    ended.sort_unstable();
    ended.dedup();
    let near = |a: &(Instant, Uuid), b: &(Instant, Uuid)| b.0.0 / SPREAD == a.0.0 / SPREAD;
    let lots = ended.chunk_by(near).flat_map(|near| near.chunks(SIZE));
    let row = |lot: &[(Instant, Uuid)]| -> Option<[Arg; 3]> {
        let (due_at, _) = lot.last()?;
        let ids = array::uuids(lot.iter().map(|(_, id)| *id));
        Some([due_at.0.into(), LOT.next().into(), ids])
    };
    INSERT.run(db, &lots.filter_map(row).collect::<Vec<_>>());
}

/// Locks the first due lot after a place.
pub fn due(db: &Db, now: Instant, after: Place) -> Option<Lot> {
    let (at, lot) = after;
    let rows = DUE.run(db, [now.0.into(), at.0.into(), lot.into()]);
    rows.first().map(|r| Lot {
        place: (Instant(r.get(1)), r.get(2)),
        ids: r.get(3),
    })
}

/// Leaves these executions in a lot, which goes with the last of them.
pub fn keep(db: &Db, lot: &Lot, ids: &[Uuid]) {
    let (due_at, number) = lot.place;
    let place = [due_at.0.into(), number.into()];
    if ids.is_empty() {
        DELETE.run(db, &[place]);
    } else if ids.len() < lot.ids.len() {
        let [due_at, number] = place;
        KEEP.run(db, [due_at, number, array::uuids(ids.iter().copied())]);
    }
}
