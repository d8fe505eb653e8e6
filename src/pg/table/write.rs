//! Inserting rows, and changing or deleting those of a key.

use std::borrow::Cow;

use pgrx::pg_sys;

use super::find::held;
use super::indexes::Indexes;
use super::search::Search;
use super::{Named, Open, Table};
use crate::pg::spi::{Arg, Db};

/// Rows that are inserted in one go: those of a page take one lock and one record of WAL.
const TOGETHER: usize = 100;

impl Table {
    /// Inserts rows; each holds the chosen columns in order, the others become null. Bit `i` chooses column `i`.
    pub fn insert<R: AsRef<[Arg]>>(&self, _db: &Db, columns: &[Named], chosen: u128, rows: &[R]) {
        if rows.is_empty() {
            return;
        }
        let open = self.open(columns);
        let places = open.chosen(chosen);
        // SAFETY: the slots have the relation's attributes and are dropped before the relation is closed.
        unsafe {
            let slots: Vec<_> = (0..rows.len().min(TOGETHER))
                .map(|_| virtual_slot(open.relation))
                .collect();
            let mut indexes = Indexes::new(open.relation);
            for some in rows.chunks(TOGETHER) {
                for (slot, row) in slots.iter().zip(some) {
                    fill(*slot, &places, row.as_ref(), None);
                    open.require(*slot);
                }
                let filled = slots.get(..some.len()).unwrap_or_default();
                append(&open, filled);
                indexes.insert_all(filled);
            }
            indexes.close();
            for slot in slots {
                pg_sys::ExecDropSingleTupleTableSlot(slot);
            }
            open.close();
            pg_sys::CommandCounterIncrement();
        }
    }

    /// Changes the chosen columns of rows that this transaction has locked; the key stands first in each.
    pub fn update<R: AsRef<[Arg]>>(&self, _db: &Db, columns: &[Named], chosen: u128, rows: &[R]) {
        if rows.is_empty() {
            return;
        }
        let open = self.open(columns);
        let places = open.chosen(chosen);
        // SAFETY: both slots have the relation's attributes and are dropped before the relation is closed; the old
        // row's values stay pinned in its slot until the new row has been formed.
        unsafe {
            let new = virtual_slot(open.relation);
            let seen = pg_sys::table_slot_create(open.relation, std::ptr::null_mut());
            let mut search = None;
            let mut indexes = Indexes::new(open.relation);
            for row in rows {
                let row = row.as_ref();
                let key = row.get(..self.key).unwrap_or_default();
                let old = if open.revisit(key, seen) {
                    seen
                } else {
                    let search = search.get_or_insert_with(|| Search::of_latest(&open));
                    search.by(key);
                    match search.next() {
                        Some(found) => found,
                        None => {
                            pgrx::error!("a row of {:?} has vanished under its lock", self.name)
                        }
                    }
                };
                pg_sys::slot_getallattrs(old);
                fill(new, &places, row, Some(old));
                open.require(new);
                if !replace(&open, old, new, &mut indexes) {
                    pgrx::error!(
                        "a locked row of an engine table was changed by another transaction"
                    );
                }
                open.note(key, (*new).tts_tid);
            }
            if let Some(search) = search {
                search.end();
            }
            pg_sys::ExecDropSingleTupleTableSlot(seen);
            indexes.close();
            pg_sys::ExecDropSingleTupleTableSlot(new);
            open.close();
            pg_sys::CommandCounterIncrement();
        }
    }

    /// Deletes the rows of keys, and tells of each key whether it did. A row that is gone, or that another transaction is
    /// deleting, is passed over: nobody waits for who deletes the same.
    pub fn delete<R: AsRef<[Arg]>>(&self, _db: &Db, columns: &[Named], keys: &[R]) -> Vec<bool> {
        if keys.is_empty() {
            return Vec::new();
        }
        let open = self.open(columns);
        // SAFETY: the search ends before the relation is closed.
        unsafe {
            let noted = pg_sys::table_slot_create(open.relation, std::ptr::null_mut());
            let mut search = None;
            let mut remove_all = |key: &R| {
                let key = key.as_ref();
                if open.revisit(key, noted) {
                    return !held(noted) && remove(&open, noted);
                }
                let search = search.get_or_insert_with(|| Search::of_latest(&open));
                let mut any = false;
                search.by(key);
                while let Some(slot) = search.next() {
                    any |= !held(slot) && remove(&open, slot);
                }
                any
            };
            let deleted = keys.iter().map(&mut remove_all).collect();
            if let Some(search) = search {
                search.end();
            }
            pg_sys::ExecDropSingleTupleTableSlot(noted);
            open.close();
            pg_sys::CommandCounterIncrement();
            deleted
        }
    }
}

impl Open {
    /// Attribute numbers of the chosen columns.
    fn chosen(&self, mask: u128) -> Cow<'_, [usize]> {
        if mask == u128::MAX {
            return Cow::Borrowed(&self.known.places);
        }
        let places = self.known.places.iter().enumerate();
        places
            .filter(|(i, _)| mask >> i & 1 == 1)
            .map(|(_, place)| *place)
            .collect()
    }

    /// Refuses nulls where the table does.
    ///
    /// # Safety
    /// The slot holds values for all attributes of the relation.
    pub(super) unsafe fn require(&self, slot: *mut pg_sys::TupleTableSlot) {
        for place in &self.known.required {
            // SAFETY: attribute numbers count from one and are within the slot.
            if unsafe { *(*slot).tts_isnull.add(place - 1) } {
                pgrx::error!("attribute {place} of an engine table must not be null");
            }
        }
    }
}

/// # Safety
/// The relation is open.
pub(super) unsafe fn virtual_slot(relation: pg_sys::Relation) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: as the caller promises.
    unsafe {
        pg_sys::MakeSingleTupleTableSlot((*relation).rd_att, &raw const pg_sys::TTSOpsVirtual)
    }
}

/// Fills a virtual slot with the given values, and the rest from another row or with nulls.
///
/// # Safety
/// Both slots have the attributes of the relation whose attribute numbers are given; all of `rest` is deformed.
pub(super) unsafe fn fill(
    slot: *mut pg_sys::TupleTableSlot,
    places: &[usize],
    row: &[Arg],
    rest: Option<*mut pg_sys::TupleTableSlot>,
) {
    // SAFETY: as the caller promises.
    unsafe {
        pg_sys::ExecClearTuple(slot);
        let attributes = (*(*slot).tts_tupleDescriptor).natts as usize;
        let values = std::slice::from_raw_parts_mut((*slot).tts_values, attributes);
        let nulls = std::slice::from_raw_parts_mut((*slot).tts_isnull, attributes);
        match rest {
            Some(rest) => {
                values.copy_from_slice(std::slice::from_raw_parts((*rest).tts_values, attributes));
                nulls.copy_from_slice(std::slice::from_raw_parts((*rest).tts_isnull, attributes));
            }
            None => {
                values.fill(pg_sys::Datum::null());
                nulls.fill(true);
            }
        }
        for (place, arg) in places.iter().zip(row) {
            if let (Some(value), Some(null)) = (values.get_mut(place - 1), nulls.get_mut(place - 1))
            {
                *value = arg.datum;
                *null = arg.null;
            }
        }
        pg_sys::ExecStoreVirtualTuple(slot);
    }
}

/// Puts the rows in the slots into the table, and their places into the slots.
///
/// # Safety
/// The slots hold rows of the open relation.
unsafe fn append(open: &Open, slots: &[*mut pg_sys::TupleTableSlot]) {
    // SAFETY: as the caller promises; the list is only read.
    unsafe {
        match slots {
            [slot] => pg_sys::simple_table_tuple_insert(open.relation, *slot),
            slots => pg_sys::heap_multi_insert(
                open.relation,
                slots.as_ptr().cast_mut(),
                slots.len() as i32,
                pg_sys::GetCurrentCommandId(true),
                0,
                std::ptr::null_mut(),
            ),
        }
    }
}

/// Puts the new version of a row into its place; false if another transaction was faster.
///
/// # Safety
/// `old` holds a row of the open relation, `new` its successor.
pub(super) unsafe fn replace(
    open: &Open,
    old: *mut pg_sys::TupleTableSlot,
    new: *mut pg_sys::TupleTableSlot,
    indexes: &mut Indexes,
) -> bool {
    // SAFETY: as the caller promises.
    unsafe {
        let mut failure = pg_sys::TM_FailureData::default();
        let mut mode = pg_sys::LockTupleMode::LockTupleExclusive;
        let mut which = Default::default();
        let result = pg_sys::table_tuple_update(
            open.relation,
            &mut (*old).tts_tid,
            new,
            pg_sys::GetCurrentCommandId(true),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            true,
            &mut failure,
            &mut mode,
            &mut which,
        );
        if result != pg_sys::TM_Result::TM_Ok {
            return false;
        }
        #[cfg(feature = "pg15")]
        let (any, summarizing) = (which, false);
        #[cfg(not(feature = "pg15"))]
        let (any, summarizing) = (
            which != pg_sys::TU_UpdateIndexes::TU_None,
            which == pg_sys::TU_UpdateIndexes::TU_Summarizing,
        );
        if any {
            indexes.insert(new, true, summarizing);
        }
        true
    }
}

/// Deletes a row, unless somebody else has; whether it did.
///
/// # Safety
/// The slot holds a row of the open relation.
unsafe fn remove(open: &Open, slot: *mut pg_sys::TupleTableSlot) -> bool {
    // SAFETY: as the caller promises.
    let result = unsafe {
        let mut failure = pg_sys::TM_FailureData::default();
        pg_sys::table_tuple_delete(
            open.relation,
            &mut (*slot).tts_tid,
            pg_sys::GetCurrentCommandId(true),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            true,
            &mut failure,
            false,
        )
    };
    if result == pg_sys::TM_Result::TM_Updated {
        pgrx::error!("an entry that is only ever deleted was changed in place");
    }
    result == pg_sys::TM_Result::TM_Ok
}
