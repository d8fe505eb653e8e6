//! Makes executions eligible again that a budget or a quota held back, once there is room (§50.9).
//!
//! Every policy is asked once. A budget with room lets all go that wait for it; a quota as many as it has room for,
//! without those it has let go and that are still on their way to a worker.

use std::collections::HashMap;

use uuid::Uuid;

use crate::error::Result;
use crate::model::due::Position;
use crate::model::execution::Execution;
use crate::model::time::{Instant, SECOND};
use crate::model::transition::{self, Change};
use crate::model::words::Eligibility;
use crate::ops::flow::gate::Gates;
use crate::ops::quota::admit::{DEFAULT, would_deny};
use crate::ops::{clock, save};
use crate::pg::spi::Db;
use crate::store;
use crate::store::attachment::{self, Policy};
use crate::store::budget::room;
use crate::store::denied::{self, Holder};
use crate::store::quota;
use crate::store::ready::HEAD;

use super::due::concerns;
use super::rest::Row;
use super::{Scope, Tally, batch};

/// Executions looked at in one go.
const PAGE: i64 = 1000;
/// How long one that a quota has let go counts as on its way, microseconds.
const ON_ITS_WAY: i64 = 5 * SECOND;

/// A run: what it is restricted to, and what it has done.
struct Run<'a> {
    db: &'a Db,
    scope: &'a Scope,
    namespace: Option<i32>,
    tally: Tally,
}

/// T25 in claim order, policy by policy.
pub fn run(db: &Db, scope: &Scope, namespace: Option<i32>, tally: Tally) -> Result<Tally> {
    let mut run = Run {
        db,
        scope,
        namespace,
        tally,
    };
    for holder in denied::holders(db) {
        if run.left() <= 0 {
            run.tally.remaining = true;
            break;
        }
        run.holder(holder);
    }
    Ok(run.tally)
}

impl Run<'_> {
    fn left(&self) -> i64 {
        self.scope.limit - i64::from(self.tally.processed)
    }

    /// What one policy holds back. If asking it fails, all of that stays as it is.
    fn holder(&mut self, holder: Holder) {
        let asked = batch::handle(self.scope, &[holder], row, |_| {
            let room = room_of(self.db, holder)?;
            Ok(Tally {
                processed: i32::try_from(room).unwrap_or(i32::MAX),
                ..Tally::default()
            })
        });
        self.tally.errors += asked.errors;
        if asked.errors > 0 {
            return;
        }
        match (holder, i64::from(asked.processed)) {
            (Holder::Caller, _) => self.by_callers(),
            (_, 0) => self.estranged(holder),
            (_, room) => self.let_go(holder, room),
        }
    }

    /// Those that wait for a policy without room which does not concern them any more.
    fn estranged(&mut self, holder: Holder) {
        if !attachment::was_detached(self.db, holder.id()) {
            return;
        }
        let left = self.left();
        let page = denied::estranged(self.db, holder.id(), left);
        self.handle(&page, |_| true, transition::unblock);
        if (page.len() as i64) < left {
            attachment::settled(self.db, holder.id());
        }
    }

    /// As many as there is room for, in claim order.
    fn let_go(&mut self, holder: Holder, room: i64) {
        let until = match holder {
            // A budget that has room has it for whoever waits, whenever that was to be looked at again.
            Holder::Budget(_) => Instant::INFINITY,
            _ => clock::now(),
        };
        let (mut after, mut room) = (HEAD, room);
        while room > 0 {
            if self.left() <= 0 {
                self.tally.remaining = true;
                return;
            }
            let limit = room.min(self.left()).min(PAGE);
            let page = denied::page(self.db, holder, after, until, limit);
            let Some(last) = page.last() else { return };
            after = *last;
            let mine = |e: &Execution| e.blocked_by_policy == Some(holder.id());
            room -= self.handle(&page, mine, |e, now| match holder {
                Holder::Quota(id) => transition::offer(e, id, now.plus(ON_ITS_WAY), now),
                _ => transition::unblock(e, now),
            });
        }
    }

    /// Those that callers blocked: everything of that kind that concerns them must have room, and something must
    /// concern them, for what the engine knows nothing of only a caller can lift.
    fn by_callers(&mut self) {
        let (db, mut after) = (self.db, HEAD);
        let mut known: HashMap<Policy, bool> = HashMap::new();
        while self.left() > 0 {
            let page = denied::page(db, Holder::Caller, after, clock::now(), PAGE);
            let Some(last) = page.last() else { return };
            after = *last;
            let ids: Vec<Uuid> = page.iter().map(|p| p.id).collect();
            let executions: HashMap<Uuid, Execution> = ids
                .iter()
                .filter_map(|id| Some((*id, store::execution::peek(db, *id)?)))
                .collect();
            let mut free = Vec::new();
            for place in page {
                let Some(e) = executions.get(&place.id) else {
                    continue;
                };
                if self.has_room(e, &mut known) {
                    free.push(place);
                }
            }
            free.truncate(self.left() as usize);
            let theirs = |e: &Execution| e.blocked_by_policy.is_none();
            self.handle(&free, theirs, transition::unblock);
        }
    }

    /// Whether every policy of the kind that a caller named has room, and there is one.
    fn has_room(&mut self, e: &Execution, known: &mut HashMap<Policy, bool>) -> bool {
        let db = self.db;
        let lane = store::lane::name(db, e.place.lane).unwrap_or_default();
        let namespace = store::lane::namespace_name(db, e.place.namespace).unwrap_or_default();
        let all = attachment::effective(db, &e.place, e.limited, &lane, &namespace);
        let budgets = e.vector.eligibility == Eligibility::Budget;
        let mut asked: Vec<Policy> = all;
        asked.retain(|p| p.budget().is_some() == budgets);
        !asked.is_empty()
            && asked.iter().all(|policy| {
                *known.entry(*policy).or_insert_with(|| {
                    let holder = match policy {
                        Policy::Budget(id) => Holder::Budget(*id),
                        Policy::Quota(id) => Holder::Quota(*id),
                    };
                    let asked = batch::handle(self.scope, &[holder], row, |_| {
                        Ok(Tally {
                            processed: i32::from(room_of(db, holder)? > 0),
                            ..Tally::default()
                        })
                    });
                    self.tally.errors += asked.errors;
                    asked.processed > 0
                })
            })
    }

    /// Locks those of a page that nobody holds, and lets those go that are meant; how many.
    fn handle(
        &mut self,
        page: &[Position],
        meant: impl Fn(&Execution) -> bool,
        free: impl Fn(Execution, Instant) -> Change,
    ) -> i64 {
        if page.is_empty() {
            return 0;
        }
        let row = |p: &Position| Row::Execution(p.id);
        let done = batch::handle(self.scope, page, row, |page| {
            let ids: Vec<Uuid> = page.iter().map(|p| p.id).collect();
            let locked = store::execution::lock_free(self.db, &ids);
            let now = clock::now();
            let found = locked.len();
            let waits = |e: &Execution| {
                let held = matches!(
                    e.vector.eligibility,
                    Eligibility::Budget | Eligibility::Quota
                );
                held && concerns(e, self.scope, self.namespace) && meant(e)
            };
            let waiting: Vec<Execution> = locked.into_iter().filter(waits).collect();
            let gates = Gates::of(self.db, &waiting);
            let changes: Vec<Change> = waiting
                .into_iter()
                .map(|e| gates.open(self.db, e, now, &free))
                .collect();
            save::apply(self.db, &changes, now);
            Ok(Tally {
                processed: changes.len() as i32,
                skipped: (found - changes.len()) as i32,
                ..Tally::default()
            })
        });
        self.tally.processed += done.processed;
        self.tally.skipped += done.skipped;
        self.tally.errors += done.errors;
        i64::from(done.processed)
    }
}

fn row(holder: &Holder) -> Row {
    Row::Waiting(holder.id())
}

/// How many executions a policy has room for; a budget for any number or none.
fn room_of(db: &Db, holder: Holder) -> Result<i64> {
    match holder {
        Holder::Caller => Ok(0),
        Holder::Budget(id) => {
            let free = room::full(db, &[id]).is_empty();
            Ok(if free { i64::MAX } else { 0 })
        }
        Holder::Quota(id) => {
            let Some(q) = quota::load(db, &[id])?.pop() else {
                return Ok(0);
            };
            if would_deny(db, &q).is_some() {
                return Ok(0);
            }
            let now = clock::now();
            let mut room = i64::MAX;
            if q.limits.concurrent > 0 {
                room = quota::free_slots(db, id);
            }
            if q.limits.requests > 0 {
                room = room.min(quota::rested(db, &q, DEFAULT, now, q.limits.requests));
            }
            if room == i64::MAX {
                return Ok(room);
            }
            Ok((room - denied::on_their_way(db, id, now)).max(0))
        }
    }
}
