//! `ff_engine.timer`: where the engine will look next.

use std::cell::Cell;

use pgrx::pg_sys::BuiltinOid::*;
use uuid::Uuid;

use super::statement::{Named, Write};
use super::{execution, purge};
use crate::model::execution::Execution;
use crate::model::time::Instant;
use crate::pg::array;
use crate::pg::spi::{Arg, Db, Row, Stmt};
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

static DUE: Stmt<4> = Stmt::new(
    c"SELECT d.lane_id, d.due_at, d.execution_id
        FROM ff_engine.lane AS l
       CROSS JOIN LATERAL (
             SELECT t.lane_id, t.due_at, t.execution_id FROM ff_engine.timer AS t
              WHERE t.kind = 'l' AND t.lane_id = l.lane_id AND t.due_at <= $1 AND (t.due_at, t.execution_id) > ($2, $3)
              ORDER BY t.due_at, t.execution_id LIMIT $4) AS d
       ORDER BY d.due_at, d.execution_id LIMIT $4",
    [TIMESTAMPTZOID, TIMESTAMPTZOID, UUIDOID, INT8OID],
);

static DUE_IN_LANE: Stmt<5> = Stmt::new(
    c"SELECT t.lane_id, t.due_at, t.execution_id FROM ff_engine.timer AS t
       WHERE t.kind = 'l' AND t.lane_id = $1 AND t.due_at <= $2 AND (t.due_at, t.execution_id) > ($3, $4)
       ORDER BY t.due_at, t.execution_id LIMIT $5",
    [INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID, UUIDOID, INT8OID],
);

static NEXT: Stmt<2> = Stmt::new(
    c"SELECT min(d.due_at)
        FROM ff_engine.lane AS l
       CROSS JOIN LATERAL (
             SELECT t.due_at FROM ff_engine.timer AS t
              WHERE t.kind = 'l' AND t.lane_id = l.lane_id AND t.due_at >= $1 AND t.execution_id <> ALL ($2)
              ORDER BY t.due_at LIMIT 1) AS d",
    [TIMESTAMPTZOID, UUIDARRAYOID],
);

thread_local! {
    /// No live timer stands before this instant, as far as this process has heard.
    static FLOOR: Cell<Instant> = const { Cell::new(Instant(i64::MIN)) };
}

/// Searches begin at an instant from now on, if they began later before. Where vacuum cannot remove the entries of
/// timers that are gone, every search would wade through all of them.
pub fn lower_floor(to: Instant) {
    FLOOR.set(FLOOR.get().min(to));
}

/// Searches begin at an instant from now on: only for a process that hears of every earlier timer once others can see
/// it, and that has looked since it heard last.
pub fn raise_floor(to: Instant) {
    FLOOR.set(to);
}

/// Which of the two sets a timer is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// Something may have to be done for a living execution.
    Live,
    /// Nothing is to be done: this is how leases that are marked as lost are listed by the end they had.
    Lost,
}

impl Set {
    fn letter(self) -> i8 {
        match self {
            Set::Live => b'l' as i8,
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
    /// The timer of a living execution.
    pub fn live(e: &Execution, due_at: Instant) -> Timer {
        Timer {
            set: Set::Live,
            lane: e.place.lane,
            due_at,
            id: e.place.id,
        }
    }

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
    let timer = |r: Row| Timer {
        set: Set::Live,
        lane: r.get(1),
        due_at: Instant(r.get(2)),
        id: r.get(3),
    };
    rows.iter().map(timer).collect()
}

/// Due live timers of all lanes in due order, after a place.
pub fn due(db: &Db, now: Instant, after: (Instant, Uuid), limit: i64) -> Vec<Timer> {
    let (at, id) = after.max((FLOOR.get().minus(1), Uuid::max()));
    decode(&DUE.run(db, [now.0.into(), at.0.into(), id.into(), limit.into()]))
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

/// Takes away due timers of executions that have ended, or are gone, and lists them to be purged: they need no look
/// before that. Returns how many timers were taken away.
pub fn retire(db: &Db, now: Instant, limit: usize) -> usize {
    let mut spent = Vec::new();
    let mut ends = Vec::new();
    let lanes: Vec<i32> = LANES.run(db, []).iter().map(|r| r.get(1)).collect();
    for lane in lanes {
        let due = || first(db, lane, now, limit);
        execution::ends(db, due, |timer, purge_at| {
            spent.push(timer);
            ends.push(purge_at.map(|at| (at, timer.id)));
        });
    }
    // What another session takes away just now, it lists.
    let taken = DELETE.run(db, &args(&spent));
    let mine = |(end, taken): (_, bool)| taken.then_some(end);
    let ends: Vec<_> = ends.into_iter().zip(taken).filter_map(mine).collect();
    let count = ends.len();
    purge::insert(db, ends.into_iter().flatten().collect());
    count
}

/// The first due live timers of a lane.
fn first(db: &Db, lane: i32, now: Instant, limit: usize) -> Vec<Timer> {
    let mut due = Vec::new();
    let from = [lane.into(), FLOOR.get().0.into(), Uuid::nil().into()];
    ORDER.find_in_active(db, &COLUMNS, |order| {
        order.walk(Set::Live.letter().into(), &from, |row| {
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
    });
    due
}

/// The earliest instant any live timer stands at, but for those of some executions.
pub fn next(db: &Db, but: &[Uuid]) -> Option<Instant> {
    let but = array::uuids(but.iter().copied());
    NEXT.run(db, [FLOOR.get().0.into(), but])
        .first()
        .and_then(|r| r.get::<Option<i64>>(1))
        .map(Instant)
}
