//! Replays members of flows (§40.9): what a member's edges say of its new life, and whole flows in the order of their
//! edges.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::model::edge_group::GroupState;
use crate::model::event::{Code, Event};
use crate::model::execution::Execution;
use crate::model::flow::drawing::layers;
use crate::model::flow::{Flow, FlowState};
use crate::model::text;
use crate::model::time::Instant;
use crate::model::transition;
use crate::model::words::TerminalOutcome;
use crate::pg::spi::Db;
use crate::pg::{session, snapshot};
use crate::store;

use super::super::operator::replay::{Replayed, Request, begin};
use super::super::{clock, save};
use super::propagate;
use super::step::{self, Due};

/// Refuses members of a cancelled flow.
///
/// # Errors
/// `flow_already_terminal`.
pub fn admit(flow: &Flow) -> Result<()> {
    match flow.state {
        FlowState::Cancelled => Err(Error::new(Kind::FlowAlreadyTerminal)
            .with("flow_id", flow.id.to_string())
            .with("public_flow_state", flow.state.word())),
        _ => Ok(()),
    }
}

/// A flow whose member runs again is open again. It is written in any case: whoever cancels or closes it under a
/// snapshot older than this would not find the member alive, and has to lose.
pub fn reopen(db: &Db, mut flow: Flow, now: Instant) {
    if flow.state == FlowState::Open {
        return store::flow::save(db, &flow);
    }
    let details = serde_json::json!({ "public_flow_state": flow.state.word() });
    flow.state = FlowState::Open;
    flow.terminal_at = None;
    store::flow::save(db, &flow);
    let event = Event::plain(Code::OperatorFlowReopened, Some(details));
    store::event::append_flow(db, now, &flow, &event);
}

/// Gives a locked, ended member of a locked flow its new life.
///
/// # Errors
/// `max_replays_exhausted`, `invariant_violation`.
pub fn member(db: &Db, e: Execution, r: &Request) -> Result<Replayed> {
    let id = e.place.id;
    let found = store::edge_group::under_lock(db, &[id]).pop();
    let group = found.map(|found| found.group);
    let blocked = group.filter(|g| g.total > 0 && g.state != GroupState::Satisfied);
    let life = begin(db, e, r)?;
    let now = life.now;
    let Some(mut group) = blocked else {
        let change = life.start(None);
        save::apply(db, std::slice::from_ref(&change), now);
        return Ok(Replayed::of(*change.after, 0));
    };
    let reset = store::edge::reopen(db, id);
    group.reopen();
    store::edge_group::save(db, &[&group]);
    store::sibling_cancel::delete(db, group.flow, id);
    let change = life.start(Some((group.open(), reset)));
    save::apply(db, std::slice::from_ref(&change), now);
    // Upstreams that have ended a newer life meanwhile are news to the edges that were reset. They do not look at
    // those edges again, so a snapshot must not hide them.
    let due = store::edge::due_into(db, id);
    let latest = || snapshot::latest(|| store::edge::seen_due_into(db, id)).len();
    if !session::read_committed() && latest() > due.len() {
        session::serialization_failure("an upstream of the replayed member has just ended");
    }
    let due: Vec<Due> = due
        .into_iter()
        .map(|d| Due {
            id: d.id,
            outcome: d.outcome,
            life: d.life,
        })
        .collect();
    if due.is_empty() {
        return Ok(Replayed::of(*change.after, group.open()));
    }
    let moved = step::resolve(db, vec![(*change.after).clone()], &due, now)?.pop();
    let Some(moved) = moved else {
        return Ok(Replayed::of(*change.after, group.open()));
    };
    let open = store::edge_group::of(db, id).map_or(0, |found| found.group.open());
    let open = if transition::waits(&moved.execution) {
        open
    } else {
        0
    };
    propagate::after(db, &moved, now);
    Ok(Replayed::of(moved.execution, open))
}

/// One member of a flow, and what became of it.
pub struct Row {
    /// Which.
    pub id: Uuid,
    /// `replayed`, or the kind of the error that refused it.
    pub outcome: &'static str,
    /// Public state afterwards.
    pub public_state: &'static str,
}

/// Replays the members of a flow that ended in one of these ways, upstreams before downstreams; whether there are more.
///
/// # Errors
/// `flow_not_found`, `flow_already_terminal` for a cancelled flow, `invalid_input`.
pub fn flow(
    db: &Db,
    id: Uuid,
    outcomes: &[String],
    limit: i64,
    reason: Option<&str>,
) -> Result<(Vec<Row>, bool)> {
    let known = |word: &String| {
        let outcome = TerminalOutcome::from_word(word);
        outcome.filter(|outcome| *outcome != TerminalOutcome::None)
    };
    let wanted: Option<Vec<TerminalOutcome>> = outcomes.iter().map(known).collect();
    let wanted = wanted.ok_or_else(|| Error::invalid_input("outcomes", "unknown_word"))?;
    if let Some(reason) = reason {
        text::reason("reason", reason, text::MAX_REASON_BYTES)?;
    }
    let flow = super::lock(db, id)?;
    admit(&flow)?;
    let members = store::flow::members(db, id, i64::MAX);
    let mut ended = store::execution::read(db, &members);
    ended.retain(|e| e.is_terminal() && wanted.contains(&e.vector.outcome));
    let pairs = store::flow_graph::pairs(db, id);
    let layers = layers(members.iter().copied(), pairs.into_iter());
    ended.sort_by_key(|e| (layers.get(&e.place.id).copied(), e.place.id));
    let more = ended.len() as i64 > limit;
    let order: Vec<Uuid> = ended
        .iter()
        .take(limit.max(0) as usize)
        .map(|e| e.place.id)
        .collect();
    let locked = store::execution::lock_all(db, &order);
    let mut locked: BTreeMap<Uuid, Execution> =
        locked.into_iter().map(|e| (e.place.id, e)).collect();
    let mut rows = Vec::with_capacity(order.len());
    for id in order {
        let Some(e) = locked.remove(&id).filter(Execution::is_terminal) else {
            continue;
        };
        let before = e.vector.public_state().word();
        let request = Request {
            id,
            reason,
            deadline: None,
            requested_by: None,
        };
        rows.push(match member(db, e, &request) {
            Ok(replayed) => Row {
                id,
                outcome: "replayed",
                public_state: replayed.execution.vector.public_state().word(),
            },
            // It has been found with its rows half written.
            Err(error) if error.kind() == Kind::InvariantViolation => return Err(error),
            Err(error) => Row {
                id,
                outcome: error.kind().name(),
                public_state: before,
            },
        });
    }
    if rows.iter().any(|row| row.outcome == "replayed") {
        reopen(db, flow, clock::now());
    }
    Ok((rows, more))
}
