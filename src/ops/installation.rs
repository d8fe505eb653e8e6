//! The installation's identity, drawn on first use.

use crate::pg::clock;
use crate::pg::spi::Db;
use crate::store;

/// Four bytes that every handle and cursor of this installation carries.
pub fn id(db: &Db) -> [u8; 4] {
    store::installation::find(db).unwrap_or_else(|| {
        store::installation::draw(db, clock::random());
        store::installation::find(db).unwrap_or_default()
    })
}
