//! Claims the next work of a lane (§10.11).

use uuid::Uuid;

use crate::error::Result;
use crate::guc;
use crate::model::capability::{self, Side};
use crate::model::transition::{self, ClaimTerms};
use crate::model::words::Lifecycle;
use crate::model::{lane_name, text};
use crate::pg::mark;
use crate::pg::spi::Db;
use crate::pg::{background, session};
use crate::store;
use crate::store::claimer::Claimer;
use crate::store::ready::{Candidate, Wanted};

use super::super::lane::hands_out;
use super::super::limit::gate::{Admission, Gate, Lane};
use super::super::{clock, installation, save};
use super::merge::Merge;
use super::promote;
use super::row::{Claimed, Input, policy, reclaim_limit};

/// A claim whose arguments have been checked.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Lane.
    pub lane: String,
    /// Who claims.
    pub claimer: Claimer,
    /// At most so many.
    pub limit: i64,
    /// Length of the leases, milliseconds.
    pub ttl_ms: i32,
    /// Take over lost leases too.
    pub reclaim: bool,
    /// Lowest and highest partition.
    pub partitions: (i16, i16),
}

impl Claim {
    /// Checks names and capabilities; the namespace filter is the claimer's.
    ///
    /// # Errors
    /// `invalid_lane`, `invalid_input`, `invalid_capabilities`.
    pub fn check(&mut self) -> Result<()> {
        lane_name::check(&self.lane)?;
        text::identifier("worker", &self.claimer.worker)?;
        text::identifier("worker_instance", &self.claimer.instance)?;
        if let Some(namespace) = &self.claimer.namespace {
            text::identifier("namespace", namespace)?;
        }
        let worker = self.claimer.capabilities.iter().map(|c| Some(c.as_str()));
        self.claimer.capabilities = capability::normalise(Side::Worker, worker)?;
        Ok(())
    }

    /// Whether no filter makes it pass over entries of the queues that it reads.
    pub fn sees_all(&self) -> bool {
        self.reclaim && self.partitions == (0, 255)
    }
}

/// What one look at a lane brought.
#[derive(Default)]
pub struct Look {
    /// Handed-out executions, in claim order.
    pub claimed: Vec<Claimed>,
    /// Something was written, so the call must return and let it be committed.
    pub changed: bool,
}

/// One look: promotes what is due, takes what is ready.
///
/// # Errors
/// `corruption` for an unreadable policy.
pub fn look(db: &Db, claim: &Claim) -> Result<Look> {
    let mut claimed = Vec::new();
    let changed = search(db, claim, |gate, queues, candidates| {
        let before = claimed.len();
        hand_out(db, claim, gate, queues, candidates, &mut claimed)?;
        Ok(claimed.len() - before)
    })?;
    Ok(Look { claimed, changed })
}

/// Looks at a lane: promotes what is due, and offers what is ready, locked and in claim order, until as many as the
/// claim may have are taken or nothing is left. Whether anything was written.
///
/// # Errors
/// Those of the offer; `corruption` for an unreadable policy.
pub fn search(
    db: &Db,
    claim: &Claim,
    mut offer: impl FnMut(&mut Gate, &[(i32, String)], Vec<Candidate>) -> Result<usize>,
) -> Result<bool> {
    let Some(served) = store::queue::served(
        db,
        &claim.lane,
        &claim.claimer.capabilities,
        claim.claimer.namespace.as_deref(),
    ) else {
        return Ok(false);
    };
    let mut found = Found::default();
    if !hands_out(&served.state) || claim.limit == 0 {
        return Ok(false);
    }
    let mut gate = Gate::open(db, &claim.lane)?;
    if gate.state == Lane::Closed {
        return Ok(false);
    }
    // A live worker promotes within its 250 ms; without one, or before saying "no work", the claim does it.
    let mut promoted = !background::alive() || clock::shifted();
    if promoted {
        found.changed |= promote::due(db, served.lane)?;
    }
    loop {
        take(db, claim, &served.queues, &mut gate, &mut found, &mut offer)?;
        if promoted || found.taken > 0 {
            return Ok(found.changed);
        }
        promoted = true;
        if !promote::due(db, served.lane)? {
            return Ok(found.changed);
        }
        found.changed = true;
    }
}

/// How far a search has come.
#[derive(Default)]
struct Found {
    taken: usize,
    changed: bool,
}

/// Offers ready work until the limit is reached or nothing is left.
fn take(
    db: &Db,
    claim: &Claim,
    queues: &[(i32, String)],
    gate: &mut Gate,
    found: &mut Found,
    offer: &mut impl FnMut(&mut Gate, &[(i32, String)], Vec<Candidate>) -> Result<usize>,
) -> Result<()> {
    let mut merge = None;
    loop {
        let wanted = Wanted {
            reclaim: claim.reclaim,
            now: clock::now(),
            low: claim.partitions.0,
            high: claim.partitions.1,
            limit: claim.limit - found.taken as i64,
        };
        if wanted.limit <= 0 || gate.weary() {
            return Ok(());
        }
        let left = std::mem::take(&mut gate.left);
        let (candidates, more) = match queues {
            [] => return Ok(()),
            queues if gate.state != Lane::Open => {
                let candidates = store::ready::take_lost(db, queues, wanted, &left);
                (candidates, false)
            }
            [(queue, _)] => {
                let candidates = take_from(db, claim, *queue, wanted, &left);
                let more = candidates.len() as i64 == wanted.limit;
                (candidates, more)
            }
            queues => {
                let merge = merge.get_or_insert_with(|| Merge::begin(claim, queues));
                let heads = merge.next(db, wanted);
                if heads.is_empty() {
                    return Ok(());
                }
                let ids = heads.iter().map(|h| h.id);
                (store::ready::take_these(db, ids, wanted), true)
            }
        };
        gate.left = left;
        if !candidates.is_empty() {
            found.changed = true;
            gate.prepare(db, &candidates, queues)?;
            found.taken += offer(gate, queues, candidates)?;
        }
        if !more {
            return Ok(());
        }
    }
}

/// Takes from one queue, from its low-water mark on.
fn take_from(db: &Db, claim: &Claim, queue: i32, wanted: Wanted, left: &[Uuid]) -> Vec<Candidate> {
    let shared = store::ready::shared(queue);
    let ticket = mark::start(shared);
    let from = store::ready::position(ticket.from);
    let (candidates, first) = store::ready::take(db, queue, from, wanted, left);
    // An old snapshot misses some entries below the first one taken.
    if claim.sees_all() && session::read_committed() {
        mark::passed(shared, ticket, first.as_ref().map(store::ready::place));
    }
    candidates
}

/// Gives every candidate a lease, or its end if its reclaims are used up.
fn hand_out(
    db: &Db,
    claim: &Claim,
    gate: &mut Gate,
    queues: &[(i32, String)],
    candidates: Vec<Candidate>,
    claimed: &mut Vec<Claimed>,
) -> Result<()> {
    let now = clock::now();
    let claimer = store::claimer::intern(db, &claim.claimer);
    let installation = installation::id(db);
    let mut changes = Vec::with_capacity(candidates.len());
    // What the worker of each change is told beside it; none where there is no lease.
    let mut told = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let before = candidate.execution;
        let policy = policy(candidate.input.policy.as_ref())?;
        if before.vector.lifecycle == Lifecycle::Active
            && i64::from(before.reclaims) >= reclaim_limit(&policy, None)
        {
            changes.push(transition::exhaust_reclaims(before, now));
            told.push(None);
            continue;
        }
        let slots = match gate.admit(db, &before, queues, now) {
            Admission::Admitted(slots) => slots,
            Admission::Blocked(change) => {
                changes.push(*change);
                told.push(None);
                continue;
            }
            Admission::Left => continue,
        };
        let namespace = queues.iter().find(|(id, _)| *id == before.place.queue);
        let input = Input {
            namespace: namespace.map(|(_, name)| name.clone()).unwrap_or_default(),
            lane: claim.lane.clone(),
            kind: candidate.kind,
            payload: candidate.input.payload,
            encoding: candidate.input.encoding,
            policy: candidate.input.policy,
        };
        let terms = terms(before.place.partition, claimer, claim.ttl_ms);
        let (change, kind) = transition::claim(before, &terms, &policy, now);
        changes.push(change.holding(slots));
        told.push(Some((kind, input)));
    }
    save::apply(db, &changes, now);
    let handed_out = changes.into_iter().zip(told).filter_map(|(change, told)| {
        let (kind, input) = told?;
        Some(Claimed::by(change, kind, input, installation))
    });
    claimed.extend(handed_out);
    Ok(())
}

/// The terms of a lease about to be given.
pub fn terms(partition: i16, claimer: i32, ttl_ms: i32) -> ClaimTerms {
    ClaimTerms {
        claimer,
        lease_id: clock::secret(),
        attempt_id: clock::mint(Some(partition as u8)),
        ttl_ms,
        takeover: false,
    }
}

/// A lease length in milliseconds from an argument, within the settings.
///
/// # Errors
/// `invalid_input` beyond `max_lease_ttl`.
pub fn lease_ttl(argument_ms: Option<i64>) -> Result<i32> {
    let max = guc::MAX_LEASE_TTL.value.get();
    match argument_ms {
        None => Ok(guc::DEFAULT_LEASE_TTL.value.get().min(max)),
        Some(ms) if ms > i64::from(max) => {
            Err(crate::error::Error::invalid_input("lease_ttl", "too_long").with("max_ms", max))
        }
        Some(ms) => Ok(ms as i32),
    }
}
