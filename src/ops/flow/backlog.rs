//! What a cancelled flow owes (§40.8.3, §40.8.4): acknowledged by who cancels from outside, or done here.

use uuid::Uuid;

use crate::guc;
use crate::model::event::{Code, Event};
use crate::model::flow::Flow;
use crate::pg::spi::Db;
use crate::store;
use crate::store::cancel_backlog;

use super::super::clock;
use super::cancel::end;

/// Takes a member off the list; the outcome, and how many are left.
pub fn acknowledge(db: &Db, flow: Uuid, member: Uuid, force: bool) -> (&'static str, i64) {
    let visible = !store::flow::read(db, &[flow]).is_empty();
    if !visible || !cancel_backlog::lock(db, flow) || !cancel_backlog::owes(db, flow, member) {
        let left = if visible {
            cancel_backlog::count(db, flow)
        } else {
            0
        };
        return ("not_pending", left);
    }
    let live = store::execution::read(db, &[member]);
    if !force && live.iter().any(|e| !e.is_terminal()) {
        return ("still_live", cancel_backlog::count(db, flow));
    }
    cancel_backlog::settle(db, flow, &[member]);
    cancel_backlog::close(db, flow);
    ("acked", cancel_backlog::count(db, flow))
}

/// What one pass over a flow's debts did.
#[derive(Default)]
pub struct Pass {
    /// Members that are owed no longer.
    pub settled: usize,
    /// Members that somebody holds.
    pub busy: usize,
    /// Members whose cancellation raised.
    pub failed: usize,
}

/// Cancels members that a flow owes, whose header is locked.
pub fn pay(db: &Db, flow: &Flow) -> Pass {
    let limit = i64::from(guc::CANCEL_MEMBER_BATCH.value.get());
    let now = clock::now();
    let owed = cancel_backlog::members(db, flow.id, now, limit);
    let free = store::execution::lock_free(db, &owed);
    let held: Vec<Uuid> = free.iter().map(|e| e.place.id).collect();
    let missed = owed.iter().filter(|id| held.binary_search(id).is_err());
    let missed: Vec<Uuid> = missed.copied().collect();
    let there = store::execution::read(db, &missed);
    let busy: Vec<Uuid> = there.iter().map(|e| e.place.id).collect();
    let ended = end(db, flow, free);
    let settled = |id: &&Uuid| !busy.contains(id) && !ended.failed.contains(id);
    let settled: Vec<Uuid> = owed.iter().filter(settled).copied().collect();
    cancel_backlog::settle(db, flow.id, &settled);
    if !ended.failed.is_empty() {
        cancel_backlog::postpone(db, flow.id, &ended.failed, now);
    }
    if cancel_backlog::close(db, flow.id) {
        let event = Event::plain(Code::OperatorFlowCancelDrained, None);
        store::event::append_flow(db, clock::now(), flow, &event);
    }
    Pass {
        settled: settled.len(),
        busy: busy.len(),
        failed: ended.failed.len(),
    }
}
