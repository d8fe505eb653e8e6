//! Acts on the executions under a budget (§50.6): once for an operator, and again and again for a breached one.

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::model::budget::Action;
use crate::model::execution::Execution;
use crate::model::transition::Denied;
use crate::model::words::{Lifecycle, Ownership};
use crate::pg::spi::Db;
use crate::store;
use crate::store::budget;
use crate::store::subject::{self, Subject};

use super::super::role::namespace::unbound;
use super::super::{clock, save};
use super::report::act;

/// Which executions a sweep acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Targets {
    /// Those that nobody runs.
    Waiting,
    /// Those that are active.
    Running,
    /// Both, waiting ones first.
    All,
}

impl Targets {
    /// The targets of a word.
    ///
    /// # Errors
    /// `invalid_input`.
    pub fn from_word(word: &str) -> Result<Targets> {
        match word {
            "waiting" => Ok(Targets::Waiting),
            "running" => Ok(Targets::Running),
            "all" => Ok(Targets::All),
            _ => Err(Error::invalid_input("targets", "unknown_word")),
        }
    }

    fn subjects(self) -> &'static [Subject] {
        match self {
            Targets::Waiting => &[Subject::Waiting],
            Targets::Running => &[Subject::Running],
            Targets::All => &[Subject::Waiting, Subject::Running],
        }
    }
}

/// What a sweep did: each execution with its outcome, and whether it left some.
pub struct Swept {
    /// Executions.
    pub rows: Vec<(Uuid, &'static str)>,
    /// Not all were reached.
    pub more: bool,
}

/// One sweep for an operator.
///
/// # Errors
/// `budget_not_found`, `invalid_input`, `unauthorized`.
pub fn sweep(db: &Db, id: Uuid, action: &str, targets: &str, limit: i64) -> Result<Swept> {
    unbound()?;
    let targets = Targets::from_word(targets)?;
    let action = match (Action::from_word(action), targets) {
        (Some(Action::Cancel), _) => Action::Cancel,
        (Some(action @ (Action::Fail | Action::Suspend)), Targets::Running) => action,
        (Some(Action::Fail | Action::Suspend), _) => {
            return Err(Error::invalid_input("targets", "running_only"));
        }
        _ => return Err(Error::invalid_input("action", "unknown_word")),
    };
    budget::load(db, &[id])?;
    Ok(over(db, id, action, targets, limit, |_| true))
}

/// Acts on up to so many executions under a budget that are concerned; busy ones are deferred.
pub fn over(
    db: &Db,
    id: Uuid,
    action: Action,
    targets: Targets,
    limit: i64,
    concerns: impl Fn(&Execution) -> bool,
) -> Swept {
    let mut rows = Vec::new();
    let mut more = false;
    for subject in targets.subjects() {
        let left = limit - rows.len() as i64;
        let mut ids = subject::under(db, id, *subject, left.max(0) + 1);
        more |= ids.len() as i64 > left;
        ids.truncate(left.max(0) as usize);
        let locked = store::execution::lock_free(db, &ids);
        let now = clock::now();
        let next_reset_at = budget::next_reset(db, id);
        let mut changes = Vec::new();
        for execution in ids {
            let Some(e) = locked.iter().find(|e| e.place.id == execution) else {
                rows.push((execution, "deferred"));
                continue;
            };
            if !fits(e, *subject) || !concerns(e) {
                continue;
            }
            let denied = Denied {
                policy: id,
                detail: format!("budget {id}: enforced"),
                recheck_at: next_reset_at,
            };
            if let Some((change, word)) = act(e.clone(), action, denied, now) {
                changes.push(change);
                rows.push((execution, word));
            }
        }
        save::apply(db, &changes, now);
    }
    Swept { rows, more }
}

/// Whether an execution is still what it was found as.
fn fits(e: &Execution, subject: Subject) -> bool {
    let active = e.vector.lifecycle == Lifecycle::Active;
    match subject {
        Subject::Waiting => !active && !e.is_terminal(),
        Subject::Running => active && e.vector.ownership != Ownership::Unowned,
    }
}
