//! Hands a worker its live leases again, after it lost a response (§10.11). Changes nothing.

use crate::error::Result;
use crate::model::text;
use crate::pg::spi::Db;
use crate::store;

use super::super::{clock, installation};
use super::row::{Claimed, Input, handle_kind};

/// The live leases of an instance, oldest first, with equal handles.
///
/// # Errors
/// `invalid_input` for malformed names.
pub fn recover(
    db: &Db,
    worker: &str,
    instance: &str,
    namespace: Option<&str>,
) -> Result<Vec<Claimed>> {
    text::identifier("worker", worker)?;
    text::identifier("worker_instance", instance)?;
    if let Some(namespace) = namespace {
        text::identifier("namespace", namespace)?;
    }
    let installation = installation::id(db);
    let held = store::held::by(db, Some(worker), instance, namespace);
    let now = clock::now();
    Ok(held
        .into_iter()
        .filter(|h| h.execution.lease_live(now))
        .map(|h| {
            let input = Input {
                namespace: h.namespace,
                lane: h.lane,
                kind: h.kind,
                payload: h.payload,
                encoding: h.encoding,
                policy: h.policy,
            };
            let kind = handle_kind(&h.execution);
            let execution = Box::new(h.execution);
            Claimed::new(execution, kind, input, h.previous_failure, installation)
        })
        .collect())
}
