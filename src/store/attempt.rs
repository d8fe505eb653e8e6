//! `ff_engine.attempt`: superseded attempts.

use pgrx::pg_sys::BuiltinOid::*;
use uuid::Uuid;

use super::statement::Write;
use crate::model::execution::End;
use crate::model::time::Instant;
use crate::model::transition::Superseded;
use crate::model::words::EndOp;
use crate::pg::array;
use crate::pg::jsonb::Jsonb;
use crate::pg::spi::{Arg, Db, Stmt};

static INSERT: Write<24> = Write::insert(
    c"attempt",
    [
        ("execution_id", UUIDOID),
        ("attempt_index", INT4OID),
        ("attempt_id", UUIDOID),
        ("attempt_type", CHAROID),
        ("attempt_record", CHAROID),
        ("attempt_started_at", TIMESTAMPTZOID),
        ("attempt_ended_at", TIMESTAMPTZOID),
        ("attempt_suspended_at", TIMESTAMPTZOID),
        ("time_remaining_ms", INT8OID),
        ("lease_id", UUIDOID),
        ("lease_epoch", INT8OID),
        ("claimer_id", INT4OID),
        ("previous_attempt_index", INT4OID),
        ("attempt_reason", TEXTOID),
        ("pause_kind", TEXTOID),
        ("attempt_failure_reason", TEXTOID),
        ("attempt_failure_category", TEXTOID),
        ("attempt_failure_class", TEXTOID),
        ("end_op", CHAROID),
        ("end_lease_id", UUIDOID),
        ("end_lease_epoch", INT8OID),
        ("end_values", JSONBOID),
        ("stream_closed_at", TIMESTAMPTZOID),
        ("stream_close_reason", CHAROID),
    ],
);

/// Failure detail is never loaded by an operation, so it moves from row to row inside the server.
static MOVE_DETAIL: Stmt<2> = Stmt::new(
    c"UPDATE ff_engine.attempt AS a SET attempt_failure_detail = e.attempt_failure_detail
        FROM unnest($1, $2) AS n (execution_id, attempt_index)
        JOIN ff_engine.execution AS e ON e.execution_id = n.execution_id
       WHERE a.execution_id = n.execution_id AND a.attempt_index = n.attempt_index
         AND e.attempt_failure_detail IS NOT NULL",
    [UUIDARRAYOID, INT4ARRAYOID],
);

static ENDED_BY: Stmt<2> = Stmt::new(
    c"SELECT a.end_op, a.end_lease_epoch, a.end_values, a.attempt_ended_at
        FROM ff_engine.attempt AS a WHERE a.execution_id = $1 AND a.end_lease_id = $2",
    [UUIDOID, UUIDOID],
);

/// Archives superseded attempts; called before their executions are saved.
pub fn archive(db: &Db, attempts: &[(Uuid, &Superseded)]) {
    let at = |i: Option<Instant>| Arg::from(i.map(|i| i.0));
    let rows: Vec<[Arg; 24]> = attempts
        .iter()
        .map(|(execution, s)| {
            let a = &s.attempt;
            let end = a.end.as_ref();
            [
                (*execution).into(),
                s.index.into(),
                a.id.into(),
                (a.kind.letter() as i8).into(),
                (a.record.letter() as i8).into(),
                a.started_at.0.into(),
                at(a.ended_at),
                at(a.suspended_at),
                a.time_remaining_ms.into(),
                s.lease.id.into(),
                s.lease.epoch.into(),
                s.lease.claimer.into(),
                a.previous_index.into(),
                a.reason.as_deref().into(),
                a.pause_kind.as_deref().into(),
                a.failure_reason.as_deref().into(),
                a.failure_category.as_deref().into(),
                a.failure_class.as_deref().into(),
                end.map(|r| r.op.letter() as i8).into(),
                end.map(|r| r.lease_id).into(),
                end.map(|r| r.lease_epoch).into(),
                end.and_then(|r| r.values.as_ref())
                    .map(Jsonb::from_json)
                    .as_ref()
                    .into(),
                at(a.closed.map(|c| c.at)),
                a.closed.map(|c| c.reason.letter() as i8).into(),
            ]
        })
        .collect();
    INSERT.run(db, &rows);
    let failed: Vec<_> = attempts
        .iter()
        .filter(|(_, s)| s.attempt.failure_class.is_some())
        .collect();
    if !failed.is_empty() {
        MOVE_DETAIL.run(
            db,
            [
                array::uuids(failed.iter().map(|(id, _)| *id)),
                array::ints(failed.iter().map(|(_, s)| s.index)),
            ],
        );
    }
}

/// The replay record a lease left on a superseded attempt, and when that attempt ended.
pub fn ended_by(db: &Db, execution: Uuid, lease_id: Uuid) -> Option<(End, Option<Instant>)> {
    let rows = ENDED_BY.run(db, [execution.into(), lease_id.into()]);
    let row = rows.first()?;
    let op = EndOp::from_letter(row.get::<i8>(1) as u8)?;
    let values = row.get::<Option<Jsonb>>(3).map(|v| v.parse());
    let end = End {
        op,
        lease_id,
        lease_epoch: row.get(2),
        values,
    };
    Some((end, row.get::<Option<i64>>(4).map(Instant)))
}
