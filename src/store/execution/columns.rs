//! The columns of `ff_engine.execution`, in the order of the table.

use pgrx::pg_sys::BuiltinOid::{self, *};
use uuid::Uuid;

use crate::model::execution::Execution;
use crate::model::packed::Packed;
use crate::model::time::Instant;
use crate::model::words::Ownership;
use crate::pg::jsonb::Jsonb;
use crate::pg::spi::Arg;

use super::rare::Rare as RareFacts;

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
    lease_epoch: INT8OID,
    claimer_id: INT4OID,
    lease_ttl_ms: INT4OID,
    lease_id: UUIDOID,
    lease_acquired_at: TIMESTAMPTZOID,
    attempt_id: UUIDOID,
    attempt_started_at: TIMESTAMPTZOID,
    started_at: TIMESTAMPTZOID,
    total_attempt_count: INT4OID,
    state: INT4OID,
    last_transition_at: TIMESTAMPTZOID,
    last_mutation_at: TIMESTAMPTZOID,
    lease_last_renewed_at: TIMESTAMPTZOID,
    lease_expires_at: TIMESTAMPTZOID,
    attempt_ended_at: TIMESTAMPTZOID,
    completed_at: TIMESTAMPTZOID,
    delay_until: TIMESTAMPTZOID,
    execution_deadline: TIMESTAMPTZOID,
    attempt_deadline: TIMESTAMPTZOID,
    retention_ms: INT8OID,
    flow_id: UUIDOID,
    rare: JSONBOID,
    tags: JSONBOID,
    attempt_failure_detail: BYTEAOID,
    result: BYTEAOID,
    result_encoding: TEXTOID,
    creator: TEXTOID,
    kind: TEXTOID,
}

/// The columns that hold an execution's place, and nothing else.
pub const PLACE: &[Column] = &[
    Column::execution_id,
    Column::created_at,
    Column::queue_id,
    Column::lane_id,
    Column::namespace_id,
    Column::partition_key,
    Column::retention_ms,
    Column::flow_id,
];

/// A column's value, comparable, so that a save writes only what has changed.
#[derive(PartialEq)]
pub enum Value<'a> {
    /// NULL.
    Null,
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
    /// jsonb of the rare facts, of which there are some.
    Rare(Box<RareFacts>),
}

impl From<Value<'_>> for Arg {
    fn from(value: Value<'_>) -> Arg {
        match value {
            Value::Null => Arg::NULL,
            Value::Int2(n) => n.into(),
            Value::Int4(n) => n.into(),
            Value::Int8(n) => n.into(),
            Value::Uuid(id) => id.into(),
            Value::At(at) => at.0.into(),
            Value::Text(text) => text.into(),
            Value::Bytes(bytes) => bytes.into(),
            Value::Carried(bytes) => (&Jsonb::from(Box::<[u8]>::from(bytes))).into(),
            Value::Rare(rare) => (&Jsonb::from_json(&rare.json())).into(),
        }
    }
}

/// The value of a column.
pub fn value(e: &Execution, column: Column) -> Value<'_> {
    use Value::*;
    let a = e.attempt.as_ref();
    match column {
        Column::execution_id => Uuid(e.place.id),
        Column::created_at => At(e.place.created_at),
        Column::queue_id => Int4(e.place.queue),
        Column::lane_id => Int4(e.place.lane),
        Column::namespace_id => Int4(e.place.namespace),
        Column::partition_key => Int2(e.place.partition),
        Column::priority => Int2(e.priority),
        Column::state => Int4(packed(e).number()),
        Column::total_attempt_count => Int4(e.total_attempts),
        Column::last_transition_at => At(e.last_transition_at),
        Column::last_mutation_at => unless(e.last_transition_at, Some(e.last_mutation_at)),
        Column::lease_epoch => Int8(e.lease.epoch),
        Column::claimer_id => e.lease.claimer.map_or(Null, Int4),
        Column::lease_ttl_ms => e.lease.ttl_ms.map_or(Null, Int4),
        Column::lease_id => e.lease.id.map_or(Null, Uuid),
        Column::lease_acquired_at => match a.filter(|_| owned(e)) {
            Some(a) => unless(a.started_at, e.lease.acquired_at),
            None => at(e.lease.acquired_at),
        },
        Column::lease_last_renewed_at => at(e.lease.last_renewed_at),
        Column::lease_expires_at => at(e.lease.expires_at),
        Column::attempt_id => a.map_or(Null, |a| Uuid(a.id)),
        Column::attempt_started_at => at(a.map(|a| a.started_at)),
        Column::attempt_ended_at => at(a.and_then(|a| a.ended_at)),
        Column::started_at => match a.filter(|_| e.total_attempts == 1) {
            Some(a) => unless(a.started_at, e.started_at),
            None => at(e.started_at),
        },
        Column::completed_at => at(e.completed_at),
        Column::delay_until => at(e.delay_until),
        Column::execution_deadline => at(e.deadline),
        Column::attempt_deadline => at(e.attempt_deadline),
        Column::retention_ms => e.place.retention_ms.map_or(Null, Int8),
        Column::flow_id => e.place.flow.map_or(Null, Uuid),
        Column::rare => RareFacts::of(e).map_or(Null, |facts| Rare(facts.into())),
        Column::tags => e.tags.as_deref().map_or(Null, Carried),
        // Written beside the row, or only once.
        Column::result
        | Column::result_encoding
        | Column::attempt_failure_detail
        | Column::creator
        | Column::kind => Null,
    }
}

fn packed(e: &Execution) -> Packed {
    let a = e.attempt.as_ref();
    Packed {
        vector: e.vector,
        record: a.map(|a| a.record),
        kind: a.map(|a| a.kind),
        end_op: a.and_then(|a| a.end.as_ref()).map(|end| end.op),
    }
}

/// Whether somebody has a lease, or had one that he lost.
fn owned(e: &Execution) -> bool {
    e.vector.ownership != Ownership::Unowned
}

/// What mostly equals another instant of the row is left out then.
fn unless(usual: Instant, instant: Option<Instant>) -> Value<'static> {
    at(instant.filter(|instant| *instant != usual))
}

fn at(instant: Option<Instant>) -> Value<'static> {
    instant.map_or(Value::Null, Value::At)
}
