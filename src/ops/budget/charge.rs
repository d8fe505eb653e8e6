//! Charges usage to budgets (§50.4, §50.5): all of them or none.
//!
//! Every attempt is a subtransaction. It is undone if a limit rejects the report, or if it would have to wait for a
//! counter out of order; so a failed attempt holds no lock, and whoever waits holds nothing that others wait for.

use std::collections::BTreeSet;

use serde_json::json;
use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::guc;
use crate::model::budget::{Action, Amounts, Budget, Crossed, invalid};
use crate::model::event::{Code, Event};
use crate::model::time::{Instant, SECOND};
use crate::pg::spi::Db;
use crate::pg::{process, trial};
use crate::store::budget::usage::Counter;
use crate::store::budget::{self, ledger, usage};
use crate::store::event;

use super::super::clock;
use super::escrow;

/// Attempts of one report before it gives up.
const ROUNDS: usize = 100;

/// What is to be charged.
pub struct Report<'a> {
    /// Budgets, ascending.
    pub budgets: &'a [Uuid],
    /// What was used.
    pub amounts: &'a Amounts,
    /// The report counts once per budget.
    pub key: Option<&'a str>,
    /// The spend is attributed to this execution.
    pub cause: Option<Uuid>,
}

/// What became of it for one budget.
#[derive(Clone, Debug)]
pub struct Charged {
    /// Outcome word.
    pub outcome: &'static str,
    /// The budget.
    pub budget: Uuid,
    /// The dimension whose limit is meant, its usage, and the limit.
    pub limit: Option<(String, i64, i64)>,
    /// What the budget does about a hard breach.
    pub action: Option<Action>,
}

impl Charged {
    fn plain(budget: Uuid, outcome: &'static str) -> Charged {
        Charged {
            outcome,
            budget,
            limit: None,
            action: None,
        }
    }

    /// Whether the usage counts.
    pub fn applied(&self) -> bool {
        matches!(self.outcome, "ok" | "soft_breach")
    }
}

/// Why an attempt is undone.
pub(super) enum Stop {
    /// A limit rejects the report.
    Breach(Breach),
    /// The counter of this budget, dimension and stripe is busy.
    Wait(Uuid, String, i32),
    /// The budget's own row is to be written, and comes before its counters.
    Hold(Uuid),
    /// A counter of this budget is missing, and others are held that come after it.
    Make(Uuid),
    /// What was read has been overtaken.
    Again,
    /// An error.
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error)
    }
}

/// The limit that rejects a report.
pub(super) struct Breach {
    pub budget: Uuid,
    pub dimension: String,
    pub usage: i64,
    pub limit: i64,
}

/// The stripe that this session prefers.
pub(super) fn home(b: &Budget) -> i32 {
    (process::number() % b.stripes.max(1) as usize) as i32
}

/// Charges a report.
///
/// # Errors
/// `budget_not_found`; `invalid_budget_spec` if a counter would overflow; `retry_exhausted`.
pub fn charge(db: &Db, report: &Report) -> Result<Vec<Charged>> {
    if report.amounts.is_empty() {
        let ok = |id: &Uuid| Charged::plain(*id, "ok");
        return Ok(report.budgets.iter().map(ok).collect());
    }
    let (mut held, mut made) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..ROUNDS {
        let round = Round {
            db,
            report,
            held: &held,
            made: &made,
        };
        match trial::attempt(|| round.run()) {
            Ok(charged) => return Ok(charged),
            Err(Stop::Failed(error)) => return Err(error),
            Err(Stop::Again) => {}
            Err(Stop::Hold(budget)) => {
                held.insert(budget);
            }
            Err(Stop::Make(budget)) => {
                made.insert(budget);
            }
            Err(Stop::Wait(budget, dimension, stripe)) => {
                let _ = trial::attempt(|| {
                    usage::lock_one(db, budget, &dimension, stripe);
                    Err::<(), ()>(())
                });
            }
            Err(Stop::Breach(breach)) => return rejected(db, report, breach),
        }
    }
    Err(Error::new(Kind::RetryExhausted).with("rounds", ROUNDS))
}

/// One attempt.
struct Round<'a> {
    db: &'a Db,
    report: &'a Report<'a>,
    /// Budgets whose own row is locked first.
    held: &'a BTreeSet<Uuid>,
    /// Budgets whose missing counters are made.
    made: &'a BTreeSet<Uuid>,
}

impl Round<'_> {
    fn run(&self) -> std::result::Result<Vec<Charged>, Stop> {
        let now = clock::now();
        let mut fresh = Vec::new();
        for id in self.report.budgets {
            let until = now.plus(i64::from(guc::USAGE_DEDUP_TTL.value.get()) * SECOND);
            let consumed = |key| ledger::consume(self.db, *id, key, now, until);
            fresh.push(self.report.key.is_none_or(consumed));
        }
        let mut charged = Vec::new();
        for (id, fresh) in self.report.budgets.iter().zip(fresh) {
            charged.push(if fresh {
                self.one(*id, now)?
            } else {
                Charged::plain(*id, "already_applied")
            });
        }
        Ok(charged)
    }

    /// A budget, with its own row locked if that is to be written and nobody else holds it.
    fn load(&self, id: Uuid) -> Result<(Budget, bool)> {
        if self.held.contains(&id)
            && let Some(locked) = budget::lock_free(self.db, id)?
        {
            return Ok((locked, true));
        }
        let found = budget::load(self.db, &[id])?.pop();
        found
            .map(|b| (b, false))
            .ok_or_else(|| budget::not_found(id))
    }

    fn one(&self, id: Uuid, now: Instant) -> std::result::Result<Charged, Stop> {
        let (mut b, locked) = self.load(id)?;
        if let Some(cause) = self.report.cause {
            ledger::attribute(self.db, id, cause, b.period, self.report.amounts);
        }
        let counters = if b.stripes > 1 {
            escrow::take(self.db, &b, self.report.amounts)?
        } else {
            let period = b.period;
            let amounts = self.report.amounts;
            let counters = if self.made.contains(&id) {
                usage::make_plain(self.db, &b, amounts)
            } else {
                usage::lock_plain(self.db, &b, amounts)
            };
            if counters.len() < amounts.len() {
                return Err(Stop::Make(id));
            }
            // Limits may have changed while the counters were waited for.
            b = self.load(id)?.0;
            if b.period != period || counters.iter().any(|c| c.period > period) {
                return Err(Stop::Again);
            }
            self.add(&b, counters)?
        };
        usage::write(self.db, id, b.period, &counters);
        match self.crossed(&b, &counters) {
            None => Ok(Charged::plain(id, "ok")),
            Some((counter, usage, crossed)) => {
                self.note(&mut b, locked, (counter, usage, crossed), now)?;
                Ok(Charged {
                    outcome: "soft_breach",
                    limit: Some((counter.dimension.clone(), usage, crossed.limit)),
                    ..Charged::plain(id, "")
                })
            }
        }
    }

    /// The counters after the report, if no limit rejects it.
    fn add(&self, b: &Budget, counters: Vec<Counter>) -> std::result::Result<Vec<Counter>, Stop> {
        let added = |c: Counter| {
            let mut c = c.within(b.period);
            let delta = self.report.amounts.get(&c.dimension).copied();
            let after = sum(c.used, delta.unwrap_or_default(), &c.dimension)?;
            match b.strict_limit(&c.dimension) {
                Some(limit) if after > limit => Err(Stop::Breach(Breach {
                    budget: b.id,
                    usage: c.used,
                    limit,
                    dimension: c.dimension,
                })),
                _ => {
                    c.used = after;
                    Ok(c)
                }
            }
        };
        counters.into_iter().map(added).collect()
    }

    /// The first dimension whose new usage exceeds a limit that does not reject.
    fn crossed<'c>(
        &self,
        b: &Budget,
        counters: &'c [Counter],
    ) -> Option<(&'c Counter, i64, Crossed)> {
        counters.iter().find_map(|c| {
            b.crossed(&c.dimension, i64::MAX)?;
            let usage = if b.stripes > 1 {
                usage::total(self.db, b, &c.dimension)
            } else {
                c.used
            };
            Some((c, usage, b.crossed(&c.dimension, usage)?))
        })
    }

    /// Counts a crossing, and announces the first one of a period.
    fn note(
        &self,
        b: &mut Budget,
        locked: bool,
        (counter, usage, crossed): (&Counter, i64, Crossed),
        now: Instant,
    ) -> std::result::Result<(), Stop> {
        usage::count_crossing(self.db, b, counter, crossed.hard.then_some(now));
        if b.soft_breached_at.is_some() {
            return Ok(());
        }
        if !self.held.contains(&b.id) {
            return Err(Stop::Hold(b.id));
        }
        // A reset, or whoever else holds it, is not waited for: the next crossing is noted.
        if !locked {
            return Ok(());
        }
        b.soft_breached_at = Some(now);
        budget::set_breaches(self.db, b);
        if b.warns {
            let code = Code::OperatorBudgetSoftBreach;
            announce(
                self.db,
                code,
                b,
                &counter.dimension,
                usage,
                crossed.limit,
                now,
            );
        }
        Ok(())
    }
}

/// A counter after a delta.
///
/// # Errors
/// `invalid_budget_spec`, rule `overflow`.
pub(super) fn sum(used: i64, delta: i64, dimension: &str) -> Result<i64> {
    let sum = used.checked_add(delta);
    sum.ok_or_else(|| invalid("overflow").with("dimension", dimension))
}

/// Counts a rejection, and announces the first one of a period.
fn rejected(db: &Db, report: &Report, breach: Breach) -> Result<Vec<Charged>> {
    let mut b = budget::load(db, &[breach.budget])?
        .pop()
        .ok_or_else(|| budget::not_found(breach.budget))?;
    // A reset, or whoever else holds its row, is not waited for: the next breach is noted.
    let locked = match b.breached_at {
        None => budget::lock_free(db, breach.budget)?,
        Some(_) => None,
    };
    let now = clock::now();
    let first = locked.as_ref().is_some_and(|b| b.breached_at.is_none());
    b = locked.unwrap_or(b);
    if first {
        b.breached_at = Some(now);
        budget::set_breaches(db, &b);
    }
    usage::count_breach(db, &b, &breach.dimension, home(&b), now);
    if first {
        let code = Code::OperatorBudgetHardBreach;
        let (usage, limit) = (breach.usage, breach.limit);
        announce(db, code, &b, &breach.dimension, usage, limit, now);
    }
    let answer = |id: &Uuid| {
        if *id != breach.budget {
            return Charged::plain(*id, "not_applied");
        }
        Charged {
            outcome: "hard_breach",
            budget: *id,
            limit: Some((breach.dimension.clone(), breach.usage, breach.limit)),
            action: Some(b.action),
        }
    };
    Ok(report.budgets.iter().map(answer).collect())
}

fn announce(
    db: &Db,
    code: Code,
    b: &Budget,
    dimension: &str,
    usage: i64,
    limit: i64,
    now: Instant,
) {
    let mut details = json!({
        "budget_id": b.id,
        "dimension": dimension,
        "usage": usage,
        "limit": limit,
        "period": b.period,
    });
    if code == Code::OperatorBudgetHardBreach {
        details["action"] = b.action.word().into();
    }
    event::append_global(db, now, None, None, &Event::plain(code, Some(details)));
}
