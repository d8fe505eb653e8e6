//! Makes a staged edge count for its child (§40.4, §40.3.6), alone or together with staging it.

use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::model::edge_group::{Group, GroupState, Policy};
use crate::model::execution::Execution;
use crate::model::flow::EdgeState;
use crate::model::transition::{self, Change};
use crate::pg::spi::Db;
use crate::store;
use crate::store::edge::Edge;
use crate::store::edge_group::Found;

use super::super::{clock, save};
use super::stage::{self, Request, stage};
use super::step::{self, Due, Effect};
use super::{ended, lock_to_build, propagate};

/// What became of it.
pub struct Applied {
    /// Outcome word.
    pub outcome: &'static str,
    /// Open edges afterwards.
    pub open: i32,
    /// State of the group.
    pub state: &'static str,
    /// What became of the child.
    pub effect: &'static str,
}

/// Applies an edge.
///
/// # Errors
/// `edge_not_found`, those of building.
pub fn apply(db: &Db, flow: Uuid, id: Uuid) -> Result<Applied> {
    lock_to_build(db, flow)?;
    let edge = find(db, flow, id)?;
    join(db, &edge)
}

/// The edge of a flow.
///
/// # Errors
/// `edge_not_found`.
pub fn find(db: &Db, flow: Uuid, id: Uuid) -> Result<Edge> {
    let edge = store::edge::read(db, id).filter(|e| e.flow == flow);
    edge.ok_or_else(|| {
        Error::new(Kind::EdgeNotFound)
            .with("flow_id", flow.to_string())
            .with("edge_id", id.to_string())
    })
}

/// An edge that was staged and applied.
pub struct Added {
    /// Outcome word.
    pub outcome: &'static str,
    /// The edge.
    pub edge: Uuid,
    /// The flow's revision.
    pub revision: i64,
    /// What applying it did.
    pub applied: Applied,
}

/// Stages an edge and applies it.
///
/// # Errors
/// Those of both.
pub fn add(db: &Db, r: &Request) -> Result<Added> {
    let staged = stage(db, r)?;
    if staged.before && staged.edge.state == EdgeState::Pending {
        staged.flow.buildable()?;
    }
    let applied = join(db, &staged.edge)?;
    let rejected = applied.outcome.starts_with("rejected");
    let outcome = match (rejected, staged.before) {
        (true, _) => applied.outcome,
        (false, true) => "already_staged",
        (false, false) => "added",
    };
    let (edge, mut revision) = (staged.edge.id, staged.flow.revision);
    if rejected && !staged.before {
        revision -= 1;
        stage::unstage(db, staged);
    }
    Ok(Added {
        outcome,
        edge,
        revision,
        applied,
    })
}

/// Locks the ends of an edge of a locked flow, the lower id first; the upstream stays open to others who read it.
fn ends(db: &Db, edge: &Edge) -> Result<(Execution, Execution)> {
    let gone = |id: Uuid| super::policy::not_in_flow(edge.flow, id);
    let upstream = |db| store::execution::share(db, edge.upstream);
    let downstream = |db| store::execution::lock(db, edge.downstream);
    let (up, down) = if edge.upstream < edge.downstream {
        let up = upstream(db);
        (up, downstream(db))
    } else {
        let down = downstream(db);
        (upstream(db), down)
    };
    Ok((
        up.ok_or_else(|| gone(edge.upstream))?,
        down.ok_or_else(|| gone(edge.downstream))?,
    ))
}

fn join(db: &Db, edge: &Edge) -> Result<Applied> {
    let (upstream, child) = ends(db, edge)?;
    let found = store::edge_group::of(db, edge.downstream);
    let refused = if edge.state != EdgeState::Pending {
        Some("already_applied")
    } else if child.is_terminal() {
        Some("rejected_terminal")
    } else if found.as_ref().is_some_and(|f| f.group.closed()) {
        Some("rejected_group_fired")
    } else {
        None
    };
    if let Some(outcome) = refused {
        let group = found.as_ref().map(|f| &f.group);
        return Ok(Applied {
            outcome,
            open: group.map_or(0, Group::open),
            state: group.map_or(GroupState::Pending, |g| g.state).word(),
            effect: Effect::None.word(),
        });
    }
    let now = clock::now();
    let passes = edge.data_ref.is_some();
    let mut group = match found {
        Some(found) => found.group,
        None => {
            let group = Group::new(edge.flow, edge.downstream, Policy::AllOf);
            store::edge_group::insert(db, &group);
            group
        }
    };
    group.add_edge(passes);
    store::edge_group::save(db, &[&group]);
    store::edge::apply(db, edge.id, now);

    let pending = group.state == GroupState::Pending;
    let held = pending && transition::holdable(&child);
    let waiting = transition::waits(&child);
    let child = if held {
        let change = transition::hold_back(child, group.detail(), now);
        save::write(db, std::slice::from_ref(&change), now);
        *change.after
    } else if waiting {
        let detail = Some(group.detail());
        let change = Change::touch(child, now, |e| e.blocking_detail = detail);
        save::write(db, std::slice::from_ref(&change), now);
        *change.after
    } else {
        child
    };
    let moved = match ended(&upstream) {
        Some(end) => step::resolve(
            db,
            vec![child],
            &[Due {
                id: edge.id,
                outcome: end.outcome,
                life: end.life,
            }],
            now,
        )?,
        // One edge more may leave too few that can still be satisfied.
        None => {
            let found = store::edge_group::of(db, edge.downstream);
            let one: Vec<(Execution, Found)> = found.map(|f| (child, f)).into_iter().collect();
            step::settle(db, one, now)
        }
    };
    let effect = moved.first().map_or(Effect::None, |m| m.effect);
    for m in &moved {
        propagate::after(db, m, now);
    }
    let after = store::edge_group::of(db, edge.downstream);
    let (open, state) = after.map_or((0, GroupState::Pending), |f| {
        (f.group.open(), f.group.state)
    });
    Ok(Applied {
        outcome: "applied",
        open,
        state: state.word(),
        effect: match effect {
            Effect::None | Effect::AlreadyFired if held => "blocked",
            Effect::AlreadyFired => Effect::None.word(),
            other => other.word(),
        },
    })
}
