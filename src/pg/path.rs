//! The pinned search path: names in the engine's statements mean what they say, whatever the caller's path is.

use std::ffi::CStr;

use pgrx::pg_sys;

/// Where the engine's statements look up names that carry no schema; temporary objects come last.
const PINNED: &CStr = c"pg_catalog, pg_temp";

/// Runs `work` under the pinned path.
///
/// Setting the path costs more than many an operation, and one that runs no statement needs none; so the functions
/// that matter for speed have no SET clause, and every statement comes through here.
pub fn pinned<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: the setting is an ordinary one and is restored here; after an error the abort of the transaction or
    // subtransaction restores it.
    unsafe {
        let path = pg_sys::namespace_search_path;
        if !path.is_null() && CStr::from_ptr(path) == PINNED {
            return work();
        }
        let level = pg_sys::NewGUCNestLevel();
        pg_sys::set_config_option(
            c"search_path".as_ptr(),
            PINNED.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            0,
            false,
        );
        let value = work();
        pg_sys::AtEOXact_GUC(true, level);
        value
    }
}
