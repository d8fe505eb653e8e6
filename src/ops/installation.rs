//! The installation's identity, drawn on first use.

use sha2::{Digest, Sha256};

use crate::pg::cache::Cache;
use crate::pg::spi::Db;
use crate::pg::{lock, session};
use crate::store;

thread_local! {
    static KNOWN: Cache<(), [u8; 4]> = const { Cache::new() };
}

/// Four bytes that every handle and cursor of this installation carries.
pub fn id(db: &Db) -> [u8; 4] {
    let table = session::table(c"ff_engine", c"installation");
    KNOWN.with(|known| {
        known.get_or(table, &(), || {
            store::installation::find(db).unwrap_or_else(|| draw(db))
        })
    })
}

/// Stores it, unless another transaction is about to: nobody waits for that one's end.
fn draw(db: &Db) -> [u8; 4] {
    let own = own();
    if !lock::draws_installation() {
        return own;
    }
    store::installation::draw(db, own);
    store::installation::find(db).unwrap_or(own)
}

/// What is stored on first use, so that it is known before. Nothing else has the same: no other server, no other
/// database and no other `CREATE EXTENSION` in this one.
pub fn own() -> [u8; 4] {
    let mut hash = Sha256::new();
    hash.update(session::server().to_be_bytes());
    hash.update(session::database().to_be_bytes());
    hash.update(lock::extension().to_be_bytes());
    let [a, b, c, d, ..]: [u8; 32] = hash.finalize().into();
    [a, b, c, d]
}
