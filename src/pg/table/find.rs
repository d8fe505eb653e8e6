//! Finding rows by key or in order, and locking them.

use pgrx::pg_sys;

use super::{Key, Named, Open, Table};
use crate::pg::composite::Composite;
use crate::pg::session;
use crate::pg::spi::{Arg, Db};

/// A page with less free space has no room for another version of a row: what the server takes for full where no fill
/// factor is set.
const NEARLY_FULL: usize = pg_sys::BLCKSZ as usize / 10;

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
    search: std::cell::RefCell<Search>,
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
            };
            let result = work(&finder);
            finder.search.into_inner().end();
            open.close();
            result
        }
    }
}

impl Finder<'_> {
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
                if !work(&Composite::of_slot(slot)) {
                    break;
                }
            }
        }
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

/// A scan of the index that rows are found by, restarted for every key.
pub(super) struct Search {
    index: pg_sys::Relation,
    scan: pg_sys::IndexScanDesc,
    keys: Vec<pg_sys::ScanKeyData>,
    slot: *mut pg_sys::TupleTableSlot,
    /// The page that was read last, pinned; 0 for none.
    page: pg_sys::Buffer,
}

impl Search {
    /// # Safety
    /// The snapshot lives until the end of the search, and the table stays open.
    unsafe fn begin(open: &Open, snapshot: pg_sys::Snapshot) -> Search {
        let key = open.key();
        // SAFETY: the index belongs to the table; the slot fits its rows.
        unsafe {
            let index = pg_sys::index_open(key.index, pg_sys::RowExclusiveLock as i32);
            let keys = key.equalities();
            #[cfg(not(feature = "pg18"))]
            let scan =
                pg_sys::index_beginscan(open.relation, index, snapshot, keys.len() as i32, 0);
            #[cfg(feature = "pg18")]
            let scan = pg_sys::index_beginscan(
                open.relation,
                index,
                snapshot,
                std::ptr::null_mut(),
                keys.len() as i32,
                0,
            );
            let slot = pg_sys::table_slot_create(open.relation, std::ptr::null_mut());
            Search {
                index,
                scan,
                keys,
                slot,
                page: 0,
            }
        }
    }

    /// A search among the latest versions of rows, the transaction's own among them.
    ///
    /// # Safety
    /// The table stays open.
    pub(super) unsafe fn of_latest(open: &Open) -> Search {
        // SAFETY: as the caller promises; this snapshot is the server's own and lives for ever.
        unsafe { Search::begin(open, &raw mut pg_sys::SnapshotSelfData) }
    }

    /// Starts at the rows of a key.
    ///
    /// # Safety
    /// The arguments are of the key's types and live as long as the search goes on.
    pub(super) unsafe fn by(&mut self, key: &[Arg]) {
        for (entry, arg) in self.keys.iter_mut().zip(key) {
            entry.sk_argument = arg.datum;
        }
        // SAFETY: as the caller promises; every column of the key has its entry.
        unsafe { self.restart(self.keys.len()) };
    }

    /// Starts at a position: the first column equals, the others together are not before the members.
    ///
    /// # Safety
    /// As for `by`; the members outlive the search.
    unsafe fn from(&mut self, prefix: Arg, members: &mut [pg_sys::ScanKeyData]) {
        let header = pg_sys::ScanKeyData {
            sk_flags: pg_sys::SK_ROW_HEADER as i32,
            sk_attno: 2,
            sk_strategy: pg_sys::BTGreaterEqualStrategyNumber as u16,
            sk_argument: pg_sys::Datum::from(members.as_mut_ptr()),
            ..Default::default()
        };
        if let [first, second, ..] = self.keys.as_mut_slice() {
            first.sk_argument = prefix.datum;
            *second = header;
        }
        // SAFETY: as the caller promises; a row comparison is the only other entry.
        unsafe { self.restart(2) };
    }

    unsafe fn restart(&mut self, keys: usize) {
        // SAFETY: the scan was begun with at least as many keys.
        unsafe {
            (*self.scan).numberOfKeys = keys as i32;
            pg_sys::index_rescan(
                self.scan,
                self.keys.as_mut_ptr(),
                keys as i32,
                std::ptr::null_mut(),
                0,
            );
        }
    }

    /// The next row, in a slot that holds it until the call after this one.
    ///
    /// # Safety
    /// The search has been started.
    pub(super) unsafe fn next(&mut self) -> Option<*mut pg_sys::TupleTableSlot> {
        // SAFETY: as the caller promises.
        unsafe {
            loop {
                let place = pg_sys::index_getnext_tid(
                    self.scan,
                    pg_sys::ScanDirection::ForwardScanDirection,
                );
                if place.is_null() {
                    return None;
                }
                if self.fetch(*place) {
                    return Some(self.slot);
                }
            }
        }
    }

    /// Fetches the version of a row that the snapshot shows into the slot, as the server's index scans do, but for one
    /// thing: they prune a page as soon as it is fuller than the table's fill factor, and so on every visit where room
    /// is left for further versions. Here it is pruned when that room is nearly used up.
    ///
    /// # Safety
    /// The place was found in the index just now.
    unsafe fn fetch(&mut self, mut place: pg_sys::ItemPointerData) -> bool {
        // SAFETY: as the caller promises; the table is a heap, so its slots hold a buffer's tuple. The pin keeps the page
        // where it is, and the lock is held while the row's versions are followed.
        unsafe {
            let table = (*self.scan).heapRelation;
            let block = pgrx::itemptr::item_pointer_get_block_number_no_check(place);
            let before = self.page;
            self.page = pg_sys::ReleaseAndReadBuffer(before, table, block);
            if self.page != before {
                let free = pg_sys::PageGetHeapFreeSpace(pg_sys::BufferGetPage(self.page));
                if free < NEARLY_FULL {
                    pg_sys::heap_page_prune_opt(table, self.page);
                }
            }
            let tuple = &raw mut (*self.slot.cast::<pg_sys::BufferHeapTupleTableSlot>())
                .base
                .tupdata;
            let mut dead = false;
            pg_sys::LockBuffer(self.page, pg_sys::BUFFER_LOCK_SHARE as i32);
            let found = pg_sys::heap_hot_search_buffer(
                &mut place,
                table,
                self.page,
                (*self.scan).xs_snapshot,
                tuple,
                &mut dead,
                true,
            );
            pg_sys::LockBuffer(self.page, pg_sys::BUFFER_LOCK_UNLOCK as i32);
            // The index may forget entries of rows that nobody sees any more; not where a standby's queries might.
            (*self.scan).kill_prior_tuple = dead && !(*self.scan).xactStartedInRecovery;
            if found {
                (*tuple).t_self = place;
                (*tuple).t_tableOid = (*table).rd_id;
                pg_sys::ExecStoreBufferHeapTuple(tuple, self.slot, self.page);
                (*self.slot).tts_tableOid = (*table).rd_id;
            }
            found
        }
    }

    /// # Safety
    /// The table is still open.
    pub(super) unsafe fn end(self) {
        // SAFETY: begun once, ended once.
        unsafe {
            pg_sys::ExecDropSingleTupleTableSlot(self.slot);
            if self.page != 0 {
                pg_sys::ReleaseBuffer(self.page);
            }
            pg_sys::index_endscan(self.scan);
            pg_sys::index_close(self.index, pg_sys::NoLock as i32);
        }
    }
}

impl Key {
    /// One scan key per column, still without its argument.
    fn equalities(&self) -> Vec<pg_sys::ScanKeyData> {
        let columns = (1..).zip(&self.columns);
        columns
            .map(|(number, column)| {
                let strategy = pg_sys::BTEqualStrategyNumber;
                column.scan_key(number, 0, strategy, column.equal, pg_sys::Datum::null())
            })
            .collect()
    }

    /// The members of a row comparison of the columns after the first one.
    fn after(&self, from: &[Arg]) -> Vec<pg_sys::ScanKeyData> {
        let columns = (1..).zip(&self.columns).skip(1).zip(from);
        let member = |((number, column), arg): ((i16, &super::KeyColumn), &Arg)| {
            let flags = pg_sys::SK_ROW_MEMBER;
            let strategy = pg_sys::BTGreaterEqualStrategyNumber;
            column.scan_key(number, flags, strategy, column.compare, arg.datum)
        };
        let mut members: Vec<_> = columns.map(member).collect();
        if let Some(last) = members.last_mut() {
            last.sk_flags |= pg_sys::SK_ROW_END as i32;
        }
        members
    }
}

impl super::KeyColumn {
    fn scan_key(
        &self,
        number: i16,
        flags: u32,
        strategy: u32,
        function: pg_sys::Oid,
        argument: pg_sys::Datum,
    ) -> pg_sys::ScanKeyData {
        let mut entry = pg_sys::ScanKeyData::default();
        // SAFETY: the function is the index's own for this column.
        unsafe {
            pg_sys::ScanKeyEntryInitialize(
                &mut entry,
                flags as i32,
                number,
                strategy as u16,
                pg_sys::InvalidOid,
                self.collation,
                function,
                argument,
            );
        }
        entry
    }
}
