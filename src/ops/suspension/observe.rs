//! What a worker sees of its attempt's latest suspension (§20.14). Changes nothing and needs no lease.

use crate::error::{Error, Kind, Result};
use crate::model::fence;
use crate::model::handle::Handle;
use crate::pg::spi::Db;
use crate::store;
use crate::store::observed::{Context, Observed};

/// The signals of the latest suspension that counted, or all of them.
///
/// # Errors
/// `execution_not_found`, `attempt_not_found`.
pub fn signals(db: &Db, handle: &Handle, unmatched: bool) -> Result<Vec<Observed>> {
    exists(db, handle)?;
    let (id, attempt) = (handle.execution_id, handle.attempt_index);
    Ok(store::observed::signals(db, id, attempt, unmatched))
}

/// The latest suspension, if there ever was one.
///
/// # Errors
/// `execution_not_found`, `attempt_not_found`.
pub fn context(db: &Db, handle: &Handle) -> Result<Option<Context>> {
    exists(db, handle)?;
    let (id, attempt) = (handle.execution_id, handle.attempt_index);
    Ok(store::observed::context(db, id, attempt))
}

fn exists(db: &Db, h: &Handle) -> Result<()> {
    match store::observed::attempt(db, h.execution_id, h.attempt_index, h.attempt_id) {
        None => Err(fence::not_found(h.execution_id)),
        Some(false) => Err(Error::new(Kind::AttemptNotFound)
            .with("execution_id", h.execution_id.to_string())
            .with("attempt_index", h.attempt_index)),
        Some(true) => Ok(()),
    }
}
