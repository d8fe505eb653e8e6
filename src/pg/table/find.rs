//! Finding rows by key or in order, and locking them.

use std::cell::{Cell, RefCell};

use pgrx::pg_sys;

use super::search::Search;
use super::{Named, Open, Table};
use crate::pg::composite::Composite;
use crate::pg::session;
use crate::pg::spi::{Arg, Db};

/// What to do about a row that another transaction holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Wait for its end.
    Wait,
    /// Do without the row.
    Skip,
}

/// Finds rows of one table by key, one search after the other, on one snapshot.
pub struct Finder<'a> {
    open: &'a Open,
    snapshot: pg_sys::Snapshot,
    search: RefCell<Search>,
    /// Where the row stands that a walk has come to.
    at: Cell<pg_sys::ItemPointerData>,
}

impl Table {
    /// Lends a finder that may lock rows, on a fresh snapshot.
    pub fn find<T>(&self, db: &Db, columns: &[Named], work: impl FnOnce(&Finder) -> T) -> T {
        // SAFETY: pushed and popped in pairs; an error in between is cleaned up by the transaction's abort.
        unsafe {
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            let result = self.find_in_active(db, columns, work);
            pg_sys::PopActiveSnapshot();
            result
        }
    }

    /// Lends a finder on the active snapshot.
    pub fn find_in_active<T>(
        &self,
        _db: &Db,
        columns: &[Named],
        work: impl FnOnce(&Finder) -> T,
    ) -> T {
        let open = self.open(columns);
        // SAFETY: a function has an active snapshot; the search ends before the table is closed; after an error the
        // transaction's abort ends both.
        unsafe {
            let snapshot = pg_sys::GetActiveSnapshot();
            let finder = Finder {
                open: &open,
                snapshot,
                search: Search::begin(&open, snapshot).into(),
                at: Default::default(),
            };
            let result = work(&finder);
            finder.search.into_inner().end();
            open.close();
            result
        }
    }
}

impl Finder<'_> {
    /// Announces how many keys will be read or locked: of those that stand together in the index, many are found at once.
    pub fn expect(&self, keys: usize) {
        // SAFETY: the search was begun on this table with a snapshot of the transaction.
        unsafe { self.search.borrow_mut().expect(self.open, keys) };
    }

    /// Reads rows in the order of the key's index until `work` says no more: those that begin with `prefix`, from the
    /// position `from` of the columns after it on.
    pub fn walk(&self, prefix: Arg, from: &[Arg], mut work: impl FnMut(&Composite) -> bool) {
        // SAFETY: the scan keys have one argument for each column of the index, and outlive the scan; the slot holds a
        // row of the open table until the search goes on.
        unsafe {
            let mut search = self.search.borrow_mut();
            let mut members = self.open.key().after(from);
            search.from(prefix, &mut members);
            while let Some(slot) = search.next() {
                pgrx::check_for_interrupts!();
                self.at.set((*slot).tts_tid);
                if !work(&Composite::of_slot(slot)) {
                    break;
                }
            }
        }
    }

    /// Remembers where the row of this key stands, which a walk has come to, because it will be taken away.
    pub fn note(&self, key: &[Arg]) {
        self.open.note(key, self.at.get());
    }

    /// Reads the row of a key.
    pub fn read<T>(&self, key: &[Arg], read: impl FnOnce(&Composite) -> T) -> Option<T> {
        // SAFETY: the slot holds a row of the open table until the search goes on.
        unsafe {
            let mut search = self.search.borrow_mut();
            search.by(key);
            search.next().map(|slot| read(&Composite::of_slot(slot)))
        }
    }

    /// Locks the row of a key as `SELECT … FOR UPDATE` does, and reads it as it stands then.
    pub fn lock<T>(
        &self,
        key: &[Arg],
        held: Held,
        read: impl FnOnce(&Composite) -> T,
    ) -> Option<T> {
        // SAFETY: the slot holds a row of the open table, which the snapshot shows, until the search goes on.
        unsafe {
            let mut search = self.search.borrow_mut();
            search.by(key);
            let slot = search.next()?;
            if lock_here(self.open, self.snapshot, slot, held) == Locked::Not {
                return None;
            }
            self.open.note(key, (*slot).tts_tid);
            Some(read(&Composite::of_slot(slot)))
        }
    }

    /// Locks the row of a key if it is free and `read` wants it as it stands then. Rows not wanted stay untouched.
    pub fn lock_if<T>(&self, key: &[Arg], read: impl Fn(&Composite) -> Option<T>) -> Option<T> {
        // SAFETY: as for `lock`.
        unsafe {
            let mut search = self.search.borrow_mut();
            search.by(key);
            let slot = search.next()?;
            // Cheaper than to find it out by trying, for who passes over what many others hold.
            if held(slot) {
                return None;
            }
            let seen = read(&Composite::of_slot(slot))?;
            let locked = lock_here(self.open, self.snapshot, slot, Held::Skip);
            if locked == Locked::Not {
                return None;
            }
            self.open.note(key, (*slot).tts_tid);
            match locked {
                Locked::Later => read(&Composite::of_slot(slot)),
                _ => Some(seen),
            }
        }
    }
}

/// What became of an attempt to lock a row.
#[derive(PartialEq, Eq)]
enum Locked {
    Not,
    /// In the version that was found.
    AsSeen,
    /// In a later version, which stands in the slot now.
    Later,
}

/// Locks the row in the slot, following it to its latest version as the isolation level allows.
///
/// # Safety
/// The slot holds a row of the open relation that the snapshot shows.
unsafe fn lock_here(
    open: &Open,
    snapshot: pg_sys::Snapshot,
    slot: *mut pg_sys::TupleTableSlot,
    held: Held,
) -> Locked {
    let fixed = !session::read_committed();
    let mut flags = pg_sys::TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS as u8;
    if !fixed {
        flags |= pg_sys::TUPLE_LOCK_FLAG_FIND_LAST_VERSION as u8;
    }
    let policy = match held {
        Held::Wait => pg_sys::LockWaitPolicy::LockWaitBlock,
        Held::Skip => pg_sys::LockWaitPolicy::LockWaitSkip,
    };
    let mut failure = pg_sys::TM_FailureData::default();
    // SAFETY: as the caller promises; the place is copied because the call overwrites the slot.
    let result = unsafe {
        let mut place = (*slot).tts_tid;
        pg_sys::table_tuple_lock(
            open.relation,
            &mut place,
            snapshot,
            slot,
            pg_sys::GetCurrentCommandId(false),
            pg_sys::LockTupleMode::LockTupleExclusive,
            policy,
            flags,
            &mut failure,
        )
    };
    match result {
        pg_sys::TM_Result::TM_Ok if failure.traversed => Locked::Later,
        pg_sys::TM_Result::TM_Ok => Locked::AsSeen,
        pg_sys::TM_Result::TM_Updated | pg_sys::TM_Result::TM_Deleted if fixed => {
            pgrx::ereport!(
                ERROR,
                pgrx::PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
                "could not serialize access due to concurrent update"
            );
        }
        _ => Locked::Not,
    }
}

/// Whether a transaction that still runs, another one than this, holds a row or is taking it away.
///
/// # Safety
/// The slot holds a row of a heap.
pub(super) unsafe fn held(slot: *mut pg_sys::TupleTableSlot) -> bool {
    // SAFETY: as the caller promises; the row stays pinned.
    unsafe {
        let header = &*(*(*slot.cast::<pg_sys::HeapTupleTableSlot>()).tuple).t_data;
        let plain = (pg_sys::HEAP_XMAX_INVALID | pg_sys::HEAP_XMAX_IS_MULTI) as u16;
        let by = header.t_choice.t_heap.t_xmax;
        header.t_infomask & plain == 0
            && !pg_sys::TransactionIdIsCurrentTransactionId(by)
            && pg_sys::TransactionIdIsInProgress(by)
    }
}
