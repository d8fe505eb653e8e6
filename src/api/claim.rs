//! Claiming (§10.11).

use pgrx::datum::{Interval, Uuid};
use pgrx::datum::{Range, TimestampWithTimeZone};
use pgrx::prelude::*;

use crate::error::{Error, Result};
use crate::guc;
use crate::ops::attempt::complete::{self, Completed, Item};
use crate::ops::claim::next::{Claim, lease_ttl};
use crate::ops::claim::{any, recover, wait};
use crate::ops::lease::fenced;
use crate::pg::jsonb::Jsonb;
use crate::pg::spi::Db;
use crate::pg::srf::TableIterator;
use crate::store::claimer::Claimer;

use super::claim_row::{self, claims, prepend};
use super::{bytes, entry, limit, positive_ms, required, uuid_out, wait_ms};

/// A filter over partitions as its lowest and highest number.
///
/// # Errors
/// `invalid_input` for a number outside 0–255.
pub fn partitions(range: Option<Range<i32>>) -> Result<(i16, i16)> {
    let Some(range) = range else {
        return Ok((0, 255));
    };
    if range.is_empty() {
        return Ok((1, 0));
    }
    let low = range.lower().and_then(|b| b.get()).copied().unwrap_or(0);
    // int4range is stored with an exclusive upper bound.
    let high = range.upper().and_then(|b| b.get()).map_or(255, |n| n - 1);
    if !(0..=255).contains(&low) || !(0..=255).contains(&high) {
        return Err(Error::invalid_input("partitions", "out_of_range"));
    }
    Ok((low as i16, high as i16))
}

/// The elements of an array argument, none of them NULL.
///
/// # Errors
/// `invalid_input`, rules `null`, `null_element`.
pub fn elements<T>(array: Option<Vec<Option<T>>>, argument: &str) -> Result<Vec<T>> {
    let array = required(array, argument)?;
    array
        .into_iter()
        .map(|e| e.ok_or_else(|| Error::invalid_input(argument, "null_element")))
        .collect()
}

/// A worker's capabilities as given; their grammar is checked with the claim.
pub fn capabilities(array: Option<Vec<Option<String>>>) -> Result<Vec<String>> {
    let array = required(array, "capabilities")?;
    crate::model::capability::normalise(
        crate::model::capability::Side::Worker,
        array.iter().map(|c| c.as_deref()),
    )
}

struct Asked {
    worker: Option<String>,
    worker_instance: Option<String>,
    capabilities: Option<Vec<Option<String>>>,
    max_items: Option<i32>,
    lease_ttl: Option<Interval>,
    namespace: Option<String>,
    reclaim: Option<bool>,
    partitions: Option<Range<i32>>,
}

fn checked(lane: Option<String>, asked: Asked) -> Result<Claim> {
    let worker = required(asked.worker, "worker")?;
    let mut claim = Claim {
        lane: required(lane, "lane")?,
        claimer: Claimer {
            instance: asked.worker_instance.unwrap_or_else(|| worker.clone()),
            worker,
            capabilities: capabilities(asked.capabilities)?,
            namespace: asked.namespace,
        },
        limit: limit(
            asked.max_items,
            "max_items",
            guc::MAX_CLAIM_ITEMS.value.get(),
        )?,
        ttl_ms: lease_ttl(positive_ms(asked.lease_ttl, "lease_ttl")?)?,
        reclaim: required(asked.reclaim, "reclaim")?,
        partitions: partitions(asked.partitions)?,
    };
    claim.check()?;
    Ok(claim)
}

claims! {
    volatile
    /// Hands out the next work of a lane, each execution to exactly one claimer.
    fn ff_claim(
        lane: Option<String>,
        worker: Option<String>,
        worker_instance: default!(Option<String>, "NULL"),
        capabilities: default!(Option<Vec<Option<String>>>, "'{}'"),
        max_items: default!(Option<i32>, 1),
        lease_ttl: default!(Option<Interval>, "NULL"),
        namespace: default!(Option<String>, "NULL"),
        wait: default!(Option<Interval>, "NULL"),
        reclaim: default!(Option<bool>, true),
        partitions: default!(Option<Range<i32>>, "NULL"),
    ) -> [] {
        let asked = Asked { worker, worker_instance, capabilities, max_items, lease_ttl, namespace, reclaim, partitions };
        let look = entry(|db| wait::claim(db, &checked(lane, asked)?, wait_ms(wait, "wait")?));
        TableIterator::new(look.claimed.into_iter().map(claim_row::row))
    }
}

claims! {
    volatile
    /// Hands out work of several lanes in rotation.
    fn ff_claim_any(
        lanes: Option<Vec<Option<String>>>,
        worker: Option<String>,
        worker_instance: default!(Option<String>, "NULL"),
        capabilities: default!(Option<Vec<Option<String>>>, "'{}'"),
        max_items: default!(Option<i32>, 1),
        lease_ttl: default!(Option<Interval>, "NULL"),
        namespace: default!(Option<String>, "NULL"),
        wait: default!(Option<Interval>, "NULL"),
        reclaim: default!(Option<bool>, true),
        partitions: default!(Option<Range<i32>>, "NULL"),
    ) -> [] {
        let asked = Asked { worker, worker_instance, capabilities, max_items, lease_ttl, namespace, reclaim, partitions };
        let look = entry(|db| {
            let lanes = elements(lanes, "lanes")?;
            let Some(first) = lanes.first() else {
                return Err(Error::invalid_input("lanes", "empty"));
            };
            let claim = checked(Some(first.clone()), asked)?;
            any::claim(db, &lanes, &claim, wait_ms(wait, "wait")?)
        });
        TableIterator::new(look.claimed.into_iter().map(claim_row::row))
    }
}

claims! {
    stable
    /// The live leases an instance holds, with equal handles; changes nothing.
    fn ff_recover_leases(
        worker: Option<String>,
        worker_instance: Option<String>,
        namespace: default!(Option<String>, "NULL"),
    ) -> [] {
        let held = entry(|db| {
            let worker = required(worker, "worker")?;
            let instance = required(worker_instance, "worker_instance")?;
            recover::recover(db, &worker, &instance, namespace.as_deref())
        });
        TableIterator::new(held.into_iter().map(claim_row::row))
    }
}

/// What the claim half of a fused call may override.
struct Next {
    max_items: Option<i32>,
    lane: Option<String>,
    worker: Option<String>,
    worker_instance: Option<String>,
    capabilities: Option<Vec<Option<String>>>,
    lease_ttl: Option<Interval>,
    namespace: Option<String>,
}

/// A fused row: the completion, then the claim.
type Fused = (Option<&'static str>, Option<bool>, Option<Uuid>);

fn complete_and_claim(
    db: &Db,
    handles: &[Option<String>],
    results: Option<&[Option<Vec<u8>>]>,
    encoding: Option<&str>,
    batch: bool,
    next: Next,
) -> Result<Vec<(Fused, claim_row::Row)>> {
    let items: Vec<Item> = handles
        .iter()
        .enumerate()
        .map(|(i, handle)| Item {
            handle: handle.as_deref(),
            result: results.and_then(|r| r.get(i)).and_then(Option::as_deref),
        })
        .collect();
    let mut completed: Vec<Completed> = Vec::with_capacity(items.len());
    for (i, answer) in complete::complete(db, &items, encoding)
        .into_iter()
        .enumerate()
    {
        completed.push(answer.map_err(|e| if batch { e.item(i) } else { e })?);
    }
    let holder = complete::one_instance(&complete::holders(db, handles, &completed))?;
    let claimed = match holder {
        None => Vec::new(),
        Some(holder) => {
            let ttl = match positive_ms(next.lease_ttl, "lease_ttl")? {
                Some(ms) => lease_ttl(Some(ms))?,
                None => holder.ttl_ms,
            };
            let mut claim = Claim {
                lane: next.lane.unwrap_or(holder.lane),
                claimer: Claimer {
                    worker: next.worker.unwrap_or(holder.claimer.worker),
                    instance: next.worker_instance.unwrap_or(holder.claimer.instance),
                    capabilities: match next.capabilities {
                        Some(given) => capabilities(Some(given))?,
                        None => holder.claimer.capabilities,
                    },
                    namespace: next.namespace.or(holder.claimer.namespace),
                },
                limit: limit(
                    next.max_items,
                    "max_items",
                    guc::MAX_CLAIM_ITEMS.value.get(),
                )?,
                ttl_ms: ttl,
                reclaim: true,
                partitions: (0, 255),
            };
            claim.check()?;
            wait::claim(db, &claim, 0)?.claimed
        }
    };
    let rows = completed.len().max(claimed.len()).max(1);
    let mut claimed = claimed.into_iter().map(claim_row::row);
    Ok((0..rows)
        .map(|i| {
            let done = completed
                .get(i)
                .or(if batch { None } else { completed.first() });
            let done = (
                done.map(|_| "completed"),
                done.map(|c| c.replayed),
                done.map(|c| uuid_out(c.id)),
            );
            (done, claimed.next().unwrap_or(claim_row::NONE))
        })
        .collect())
}

claims! {
    volatile
    /// Completes one execution and claims the next in the same call.
    fn ff_complete_and_claim(
        handle: Option<String>,
        result: default!(Option<Vec<u8>>, "NULL"),
        result_encoding: default!(Option<String>, "NULL"),
        max_items: default!(Option<i32>, 1),
        lane: default!(Option<String>, "NULL"),
        worker: default!(Option<String>, "NULL"),
        worker_instance: default!(Option<String>, "NULL"),
        capabilities: default!(Option<Vec<Option<String>>>, "NULL"),
        lease_ttl: default!(Option<Interval>, "NULL"),
        namespace: default!(Option<String>, "NULL"),
    ) -> [
        name!(completion, Option<&'static str>),
        name!(replayed, Option<bool>),
        name!(completed_execution_id, Option<Uuid>),
    ] {
        let next = Next { max_items, lane, worker, worker_instance, capabilities, lease_ttl, namespace };
        let rows = entry(|db| {
            let handle = required(handle, "handle")?;
            complete_and_claim(db, &[Some(handle)], Some(&[result]), result_encoding.as_deref(), false, next)
        });
        TableIterator::new(rows.into_iter().map(|((a, b, c), row)| prepend!(row; a, b, c)))
    }
}

claims! {
    volatile
    /// Completes a batch, all or nothing, and claims the next work in the same call.
    fn ff_complete_many_and_claim(
        handles: Option<Vec<Option<String>>>,
        results: default!(Option<Array<&[u8]>>, "NULL"),
        result_encoding: default!(Option<String>, "NULL"),
        max_items: default!(Option<i32>, 1),
        lane: default!(Option<String>, "NULL"),
        worker: default!(Option<String>, "NULL"),
        worker_instance: default!(Option<String>, "NULL"),
        capabilities: default!(Option<Vec<Option<String>>>, "NULL"),
        lease_ttl: default!(Option<Interval>, "NULL"),
        namespace: default!(Option<String>, "NULL"),
    ) -> [
        name!(completion, Option<&'static str>),
        name!(replayed, Option<bool>),
        name!(completed_execution_id, Option<Uuid>),
    ] {
        let next = Next { max_items, lane, worker, worker_instance, capabilities, lease_ttl, namespace };
        let results = results.map(bytes);
        let rows = entry(|db| {
            let handles = super::attempt::batch(handles, results.as_deref())?;
            complete_and_claim(db, &handles, results.as_deref(), result_encoding.as_deref(), true, next)
        });
        TableIterator::new(rows.into_iter().map(|((a, b, c), row)| prepend!(row; a, b, c)))
    }
}

/// Decodes a handle without touching state.
#[pg_extern(stable, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn ff_handle_info(
    handle: Option<String>,
) -> TableIterator<
    'static,
    (
        name!(execution_id, Uuid),
        name!(attempt_index, i32),
        name!(attempt_id, Uuid),
        name!(lease_id, Uuid),
        name!(lease_epoch, i64),
        name!(kind, &'static str),
    ),
> {
    let h = entry(|db| fenced::decode(db, &required(handle, "handle")?));
    TableIterator::once((
        uuid_out(h.execution_id),
        h.attempt_index,
        uuid_out(h.attempt_id),
        uuid_out(h.lease_id),
        h.lease_epoch,
        h.kind.word(),
    ))
}
