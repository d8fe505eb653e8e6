//! Starts a terminal execution anew (§10.18.3): T26.

use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::guc;
use crate::model::execution::Execution;
use crate::model::fence;
use crate::model::text;
use crate::model::time::{Instant, MS};
use crate::model::transition;
use crate::pg::spi::Db;
use crate::store;

use super::super::execution::duty;
use super::super::{clock, save};

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

/// Replays; returns the execution as it is now.
///
/// # Errors
/// `execution_not_found`, `execution_not_terminal`, `max_replays_exhausted`, `invalid_input`.
pub fn replay(db: &Db, r: &Request) -> Result<Execution> {
    for (argument, value) in [("reason", r.reason), ("requested_by", r.requested_by)] {
        if let Some(value) = value {
            text::reason(argument, value, text::MAX_REASON_BYTES)?;
        }
    }
    let e = store::execution::lock(db, r.id).ok_or_else(|| fence::not_found(r.id))?;
    if !e.is_terminal() {
        return Err(Error::new(Kind::ExecutionNotTerminal)
            .with("execution_id", r.id.to_string())
            .with("lifecycle_phase", e.vector.lifecycle.word()));
    }
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
    let own = policy
        .timeout
        .execution_deadline_ms
        .map(|ms| now.plus(ms.saturating_mul(MS)));
    let change = transition::replay(e, r.reason, r.requested_by, r.deadline.or(own), now);
    save::apply(db, std::slice::from_ref(&change), now);
    Ok(change.after)
}
