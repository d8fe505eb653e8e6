//! What time does to budgets (§50.10): resets, cancellations under breached ones, and repair of counters.

use uuid::Uuid;

use crate::error::Result;
use crate::guc;
use crate::model::budget::Action;
use crate::ops::budget::enforce::{self, Targets};
use crate::ops::budget::{repair, reset};
use crate::ops::clock;
use crate::pg::spi::Db;
use crate::store::budget;

use super::due::{concerns, namespace};
use super::rest::Row;
use super::{Scope, Tally, batch};

fn row(id: &Uuid) -> Row {
    Row::Budget(*id)
}

/// Begins the next period of budgets whose period has ended. Budgets have no namespace and no tags, so those filters
/// do not apply.
pub fn reset(db: &Db, scope: &Scope) -> Result<Tally> {
    let mut due = budget::reset_due(db, clock::now(), scope.limit + 1);
    let remaining = due.len() as i64 > scope.limit;
    due.truncate(scope.limit.max(0) as usize);
    if due.is_empty() {
        return Ok(Tally::default());
    }
    let tally = batch::handle(scope, &due, row, |ids| {
        let mut tally = Tally::default();
        for id in ids {
            match reset::scheduled(db, *id)? {
                Some(true) => tally.processed += 1,
                Some(false) => tally.skipped += 1,
                None => {}
            }
        }
        Ok(tally)
    });
    Ok(Tally { remaining, ..tally })
}

/// Cancels what is under breached budgets that say so, waiting executions first.
pub fn enforce(db: &Db, scope: &Scope) -> Result<Tally> {
    let mut tally = Tally::default();
    let Some(namespace) = namespace(db, scope) else {
        return Ok(tally);
    };
    let most = i64::from(guc::BUDGET_ENFORCE_BATCH.value.get()).min(scope.limit);
    for id in budget::to_cancel(db) {
        let left = most - i64::from(tally.processed);
        if left <= 0 {
            tally.remaining |= scope.limit > 0;
            break;
        }
        let done = batch::handle(scope, &[id], row, |_| {
            let mine = |e: &_| concerns(e, scope, namespace);
            let swept = enforce::over(db, id, Action::Cancel, Targets::All, left, mine);
            let cancelled = swept.rows.iter().filter(|(_, word)| *word == "cancelled");
            Ok(Tally {
                processed: cancelled.count() as i32,
                skipped: 0,
                errors: 0,
                remaining: swept.more,
            })
        });
        tally.processed += done.processed;
        tally.errors += done.errors;
        tally.remaining |= done.remaining;
    }
    Ok(tally)
}

/// Repairs what contradicts the limits, corrects what is marked as breached, and forgets lapsed keys.
pub fn counters(db: &Db, scope: &Scope) -> Result<Tally> {
    let mut tally = Tally::default();
    if scope.limit == 0 {
        return Ok(tally);
    }
    tally.processed = budget::ledger::forget_keys(db, clock::now(), scope.limit) as i32;
    let mut after = Uuid::nil();
    loop {
        let page = budget::page(db, after, PAGE);
        let Some(last) = page.last() else {
            return Ok(tally);
        };
        after = *last;
        let done = batch::handle(scope, &page, row, |ids| {
            let mut tally = Tally::default();
            for id in ids {
                tally.processed += repair::repair(db, *id)?;
            }
            Ok(tally)
        });
        tally.processed += done.processed;
        tally.errors += done.errors;
    }
}

/// Budgets looked at in one go.
const PAGE: i64 = 500;
