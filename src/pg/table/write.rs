//! Inserting rows, and changing or deleting those of a key.

use pgrx::pg_sys;

use super::find::Search;
use super::{Named, Open, Table};
use crate::pg::path;
use crate::pg::spi::{Arg, Db};

impl Table {
    /// Inserts rows; each holds the chosen columns in order, the others become null. Bit `i` chooses column `i`.
    pub fn insert<R: AsRef<[Arg]>>(&self, _db: &Db, columns: &[Named], chosen: u128, rows: &[R]) {
        if rows.is_empty() {
            return;
        }
        let open = self.open(columns, pg_sys::RowExclusiveLock);
        let places = open.chosen(chosen);
        // SAFETY: the slot has the relation's attributes and is dropped before the relation is closed.
        unsafe {
            let slot = virtual_slot(open.relation);
            let mut indexes = Indexes::new(open.relation);
            for row in rows {
                fill(slot, &places, row.as_ref(), None);
                open.require(slot);
                pg_sys::simple_table_tuple_insert(open.relation, slot);
                indexes.insert(slot, false, false);
            }
            indexes.close();
            pg_sys::ExecDropSingleTupleTableSlot(slot);
            open.close();
            pg_sys::CommandCounterIncrement();
        }
    }

    /// Changes the chosen columns of rows that this transaction has locked; the key stands first in each.
    pub fn update<R: AsRef<[Arg]>>(&self, _db: &Db, columns: &[Named], chosen: u128, rows: &[R]) {
        if rows.is_empty() {
            return;
        }
        let open = self.open(columns, pg_sys::RowExclusiveLock);
        let places = open.chosen(chosen);
        // SAFETY: both slots have the relation's attributes and are dropped before the relation is closed; the old
        // row's values stay pinned in its slot until the new row has been formed.
        unsafe {
            let new = virtual_slot(open.relation);
            let mut search = Search::begin(&open, &raw mut pg_sys::SnapshotSelfData);
            let mut indexes = Indexes::new(open.relation);
            for row in rows {
                let row = row.as_ref();
                search.by(row.get(..self.key).unwrap_or_default());
                let Some(old) = search.next() else {
                    pgrx::error!("a row of {} has vanished under its lock", self.name);
                };
                pg_sys::slot_getallattrs(old);
                fill(new, &places, row, Some(old));
                open.require(new);
                replace(&open, old, new, &mut indexes);
            }
            search.end();
            indexes.close();
            pg_sys::ExecDropSingleTupleTableSlot(new);
            open.close();
            pg_sys::CommandCounterIncrement();
        }
    }

    /// Deletes the rows of keys; a row that is gone already, or being deleted, is passed over.
    pub fn delete<R: AsRef<[Arg]>>(&self, _db: &Db, columns: &[Named], keys: &[R]) {
        if keys.is_empty() {
            return;
        }
        let open = self.open(columns, pg_sys::RowExclusiveLock);
        // SAFETY: the search ends before the relation is closed.
        unsafe {
            let mut search = Search::begin(&open, &raw mut pg_sys::SnapshotSelfData);
            for key in keys {
                search.by(key.as_ref());
                while let Some(slot) = search.next() {
                    remove(&open, slot);
                }
            }
            search.end();
            open.close();
            pg_sys::CommandCounterIncrement();
        }
    }
}

impl Open {
    /// Attribute numbers of the chosen columns.
    fn chosen(&self, mask: u128) -> Vec<usize> {
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
    unsafe fn require(&self, slot: *mut pg_sys::TupleTableSlot) {
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
unsafe fn virtual_slot(relation: pg_sys::Relation) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: as the caller promises.
    unsafe {
        pg_sys::MakeSingleTupleTableSlot((*relation).rd_att, &raw const pg_sys::TTSOpsVirtual)
    }
}

/// Fills a virtual slot with the given values, and the rest from another row or with nulls.
///
/// # Safety
/// Both slots have the attributes of the relation whose attribute numbers are given; all of `rest` is deformed.
unsafe fn fill(
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

/// Puts the new version of a row into its place.
///
/// # Safety
/// `old` holds a row of the open relation, `new` its successor.
unsafe fn replace(
    open: &Open,
    old: *mut pg_sys::TupleTableSlot,
    new: *mut pg_sys::TupleTableSlot,
    indexes: &mut Indexes,
) {
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
            pgrx::error!("a locked row of an engine table was changed by another transaction");
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
    }
}

/// Deletes a row, unless somebody else does.
///
/// # Safety
/// The slot holds a row of the open relation.
unsafe fn remove(open: &Open, slot: *mut pg_sys::TupleTableSlot) {
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
}

/// Whether no index computes anything, so that no function is called whose author trusts the path.
///
/// # Safety
/// The indexes of the relation are open.
unsafe fn plain(info: *mut pg_sys::ResultRelInfo) -> bool {
    // SAFETY: the array has an item for each open index.
    unsafe {
        (0..(*info).ri_NumIndices as usize).all(|i| {
            let index = *(*info).ri_IndexRelationInfo.add(i);
            (*index).ii_Expressions.is_null() && (*index).ii_Predicate.is_null()
        })
    }
}

/// The indexes of a relation, opened when the first entry is made.
struct Indexes {
    relation: pg_sys::Relation,
    open: Option<(*mut pg_sys::ResultRelInfo, *mut pg_sys::EState)>,
}

impl Indexes {
    fn new(relation: pg_sys::Relation) -> Self {
        Self {
            relation,
            open: None,
        }
    }

    /// Enters the row in the slot.
    ///
    /// # Safety
    /// The relation is open, and the slot holds a row that stands in it.
    unsafe fn insert(
        &mut self,
        slot: *mut pg_sys::TupleTableSlot,
        update: bool,
        #[cfg_attr(feature = "pg15", allow(unused_variables))] summarizing: bool,
    ) {
        // SAFETY: as the caller promises; a relation outside any range table has number 0, as in the server's own
        // catalog updates. Only servers from 16 on tell summarizing indexes apart.
        unsafe {
            let (info, state) = *self.open.get_or_insert_with(|| {
                let info: *mut pg_sys::ResultRelInfo =
                    pg_sys::palloc0(size_of::<pg_sys::ResultRelInfo>()).cast();
                (*info).type_ = pg_sys::NodeTag::T_ResultRelInfo;
                pg_sys::InitResultRelInfo(info, self.relation, 0, std::ptr::null_mut(), 0);
                pg_sys::ExecOpenIndices(info, false);
                (info, pg_sys::CreateExecutorState())
            });
            let enter = || {
                pg_sys::ExecInsertIndexTuples(
                    info,
                    slot,
                    state,
                    update,
                    false,
                    std::ptr::null_mut(),
                    std::ptr::null_mut(),
                    #[cfg(not(feature = "pg15"))]
                    summarizing,
                )
            };
            if plain(info) {
                enter()
            } else {
                path::pinned(enter)
            };
        }
    }

    /// # Safety
    /// The relation is still open.
    unsafe fn close(self) {
        if let Some((info, state)) = self.open {
            // SAFETY: opened by `insert`, closed once.
            unsafe {
                pg_sys::ExecCloseIndices(info);
                pg_sys::FreeExecutorState(state);
            }
        }
    }
}
