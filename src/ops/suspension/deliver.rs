//! Delivers signals (§20.11) and approvals (§20.12).

use serde_json::json;
use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::guc;
use crate::model::condition::{Incoming, signal_name};
use crate::model::event::{Code, Event};
use crate::model::execution::Execution;
use crate::model::suspension::{Suspension, close};
use crate::model::time::{Instant, MS};
use crate::model::transition::{self, Closer, Ending};
use crate::model::words::{Effect, ResumeTrigger, WaitpointState};
use crate::pg::spi::Db;
use crate::store;
use crate::store::signal::{Earlier, Recorded, Sent, Target};
use crate::store::waitpoint::Waitpoint;

use super::super::{clock, save};

/// Signals of an execution whose policy is silent.
const DEFAULT_MAX_SIGNALS: i64 = 10_000;

/// One signal on its way.
#[derive(Clone, Copy)]
pub struct Delivery<'a> {
    /// Where to.
    pub waitpoint: Uuid,
    /// What.
    pub sent: Sent<'a>,
    /// Lifetime of its key, microseconds; the setting's if none.
    pub dedup_ttl: Option<i64>,
    /// Chosen id.
    pub id: Option<Uuid>,
}

/// What became of a signal.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// `accepted` or `duplicate`.
    pub outcome: &'static str,
    /// Its id, or that of the one it repeats.
    pub id: Uuid,
    /// What it did.
    pub effect: Effect,
    /// It has resumed the execution.
    pub resumed: bool,
    /// Execution.
    pub execution: Uuid,
    /// State of the execution now.
    pub public_state: &'static str,
    /// When it, or the one it repeats, was accepted.
    pub accepted_at: Instant,
}

/// Checks the shape of a signal (step 1).
///
/// # Errors
/// `invalid_input`, `payload_too_large`.
pub fn check(d: &Delivery) -> Result<()> {
    let s = &d.sent;
    if let Some(rule) = signal_name(s.name) {
        return Err(Error::invalid_input("signal_name", rule));
    }
    for (argument, value, least, most) in [
        ("signal_category", Some(s.category), 1, 64),
        ("source_type", Some(s.source_type), 1, 64),
        ("payload_encoding", Some(s.encoding), 1, 64),
        ("source_identity", Some(s.source_identity), 0, 256),
        ("correlation_id", s.correlation_id, 0, 256),
        ("idempotency_key", s.key, 0, 256),
    ] {
        let value = value.unwrap_or("x");
        if value.len() < least {
            return Err(Error::invalid_input(argument, "empty"));
        }
        if value.len() > most {
            return Err(Error::invalid_input(argument, "too_long").with("max_bytes", most));
        }
    }
    if s.source_type == "engine" {
        return Err(Error::invalid_input("source_type", "reserved"));
    }
    if !matches!(s.scope, "waitpoint" | "execution") {
        return Err(Error::invalid_input("target_scope", "unknown_word"));
    }
    let most = guc::MAX_SIGNAL_DEDUP_TTL.value.get();
    let most = i64::from(most).saturating_mul(1_000 * MS);
    match d.dedup_ttl {
        Some(ttl) if ttl < 0 => return Err(Error::invalid_input("dedup_ttl", "negative")),
        Some(ttl) if ttl > most => {
            return Err(Error::invalid_input("dedup_ttl", "too_long").with("max_ms", most / MS));
        }
        _ => {}
    }
    let limit = guc::MAX_SIGNAL_PAYLOAD_BYTES.value.get() as usize;
    match s.payload {
        Some(payload) if payload.len() > limit => Err(Error::new(Kind::PayloadTooLarge)
            .with("bytes", payload.len())
            .with("limit", limit)),
        _ => Ok(()),
    }
}

/// Delivers to a waitpoint of a locked execution, which becomes what it is afterwards (steps 4 to 9).
///
/// # Errors
/// `idempotency_conflict`, `signal_limit_exceeded`, `target_not_signalable`, `waitpoint_closed`, `corruption`.
pub fn locked(
    db: &Db,
    e: &mut Execution,
    w: &Waitpoint,
    d: &Delivery,
    now: Instant,
) -> Result<Delivered> {
    let ttl = d.dedup_ttl.unwrap_or_else(|| {
        i64::from(guc::DEFAULT_SIGNAL_DEDUP_TTL.value.get()).saturating_mul(1_000 * MS)
    });
    let key = d.sent.key.filter(|key| !key.is_empty() && ttl > 0);
    let d = &Delivery {
        sent: Sent { key, ..d.sent },
        ..*d
    };
    if let Some(earlier) = repeated(db, d, now)? {
        return Ok(duplicate(e, &earlier));
    }
    let target = store::signal::target(db, w.id(), e.place.id)?.ok_or_else(|| not_found(w.id()))?;
    admit(e, w, &target, now)?;
    let mut recorded = Recorded {
        id: d
            .id
            .unwrap_or_else(|| clock::mint(Some(e.place.partition as u8))),
        execution: e.place.id,
        seq: target.last_seq + 1,
        waitpoint: w.id(),
        suspension: None,
        effect: Effect::Buffered,
        matched: false,
        consumed: false,
    };
    let resumed = match &target.suspension {
        None => {
            record(db, &recorded, d, ttl, now)?;
            store::waitpoint::count_signal(db, w.id(), false, now);
            store::event::append(db, now, &[(e, &event(&recorded, d, w), None)]);
            false
        }
        Some(suspension) => evaluate(db, e, w, d, &target, suspension, &mut recorded, ttl, now)?,
    };
    Ok(Delivered {
        outcome: "accepted",
        id: recorded.id,
        effect: recorded.effect,
        resumed,
        execution: e.place.id,
        public_state: e.vector.public_state().word(),
        accepted_at: now,
    })
}

/// Records a signal of an active waitpoint; whether the execution has been resumed by it.
#[allow(clippy::too_many_arguments)]
fn evaluate(
    db: &Db,
    e: &mut Execution,
    w: &Waitpoint,
    d: &Delivery,
    target: &Target,
    suspension: &Suspension,
    recorded: &mut Recorded,
    ttl: i64,
    now: Instant,
) -> Result<bool> {
    let signal = Incoming {
        waitpoint: w.id(),
        key: &w.subject.key,
        name: d.sent.name,
    };
    let (condition, mut progress) = (&suspension.condition, suspension.progress.clone());
    let (kind, identity) = (d.sent.source_type, d.sent.source_identity);
    let known = match condition.source_nodes(&signal).is_empty() {
        true => Vec::new(),
        false => store::suspension::known_sources(db, suspension.id, kind, identity),
    };
    let verdict = condition.record(&mut progress, &signal, &known);
    let satisfied = verdict.effect == Effect::Satisfied;
    recorded.suspension = Some(suspension.id);
    recorded.effect = verdict.effect;
    recorded.matched = satisfied || verdict.effect == Effect::Appended;
    recorded.consumed = satisfied && suspension.policy.consume_matched;
    record(db, recorded, d, ttl, now)?;
    store::suspension::add_sources(db, suspension.id, &verdict.sources, kind, identity);
    let event = event(recorded, d, w);
    if !satisfied {
        store::waitpoint::count_signal(db, w.id(), recorded.matched, now);
        if recorded.matched {
            store::suspension::advance(db, suspension.id, &progress);
        }
        store::event::append(db, now, &[(e, &event, None)]);
        return Ok(false);
    }
    let ending = Ending {
        suspension: suspension.id,
        reason: close::RESUMED,
        trigger: Some(ResumeTrigger::Signal),
        policy: Some(suspension.policy.clone()),
        kept: suspension.kept(),
        closer: Some(Closer {
            signal: recorded.id,
            waitpoint: w.id(),
            progress,
            follows_others: target.signals > 0 || suspension.waitpoints.len() > 1,
            alone: (suspension.waitpoints.len() == 1).then_some((target.signals, target.matched)),
        }),
        timeout_signal: None,
    };
    let delay = suspension.policy.delay_ms.unwrap_or_default();
    let mut change = transition::resume(e.clone(), delay.saturating_mul(MS), ending, now);
    change.events.insert(0, event);
    save::apply(db, std::slice::from_ref(&change), now);
    *e = *change.after;
    Ok(true)
}

/// The signal that this one repeats (step 4).
fn repeated(db: &Db, d: &Delivery, now: Instant) -> Result<Option<Earlier>> {
    let by_key = d
        .sent
        .key
        .and_then(|key| store::signal::by_key(db, d.waitpoint, key, now));
    if by_key.is_some() {
        return Ok(by_key);
    }
    match d.id.and_then(|id| store::signal::by_id(db, id)) {
        Some(earlier) if earlier.waitpoint != d.waitpoint => Err(taken(earlier.id)),
        found => Ok(found),
    }
}

fn taken(id: Uuid) -> Error {
    Error::new(Kind::IdempotencyConflict)
        .say("the signal id is used for another waitpoint")
        .with("signal_id", id.to_string())
}

fn duplicate(e: &Execution, earlier: &Earlier) -> Delivered {
    Delivered {
        outcome: "duplicate",
        id: earlier.id,
        effect: earlier.effect,
        resumed: false,
        execution: e.place.id,
        public_state: e.vector.public_state().word(),
        accepted_at: earlier.accepted_at,
    }
}

/// Limit and state (steps 5 and 6).
fn admit(e: &Execution, w: &Waitpoint, target: &Target, now: Instant) -> Result<()> {
    let most = target.max_signals.unwrap_or(DEFAULT_MAX_SIGNALS);
    if target.last_seq >= most {
        return Err(Error::new(Kind::SignalLimitExceeded)
            .with("execution_id", e.place.id.to_string())
            .with("max", most));
    }
    if e.is_terminal() {
        return Err(Error::new(Kind::TargetNotSignalable)
            .with("execution_id", e.place.id.to_string())
            .with("public_state", e.vector.public_state().word()));
    }
    let elapsed = target.expires_at.is_some_and(|at| at <= now);
    let open = match target.state {
        WaitpointState::Active => true,
        WaitpointState::Pending => !elapsed,
        WaitpointState::Closed | WaitpointState::Expired => false,
    };
    if open {
        return Ok(());
    }
    Err(Error::new(Kind::WaitpointClosed)
        .with("waitpoint_id", w.id().to_string())
        .with("state", target.state.word())
        .with("close_reason", target.close_reason.clone()))
}

fn record(db: &Db, r: &Recorded, d: &Delivery, ttl: i64, now: Instant) -> Result<()> {
    // Another session may have used a chosen id meanwhile, for another execution.
    if !store::signal::insert(db, r, &d.sent, d.id.is_some(), now) {
        return Err(taken(r.id));
    }
    if let Some(key) = d.sent.key {
        store::signal::take_key(db, r.waitpoint, key, r.id, now.plus(ttl));
    }
    Ok(())
}

fn event(r: &Recorded, d: &Delivery, w: &Waitpoint) -> Event {
    let code = match r.effect {
        Effect::Satisfied => Code::SignalSatisfied,
        Effect::Appended => Code::SignalAppended,
        Effect::AppendedDuplicate => Code::SignalDuplicate,
        Effect::MatcherFailed | Effect::NotInCondition => Code::SignalIgnored,
        Effect::Buffered => Code::SignalBuffered,
    };
    let details = json!({
        "signal_id": r.id,
        "signal_seq": r.seq,
        "signal_name": d.sent.name,
        "waitpoint_id": r.waitpoint,
        "waitpoint_key": w.subject.key,
        "source_type": d.sent.source_type,
        "source_identity": d.sent.source_identity,
        "correlation_id": d.sent.correlation_id,
        "effect": r.effect.word(),
    });
    Event::plain(code, Some(details))
}

/// `waitpoint_not_found`.
pub fn not_found(id: Uuid) -> Error {
    Error::new(Kind::WaitpointNotFound).with("waitpoint_id", id.to_string())
}
