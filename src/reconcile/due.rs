//! Runs one duty over the due timers: a batch at once, and row by row only after a batch has failed.

use uuid::Uuid;

use crate::error::Result;
use crate::model::due::{self, Duty};
use crate::model::execution::Execution;
use crate::ops::execution::duty::{FIRST, perform, rearm};
use crate::ops::{clock, save};
use crate::pg::jsonb::Jsonb;
use crate::pg::spi::Db;
use crate::pg::subxact;
use crate::store;
use crate::store::timer::Timer;

use super::rest::{self, Row};
use super::{Scope, Tally};

/// Timers looked at in one go.
const PAGE: i64 = 1000;

/// Performs a duty for what is due, in due order.
pub fn run(db: &Db, duty: Duty, scope: &Scope) -> Result<Tally> {
    let mut tally = Tally::default();
    if scope.limit == 0 {
        return Ok(tally);
    }
    store::timer::retire(db, clock::now(), PAGE as usize);
    let Some(namespace) = namespace(db, scope) else {
        return Ok(tally);
    };
    let resting = scope.resting();
    let mut after = FIRST;
    loop {
        let mut timers = store::timer::due(db, clock::now(), after, PAGE);
        let Some(last) = timers.last() else {
            // What failed is still due.
            tally.remaining = tally.errors > 0;
            return Ok(tally);
        };
        after = (last.due_at, last.id);
        timers.retain(|t| !resting.contains_key(&Row::Execution(t.id)));
        if timers.is_empty() {
            continue;
        }
        let wanted = (scope.limit - i64::from(tally.processed)) as usize;
        let page = Page {
            db,
            duty,
            scope,
            namespace,
            wanted,
        };
        let done = match page.attempt(&timers) {
            Ok(done) => done,
            Err(_) => page.one_by_one(&timers),
        };
        tally.processed += done.processed;
        tally.skipped += done.skipped;
        tally.errors += done.errors;
        if done.remaining {
            return Ok(Tally {
                remaining: true,
                ..tally
            });
        }
    }
}

/// A page of due timers on its way.
struct Page<'a> {
    db: &'a Db,
    duty: Duty,
    scope: &'a Scope,
    namespace: Option<i32>,
    wanted: usize,
}

impl Page<'_> {
    /// Handles all timers, in a subtransaction of its own.
    fn attempt(&self, timers: &[Timer]) -> std::result::Result<Tally, String> {
        subxact::attempt(|| self.handle(timers)).and_then(|result| result.map_err(|e| e.message()))
    }

    /// Handles timer after timer, so that one bad row does not stop the others.
    fn one_by_one(&self, timers: &[Timer]) -> Tally {
        let mut tally = Tally::default();
        for timer in timers {
            if tally.processed as usize >= self.wanted {
                tally.remaining = true;
                break;
            }
            match self.attempt(std::slice::from_ref(timer)) {
                Ok(done) => {
                    tally.processed += done.processed;
                    tally.skipped += done.skipped;
                }
                Err(message) => {
                    tally.errors += 1;
                    rest::report(Row::Execution(timer.id), &message);
                }
            }
        }
        tally
    }

    fn handle(&self, timers: &[Timer]) -> Result<Tally> {
        let ids: Vec<Uuid> = timers.iter().map(|t| t.id).collect();
        // What is due for another duty is that duty's to lock.
        let seen = clock::now();
        let mine = |e: &Execution| due::is_due(e, self.duty, seen) || due::duty(e, seen).is_none();
        let executions = store::execution::lock_wanted(self.db, &ids, mine);
        let now = clock::now();
        let (mut due, idle): (Vec<Execution>, Vec<Execution>) =
            executions.into_iter().partition(|e| {
                due::is_due(e, self.duty, now) && concerns(e, self.scope, self.namespace)
            });
        // In the order of their timers, not of their ids.
        due.sort_by_key(|e| timers.iter().position(|t| t.id == e.place.id));
        let remaining = due.len() > self.wanted;
        due.truncate(self.wanted);
        let early: Vec<&Execution> = idle
            .iter()
            .filter(|e| due::duty(e, now).is_none())
            .collect();
        let skipped = early.iter().filter(|e| !e.is_terminal()).count() as i32;

        let processed = due.len() as i32;
        let changes = perform(self.db, due, now, self.duty)?;
        save::apply(self.db, &changes, now);
        rearm(
            self.db,
            timers,
            changes.iter().map(|c| &*c.after).chain(early),
        );
        Ok(Tally {
            processed,
            skipped,
            errors: 0,
            remaining,
        })
    }
}

/// The namespace a run is restricted to: `Some(None)` for all, `None` if nobody has used the name.
pub(super) fn namespace(db: &Db, scope: &Scope) -> Option<Option<i32>> {
    match &scope.namespace {
        Some(name) => store::lane::namespace(db, name).map(Some),
        None => Some(None),
    }
}

/// Whether a run's restrictions, and the roles that call it, admit an execution.
pub(super) fn concerns(e: &Execution, scope: &Scope, namespace: Option<i32>) -> bool {
    let (low, high) = scope.partitions;
    (low..=high).contains(&e.place.partition)
        && namespace.is_none_or(|n| n == e.place.namespace)
        && store::binding::admits(e.place.namespace)
        && contains(e, &scope.tags)
}

/// Whether an execution's tags contain all of these.
fn contains(e: &Execution, tags: &serde_json::Map<String, serde_json::Value>) -> bool {
    if tags.is_empty() {
        return true;
    }
    let Some(own) = e.tags.clone() else {
        return false;
    };
    let own = Jsonb::from(own).parse();
    tags.iter().all(|(key, value)| own.get(key) == Some(value))
}
