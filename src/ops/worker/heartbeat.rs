//! Keeps a registration alive (§10.19).

use crate::error::Result;
use crate::model::time::Instant;
use crate::pg::spi::Db;
use crate::store;

use super::super::clock;
use super::{check, find};

/// The new end of a live registration, none if the instance has to register again.
///
/// # Errors
/// `invalid_input`.
pub fn heartbeat(db: &Db, instance: &str, namespace: &str) -> Result<Option<Instant>> {
    check(instance, namespace)?;
    let Some(seat) = find(db, instance, namespace) else {
        return Ok(None);
    };
    let Some(registration) = store::worker::lock(db, &seat) else {
        return Ok(None);
    };
    let now = clock::now();
    if !registration.is_live(now) {
        return Ok(None);
    }
    let expires_at = registration.renewed(now);
    store::worker::beat(db, &seat, expires_at);
    Ok(Some(expires_at))
}
