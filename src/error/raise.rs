//! The one place where an engine error becomes a PostgreSQL ERROR, with its own SQLSTATE.

use std::ffi::c_void;

use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgLogLevel, PgSqlErrorCode};

use super::Error;

unsafe extern "C-unwind" {
    fn errcode(code: i32) -> i32;
    fn geterrcode() -> i32;
}

/// A code the engine never raises otherwise; the callback below replaces it.
const SENTINEL: PgSqlErrorCode = PgSqlErrorCode::ERRCODE_ASSERT_FAILURE;

/// Swaps the sentinel for the engine's SQLSTATE; leaves every other report alone.
unsafe extern "C-unwind" fn stamp(code: *mut c_void) {
    // SAFETY: PostgreSQL calls this while it builds an error report, where both functions may be called.
    unsafe {
        if geterrcode() == SENTINEL as i32 {
            errcode(code as usize as i32);
        }
    }
}

/// Six bits per character, first character lowest, as PostgreSQL packs a SQLSTATE.
fn packed(sqlstate: &str) -> usize {
    sqlstate
        .bytes()
        .rev()
        .fold(0, |code, c| (code << 6) + usize::from((c - b'0') & 0x3F))
}

impl Error {
    /// Ends the call with this error. Only the SQL boundary calls it, after SPI has been left.
    #[cold]
    #[track_caller]
    pub fn raise(self) -> ! {
        // SAFETY: the frame is palloc'd and stays on the stack of callbacks until PostgreSQL resets that stack
        // while it handles the error raised right below.
        unsafe {
            let frame = pg_sys::palloc0(size_of::<pg_sys::ErrorContextCallback>())
                .cast::<pg_sys::ErrorContextCallback>();
            (*frame).previous = pg_sys::error_context_stack;
            (*frame).callback = Some(stamp);
            (*frame).arg = packed(self.kind().sqlstate()) as *mut c_void;
            pg_sys::error_context_stack = frame;
        }
        ErrorReport::new(SENTINEL, self.message(), "ff_engine")
            .set_detail(self.detail())
            .set_hint(self.hint_text().to_owned())
            .report(PgLogLevel::ERROR);
        unreachable!("an ERROR does not return")
    }
}
