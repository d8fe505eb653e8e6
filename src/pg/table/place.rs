//! Where the rows stand that this transaction has locked, so that changing one needs no second search.
//!
//! A place is a hint: whoever uses it checks that the row there is alive and has the key.

use std::cell::RefCell;
use std::collections::BTreeMap;

use pgrx::pg_sys;

use super::Open;
use crate::pg::spi::Arg;

/// Table and key, which is one uuid.
type Row = (u32, [u8; 16]);

thread_local! {
    static PLACES: RefCell<BTreeMap<Row, pg_sys::ItemPointerData>> =
        const { RefCell::new(BTreeMap::new()) };
}

/// Forgets all places; called when a transaction ends.
pub fn forget() {
    PLACES.with_borrow_mut(BTreeMap::clear);
}

impl Open {
    /// Remembers where the row of a key stands.
    pub(super) fn note(&self, key: &[Arg], place: pg_sys::ItemPointerData) {
        if let Some(row) = self.row(key) {
            PLACES.with_borrow_mut(|places| places.insert(row, place));
        }
    }

    /// Fetches the row of a key from where it was last seen into a slot; `false` if it has to be searched for.
    ///
    /// # Safety
    /// The slot fits the relation, and the key's first argument is of its type.
    pub(super) unsafe fn revisit(&self, key: &[Arg], slot: *mut pg_sys::TupleTableSlot) -> bool {
        let Some(row) = self.row(key) else {
            return false;
        };
        let Some(mut place) = PLACES.with_borrow(|places| places.get(&row).copied()) else {
            return false;
        };
        // SAFETY: as the caller promises; the key is a column that is never null.
        unsafe {
            let alive = pg_sys::table_tuple_fetch_row_version(
                self.relation,
                &mut place,
                &raw mut pg_sys::SnapshotSelfData,
                slot,
            );
            let Some(column) = self.known.places.first().filter(|_| alive) else {
                return false;
            };
            pg_sys::slot_getallattrs(slot);
            let found = *(*slot).tts_values.add(column - 1);
            *found.cast_mut_ptr::<[u8; 16]>() == row.1
        }
    }

    fn row(&self, key: &[Arg]) -> Option<Row> {
        match key {
            [id] if self.known.uuid => {
                // SAFETY: a uuid datum points to sixteen bytes.
                let bytes = unsafe { *id.datum.cast_mut_ptr::<[u8; 16]>() };
                Some((u32::from(self.known.table), bytes))
            }
            _ => None,
        }
    }
}
