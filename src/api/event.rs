//! Reading the event log (§30.13).

use pgrx::datum::{TimestampWithTimeZone, Uuid};
use pgrx::prelude::*;

use crate::error::Error;
use crate::ops::event::{history, read};
use crate::pg::jsonb::Jsonb;
use crate::pg::srf::TableIterator;
use crate::store::event_window::Shown;

use super::{entry, limit, object, required, stamp, uuid_in, uuid_out};

/// Most events of one page.
const CAP: i32 = 10_000;

/// The next events from a position, each with the cursor behind it.
#[pg_extern(stable, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_read_events(
    after: default!(Option<String>, "'now'"),
    families: default!(Option<Vec<Option<String>>>, "NULL"),
    filter: default!(Option<Jsonb>, "'{}'"),
    max_items: default!(Option<i32>, 500),
    position_row: default!(Option<bool>, false),
) -> TableIterator<
    'static,
    (
        name!(cursor, String),
        name!(event_id, Option<i64>),
        name!(family, Option<&'static str>),
        name!(event_type, Option<&'static str>),
        name!(occurred_at, Option<TimestampWithTimeZone>),
        name!(namespace, Option<String>),
        name!(lane, Option<String>),
        name!(partition_key, Option<i16>),
        name!(execution_id, Option<Uuid>),
        name!(flow_id, Option<Uuid>),
        name!(attempt_index, Option<i32>),
        name!(details, Option<Jsonb>),
    ),
> {
    let (page, with_position) = entry(|db| {
        let after = required(after, "after")?;
        let families = families.map(words).transpose()?;
        let filter = object(filter, "filter")?;
        let limit = limit(max_items, "max_items", CAP)?;
        let page = read::page(db, &after, families.as_deref(), &filter, limit)?;
        Ok((page, limit > 0 && position_row.unwrap_or(false)))
    });
    let reached = with_position.then_some((
        page.reached,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
    ));
    let rows: Vec<_> = page
        .events
        .into_iter()
        .map(|(event, cursor)| {
            let (family, event_type) = event.code.words();
            (
                cursor,
                Some(event.id),
                Some(family),
                Some(event_type),
                stamp(event.occurred_at),
                event.namespace,
                event.lane,
                event.partition,
                event.execution.map(uuid_out),
                event.flow.map(uuid_out),
                event.attempt_index,
                Some(event.details),
            )
        })
        .chain(reached)
        .collect();
    TableIterator::new(rows)
}

/// A cursor to keep. Without stored marks no instant leads to a later position than the start.
#[pg_extern(stable, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ff_events_cursor(
    position: default!(Option<String>, "'now'"),
    at: default!(Option<TimestampWithTimeZone>, "NULL"),
) -> String {
    entry(|db| {
        let position = required(position, "position")?;
        match at {
            None => read::cursor(db, &position),
            Some(_) if position != "now" => Err(Error::invalid_input("at", "beside_position")
                .say("give a position or an instant, not both")),
            Some(_) => read::cursor(db, "start"),
        }
    })
}

/// The retained events of one execution, ascending, after an id.
#[pg_extern(stable, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_execution_events(
    execution_id: Option<Uuid>,
    after_event_id: default!(Option<i64>, "NULL"),
    families: default!(Option<Vec<Option<String>>>, "NULL"),
    max_items: default!(Option<i32>, 500),
) -> TableIterator<
    'static,
    (
        name!(event_id, i64),
        name!(family, &'static str),
        name!(event_type, &'static str),
        name!(occurred_at, Option<TimestampWithTimeZone>),
        name!(namespace, Option<String>),
        name!(lane, Option<String>),
        name!(partition_key, Option<i16>),
        name!(execution_id, Option<Uuid>),
        name!(flow_id, Option<Uuid>),
        name!(attempt_index, Option<i32>),
        name!(details, Jsonb),
        name!(has_more, bool),
    ),
> {
    let (events, more) = entry(|db| {
        let execution = uuid_in(required(execution_id, "execution_id")?);
        let families = families.map(words).transpose()?;
        let limit = limit(max_items, "max_items", CAP)?;
        history::page(db, execution, after_event_id, families.as_deref(), limit)
    });
    let row = move |event: Shown| {
        let (family, event_type) = event.code.words();
        (
            event.id,
            family,
            event_type,
            stamp(event.occurred_at),
            event.namespace,
            event.lane,
            event.partition,
            event.execution.map(uuid_out),
            event.flow.map(uuid_out),
            event.attempt_index,
            event.details,
            more,
        )
    };
    TableIterator::new(events.into_iter().map(row))
}

/// Words without a NULL among them.
fn words(families: Vec<Option<String>>) -> crate::error::Result<Vec<String>> {
    let words: Option<Vec<String>> = families.into_iter().collect();
    words.ok_or_else(|| Error::invalid_input("families", "null_element"))
}
