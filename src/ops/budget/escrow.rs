//! Counters that are spread over stripes (§50.5), with and without a limit.
//!
//! Of a spread limit every stripe has an allotment that it may use without asking, and the pool has the rest. The sum
//! of all is the limit and what was taken back, so no stripe needs to know of another and the limit still holds.

use crate::error::Result;
use crate::model::budget::{Amounts, Budget, spread};
use crate::pg::spi::Db;
use crate::store::budget;
use crate::store::budget::usage::{self, Counter, Pool};

use super::charge::{Breach, Stop, home, sum};

/// One counter per dimension, locked, and with the amounts added.
pub(super) fn take(
    db: &Db,
    b: &Budget,
    amounts: &Amounts,
) -> std::result::Result<Vec<Counter>, Stop> {
    let mut taken = Vec::new();
    for (dimension, delta) in amounts {
        taken.push(match b.escrowed(dimension) {
            Some(limit) => limited(db, b, dimension, *delta, limit)?,
            None => unlimited(db, b, dimension, *delta)?,
        });
    }
    Ok(taken)
}

/// A stripe that nobody holds; if all are held, the home stripe.
fn unlimited(
    db: &Db,
    b: &Budget,
    dimension: &str,
    delta: i64,
) -> std::result::Result<Counter, Stop> {
    let home = home(b);
    let found = usage::take_free(db, b, dimension, home).or_else(|| {
        let there = usage::all(db, b.id, dimension);
        let stripes = (home..b.stripes).chain(0..home);
        let absent = stripes.filter(|s| !there.iter().any(|c| c.stripe == *s));
        if let Some(stripe) = absent.into_iter().next() {
            usage::make(db, b, dimension, stripe, None);
            return usage::lock_one(db, b.id, dimension, stripe);
        }
        usage::lock_one(db, b.id, dimension, home)
    });
    let Some(found) = found.filter(|c| c.period <= b.period) else {
        return Err(Stop::Again);
    };
    let mut counter = found.within(b.period);
    counter.used = sum(counter.used, delta, dimension)?;
    Ok(counter)
}

/// A stripe with room, or one that is given room from the pool and from what other free stripes can spare.
fn limited(
    db: &Db,
    b: &Budget,
    dimension: &str,
    delta: i64,
    limit: i64,
) -> std::result::Result<Counter, Stop> {
    let home = home(b);
    if let Some(mut counter) = usage::take_with_room(db, b, dimension, home, delta) {
        counter.used += delta;
        return Ok(counter);
    }
    let with_room = |c: &Counter| c.period == b.period && c.spare() >= delta;
    let all = usage::all(db, b.id, dimension);
    if let Some(busy) = all.iter().find(|c| with_room(c)) {
        return Err(Stop::Wait(b.id, dimension.to_owned(), busy.stripe));
    }
    let pool = pool(db, b, dimension, limit)?;
    // The limit or the period may have changed while the pool was waited for.
    let now = budget::load(db, &[b.id])?.pop();
    if now.is_none_or(|now| now.period != b.period || now.escrowed(dimension) != Some(limit)) {
        return Err(Stop::Again);
    }
    let free: Vec<Counter> = usage::lock_free(db, b.id, dimension)
        .into_iter()
        .map(|c| c.within(b.period))
        .collect();
    let all = usage::all(db, b.id, dimension);
    let busy: Vec<Counter> = all
        .into_iter()
        .filter(|c| !free.iter().any(|f| f.stripe == c.stripe))
        .map(|c| c.within(b.period))
        .collect();
    let spare = |counters: &[Counter]| counters.iter().map(|c| i128::from(c.spare())).sum::<i128>();
    let within_reach = i128::from(pool.unallotted) + spare(&free);
    if within_reach >= i128::from(delta) && !free.is_empty() {
        let rest = (within_reach - i128::from(delta)) as i64;
        return Ok(rebalance(
            db,
            b,
            dimension,
            (free, home),
            delta,
            Pool {
                unallotted: rest,
                ..pool
            },
        ));
    }
    match busy.first() {
        Some(first) if within_reach + spare(&busy) >= i128::from(delta) => {
            Err(Stop::Wait(b.id, dimension.to_owned(), first.stripe))
        }
        _ => Err(Stop::Breach(Breach {
            budget: b.id,
            dimension: dimension.to_owned(),
            usage: usage::total(db, b, dimension),
            limit,
        })),
    }
}

/// Locks the pool, as it reads in this period: in a new one it has the whole limit.
fn pool(db: &Db, b: &Budget, dimension: &str, limit: i64) -> std::result::Result<Pool, Stop> {
    let pool = usage::lock_pool(db, b, dimension).ok_or(Stop::Again)?;
    match pool.period {
        period if period == b.period => Ok(pool),
        period if period > b.period => Err(Stop::Again),
        _ => Ok(renewed(b, limit)),
    }
}

/// The pool of a new period.
fn renewed(b: &Budget, limit: i64) -> Pool {
    Pool {
        period: b.period,
        unallotted: limit,
        credit: 0,
    }
}

/// Gives one free stripe what it needs and all of them an even share of the rest; the one, with the amount used.
fn rebalance(
    db: &Db,
    b: &Budget,
    dimension: &str,
    (mut free, home): (Vec<Counter>, i32),
    delta: i64,
    pool: Pool,
) -> Counter {
    let (share, rest) = spread(pool.unallotted, free.len());
    usage::write_pool(
        db,
        b.id,
        dimension,
        Pool {
            unallotted: rest,
            ..pool
        },
    );
    let chosen = free
        .iter()
        .position(|c| c.stripe == home)
        .unwrap_or_default();
    for (i, counter) in free.iter_mut().enumerate() {
        counter.used += if i == chosen { delta } else { 0 };
        counter.allotted = Some(counter.used + share);
    }
    usage::write(db, b.id, b.period, &free);
    free.swap_remove(chosen)
}

/// Brings the counters of a dimension in step with a limit that changes, under the budget's own lock.
pub(super) fn change(db: &Db, before: &Budget, after: &Budget, dimension: &str) -> Result<()> {
    let (old, new) = (before.escrowed(dimension), after.escrowed(dimension));
    if old == new {
        return Ok(());
    }
    let Some(pool) = usage::lock_pool(db, after, dimension) else {
        return Ok(());
    };
    let current = pool.period == after.period;
    if let (Some(old), Some(new), true) = (old, new, current)
        && pool.unallotted + (new - old) >= 0
    {
        let unallotted = pool.unallotted + (new - old);
        usage::write_pool(db, after.id, dimension, Pool { unallotted, ..pool });
        return Ok(());
    }
    let mut counters: Vec<Counter> = usage::lock_all(db, after.id, dimension)
        .into_iter()
        .map(|c| c.within(after.period))
        .collect();
    let credit = if current { pool.credit } else { 0 };
    let mut unallotted = 0;
    if let Some(limit) = new {
        for stripe in 0..after.stripes {
            if !counters.iter().any(|c| c.stripe == stripe) {
                usage::make(db, after, dimension, stripe, Some(0));
                counters.extend(usage::lock_one(db, after.id, dimension, stripe));
            }
        }
        let used: i128 = counters.iter().map(|c| i128::from(c.used)).sum();
        let left = (i128::from(limit) + i128::from(credit) - used) as i64;
        let (share, rest) = spread(left, counters.len());
        for counter in &mut counters {
            counter.allotted = Some(counter.used + share);
        }
        unallotted = rest;
    } else {
        for counter in &mut counters {
            counter.allotted = None;
        }
    }
    usage::write(db, after.id, after.period, &counters);
    let pool = Pool {
        period: after.period,
        unallotted,
        credit,
    };
    usage::write_pool(db, after.id, dimension, pool);
    Ok(())
}

/// Takes usage back without touching the stripes that have counted it.
pub(super) fn give_back(db: &Db, b: &Budget, dimension: &str, amount: i64) -> Result<()> {
    let Some(pool) = usage::lock_pool(db, b, dimension) else {
        return Ok(());
    };
    let pool = match b.escrowed(dimension) {
        _ if pool.period == b.period => pool,
        limit => renewed(b, limit.unwrap_or_default()),
    };
    let amount = amount.min(usage::total(db, b, dimension));
    let pool = Pool {
        credit: pool.credit + amount,
        unallotted: pool.unallotted + b.escrowed(dimension).map_or(0, |_| amount),
        ..pool
    };
    usage::write_pool(db, b.id, dimension, pool);
    Ok(())
}
