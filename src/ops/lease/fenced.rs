//! The fence procedure (§10.13) around an operation: decode, lock, clock, replay, checks.

use crate::error::Result;
use crate::model::execution::{End, Execution};
use crate::model::fence::{self, Caller, Fence};
use crate::model::handle::Handle;
use crate::model::time::Instant;
use crate::model::words::EndOp;
use crate::pg::spi::Db;
use crate::store;

use super::super::event::identity;
use super::super::{clock, installation};

/// What the fence made of a call.
pub enum Passage {
    /// The lease holds; go on.
    Live(Box<Execution>, Instant),
    /// This lease has done this operation before; return what was recorded.
    Replay(Box<Replay>),
}

/// A recorded result (G6).
pub struct Replay {
    /// The record.
    pub end: End,
    /// When the attempt ended.
    pub ended_at: Option<Instant>,
}

/// Decodes a handle of this installation.
///
/// # Errors
/// `invalid_handle`, `handle_from_other_database`.
pub fn decode(db: &Db, text: &str) -> Result<Handle> {
    let handle = Handle::decode(text)?;
    handle.check_installation(installation::id(db))?;
    Ok(handle)
}

/// As [`decode`], on the snapshot that is active, for reads.
///
/// # Errors
/// `invalid_handle`, `handle_from_other_database`.
pub fn shown(db: &Db, text: &str) -> Result<Handle> {
    let handle = Handle::decode(text)?;
    handle.check_installation(identity::id(db))?;
    Ok(handle)
}

/// Locks the execution of a handle and checks that the lease holds.
///
/// # Errors
/// Those of the fence.
pub fn live(db: &Db, handle: &Handle) -> Result<(Execution, Instant)> {
    let execution = store::execution::lock(db, handle.execution_id);
    let execution = execution.ok_or_else(|| fence::not_found(handle.execution_id))?;
    let now = clock::now();
    fence::check(&execution, &handle.into(), now)?;
    Ok((execution, now))
}

/// Locks the execution of a caller for an operation that can be repeated.
///
/// # Errors
/// Those of the fence.
pub fn pass(db: &Db, caller: &Caller, op: EndOp) -> Result<Passage> {
    let execution = store::execution::lock(db, caller.id);
    let execution = execution.ok_or_else(|| fence::not_found(caller.id))?;
    let fence = caller.fence(&execution);
    judge(db, Box::new(execution), &fence, op, clock::now())
}

/// Steps 4 to 8 for a locked execution.
///
/// # Errors
/// Those of the fence.
pub fn judge(
    db: &Db,
    e: Box<Execution>,
    fence: &Fence,
    op: EndOp,
    now: Instant,
) -> Result<Passage> {
    if let Some(end) = fence::replayed(&e, fence, op) {
        let ended_at = e.attempt.as_ref().and_then(|a| a.ended_at);
        return Ok(Passage::Replay(Box::new(Replay {
            end: end.clone(),
            ended_at,
        })));
    }
    match fence::check(&e, fence, now) {
        Ok(()) => Ok(Passage::Live(e, now)),
        // A lease that does not hold may have ended an attempt that has been superseded since.
        Err(error) => match store::attempt::ended_by(db, e.place.id, fence.lease_id) {
            Some((end, ended_at)) if fence::matches(&end, fence, op) => {
                Ok(Passage::Replay(Box::new(Replay { end, ended_at })))
            }
            _ => Err(error),
        },
    }
}
