//! Shows an external scheduler what it may hand out (§10.12). Locks and changes nothing.

use crate::error::Result;
use crate::model::{lane_name, text};
use crate::pg::spi::Db;
use crate::store::scan::{Asked, Seen, claimable};

use super::super::clock;

/// Claimable executions of a lane in claim order.
///
/// # Errors
/// `invalid_lane`, `invalid_input`.
pub fn scan(db: &Db, asked: &Asked) -> Result<Vec<Seen>> {
    lane_name::check(asked.lane)?;
    if let Some(namespace) = asked.namespace {
        text::identifier("namespace", namespace)?;
    }
    Ok(claimable(db, asked, clock::now()))
}
