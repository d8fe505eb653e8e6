//! Takes back what an execution has spent (§50.4).

use uuid::Uuid;

use crate::error::Result;
use crate::model::budget::Amounts;
use crate::pg::spi::Db;
use crate::store;
use crate::store::attachment;
use crate::store::budget::{self, ledger, usage};

use super::super::limit::attach;
use super::{define, escrow};

/// Takes back exactly what is attributed to the execution; what was spent in this period, none if nothing was.
///
/// # Errors
/// `budget_not_found`.
pub fn release(db: &Db, id: Uuid, execution: Uuid) -> Result<Option<Amounts>> {
    let mut b = budget::load(db, &[id])?
        .pop()
        .ok_or_else(|| budget::not_found(id))?;
    if store::binding::mine().is_some() && store::execution::look(db, execution).is_none() {
        return Ok(None);
    }
    let marked = b.breached_at.is_some() || b.soft_breached_at.is_some();
    if marked {
        b = budget::lock(db, id)?;
    }
    let spent = ledger::lock(db, id, execution);
    if spent.is_empty() {
        return Ok(None);
    }
    ledger::erase(db, id, execution);
    let current: Amounts = spent
        .into_iter()
        .filter(|(_, period, amount)| *period == b.period && *amount > 0)
        .map(|(dimension, _, amount)| (dimension, amount))
        .collect();
    if b.stripes > 1 {
        for (dimension, amount) in &current {
            escrow::give_back(db, &b, dimension, *amount)?;
        }
    } else if !current.is_empty() {
        let counters: Vec<_> = usage::lock_plain(db, &b, &current)
            .into_iter()
            .filter(|c| c.period == b.period)
            .map(|mut c| {
                c.used -= current
                    .get(&c.dimension)
                    .copied()
                    .unwrap_or_default()
                    .min(c.used);
                c
            })
            .collect();
        usage::write(db, id, b.period, &counters);
    }
    if marked {
        define::settle(db, &mut b);
    }
    attach::reopen(&attachment::lanes(db, id));
    Ok(Some(current))
}
