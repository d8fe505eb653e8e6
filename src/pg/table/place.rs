//! Where the rows stand that this transaction has locked or is about to take away, so that it needs no second search.
//!
//! A place is a hint: whoever uses it checks that the row there is alive and has the key.

use std::cell::RefCell;
use std::collections::BTreeMap;

use pgrx::pg_sys;

use super::Open;
use crate::pg::spi::Arg;

/// Table, and the uuid that ends the key.
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
    /// The slot fits the relation, and the key's arguments are of its columns' types.
    pub(super) unsafe fn revisit(&self, key: &[Arg], slot: *mut pg_sys::TupleTableSlot) -> bool {
        let Some(row) = self.row(key) else {
            return false;
        };
        let Some(mut place) = PLACES.with_borrow(|places| places.get(&row).copied()) else {
            return false;
        };
        // SAFETY: as the caller promises; no column of a key is null, and the last is a uuid.
        unsafe {
            let alive = pg_sys::table_tuple_fetch_row_version(
                self.relation,
                &mut place,
                &raw mut pg_sys::SnapshotSelfData,
                slot,
            );
            if !alive {
                return false;
            }
            pg_sys::slot_getallattrs(slot);
            let columns = self.known.places.iter().zip(key);
            let mut columns =
                columns.map(|(place, arg)| (*(*slot).tts_values.add(place - 1), arg.datum));
            let last = columns.next_back();
            columns.all(|(there, asked)| there == asked)
                && last.is_some_and(|(there, _)| *there.cast_mut_ptr::<[u8; 16]>() == row.1)
        }
    }

    fn row(&self, key: &[Arg]) -> Option<Row> {
        let id = key.last().filter(|_| self.known.ends_with_uuid)?;
        // SAFETY: a uuid datum points to sixteen bytes.
        let bytes = unsafe { *id.datum.cast_mut_ptr::<[u8; 16]>() };
        Some((u32::from(self.known.table), bytes))
    }
}
