//! Keeping a table's indexes in step with the rows that are written.

use pgrx::pg_sys;

use crate::pg::path;

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
pub(super) struct Indexes {
    relation: pg_sys::Relation,
    open: Option<(*mut pg_sys::ResultRelInfo, *mut pg_sys::EState)>,
}

impl Indexes {
    pub(super) fn new(relation: pg_sys::Relation) -> Self {
        Self {
            relation,
            open: None,
        }
    }

    /// Enters the row in the slot.
    ///
    /// # Safety
    /// The relation is open, and the slot holds a row that stands in it.
    pub(super) unsafe fn insert(
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
    pub(super) unsafe fn close(self) {
        if let Some((info, state)) = self.open {
            // SAFETY: opened by `insert`, closed once.
            unsafe {
                pg_sys::ExecCloseIndices(info);
                pg_sys::FreeExecutorState(state);
            }
        }
    }
}
