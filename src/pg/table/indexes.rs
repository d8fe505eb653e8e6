//! Keeping a table's indexes in step with the rows that are written.

use pgrx::pg_sys;

use crate::pg::path;

/// Whether no index computes anything, so that no function is called whose author trusts the path.
///
/// # Safety
/// The index was opened with this information.
unsafe fn plain(index: *mut pg_sys::IndexInfo) -> bool {
    // SAFETY: as the caller promises.
    unsafe { (*index).ii_Expressions.is_null() && (*index).ii_Predicate.is_null() }
}

/// Whether an entry is made at once and needs no second look.
///
/// # Safety
/// The index is open, with this information.
unsafe fn immediate(relation: pg_sys::Relation, index: *mut pg_sys::IndexInfo) -> bool {
    // SAFETY: as the caller promises.
    unsafe {
        (*index).ii_ReadyForInserts
            && (*index).ii_ExclusionOps.is_null()
            && (*(*relation).rd_index).indimmediate
    }
}

/// The indexes that are open, each with what the server knows of it.
///
/// # Safety
/// They stay open as long as the iterator is used.
unsafe fn each(
    info: *mut pg_sys::ResultRelInfo,
) -> impl Iterator<Item = (pg_sys::Relation, *mut pg_sys::IndexInfo)> {
    // SAFETY: the arrays have an item for each open index.
    let (count, relations, infos) = unsafe {
        (
            (*info).ri_NumIndices as usize,
            (*info).ri_IndexRelationDescs,
            (*info).ri_IndexRelationInfo,
        )
    };
    // SAFETY: as above, and as the caller promises.
    (0..count).map(move |i| unsafe { (*relations.add(i), *infos.add(i)) })
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
        // SAFETY: as the caller promises. Only servers from 16 on tell summarizing indexes apart.
        unsafe {
            let (info, state) = self.opened();
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
            if each(info).all(|(_, index)| plain(index)) {
                enter()
            } else {
                path::pinned(enter)
            };
        }
    }

    /// Enters new rows, into one index after the other: its pages stay at hand, and an entry costs less than by itself.
    ///
    /// # Safety
    /// The relation is open, and the slots hold rows that stand in it.
    pub(super) unsafe fn insert_all(&mut self, slots: &[*mut pg_sys::TupleTableSlot]) {
        // SAFETY: as the caller promises; a plain index has columns of the table only, and the slots hold all of them.
        unsafe {
            let (info, _) = self.opened();
            let all = || each(info);
            if !all().all(|(relation, index)| plain(index) && immediate(relation, index)) {
                for slot in slots {
                    self.insert(*slot, false, false);
                }
                return;
            }
            for (relation, index) in all() {
                let check = match (*index).ii_Unique {
                    true => pg_sys::IndexUniqueCheck::UNIQUE_CHECK_YES,
                    false => pg_sys::IndexUniqueCheck::UNIQUE_CHECK_NO,
                };
                let count = (*index).ii_NumIndexAttrs as usize;
                let mut values = vec![pg_sys::Datum::null(); count];
                let mut nulls = vec![false; count];
                for slot in slots {
                    let entry = values.iter_mut().zip(&mut nulls);
                    for ((value, null), column) in entry.zip(&(*index).ii_IndexAttrNumbers) {
                        let i = (*column - 1) as usize;
                        (*value, *null) =
                            (*(**slot).tts_values.add(i), *(**slot).tts_isnull.add(i));
                    }
                    let place = &raw mut (**slot).tts_tid;
                    pg_sys::index_insert(
                        relation,
                        values.as_mut_ptr(),
                        nulls.as_mut_ptr(),
                        place,
                        self.relation,
                        check,
                        false,
                        index,
                    );
                }
            }
        }
    }

    /// Opens the indexes, unless they are.
    ///
    /// # Safety
    /// The relation is open.
    unsafe fn opened(&mut self) -> (*mut pg_sys::ResultRelInfo, *mut pg_sys::EState) {
        // SAFETY: as the caller promises; a relation outside any range table has number 0, as in the server's own
        // catalog updates.
        *self.open.get_or_insert_with(|| unsafe {
            let info: *mut pg_sys::ResultRelInfo =
                pg_sys::palloc0(size_of::<pg_sys::ResultRelInfo>()).cast();
            (*info).type_ = pg_sys::NodeTag::T_ResultRelInfo;
            pg_sys::InitResultRelInfo(info, self.relation, 0, std::ptr::null_mut(), 0);
            pg_sys::ExecOpenIndices(info, false);
            (info, pg_sys::CreateExecutorState())
        })
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
