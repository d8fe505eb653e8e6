//! Blocks and unblocks executions for admission (§10.10): T24 and T25.

use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::model::execution::Execution;
use crate::model::fence;
use crate::model::text;
use crate::model::time::Instant;
use crate::model::transition;
use crate::model::words::{Blocking, Eligibility, Lifecycle};
use crate::pg::spi::Db;
use crate::store;

use super::super::flow::gate::Gates;
use super::super::{clock, save};

/// What became of it.
pub struct Blocked {
    /// Outcome word.
    pub outcome: &'static str,
    /// The execution afterwards.
    pub execution: Execution,
}

/// What a reason blocks as.
fn eligibility(reason: Blocking) -> Option<Eligibility> {
    match reason {
        Blocking::Budget => Some(Eligibility::Budget),
        Blocking::Quota => Some(Eligibility::Quota),
        Blocking::CapableWorker | Blocking::Locality => Some(Eligibility::Route),
        Blocking::PausedByOperator => Some(Eligibility::Operator),
        Blocking::PausedByPolicy => Some(Eligibility::LaneState),
        _ => None,
    }
}

/// Whether an eligibility is one of those that a block makes.
fn blocked(eligibility: Eligibility) -> bool {
    use Eligibility::*;
    matches!(eligibility, Budget | Quota | Route | Operator | LaneState)
}

/// Blocks an execution that is eligible or blocked already; a hold also one that is delayed.
///
/// # Errors
/// `invalid_blocking_reason`, `execution_not_found`, `invalid_input`.
pub fn block(
    db: &Db,
    id: Uuid,
    reason: &str,
    detail: Option<&str>,
    recheck_at: Option<Instant>,
) -> Result<Blocked> {
    let word = Blocking::from_word(reason).and_then(|word| Some((eligibility(word)?, word)));
    let Some((target, word)) = word else {
        return Err(Error::new(Kind::InvalidBlockingReason).with("reason", text::cut(reason)));
    };
    if let Some(detail) = detail {
        text::reason("detail", detail, text::MAX_REASON_BYTES)?;
    }
    let e = store::execution::lock(db, id).ok_or_else(|| fence::not_found(id))?;
    let hold = matches!(target, Eligibility::Operator | Eligibility::LaneState);
    let admitted = match e.vector.eligibility {
        Eligibility::Now => true,
        Eligibility::UntilTime => hold,
        other => blocked(other),
    };
    if e.is_terminal() || e.vector.lifecycle != Lifecycle::Runnable || !admitted {
        let outcome = if e.is_terminal() {
            "rejected_terminal"
        } else {
            "rejected_not_eligible"
        };
        return Ok(Blocked {
            outcome,
            execution: e,
        });
    }
    let now = clock::now();
    let change = transition::block(
        e,
        (target, word),
        detail.map(str::to_owned),
        recheck_at,
        now,
    );
    save::apply(db, std::slice::from_ref(&change), now);
    Ok(Blocked {
        outcome: "blocked",
        execution: *change.after,
    })
}

/// Makes a blocked execution eligible again, or delayed if its time has not come; a member of a flow goes where its
/// upstreams say.
///
/// # Errors
/// `execution_not_found`.
pub fn unblock(db: &Db, id: Uuid, expected: Option<&str>) -> Result<Blocked> {
    let e = store::execution::lock(db, id).ok_or_else(|| fence::not_found(id))?;
    if e.vector.lifecycle != Lifecycle::Runnable || !blocked(e.vector.eligibility) {
        return Ok(Blocked {
            outcome: "rejected_not_blocked",
            execution: e,
        });
    }
    if expected.is_some_and(|word| word != e.vector.blocking.word()) {
        return Ok(Blocked {
            outcome: "rejected_reason_changed",
            execution: e,
        });
    }
    let now = clock::now();
    let gates = Gates::of(db, std::slice::from_ref(&e));
    let change = gates.open(db, e, now, transition::unblock);
    save::apply(db, std::slice::from_ref(&change), now);
    Ok(Blocked {
        outcome: "unblocked",
        execution: *change.after,
    })
}
