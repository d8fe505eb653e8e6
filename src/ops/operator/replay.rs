//! Starts a terminal execution anew (§10.18.3): T26, and T27 for a member whose edges hold it back.

use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::guc;
use crate::model::execution::Execution;
use crate::model::fence;
use crate::model::text;
use crate::model::time::{Instant, MS};
use crate::model::transition::{self, Change, Rebirth};
use crate::pg::session;
use crate::pg::spi::Db;
use crate::store;

use super::super::execution::duty;
use super::super::{clock, flow, save};

/// What a replay is asked for.
pub struct Request<'a> {
    /// Execution.
    pub id: Uuid,
    /// Why.
    pub reason: Option<&'a str>,
    /// New deadline.
    pub deadline: Option<Instant>,
    /// By whom.
    pub requested_by: Option<&'a str>,
}

/// What became of it.
pub struct Replayed {
    /// The execution as it is now.
    pub execution: Execution,
    /// Edges that it waits for.
    pub open: i32,
}

impl Replayed {
    /// A replayed execution, and how many edges it waits for.
    pub fn of(execution: Execution, open: i32) -> Replayed {
        Replayed { execution, open }
    }
}

/// Replays, a member of a flow under the flow's lock.
///
/// # Errors
/// `execution_not_found`, `execution_not_terminal`, `flow_already_terminal`, `max_replays_exhausted`, `invalid_input`.
pub fn replay(db: &Db, r: &Request) -> Result<Replayed> {
    for (argument, value) in [("reason", r.reason), ("requested_by", r.requested_by)] {
        if let Some(value) = value {
            text::reason(argument, value, text::MAX_REASON_BYTES)?;
        }
    }
    let visible = store::binding::visible(db, &[r.id]).into_owned();
    let seen = store::execution::read(db, &visible).pop();
    let seen = seen.and_then(|e| e.place.flow);
    let flow = seen.map(|id| flow::lock(db, id)).transpose()?;
    let e = store::execution::lock(db, r.id).ok_or_else(|| fence::not_found(r.id))?;
    let flow = match (flow, e.place.flow) {
        // It has become a member in between: its flow comes before it in the order of locks, so it is not waited for.
        (None, Some(id)) => match store::flow::lock_free(db, id) {
            Some(flow) => Some(flow),
            None => session::serialization_failure(
                "the execution has just joined a flow that is being changed",
            ),
        },
        (flow, _) => flow,
    };
    if !e.is_terminal() {
        return Err(Error::new(Kind::ExecutionNotTerminal)
            .with("execution_id", r.id.to_string())
            .with("lifecycle_phase", e.vector.lifecycle.word()));
    }
    let Some(flow) = flow else {
        let life = begin(db, e, r)?;
        let change = life.start(None);
        save::apply(db, std::slice::from_ref(&change), life.now);
        return Ok(Replayed::of(*change.after, 0));
    };
    flow::replay::admit(&flow)?;
    let replayed = flow::replay::member(db, e, r)?;
    flow::replay::reopen(db, flow, clock::now());
    Ok(replayed)
}

/// A new life that may begin.
pub struct Life<'a> {
    e: Execution,
    r: &'a Request<'a>,
    deadline: Option<Instant>,
    /// When it begins.
    pub now: Instant,
}

/// Checks that a locked, ended execution has a life left.
///
/// # Errors
/// `max_replays_exhausted`; `corruption` for an unreadable policy.
pub fn begin<'a>(db: &Db, e: Execution, r: &'a Request) -> Result<Life<'a>> {
    let policy = duty::policies(db, std::slice::from_ref(&e))?
        .remove(&r.id)
        .unwrap_or_default();
    let limit = policy.replay_limit(i64::from(guc::DEFAULT_MAX_REPLAY_COUNT.value.get()));
    if i64::from(e.replays) >= limit {
        return Err(Error::new(Kind::MaxReplaysExhausted)
            .with("execution_id", r.id.to_string())
            .with("replay_count", e.replays)
            .with("limit", limit));
    }
    let now = clock::now();
    let own = policy.timeout.execution_deadline_ms;
    let own = own.map(|ms| now.plus(ms.saturating_mul(MS)));
    Ok(Life {
        e,
        r,
        deadline: r.deadline.or(own),
        now,
    })
}

impl Life<'_> {
    /// The change that begins it; with edges that it waits for, and how many were reset.
    pub fn start(&self, dependencies: Option<(i32, i32)>) -> Change {
        let life = Rebirth {
            reason: self.r.reason,
            requested_by: self.r.requested_by,
            deadline: self.deadline,
            dependencies,
        };
        transition::replay(self.e.clone(), life, self.now)
    }
}
