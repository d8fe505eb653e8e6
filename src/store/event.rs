//! `ff_engine.event`: append; reading is SQL in `sql/`.

use pgrx::pg_sys::BuiltinOid::*;

use super::statement::Write;
use crate::model::event::Event;
use crate::model::execution::Execution;
use crate::model::flow::Flow;
use crate::model::moved::Moved;
use crate::model::time::Instant;
use crate::pg::jsonb::Jsonb;
use crate::pg::sequence::Sequence;
use crate::pg::spi::{Arg, Db};
use crate::pg::xact;

static EVENT_ID: Sequence = Sequence::new(c"event_id");

/// So many events one value of the sequence numbers; each takes two ids, for what it may read as.
const PER_VALUE: i64 = 1000;

/// Ids for events that are appended together, ascending.
fn ids() -> impl Iterator<Item = i64> {
    std::iter::repeat_with(|| EVENT_ID.next())
        .flat_map(|first| (0..PER_VALUE).map(move |i| first + 2 * i))
}

static APPEND: Write<19> = Write::insert(
    c"event",
    [
        ("event_id", INT8OID),
        ("txid", XID8OID),
        ("occurred_at", TIMESTAMPTZOID),
        ("execution_id", UUIDOID),
        ("flow_id", UUIDOID),
        ("attempt_id", UUIDOID),
        ("lease_id", UUIDOID),
        ("lease_epoch", INT8OID),
        ("lane_id", INT4OID),
        ("namespace_id", INT4OID),
        ("claimer_id", INT4OID),
        ("attempt_index", INT4OID),
        ("partition_key", INT2OID),
        ("code", INT2OID),
        ("released", BOOLOID),
        ("moved", INT2OID),
        ("reason", TEXTOID),
        ("tags", JSONBOID),
        ("details", JSONBOID),
    ],
);

/// An event of an execution, and what the counts learn from it.
pub type Announced<'a> = (&'a Execution, &'a Event, Option<Moved>);

/// Appends what transitions announce, in order.
pub fn append(db: &Db, now: Instant, events: &[Announced]) {
    let txid = xact::id();
    let rows: Vec<[Arg; 19]> = events
        .iter()
        .zip(ids())
        .map(|((e, event, moved), id)| {
            [
                id.into(),
                txid,
                now.0.into(),
                e.place.id.into(),
                e.place.flow.into(),
                e.attempt.as_ref().map(|a| a.id).into(),
                event.lease_id.into(),
                event.lease_epoch.into(),
                e.place.lane.into(),
                e.place.namespace.into(),
                event.claimer.into(),
                e.attempt_index().into(),
                e.place.partition.into(),
                (event.code as i16).into(),
                event.released.into(),
                moved.map(Moved::number).into(),
                event.reason.as_deref().into(),
                e.tags.clone().map(Jsonb::from).as_ref().into(),
                event.details.as_ref().map(Jsonb::from_json).as_ref().into(),
            ]
        })
        .collect();
    APPEND.run(db, &rows);
}

/// Appends an event about a lane or a worker.
pub fn append_global(
    db: &Db,
    now: Instant,
    lane: Option<i32>,
    namespace: Option<i32>,
    event: &Event,
) {
    one(
        db,
        now,
        event,
        [(8, lane.into()), (9, namespace.into())].into_iter(),
    );
}

/// Appends an event about a flow.
pub fn append_flow(db: &Db, now: Instant, flow: &Flow, event: &Event) {
    let tags = (!flow.tags.is_empty())
        .then(|| Jsonb::from_json(&serde_json::Value::Object(flow.tags.clone())));
    let about: [(usize, Arg); 4] = [
        (4, flow.id.into()),
        (9, flow.namespace.into()),
        (12, flow.partition.into()),
        (17, tags.as_ref().into()),
    ];
    one(db, now, event, about.into_iter());
}

/// Appends one event that concerns no execution.
fn one(db: &Db, now: Instant, event: &Event, about: impl Iterator<Item = (usize, Arg)>) {
    let mut row = [Arg::NULL; 19];
    let filled: [(usize, Arg); 7] = [
        (0, EVENT_ID.next().into()),
        (1, xact::id()),
        (2, now.0.into()),
        (13, (event.code as i16).into()),
        (14, event.released.into()),
        (16, event.reason.as_deref().into()),
        (
            18,
            event.details.as_ref().map(Jsonb::from_json).as_ref().into(),
        ),
    ];
    for (i, arg) in filled.into_iter().chain(about) {
        if let Some(slot) = row.get_mut(i) {
            *slot = arg;
        }
    }
    APPEND.run(db, &[row]);
}
