//! Cancels flows (§40.8): the flow at once, its members at once or as owed work.

use std::time::{Duration, Instant as Moment};

use serde_json::json;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::guc;
use crate::model::event::{Code, Event};
use crate::model::execution::Execution;
use crate::model::flow::{self, CancelPolicy, Flow, FlowState};
use crate::model::text;
use crate::model::time::{Instant, MS};
use crate::model::transition;
use crate::model::words::{AttemptState, Lifecycle};
use crate::pg::spi::Db;
use crate::pg::{process, subxact};
use crate::store;

use super::super::{clock, save};

/// Members that a refused cancellation names at most.
const SHOWN: usize = 1000;
/// Members cancelled in one go.
const CHUNK: usize = 500;
/// How long a waiting cancellation sleeps before it tries a busy row again, in milliseconds.
const PAUSE_MS: i64 = 5;

/// What a cancellation says.
pub struct Request<'a> {
    /// Flow.
    pub flow: Uuid,
    /// Policy word.
    pub policy: &'a str,
    /// Why.
    pub reason: &'a str,
    /// By whom; may be empty.
    pub requester: &'a str,
    /// A stronger policy replaces the one of an earlier cancellation.
    pub escalate: bool,
}

/// What becomes of covered members in the call itself.
#[derive(Clone, Copy)]
pub enum Mode {
    /// Some are cancelled, busy ones are left for later.
    None,
    /// All are, as far as they are free within so many milliseconds.
    Wait(i64),
}

/// What became of a flow.
pub struct Cancelled {
    /// Outcome word.
    pub outcome: &'static str,
    /// The policy that holds.
    pub policy: Option<CancelPolicy>,
    /// The reason that holds.
    pub reason: Option<String>,
    /// How many members it concerns.
    pub members: usize,
    /// How many were cancelled by this call.
    pub cancelled: usize,
    /// Which members it concerns.
    pub ids: Vec<Uuid>,
    /// Those that could not be cancelled in time.
    pub failed: Vec<Uuid>,
}

/// A flow that has just been cancelled.
struct Open {
    flow: Flow,
    policy: CancelPolicy,
    now: Instant,
    /// Live members, ascending.
    live: Vec<Execution>,
}

/// Cancels a flow and its members.
///
/// # Errors
/// `flow_not_found`, `invalid_input`.
pub fn cancel(db: &Db, r: &Request, mode: Mode) -> Result<Cancelled> {
    let open = match begin(db, r)? {
        Ok(open) => open,
        Err(flow) => return Ok(stood(db, &flow)),
    };
    let covered: Vec<Uuid> = open.covered().map(|e| e.place.id).collect();
    let (cancelled, owed) = match mode {
        Mode::None => open.some(db),
        Mode::Wait(ms) => open.all(db, ms),
    };
    if !owed.is_empty() {
        store::cancel_backlog::owe(db, r.flow, &owed, open.now, open.now);
    }
    let outcome = match mode {
        _ if owed.is_empty() => "cancelled",
        Mode::None => "cancellation_scheduled",
        Mode::Wait(_) => "partially_cancelled",
    };
    Ok(Cancelled {
        outcome,
        policy: Some(open.policy),
        reason: open.flow.cancel_reason,
        members: covered.len(),
        cancelled,
        ids: covered,
        failed: match mode {
            Mode::None => Vec::new(),
            Mode::Wait(_) => owed,
        },
    })
}

/// Cancels a flow and leaves its members to an external canceller until the grace is over.
///
/// # Errors
/// `flow_not_found`, `invalid_input`.
pub fn header(db: &Db, r: &Request, grace_ms: i64) -> Result<Cancelled> {
    let open = match begin(db, r)? {
        Ok(open) => open,
        Err(flow) => {
            let owed = store::cancel_backlog::owed(db, r.flow, i64::MAX);
            let mut stood = stood(db, &flow);
            if !owed.is_empty() {
                stood.ids = owed;
            }
            return Ok(stood);
        }
    };
    let covered: Vec<Uuid> = open.covered().map(|e| e.place.id).collect();
    let mut owed = covered.clone();
    owed.extend(open.unsettled(db));
    if !owed.is_empty() {
        let grace_ends = open.now.plus(grace_ms.saturating_mul(MS));
        store::cancel_backlog::owe(db, r.flow, &owed, grace_ends, open.now);
    }
    Ok(Cancelled {
        outcome: "cancelled",
        policy: Some(open.policy),
        reason: open.flow.cancel_reason,
        members: covered.len(),
        cancelled: 0,
        ids: covered,
        failed: Vec::new(),
    })
}

/// Cancels the flow itself; the flow as it stands if it is not to be.
fn begin(db: &Db, r: &Request) -> Result<std::result::Result<Open, Flow>> {
    let policy = CancelPolicy::from_word(r.policy)
        .ok_or_else(|| Error::invalid_input("policy", "unknown_word"))?;
    text::reason("reason", r.reason, text::MAX_REASON_BYTES)?;
    if !r.requester.is_empty() {
        text::identifier("requester", r.requester)?;
    }
    let mut flow = store::flow::lock(db, r.flow).ok_or_else(|| flow::not_found(r.flow))?;
    let stronger = flow.state == FlowState::Cancelled && flow.cancel_policy < Some(policy);
    if flow.state != FlowState::Open && !(r.escalate && stronger) {
        return Ok(Err(flow));
    }
    let now = clock::now();
    flow.state = FlowState::Cancelled;
    flow.cancelled_at = Some(now);
    flow.terminal_at = Some(now);
    flow.cancel_reason = Some(r.reason.to_owned());
    flow.cancel_policy = Some(policy);
    flow.cancel_requester = Some(r.requester.to_owned());
    store::flow::save(db, &flow);
    let members = store::flow::members(db, r.flow, i64::MAX);
    let mut live = store::execution::read(db, &members);
    live.retain(|e| !e.is_terminal());
    let open = Open {
        flow,
        policy,
        now,
        live,
    };
    let details = json!({
        "policy": policy.word(),
        "reason": r.reason,
        "member_count": open.covered().count(),
        "requester": r.requester,
    });
    let event = Event::plain(Code::OperatorFlowCancelRequested, Some(details));
    store::event::append_flow(db, now, &open.flow, &event);
    Ok(Ok(open))
}

/// A flow that has ended before.
fn stood(db: &Db, flow: &Flow) -> Cancelled {
    let mut ids = store::flow::members(db, flow.id, i64::MAX);
    let members = ids.len();
    ids.truncate(SHOWN);
    Cancelled {
        outcome: "already_terminal",
        policy: flow.cancel_policy,
        reason: flow.cancel_reason.clone(),
        members,
        cancelled: 0,
        ids,
        failed: Vec::new(),
    }
}

impl Open {
    fn covered(&self) -> impl Iterator<Item = &Execution> {
        self.live.iter().filter(|e| self.policy.covers(e))
    }

    /// Live members that go on, but are being changed by somebody who has not seen the cancellation: a retry that is
    /// granted now makes a covered member of one that was running. The others are locked, so that who changes them
    /// next will see it.
    fn unsettled(&self, db: &Db) -> Vec<Uuid> {
        if self.policy != CancelPolicy::Pending {
            return Vec::new();
        }
        let draining = self.live.iter().filter(|e| !self.policy.covers(e));
        let draining: Vec<Uuid> = draining.map(|e| e.place.id).collect();
        let free = store::execution::lock_free(db, &draining);
        let settled = |id: &Uuid| {
            let found = free.binary_search_by_key(id, |e| e.place.id).ok();
            let e = found.and_then(|place| free.get(place));
            e.is_some_and(|e| !self.policy.covers(e))
        };
        draining.into_iter().filter(|id| !settled(id)).collect()
    }

    /// Cancels those first that lose least, as many as one call may, and leaves out busy ones. How many, and who is
    /// owed.
    fn some(&self, db: &Db) -> (usize, Vec<Uuid>) {
        let limit = guc::CANCEL_INLINE_LIMIT.value.get().max(0) as usize;
        let mut covered: Vec<&Execution> = self.covered().collect();
        covered.sort_by_key(|e| standing(e));
        let mut cancelled = 0;
        let mut owed = Vec::new();
        for chunk in covered.chunks(CHUNK.min(limit.max(1))) {
            let ids: Vec<Uuid> = chunk.iter().map(|e| e.place.id).collect();
            let room = limit - cancelled;
            let (tried, rest) = ids.split_at(room.min(ids.len()));
            let free = store::execution::lock_free(db, tried);
            let busy = |id: &&Uuid| !free.iter().any(|e| e.place.id == **id);
            owed.extend(tried.iter().filter(busy));
            owed.extend(rest);
            let ended = end(db, &self.flow, free);
            cancelled += ended.cancelled;
            owed.extend(ended.failed);
        }
        owed.extend(self.unsettled(db));
        (cancelled, owed)
    }

    /// Cancels all in ascending id, waiting for busy ones until the time is over. How many, and who is owed.
    ///
    /// Rows already locked stay locked meanwhile, as for every operation on several executions (G4).
    fn all(&self, db: &Db, wait_ms: i64) -> (usize, Vec<Uuid>) {
        let until = Moment::now() + Duration::from_millis(wait_ms.unsigned_abs());
        let mut cancelled = 0;
        let mut owed = Vec::new();
        let mut locked = Vec::new();
        let mut flush = |locked: &mut Vec<Execution>, owed: &mut Vec<Uuid>| {
            let ended = end(db, &self.flow, std::mem::take(locked));
            cancelled += ended.cancelled;
            owed.extend(ended.failed);
        };
        let concerned =
            |e: &&Execution| self.policy != CancelPolicy::FlowOnly || self.policy.covers(e);
        for id in self.live.iter().filter(concerned).map(|e| e.place.id) {
            loop {
                let found = store::execution::lock_free(db, &[id]).pop();
                if let Some(e) = found {
                    locked.push(e);
                    break;
                }
                // What is not there any more is nobody's debt.
                if store::execution::read(db, &[id]).is_empty() {
                    break;
                }
                if Moment::now() >= until {
                    owed.push(id);
                    break;
                }
                process::sleep(PAUSE_MS);
            }
            if locked.len() == CHUNK {
                flush(&mut locked, &mut owed);
            }
        }
        flush(&mut locked, &mut owed);
        owed.sort_unstable();
        (cancelled, owed)
    }
}

/// Not started, paused, suspended, active.
fn standing(e: &Execution) -> u8 {
    match e.vector.lifecycle {
        Lifecycle::Active => 3,
        Lifecycle::Suspended => 2,
        _ => u8::from(e.vector.attempt == AttemptState::Interrupted),
    }
}

/// What became of members.
#[derive(Default)]
pub struct Ended {
    /// So many were cancelled.
    pub cancelled: usize,
    /// Cancelling these raised.
    pub failed: Vec<Uuid>,
}

/// Cancels those of the locked members that the flow's cancellation covers. Their edges wait for the reconciler.
pub fn end(db: &Db, flow: &Flow, members: Vec<Execution>) -> Ended {
    let covered = |e: &Execution| flow.cancel_policy.is_some_and(|policy| policy.covers(e));
    let members: Vec<Execution> = members.into_iter().filter(covered).collect();
    let reason = flow.cancel_reason.as_deref().unwrap_or("flow_cancelled");
    let attempt = |members: &[Execution]| {
        subxact::attempt(|| {
            let now = clock::now();
            let cancel = |e: &Execution| transition::cancel(e.clone(), reason, "flow_cascade", now);
            let changes: Vec<_> = members.iter().map(cancel).collect();
            save::apply(db, &changes, now);
        })
        .is_ok()
    };
    if members.is_empty() || attempt(&members) {
        return Ended {
            cancelled: members.len(),
            failed: Vec::new(),
        };
    }
    let mut ended = Ended::default();
    for member in &members {
        if members.len() > 1 && attempt(std::slice::from_ref(member)) {
            ended.cancelled += 1;
        } else {
            ended.failed.push(member.place.id);
        }
    }
    ended
}
