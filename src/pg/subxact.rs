//! A piece of work that may fail without the rest: a subtransaction around it.

use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe};

use pgrx::pg_sys;
use pgrx::pg_sys::panic::CaughtError;

/// Runs `work` in a subtransaction. If it raises, its effects are undone and the error's text is returned.
pub fn attempt<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    struct Owner(pg_sys::ResourceOwner, pg_sys::MemoryContext);
    impl UnwindSafe for Owner {}
    impl RefUnwindSafe for Owner {}

    // SAFETY: the standard pattern of PL handlers: begin, work, release or roll back, then restore the caller's
    // memory context and resource owner.
    unsafe {
        let outer = Owner(pg_sys::CurrentResourceOwner, pg_sys::CurrentMemoryContext);
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::MemoryContextSwitchTo(outer.1);
        let caught = pgrx::PgTryBuilder::new(AssertUnwindSafe(|| {
            let value = work();
            pg_sys::ReleaseCurrentSubTransaction();
            Ok(value)
        }))
        .catch_others(|error| {
            Err(match error {
                CaughtError::PostgresError(report)
                | CaughtError::ErrorReport(report)
                | CaughtError::RustPanic {
                    ereport: report, ..
                } => report.message().to_owned(),
            })
        })
        .execute();
        if caught.is_err() {
            pg_sys::RollbackAndReleaseCurrentSubTransaction();
        }
        pg_sys::MemoryContextSwitchTo(outer.1);
        pg_sys::CurrentResourceOwner = outer.0;
        caught
    }
}
