//! Running duties by hand or from a scheduler (§10.21).

use pgrx::datum::{Range, Uuid};
use pgrx::prelude::*;

use crate::error::Result;
use crate::guc;
use crate::ops::execution::settle;
use crate::pg::jsonb::Jsonb;
use crate::pg::spi::Db;
use crate::pg::srf::TableIterator;
use crate::reconcile::{self, Reconciler, Scope, Tally};

use super::claim::partitions;
use super::{entry, limit, object, required, uuid_in};

type Row = (i32, i32, i32, bool);

fn scope(
    max_items: Option<i32>,
    range: Option<Range<i32>>,
    namespace: Option<String>,
    tags: Option<Jsonb>,
) -> Result<Scope> {
    Ok(Scope {
        limit: match max_items {
            Some(n) => limit(Some(n), "max_items", i32::MAX)?,
            None => i64::from(guc::RECONCILE_BATCH.value.get()),
        },
        partitions: partitions(range)?,
        namespace,
        tags: object(tags, "tags")?,
        patient: false,
    })
}

fn run(db: &Db, name: &str, scope: &Scope) -> Result<Tally> {
    reconcile::find(name).map_or_else(|| Ok(Tally::default()), |r| r.run(db, scope))
}

macro_rules! reconcilers {
    ($(#[$doc:meta] $function:ident = $name:literal;)*) => {
        $(
            #[$doc]
            #[pg_extern(volatile, parallel_unsafe, security_definer)]
            #[search_path(pg_catalog, pg_temp)]
            #[allow(clippy::type_complexity)]
            fn $function(
                max_items: default!(Option<i32>, "NULL"),
                partitions: default!(Option<Range<i32>>, "NULL"),
                namespace: default!(Option<String>, "NULL"),
                tags: default!(Option<Jsonb>, "NULL"),
            ) -> TableIterator<'static, (
                name!(processed, i32),
                name!(skipped, i32),
                name!(errors, i32),
                name!(remaining, bool),
            )> {
                let tally = entry(|db| run(db, $name, &scope(max_items, partitions, namespace, tags)?));
                TableIterator::once(row(tally))
            }
        )*
    };
}

fn row(t: Tally) -> Row {
    (t.processed, t.skipped, t.errors, t.remaining)
}

reconcilers! {
    /// Cancels the upstreams that fired groups need no more.
    ff_reconcile_sibling_cancel = "sibling_cancel";
    /// Repairs requests to cancel siblings that have stood too long.
    ff_reconcile_sibling_cancel_repair = "sibling_cancel_repair";
    /// Cancels members that cancelled flows owe.
    ff_reconcile_cancel_backlog = "cancel_backlog";
    /// Marks elapsed leases.
    ff_reconcile_lease_expiry = "lease_expiry";
    /// Makes executions whose delay is over eligible.
    ff_reconcile_delayed = "delayed";
    /// Ends attempts whose time is over.
    ff_reconcile_attempt_timeout = "attempt_timeout";
    /// Ends executions past their deadline.
    ff_reconcile_execution_deadline = "execution_deadline";
    /// Drops grants that nobody has taken up in time.
    ff_reconcile_grant_expiry = "grant_expiry";
    /// Begins the next period of budgets whose period has ended.
    ff_reconcile_budget_reset = "budget_reset";
    /// Cancels what is under breached budgets that say so.
    ff_reconcile_budget_enforce = "budget_enforce";
    /// Repairs budgets and forgets lapsed keys of reports.
    ff_reconcile_budget_counters = "budget_counters";
    /// Frees slots that nobody should hold, and restores those that are missing.
    ff_reconcile_quota_counters = "quota_counters";
    /// Makes executions eligible that a live worker can run now.
    ff_reconcile_unblock = "unblock";
    /// Deletes lapsed registrations of workers.
    ff_reconcile_worker_ttl = "worker_ttl";
    /// Applies due suspension timeouts.
    ff_reconcile_suspension_timeout = "suspension_timeout";
    /// Expires waitpoints that no suspension has used in time.
    ff_reconcile_pending_waitpoint = "pending_waitpoint";
    /// Forgets the keys of signals and suspends past their lifetime, and erases secrets of no use.
    ff_reconcile_signal_gc = "signal_gc";
    /// Deletes frames that nobody can see any more, and streams past their time.
    ff_reconcile_stream_gc = "stream_gc";
    /// Forgets idempotency keys past their lifetime.
    ff_reconcile_idempotency = "idempotency";
    /// Resolves the edges of members of flows that have ended.
    ff_reconcile_cascade = "cascade";
    /// Finds and repairs unresolved due edges, wrong counters and children that wait without reason.
    ff_reconcile_dependency = "dependency";
    /// Projects, seals and closes flows.
    ff_reconcile_flow_summary = "flow_summary";
    /// Deletes ended flows without members.
    ff_reconcile_flow_retention = "flow_retention";
    /// Deletes terminal executions whose retention is over.
    ff_reconcile_retention = "retention";
}

/// Marks the lease of one execution if its time is over.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ff_mark_lease_expired_if_due(execution_id: Option<Uuid>) -> &'static str {
    entry(|db| settle::lease(db, uuid_in(required(execution_id, "execution_id")?)))
}

/// Makes one execution eligible if its delay is over.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ff_promote_delayed(execution_id: Option<Uuid>) -> &'static str {
    entry(|db| settle::delay(db, uuid_in(required(execution_id, "execution_id")?)))
}

/// Ends the attempt or the life of one execution if its time is over.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn ff_expire_execution(execution_id: Option<Uuid>, phase: Option<String>) -> &'static str {
    entry(|db| {
        let id = uuid_in(required(execution_id, "execution_id")?);
        settle::expire(db, id, &required(phase, "phase")?)
    })
}

/// Runs every duty once.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_tick(
    max_items: default!(Option<i32>, "NULL"),
    partitions: default!(Option<Range<i32>>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(reconciler, &'static str),
        name!(processed, i32),
        name!(skipped, i32),
        name!(errors, i32),
        name!(remaining, bool),
    ),
> {
    let tallies = entry(|db| {
        let scope = scope(max_items, partitions, None, None)?;
        reconcile::before_tick(db)?;
        reconcile::ALL
            .iter()
            .map(|r: &Reconciler| Ok((r.name, r.run(db, &scope)?)))
            .collect::<Result<Vec<_>>>()
    });
    TableIterator::new(
        tallies
            .into_iter()
            .map(|(name, t)| (name, t.processed, t.skipped, t.errors, t.remaining)),
    )
}
