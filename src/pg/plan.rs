//! Pinned plan shapes: every engine statement is a chain of key lookups, whatever the statistics say.
//!
//! While a statement of the engine may be planned, the planner is held to index scans and nested loops in the order
//! written, and is shown the same large tables without statistics, whatever they hold. So a plan made on an empty
//! table is the plan used on a full one, and a later VACUUM or ANALYZE changes nothing.

use std::cell::Cell;

use pgrx::pg_sys;

/// Holds the planner to index scans and nested loops while it lives, and restores the caller's settings.
///
/// A plan made while a table was empty would otherwise scan it sequentially for as long as it is kept.
/// The guard stands around every execution because an invalidation may plan anew at any of them.
pub struct Pinned {
    seqscan: bool,
    bitmapscan: bool,
    hashjoin: bool,
    mergejoin: bool,
    hashagg: bool,
    memoize: bool,
    material: bool,
    jit: bool,
    cache_mode: i32,
    sort: bool,
    from_limit: i32,
    join_limit: i32,
    outer: bool,
}

impl Pinned {
    /// Pins the planner.
    pub fn new() -> Self {
        // SAFETY: planner settings are plain process-local variables of a single-threaded backend.
        unsafe {
            let saved = Self {
                seqscan: pg_sys::enable_seqscan,
                bitmapscan: pg_sys::enable_bitmapscan,
                hashjoin: pg_sys::enable_hashjoin,
                mergejoin: pg_sys::enable_mergejoin,
                hashagg: pg_sys::enable_hashagg,
                memoize: pg_sys::enable_memoize,
                material: pg_sys::enable_material,
                jit: pg_sys::jit_enabled,
                cache_mode: pg_sys::plan_cache_mode,
                sort: pg_sys::enable_sort,
                from_limit: pg_sys::from_collapse_limit,
                join_limit: pg_sys::join_collapse_limit,
                outer: PINNED.replace(true),
            };
            pg_sys::enable_sort = false;
            pg_sys::from_collapse_limit = 1;
            pg_sys::join_collapse_limit = 1;
            pg_sys::enable_seqscan = false;
            pg_sys::enable_bitmapscan = false;
            pg_sys::enable_hashjoin = false;
            pg_sys::enable_mergejoin = false;
            pg_sys::enable_hashagg = false;
            pg_sys::enable_memoize = false;
            pg_sys::enable_material = false;
            pg_sys::jit_enabled = false;
            pg_sys::plan_cache_mode =
                pg_sys::PlanCacheMode::PLAN_CACHE_MODE_FORCE_GENERIC_PLAN as i32;
            saved
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: as in `new`.
        unsafe {
            pg_sys::enable_seqscan = self.seqscan;
            pg_sys::enable_bitmapscan = self.bitmapscan;
            pg_sys::enable_hashjoin = self.hashjoin;
            pg_sys::enable_mergejoin = self.mergejoin;
            pg_sys::enable_hashagg = self.hashagg;
            pg_sys::enable_memoize = self.memoize;
            pg_sys::enable_material = self.material;
            pg_sys::jit_enabled = self.jit;
            pg_sys::plan_cache_mode = self.cache_mode;
            pg_sys::enable_sort = self.sort;
            pg_sys::from_collapse_limit = self.from_limit;
            pg_sys::join_collapse_limit = self.join_limit;
            PINNED.set(self.outer);
        }
    }
}

thread_local! {
    /// A statement of the engine is being run, and may be planned.
    static PINNED: Cell<bool> = const { Cell::new(false) };
    static NEXT: Cell<(pg_sys::get_relation_info_hook_type, pg_sys::get_relation_stats_hook_type)> =
        const { Cell::new((None, None)) };
}

/// Rows that every table of the engine seems to have.
const TUPLES: f64 = 1_000_000.0;
/// Pages that every table of the engine seems to have.
const PAGES: u32 = 20_000;

/// Installs the planner's hooks; called once from `_PG_init`.
pub fn init() {
    // SAFETY: hooks are chained as every extension does; the library is never unloaded.
    unsafe {
        NEXT.set((
            pg_sys::get_relation_info_hook,
            pg_sys::get_relation_stats_hook,
        ));
        pg_sys::get_relation_info_hook = Some(same_size);
        pg_sys::get_relation_stats_hook = Some(no_statistics);
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn same_size(
    root: *mut pg_sys::PlannerInfo,
    relation: pg_sys::Oid,
    parent: bool,
    info: *mut pg_sys::RelOptInfo,
) {
    // SAFETY: the planner passes a relation it has just read; its index list holds IndexOptInfo nodes.
    unsafe {
        if let Some(next) = NEXT.get().0 {
            next(root, relation, parent, info);
        }
        if PINNED.get() {
            (*info).tuples = TUPLES;
            (*info).pages = PAGES;
            (*info).allvisfrac = 0.0;
            for i in 0..pg_sys::list_length((*info).indexlist) {
                let index = pg_sys::list_nth((*info).indexlist, i).cast::<pg_sys::IndexOptInfo>();
                (*index).tuples = TUPLES;
                (*index).pages = PAGES / 4;
                (*index).tree_height = 2;
            }
        }
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn no_statistics(
    root: *mut pg_sys::PlannerInfo,
    entry: *mut pg_sys::RangeTblEntry,
    attribute: pg_sys::AttrNumber,
    data: *mut pg_sys::VariableStatData,
) -> bool {
    // SAFETY: the planner passes a structure to fill; without a tuple it falls back on its defaults.
    unsafe {
        if PINNED.get() {
            (*data).statsTuple = std::ptr::null_mut();
            return true;
        }
        NEXT.get()
            .1
            .is_some_and(|next| next(root, entry, attribute, data))
    }
}
