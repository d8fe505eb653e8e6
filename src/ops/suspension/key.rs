//! The ring of signing keys (§20.10): seed, rotate, revoke.

use serde_json::json;

use crate::error::Result;
use crate::guc;
use crate::model::event::{Code, Event};
use crate::model::keyring::Rotation;
use crate::model::time::{Instant, MS};
use crate::pg::clock as random;
use crate::pg::spi::Db;
use crate::store;

use super::super::clock;

/// Bytes of a secret that the server draws.
const DRAWN: usize = 32;

/// Installs the first key; whether it was installed, and whether the installed bytes are the given ones.
///
/// # Errors
/// `invalid_kid`, `invalid_secret`, `invalid_input`.
pub fn seed(db: &Db, kid: &str, secret: Option<&[u8]>) -> Result<(bool, Option<bool>)> {
    let ring = store::secret::lock(db);
    if let Some(same) = ring.seed(kid, secret)? {
        return Ok((false, same));
    }
    let now = clock::now();
    install(db, kid, secret, now);
    announce(
        db,
        now,
        Code::OperatorSigningKeySeeded,
        json!({ "kid": kid }),
    );
    Ok((true, secret.map(|_| true)))
}

/// What a rotation did.
pub struct Rotated {
    /// `rotated` or `noop`.
    pub outcome: &'static str,
    /// The key before it.
    pub previous: Option<String>,
    /// Until when that verifies.
    pub expires_at: Option<Instant>,
    /// Secrets erased.
    pub removed: usize,
}

/// Makes a new key current; `grace` in microseconds.
///
/// # Errors
/// `invalid_kid`, `invalid_secret`, `invalid_grace`, `rotation_conflict`.
pub fn rotate(db: &Db, kid: &str, secret: Option<&[u8]>, grace: Option<i64>) -> Result<Rotated> {
    let ring = store::secret::lock(db);
    let now = clock::now();
    let default = i64::from(guc::DEFAULT_ROTATION_GRACE.value.get()).saturating_mul(1_000 * MS);
    let (previous, expires_at) = match ring.rotate(kid, secret, grace.unwrap_or(default), now)? {
        Rotation::Nothing => {
            return Ok(Rotated {
                outcome: "noop",
                previous: None,
                expires_at: None,
                removed: 0,
            });
        }
        Rotation::Rotate {
            previous,
            expires_at,
        } => (previous, expires_at),
    };
    let removed = store::secret::erase(db, now);
    store::secret::retire(db, now, expires_at);
    install(db, kid, secret, now);
    let details = json!({ "kid": kid, "previous_kid": previous });
    announce(db, now, Code::OperatorSigningKeyRotated, details);
    Ok(Rotated {
        outcome: "rotated",
        expires_at: previous.as_ref().map(|_| expires_at),
        previous,
        removed,
    })
}

/// Ends a retired key at once: the open waitpoints whose tokens died, or none if there is no such key.
///
/// # Errors
/// `invalid_kid`; `invalid_input` for the current key.
pub fn revoke(db: &Db, kid: &str) -> Result<Option<i64>> {
    let ring = store::secret::lock(db);
    let now = clock::now();
    if !ring.revocable(kid, now)? {
        return Ok(None);
    }
    store::secret::lapse(db, kid, now);
    let open = store::waitpoint::count_of_kid(db, kid);
    announce(
        db,
        now,
        Code::OperatorSigningKeyRevoked,
        json!({ "kid": kid }),
    );
    Ok(Some(open))
}

fn install(db: &Db, kid: &str, secret: Option<&[u8]>, now: Instant) {
    let drawn = random::random::<DRAWN>();
    store::secret::insert(db, kid, secret.unwrap_or(&drawn), now);
}

fn announce(db: &Db, now: Instant, code: Code, details: serde_json::Value) {
    store::event::append_global(db, now, None, None, &Event::plain(code, Some(details)));
}
