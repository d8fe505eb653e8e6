//! Low-water marks of ready queues, in shared memory: where a claim may start reading without missing anything.
//!
//! Below a queue's mark every entry that any session can see has been taken. A claim reads mark and generation
//! *before* its statement takes a snapshot, and may raise the mark to the first entry it got only if no
//! transaction that put an entry into the queue, or gave one back by aborting, has ended since: such a
//! transaction raises the generation after it became visible, and lowers the mark to its entry. Whichever of
//! the two comes first, the entry ends at or above the mark. What has no end callback in this server
//! (prepared transactions) is found by a look from the head, repeated at an interval that grows with its cost.

use pgrx::lwlock::PgLwLock;
use pgrx::pg_sys;
use pgrx::shmem::PGRXSharedMemory;

/// A place in a queue, in claim order: rank, creation instant, identity.
pub type Place = (i16, i64, [u8; 16]);

/// Before every other place.
pub const HEAD: Place = (i16::MIN, i64::MIN, [0; 16]);

const SLOTS: usize = 4096;
const PROBES: usize = 8;
/// A look from the head at least this often, microseconds.
const LOOK_EVERY: i64 = 1_000_000;
/// … and never for more than a hundredth of the time.
const LOOK_SHARE: i64 = 100;

#[derive(Clone, Copy)]
struct Slot {
    database: u32,
    relation: u32,
    queue: i32,
    place: Place,
    generation: u64,
    looked_at: i64,
    look_cost: i64,
}

const FREE: Slot = Slot {
    database: 0,
    relation: 0,
    queue: 0,
    place: HEAD,
    generation: 0,
    looked_at: 0,
    look_cost: 0,
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
    slot: Option<usize>,
    generation: u64,
    look: bool,
    began: i64,
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

/// Where a claim of this queue may start. Ask before the claim's statement takes its snapshot.
pub fn start(queue: Queue) -> Ticket {
    let began = super::clock::wall_micros();
    let head = Ticket {
        from: HEAD,
        slot: None,
        generation: 0,
        look: false,
        began,
    };
    if !super::shared::preloaded() {
        return head;
    }
    {
        let marks = MARKS.share();
        if let Some((slot, s)) = find(&marks, queue).and_then(|i| Some((i, *marks.0.get(i)?)))
            && began - s.looked_at < LOOK_EVERY.max(s.look_cost * LOOK_SHARE)
        {
            return Ticket {
                from: s.place,
                slot: Some(slot),
                generation: s.generation,
                look: false,
                began,
            };
        }
    }
    let mut marks = MARKS.exclusive();
    let slot = find(&marks, queue)
        .or_else(|| probe(queue).find(|i| marks.0.get(*i).is_some_and(|s| s.database == 0)));
    let Some((slot, s)) = slot.and_then(|i| Some((i, marks.0.get_mut(i)?))) else {
        return head;
    };
    (s.database, s.relation, s.queue) = key(queue);
    s.looked_at = began;
    Ticket {
        from: HEAD,
        slot: Some(slot),
        generation: s.generation,
        look: true,
        began,
    }
}

/// The claim's statement has returned; `first` is the first entry it took, if any.
///
/// Only call with a fresh snapshot (READ COMMITTED) and without filters that skip entries.
pub fn passed(queue: Queue, ticket: Ticket, first: Option<Place>) {
    let Some(slot) = ticket.slot else { return };
    if first.is_none() && !ticket.look {
        return;
    }
    let mut marks = MARKS.exclusive();
    let Some(s) = marks
        .0
        .get_mut(slot)
        .filter(|s| (s.database, s.relation, s.queue) == key(queue))
    else {
        return;
    };
    if ticket.look {
        s.look_cost = super::clock::wall_micros() - ticket.began;
    }
    if let Some(first) = first
        && s.generation == ticket.generation
        && (first > s.place || ticket.look)
    {
        s.place = first;
    }
}

/// An entry has appeared, or has been given back: no mark may stand above it.
pub(super) fn lower(queue: Queue, place: Place) {
    let mut marks = MARKS.exclusive();
    if let Some(s) = find(&marks, queue).and_then(|i| marks.0.get_mut(i)) {
        s.generation += 1;
        s.place = s.place.min(place);
    }
}
