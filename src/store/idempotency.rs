//! `ff_engine.idempotency`: keys of creates.

use pgrx::pg_sys::BuiltinOid::*;
use uuid::Uuid;

use crate::model::time::Instant;
use crate::pg::spi::{Db, Stmt};

use super::binding;

/// Takes a key that is free or past its lifetime; a session that took it and has not committed is waited for.
static TAKE: Stmt<6> = Stmt::new(
    c"INSERT INTO ff_engine.idempotency AS k (namespace_id, key, execution_id, request_hash, expires_at)
      SELECT n.namespace_id, n.key, n.execution_id, n.request_hash, n.expires_at
        FROM unnest($1, $2, $3, $4, $5) AS n (namespace_id, key, execution_id, request_hash, expires_at)
       ORDER BY n.key COLLATE \"C\", n.namespace_id
      ON CONFLICT (namespace_id, key) DO UPDATE
         SET execution_id = excluded.execution_id, request_hash = excluded.request_hash, expires_at = excluded.expires_at
       WHERE k.expires_at <= $6
      RETURNING k.execution_id",
    [INT4ARRAYOID, TEXTARRAYOID, UUIDARRAYOID, BYTEAARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZOID],
);

static HOLDERS: Stmt<2> = Stmt::new(
    c"SELECT k.namespace_id, k.key, k.execution_id, k.request_hash
        FROM unnest($1, $2) AS n (namespace_id, key)
        JOIN ff_engine.idempotency AS k ON k.namespace_id = n.namespace_id AND k.key = n.key",
    [INT4ARRAYOID, TEXTARRAYOID],
);

static EXPIRE: Stmt<4> = Stmt::new(
    c"DELETE FROM ff_engine.idempotency AS k
       USING (SELECT d.namespace_id, d.key FROM ff_engine.idempotency AS d
               WHERE d.expires_at <= $1
                 AND ($3 IS NULL OR d.namespace_id = (SELECT n.namespace_id FROM ff_engine.namespace AS n WHERE n.name = $3))
                 AND ($4 IS NULL OR d.namespace_id = ANY ($4))
               ORDER BY d.expires_at LIMIT $2 FOR UPDATE SKIP LOCKED) AS due
       WHERE k.namespace_id = due.namespace_id AND k.key = due.key",
    [TIMESTAMPTZOID, INT8OID, TEXTOID, INT4ARRAYOID],
);

static ANY_DUE: Stmt<3> = Stmt::new(
    c"SELECT true FROM ff_engine.idempotency AS k
       WHERE k.expires_at <= $1
         AND ($2 IS NULL OR k.namespace_id = (SELECT n.namespace_id FROM ff_engine.namespace AS n WHERE n.name = $2))
         AND ($3 IS NULL OR k.namespace_id = ANY ($3))
       ORDER BY k.expires_at LIMIT 1",
    [TIMESTAMPTZOID, TEXTOID, INT4ARRAYOID],
);

/// A key with what it stands for.
#[derive(Clone, Debug)]
pub struct Key {
    /// Scope.
    pub namespace: i32,
    /// The key.
    pub key: String,
    /// The execution it made.
    pub id: Uuid,
    /// Hash of lane, kind and payload.
    pub request: [u8; 32],
    /// End of its lifetime.
    pub expires_at: Instant,
}

/// Takes keys, all different; returns the executions whose key is theirs now.
pub fn take(db: &Db, keys: &[Key], now: Instant) -> Vec<Uuid> {
    use crate::pg::array::{array, ints, texts, uuids};
    let args = [
        ints(keys.iter().map(|k| k.namespace)),
        texts(keys.iter().map(|k| k.key.as_str())),
        uuids(keys.iter().map(|k| k.id)),
        array(BYTEAOID, keys.iter().map(|k| k.request.as_slice().into())),
        array(TIMESTAMPTZOID, keys.iter().map(|k| k.expires_at.0.into())),
        now.0.into(),
    ];
    TAKE.run(db, args).iter().map(|r| r.get(1)).collect()
}

/// Who holds keys that could not be taken: namespace, key, execution, request hash.
pub fn holders(db: &Db, keys: &[&Key]) -> Vec<(i32, String, Uuid, Vec<u8>)> {
    use crate::pg::array::{ints, texts};
    let args = [
        ints(keys.iter().map(|k| k.namespace)),
        texts(keys.iter().map(|k| k.key.as_str())),
    ];
    HOLDERS
        .run(db, args)
        .iter()
        .map(|r| (r.get(1), r.get(2), r.get(3), r.get(4)))
        .collect()
}

/// Deletes keys past their lifetime, oldest first, of one namespace if named, that the calling roles may see.
pub fn expire(db: &Db, now: Instant, limit: i64, namespace: Option<&str>) -> usize {
    let args = [
        now.0.into(),
        limit.into(),
        namespace.into(),
        binding::only(),
    ];
    EXPIRE.run(db, args).len()
}

/// Whether such a key is past its lifetime.
pub fn any_due(db: &Db, now: Instant, namespace: Option<&str>) -> bool {
    let args = [now.0.into(), namespace.into(), binding::only()];
    !ANY_DUE.run(db, args).is_empty()
}
