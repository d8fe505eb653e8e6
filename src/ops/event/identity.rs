//! The installation that a cursor belongs to.

use crate::pg::snapshot;
use crate::pg::spi::Db;
use crate::{ops, store};

/// The installation's identity, found even if it was drawn after the caller's snapshot. A session that may not write
/// leaves the drawing to others.
pub fn id(db: &Db) -> [u8; 4] {
    match snapshot::latest(|| store::installation::shown(db)) {
        Some(id) => id,
        None if snapshot::writable() => ops::installation::id(db),
        None => ops::installation::own(),
    }
}
