//! Minting and checking waitpoint tokens (§20.9). Nothing of a token leaves here but the token itself.

use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::model::keyring::Ring;
use crate::model::time::Instant;
use crate::model::token::{self, Subject, Token};
use crate::pg::clock as random;
use crate::pg::spi::Db;
use crate::pg::{rejection, session};
use crate::store;
use crate::store::waitpoint::Waitpoint;

use super::super::clock;

thread_local! {
    /// Stands in for a key that does not exist, so that its absence takes as long as a wrong signature.
    static NO_KEY: [u8; 32] = random::random();
}

/// A token and what is stored of it.
pub struct Minted {
    /// The token.
    pub token: String,
    /// Its key.
    pub kid: String,
    /// Its fingerprint.
    pub fingerprint: String,
}

/// Mints the token of a new waitpoint under the current key.
///
/// # Errors
/// `signing_key_not_initialized`.
pub fn mint(ring: &Ring, subject: &Subject) -> Result<Minted> {
    let current = ring
        .current()
        .and_then(|key| Some((&key.kid, key.secret.as_ref()?)));
    let Some((kid, secret)) = current else {
        return Err(Error::new(Kind::SigningKeyNotInitialized));
    };
    let token = token::mint(kid, secret, subject);
    Ok(Minted {
        fingerprint: token::fingerprint(&token),
        kid: kid.clone(),
        token,
    })
}

/// The token of a waitpoint once more; none when its key has lapsed.
pub fn again(ring: &Ring, w: &Waitpoint, now: Instant) -> Option<String> {
    let key = ring.find(&w.kid).filter(|key| key.verifies(now))?;
    Some(token::mint(&w.kid, key.secret.as_ref()?, &w.subject))
}

/// The waitpoint that a token was given for, unlocked.
///
/// # Errors
/// `invalid_token`, the same for everything but a missing token; `token_expired`.
pub fn verify(
    db: &Db,
    waitpoint: Uuid,
    text: Option<&str>,
    execution: Option<Uuid>,
) -> Result<Waitpoint> {
    let text = text.filter(|text| !text.is_empty()).ok_or_else(|| {
        rejection::count(None, rejection::Reason::Missing, None);
        Error::new(Kind::InvalidToken).with("rule", "missing")
    })?;
    let found = store::waitpoint::load(db, &[waitpoint]).pop();
    let execution_of = found.as_ref().map(|w| w.subject.execution_id);
    let refuse = |kid: Option<&str>, reason| {
        rejection::count(kid, reason, execution_of.map(Uuid::into_bytes));
        let kind = match reason {
            rejection::Reason::Expired => Kind::TokenExpired,
            _ => Kind::InvalidToken,
        };
        Err(Error::new(kind))
    };
    let Some(token) = Token::parse(text) else {
        return refuse(None, rejection::Reason::Malformed);
    };
    let ring = store::secret::ring(db);
    let key = ring.find(&token.kid);
    let secret = key.and_then(|key| key.secret.as_deref());
    let nobody = Subject {
        execution_id: Uuid::nil(),
        waitpoint_id: waitpoint,
        created_at: Instant(0),
        key: String::new(),
    };
    let subject = found.as_ref().map_or(&nobody, |w| &w.subject);
    let signed = NO_KEY.with(|no_key| token.is_signed(secret.unwrap_or(no_key), subject))
        && secret.is_some();
    let asked = execution.is_none() || execution == execution_of;
    match (found, key) {
        (Some(w), Some(key)) if signed && asked => {
            if key.verifies(clock::now()) {
                Ok(Waitpoint {
                    kid: token.kid,
                    ..w
                })
            } else {
                refuse(Some(&token.kid), rejection::Reason::Expired)
            }
        }
        _ => refuse(key.map(|k| k.kid.as_str()), rejection::Reason::Wrong),
    }
}

/// The token of an open waitpoint, for a bridge that authenticates callers itself. Written to the server's log.
pub fn show(db: &Db, waitpoint: Uuid) -> Option<String> {
    let w = store::waitpoint::load(db, &[waitpoint]).pop()?;
    store::binding::visible(db, &[w.subject.execution_id]).first()?;
    let token = again(&store::secret::ring(db), &w, clock::now()).filter(|_| w.is_open())?;
    session::log(&format!(
        "ff_engine: {} was shown the token {}:<REDACTED:len=64> of waitpoint {waitpoint}, fingerprint {}",
        session::user(),
        w.kid,
        w.fingerprint,
    ));
    Some(token)
}

/// Checks the key once more by the clock of the locked execution.
///
/// # Errors
/// `token_expired`.
pub fn still_verifies(db: &Db, w: &Waitpoint, now: Instant) -> Result<()> {
    match store::secret::ring(db).find(&w.kid) {
        Some(key) if key.verifies(now) => Ok(()),
        _ => Err(Error::new(Kind::TokenExpired)),
    }
}
