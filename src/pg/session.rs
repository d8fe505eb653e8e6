//! What the engine asks about the calling session.

use std::ffi::CStr;

use pgrx::pg_sys;

/// Name of the session's user, who called, whatever rights the function runs with.
pub fn user() -> String {
    // SAFETY: the role of a live session has a name; the text is palloc'd.
    unsafe {
        let name = pg_sys::GetUserNameFromId(pg_sys::GetSessionUserId(), true);
        if name.is_null() {
            String::new()
        } else {
            CStr::from_ptr(name).to_string_lossy().into_owned()
        }
    }
}

/// Whether every statement takes its own snapshot.
pub fn read_committed() -> bool {
    // SAFETY: a setting of the running transaction.
    unsafe { pg_sys::XactIsoLevel <= pg_sys::XACT_READ_COMMITTED as i32 }
}

/// OID of a table in a schema; invalid if it does not exist.
pub fn table(schema: &CStr, name: &CStr) -> pg_sys::Oid {
    // SAFETY: catalog look-ups inside a transaction.
    unsafe {
        let namespace = pg_sys::get_namespace_oid(schema.as_ptr(), true);
        pg_sys::get_relname_relid(name.as_ptr(), namespace)
    }
}

/// Process id of this backend.
pub fn pid() -> i32 {
    // SAFETY: set at process start.
    unsafe { pg_sys::MyProcPid }
}

/// Reserves a prefix of setting names, so that a misspelt one is rejected.
pub fn reserve_settings(prefix: &CStr) {
    // SAFETY: called once, after all settings of the prefix are defined.
    unsafe { pg_sys::MarkGUCPrefixReserved(prefix.as_ptr()) };
}

/// Reads an ISO-8601 instant with the server's parser; `None` if it is not one.
pub fn parse_timestamp(text: &str) -> Option<i64> {
    use std::str::FromStr;
    pgrx::datum::TimestampWithTimeZone::from_str(text)
        .ok()
        .map(i64::from)
}
