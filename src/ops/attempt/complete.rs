//! Completes executions (§10.14.4): T12. A single completion is a batch of one.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::model::execution::Execution;
use crate::model::fence::{self, Caller};
use crate::model::handle::Handle;
use crate::model::time::Instant;
use crate::model::transition::{self, Change};
use crate::model::words::EndOp;
use crate::pg::spi::Db;
use crate::store;
use crate::store::claimer::Claimer;

use super::super::execution::create::within_limit;
use super::super::lease::fenced::{self, Passage};
use super::super::{clock, save};

/// A completed execution.
#[derive(Clone, Copy, Debug)]
pub struct Completed {
    /// Whose.
    pub id: Uuid,
    /// When.
    pub completed_at: Option<Instant>,
    /// It had been completed by this lease before.
    pub replayed: bool,
    /// Lane, claimer and lease length of the claim it came from, if the row still tells.
    pub claim: Option<(i32, i32, i32)>,
}

/// A handle with the result to store.
pub struct Item<'a> {
    /// Handle text.
    pub handle: Option<&'a str>,
    /// Result bytes.
    pub result: Option<&'a [u8]>,
}

/// Completes every execution whose lease holds; each item gets its own answer, in order. A caller that wants all
/// or nothing raises the first error, which undoes the rest.
pub fn complete(db: &Db, items: &[Item], encoding: Option<&str>) -> Vec<Result<Completed>> {
    let callers = items.iter().map(|item| decode(db, item)).collect();
    let results: Vec<_> = items.iter().map(|item| item.result).collect();
    finish(db, callers, &results, encoding)
}

/// Completes the execution of one caller.
///
/// # Errors
/// Those of the fence; `payload_too_large`.
pub fn one(
    db: &Db,
    caller: Caller,
    result: Option<&[u8]>,
    encoding: Option<&str>,
) -> Result<Completed> {
    within_limit(result)?;
    let mut answers = finish(db, vec![Ok(caller)], &[result], encoding);
    answers
        .pop()
        .unwrap_or_else(|| Err(fence::not_found(caller.id)))
}

fn finish(
    db: &Db,
    callers: Vec<Result<Caller>>,
    results: &[Option<&[u8]>],
    encoding: Option<&str>,
) -> Vec<Result<Completed>> {
    let mut ids: Vec<Uuid> = callers.iter().flatten().map(|c| c.id).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut locked: BTreeMap<Uuid, Box<Execution>> = store::execution::lock_all(db, &ids)
        .into_iter()
        .map(|e| (e.place.id, Box::new(e)))
        .collect();
    let now = clock::now();
    let mut changes: Vec<Change> = Vec::with_capacity(ids.len());
    // Only a call that names an execution twice needs it again as the first left it.
    let again = ids.len() < callers.len();
    let answers = callers
        .into_iter()
        .zip(results)
        .map(|(caller, result)| {
            let caller = caller?;
            let id = caller.id;
            let e = if again {
                locked.get(&id).cloned()
            } else {
                locked.remove(&id)
            };
            let e = e.ok_or_else(|| fence::not_found(id))?;
            let fence = caller.fence(&e);
            match fenced::judge(db, e, &fence, EndOp::Complete, now)? {
                Passage::Replay(r) => Ok(Completed {
                    id,
                    completed_at: r.ended_at,
                    replayed: true,
                    claim: None,
                }),
                Passage::Live(e, now) => {
                    let result = result.map(<[u8]>::to_vec);
                    let claim = e.lease.claimer.zip(e.lease.ttl_ms);
                    let claim = claim.map(|(claimer, ttl)| (e.place.lane, claimer, ttl));
                    let change = transition::complete(*e, result, encoding.map(str::to_owned), now);
                    if again {
                        locked.insert(id, change.after.clone());
                    }
                    changes.push(change);
                    Ok(Completed {
                        id,
                        completed_at: Some(now),
                        replayed: false,
                        claim,
                    })
                }
            }
        })
        .collect();
    save::apply(db, &changes, now);
    answers
}

fn decode(db: &Db, item: &Item) -> Result<Caller> {
    within_limit(item.result)?;
    let text = item
        .handle
        .ok_or_else(|| Error::invalid_input("handle", "null"))?;
    Ok((&fenced::decode(db, text)?).into())
}

/// The claim a handle came from, as its row records it.
pub struct Holder {
    /// Lane name.
    pub lane: String,
    /// Who claimed.
    pub claimer: Claimer,
    /// Length of the lease, milliseconds.
    pub ttl_ms: i32,
}

/// The claims that completed executions came from, by their handles.
pub fn holders(db: &Db, handles: &[Option<String>], completed: &[Completed]) -> Vec<Holder> {
    let known = |c: &Completed| {
        let (lane, claimer, ttl_ms) = c.claim?;
        Some(Holder {
            lane: store::lane::name(db, lane)?,
            claimer: store::claimer::read(db, claimer)?,
            ttl_ms,
        })
    };
    let holders: Vec<Holder> = completed.iter().filter_map(known).collect();
    if holders.len() == completed.len() {
        return holders;
    }
    // A repeated call names leases that later ones have followed.
    let decoded = handles.iter().flatten();
    let decoded = decoded.filter_map(|text| Handle::decode(text).ok());
    let leases: Vec<(Uuid, Uuid)> = decoded.map(|h| (h.execution_id, h.lease_id)).collect();
    let holder = |(lane, claimer, ttl_ms)| Holder {
        lane,
        claimer,
        ttl_ms,
    };
    store::claimer::of_leases(db, &leases)
        .into_iter()
        .map(holder)
        .collect()
}

/// The one claim that all handles of a fused call came from.
///
/// # Errors
/// `invalid_input` if they came from several worker instances.
pub fn one_instance(holders: &[Holder]) -> Result<Option<Holder>> {
    let mut all = holders.iter();
    let Some(first) = all.next() else {
        return Ok(None);
    };
    if all.any(|h| {
        h.claimer.instance != first.claimer.instance || h.claimer.worker != first.claimer.worker
    }) {
        return Err(Error::invalid_input("handles", "several_worker_instances"));
    }
    Ok(Some(Holder {
        lane: first.lane.clone(),
        claimer: first.claimer.clone(),
        ttl_ms: first.ttl_ms,
    }))
}
