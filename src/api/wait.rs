//! Waiting (G12, §10.11.2, §10.20): the procedures that hold nothing, and the bounded wait for executions to end.

use pgrx::AnyElement;
use pgrx::datum::{Interval, Range, TimestampWithTimeZone, Uuid};
use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::error::{Error, Result};
use crate::model::capability::{self, Side};
use crate::model::{lane_name, text};
use crate::ops::claim::peek::{self, Interest};
use crate::ops::execution::wait;
use crate::pg::procedure::Procedure;
use crate::pg::srf::TableIterator;

use super::claim::{elements, partitions};
use super::lease::within_batch;
use super::{entry, required, stamp, uuid_in, uuid_out, wait_ms};

struct Asked {
    timeout: Option<Interval>,
    capabilities: Option<Vec<Option<String>>>,
    namespace: Option<String>,
    partitions: Option<Range<i32>>,
    reclaim: Option<bool>,
}

fn interest(lanes: Vec<String>, asked: Asked) -> Result<(Interest, i64)> {
    if lanes.is_empty() {
        return Err(Error::invalid_input("lanes", "empty"));
    }
    for lane in &lanes {
        lane_name::check(lane)?;
    }
    if let Some(namespace) = &asked.namespace {
        text::identifier("namespace", namespace)?;
    }
    let given = required(asked.capabilities, "capabilities")?;
    let interest = Interest {
        lanes,
        capabilities: capability::normalise(Side::Worker, given.iter().map(|c| c.as_deref()))?,
        namespace: asked.namespace,
        partitions: partitions(asked.partitions)?,
        reclaim: required(asked.reclaim, "reclaim")?,
    };
    Ok((
        interest,
        wait_ms(Some(required(asked.timeout, "timeout")?), "timeout")?,
    ))
}

fn call(lanes: Result<Vec<String>>, asked: Asked, fcinfo: pg_sys::FunctionCallInfo) -> AnyElement {
    let (interest, timeout) = lanes
        .and_then(|lanes| interest(lanes, asked))
        .unwrap_or_else(|error| error.raise());
    let procedure = Procedure::begin(fcinfo);
    let found = peek::wait(&procedure, &interest, timeout);
    procedure.finish(c"outcome", if found { "work" } else { "timeout" })
}

/// Waits until a claim of the lane could get something.
#[pg_extern(
    sql = "CREATE PROCEDURE ff_wait_for_work(lane text, timeout interval DEFAULT '30s', capabilities text[] DEFAULT '{}', \
           namespace text DEFAULT NULL, partitions int4range DEFAULT NULL, reclaim boolean DEFAULT true, \
           INOUT outcome text DEFAULT NULL) LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';"
)]
#[allow(clippy::too_many_arguments)]
fn ff_wait_for_work(
    lane: Option<String>,
    timeout: Option<Interval>,
    capabilities: Option<Vec<Option<String>>>,
    namespace: Option<String>,
    partitions: Option<Range<i32>>,
    reclaim: Option<bool>,
    _outcome: Option<String>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> AnyElement {
    let asked = Asked {
        timeout,
        capabilities,
        namespace,
        partitions,
        reclaim,
    };
    call(required(lane, "lane").map(|lane| vec![lane]), asked, fcinfo)
}

/// Waits until a claim of one of the lanes could get something.
#[pg_extern(
    sql = "CREATE PROCEDURE ff_wait_for_work_any(lanes text[], timeout interval DEFAULT '30s', \
           capabilities text[] DEFAULT '{}', namespace text DEFAULT NULL, partitions int4range DEFAULT NULL, \
           reclaim boolean DEFAULT true, INOUT outcome text DEFAULT NULL) \
           LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';"
)]
#[allow(clippy::too_many_arguments)]
fn ff_wait_for_work_any(
    lanes: Option<Vec<Option<String>>>,
    timeout: Option<Interval>,
    capabilities: Option<Vec<Option<String>>>,
    namespace: Option<String>,
    partitions: Option<Range<i32>>,
    reclaim: Option<bool>,
    _outcome: Option<String>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> AnyElement {
    let asked = Asked {
        timeout,
        capabilities,
        namespace,
        partitions,
        reclaim,
    };
    call(elements(lanes, "lanes"), asked, fcinfo)
}

/// Waits until all, or any, of the executions have ended.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_await_executions(
    execution_ids: Option<Vec<Option<Uuid>>>,
    wait: default!(Option<Interval>, "'5s'"),
    mode: default!(Option<String>, "'all'"),
) -> TableIterator<
    'static,
    (
        name!(execution_id, Uuid),
        name!(public_state, Option<String>),
        name!(terminal_outcome, Option<String>),
        name!(completed_at, Option<TimestampWithTimeZone>),
    ),
> {
    let standings = entry(|db| {
        let ids: Vec<_> = elements(execution_ids, "execution_ids")?
            .into_iter()
            .map(uuid_in)
            .collect();
        within_batch(ids.len(), "execution_ids")?;
        let any = match required(mode, "mode")?.as_str() {
            "all" => false,
            "any" => true,
            _ => return Err(Error::invalid_input("mode", "unknown_word")),
        };
        wait::wait(db, &ids, wait_ms(wait, "wait")?, any)
    });
    TableIterator::new(standings.into_iter().map(|s| {
        (
            uuid_out(s.id),
            s.public_state,
            s.outcome,
            s.completed_at.and_then(stamp),
        )
    }))
}
