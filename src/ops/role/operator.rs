//! What an argument asks for that only an operator may do (§10.23).

use crate::error::{Error, Kind, Result};
use crate::pg::spi::Db;
use crate::store;

/// Refuses an override to a role that could not cancel the execution as an operator either.
///
/// # Errors
/// `unauthorized`.
pub fn overrides(db: &Db) -> Result<()> {
    if store::role::may_intervene(db) {
        return Ok(());
    }
    Err(Error::new(Kind::Unauthorized)
        .say("only an operator may override")
        .with("rule", "operator_override")
        .hint("Act with the lease, epoch and attempt of the claim, or let a role of class operator do this."))
}
