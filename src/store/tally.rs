//! `ff_engine.tally` and its position: executions counted by public state.

use pgrx::pg_sys::BuiltinOid::*;

use crate::model::cursor::Snapshot;
use crate::pg::array::{array, ints};
use crate::pg::spi::{Arg, Db, Row, Rows, Stmt};

/// A restore in progress would be counted half, and whoever has written already would be counted twice.
static BEHIND: Stmt<0> = Stmt::new(
    c"SELECT CASE WHEN EXISTS (SELECT FROM ff_engine.tallied) THEN EXISTS (SELECT FROM ff_engine.untallied)
                  ELSE pg_current_xact_id_if_assigned() IS NULL
                       AND NOT EXISTS (SELECT FROM pg_stat_activity AS a
                                        WHERE a.datname = current_database() AND a.application_name = 'pg_restore') END",
    [],
);

static LOCK: Stmt<0> = Stmt::new(
    c"SELECT (SELECT t.next FROM ff_engine.tallied AS t) FROM ff_engine.tally_position AS p FOR UPDATE SKIP LOCKED",
    [],
);

/// What has moved without an event will be added later, so it is taken off.
static COUNT: Stmt<0> = Stmt::new(
    c"SELECT c.lane_id, c.namespace_id, c.place::smallint, sum(c.executions)::bigint
        FROM (SELECT e.lane_id, e.namespace_id, ff_engine.public_place(e.state) AS place, e.executions
                FROM (SELECT x.lane_id, x.namespace_id, x.state, count(*) AS executions
                        FROM ff_engine.execution AS x GROUP BY x.lane_id, x.namespace_id, x.state) AS e
              UNION ALL
              SELECT m.lane_id, m.namespace_id, s.place, s.sign * m.executions
                FROM ff_engine.moved AS m
               CROSS JOIN LATERAL (VALUES (m.moved >> 4, 1), (m.moved & 15, -1)) AS s (place, sign)
               WHERE s.place > 0) AS c
       GROUP BY 1, 2, 3",
    [],
);

/// Events that a snapshot shows although their transaction had not committed: they came with a dump.
static FOREIGN: Stmt<2> = Stmt::new(
    c"SELECT max(f.event_id)
        FROM (SELECT max(e.event_id) AS event_id FROM ff_engine.event AS e WHERE e.txid >= $1
              UNION ALL SELECT max(e.event_id) FROM ff_engine.event AS e WHERE e.txid = ANY ($2)) AS f",
    [XID8OID, XID8ARRAYOID],
);

static PAGE_END: Stmt<1> = Stmt::new(
    c"SELECT e.txid FROM ff_engine.tallied AS p JOIN ff_engine.event AS e ON e.txid >= p.next
       ORDER BY e.txid OFFSET $1 LIMIT 1",
    [INT8OID],
);

/// Events are many and their moves of few kinds, so these are summed up first.
static EVENTS: Stmt<2> = Stmt::new(
    c"SELECT n.lane_id, n.namespace_id, s.place::smallint, sum(s.sign * n.events)::bigint
        FROM (SELECT e.lane_id, e.namespace_id, e.moved, count(*) AS events
                FROM ff_engine.untallied_event AS e
               WHERE e.txid < $1 AND e.txid <> ALL ($2) AND e.moved IS NOT NULL
               GROUP BY e.lane_id, e.namespace_id, e.moved) AS n
       CROSS JOIN LATERAL (VALUES (n.moved >> 4, -1), (n.moved & 15, 1)) AS s (place, sign)
       WHERE s.place > 0
       GROUP BY 1, 2, 3 HAVING sum(s.sign * n.events) <> 0",
    [XID8OID, XID8ARRAYOID],
);

/// Rows that a session is adding to are left to it.
static TAKE_MOVES: Stmt<0> = Stmt::new(
    c"WITH taken AS (
          DELETE FROM ff_engine.moved AS m
           WHERE m.ctid = ANY (ARRAY(
                 SELECT f.ctid FROM ff_engine.moved AS f
                  WHERE f.ctid = ANY (ARRAY(SELECT u.place FROM ff_engine.untallied_move AS u))
                    FOR UPDATE SKIP LOCKED))
          RETURNING m.lane_id, m.namespace_id, m.moved, m.executions)
      SELECT t.lane_id, t.namespace_id, s.place::smallint, sum(s.sign * t.executions)::bigint
        FROM taken AS t CROSS JOIN LATERAL (VALUES (t.moved >> 4, -1), (t.moved & 15, 1)) AS s (place, sign)
       WHERE s.place > 0
       GROUP BY 1, 2, 3",
    [],
);

static LEFT: Stmt<2> = Stmt::new(
    c"SELECT DISTINCT u.begun FROM ff_engine.untallied_move AS u WHERE u.begun < $1 AND u.begun <> ALL ($2)",
    [XID8OID, XID8ARRAYOID],
);

static LEFT_AT_FIRST: Stmt<2> = Stmt::new(
    c"SELECT DISTINCT m.begun FROM ff_engine.moved AS m WHERE m.begun < $1 AND m.begun <> ALL ($2)",
    [XID8OID, XID8ARRAYOID],
);

static CLEAR: Stmt<0> = Stmt::new(c"DELETE FROM ff_engine.tally", []);

static ADD: Stmt<4> = Stmt::new(
    c"INSERT INTO ff_engine.tally AS t (lane_id, namespace_id, place, executions)
      SELECT n.lane_id, n.namespace_id, n.place, n.executions
        FROM unnest($1, $2, $3, $4) AS n (lane_id, namespace_id, place, executions)
      ON CONFLICT (lane_id, namespace_id, place) DO UPDATE SET executions = t.executions + excluded.executions",
    [INT4ARRAYOID, INT4ARRAYOID, INT2ARRAYOID, INT8ARRAYOID],
);

/// Only counting anew makes counts those of this installation: its number may have been drawn a moment ago, and from
/// then on the views that lead on from a position have been empty.
static REACH: Stmt<4> = Stmt::new(
    c"UPDATE ff_engine.tally_position AS p
         SET next = $1, running = $2, held = $3, floor = coalesce($4, p.floor), reached_at = clock_timestamp(),
             installation = CASE WHEN $4 IS NULL THEN p.installation
                                 ELSE (SELECT i.installation_id FROM ff_engine.installation AS i) END",
    [XID8OID, XID8ARRAYOID, XID8ARRAYOID, INT8OID],
);

/// Executions of one lane and namespace in the state at one place.
pub struct Count {
    lane: i32,
    namespace: i32,
    place: i16,
    executions: i64,
}

fn decode(rows: &Rows) -> Vec<Count> {
    rows.iter()
        .map(|r| Count {
            lane: r.get(1),
            namespace: r.get(2),
            place: r.get(3),
            executions: r.get(4),
        })
        .collect()
}

fn xid(xid: u64) -> Arg {
    Arg::from(xid as i64)
}

fn bounds(upto: &Snapshot) -> [Arg; 2] {
    let running = array(XID8OID, upto.running().iter().map(|x| xid(*x)));
    [xid(upto.next()), running]
}

/// Whether there is something to take into the counts.
pub fn behind(db: &Db) -> bool {
    BEHIND.run(db, []).first().is_some_and(|r| r.get(1))
}

/// Locks the position, and returns the transaction up to which there are counts. None if somebody else is at it.
pub fn lock(db: &Db) -> Option<Option<u64>> {
    let next = |r: Row| r.get::<Option<i64>>(1).map(|next| next as u64);
    LOCK.run(db, []).first().map(next)
}

/// Counts all executions as the active snapshot shows them.
pub fn count(db: &Db) -> Vec<Count> {
    decode(&COUNT.read(db, []))
}

/// The last event that a dump has brought.
pub fn foreign(db: &Db, now: &Snapshot) -> Option<i64> {
    let foreign = FOREIGN.read(db, bounds(now));
    foreign.first().and_then(|r| r.get(1))
}

/// The transaction of the event that stands so far behind the position.
pub fn page_end(db: &Db, events: i64) -> Option<u64> {
    let rows = PAGE_END.read(db, [events.into()]);
    rows.first().map(|r| r.get::<i64>(1) as u64)
}

/// What events have moved between the position and a snapshot.
pub fn events(db: &Db, upto: &Snapshot) -> Vec<Count> {
    decode(&EVENTS.read(db, bounds(upto)))
}

/// Takes away what has moved without an event, and returns it.
pub fn take_moves(db: &Db) -> Vec<Count> {
    decode(&TAKE_MOVES.run(db, []))
}

fn begun(rows: &Rows) -> Vec<u64> {
    rows.iter().map(|r| r.get::<i64>(1) as u64).collect()
}

/// Which rows of `moved` are left that a position would not lead to.
pub fn left(db: &Db, upto: &Snapshot) -> Vec<u64> {
    begun(&LEFT.run(db, bounds(upto)))
}

/// The same on the active snapshot, before there is a position.
pub fn left_at_first(db: &Db, now: &Snapshot) -> Vec<u64> {
    begun(&LEFT_AT_FIRST.read(db, bounds(now)))
}

/// Forgets all counts.
pub fn clear(db: &Db) {
    CLEAR.run(db, []);
}

/// Adds to the counts.
pub fn add(db: &Db, counts: &[Count]) {
    if !counts.is_empty() {
        let rows = [
            ints(counts.iter().map(|c| c.lane)),
            ints(counts.iter().map(|c| c.namespace)),
            array(INT2OID, counts.iter().map(|c| Arg::from(c.place))),
            array(INT8OID, counts.iter().map(|c| Arg::from(c.executions))),
        ];
        ADD.run(db, rows);
    }
}

/// Moves the position, with the rows of `moved` that are left behind it; with a floor, counting begins anew there.
pub fn reach(db: &Db, upto: &Snapshot, left: &[u64], floor: Option<i64>) {
    let [next, running] = bounds(upto);
    let left = array(XID8OID, left.iter().map(|x| xid(*x)));
    REACH.run(db, [next, running, left, floor.into()]);
}
