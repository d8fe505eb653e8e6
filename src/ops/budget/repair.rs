//! Repairs a budget whose rows contradict each other (§50.10).

use uuid::Uuid;

use crate::error::Result;
use crate::pg::spi::Db;
use crate::store::budget::{self, room, usage};

use super::super::clock;
use super::escrow;

/// Repairs one budget unless somebody holds it; how many corrections that took.
///
/// # Errors
/// `corruption` for a budget that cannot be read, which is left as it is.
pub fn repair(db: &Db, id: Uuid) -> Result<i32> {
    let Some(found) = budget::load(db, &[id])?.pop() else {
        return Ok(0);
    };
    let full = || room::full(db, &[id]);
    let unbalanced: Vec<&String> = found
        .hard
        .keys()
        .filter(|dimension| {
            found.escrowed(dimension).is_some() && !usage::balanced(db, &found, dimension)
        })
        .collect();
    let over = found.strict && full().iter().any(|f| f.used > f.limit);
    let wrong_mark = if found.breached_at.is_some() {
        full().is_empty()
    } else {
        over
    };
    if unbalanced.is_empty() && !wrong_mark {
        return Ok(0);
    }
    let Some(mut b) = budget::lock_free(db, id)? else {
        return Ok(0);
    };
    let mut corrections = 0;
    for dimension in unbalanced {
        // The limit is the authority: everything is dealt out anew.
        let mut without = b.clone();
        without.hard.remove(dimension);
        escrow::change(db, &without, &b, dimension)?;
        corrections += 1;
    }
    if wrong_mark {
        b.breached_at = if b.breached_at.is_some() {
            None
        } else {
            Some(clock::now())
        };
        budget::set_breaches(db, &b);
        corrections += 1;
    }
    Ok(corrections)
}
