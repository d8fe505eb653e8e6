//! Projects the summary of a flow, and closes one whose members have all ended (§40.6).

use serde_json::json;
use uuid::Uuid;

use crate::error::Result;
use crate::guc;
use crate::model::event::{Code, Event};
use crate::model::flow::{Flow, FlowState};
use crate::model::time::{Instant, SECOND};
use crate::pg::spi::Db;
use crate::store;
use crate::store::flow_summary::Counts;

use super::seal;

/// What a projection has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Projected {
    /// A summary has been stored.
    pub stored: bool,
    /// It says something new, or the flow was sealed or closed.
    pub changed: bool,
}

/// Stores the summary of a flow; one that is sealed and over is closed, one that nobody builds on any more is sealed
/// first. With `wait`, the lock of a flow to close is waited for.
///
/// # Errors
/// None of one's own.
pub fn project(db: &Db, id: Uuid, now: Instant, wait: bool) -> Result<Projected> {
    let Some(flow) = store::flow::read(db, &[id]).pop() else {
        return Ok(Projected::default());
    };
    let mut counts = store::flow_summary::count(db, id);
    let mut closed = false;
    if flow.state == FlowState::Open && counts.over() && (flow.sealed || idle(&flow, &counts, now))
    {
        let locked = match wait {
            true => store::flow::lock(db, id),
            false => store::flow::lock_free(db, id),
        };
        if let Some(flow) = locked.filter(|flow| flow.state == FlowState::Open) {
            // Under the lock nobody joins and nobody is replayed, so this count is final.
            counts = store::flow_summary::count(db, id);
            closed = counts.over() && end(db, flow, &counts, now);
            counts = store::flow_summary::count(db, id);
        }
    }
    if counts.total == 0 {
        return Ok(Projected {
            stored: false,
            changed: closed,
        });
    }
    let news = store::flow_summary::project(db, id, &counts, now);
    Ok(Projected {
        stored: true,
        changed: news || closed,
    })
}

/// Whether nobody has built on an unsealed flow for so long that it may be sealed.
fn idle(flow: &Flow, counts: &Counts, now: Instant) -> bool {
    let after = i64::from(guc::FLOW_AUTO_SEAL.value.get());
    after > 0 && counts.total > 0 && flow.last_mutation_at.plus(after * SECOND) <= now
}

/// Ends a locked flow whose members have all ended, sealing it if need be and possible.
fn end(db: &Db, mut flow: Flow, counts: &Counts, now: Instant) -> bool {
    if !flow.sealed {
        if !idle(&flow, counts, now) || seal::whole(db, flow.id).is_err() {
            return false;
        }
        seal::close(db, &mut flow, now);
    }
    let failed = counts.derived == FlowState::Failed.word();
    let (state, code) = match failed {
        true => (FlowState::Failed, Code::OperatorFlowFailed),
        false => (FlowState::Completed, Code::OperatorFlowCompleted),
    };
    flow.state = state;
    flow.terminal_at = Some(counts.last_end.unwrap_or(now));
    store::flow::save(db, &flow);
    let mut details = counts.members.clone();
    details.insert("total_members".to_owned(), json!(counts.total));
    let event = Event::plain(code, Some(details.into()));
    store::event::append_flow(db, now, &flow, &event);
    true
}
