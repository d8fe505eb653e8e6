//! Low-water marks of ready queues, in shared memory: where a claim may start reading without missing anything.
//!
//! Below a queue's mark every entry that any session can see has been taken. A claim reads mark and generation
//! *before* its statement takes a snapshot, and may raise the mark to the first entry it got only if no
//! transaction that put an entry into the queue, or gave one back by aborting, has ended since: such a
//! transaction raises the generation after it became visible, and lowers the mark to its entry. Whichever of
//! the two comes first, the entry ends at or above the mark. What has no end callback in this server
//! (prepared transactions) is found by a look from the head, repeated at an interval that grows with its cost.

#[cfg(test)]
mod interleavings;
mod line;

use pgrx::lwlock::PgLwLock;
use pgrx::pg_sys;
use pgrx::shmem::PGRXSharedMemory;

pub use line::{HEAD, Place, TAIL};
use line::{Line, Start};

const SLOTS: usize = 4096;
const PROBES: usize = 8;

#[derive(Clone, Copy)]
struct Slot {
    database: u32,
    relation: u32,
    queue: i32,
    line: Line,
}

const FREE: Slot = Slot {
    database: 0,
    relation: 0,
    queue: 0,
    line: Line::NEW,
};

/// All marks of the server.
pub struct Marks([Slot; SLOTS]);

impl Default for Marks {
    fn default() -> Self {
        Marks([FREE; SLOTS])
    }
}

// SAFETY: plain numbers in a fixed array, no pointers.
unsafe impl PGRXSharedMemory for Marks {}

// SAFETY: the name is used once in this library.
pub(super) static MARKS: PgLwLock<Marks> = unsafe { PgLwLock::new(c"ff_engine marks") };

/// A queue of one installation of the engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Queue {
    /// OID of the ready table, so that a re-created extension starts anew.
    pub relation: pg_sys::Oid,
    /// The queue's number.
    pub id: i32,
}

/// What a claim was told when it began.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    /// Where to start.
    pub from: Place,
    /// The slot that told it, none without marks.
    told: Option<(usize, Start)>,
}

fn key(queue: Queue) -> (u32, u32, i32) {
    // SAFETY: set once when the backend connected.
    (
        u32::from(unsafe { pg_sys::MyDatabaseId }),
        u32::from(queue.relation),
        queue.id,
    )
}

fn probe(queue: Queue) -> impl Iterator<Item = usize> {
    let (database, relation, id) = key(queue);
    let hash = (u64::from(database) << 32 ^ u64::from(relation) << 16 ^ id as u64)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (0..PROBES)
        .map(move |step| (hash >> 40) as usize + step)
        .map(|i| i % SLOTS)
}

fn find(marks: &Marks, queue: Queue) -> Option<usize> {
    probe(queue).find(|i| {
        marks
            .0
            .get(*i)
            .is_some_and(|s| (s.database, s.relation, s.queue) == key(queue))
    })
}

/// Queues that are remembered, and how many there is room for.
pub fn usage() -> (usize, usize) {
    if !super::shared::preloaded() {
        return (0, 0);
    }
    let marks = MARKS.share();
    (marks.0.iter().filter(|s| s.database != 0).count(), SLOTS)
}

/// Where a claim of this queue may start. Ask before the claim's statement takes its snapshot.
///
/// What the running transaction has put into the queue itself, such as a delay that it found elapsed, it may take,
/// although the mark comes down to it only at the end.
pub fn start(queue: Queue) -> Ticket {
    let head = Ticket {
        from: HEAD,
        told: None,
    };
    if !super::shared::preloaded() {
        return head;
    }
    let own = super::xact::own(queue);
    let ticket = |slot: usize, start: Start| Ticket {
        from: own.map_or(start.from, |own| own.min(start.from)),
        told: Some((slot, start)),
    };
    let now = super::clock::wall_micros();
    {
        let marks = MARKS.share();
        if let Some((slot, s)) = find(&marks, queue).and_then(|i| Some((i, marks.0.get(i)?)))
            && let Some(start) = s.line.start(now)
        {
            return ticket(slot, start);
        }
    }
    let mut marks = MARKS.exclusive();
    let slot = find(&marks, queue)
        .or_else(|| probe(queue).find(|i| marks.0.get(*i).is_some_and(|s| s.database == 0)));
    let Some((slot, s)) = slot.and_then(|i| Some((i, marks.0.get_mut(i)?))) else {
        return head;
    };
    (s.database, s.relation, s.queue) = key(queue);
    ticket(slot, s.line.look(now))
}

/// The claim's statement has returned; `first` is the first entry it took, if any.
///
/// Only call with a fresh snapshot (READ COMMITTED) and without filters that skip entries.
pub fn passed(queue: Queue, ticket: Ticket, first: Option<Place>) {
    let Some((slot, start)) = ticket.told else {
        return;
    };
    if first.is_none() && !start.look {
        return;
    }
    let mut marks = MARKS.exclusive();
    if let Some(s) = marks
        .0
        .get_mut(slot)
        .filter(|s| (s.database, s.relation, s.queue) == key(queue))
    {
        s.line.passed(start, first, super::clock::wall_micros());
    }
}

/// An entry has appeared, or has been given back: no mark may stand above it.
pub(super) fn lower(queue: Queue, place: Place) {
    let mut marks = MARKS.exclusive();
    if let Some(s) = find(&marks, queue).and_then(|i| marks.0.get_mut(i)) {
        s.line.lower(place);
    }
}
