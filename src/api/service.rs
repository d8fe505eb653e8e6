//! The operations of a worker for callers that keep a run record instead of a handle (§10.15).

use pgrx::datum::{Interval, TimestampWithTimeZone, Uuid};
use pgrx::prelude::*;

use crate::error::Result;
use crate::model::fence::{self, Caller};
use crate::ops::attempt::fail::{self, Report};
use crate::ops::attempt::{complete, pause};
use crate::ops::lease::renew;
use crate::ops::role::operator;
use crate::pg::spi::Db;
use crate::pg::srf::TableIterator;

use super::{attempt, entry, instant, lease, micros, required, uuid_in};

/// Execution, lease, epoch and attempt with its number, as arguments.
struct Record(
    Option<Uuid>,
    Option<Uuid>,
    Option<i64>,
    Option<Uuid>,
    Option<i32>,
);

impl Record {
    fn execution(&self) -> Result<uuid::Uuid> {
        Ok(uuid_in(required(self.0, "execution_id")?))
    }

    fn triple(&self) -> fence::Triple {
        (self.1.map(uuid_in), self.2, self.3.map(uuid_in))
    }

    /// Who calls, by the record or by its override.
    fn caller(&self, db: &Db, source: Option<&str>) -> Result<Caller> {
        if source == Some(fence::OVERRIDE) {
            operator::overrides(db)?;
        }
        Caller::service(self.execution()?, self.triple(), self.4, source)
    }

    /// The holder; nobody can stand in for it.
    fn holder(&self) -> Result<Caller> {
        let fence = fence::whole(self.triple(), self.4).ok().flatten();
        let fence = fence.ok_or_else(fence::missing)?;
        Ok(Caller::holder(self.execution()?, fence))
    }
}

/// Ends an execution with success, by its lease or by override.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::too_many_arguments, clippy::type_complexity)]
fn ff_complete_execution(
    execution_id: Option<Uuid>,
    lease_id: default!(Option<Uuid>, "NULL"),
    lease_epoch: default!(Option<i64>, "NULL"),
    attempt_id: default!(Option<Uuid>, "NULL"),
    attempt_index: default!(Option<i32>, "NULL"),
    result: default!(Option<&[u8]>, "NULL"),
    result_encoding: default!(Option<String>, "NULL"),
    source: default!(Option<String>, "NULL"),
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
    let record = Record(
        execution_id,
        lease_id,
        lease_epoch,
        attempt_id,
        attempt_index,
    );
    let done = entry(|db| {
        let caller = record.caller(db, source.as_deref())?;
        complete::one(db, caller, result, result_encoding.as_deref())
    });
    TableIterator::once(attempt::completed(done))
}

/// Ends the attempt of an execution with a failure, by its lease or by override.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::too_many_arguments, clippy::type_complexity)]
fn ff_fail_execution(
    execution_id: Option<Uuid>,
    lease_id: default!(Option<Uuid>, "NULL"),
    lease_epoch: default!(Option<i64>, "NULL"),
    attempt_id: default!(Option<Uuid>, "NULL"),
    attempt_index: default!(Option<i32>, "NULL"),
    reason: default!(Option<String>, "''"),
    classification: default!(Option<String>, "'transient'"),
    category: default!(Option<String>, "NULL"),
    detail: default!(Option<&[u8]>, "NULL"),
    retry_after: default!(Option<Interval>, "NULL"),
    source: default!(Option<String>, "NULL"),
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
    let record = Record(
        execution_id,
        lease_id,
        lease_epoch,
        attempt_id,
        attempt_index,
    );
    let done = entry(|db| {
        let caller = record.caller(db, source.as_deref())?;
        let report = Report {
            reason: &required(reason, "reason")?,
            classification: &required(classification, "classification")?,
            category: category.as_deref(),
            detail,
            retry_after: micros(retry_after, "retry_after")?,
        };
        fail::fail(db, &caller, &report)
    });
    TableIterator::once(attempt::failed(done))
}

/// Gives the lease of an execution back until an instant, by its lease or by override.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_delay_execution(
    execution_id: Option<Uuid>,
    delay_until: Option<TimestampWithTimeZone>,
    lease_id: default!(Option<Uuid>, "NULL"),
    lease_epoch: default!(Option<i64>, "NULL"),
    attempt_id: default!(Option<Uuid>, "NULL"),
    attempt_index: default!(Option<i32>, "NULL"),
    source: default!(Option<String>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(outcome, String),
        name!(public_state, &'static str),
        name!(delay_until, Option<TimestampWithTimeZone>),
        name!(replayed, bool),
    ),
> {
    let record = Record(
        execution_id,
        lease_id,
        lease_epoch,
        attempt_id,
        attempt_index,
    );
    let done = entry(|db| {
        let until = required(instant(delay_until), "delay_until")?;
        pause::delay(db, &record.caller(db, source.as_deref())?, until)
    });
    TableIterator::once(attempt::delayed(done))
}

/// Gives the lease of an execution back until its children have ended, by its lease or by override.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_wait_children_execution(
    execution_id: Option<Uuid>,
    lease_id: default!(Option<Uuid>, "NULL"),
    lease_epoch: default!(Option<i64>, "NULL"),
    attempt_id: default!(Option<Uuid>, "NULL"),
    attempt_index: default!(Option<i32>, "NULL"),
    source: default!(Option<String>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(outcome, String),
        name!(public_state, &'static str),
        name!(open_dependencies, i32),
        name!(replayed, bool),
    ),
> {
    let record = Record(
        execution_id,
        lease_id,
        lease_epoch,
        attempt_id,
        attempt_index,
    );
    let done = entry(|db| pause::wait_children(db, &record.caller(db, source.as_deref())?));
    TableIterator::once(attempt::waiting(done))
}

/// Extends the lease of an execution from now on; nobody can do that but its holder.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_renew_lease(
    execution_id: Option<Uuid>,
    lease_id: Option<Uuid>,
    lease_epoch: Option<i64>,
    attempt_id: Option<Uuid>,
    attempt_index: default!(Option<i32>, "NULL"),
    lease_ttl: default!(Option<Interval>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(lease_expires_at, Option<TimestampWithTimeZone>),
        name!(lease_epoch, i64),
        name!(renew_before, Option<TimestampWithTimeZone>),
    ),
> {
    let record = Record(
        execution_id,
        lease_id,
        lease_epoch,
        attempt_id,
        attempt_index,
    );
    let renewed = entry(|db| renew::one(db, record.holder()?, lease::ttl(lease_ttl)?));
    TableIterator::once(lease::row(renewed))
}
