//! Claiming through an external scheduler (§10.12): reserving executions, and taking up what is reserved.

pub mod issue;
pub mod reclaim;
pub mod scan;
pub mod select;
pub mod take;

use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::guc;
use crate::model::capability::{self, Side};
use crate::model::due::{self, Duty};
use crate::model::execution::{Execution, Grant};
use crate::model::fence;
use crate::model::text;
use crate::model::time::{Instant, MS};
use crate::model::transition::{self, Change};
use crate::model::words::GrantKind;
use crate::pg::spi::Db;
use crate::store;
use crate::store::claimer::Claimer;

use super::claim::next::terms;
use super::claim::row::{Claimed, Input, policy};
use super::lane::{hands_out, numbered};
use super::{clock, installation, save};

/// A grant's length in milliseconds from an argument, within the settings.
///
/// # Errors
/// `invalid_input` beyond `max_grant_ttl`.
pub fn grant_ttl(argument_ms: Option<i64>) -> Result<i32> {
    let max = guc::MAX_GRANT_TTL.value.get();
    match argument_ms {
        None => Ok(guc::DEFAULT_GRANT_TTL.value.get().min(max)),
        Some(ms) if ms > i64::from(max) => {
            Err(Error::invalid_input("grant_ttl", "too_long").with("max_ms", max))
        }
        Some(ms) => Ok(ms as i32),
    }
}

/// Checks names and capabilities of a worker, and sorts the latter.
///
/// # Errors
/// `invalid_input`, `invalid_capabilities`.
pub fn check(claimer: &mut Claimer) -> Result<()> {
    text::identifier("worker", &claimer.worker)?;
    text::identifier("worker_instance", &claimer.instance)?;
    let given = claimer.capabilities.iter().map(|c| Some(c.as_str()));
    claimer.capabilities = capability::normalise(Side::Worker, given)?;
    Ok(())
}

/// A new grant of an execution.
fn grant_of(e: &Execution, kind: GrantKind, claimer: i32, ttl_ms: i32, now: Instant) -> Grant {
    Grant {
        id: clock::mint(Some(e.place.partition as u8)),
        kind,
        claimer,
        expires_at: now.plus(i64::from(ttl_ms) * MS),
        route_snapshot: None,
        admission_summary: None,
    }
}

/// An execution as it was locked, and as it stands by the clock: a delay is over when its instant has passed,
/// whether or not anybody has noticed.
struct Locked {
    stored: Execution,
    e: Execution,
    now: Instant,
}

impl Locked {
    /// Locks an execution.
    fn lock(db: &Db, id: Uuid) -> Result<Locked> {
        let stored = store::execution::lock(db, id).ok_or_else(|| fence::not_found(id))?;
        let now = clock::now();
        let e = if due::is_due(&stored, Duty::Delay, now) {
            *transition::promote(stored.clone(), now).after
        } else {
            stored.clone()
        };
        Ok(Locked { stored, e, now })
    }

    /// Writes a change of the execution as it stands, and returns it.
    fn save(&self, db: &Db, change: Change) -> Change {
        let change = Change {
            before: Some(Box::new(self.stored.clone())),
            ..change
        };
        save::apply(db, std::slice::from_ref(&change), self.now);
        change
    }

    /// The state of its lane, if that keeps work back.
    fn closed(&self, db: &Db) -> Option<String> {
        let lane = numbered(db, self.e.place.lane)?;
        (!hands_out(&lane.state)).then_some(lane.state)
    }

    /// Whether its lane keeps it back, or the cancellation of its flow.
    fn withheld(&self, db: &Db) -> bool {
        self.closed(db).is_some() || store::covered::covers(db, &self.e)
    }

    /// The worker of a grant.
    fn holder(&self, db: &Db, grant: &Grant) -> Option<Claimer> {
        store::claimer::read(db, grant.claimer)
    }

    /// Gives it a lease: T6, T7 or T10, whichever its state calls for.
    fn hand_over(
        &self,
        db: &Db,
        claimer: &Claimer,
        ttl_ms: i32,
        takeover: bool,
    ) -> Result<Claimed> {
        let id = self.e.place.id;
        let whole = store::input::whole(db, id).ok_or_else(|| fence::not_found(id))?;
        let policy = policy(whole.policy.as_ref())?;
        let mut terms = terms(
            self.e.place.partition,
            store::claimer::intern(db, claimer),
            ttl_ms,
        );
        terms.takeover = takeover;
        let (change, kind) = transition::claim(self.e.clone(), &terms, &policy, self.now);
        let input = Input {
            namespace: whole.namespace,
            lane: whole.lane,
            kind: whole.kind,
            payload: whole.payload,
            encoding: whole.encoding,
            policy: whole.policy,
        };
        let change = self.save(db, change);
        Ok(Claimed::by(change, kind, input, installation::id(db)))
    }
}

/// `invalid_claim_grant`; whose grant stands there is nobody else's business.
fn invalid_grant(id: Uuid, rule: &str) -> Error {
    Error::new(Kind::InvalidClaimGrant)
        .with("execution_id", id.to_string())
        .with("rule", rule)
}
