//! Lanes: registered on first use, changed by operators (§10.5).

use serde_json::json;

use crate::error::{Error, Kind, Result};
use crate::model::event::{Code, Event};
use crate::model::lane_name;
use crate::pg::spi::Db;
use crate::pg::{session, xact};
use crate::store;
use crate::store::lane::{Lane, Registration};

use super::clock;
use super::role::namespace::unbound;

/// The lane of a name, registered if nobody has used it.
pub fn ensure(db: &Db, name: &str) -> Lane {
    loop {
        if let Some(lane) = store::lane::find(db, name) {
            return lane;
        }
        register(db, name, "active", None, None);
    }
}

fn register(
    db: &Db,
    name: &str,
    state: &str,
    reason: Option<&str>,
    retention_ms: Option<i64>,
) -> Option<i32> {
    let by = session::user();
    let at = clock::now();
    store::lane::register(
        db,
        &Registration {
            name,
            state,
            reason,
            at,
            by: &by,
            retention_ms,
        },
    )
}

/// Whether a lane in this state hands out work.
pub fn hands_out(state: &str) -> bool {
    !matches!(state, "paused" | "disabled")
}

/// The lane of a number.
pub fn numbered(db: &Db, id: i32) -> Option<Lane> {
    store::lane::find(db, &store::lane::name(db, id)?)
}

/// The number of a namespace, recorded if nobody has used it.
pub fn ensure_namespace(db: &Db, name: &str) -> i32 {
    loop {
        if let Some(id) = store::lane::namespace(db, name) {
            return id;
        }
        store::lane::new_namespace(db, name);
    }
}

/// Registers a lane or changes it; returns the outcome word.
pub fn set(
    db: &Db,
    name: &str,
    state: &str,
    reason: Option<&str>,
    retention_ms: Option<i64>,
) -> Result<&'static str> {
    lane_name::check(name)?;
    unbound()?;
    if !["active", "paused", "draining", "disabled"].contains(&state) {
        return Err(Error::new(Kind::InvalidInput)
            .say("a lane is active, paused, draining or disabled")
            .with("argument", "state")
            .with("rule", "unknown_word"));
    }
    if let Some(reason) = reason {
        crate::model::text::reason("reason", reason, 1024)?;
    }
    if store::lane::find(db, name).is_none()
        && register(db, name, state, reason, retention_ms).is_some()
    {
        return Ok("registered");
    }
    let Some(lane) = store::lane::lock(db, name) else {
        return Err(Error::new(Kind::InvariantViolation).say("a registered lane has vanished"));
    };
    let retention = retention_ms.or(lane.retention_ms);
    if lane.state == state && retention == lane.retention_ms {
        return Ok("unchanged");
    }
    store::lane::update(db, lane.id, state, reason, retention);
    if lane.state != state {
        let details =
            json!({ "lane": name, "old_state": lane.state, "new_state": state, "reason": reason });
        let event = Event::plain(Code::OperatorLaneStateChanged, Some(details));
        store::event::append_global(db, clock::now(), Some(lane.id), None, &event);
        xact::reopened(lane.id);
    }
    Ok("changed")
}
