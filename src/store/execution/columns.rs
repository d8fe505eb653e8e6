//! The columns of `ff_engine.execution` that operations read and write, in the order of the table.

use pgrx::pg_sys::BuiltinOid::{self, *};
use uuid::Uuid;

use crate::model::execution::Execution;
use crate::model::time::Instant;
use crate::pg::jsonb::Jsonb;
use crate::pg::spi::Arg;

macro_rules! columns {
    ($($name:ident: $oid:ident,)*) => {
        /// A column, by its place in the table.
        #[allow(non_camel_case_types, missing_docs)]
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Column { $($name,)* }

        /// Every column, in the order of the table.
        pub const ALL: &[Column] = &[$(Column::$name,)*];

        /// Name and type of every column.
        pub const COLUMNS: &[(&str, BuiltinOid)] = &[$((stringify!($name), $oid),)*];
    };
}

columns! {
    execution_id: UUIDOID,
    created_at: TIMESTAMPTZOID,
    queue_id: INT4OID,
    lane_id: INT4OID,
    namespace_id: INT4OID,
    partition_key: INT2OID,
    priority: INT2OID,
    lifecycle_phase: CHAROID,
    ownership_state: CHAROID,
    eligibility_state: CHAROID,
    blocking_reason: CHAROID,
    terminal_outcome: CHAROID,
    attempt_state: CHAROID,
    last_transition_at: TIMESTAMPTZOID,
    last_mutation_at: TIMESTAMPTZOID,
    lease_epoch: INT8OID,
    total_attempt_count: INT4OID,
    retry_count: INT4OID,
    replay_count: INT4OID,
    lease_reclaim_count: INT4OID,
    claimer_id: INT4OID,
    lease_id: UUIDOID,
    lease_ttl_ms: INT4OID,
    lease_acquired_at: TIMESTAMPTZOID,
    lease_last_renewed_at: TIMESTAMPTZOID,
    lease_expires_at: TIMESTAMPTZOID,
    lease_expired_at: TIMESTAMPTZOID,
    lease_revoked_at: TIMESTAMPTZOID,
    started_at: TIMESTAMPTZOID,
    completed_at: TIMESTAMPTZOID,
    purge_at: TIMESTAMPTZOID,
    delay_until: TIMESTAMPTZOID,
    execution_deadline: TIMESTAMPTZOID,
    attempt_deadline: TIMESTAMPTZOID,
    recheck_at: TIMESTAMPTZOID,
    attempt_record: CHAROID,
    attempt_type: CHAROID,
    attempt_id: UUIDOID,
    attempt_started_at: TIMESTAMPTZOID,
    attempt_ended_at: TIMESTAMPTZOID,
    attempt_suspended_at: TIMESTAMPTZOID,
    time_remaining_ms: INT8OID,
    previous_attempt_index: INT4OID,
    end_op: CHAROID,
    end_lease_id: UUIDOID,
    end_lease_epoch: INT8OID,
    progress_pct: INT2OID,
    progress_updated_at: TIMESTAMPTZOID,
    last_capability_mismatch_at: TIMESTAMPTZOID,
    blocked_by_policy: UUIDOID,
    current_suspension_id: UUIDOID,
    current_waitpoint_id: UUIDOID,
    grant_kind: CHAROID,
    grant_id: UUIDOID,
    grant_expires_at: TIMESTAMPTZOID,
    grant_worker: TEXTOID,
    grant_worker_instance: TEXTOID,
    blocking_detail: TEXTOID,
    lease_revoke_reason: TEXTOID,
    progress_message: TEXTOID,
    failure_reason: TEXTOID,
    failure_category: TEXTOID,
    cancellation_reason: TEXTOID,
    cancelled_by: TEXTOID,
    pending_reason: TEXTOID,
    attempt_reason: TEXTOID,
    pause_kind: TEXTOID,
    attempt_failure_reason: TEXTOID,
    attempt_failure_category: TEXTOID,
    attempt_failure_class: TEXTOID,
    attempt_failure_detail: BYTEAOID,
    end_values: JSONBOID,
    result: BYTEAOID,
    result_encoding: TEXTOID,
    flow_id: UUIDOID,
    retention_ms: INT8OID,
    tags: JSONBOID,
    creator: TEXTOID,
    kind: TEXTOID,
}

/// A column's value, comparable, so that a save writes only what has changed.
#[derive(Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// NULL.
    Null,
    /// A letter of the state vector.
    Char(u8),
    /// smallint.
    Int2(i16),
    /// int.
    Int4(i32),
    /// bigint.
    Int8(i64),
    /// uuid.
    Uuid(Uuid),
    /// timestamptz.
    At(Instant),
    /// text.
    Text(&'a str),
    /// bytea.
    Bytes(&'a [u8]),
    /// jsonb the engine carries.
    Carried(&'a [u8]),
    /// jsonb the engine makes.
    Json(&'a serde_json::Value),
}

impl From<Value<'_>> for Arg {
    fn from(value: Value<'_>) -> Arg {
        match value {
            Value::Null => Arg::NULL,
            Value::Char(c) => (c as i8).into(),
            Value::Int2(n) => n.into(),
            Value::Int4(n) => n.into(),
            Value::Int8(n) => n.into(),
            Value::Uuid(id) => id.into(),
            Value::At(at) => at.0.into(),
            Value::Text(text) => text.into(),
            Value::Bytes(bytes) => bytes.into(),
            Value::Carried(bytes) => (&Jsonb::from(Box::<[u8]>::from(bytes))).into(),
            Value::Json(json) => (&Jsonb::from_json(json)).into(),
        }
    }
}

/// The value of a column that operations change.
pub fn value(e: &Execution, column: Column) -> Value<'_> {
    use Value::*;
    let v = &e.vector;
    let a = e.attempt.as_ref();
    let end = a.and_then(|a| a.end.as_ref());
    let grant = e.grant.as_ref();
    match column {
        Column::execution_id => Uuid(e.place.id),
        Column::created_at => At(e.place.created_at),
        Column::queue_id => Int4(e.place.queue),
        Column::lane_id => Int4(e.place.lane),
        Column::namespace_id => Int4(e.place.namespace),
        Column::partition_key => Int2(e.place.partition),
        Column::flow_id => e.place.flow.map_or(Null, Uuid),
        Column::retention_ms => e.place.retention_ms.map_or(Null, Int8),
        Column::priority => Int2(e.priority),
        Column::lifecycle_phase => Char(v.lifecycle.letter()),
        Column::ownership_state => Char(v.ownership.letter()),
        Column::eligibility_state => Char(v.eligibility.letter()),
        Column::blocking_reason => Char(v.blocking.letter()),
        Column::terminal_outcome => Char(v.outcome.letter()),
        Column::attempt_state => Char(v.attempt.letter()),
        Column::last_transition_at => At(e.last_transition_at),
        Column::last_mutation_at => At(e.last_mutation_at),
        Column::lease_epoch => Int8(e.lease.epoch),
        Column::total_attempt_count => Int4(e.total_attempts),
        Column::retry_count => Int4(e.retries),
        Column::replay_count => Int4(e.replays),
        Column::lease_reclaim_count => Int4(e.reclaims),
        Column::claimer_id => e.lease.claimer.map_or(Null, Int4),
        Column::lease_id => e.lease.id.map_or(Null, Uuid),
        Column::lease_ttl_ms => e.lease.ttl_ms.map_or(Null, Int4),
        Column::lease_acquired_at => at(e.lease.acquired_at),
        Column::lease_last_renewed_at => at(e.lease.last_renewed_at),
        Column::lease_expires_at => at(e.lease.expires_at),
        Column::lease_expired_at => at(e.lease.expired_at),
        Column::lease_revoked_at => at(e.lease.revoked_at),
        Column::lease_revoke_reason => text(&e.lease.revoke_reason),
        Column::started_at => at(e.started_at),
        Column::completed_at => at(e.completed_at),
        Column::purge_at => at(e.purge_at),
        Column::delay_until => at(e.delay_until),
        Column::execution_deadline => at(e.deadline),
        Column::attempt_deadline => at(e.attempt_deadline),
        Column::recheck_at => at(e.recheck_at),
        Column::attempt_record => a.map_or(Null, |a| Char(a.record.letter())),
        Column::attempt_type => a.map_or(Null, |a| Char(a.kind.letter())),
        Column::attempt_id => a.map_or(Null, |a| Uuid(a.id)),
        Column::attempt_started_at => at(a.map(|a| a.started_at)),
        Column::attempt_ended_at => at(a.and_then(|a| a.ended_at)),
        Column::attempt_suspended_at => at(a.and_then(|a| a.suspended_at)),
        Column::time_remaining_ms => a.and_then(|a| a.time_remaining_ms).map_or(Null, Int8),
        Column::previous_attempt_index => a.and_then(|a| a.previous_index).map_or(Null, Int4),
        Column::attempt_reason => a.map_or(Null, |a| text(&a.reason)),
        Column::pause_kind => a.map_or(Null, |a| text(&a.pause_kind)),
        Column::attempt_failure_reason => a.map_or(Null, |a| text(&a.failure_reason)),
        Column::attempt_failure_category => a.map_or(Null, |a| text(&a.failure_category)),
        Column::attempt_failure_class => a.map_or(Null, |a| text(&a.failure_class)),
        Column::end_op => end.map_or(Null, |end| Char(end.op.letter())),
        Column::end_lease_id => end.map_or(Null, |end| Uuid(end.lease_id)),
        Column::end_lease_epoch => end.map_or(Null, |end| Int8(end.lease_epoch)),
        Column::end_values => end.and_then(|end| end.values.as_ref()).map_or(Null, Json),
        Column::progress_pct => e.progress.percent.map_or(Null, Int2),
        Column::progress_message => text(&e.progress.message),
        Column::progress_updated_at => at(e.progress.updated_at),
        Column::last_capability_mismatch_at => at(e.last_capability_mismatch_at),
        Column::blocked_by_policy => e.blocked_by_policy.map_or(Null, Uuid),
        Column::current_suspension_id => e.suspension.map_or(Null, Uuid),
        Column::current_waitpoint_id => e.waitpoint.map_or(Null, Uuid),
        Column::grant_id => grant.map_or(Null, |g| Uuid(g.id)),
        Column::grant_kind => grant.map_or(Null, |g| Char(g.kind.letter())),
        Column::grant_worker => grant.map_or(Null, |g| Text(&g.worker)),
        Column::grant_worker_instance => grant.map_or(Null, |g| text(&g.worker_instance)),
        Column::grant_expires_at => at(grant.map(|g| g.expires_at)),
        Column::blocking_detail => text(&e.blocking_detail),
        Column::pending_reason => text(&e.pending_reason),
        Column::failure_reason => text(&e.failure_reason),
        Column::failure_category => text(&e.failure_category),
        Column::cancellation_reason => text(&e.cancellation_reason),
        Column::cancelled_by => text(&e.cancelled_by),
        Column::tags => e.tags.as_deref().map_or(Null, Carried),
        // Written beside the row, or only once.
        Column::result
        | Column::result_encoding
        | Column::attempt_failure_detail
        | Column::creator
        | Column::kind => Null,
    }
}

fn at(instant: Option<Instant>) -> Value<'static> {
    instant.map_or(Value::Null, Value::At)
}

fn text(text: &Option<String>) -> Value<'_> {
    text.as_deref().map_or(Value::Null, Value::Text)
}
