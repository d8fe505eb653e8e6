//! Deletes registrations of workers that have lapsed.

use crate::error::Result;
use crate::model::event::Code;
use crate::ops::clock;
use crate::ops::worker::announce;
use crate::pg::spi::Db;
use crate::store::worker::{self, Seat};

use super::rest::Row;
use super::{Scope, Tally, batch};

/// Deletes them, longest lapsed first. They have no partition and no tags, so those filters do not apply.
pub fn run(db: &Db, scope: &Scope) -> Result<Tally> {
    let Some(namespace) = super::due::namespace(db, scope) else {
        return Ok(Tally::default());
    };
    if scope.limit == 0 {
        return Ok(Tally::default());
    }
    let mut seats = worker::lapsed(db, clock::now(), namespace, scope.limit + 1);
    let remaining = seats.len() as i64 > scope.limit;
    seats.truncate(scope.limit as usize);
    if seats.is_empty() {
        return Ok(Tally::default());
    }
    let row = |seat: &Seat| Row::Registration(seat.namespace, seat.instance.clone());
    let tally = batch::handle(scope, &seats, row, |seats| Ok(sweep(db, seats)));
    Ok(Tally { remaining, ..tally })
}

fn sweep(db: &Db, seats: &[Seat]) -> Tally {
    let held = worker::lock_free(db, seats);
    let now = clock::now();
    let (alive, lapsed): (Vec<_>, Vec<_>) = held
        .into_iter()
        .partition(|(_, registration)| registration.is_live(now));
    let gone: Vec<Seat> = lapsed.iter().map(|(seat, _)| seat.clone()).collect();
    worker::remove(db, &gone);
    for (seat, registration) in &lapsed {
        let worker = &registration.worker;
        announce(db, now, Code::WorkerTtlSwept, seat, worker, None);
    }
    Tally {
        processed: gone.len() as i32,
        skipped: alive.len() as i32,
        ..Tally::default()
    }
}
