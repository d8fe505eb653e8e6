//! Creates a waitpoint ahead of its suspension (§20.5), so that an early answer is not lost.

use serde_json::json;
use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::guc;
use crate::model::event::{Code, Event};
use crate::model::handle::Handle;
use crate::model::suspension::waitpoint_key;
use crate::model::time::{Instant, MS};
use crate::model::token::Subject;
use crate::model::transition::Change;
use crate::model::words::WaitpointState;
use crate::pg::spi::Db;
use crate::store;
use crate::store::waitpoint::Waitpoint;

use super::super::lease::fenced;
use super::super::{clock, save};
use super::token;

/// A new waitpoint.
pub struct Created {
    /// Its id.
    pub id: Uuid,
    /// Its key.
    pub key: String,
    /// Its token.
    pub token: String,
    /// When it expires unless a suspension uses it.
    pub expires_at: Instant,
}

/// Creates a pending waitpoint of the attempt that a handle holds; `expires_in` in microseconds.
///
/// # Errors
/// Those of the fence, `invalid_waitpoint_key`, `invalid_input`, `resource_exhausted`,
/// `signing_key_not_initialized`, `waitpoint_already_exists`.
pub fn create(
    db: &Db,
    handle: &Handle,
    key: &str,
    expires_in: i64,
    id: Option<Uuid>,
) -> Result<Created> {
    let most = i64::from(guc::MAX_PENDING_WAITPOINT_TTL.value.get()).saturating_mul(1_000 * MS);
    if expires_in <= 0 {
        return Err(Error::invalid_input("expires_in", "not_positive"));
    }
    if expires_in > most {
        return Err(Error::invalid_input("expires_in", "too_long").with("max_ms", most / MS));
    }
    let (e, now) = fenced::live(db, handle)?;
    within_limit(db, &e, 1)?;
    if let Some(id) = id {
        absent(db, &[id])?;
    }
    let subject = Subject {
        execution_id: e.place.id,
        waitpoint_id: id.unwrap_or_else(|| clock::mint(Some(e.place.partition as u8))),
        created_at: now,
        key: key.to_owned(),
    };
    let minted = token::mint(&store::secret::ring(db), &subject)?;
    let expires_at = now.plus(expires_in);
    let w = Waitpoint {
        attempt_index: handle.attempt_index,
        suspension: None,
        state: WaitpointState::Pending,
        kid: minted.kid,
        fingerprint: minted.fingerprint,
        expires_at: Some(expires_at),
        subject,
    };
    if let Some(taken) = store::waitpoint::insert(db, &[(&w, &[])], id.is_some()) {
        return Err(exists(taken));
    }
    store::waitpoint::arm(db, &w);
    let details = json!({
        "waitpoint_ids": [w.id()],
        "waitpoint_key": key,
        "expires_at": expires_at.iso(),
    });
    let change = Change::touch(e, now, |e| e.pending_waitpoints += 1).announce(Event::plain(
        Code::SuspensionWaitpointCreated,
        Some(details),
    ));
    save::apply(db, &[change], now);
    Ok(Created {
        id: w.id(),
        key: key.to_owned(),
        token: minted.token,
        expires_at,
    })
}

/// Checks what can be checked before anything is read.
///
/// # Errors
/// `invalid_waitpoint_key`.
pub fn check_key(key: &str) -> Result<()> {
    waitpoint_key(key)
}

/// Refuses more open waitpoints than an execution may have. The execution's own number is only an upper bound.
///
/// # Errors
/// `resource_exhausted`.
pub fn within_limit(db: &Db, e: &crate::model::execution::Execution, more: usize) -> Result<()> {
    let max = i64::from(guc::MAX_OPEN_WAITPOINTS.value.get());
    let more = more as i64;
    if i64::from(e.pending_waitpoints) + more > max
        && store::waitpoint::count_open(db, e.place.id) + more > max
    {
        return Err(Error::new(Kind::ResourceExhausted)
            .say("the execution has as many open waitpoints as it may")
            .with("pool", "open_waitpoints")
            .with("max", max)
            .with("retry_after_ms", 1_000));
    }
    Ok(())
}

/// Refuses chosen ids that are in use.
///
/// # Errors
/// `waitpoint_already_exists`.
pub fn absent(db: &Db, ids: &[Uuid]) -> Result<()> {
    match store::waitpoint::load(db, ids).first() {
        Some(w) => Err(exists(w.id())),
        None => Ok(()),
    }
}

/// `waitpoint_already_exists`.
pub fn exists(id: Uuid) -> Error {
    Error::new(Kind::WaitpointAlreadyExists)
        .say("a waitpoint of this id exists")
        .with("waitpoint_id", id.to_string())
}
