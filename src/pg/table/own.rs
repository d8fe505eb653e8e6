//! Rows that a session keeps to itself: inserted once, and changed in place by its later transactions.
//!
//! An insert costs a row and an entry in each index, which vacuum has to take away again. A change of the row that
//! this session wrote last costs neither. Where the row is gone or held, the session begins another. That is looked at
//! before the change, without a lock: a transaction that takes the row away in the instant between is waited for, which
//! only background work does, in transactions that wait for nobody themselves.

use std::cell::RefCell;
use std::collections::BTreeMap;

use pgrx::pg_sys;

use super::indexes::Indexes;
use super::write::{fill, replace, virtual_slot};
use super::{Named, Open, Table};
use crate::pg::composite::Composite;
use crate::pg::spi::{Arg, Db};

/// So many keys are remembered; whoever uses more begins anew.
const REMEMBERED: usize = 1000;

/// Rows of one table, one for each key that the session has used. Their first column is a stamp, the same as long as
/// the row lives, that no other session gives.
pub struct Own<K, const N: usize> {
    table: Table,
    columns: [Named; N],
    places: RefCell<BTreeMap<K, (pg_sys::ItemPointerData, u64)>>,
}

// SAFETY: a backend has one thread.
unsafe impl<K, const N: usize> Sync for Own<K, N> {}

impl<K: Ord, const N: usize> Own<K, N> {
    /// Rows of a table with these columns.
    pub const fn new(table: &'static std::ffi::CStr, columns: [Named; N]) -> Self {
        Self {
            table: Table::new(table, 0),
            columns,
            places: RefCell::new(BTreeMap::new()),
        }
    }

    /// Inserts a row, which becomes the one of its key.
    pub fn insert(&self, _db: &Db, key: K, row: &[Arg; N]) {
        let open = self.table.open(&self.columns);
        // SAFETY: the slot has the relation's attributes and is dropped before the relation is closed.
        let place = unsafe {
            let slot = virtual_slot(open.relation);
            let mut indexes = Indexes::new(open.relation);
            fill(slot, &open.known.places, row, None);
            open.require(slot);
            pg_sys::simple_table_tuple_insert(open.relation, slot);
            indexes.insert(slot, false, false);
            let place = (*slot).tts_tid;
            indexes.close();
            pg_sys::ExecDropSingleTupleTableSlot(slot);
            open.close();
            pg_sys::CommandCounterIncrement();
            place
        };
        let mut places = self.places.borrow_mut();
        if places.len() >= REMEMBERED {
            places.clear();
        }
        let stamp = row.first().map_or(0, |stamp| stamp.datum.value() as u64);
        places.insert(key, (place, stamp));
    }

    /// Changes the row of a key into what `change` makes of it, if anything; false if it was not changed, because it is
    /// not there any more or another transaction has it.
    pub fn change(
        &self,
        _db: &Db,
        key: &K,
        change: impl FnOnce(&Composite) -> Option<[Arg; N]>,
    ) -> bool {
        let Some((place, stamp)) = self.places.borrow().get(key).copied() else {
            return false;
        };
        let open = self.table.open(&self.columns);
        // SAFETY: both slots have the relation's attributes and are dropped before the relation is closed; the old
        // row stays pinned in its slot until the new one has been formed.
        let changed = unsafe {
            let old = pg_sys::table_slot_create(open.relation, std::ptr::null_mut());
            let row = free(&open, place, old).then(|| Composite::of_slot(old));
            let changed = row
                .filter(|row| row.get::<Option<i64>>(0) == Some(stamp as i64))
                .and_then(|row| change(&row))
                .and_then(|row| {
                    let new = virtual_slot(open.relation);
                    let mut indexes = Indexes::new(open.relation);
                    fill(new, &open.known.places, &row, Some(old));
                    open.require(new);
                    let done = replace(&open, old, new, &mut indexes);
                    let place = (*new).tts_tid;
                    indexes.close();
                    pg_sys::ExecDropSingleTupleTableSlot(new);
                    done.then_some(place)
                });
            pg_sys::ExecDropSingleTupleTableSlot(old);
            open.close();
            pg_sys::CommandCounterIncrement();
            changed
        };
        let mut places = self.places.borrow_mut();
        match (changed, places.get_mut(key)) {
            (Some(place), Some(known)) => known.0 = place,
            _ => drop(places.remove(key)),
        }
        changed.is_some()
    }
}

/// Fetches the row at a place into a slot; false unless it is alive and no other transaction has touched it.
///
/// # Safety
/// The slot fits the open relation.
unsafe fn free(
    open: &Open,
    mut place: pg_sys::ItemPointerData,
    slot: *mut pg_sys::TupleTableSlot,
) -> bool {
    // SAFETY: as the caller promises. Vacuum may have cut the table off before the place, but not while it is open for
    // writing. The slot of a heap holds the row with its header.
    unsafe {
        let blocks = pg_sys::RelationGetNumberOfBlocksInFork(
            open.relation,
            pg_sys::ForkNumber::MAIN_FORKNUM,
        );
        let block = pgrx::itemptr::item_pointer_get_block_number_no_check(place);
        if block >= blocks
            || !pg_sys::table_tuple_fetch_row_version(
                open.relation,
                &mut place,
                &raw mut pg_sys::SnapshotSelfData,
                slot,
            )
        {
            return false;
        }
        let tuple = (*slot.cast::<pg_sys::HeapTupleTableSlot>()).tuple;
        let untouched = pg_sys::HEAP_XMAX_INVALID as u16;
        !tuple.is_null() && (*(*tuple).t_data).t_infomask & untouched != 0
    }
}
