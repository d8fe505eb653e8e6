//! `ff_engine.tally` and its position: executions counted by public state.

use pgrx::pg_sys::BuiltinOid::*;

use crate::model::cursor::Snapshot;
use crate::pg::array::{array, ints};
use crate::pg::spi::{Arg, Db, Rows, Stmt};

/// A restore in progress would be counted half, and whoever has written already would be counted twice.
static BEHIND: Stmt<0> = Stmt::new(
    c"SELECT CASE WHEN EXISTS (SELECT FROM ff_engine.tallied) THEN EXISTS (SELECT FROM ff_engine.untallied)
                  ELSE pg_current_xact_id_if_assigned() IS NULL
                       AND NOT EXISTS (SELECT FROM pg_stat_activity AS a
                                        WHERE a.datname = current_database() AND a.application_name = 'pg_restore') END",
    [],
);

static LOCK: Stmt<0> = Stmt::new(
    c"SELECT EXISTS (SELECT FROM ff_engine.tallied) FROM ff_engine.tally_position AS p FOR UPDATE SKIP LOCKED",
    [],
);

static COUNT: Stmt<0> = Stmt::new(
    c"SELECT e.lane_id, e.namespace_id, ff_engine.public_place(e.state), sum(e.executions)::bigint
        FROM (SELECT x.lane_id, x.namespace_id, x.state, count(*) AS executions
                FROM ff_engine.execution AS x GROUP BY x.lane_id, x.namespace_id, x.state) AS e
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

static MOVED: Stmt<2> = Stmt::new(
    c"SELECT u.lane_id, u.namespace_id, s.place::smallint, sum(s.sign * u.executions)::bigint
        FROM ff_engine.untallied AS u
       CROSS JOIN LATERAL (VALUES (u.moved >> 4, -1), (u.moved & 15, 1)) AS s (place, sign)
       WHERE u.txid < $1 AND u.txid <> ALL ($2) AND u.moved IS NOT NULL AND s.place > 0
       GROUP BY 1, 2, 3 HAVING sum(s.sign * u.executions) <> 0",
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

static FORGET: Stmt<2> = Stmt::new(
    c"DELETE FROM ff_engine.moved AS m WHERE m.txid < $1 AND m.txid <> ALL ($2)",
    [XID8OID, XID8ARRAYOID],
);

static REACH: Stmt<3> = Stmt::new(
    c"UPDATE ff_engine.tally_position AS p
         SET next = $1, running = $2, floor = coalesce($3, p.floor), reached_at = clock_timestamp(),
             installation = (SELECT i.installation_id FROM ff_engine.installation AS i)",
    [XID8OID, XID8ARRAYOID, INT8OID],
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

/// Locks the position; whether there are counts. None if somebody else is at it.
pub fn lock(db: &Db) -> Option<bool> {
    LOCK.run(db, []).first().map(|r| r.get(1))
}

/// Counts all executions as the active snapshot shows them, with the last event that a dump has brought.
pub fn count(db: &Db, now: &Snapshot) -> (Vec<Count>, Option<i64>) {
    let foreign = FOREIGN.read(db, bounds(now));
    let floor = foreign.first().and_then(|r| r.get(1));
    (decode(&COUNT.read(db, [])), floor)
}

/// The transaction of the event that stands so far behind the position.
pub fn page_end(db: &Db, events: i64) -> Option<u64> {
    let rows = PAGE_END.read(db, [events.into()]);
    rows.first().map(|r| r.get::<i64>(1) as u64)
}

/// What has moved between the position and a snapshot.
pub fn moved(db: &Db, upto: &Snapshot) -> Vec<Count> {
    decode(&MOVED.read(db, bounds(upto)))
}

/// Forgets all counts.
pub fn clear(db: &Db) {
    CLEAR.run(db, []);
}

/// Adds to the counts and moves the position; with a floor, it begins anew there.
pub fn reach(db: &Db, upto: &Snapshot, counts: &[Count], floor: Option<i64>) {
    if !counts.is_empty() {
        let rows = [
            ints(counts.iter().map(|c| c.lane)),
            ints(counts.iter().map(|c| c.namespace)),
            array(INT2OID, counts.iter().map(|c| Arg::from(c.place))),
            array(INT8OID, counts.iter().map(|c| Arg::from(c.executions))),
        ];
        ADD.run(db, rows);
    }
    FORGET.run(db, bounds(upto));
    let [next, running] = bounds(upto);
    REACH.run(db, [next, running, floor.into()]);
}
