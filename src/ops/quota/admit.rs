//! Takes a token and a slot of a quota policy for the start of an execution, or says why not.

use uuid::Uuid;

use crate::error::Result;
use crate::model::quota::{Denial, Quota};
use crate::model::text;
use crate::model::time::Instant;
use crate::pg::spi::Db;
use crate::store::quota::{self, Token};

use super::super::clock;

/// The ring of tokens that claims take from.
pub const DEFAULT: &str = "default";

/// What a policy says.
pub enum Verdict {
    /// It has admitted this start before.
    Already,
    /// It admits it now.
    Admitted(Taken),
    /// It does not.
    Denied(Denial),
}

/// What an admission took.
#[derive(Default)]
pub struct Taken {
    token: Option<Token>,
    slot: bool,
}

/// Asks a policy for the start of an execution. A denial takes nothing.
pub fn ask(db: &Db, q: &Quota, execution: Uuid, dimension: &str) -> Verdict {
    let now = clock::now();
    let (rate, cap) = (q.limits.requests > 0, q.limits.concurrent > 0);
    if !rate && !cap {
        return Verdict::Admitted(Taken::default());
    }
    if cap && quota::holds(db, q.id, execution) {
        return Verdict::Already;
    }
    let since = q.limits.cutoff(now);
    let used = rate && quota::started(db, q.id, execution, dimension, since);
    if used && !cap {
        return Verdict::Already;
    }
    if let Some(denial) = peek(db, q, dimension, now, rate && !used) {
        return Verdict::Denied(denial);
    }
    let mut taken = Taken::default();
    if rate && !used {
        let take = || quota::take_token(db, q, dimension, execution, now);
        taken.token = take().or_else(|| {
            let (ring, _) = quota::peek(db, q.id, dimension);
            ring.is_none().then(|| quota::make_ring(db, q, dimension))?;
            take()
        });
        if taken.token.is_none() {
            let oldest = quota::peek(db, q.id, dimension).0.unwrap_or(now);
            return Verdict::Denied(exceeded(q, oldest, now));
        }
    }
    if cap {
        taken.slot = quota::take_slot(db, q.id, execution, now);
        if !taken.slot {
            give_back(db, q, execution, dimension, &taken);
            return Verdict::Denied(Denial::Concurrency);
        }
    }
    Verdict::Admitted(taken)
}

/// Why a start would be denied now, without taking or locking anything.
pub fn would_deny(db: &Db, q: &Quota) -> Option<Denial> {
    peek(db, q, DEFAULT, clock::now(), q.limits.requests > 0)
}

fn peek(db: &Db, q: &Quota, dimension: &str, now: Instant, rate: bool) -> Option<Denial> {
    let (oldest, free) = quota::peek(db, q.id, dimension);
    // A ring that has not been made yet is all rested.
    if let Some(oldest) = oldest.filter(|at| rate && *at > q.limits.cutoff(now)) {
        return Some(exceeded(q, oldest, now));
    }
    (q.limits.concurrent > 0 && !free).then_some(Denial::Concurrency)
}

/// The denial of a ring without a rested token.
fn exceeded(q: &Quota, oldest: Instant, now: Instant) -> Denial {
    Denial::Rate {
        retry_after_us: q.limits.retry_after(oldest, now, clock::draw()),
    }
}

/// Gives back what an admission took in this transaction.
pub fn give_back(db: &Db, q: &Quota, execution: Uuid, dimension: &str, taken: &Taken) {
    if let Some(token) = taken.token {
        quota::give_token(db, q.id, dimension, token);
    }
    if taken.slot {
        quota::free(db, q.id, execution);
    }
}

/// Asks for a start by hand.
///
/// # Errors
/// `quota_policy_not_found`, `invalid_input`.
pub fn check(db: &Db, id: Uuid, execution: Uuid, dimension: &str) -> Result<Verdict> {
    text::identifier("dimension", dimension)?;
    let q = quota::load(db, &[id])?.pop();
    let q = q.ok_or_else(|| quota::not_found(id))?;
    Ok(ask(db, &q, execution, dimension))
}

/// Gives the slot of an execution back; whether it held one.
///
/// # Errors
/// `quota_policy_not_found`.
pub fn release(db: &Db, id: Uuid, execution: Uuid) -> Result<bool> {
    quota::load(db, &[id])?;
    Ok(quota::free(db, id, execution))
}
