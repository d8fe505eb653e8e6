//! What a transaction owes the others when it ends: marks lowered, waiters and the background worker woken.

use std::cell::{Cell, RefCell};

use pgrx::pg_sys;

use super::background;
use super::mark::{self, Place, Queue};
use super::spi::Arg;
use super::table;
use super::waiter;

/// Debts of the running transaction.
#[derive(Default)]
struct Pending {
    /// Entries put into queues.
    appeared: Vec<(Queue, Place)>,
    /// Entries taken out of queues, which come back if the transaction aborts.
    taken: Vec<(Queue, Place)>,
    /// Entries that a claim may have passed over because this transaction held them.
    held: Vec<(Queue, Place)>,
    /// Items that became ready, per lane.
    ready: Vec<(i32, usize)>,
    /// The earliest instant at which something falls due.
    due: Option<i64>,
    /// Executions ended.
    ended: bool,
    /// Streams that have got frames, or their end.
    streams: Vec<u64>,
    /// Lanes, namespaces or queues were changed.
    renamed: bool,
    /// The extension was created.
    poke: bool,
}

thread_local! {
    static PENDING: RefCell<Pending> = RefCell::default();
    static ABORTS: Cell<u64> = const { Cell::new(0) };
}

/// Registers the callbacks; called once from `_PG_init`.
pub fn init() {
    // SAFETY: the callbacks live in this library, which is never unloaded.
    unsafe {
        pg_sys::RegisterXactCallback(Some(ended), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(sub_ended), std::ptr::null_mut());
    }
}

fn with(work: impl FnOnce(&mut Pending)) {
    if super::shared::preloaded() {
        PENDING.with_borrow_mut(work);
    }
}

/// The number of this transaction, which has one from now on.
pub fn id() -> Arg {
    // SAFETY: called inside a transaction that may write.
    let id = unsafe { pg_sys::GetTopFullTransactionId() };
    Arg::datum(Some(pg_sys::Datum::from(id.value)))
}

/// How many transactions and subtransactions of this backend have aborted.
pub fn aborts() -> u64 {
    ABORTS.get()
}

/// An entry was put into a queue of a lane.
pub fn appeared(lane: i32, queue: Queue, place: Place) {
    with(|p| {
        match p.appeared.iter_mut().find(|(q, _)| *q == queue) {
            Some((_, lowest)) => *lowest = place.min(*lowest),
            None => p.appeared.push((queue, place)),
        }
        match p.ready.iter_mut().find(|(l, _)| *l == lane) {
            Some((_, items)) => *items += 1,
            None => p.ready.push((lane, 1)),
        }
    });
}

/// An entry was taken out of a queue.
pub fn taken(queue: Queue, place: Place) {
    with(|p| match p.taken.iter_mut().find(|(q, _)| *q == queue) {
        Some((_, lowest)) => *lowest = place.min(*lowest),
        None => p.taken.push((queue, place)),
    });
}

/// An entry stays in its queue, but claims pass over it while this transaction holds it or its execution.
pub fn held(queue: Queue, place: Place) {
    with(|p| match p.held.iter_mut().find(|(q, _)| *q == queue) {
        Some((_, lowest)) => *lowest = place.min(*lowest),
        None => p.held.push((queue, place)),
    });
}

/// The lowest entry that the running transaction has put into a queue. No mark knows of it before the end.
pub fn own(queue: Queue) -> Option<Place> {
    PENDING.with_borrow(|p| {
        let mut own = p.appeared.iter().filter(|(q, _)| *q == queue);
        own.next().map(|(_, lowest)| *lowest)
    })
}

/// A lane may hand out work again.
pub fn reopened(lane: i32) {
    with(|p| p.ready.push((lane, usize::MAX)));
}

/// Something falls due at this instant of the server's clock.
pub fn due(at: i64) {
    with(|p| p.due = Some(p.due.map_or(at, |earlier| earlier.min(at))));
}

/// Lanes, namespaces or queues were changed.
pub fn rename() {
    with(|p| p.renamed = true);
}

/// Whether this transaction has changed lanes, namespaces or queues.
pub fn renamed() -> bool {
    PENDING.with_borrow(|p| p.renamed)
}

/// An execution has ended.
pub fn completed() {
    with(|p| p.ended = true);
}

/// More streams than these are not told apart when their transaction ends.
const STREAMS: usize = 32;

/// A stream has got frames, or its end.
pub fn streamed(stream: u64) {
    with(|p| {
        if p.streams.len() < STREAMS && p.streams.last() != Some(&stream) {
            p.streams.push(stream);
        }
    });
}

/// The launcher should look for databases with the extension.
pub fn poke() {
    with(|p| p.poke = true);
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn ended(event: pg_sys::XactEvent::Type, _arg: *mut std::ffi::c_void) {
    table::place::forget();
    match event {
        pg_sys::XactEvent::XACT_EVENT_COMMIT => committed(PENDING.take()),
        pg_sys::XactEvent::XACT_EVENT_ABORT => {
            ABORTS.set(ABORTS.get() + 1);
            let pending = PENDING.take();
            give_back(&pending.taken);
            give_back(&pending.held);
        }
        // A prepared transaction is not visible yet, and whoever ends it runs no callback of ours: marks are
        // mended by the next look from the head, and names are not remembered any more until a restart.
        pg_sys::XactEvent::XACT_EVENT_PREPARE if PENDING.take().renamed => {
            super::shared::remember_no_names();
        }
        _ => {}
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn sub_ended(
    event: pg_sys::SubXactEvent::Type,
    _mine: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _arg: *mut std::ffi::c_void,
) {
    if event == pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB {
        ABORTS.set(ABORTS.get() + 1);
        // What was taken before the savepoint is lowered too: a mark that is too low costs time, not work.
        PENDING.with_borrow(|p| {
            give_back(&p.taken);
            give_back(&p.held);
        });
    }
}

fn give_back(taken: &[(Queue, Place)]) {
    for (queue, place) in taken {
        mark::lower(*queue, *place);
    }
}

/// Nothing here may raise: the transaction has committed.
fn committed(pending: Pending) {
    if pending.renamed {
        super::shared::next_generation();
    }
    for (queue, place) in &pending.appeared {
        mark::lower(*queue, *place);
    }
    give_back(&pending.held);
    for (lane, items) in &pending.ready {
        waiter::wake(&[*lane], *items, None);
    }
    if let Some(at) = pending.due {
        background::due(at);
    }
    let mut waited: Vec<i32> = match pending.streams.as_slice() {
        all if all.len() == STREAMS => vec![waiter::EVERY_STREAM],
        some => some.iter().map(|s| waiter::of_stream(*s)).collect(),
    };
    if pending.ended {
        waited.push(waiter::COMPLETIONS);
    }
    if !waited.is_empty() {
        waiter::wake(&waited, usize::MAX, None);
    }
    if pending.poke {
        background::poke();
    }
}
