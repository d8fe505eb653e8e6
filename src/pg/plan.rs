//! Pinned plan shapes: every engine statement is a chain of key lookups, whatever the statistics say.

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
            };
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
        }
    }
}
