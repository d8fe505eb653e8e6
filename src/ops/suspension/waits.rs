//! What a change of an execution means for its suspension and its waitpoints: written here and nowhere else.

use uuid::Uuid;

use crate::model::suspension::close;
use crate::model::time::Instant;
use crate::model::transition::{Change, Ending, TimeoutSignal, Waits};
use crate::model::words::Effect;
use crate::pg::spi::Db;
use crate::store;
use crate::store::signal::{Recorded, Sent};
use crate::store::waitpoint::Closing;

/// Ends and escalates suspensions, and closes the waitpoints of attempts that are over.
pub fn settle(db: &Db, changes: &[Change], now: Instant) {
    let mut escalated: Vec<Uuid> = Vec::new();
    let mut endings: Vec<(Uuid, &Ending)> = Vec::new();
    let mut abandoned: Vec<(Uuid, &str)> = Vec::new();
    for change in changes {
        let id = change.after.place.id;
        match &change.waits {
            Waits::Keep => {}
            Waits::Escalate(suspension) => escalated.push(*suspension),
            Waits::End(ending) => endings.push((id, ending)),
        }
        abandoned.extend(abandons(change).map(|reason| (id, reason)));
    }
    if !escalated.is_empty() {
        store::suspension::escalate(db, &escalated, now);
    }
    if !endings.is_empty() {
        end(db, &endings, now);
    }
    store::waitpoint::close_pending(db, &abandoned, now);
}

/// Why the pending waitpoints of an execution close with a change, if it has any and they do.
fn abandons(change: &Change) -> Option<&'static str> {
    let before = change.before.as_deref()?;
    let after = &change.after;
    if before.pending_waitpoints == 0 {
        None
    } else if after.is_terminal() {
        Some(close::EXECUTION_TERMINAL)
    } else {
        let (was, is) = (before.attempt.as_ref()?, after.attempt.as_ref()?);
        (was.id != is.id || is.ended_at.is_some()).then_some(close::ATTEMPT_ENDED)
    }
}

fn end(db: &Db, endings: &[(Uuid, &Ending)], now: Instant) {
    for (execution, ending) in endings {
        if let Some(signal) = &ending.timeout_signal {
            record(db, *execution, ending, signal, now);
        }
    }
    let all: Vec<&Ending> = endings.iter().map(|(_, ending)| *ending).collect();
    store::suspension::end(db, &all, now);
    let (kept, closed): (Vec<&Ending>, Vec<&Ending>) = all
        .iter()
        .partition(|e| e.policy.as_ref().is_some_and(|p| !p.close_waitpoints));
    let mut several: Vec<Closing> = Vec::new();
    for ending in closed {
        match ending.closer.as_ref().and_then(|c| c.alone) {
            Some(counted) => store::waitpoint::close_only(db, &closing(ending), counted, now),
            None => several.push(closing(ending)),
        }
    }
    store::waitpoint::close_active(db, &several, now);
    for ending in kept {
        store::waitpoint::keep_active(db, &closing(ending), now);
    }
    for (execution, ending) in endings {
        // The only signal of a suspension is consumed as it is recorded.
        let others = ending.closer.as_ref().is_none_or(|c| c.follows_others);
        if let Some(policy) = ending.policy.as_ref().filter(|_| others) {
            store::signal::consume(db, *execution, ending.suspension, policy, now);
        }
    }
}

fn closing(ending: &Ending) -> Closing<'_> {
    Closing {
        suspension: ending.suspension,
        reason: ending.reason,
        closer: ending.closer.as_ref().map(|c| c.waitpoint),
    }
}

fn record(db: &Db, execution: Uuid, ending: &Ending, signal: &TimeoutSignal, now: Instant) {
    let recorded = Recorded {
        id: signal.id,
        execution,
        seq: signal.seq,
        waitpoint: signal.waitpoint,
        suspension: Some(ending.suspension),
        effect: Effect::Appended,
        matched: true,
        consumed: false,
    };
    let sent = Sent {
        name: "timeout",
        category: "system",
        source_type: "engine",
        source_identity: "suspension_timeout",
        correlation_id: None,
        key: None,
        scope: "waitpoint",
        payload: None,
        encoding: "json",
        occurred_at: None,
    };
    store::signal::insert(db, &recorded, &sent, false, now);
    store::waitpoint::count_signal(db, signal.waitpoint, true, now);
}
