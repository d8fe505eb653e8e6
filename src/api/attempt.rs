//! What a worker does with the attempt it holds (§10.14).

use pgrx::datum::TimestampWithTimeZone;
use pgrx::datum::{Interval, Uuid};
use pgrx::prelude::*;

use crate::error::{Error, Result};
use crate::model::fence::Caller;
use crate::ops::attempt::complete::{self, Completed, Item};
use crate::ops::attempt::fail::{self, Failed, Report};
use crate::ops::attempt::pause::{self, Paused};
use crate::ops::attempt::{cancel, progress};
use crate::ops::lease::fenced;
use crate::pg::spi::Db;
use crate::pg::srf::TableIterator;

use super::lease::within_batch;
use super::{bytes, entry, instant, micros, required, stamp, uuid_out};

/// Handles of a batch, and as many results or none.
///
/// # Errors
/// `invalid_input`, rules `null`, `too_many`, `length_differs`.
pub fn batch(
    handles: Option<Vec<Option<String>>>,
    results: Option<&[Option<Vec<u8>>]>,
) -> Result<Vec<Option<String>>> {
    let handles = required(handles, "handles")?;
    within_batch(handles.len(), "handles")?;
    if results.is_some_and(|r| r.len() != handles.len()) {
        return Err(Error::invalid_input("results", "length_differs"));
    }
    Ok(handles)
}

/// The holder that a handle names.
fn holder(db: &Db, handle: Option<String>) -> Result<Caller> {
    Ok((&fenced::decode(db, &required(handle, "handle")?)?).into())
}

type Stamp = Option<TimestampWithTimeZone>;

/// The row of a completion.
pub fn completed(c: Completed) -> (&'static str, Uuid, &'static str, Stamp, bool) {
    let at = c.completed_at.and_then(stamp);
    ("completed", uuid_out(c.id), "completed", at, c.replayed)
}

/// The row of a failure.
pub fn failed(
    f: Failed,
) -> (
    &'static str,
    Uuid,
    &'static str,
    Stamp,
    Option<i32>,
    i32,
    bool,
) {
    let (id, until) = (uuid_out(f.id), f.delay_until.and_then(stamp));
    let next = f.next_attempt_index;
    (
        f.outcome,
        id,
        f.public_state,
        until,
        next,
        f.retry_count,
        f.replayed,
    )
}

/// The row of a delay.
pub fn delayed(p: Paused) -> (String, &'static str, Stamp, bool) {
    let until = p.delay_until.and_then(stamp);
    (p.outcome, p.public_state, until, p.replayed)
}

/// The row of a wait for children.
pub fn waiting(p: Paused) -> (String, &'static str, i32, bool) {
    (p.outcome, p.public_state, p.open_dependencies, p.replayed)
}

/// Sets percent and message of the running attempt.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
fn ff_progress(
    handle: Option<String>,
    percent: default!(Option<i32>, "NULL"),
    message: default!(Option<String>, "NULL"),
) {
    entry(|db| {
        let handle = fenced::decode(db, &required(handle, "handle")?)?;
        progress::progress(db, &handle, percent, message.as_deref())
    });
}

/// Gives the lease back until an instant; the same attempt goes on then.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[allow(clippy::type_complexity)]
fn ff_delay(
    handle: Option<String>,
    delay_until: Option<TimestampWithTimeZone>,
) -> TableIterator<
    'static,
    (
        name!(outcome, String),
        name!(public_state, &'static str),
        name!(delay_until, Option<TimestampWithTimeZone>),
        name!(replayed, bool),
    ),
> {
    let p = entry(|db| {
        let handle = required(handle, "handle")?;
        let until = required(instant(delay_until), "delay_until")?;
        pause::delay(db, &holder(db, Some(handle))?, until)
    });
    TableIterator::once(delayed(p))
}

/// Gives the lease back until the execution's children have ended.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[allow(clippy::type_complexity)]
fn ff_wait_children(
    handle: Option<String>,
) -> TableIterator<
    'static,
    (
        name!(outcome, String),
        name!(public_state, &'static str),
        name!(open_dependencies, i32),
        name!(replayed, bool),
    ),
> {
    let p = entry(|db| pause::wait_children(db, &holder(db, handle)?));
    TableIterator::once(waiting(p))
}

/// Ends the execution with success.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[allow(clippy::type_complexity)]
fn ff_complete(
    handle: Option<String>,
    result: default!(Option<&[u8]>, "NULL"),
    result_encoding: default!(Option<String>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(execution_id, Uuid),
        name!(public_state, &'static str),
        name!(completed_at, Option<TimestampWithTimeZone>),
        name!(replayed, bool),
    ),
> {
    let c = entry(|db| {
        let encoding = result_encoding.as_deref();
        complete::one(db, holder(db, handle)?, result, encoding)
    });
    TableIterator::once(completed(c))
}

/// Ends many executions with success: all or none, or each as it goes.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[allow(clippy::type_complexity)]
fn ff_complete_many(
    handles: Option<Vec<Option<String>>>,
    results: default!(Option<Array<&[u8]>>, "NULL"),
    result_encoding: default!(Option<String>, "NULL"),
    on_error: default!(Option<String>, "'raise'"),
) -> TableIterator<
    'static,
    (
        name!(ordinal, i32),
        name!(outcome, &'static str),
        name!(execution_id, Option<Uuid>),
        name!(public_state, Option<&'static str>),
        name!(completed_at, Option<TimestampWithTimeZone>),
        name!(replayed, Option<bool>),
        name!(error_code, Option<&'static str>),
    ),
> {
    let results = results.map(bytes);
    let answers = entry(|db| {
        let handles = batch(handles, results.as_deref())?;
        let report = match required(on_error, "on_error")?.as_str() {
            "raise" => false,
            "report" => true,
            _ => return Err(Error::invalid_input("on_error", "unknown_word")),
        };
        let items: Vec<Item> = handles
            .iter()
            .enumerate()
            .map(|(i, handle)| Item {
                handle: handle.as_deref(),
                result: results
                    .as_ref()
                    .and_then(|r| r.get(i))
                    .and_then(Option::as_deref),
            })
            .collect();
        let mut answers = complete::complete(db, &items, result_encoding.as_deref());
        match answers.iter().position(Result::is_err).filter(|_| !report) {
            Some(i) => Err(answers.swap_remove(i).err().map_or_else(
                || Error::invalid_input("handles", "rejected"),
                |e| e.item(i),
            )),
            None => Ok(answers),
        }
    });
    TableIterator::new(answers.into_iter().enumerate().map(|(i, answer)| {
        let i = i as i32;
        match answer {
            Ok(c) => (
                i,
                "completed",
                Some(uuid_out(c.id)),
                Some("completed"),
                c.completed_at.and_then(stamp),
                Some(c.replayed),
                None,
            ),
            Err(e) => (
                i,
                "rejected",
                None,
                None,
                None,
                None,
                Some(e.kind().sqlstate()),
            ),
        }
    }))
}

/// Ends the attempt with a failure; the policy decides whether another follows.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[allow(clippy::type_complexity)]
fn ff_fail(
    handle: Option<String>,
    reason: Option<String>,
    classification: default!(Option<String>, "'transient'"),
    category: default!(Option<String>, "NULL"),
    detail: default!(Option<&[u8]>, "NULL"),
    retry_after: default!(Option<Interval>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(execution_id, Uuid),
        name!(public_state, &'static str),
        name!(delay_until, Option<TimestampWithTimeZone>),
        name!(next_attempt_index, Option<i32>),
        name!(retry_count, i32),
        name!(replayed, bool),
    ),
> {
    let f = entry(|db| {
        let handle = required(handle, "handle")?;
        let report = Report {
            reason: &required(reason, "reason")?,
            classification: &required(classification, "classification")?,
            category: category.as_deref(),
            detail,
            retry_after: micros(retry_after, "retry_after")?,
        };
        fail::fail(db, &holder(db, Some(handle))?, &report)
    });
    TableIterator::once(failed(f))
}

/// Cancels the execution by the worker that holds it.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[allow(clippy::type_complexity)]
fn ff_cancel(
    handle: Option<String>,
    reason: Option<String>,
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(execution_id, Uuid),
        name!(public_state, &'static str),
        name!(completed_at, Option<TimestampWithTimeZone>),
        name!(replayed, bool),
    ),
> {
    let c = entry(|db| {
        let handle = required(handle, "handle")?;
        let reason = required(reason, "reason")?;
        cancel::cancel(db, &holder(db, Some(handle))?, &reason)
    });
    TableIterator::once((
        "cancelled",
        uuid_out(c.id),
        "cancelled",
        c.completed_at.and_then(stamp),
        c.replayed,
    ))
}
