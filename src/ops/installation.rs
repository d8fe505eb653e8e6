//! The installation's identity, drawn on first use.

use crate::pg::cache::Cache;
use crate::pg::spi::Db;
use crate::pg::{clock, session};
use crate::store;

thread_local! {
    static KNOWN: Cache<(), [u8; 4]> = const { Cache::new() };
}

/// Four bytes that every handle and cursor of this installation carries.
pub fn id(db: &Db) -> [u8; 4] {
    let table = session::table(c"ff_engine", c"installation");
    KNOWN.with(|known| {
        known.get_or(table, &(), || {
            store::installation::find(db).unwrap_or_else(|| {
                store::installation::draw(db, clock::random());
                store::installation::find(db).unwrap_or_default()
            })
        })
    })
}
