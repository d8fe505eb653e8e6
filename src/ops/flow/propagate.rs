//! What a member's end does to its children (§40.3): at once as far as the settings allow, the rest through a queue.
//!
//! A child that somebody holds is left alone: its edge stays due, and the queue comes back to it. So nobody ever waits
//! because of propagation, and a walk over the graph cannot deadlock with another one, whatever the order of the ids.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use uuid::Uuid;

use crate::guc;
use crate::model::time::Instant;
use crate::model::transition::Change;
use crate::model::words::TerminalOutcome;
use crate::pg::spi::Db;
use crate::pg::{session, subxact};
use crate::store;
use crate::store::edge::Ended;

use super::ended;
use super::step::{self, Due, Effect, Moved};

/// Sources of cancellations whose consequences always go through the queue.
const IN_BULK: [&str; 2] = ["flow_cascade", "sibling_quorum"];

/// Goes on from executions that have just ended. Those outside flows cost a look at one field.
pub fn follow(db: &Db, changes: &[Change], now: Instant) {
    let (mut near, mut bulk) = (Vec::new(), Vec::new());
    for change in changes.iter().filter(|c| c.after.place.flow.is_some()) {
        let of = if in_bulk(change) {
            &mut bulk
        } else {
            &mut near
        };
        of.extend(ended(&change.after).filter(|_| ends(change)));
    }
    spread(db, near, bulk, now);
}

/// Goes on from a child that a step outside a walk has moved.
pub fn after(db: &Db, moved: &Moved, now: Instant) {
    let over = ended(&moved.execution).into_iter().collect();
    match moved.effect {
        Effect::Skipped => spread(db, over, Vec::new(), now),
        Effect::Cancelled => spread(db, Vec::new(), over, now),
        Effect::Released | Effect::AlreadyFired | Effect::None => {}
    }
}

/// Whether a change has ended its execution.
pub fn ends(change: &Change) -> bool {
    change.after.is_terminal() && change.before.as_deref().is_none_or(|b| !b.is_terminal())
}

/// Resolves the edges of ended members as far as that is to be done at once, and queues the rest.
fn spread(db: &Db, near: Vec<Ended>, bulk: Vec<Ended>, now: Instant) {
    if near.is_empty() && bulk.is_empty() {
        return;
    }
    // Under a fixed snapshot there may be edges that it does not show.
    if !session::read_committed() {
        store::cascade::queue(db, &[near, bulk].concat(), now);
        return;
    }
    let mut queued = with_edges(db, bulk);
    let limit = i64::from(guc::INLINE_EDGE_LIMIT.value.get());
    let candidates: Vec<(Ended, Uuid)> = near.into_iter().map(|e| (e, Uuid::nil())).collect();
    let mut widths: BTreeMap<usize, i64> = BTreeMap::new();
    if !candidates.is_empty() {
        for due in store::edge::due(db, &candidates, limit + 1, i64::MAX) {
            *widths.entry(due.place).or_default() += 1;
        }
    }
    let mut near = Vec::new();
    for (place, edges) in widths {
        let Some((member, _)) = candidates.get(place) else {
            continue;
        };
        match edges <= limit {
            true => near.push(*member),
            false => queued.push(*member),
        }
    }
    if !near.is_empty() {
        let mut walk = Walk::new(db, now, limit * near.len() as i64);
        walk.widest = i32::try_from(limit).unwrap_or(i32::MAX);
        // If this raises, the end that it follows from stands, and the queue has it all to do.
        match subxact::attempt(|| walk.run(near.clone())) {
            Ok(report) => queued.extend(report.left),
            Err(_) => queued.extend(near),
        }
    }
    store::cascade::queue(db, &queued, now);
}

fn in_bulk(change: &Change) -> bool {
    let e = &change.after;
    e.vector.outcome == TerminalOutcome::Cancelled
        && e.cancelled_by
            .as_deref()
            .is_some_and(|by| IN_BULK.contains(&by))
}

/// Those that have due edges.
fn with_edges(db: &Db, ended: Vec<Ended>) -> Vec<Ended> {
    if ended.is_empty() {
        return ended;
    }
    let left: BTreeSet<Uuid> = store::edge::left(db, &ended)
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    ended.into_iter().filter(|e| left.contains(&e.id)).collect()
}

/// A breadth-first walk from ended members through those that it skips.
pub struct Walk<'a> {
    db: &'a Db,
    now: Instant,
    /// Edges that may still be resolved.
    budget: i64,
    /// Children with more edges than this are left alone.
    pub widest: i32,
    /// A child whose step raises is undone alone.
    pub isolated: bool,
    report: Report,
}

/// What a walk has done.
#[derive(Default)]
pub struct Report {
    /// Edges resolved.
    pub resolved: i32,
    /// Children released.
    pub released: i32,
    /// Children skipped.
    pub skipped: i32,
    /// Edges left because their child was busy.
    pub deferred: i32,
    /// Children whose step failed, with what was said.
    pub failures: Vec<(Uuid, String)>,
    /// Members with due edges left.
    pub left: Vec<Ended>,
    /// Those of them that have a busy child.
    pub busy: BTreeSet<Uuid>,
    /// Those of them that have a child which failed.
    pub failed: BTreeSet<Uuid>,
    /// Members of which an edge was resolved.
    pub advanced: BTreeSet<Uuid>,
}

impl<'a> Walk<'a> {
    /// A walk that resolves at most so many edges.
    pub fn new(db: &'a Db, now: Instant, budget: i64) -> Walk<'a> {
        Walk {
            db,
            now,
            budget,
            widest: i32::MAX,
            isolated: false,
            report: Report::default(),
        }
    }

    /// Walks from these members on.
    pub fn run(mut self, from: Vec<Ended>) -> Report {
        let mut waiting: VecDeque<(Ended, Uuid)> =
            from.into_iter().map(|e| (e, Uuid::nil())).collect();
        let mut unsure = Vec::new();
        let mut left: BTreeMap<Uuid, Ended> = BTreeMap::new();
        while !waiting.is_empty() && self.budget > 0 {
            let level: Vec<(Ended, Uuid)> = waiting.drain(..).collect();
            let page = self.budget;
            let mut due = store::edge::due(self.db, &level, page + 1, page + 1);
            // Of the last member on a full page, and of those behind it, nobody has seen all edges.
            let cut = (due.len() as i64 > page).then(|| due.split_off(page as usize));
            let first_cut = cut.and_then(|rest| rest.first().map(|d| d.place));
            if let Some(place) = first_cut {
                let seen = due.iter().rev().find(|d| d.place == place).map(|d| d.child);
                for (i, (member, after)) in level.iter().enumerate().skip(place) {
                    let after = seen.filter(|_| i == place).unwrap_or(*after);
                    waiting.push_back((*member, after));
                }
            }
            let (near, wide): (Vec<_>, Vec<_>) =
                due.into_iter().partition(|d| d.width <= self.widest);
            for edge in wide {
                keep(&mut left, &level, edge.place);
            }
            for member in self.level(&level, &near, &mut left) {
                // What a cancelled flow ends goes through the queue.
                match member {
                    (member, Effect::Skipped) => waiting.push_back((member, Uuid::nil())),
                    (member, _) => unsure.push(member),
                }
            }
        }
        unsure.extend(waiting.into_iter().map(|(member, _)| member));
        for member in with_edges(self.db, unsure) {
            left.insert(member.id, member);
        }
        self.report.left = left.into_values().collect();
        self.report
    }

    /// Resolves one page of edges; the members that ended by it.
    fn level(
        &mut self,
        level: &[(Ended, Uuid)],
        edges: &[store::edge::Due],
        left: &mut BTreeMap<Uuid, Ended>,
    ) -> Vec<(Ended, Effect)> {
        let mut of_child: BTreeMap<Uuid, Vec<Due>> = BTreeMap::new();
        for edge in edges {
            if let Some((upstream, _)) = level.get(edge.place) {
                of_child.entry(edge.child).or_default().push(Due {
                    id: edge.id,
                    outcome: upstream.outcome,
                    life: upstream.life,
                });
            }
        }
        let children: Vec<Uuid> = of_child.keys().copied().collect();
        let outcome = self.attempt(&children, &of_child);
        let busy: BTreeSet<Uuid> = outcome.busy.into_iter().collect();
        let failed: BTreeSet<Uuid> = outcome.failed.iter().map(|(id, _)| *id).collect();
        for edge in edges {
            let Some((upstream, _)) = level.get(edge.place) else {
                continue;
            };
            if busy.contains(&edge.child) {
                self.report.deferred += 1;
                self.report.busy.insert(upstream.id);
                keep(left, level, edge.place);
            } else if failed.contains(&edge.child) {
                self.report.failed.insert(upstream.id);
                keep(left, level, edge.place);
            } else {
                self.report.advanced.insert(upstream.id);
            }
        }
        self.report.failures.extend(outcome.failed);
        let mut over = Vec::new();
        for m in outcome.moved {
            self.report.resolved += m.edges as i32;
            self.budget -= m.edges as i64;
            self.report.released += i32::from(m.effect == Effect::Released);
            self.report.skipped += i32::from(m.effect == Effect::Skipped);
            if matches!(m.effect, Effect::Skipped | Effect::Cancelled) {
                over.extend(ended(&m.execution).map(|member| (member, m.effect)));
            }
        }
        over
    }

    /// Steps through children, together if possible.
    fn attempt(&self, children: &[Uuid], due: &BTreeMap<Uuid, Vec<Due>>) -> Outcome {
        let together = |children: &[Uuid]| self.step(children, due);
        if !self.isolated {
            return together(children).unwrap_or_else(|message| Outcome {
                failed: children.iter().map(|id| (*id, message.clone())).collect(),
                ..Outcome::default()
            });
        }
        let alone =
            |children: &[Uuid]| subxact::attempt(|| together(children)).and_then(|done| done);
        if let Ok(done) = alone(children) {
            return done;
        }
        let mut all = Outcome::default();
        for child in children {
            match alone(std::slice::from_ref(child)) {
                Ok(one) => {
                    all.moved.extend(one.moved);
                    all.busy.extend(one.busy);
                }
                Err(message) => all.failed.push((*child, message)),
            }
        }
        all
    }

    fn step(&self, children: &[Uuid], due: &BTreeMap<Uuid, Vec<Due>>) -> Result<Outcome, String> {
        let locked = store::execution::lock_free(self.db, children);
        let free: BTreeSet<Uuid> = locked.iter().map(|e| e.place.id).collect();
        let edges: Vec<Due> = free
            .iter()
            .filter_map(|id| due.get(id))
            .flatten()
            .copied()
            .collect();
        let moved = step::resolve(self.db, locked, &edges, self.now).map_err(|e| e.message())?;
        Ok(Outcome {
            moved,
            busy: children
                .iter()
                .filter(|id| !free.contains(id))
                .copied()
                .collect(),
            failed: Vec::new(),
        })
    }
}

/// What became of the children of one page.
#[derive(Default)]
struct Outcome {
    moved: Vec<Moved>,
    busy: Vec<Uuid>,
    failed: Vec<(Uuid, String)>,
}

/// Remembers that a member has due edges left.
fn keep(left: &mut BTreeMap<Uuid, Ended>, level: &[(Ended, Uuid)], place: usize) {
    if let Some((member, _)) = level.get(place) {
        left.insert(member.id, *member);
    }
}
