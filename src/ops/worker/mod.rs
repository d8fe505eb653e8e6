//! The registry of workers (§10.19): who says it is there, for which lanes, with which capabilities.

use serde_json::json;

use crate::error::Result;
use crate::model::event::{Code, Event};
use crate::model::text;
use crate::model::time::Instant;
use crate::pg::spi::Db;
use crate::store;
use crate::store::worker::Seat;

pub mod heartbeat;
pub mod mark_dead;
pub mod register;

/// Checks the names of an instance.
///
/// # Errors
/// `invalid_input`.
fn check(instance: &str, namespace: &str) -> Result<()> {
    text::identifier("worker_instance", instance)?;
    text::identifier("namespace", namespace)
}

/// The place of an instance in the registry, none in a namespace that nobody has used or the caller does not see.
fn find(db: &Db, instance: &str, namespace: &str) -> Option<Seat> {
    let namespace = store::lane::namespace(db, namespace)?;
    store::binding::admits(namespace).then(|| Seat {
        namespace,
        instance: instance.to_owned(),
    })
}

/// Announces a change of the registry.
pub fn announce(
    db: &Db,
    now: Instant,
    code: Code,
    seat: &Seat,
    worker: &str,
    reason: Option<&str>,
) {
    let mut details = json!({ "worker": worker, "worker_instance": seat.instance });
    if let Some(reason) = reason {
        details["reason"] = reason.into();
    }
    let event = Event::plain(code, Some(details));
    store::event::append_global(db, now, None, Some(seat.namespace), &event);
}
