//! What a child's edges say of it (§40.5.6, §40.5.7).

use uuid::Uuid;

use crate::error::Result;
use crate::model::edge_group::{Group, GroupState};
use crate::model::execution::Execution;
use crate::model::time::Instant;
use crate::model::transition::Children;
use crate::model::words::{Lifecycle, Ownership};
use crate::pg::spi::Db;
use crate::store;

use super::step::{self, Due};

/// What an active execution that wants to wait for its children finds, after counting those of its edges that are due.
///
/// # Errors
/// `invariant_violation`.
pub fn children(db: &Db, e: &Execution, now: Instant) -> Result<Children> {
    if e.place.flow.is_none() {
        return Ok(Children::Done);
    }
    let due: Vec<Due> = store::edge::due_into(db, e.place.id)
        .iter()
        .map(|d| Due {
            id: d.id,
            outcome: d.outcome,
            life: d.life,
        })
        .collect();
    if !due.is_empty() {
        step::resolve(db, vec![e.clone()], &due, now)?;
    }
    Ok(
        match store::edge_group::under_lock(db, &[e.place.id])
            .pop()
            .map(|f| f.group)
        {
            Some(g) if g.state == GroupState::Impossible => Children::Impossible,
            Some(g) if g.state == GroupState::Pending && g.open() > 0 => {
                Children::Open(g.open(), g.detail())
            }
            _ => Children::Done,
        },
    )
}

/// What would become of an execution if its group decided now.
pub struct Eligibility {
    /// Status word.
    pub status: &'static str,
    /// Its group, with the edges counted that are due; none if it has none.
    pub group: Option<Group>,
}

/// Judges an execution's group on the snapshot that is active, however far propagation has come.
pub fn evaluate(db: &Db, id: Uuid) -> Eligibility {
    let Some((lifecycle, ownership)) = store::execution::seen_phase(db, id) else {
        return Eligibility {
            status: "not_found",
            group: None,
        };
    };
    let mut group = store::edge_group::seen(db, id).map(|f| f.group);
    if let Some(group) = &mut group {
        for due in store::edge::seen_due_into(db, id) {
            group.count(due.kind.judge(due.outcome));
        }
        // Nothing is written, so the instant says nothing.
        group.fire(Instant(0));
    }
    let state = group.as_ref().filter(|g| g.total > 0).map(|g| g.state);
    let status = if lifecycle == Lifecycle::Terminal.word() {
        "terminal"
    } else if lifecycle != Lifecycle::Runnable.word() {
        "not_runnable"
    } else if ownership != Ownership::Unowned.word() {
        "owned"
    } else {
        match state {
            Some(GroupState::Impossible) => "impossible",
            Some(GroupState::Pending) => "blocked_by_dependencies",
            _ => "eligible",
        }
    };
    Eligibility { status, group }
}
