//! `ff_engine.installation`: the identity of this engine, drawn on first use.

use pgrx::pg_sys::BuiltinOid::*;

use crate::pg::spi::{Db, Stmt};

static FIND: Stmt<0> = Stmt::new(
    c"SELECT i.installation_id FROM ff_engine.installation AS i WHERE i.singleton",
    [],
);

static DRAW: Stmt<1> = Stmt::new(
    c"INSERT INTO ff_engine.installation (installation_id) VALUES ($1) ON CONFLICT DO NOTHING",
    [BYTEAOID],
);

/// The installation's four bytes, if drawn.
pub fn find(db: &Db) -> Option<[u8; 4]> {
    FIND.run(db, [])
        .first()
        .and_then(|r| r.get::<Vec<u8>>(1).try_into().ok())
}

/// As [`find`], on the snapshot that is active instead of the statement's own.
pub fn shown(db: &Db) -> Option<[u8; 4]> {
    FIND.read(db, [])
        .first()
        .and_then(|r| r.get::<Vec<u8>>(1).try_into().ok())
}

/// Draws them; one session wins.
pub fn draw(db: &Db, bytes: [u8; 4]) {
    DRAW.run(db, [bytes.as_slice().into()]);
}
