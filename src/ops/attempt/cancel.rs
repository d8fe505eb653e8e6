//! Cancels by the worker that holds the lease (§10.14.6): T15.

use crate::error::Result;
use crate::model::fence::Caller;
use crate::model::text;
use crate::model::transition;
use crate::model::words::EndOp;
use crate::pg::spi::Db;

use super::super::lease::fenced::{self, Passage};
use super::super::save;
use super::complete::Completed;

/// Cancels the execution that a caller holds.
///
/// # Errors
/// Those of the fence; `invalid_input` for a malformed reason.
pub fn cancel(db: &Db, caller: &Caller, reason: &str) -> Result<Completed> {
    text::reason("reason", reason, text::MAX_REASON_BYTES)?;
    let id = caller.id;
    match fenced::pass(db, caller, EndOp::Cancel)? {
        Passage::Replay(r) => Ok(Completed {
            id,
            completed_at: r.ended_at,
            replayed: true,
            claim: None,
        }),
        Passage::Live(e, now) => {
            let change = transition::cancel(*e, reason, "lease_holder", now);
            save::apply(db, &[change], now);
            Ok(Completed {
                id,
                completed_at: Some(now),
                replayed: false,
                claim: None,
            })
        }
    }
}
