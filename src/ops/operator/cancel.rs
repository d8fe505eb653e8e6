//! Cancels an execution in any phase (§10.18.1): T15.

use uuid::Uuid;

use crate::error::Result;
use crate::model::fence::{self, OVERRIDE, Triple};
use crate::model::text;
use crate::model::transition;
use crate::model::words::{Lifecycle, TerminalOutcome};
use crate::pg::spi::Db;
use crate::store;

use super::super::{clock, save};

/// Sources that may cancel whatever the lease says.
const UNFENCED: [&str; 3] = [OVERRIDE, "flow_cascade", "system_timeout"];

/// Who cancels, and by what right.
pub struct Request<'a> {
    /// Execution.
    pub id: Uuid,
    /// Why.
    pub reason: &'a str,
    /// Source word.
    pub source: &'a str,
    /// Lease, epoch and attempt of the run to cancel.
    pub fence: Triple,
}

/// What became of it: the phase it was cancelled from, and whether it had been before.
pub struct Cancelled {
    /// Old phase word.
    pub from: &'static str,
    /// Already cancelled.
    pub replayed: bool,
}

/// Cancels.
///
/// # Errors
/// `execution_not_found`; `execution_not_active` if it ended otherwise; fence errors for a source that needs one.
pub fn cancel(db: &Db, r: &Request) -> Result<Cancelled> {
    text::reason("reason", r.reason, text::MAX_REASON_BYTES)?;
    fence::check_source(r.source)?;
    let e = store::execution::lock(db, r.id).ok_or_else(|| fence::not_found(r.id))?;
    let now = clock::now();
    let from = e.vector.lifecycle.word();
    if e.is_terminal() {
        return if e.vector.outcome == TerminalOutcome::Cancelled {
            Ok(Cancelled {
                from,
                replayed: true,
            })
        } else {
            Err(fence::not_active(&e))
        };
    }
    if e.vector.lifecycle == Lifecycle::Active && !UNFENCED.contains(&r.source) {
        let fence = fence::whole(r.fence, None)?.ok_or_else(fence::missing)?;
        fence::check(&e, &fence, now)?;
    }
    let change = transition::cancel(e, r.reason, r.source, now);
    save::apply(db, &[change], now);
    Ok(Cancelled {
        from,
        replayed: false,
    })
}
