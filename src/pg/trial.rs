//! A piece of work that may be taken back: a subtransaction that is undone, with its locks, if the work declines.

use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe};

use pgrx::pg_sys;

/// Where the work began.
struct Outer(pg_sys::ResourceOwner, pg_sys::MemoryContext);

impl UnwindSafe for Outer {}
impl RefUnwindSafe for Outer {}

impl Outer {
    unsafe fn restore(&self) {
        // SAFETY: both have outlived the subtransaction.
        unsafe {
            pg_sys::MemoryContextSwitchTo(self.1);
            pg_sys::CurrentResourceOwner = self.0;
        }
    }

    unsafe fn undo(&self) {
        // SAFETY: the subtransaction is the innermost one.
        unsafe {
            pg_sys::RollbackAndReleaseCurrentSubTransaction();
            self.restore();
        }
    }
}

/// Runs `work` in a subtransaction, and undoes it if it returns an error. What it raises undoes it too and goes on.
pub fn attempt<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    // SAFETY: the standard pattern of PL handlers: begin, work, release or roll back, then restore the caller's
    // memory context and resource owner.
    unsafe {
        let outer = Outer(pg_sys::CurrentResourceOwner, pg_sys::CurrentMemoryContext);
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::MemoryContextSwitchTo(outer.1);
        let outcome = pgrx::PgTryBuilder::new(AssertUnwindSafe(work))
            .catch_others(|error| {
                outer.undo();
                error.rethrow()
            })
            .execute();
        if outcome.is_ok() {
            pg_sys::ReleaseCurrentSubTransaction();
            outer.restore();
        } else {
            outer.undo();
        }
        outcome
    }
}
