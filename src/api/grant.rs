//! Claiming through an external scheduler (§10.12).

use pgrx::datum::{Interval, Range, TimestampWithTimeZone, Uuid};
use pgrx::prelude::*;

use crate::error::{Error, Result};
use crate::model::execution::Grant;
use crate::ops::claim::next::{Claim, lease_ttl};
use crate::ops::grant::issue::{self, Issued, Notes};
use crate::ops::grant::reclaim::{self, Reclaimed};
use crate::ops::grant::{grant_ttl, scan, select, take};
use crate::pg::jsonb::Jsonb;
use crate::pg::srf::TableIterator;
use crate::store::claimer::Claimer;
use crate::store::scan::Asked;

use super::claim::{capabilities, partitions};
use super::claim_row::{self, claims, prepend};
use super::{entry, limit, object, positive_ms, required, stamp, uuid_in, uuid_out};

/// Most rows of a scan.
const MOST_SEEN: i32 = 1000;

/// A worker with what it offers.
fn claimer(
    worker: Option<String>,
    instance: Option<String>,
    capabilities: Vec<String>,
) -> Result<Claimer> {
    let worker = required(worker, "worker")?;
    Ok(Claimer {
        instance: instance.unwrap_or_else(|| worker.clone()),
        worker,
        capabilities,
        namespace: None,
    })
}

fn grant_length(ttl: Option<Interval>) -> Result<i32> {
    grant_ttl(positive_ms(ttl, "grant_ttl")?)
}

fn lease_length(ttl: Option<Interval>) -> Result<i32> {
    lease_ttl(positive_ms(ttl, "lease_ttl")?)
}

/// Id and end of a grant.
fn shown(grant: Option<Grant>) -> (Option<Uuid>, Option<TimestampWithTimeZone>) {
    let (id, at) = grant.map(|g| (g.id, g.expires_at)).unzip();
    (id.map(uuid_out), at.and_then(stamp))
}

/// Claimable executions of a lane in claim order; nothing is locked or changed.
#[pg_extern(stable, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_scan_eligible(
    lane: Option<String>,
    max_items: default!(Option<i32>, 10),
    namespace: default!(Option<String>, "NULL"),
    partitions: default!(Option<Range<i32>>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(execution_id, Uuid),
        name!(priority, i32),
        name!(created_at, Option<TimestampWithTimeZone>),
        name!(required_capabilities, Vec<String>),
        name!(attempt_state, String),
    ),
> {
    let seen = entry(|db| {
        let lane = required(lane, "lane")?;
        let asked = Asked {
            lane: &lane,
            namespace: namespace.as_deref(),
            partitions: self::partitions(partitions)?,
            limit: limit(max_items, "max_items", MOST_SEEN)?,
        };
        scan::scan(db, &asked)
    });
    TableIterator::new(seen.into_iter().map(|s| {
        (
            uuid_out(s.id),
            s.priority,
            stamp(s.created_at),
            s.required,
            s.attempt_state,
        )
    }))
}

/// Reserves a claimable execution for one worker.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::too_many_arguments, clippy::type_complexity)]
fn ff_issue_claim_grant(
    execution_id: Option<Uuid>,
    worker: Option<String>,
    worker_instance: default!(Option<String>, "NULL"),
    capabilities: default!(Option<Vec<Option<String>>>, "'{}'"),
    grant_ttl: default!(Option<Interval>, "NULL"),
    block_on_mismatch: default!(Option<bool>, true),
    route_snapshot: default!(Option<Jsonb>, "NULL"),
    admission_summary: default!(Option<String>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(execution_id, Uuid),
        name!(grant_id, Option<Uuid>),
        name!(expires_at, Option<TimestampWithTimeZone>),
        name!(missing, Option<Vec<String>>),
    ),
> {
    let row = entry(|db| {
        let id = required(execution_id, "execution_id")?;
        let request = issue::Request {
            id: uuid_in(id),
            claimer: claimer(worker, worker_instance, self::capabilities(capabilities)?)?,
            ttl_ms: grant_length(grant_ttl)?,
        };
        let snapshot = route_snapshot.map(|s| object(Some(s), "route_snapshot"));
        let notes = Notes {
            route_snapshot: snapshot.transpose()?.map(Into::into),
            admission_summary,
        };
        let block = required(block_on_mismatch, "block_on_mismatch")?;
        let Issued {
            outcome,
            grant,
            missing,
            ..
        } = issue::claim(db, request, notes, block)?;
        let (grant, until) = shown(grant);
        Ok((outcome, id, grant, until, missing))
    });
    TableIterator::once(row)
}

/// Reserves the next claimable execution of a lane for a worker.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_claim_for_worker(
    lane: Option<String>,
    worker: Option<String>,
    worker_instance: default!(Option<String>, "NULL"),
    capabilities: default!(Option<Vec<Option<String>>>, "'{}'"),
    grant_ttl: default!(Option<Interval>, "NULL"),
    namespace: default!(Option<String>, "NULL"),
    partitions: default!(Option<Range<i32>>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(execution_id, Option<Uuid>),
        name!(grant_id, Option<Uuid>),
        name!(expires_at, Option<TimestampWithTimeZone>),
        name!(lane, Option<String>),
        name!(partition_key, Option<i16>),
    ),
> {
    let row = entry(|db| {
        let mut claim = Claim {
            lane: required(lane, "lane")?,
            claimer: Claimer {
                namespace,
                ..claimer(worker, worker_instance, self::capabilities(capabilities)?)?
            },
            limit: 1,
            ttl_ms: grant_length(grant_ttl)?,
            reclaim: false,
            partitions: self::partitions(partitions)?,
        };
        claim.check()?;
        Ok(match select::select(db, &claim)? {
            None => ("no_work", None, None, None, None, None),
            Some((e, grant)) => {
                let (grant, until) = shown(Some(grant));
                let id = Some(uuid_out(e.place.id));
                let partition = Some(e.place.partition);
                ("granted", id, grant, until, Some(claim.lane), partition)
            }
        })
    });
    TableIterator::once(row)
}

macro_rules! claims_by_grant {
    ($($(#[$doc:meta])* $function:ident = $operation:path;)*) => {
        $(claims! {
            volatile
            $(#[$doc])*
            fn $function(
                execution_id: Option<Uuid>,
                worker: Option<String>,
                worker_instance: default!(Option<String>, "NULL"),
                lease_ttl: default!(Option<Interval>, "NULL"),
                grant_id: default!(Option<Uuid>, "NULL"),
                expected_attempt_index: default!(Option<i32>, "NULL"),
            ) -> [] {
                let claimed = entry(|db| {
                    let request =
                        taking(execution_id, worker, worker_instance, lease_ttl, grant_id, expected_attempt_index)?;
                    $operation(db, request)
                });
                TableIterator::once(claim_row::row(claimed))
            }
        })*
    };
}

claims_by_grant! {
    /// Claims one execution by its grant.
    ff_claim_execution = take::granted;
    /// Takes up the interrupted attempt of one execution, with a grant or without.
    ff_claim_resumed_execution = take::resumed;
}

claims! {
    volatile
    /// Takes one execution over in one step, for an operator.
    fn ff_issue_grant_and_claim(
        execution_id: Option<Uuid>,
        lease_ttl: Option<Interval>,
        lane: default!(Option<String>, "NULL"),
        worker: default!(Option<String>, "'operator'"),
        worker_instance: default!(Option<String>, "'operator'"),
    ) -> [] {
        let claimed = entry(|db| {
            let ttl = required(lease_ttl, "lease_ttl")?;
            let instance = required(worker_instance, "worker_instance")?;
            let request = taking(execution_id, worker, Some(instance), Some(ttl), None, None)?;
            take::by_operator(db, request, lane.as_deref())
        });
        TableIterator::once(claim_row::row(claimed))
    }
}

fn taking(
    execution_id: Option<Uuid>,
    worker: Option<String>,
    instance: Option<String>,
    ttl: Option<Interval>,
    grant: Option<Uuid>,
    attempt_index: Option<i32>,
) -> Result<take::Request> {
    if attempt_index.is_some_and(|index| index < 0) {
        return Err(Error::invalid_input("expected_attempt_index", "negative"));
    }
    Ok(take::Request {
        id: uuid_in(required(execution_id, "execution_id")?),
        claimer: claimer(worker, instance, Vec::new())?,
        ttl_ms: lease_length(ttl)?,
        grant: grant.map(uuid_in),
        attempt_index,
    })
}

/// Reserves an execution with a lost lease for one worker.
#[pg_extern(volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_issue_reclaim_grant(
    execution_id: Option<Uuid>,
    worker: Option<String>,
    worker_instance: default!(Option<String>, "NULL"),
    capabilities: default!(Option<Vec<Option<String>>>, "'{}'"),
    grant_ttl: default!(Option<Interval>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(outcome, &'static str),
        name!(execution_id, Uuid),
        name!(grant_id, Option<Uuid>),
        name!(expires_at, Option<TimestampWithTimeZone>),
        name!(reclaim_count, i32),
        name!(missing, Option<Vec<String>>),
        name!(detail, Option<String>),
    ),
> {
    let row = entry(|db| {
        let id = required(execution_id, "execution_id")?;
        let request = issue::Request {
            id: uuid_in(id),
            claimer: claimer(worker, worker_instance, self::capabilities(capabilities)?)?,
            ttl_ms: grant_length(grant_ttl)?,
        };
        let i = issue::reclaim(db, request)?;
        let (grant, until) = shown(i.grant);
        let (reclaims, missing, detail) = (i.reclaims, i.missing, i.detail);
        Ok((i.outcome, id, grant, until, reclaims, missing, detail))
    });
    TableIterator::once(row)
}

claims! {
    volatile
    /// Takes over an execution with a lost lease by its reclaim grant.
    fn ff_reclaim_execution(
        execution_id: Option<Uuid>,
        worker: Option<String>,
        worker_instance: default!(Option<String>, "NULL"),
        lease_ttl: default!(Option<Interval>, "NULL"),
        grant_id: default!(Option<Uuid>, "NULL"),
        max_reclaim_count: default!(Option<i32>, "NULL"),
    ) -> [
        name!(outcome, &'static str),
        name!(detail, Option<String>),
    ] {
        let done = entry(|db| {
            let request = reclaim::Request {
                id: uuid_in(required(execution_id, "execution_id")?),
                claimer: claimer(worker, worker_instance, Vec::new())?,
                ttl_ms: lease_length(lease_ttl)?,
                grant: grant_id.map(uuid_in),
                max_reclaims: max_reclaim_count,
            };
            reclaim::reclaim(db, request)
        });
        let (outcome, detail, row) = match done {
            Reclaimed::Claimed(claimed) => ("claimed", None, claim_row::row(*claimed)),
            Reclaimed::NotReclaimable(why) => ("not_reclaimable", Some(why), claim_row::NONE),
            Reclaimed::Exhausted(count) => {
                let why = format!("reclaimed {count} times, which is the limit");
                ("reclaim_cap_exceeded", Some(why), claim_row::reclaimed(count))
            }
            Reclaimed::GrantNotFound => ("grant_not_found", None, claim_row::NONE),
        };
        TableIterator::once(prepend!(row; outcome, detail))
    }
}
