//! Counts of executions per public state, kept up with what has moved (`sql/31_tally.sql`).

use crate::model::cursor::Snapshot;
use crate::pg::spi::Db;
use crate::pg::{session, snapshot};
use crate::store::tally;

/// Events taken into the counts in one transaction, roughly.
const PAGE: i64 = 50_000;

/// The events of so few transactions are taken together, without looking how many they are.
const FEW: u64 = 1_000;

/// Takes what has moved since the last time into the counts; whether more is left. One session at a time does it,
/// and only where each statement may look anew.
pub fn advance(db: &Db) -> bool {
    if !session::read_committed() || !snapshot::writable() || !tally::behind(db) {
        return false;
    }
    match tally::lock(db) {
        None => false,
        Some(Some(from)) => take(db, from),
        Some(None) => {
            begin(db);
            false
        }
    }
}

/// Counts what is there.
fn begin(db: &Db) {
    let (now, counts, left, floor) = snapshot::latest(|| {
        let now = here();
        let (counts, left) = (tally::count(db), tally::left_at_first(db, &now));
        let floor = tally::foreign(db, &now);
        (now, counts, left, floor)
    });
    tally::clear(db);
    tally::add(db, &counts);
    tally::reach(db, &now, &left, floor.or(Some(0)));
}

/// Adds what has moved: a page of events, which ends behind a transaction, never inside one, and all that sessions have
/// summed up.
fn take(db: &Db, from: u64) -> bool {
    let (upto, events, more) = snapshot::latest(|| {
        let now = here();
        let many = now.next() > from.saturating_add(FEW);
        let end = many.then(|| tally::page_end(db, PAGE)).flatten();
        let end = end.map(|xid| xid + 1).filter(|end| *end < now.next());
        let upto = match end {
            Some(end) => Snapshot::new(end, now.running().to_vec()),
            None => now,
        };
        let events = tally::events(db, &upto);
        (upto, events, end.is_some())
    });
    tally::add(db, &events);
    tally::add(db, &tally::take_moves(db));
    let left = tally::left(db, &upto);
    tally::reach(db, &upto, &left, None);
    more
}

fn here() -> Snapshot {
    let seen = snapshot::active();
    Snapshot::new(seen.next, seen.running)
}
