//! `ff_engine.waitpoint_secret`: the ring of signing keys.

use pgrx::pg_sys::BuiltinOid::*;

use crate::model::keyring::{Key, Ring};
use crate::model::time::Instant;
use crate::pg::cache::Shared;
use crate::pg::spi::{Db, Stmt};
use crate::pg::subxact;

static RING: Stmt<0> = Stmt::new(
    c"SELECT k.kid, k.secret, k.retired_at, k.expires_at FROM ff_engine.waitpoint_secret AS k ORDER BY k.kid",
    [],
);

/// Changes of the ring come one after the other; those who verify read on.
static LOCK: Stmt<0> = Stmt::new(
    c"LOCK TABLE ff_engine.waitpoint_secret IN SHARE ROW EXCLUSIVE MODE",
    [],
);

static INSERT: Stmt<3> = Stmt::new(
    c"INSERT INTO ff_engine.waitpoint_secret (kid, secret, created_at) VALUES ($1, $2, $3)",
    [TEXTOID, BYTEAOID, TIMESTAMPTZOID],
);

static RETIRE: Stmt<2> = Stmt::new(
    c"UPDATE ff_engine.waitpoint_secret AS k SET retired_at = $1, expires_at = $2 WHERE k.retired_at IS NULL",
    [TIMESTAMPTZOID, TIMESTAMPTZOID],
);

static LAPSE: Stmt<2> = Stmt::new(
    c"UPDATE ff_engine.waitpoint_secret AS k SET expires_at = $2 WHERE k.kid = $1",
    [TEXTOID, TIMESTAMPTZOID],
);

static LAPSED: Stmt<1> = Stmt::new(
    c"SELECT true FROM ff_engine.waitpoint_secret AS k WHERE k.expires_at <= $1 AND k.secret IS NOT NULL LIMIT 1",
    [TIMESTAMPTZOID],
);

static TRY_LOCK: Stmt<0> = Stmt::new(
    c"LOCK TABLE ff_engine.waitpoint_secret IN ROW EXCLUSIVE MODE NOWAIT",
    [],
);

static ERASE: Stmt<1> = Stmt::new(
    c"UPDATE ff_engine.waitpoint_secret AS k SET secret = NULL WHERE k.expires_at <= $1 AND k.secret IS NOT NULL",
    [TIMESTAMPTZOID],
);

thread_local! {
    static KNOWN: Shared<(), Ring> = const { Shared::new() };
}

fn read(db: &Db) -> Ring {
    let rows = RING.run(db, []);
    let key = |r: crate::pg::spi::Row| Key {
        kid: r.get(1),
        secret: r.get(2),
        retired_at: r.get::<Option<i64>>(3).map(Instant),
        expires_at: r.get::<Option<i64>>(4).map(Instant),
    };
    Ring(rows.iter().map(key).collect())
}

/// The ring, remembered until a transaction that changes it commits.
pub fn ring(db: &Db) -> Ring {
    KNOWN
        .with(|known| known.get_or((), || Some(read(db))))
        .unwrap_or_default()
}

/// The ring, held against other changes until the transaction ends.
pub fn lock(db: &Db) -> Ring {
    LOCK.run(db, []);
    read(db)
}

/// Installs the key that signs from now on.
pub fn insert(db: &Db, kid: &str, secret: &[u8], now: Instant) {
    INSERT.run(db, [kid.into(), secret.into(), now.0.into()]);
    crate::pg::xact::rename();
}

/// Retires the current key, which verifies until an instant.
pub fn retire(db: &Db, now: Instant, expires_at: Instant) {
    RETIRE.run(db, [now.0.into(), expires_at.0.into()]);
    crate::pg::xact::rename();
}

/// Ends a retired key.
pub fn lapse(db: &Db, kid: &str, at: Instant) {
    LAPSE.run(db, [kid.into(), at.0.into()]);
    crate::pg::xact::rename();
}

/// As [`erase`], unless the ring is being changed: whoever does that may take his time.
pub fn erase_if_free(db: &Db, by: Instant) -> usize {
    let lapsed = !LAPSED.run(db, [by.0.into()]).is_empty();
    if lapsed && subxact::attempt(|| TRY_LOCK.run(db, []).len()).is_ok() {
        erase(db, by)
    } else {
        0
    }
}

/// Erases the secrets of keys that lapsed by an instant; how many.
pub fn erase(db: &Db, by: Instant) -> usize {
    let erased = ERASE.run(db, [by.0.into()]).len();
    if erased > 0 {
        crate::pg::xact::rename();
    }
    erased
}
