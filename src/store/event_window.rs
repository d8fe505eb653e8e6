//! `ff_engine.event`: reading, by window between two snapshots and by execution.
//!
//! A row reads as one event, or as two where a transition ended a lease and the execution with it.

use pgrx::pg_sys::BuiltinOid::*;
use uuid::Uuid;

use crate::model::cursor::Snapshot;
use crate::model::event::Code;
use crate::model::time::Instant;
use crate::pg::array;
use crate::pg::jsonb::Jsonb;
use crate::pg::spi::{Arg, Db, Rows, Stmt};

use super::binding;

/// The columns of [`decode`] over selected events `s`, names looked up and details composed.
macro_rules! shown {
    ($selected:expr) => {
        concat!(
            "SELECT s.id, s.code, s.occurred_at, n.name, l.name, s.partition_key, s.execution_id, s.flow_id, \
                    s.attempt_index, \
                    CASE WHEN s.code < 10 THEN jsonb_strip_nulls(jsonb_build_object(\
                           'lease_id', s.lease_id, 'lease_epoch', s.lease_epoch, 'attempt_id', s.attempt_id, \
                           'worker', c.worker, 'worker_instance', c.worker_instance, 'reason', s.reason, \
                           'previous_worker_instance', p.worker_instance)) \
                         || CASE WHEN s.code = 6 THEN s.details - 'previous_claimer' ELSE '{}' END \
                         WHEN s.code < 20 THEN jsonb_strip_nulls(jsonb_build_object(\
                           'attempt_id', s.attempt_id, 'replay_count', 0)) || coalesce(s.details, '{}') \
                         ELSE coalesce(s.details, '{}') END \
               FROM (",
            $selected,
            ") AS s \
               LEFT JOIN ff_engine.namespace AS n ON n.namespace_id = s.namespace_id \
               LEFT JOIN ff_engine.lane AS l ON l.lane_id = s.lane_id \
               LEFT JOIN ff_engine.claimer AS c ON s.code < 10 AND c.claimer_id = s.claimer_id \
               LEFT JOIN ff_engine.claimer AS p \
                 ON p.claimer_id = CASE WHEN s.code = 6 THEN (s.details ->> 'previous_claimer')::int END \
              ORDER BY s.id"
        )
    };
}

/// Rows `r` of a source as events: the code 3 is `lease.released`.
macro_rules! unfolded {
    ($source:expr) => {
        concat!(
            "SELECT f.id, f.code, r.occurred_at, r.namespace_id, r.lane_id, r.partition_key, r.execution_id, \
                    r.flow_id, r.attempt_index, r.attempt_id, r.lease_id, r.lease_epoch, r.claimer_id, r.reason, r.details \
               FROM (",
            $source,
            ") AS r \
              CROSS JOIN LATERAL (SELECT r.event_id, 3::smallint WHERE r.released \
                                  UNION ALL SELECT r.event_id + r.released::int, r.code) AS f (id, code) "
        )
    };
}

/// Rows outside one snapshot and inside another, which a filter admits. The two halves are two ranges of one index.
macro_rules! between {
    ($outside:literal) => {
        concat!(
            "SELECT e.* FROM ff_engine.event AS e WHERE ",
            $outside,
            " AND e.txid < $3 AND e.txid <> ALL ($4) AND e.event_id >= $5 \
              AND ($6 IS NULL OR e.code = ANY ($6) OR e.released AND 3 = ANY ($6)) \
              AND ($7 IS NULL OR e.namespace_id = ANY ($7)) AND ($8 IS NULL OR e.lane_id = ANY ($8)) \
              AND ($9 IS NULL OR e.partition_key BETWEEN $9 AND $10) \
              AND ($11 IS NULL OR e.execution_id = $11) AND ($12 IS NULL OR e.flow_id = $12) \
              AND ($13 IS NULL OR e.tags @> $13)"
        )
    };
}

static WINDOW: Stmt<14> = Stmt::new(
    sql!(shown!(concat!(
        unfolded!(concat!(
            between!("e.txid >= $1"),
            " UNION ALL ",
            between!("e.txid = ANY ($2)")
        )),
        "WHERE f.id > $5 AND ($6 IS NULL OR f.code = ANY ($6)) ORDER BY f.id LIMIT $14"
    ))),
    [
        XID8OID,
        XID8ARRAYOID,
        XID8OID,
        XID8ARRAYOID,
        INT8OID,
        INT2ARRAYOID,
        INT4ARRAYOID,
        INT4ARRAYOID,
        INT2OID,
        INT2OID,
        UUIDOID,
        UUIDOID,
        JSONBOID,
        INT8OID,
    ],
);

/// Every row after the first gives at least one event, so two rows more than events are enough.
static OF_EXECUTION: Stmt<5> = Stmt::new(
    sql!(shown!(concat!(
        unfolded!(
            "SELECT e.* FROM ff_engine.event AS e \
              WHERE e.execution_id = $1 AND e.event_id >= $2 \
                AND ($3 IS NULL OR e.code = ANY ($3) OR e.released AND 3 = ANY ($3)) \
                AND ($5 IS NULL OR e.namespace_id = ANY ($5)) \
              ORDER BY e.event_id LIMIT $4 + 2"
        ),
        "WHERE f.id > $2 AND ($3 IS NULL OR f.code = ANY ($3)) ORDER BY f.id LIMIT $4"
    ))),
    [UUIDOID, INT8OID, INT2ARRAYOID, INT8OID, INT4ARRAYOID],
);

static LANES: Stmt<1> = Stmt::new(
    c"SELECT l.lane_id FROM ff_engine.lane AS l WHERE l.name = ANY ($1)",
    [TEXTARRAYOID],
);

/// Which rows a reader wants, in numbers.
pub struct Wanted {
    /// Codes, none for all.
    pub codes: Option<Vec<i16>>,
    /// Namespaces.
    pub namespaces: Option<Vec<i32>>,
    /// Lanes.
    pub lanes: Option<Vec<i32>>,
    /// Lowest and highest partition.
    pub partitions: Option<(i16, i16)>,
    /// Execution.
    pub execution: Option<Uuid>,
    /// Flow.
    pub flow: Option<Uuid>,
    /// Tags.
    pub tags: Option<Jsonb>,
}

/// One event as it is shown.
pub struct Shown {
    /// Its id.
    pub id: i64,
    /// What happened.
    pub code: Code,
    /// When.
    pub occurred_at: Instant,
    /// Namespace of what it is about.
    pub namespace: Option<String>,
    /// Lane.
    pub lane: Option<String>,
    /// Partition.
    pub partition: Option<i16>,
    /// Execution.
    pub execution: Option<Uuid>,
    /// Flow.
    pub flow: Option<Uuid>,
    /// Attempt.
    pub attempt_index: Option<i32>,
    /// Everything else.
    pub details: Jsonb,
}

/// Events of the window between two snapshots after an id, ascending.
pub fn between(
    db: &Db,
    from: &Snapshot,
    upto: &Snapshot,
    after: i64,
    wanted: &Wanted,
    limit: i64,
) -> Vec<Shown> {
    let xid = |xid: u64| Arg::from(xid as i64);
    let xids = |list: &[u64]| array::array(XID8OID, list.iter().map(|x| xid(*x)));
    let (low, high) = wanted.partitions.unzip();
    decode(&WINDOW.read(
        db,
        [
            xid(from.next()),
            xids(from.running()),
            xid(upto.next()),
            xids(upto.running()),
            after.into(),
            codes(wanted.codes.as_deref()),
            ints(wanted.namespaces.as_deref()),
            ints(wanted.lanes.as_deref()),
            low.into(),
            high.into(),
            wanted.execution.into(),
            wanted.flow.into(),
            wanted.tags.as_ref().into(),
            limit.into(),
        ],
    ))
}

/// Events of one execution after an id, ascending.
pub fn of_execution(
    db: &Db,
    id: Uuid,
    after: i64,
    wanted: Option<&[i16]>,
    limit: i64,
) -> Vec<Shown> {
    let (codes, only) = (codes(wanted), binding::only());
    decode(&OF_EXECUTION.read(db, [id.into(), after.into(), codes, limit.into(), only]))
}

/// Numbers of those lanes that are registered.
pub fn lanes(db: &Db, names: &[String]) -> Vec<i32> {
    let rows = LANES.read(db, [array::texts(names.iter().map(String::as_str))]);
    rows.iter().map(|r| r.get(1)).collect()
}

fn ints(numbers: Option<&[i32]>) -> Arg {
    numbers.map_or(Arg::NULL, |numbers| array::ints(numbers.iter().copied()))
}

fn codes(codes: Option<&[i16]>) -> Arg {
    codes.map_or(Arg::NULL, |codes| {
        array::array(INT2OID, codes.iter().map(|c| Arg::from(*c)))
    })
}

/// Codes that this version does not know are left out: they can only come from a newer one.
fn decode(rows: &Rows) -> Vec<Shown> {
    rows.iter()
        .filter_map(|row| {
            let mut c = row.cursor();
            Some(Shown {
                id: c.next(),
                code: Code::from_number(c.next())?,
                occurred_at: Instant(c.next()),
                namespace: c.next(),
                lane: c.next(),
                partition: c.next(),
                execution: c.next(),
                flow: c.next(),
                attempt_index: c.next(),
                details: c.next(),
            })
        })
        .collect()
}
