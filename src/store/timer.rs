//! `ff_engine.timer`: where the engine will look next.

use pgrx::pg_sys::BuiltinOid::*;
use uuid::Uuid;

use super::execution;
use super::statement::{Named, Write};
use crate::model::execution::Execution;
use crate::model::time::Instant;
use crate::pg::array;
use crate::pg::snapshot;
use crate::pg::spi::{Arg, Db, Stmt};
use crate::pg::table::Table;

const COLUMNS: [Named; 4] = [
    ("kind", CHAROID),
    ("lane_id", INT4OID),
    ("due_at", TIMESTAMPTZOID),
    ("execution_id", UUIDOID),
];

static INSERT: Write<4> = Write::insert(c"timer", COLUMNS);
static DELETE: Write<4> = Write::delete(c"timer", COLUMNS);
static ORDER: Table = Table::new(c"timer", 4);

static LANES: Stmt<0> = Stmt::new(
    c"SELECT l.lane_id FROM ff_engine.lane AS l ORDER BY l.lane_id",
    [],
);

static DUE: Stmt<5> = Stmt::new(
    c"SELECT d.kind, d.lane_id, d.due_at, d.execution_id
        FROM ff_engine.lane AS l
       CROSS JOIN LATERAL (
             SELECT t.kind, t.lane_id, t.due_at, t.execution_id FROM ff_engine.timer AS t
              WHERE t.kind = $1 AND t.lane_id = l.lane_id AND t.due_at <= $2 AND (t.due_at, t.execution_id) > ($3, $4)
              ORDER BY t.due_at, t.execution_id LIMIT $5) AS d
       ORDER BY d.due_at, d.execution_id LIMIT $5",
    [CHAROID, TIMESTAMPTZOID, TIMESTAMPTZOID, UUIDOID, INT8OID],
);

static DUE_IN_LANE: Stmt<5> = Stmt::new(
    c"SELECT t.kind, t.lane_id, t.due_at, t.execution_id FROM ff_engine.timer AS t
       WHERE t.kind = 'l' AND t.lane_id = $1 AND t.due_at <= $2 AND (t.due_at, t.execution_id) > ($3, $4)
       ORDER BY t.due_at, t.execution_id LIMIT $5",
    [INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID, UUIDOID, INT8OID],
);

static ORPHANS: Stmt<2> = Stmt::new(
    c"DELETE FROM ff_engine.timer AS t
       USING (SELECT d.lane_id, d.due_at, d.execution_id
                FROM ff_engine.lane AS l
               CROSS JOIN LATERAL (
                     SELECT p.lane_id, p.due_at, p.execution_id FROM ff_engine.timer AS p
                      WHERE p.kind = 'p' AND p.lane_id = l.lane_id AND p.due_at <= $1
                      ORDER BY p.due_at, p.execution_id LIMIT $2) AS d
                LEFT JOIN ff_engine.execution AS e ON e.execution_id = d.execution_id
               WHERE e.execution_id IS NULL) AS o
       WHERE t.kind = 'p' AND t.lane_id = o.lane_id AND t.due_at = o.due_at AND t.execution_id = o.execution_id",
    [TIMESTAMPTZOID, INT8OID],
);

static NEXT: Stmt<1> = Stmt::new(
    c"SELECT min(d.due_at)
        FROM ff_engine.lane AS l
       CROSS JOIN LATERAL (
             SELECT t.due_at FROM ff_engine.timer AS t
              WHERE t.kind = 'l' AND t.lane_id = l.lane_id AND t.execution_id <> ALL ($1)
              ORDER BY t.due_at LIMIT 1) AS d",
    [UUIDARRAYOID],
);

/// Which of the two sets a timer is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// Something may have to be done for a living execution.
    Live,
    /// A terminal execution may be deleted.
    Purge,
    /// Nothing is to be done: this is how leases that are marked as lost are listed by the end they had.
    Lost,
}

impl Set {
    fn letter(self) -> i8 {
        match self {
            Set::Live => b'l' as i8,
            Set::Purge => b'p' as i8,
            Set::Lost => b'x' as i8,
        }
    }
}

/// One timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    /// Its set.
    pub set: Set,
    /// Lane of its execution.
    pub lane: i32,
    /// No later than what it stands for.
    pub due_at: Instant,
    /// Its execution.
    pub id: Uuid,
}

impl From<Timer> for Uuid {
    fn from(timer: Timer) -> Uuid {
        timer.id
    }
}

impl Timer {
    /// The entry of an execution whose lease ended at an instant and is marked as lost.
    pub fn lost(e: &Execution, ended_at: Instant) -> Timer {
        Timer {
            set: Set::Lost,
            lane: e.place.lane,
            due_at: ended_at,
            id: e.place.id,
        }
    }
}

fn args(timers: &[Timer]) -> Vec<[Arg; 4]> {
    timers
        .iter()
        .map(|t| {
            [
                t.set.letter().into(),
                t.lane.into(),
                t.due_at.0.into(),
                t.id.into(),
            ]
        })
        .collect()
}

/// Arms timers.
pub fn insert(db: &Db, timers: &[Timer]) {
    INSERT.run(db, &args(timers));
}

/// Removes timers.
pub fn delete(db: &Db, timers: &[Timer]) {
    DELETE.run(db, &args(timers));
}

fn decode(rows: &crate::pg::spi::Rows) -> Vec<Timer> {
    rows.iter()
        .map(|r| {
            let set = if r.get::<i8>(1) == Set::Purge.letter() {
                Set::Purge
            } else {
                Set::Live
            };
            Timer {
                set,
                lane: r.get(2),
                due_at: Instant(r.get(3)),
                id: r.get(4),
            }
        })
        .collect()
}

/// Due timers of all lanes in due order, after a place.
pub fn due(db: &Db, set: Set, now: Instant, after: (Instant, Uuid), limit: i64) -> Vec<Timer> {
    let (at, id) = after;
    decode(&DUE.run(
        db,
        [
            set.letter().into(),
            now.0.into(),
            at.0.into(),
            id.into(),
            limit.into(),
        ],
    ))
}

/// Due live timers of one lane, after a place.
pub fn due_in_lane(
    db: &Db,
    lane: i32,
    now: Instant,
    after: (Instant, Uuid),
    limit: i64,
) -> Vec<Timer> {
    let (at, id) = after;
    decode(&DUE_IN_LANE.run(
        db,
        [
            lane.into(),
            now.0.into(),
            at.0.into(),
            id.into(),
            limit.into(),
        ],
    ))
}

/// Moves due timers of executions that have ended, or are gone, to where they may be purged: they need no look
/// before that. Returns how many were moved or dropped.
pub fn retire(db: &Db, now: Instant, limit: usize) -> usize {
    let mut spent = Vec::new();
    let mut purges = Vec::new();
    let lanes: Vec<i32> = LANES.run(db, []).iter().map(|r| r.get(1)).collect();
    for lane in lanes {
        let due = snapshot::latest(|| first(db, lane, now, limit));
        execution::ends(db, due, |timer, purge_at| {
            spent.push(timer);
            purges.extend(purge_at.map(|at| Timer {
                set: Set::Purge,
                due_at: at,
                ..timer
            }));
        });
    }
    purges.sort_by_key(|t| (t.lane, t.due_at, t.id));
    purges.dedup();
    delete(db, &spent);
    insert(db, &purges);
    spent.len()
}

/// The first due live timers of a lane.
fn first(db: &Db, lane: i32, now: Instant, limit: usize) -> Vec<Timer> {
    let mut due = Vec::new();
    let from = [lane.into(), i64::MIN.into(), Uuid::nil().into()];
    ORDER.walk(db, &COLUMNS, Set::Live.letter().into(), &from, |row| {
        let timer = Timer {
            set: Set::Live,
            lane: row.get(1),
            due_at: Instant(row.get(2)),
            id: row.get(3),
        };
        let more = timer.lane == lane && timer.due_at <= now && due.len() < limit;
        if more {
            due.push(timer);
        }
        more
    });
    due
}

/// The earliest instant any live timer stands at, but for those of some executions.
pub fn next(db: &Db, but: &[Uuid]) -> Option<Instant> {
    NEXT.run(db, [array::uuids(but.iter().copied())])
        .first()
        .and_then(|r| r.get::<Option<i64>>(1))
        .map(Instant)
}

/// Removes due purge timers of executions that are gone already.
pub fn drop_orphans(db: &Db, now: Instant, limit: i64) {
    ORPHANS.run(db, [now.0.into(), limit.into()]);
}
