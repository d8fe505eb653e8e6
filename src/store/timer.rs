//! `ff_engine.timer`: where the engine will look next.

use pgrx::pg_sys::BuiltinOid::*;
use uuid::Uuid;

use super::statement::Write;
use crate::model::time::Instant;
use crate::pg::spi::{Arg, Db, Stmt};

static INSERT: Write<4> = Write::insert(
    "ff_engine.timer",
    [
        ("kind", CHAROID),
        ("lane_id", INT4OID),
        ("due_at", TIMESTAMPTZOID),
        ("execution_id", UUIDOID),
    ],
);

static DELETE: Write<4> = Write::delete(
    "ff_engine.timer",
    [
        ("kind", CHAROID),
        ("lane_id", INT4OID),
        ("due_at", TIMESTAMPTZOID),
        ("execution_id", UUIDOID),
    ],
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

/// Timers of executions that have ended need no look before their purge: they move there in bulk.
static RETIRE: Stmt<2> = Stmt::new(
    c"WITH due AS (
        SELECT d.due_at, d.lane_id, d.execution_id,
               CASE WHEN e.retention_ms >= 0 THEN e.completed_at + e.retention_ms * interval '1 millisecond' END AS purge_at
          FROM ff_engine.lane AS l
         CROSS JOIN LATERAL (
               SELECT t.lane_id, t.due_at, t.execution_id FROM ff_engine.timer AS t
                WHERE t.kind = 'l' AND t.lane_id = l.lane_id AND t.due_at <= $1
                ORDER BY t.due_at, t.execution_id LIMIT $2) AS d
          LEFT JOIN ff_engine.execution AS e ON e.execution_id = d.execution_id
         WHERE e.execution_id IS NULL OR ff_engine.lifecycle(e.state) = 't'),
      gone AS (
        DELETE FROM ff_engine.timer AS t USING due AS d
         WHERE t.kind = 'l' AND t.lane_id = d.lane_id AND t.due_at = d.due_at AND t.execution_id = d.execution_id
        RETURNING t.lane_id, t.due_at, t.execution_id)
      INSERT INTO ff_engine.timer (kind, lane_id, due_at, execution_id)
      SELECT DISTINCT 'p'::\"char\", g.lane_id, d.purge_at, g.execution_id
        FROM gone AS g JOIN due AS d ON d.execution_id = g.execution_id AND d.due_at = g.due_at
       WHERE d.purge_at IS NOT NULL",
    [TIMESTAMPTZOID, INT8OID],
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

static NEXT: Stmt<0> = Stmt::new(
    c"SELECT min(d.due_at)
        FROM ff_engine.lane AS l
       CROSS JOIN LATERAL (
             SELECT t.due_at FROM ff_engine.timer AS t
              WHERE t.kind = 'l' AND t.lane_id = l.lane_id ORDER BY t.due_at LIMIT 1) AS d",
    [],
);

/// Which of the two sets a timer is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// Something may have to be done for a living execution.
    Live,
    /// A terminal execution may be deleted.
    Purge,
}

impl Set {
    fn letter(self) -> i8 {
        match self {
            Set::Live => b'l' as i8,
            Set::Purge => b'p' as i8,
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

/// Moves due timers of terminal executions to the purge set; returns how many stand there anew.
pub fn retire(db: &Db, now: Instant, limit: i64) -> usize {
    RETIRE.run(db, [now.0.into(), limit.into()]).len()
}

/// The earliest instant any live timer stands at.
pub fn next(db: &Db) -> Option<Instant> {
    NEXT.run(db, [])
        .first()
        .and_then(|r| r.get::<Option<i64>>(1))
        .map(Instant)
}

/// Removes due purge timers of executions that are gone already.
pub fn drop_orphans(db: &Db, now: Instant, limit: i64) {
    ORPHANS.run(db, [now.0.into(), limit.into()]);
}
