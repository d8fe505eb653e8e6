//! Works through the queue of ended members (§40.3.5), and through one of them by hand (§40.5.5).

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::error::Result;
use crate::guc;
use crate::model::execution::Execution;
use crate::pg::spi::Db;
use crate::store;
use crate::store::cascade::{Entry, Only};
use crate::store::edge::Ended;

use super::super::clock;
use super::ended;
use super::propagate::{Report, Walk};

/// What propagating one member's end has done.
pub struct Advanced {
    /// `advanced` or `noop`.
    pub outcome: &'static str,
    /// What the walk did.
    pub report: Report,
    /// Due edges left.
    pub remaining: i64,
}

fn budget() -> i64 {
    i64::from(guc::CASCADE_EDGE_BATCH.value.get())
}

/// Propagates one member's end now.
pub fn one(db: &Db, id: Uuid) -> Advanced {
    let visible = store::binding::visible(db, &[id]).into_owned();
    let members: Vec<Ended> = store::execution::read(db, &visible)
        .iter()
        .filter_map(ended)
        .collect();
    if store::edge::left(db, &members).is_empty() {
        return Advanced {
            outcome: "noop",
            report: Report::default(),
            remaining: 0,
        };
    }
    let now = clock::now();
    let report = Walk::new(db, now, budget()).run(members);
    let mut unqueued = report.left.clone();
    unqueued.retain(|member| !store::cascade::queued(db, member.id));
    store::cascade::queue(db, &unqueued, now);
    let left = match report.left.is_empty() {
        true => Vec::new(),
        false => store::edge::left(db, &report.left),
    };
    Advanced {
        outcome: "advanced",
        remaining: left.iter().map(|(_, edges)| edges).sum(),
        report,
    }
}

/// What one look at the queue has done.
#[derive(Default)]
pub struct Worked {
    /// Entries whose edges were advanced.
    pub processed: i32,
    /// Entries that had nothing due, or a busy child.
    pub skipped: i32,
    /// Children that failed, with what was said.
    pub failures: Vec<(Uuid, String)>,
}

/// Takes due entries and resolves at most as many of their edges as one transaction may.
///
/// # Errors
/// None: what fails is reported and tried again later.
pub fn work(
    db: &Db,
    only: Only,
    concerns: impl Fn(&Execution) -> bool,
    limit: i64,
) -> Result<Worked> {
    let now = clock::now();
    let entries = store::cascade::take(db, only, now, limit.min(budget()));
    let ids: Vec<Uuid> = entries.iter().map(|e| e.execution).collect();
    let executions = store::execution::read(db, &ids);
    let foreign: BTreeSet<Uuid> = executions
        .iter()
        .filter(|e| !concerns(e))
        .map(|e| e.place.id)
        .collect();
    let mine = entries.iter().filter(|e| !foreign.contains(&e.execution));
    let mine: Vec<Entry> = mine.copied().collect();
    let mut members: Vec<Ended> = executions
        .iter()
        .filter(|e| !foreign.contains(&e.place.id))
        .filter_map(ended)
        .collect();
    let mut seen = BTreeSet::new();
    members.retain(|m| seen.insert(m.id));
    let mut walk = Walk::new(db, now, budget());
    walk.isolated = true;
    let report = walk.run(members);

    let left: BTreeSet<Uuid> = report.left.iter().map(|m| m.id).collect();
    let sort = |wanted: &dyn Fn(&Uuid) -> bool| -> Vec<Entry> {
        mine.iter()
            .filter(|e| wanted(&e.execution))
            .copied()
            .collect()
    };
    store::cascade::done(db, &sort(&|id| !left.contains(id)));
    store::cascade::retry(db, &sort(&|id| report.failed.contains(id)), now);
    store::cascade::defer(
        db,
        &sort(&|id| report.busy.contains(id) && !report.failed.contains(id)),
        now,
    );
    let known: BTreeSet<Uuid> = mine.iter().map(|e| e.execution).collect();
    let fresh: Vec<Ended> = report
        .left
        .iter()
        .filter(|m| !known.contains(&m.id))
        .copied()
        .collect();
    store::cascade::queue(db, &fresh, now);
    let count = |wanted: &dyn Fn(&Uuid) -> bool| sort(wanted).len() as i32;
    let advanced = |id: &Uuid| report.advanced.contains(id);
    let idle = |id: &Uuid| !left.contains(id) || report.busy.contains(id);
    Ok(Worked {
        processed: count(&advanced),
        skipped: count(&|id| !advanced(id) && idle(id)),
        failures: report.failures,
    })
}
