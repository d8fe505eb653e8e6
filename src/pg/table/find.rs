//! Finding rows by key, and locking them.

use pgrx::pg_sys;

use super::{Named, Open, Table};
use crate::pg::composite::Composite;
use crate::pg::spi::{Arg, Db};

/// What to do about a row that another transaction holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Wait for its end.
    Wait,
    /// Do without the row.
    Skip,
}

impl Table {
    /// Locks the rows of keys one after the other, as `SELECT … FOR UPDATE` does, and reads them as they stand then.
    pub fn lock<R: AsRef<[Arg]>>(
        &self,
        _db: &Db,
        columns: &[Named],
        keys: &[R],
        held: Held,
    ) -> Vec<Composite> {
        let mut rows = Vec::with_capacity(keys.len());
        if keys.is_empty() {
            return rows;
        }
        let open = self.open(columns, pg_sys::RowShareLock);
        // SAFETY: the snapshot is popped, the slot dropped and the relation closed before the values leave, which
        // have been copied; after an error the transaction's abort does all of it.
        unsafe {
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            let snapshot = pg_sys::GetActiveSnapshot();
            let slot = pg_sys::table_slot_create(open.relation, std::ptr::null_mut());
            for key in keys {
                open.each(snapshot, key.as_ref(), slot, |slot| {
                    if lock_here(&open, snapshot, slot, held) {
                        rows.push(Composite::of_slot(slot));
                    }
                    true
                });
            }
            pg_sys::ExecDropSingleTupleTableSlot(slot);
            pg_sys::PopActiveSnapshot();
            open.close();
        }
        rows
    }
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
) -> bool {
    let fixed = !crate::pg::session::read_committed();
    let mut flags = pg_sys::TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS as u8;
    if !fixed {
        flags |= pg_sys::TUPLE_LOCK_FLAG_FIND_LAST_VERSION as u8;
    }
    // SAFETY: as the caller promises; the place is copied because the call overwrites the slot.
    let result = unsafe {
        let mut place = (*slot).tts_tid;
        let mut failure = pg_sys::TM_FailureData::default();
        pg_sys::table_tuple_lock(
            open.relation,
            &mut place,
            snapshot,
            slot,
            pg_sys::GetCurrentCommandId(false),
            pg_sys::LockTupleMode::LockTupleExclusive,
            match held {
                Held::Wait => pg_sys::LockWaitPolicy::LockWaitBlock,
                Held::Skip => pg_sys::LockWaitPolicy::LockWaitSkip,
            },
            flags,
            &mut failure,
        )
    };
    match result {
        pg_sys::TM_Result::TM_Ok => true,
        pg_sys::TM_Result::TM_WouldBlock => false,
        pg_sys::TM_Result::TM_Updated | pg_sys::TM_Result::TM_Deleted if fixed => {
            pgrx::ereport!(
                ERROR,
                pgrx::PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
                "could not serialize access due to concurrent update"
            );
        }
        _ => false,
    }
}

impl Open {
    /// Calls `work` for the rows of a key until it says no more.
    ///
    /// # Safety
    /// The slot fits the relation; the snapshot lives as long as the call.
    pub(super) unsafe fn each(
        &self,
        snapshot: pg_sys::Snapshot,
        key: &[Arg],
        slot: *mut pg_sys::TupleTableSlot,
        mut work: impl FnMut(*mut pg_sys::TupleTableSlot) -> bool,
    ) {
        let Some(by) = &self.known.key else {
            pgrx::error!("a table of the engine has lost the index its rows are found by");
        };
        // SAFETY: one scan key for each column of the index, which is open while it is scanned.
        unsafe {
            let index = pg_sys::index_open(by.index, pg_sys::RowExclusiveLock as i32);
            let mut keys = vec![pg_sys::ScanKeyData::default(); key.len()];
            for (i, (entry, (arg, (equal, collation)))) in
                keys.iter_mut().zip(key.iter().zip(&by.equal)).enumerate()
            {
                pg_sys::ScanKeyEntryInitialize(
                    entry,
                    0,
                    (i + 1) as i16,
                    pg_sys::BTEqualStrategyNumber as u16,
                    pg_sys::InvalidOid,
                    *collation,
                    *equal,
                    arg.datum,
                );
            }
            let scan = begin(self.relation, index, snapshot, keys.len() as i32);
            pg_sys::index_rescan(
                scan,
                keys.as_mut_ptr(),
                keys.len() as i32,
                std::ptr::null_mut(),
                0,
            );
            while pg_sys::index_getnext_slot(
                scan,
                pg_sys::ScanDirection::ForwardScanDirection,
                slot,
            ) && work(slot)
            {}
            pg_sys::index_endscan(scan);
            pg_sys::index_close(index, pg_sys::NoLock as i32);
        }
    }
}

/// # Safety
/// Both relations are open; the snapshot lives as long as the scan.
unsafe fn begin(
    relation: pg_sys::Relation,
    index: pg_sys::Relation,
    snapshot: pg_sys::Snapshot,
    keys: i32,
) -> pg_sys::IndexScanDesc {
    // SAFETY: as the caller promises.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        return pg_sys::index_beginscan(relation, index, snapshot, keys, 0);
        #[cfg(feature = "pg18")]
        return pg_sys::index_beginscan(relation, index, snapshot, std::ptr::null_mut(), keys, 0);
    }
}
