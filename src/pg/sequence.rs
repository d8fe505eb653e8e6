//! Sequences of the engine.

use std::cell::Cell;
use std::ffi::CStr;

use pgrx::pg_sys;

use super::session;

/// A sequence of the schema `ff_engine`.
pub struct Sequence {
    name: &'static CStr,
    known: Cell<pg_sys::Oid>,
}

// SAFETY: a backend has one thread.
unsafe impl Sync for Sequence {}

impl Sequence {
    /// By its name.
    pub const fn new(name: &'static CStr) -> Self {
        Self {
            name,
            known: Cell::new(pg_sys::InvalidOid),
        }
    }

    /// Its next value.
    pub fn next(&self) -> i64 {
        // SAFETY: catalog look-ups and a call of a built-in function inside a transaction; a number that is no
        // relation's any more is looked up again.
        unsafe {
            if pg_sys::get_rel_relkind(self.known.get())
                != pg_sys::RELKIND_SEQUENCE as std::ffi::c_char
            {
                self.known.set(session::table(c"ff_engine", self.name));
            }
            let value = pgrx::direct_function_call_as_datum(
                pg_sys::nextval_oid,
                &[Some(pg_sys::Datum::from(self.known.get()))],
            );
            value.map_or(0, |datum| datum.value() as i64)
        }
    }
}
