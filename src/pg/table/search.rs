//! One scan of an index, restarted for every key or position that is searched for.

use pgrx::pg_sys;

use super::near::Near;
use super::{Key, KeyColumn, Open};
use crate::pg::spi::Arg;

/// A page with less free space has no room for another version of a row: what the server takes for full where no fill
/// factor is set.
const NEARLY_FULL: usize = pg_sys::BLCKSZ as usize / 10;

/// A scan of the index that rows are found by, restarted for every key.
pub(super) struct Search {
    index: pg_sys::Relation,
    scan: pg_sys::IndexScanDesc,
    keys: Vec<pg_sys::ScanKeyData>,
    slot: *mut pg_sys::TupleTableSlot,
    /// The page that was read last, pinned; 0 for none.
    page: pg_sys::Buffer,
    /// Where keys are looked up before they are searched for.
    near: Option<Box<Near>>,
}

impl Search {
    /// # Safety
    /// The snapshot lives until the end of the search, and the table stays open.
    pub(super) unsafe fn begin(open: &Open, snapshot: pg_sys::Snapshot) -> Search {
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
                near: None,
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

    /// Announces that so many keys will be searched for.
    ///
    /// # Safety
    /// The search was begun on this table with a snapshot that no later row is visible to.
    pub(super) unsafe fn expect(&mut self, open: &Open, keys: usize) {
        // SAFETY: the index is open.
        let alone = unsafe { (*(*self.index).rd_att).natts } == 1;
        let key = open.key();
        if let ([column], true) = (key.columns.as_slice(), open.known.ends_with_uuid && alone) {
            let strategy = pg_sys::BTGreaterEqualStrategyNumber;
            let none = pg_sys::Datum::null();
            self.near = Near::new(keys, column.scan_key(1, 0, strategy, column.from, none));
        }
    }

    /// Starts at the rows of a key.
    ///
    /// # Safety
    /// The arguments are of the key's types and live as long as the search goes on.
    pub(super) unsafe fn by(&mut self, key: &[Arg]) {
        if let (Some(mut near), [id]) = (self.near.take(), key) {
            // SAFETY: as the caller promises, the key is a uuid, which points to sixteen bytes.
            if unsafe { near.ask(&*id.datum.cast_mut_ptr(), self) } {
                self.near = Some(near);
                return;
            }
        }
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
    pub(super) unsafe fn from(&mut self, prefix: Arg, members: &mut [pg_sys::ScanKeyData]) {
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

    /// Hands over entries of an index by one uuid, from a scan key on, as long as they are wanted.
    ///
    /// # Safety
    /// The index has no column beside a uuid that is never null, and the key's argument is one.
    pub(super) unsafe fn read_entries(
        &mut self,
        from: &mut pg_sys::ScanKeyData,
        mut wanted: impl FnMut([u8; 16], pg_sys::ItemPointerData) -> bool,
    ) {
        // SAFETY: as the caller promises, the only value of an entry follows its header. The scan starts anew at the end,
        // so that no page of the index stays pinned.
        unsafe {
            let (scan, forward) = (self.scan, pg_sys::ScanDirection::ForwardScanDirection);
            (*scan).xs_want_itup = true;
            (*scan).numberOfKeys = 1;
            pg_sys::index_rescan(scan, from, 1, std::ptr::null_mut(), 0);
            loop {
                let place = pg_sys::index_getnext_tid(scan, forward);
                if place.is_null() {
                    break;
                }
                let key = (*scan).xs_itup.add(1).cast::<[u8; 16]>();
                if !wanted(key.read_unaligned(), *place) {
                    break;
                }
            }
            (*scan).xs_want_itup = false;
            self.restart(1);
        }
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
            if let Some(mut near) = self.near.take() {
                let found = loop {
                    match near.next() {
                        Some(place) if self.fetch(place) => break true,
                        Some(_) => {}
                        None => break false,
                    }
                };
                self.near = Some(near);
                return found.then_some(self.slot);
            }
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
    /// The place was found in the index, and the snapshot was taken before: a row that has come to stand there since is
    /// not visible to it.
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
    pub(super) fn after(&self, from: &[Arg]) -> Vec<pg_sys::ScanKeyData> {
        let columns = (1..).zip(&self.columns).skip(1).zip(from);
        let member = |((number, column), arg): ((i16, &KeyColumn), &Arg)| {
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

impl KeyColumn {
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
