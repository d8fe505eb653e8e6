//! `ff_engine.token_failure`: when a token was last refused at an execution's waitpoints.

use pgrx::pg_sys::BuiltinOid::*;
use uuid::Uuid;

use crate::pg::array;
use crate::pg::spi::{Arg, Db, Stmt};

static NOTE: Stmt<2> = Stmt::new(
    c"INSERT INTO ff_engine.token_failure AS f (execution_id, last_at)
      SELECT n.execution_id, n.last_at FROM unnest($1, $2) AS n (execution_id, last_at)
       WHERE EXISTS (SELECT FROM ff_engine.execution AS e WHERE e.execution_id = n.execution_id)
       ORDER BY n.execution_id
      ON CONFLICT (execution_id) DO UPDATE SET last_at = greatest(f.last_at, excluded.last_at)",
    [UUIDARRAYOID, TIMESTAMPTZARRAYOID],
);

/// Stores what has been noted outside transactions.
pub fn note(db: &Db, notes: &[([u8; 16], i64)]) {
    if !notes.is_empty() {
        let ids = array::uuids(notes.iter().map(|(id, _)| Uuid::from_bytes(*id)));
        let at = array::array(TIMESTAMPTZOID, notes.iter().map(|(_, at)| Arg::from(*at)));
        NOTE.run(db, [ids, at]);
    }
}
