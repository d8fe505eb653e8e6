//! The atomic step (§40.3.3): counts due edges in the groups of locked children, judges each group once, and moves the
//! children that the verdict moves. All or none.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::error::Result;
use crate::model::edge_group::{Group, GroupState};
use crate::model::execution::Execution;
use crate::model::time::Instant;
use crate::model::transition::{self, Change};
use crate::model::words::TerminalOutcome;
use crate::pg::spi::Db;
use crate::store;
use crate::store::edge::Resolution;
use crate::store::edge_group::Found;

use super::super::save;
use super::gate::cancelled;

/// What became of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// T4.
    Released,
    /// T5.
    Skipped,
    /// Its flow has been cancelled.
    Cancelled,
    /// Its group had fired before.
    AlreadyFired,
    /// It stays as it is.
    None,
}

impl Effect {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Effect::Released => "released",
            Effect::Skipped => "skipped",
            Effect::Cancelled => "cancelled",
            Effect::AlreadyFired => "already_fired",
            Effect::None => "none",
        }
    }
}

/// An edge to resolve, with the end of its upstream.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    /// The edge.
    pub id: Uuid,
    /// How its upstream ended.
    pub outcome: TerminalOutcome,
    /// Which life.
    pub life: i32,
}

/// A child after a step.
#[derive(Debug)]
pub struct Moved {
    /// The child as it is now.
    pub execution: Execution,
    /// What became of it.
    pub effect: Effect,
    /// Its group.
    pub state: GroupState,
    /// Edges counted.
    pub edges: usize,
    /// It has taken over a result.
    pub data_injected: bool,
}

/// Resolves due edges into locked children; those that are not due any more are left alone.
///
/// What follows from the end of a child is the caller's to bring about.
///
/// # Errors
/// `invariant_violation`, before anything is written.
pub fn resolve(db: &Db, children: Vec<Execution>, due: &[Due], now: Instant) -> Result<Vec<Moved>> {
    let mut resolutions = Vec::new();
    let mut counted: BTreeMap<Uuid, usize> = BTreeMap::new();
    let ids: Vec<Uuid> = children.iter().map(|e| e.place.id).collect();
    let mut groups: BTreeMap<Uuid, Found> = store::edge_group::under_lock(db, &ids)
        .into_iter()
        .map(|found| (found.group.child, found))
        .collect();
    // Read again under the locks: somebody else may have resolved them since they were found.
    for open in store::edge::still_due(db, due.iter().map(|d| (d.id, d.life))) {
        let (Some(due), Some(found)) = (due.get(open.place), groups.get_mut(&open.child)) else {
            continue;
        };
        let disposition = open.kind.judge(due.outcome);
        found.group.count(disposition);
        *counted.entry(open.child).or_default() += 1;
        resolutions.push(Resolution {
            id: due.id,
            state: disposition.state(),
            outcome: due.outcome,
            life: due.life,
        });
    }
    groups.retain(|child, _| counted.contains_key(child));
    for found in groups.values() {
        found.group.check()?;
    }
    let touched = children
        .into_iter()
        .filter_map(|e| groups.remove(&e.place.id).map(|found| (e, found)));
    store::edge::resolve(db, &resolutions, now);
    let mut moved = settle(db, touched.collect(), now);
    for m in &mut moved {
        m.edges = counted.get(&m.execution.place.id).copied().unwrap_or(0);
    }
    Ok(moved)
}

/// Judges groups whose counters have changed, writes them, and moves their locked children.
pub fn settle(db: &Db, children: Vec<(Execution, Found)>, now: Instant) -> Vec<Moved> {
    let mut moved = Vec::with_capacity(children.len());
    let mut changes = Vec::new();
    let mut groups = Vec::with_capacity(children.len());
    for (e, mut found) in children {
        let before = found.group.state;
        let verdict = found.group.fire(now);
        let (execution, effect) = match verdict.and_then(|v| fate(&e, &found, v, now)) {
            Some((change, effect)) => {
                let after = (*change.after).clone();
                changes.push(change);
                (after, effect)
            }
            None if before != GroupState::Pending => (e, Effect::AlreadyFired),
            None => (e, Effect::None),
        };
        moved.push(Moved {
            execution,
            effect,
            state: found.group.state,
            edges: 0,
            data_injected: false,
        });
        groups.push((found.group, verdict.is_some()));
    }
    store::edge_group::save(db, &groups.iter().map(|(g, _)| g).collect::<Vec<_>>());
    let fired: Vec<&Group> = groups
        .iter()
        .filter(|(g, fired)| *fired && g.cancel_pending)
        .map(|(g, _)| g)
        .collect();
    store::edge_group::cancel_siblings(db, &fired, now);
    let passing: Vec<Uuid> = groups
        .iter()
        .zip(&moved)
        .filter(|((g, _), m)| g.passes_data && m.effect == Effect::Released)
        .map(|((g, _), _)| g.child)
        .collect();
    let given = store::edge::pass_data(db, &passing);
    for m in moved
        .iter_mut()
        .filter(|m| given.contains(&m.execution.place.id))
    {
        m.data_injected = true;
    }
    save::write(db, &changes, now);
    moved
}

/// What a group's verdict makes of its child: nothing unless it waits for it.
fn fate(
    e: &Execution,
    found: &Found,
    verdict: GroupState,
    now: Instant,
) -> Option<(Change, Effect)> {
    if !transition::waits(e) {
        return None;
    }
    if found.cancelled.is_some_and(|policy| policy.covers(e)) {
        return Some((cancelled(e.clone(), found, now), Effect::Cancelled));
    }
    match verdict {
        GroupState::Satisfied => Some((transition::unblock(e.clone(), now), Effect::Released)),
        GroupState::Impossible => Some((transition::skip(e.clone(), now), Effect::Skipped)),
        GroupState::Pending => None,
    }
}
