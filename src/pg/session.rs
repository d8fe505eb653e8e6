//! What the engine asks about the calling session.

use std::cell::RefCell;
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

/// The session's user and the role it has set, whatever rights the function runs with.
pub fn callers() -> [pg_sys::Oid; 2] {
    // SAFETY: variables of the session.
    unsafe { [pg_sys::GetSessionUserId(), pg_sys::GetOuterUserId()] }
}

/// Whether a role is a superuser.
pub fn is_superuser(role: pg_sys::Oid) -> bool {
    // SAFETY: a catalog look-up inside a transaction.
    unsafe { pg_sys::superuser_arg(role) }
}

/// Whether a role is another one or, directly or not, a member of it.
pub fn is_member(role: pg_sys::Oid, of: pg_sys::Oid) -> bool {
    // SAFETY: a catalog look-up inside a transaction.
    unsafe { pg_sys::is_member_of_role_nosuper(role, of) }
}

/// The role of a name.
pub fn role(name: &str) -> Option<pg_sys::Oid> {
    let name = std::ffi::CString::new(name).ok()?;
    // SAFETY: a catalog look-up inside a transaction.
    let role = unsafe { pg_sys::get_role_oid(name.as_ptr(), true) };
    (role != pg_sys::Oid::INVALID).then_some(role)
}

/// Whether every statement takes its own snapshot.
pub fn read_committed() -> bool {
    // SAFETY: a setting of the running transaction.
    unsafe { pg_sys::XactIsoLevel <= pg_sys::XACT_READ_COMMITTED as i32 }
}

thread_local! {
    /// OIDs of tables that were found.
    static TABLES: RefCell<Vec<(&'static CStr, &'static CStr, pg_sys::Oid)>> =
        const { RefCell::new(Vec::new()) };
}

/// OID of a table in a schema; invalid if it does not exist.
pub fn table(schema: &'static CStr, name: &'static CStr) -> pg_sys::Oid {
    let known = TABLES.with_borrow(|known| {
        let mut same = known.iter().filter(|(s, n, _)| *n == name && *s == schema);
        same.next().map(|(_, _, oid)| *oid)
    });
    known.unwrap_or_else(|| {
        // SAFETY: catalog look-ups inside a transaction.
        let found = unsafe {
            let namespace = pg_sys::get_namespace_oid(schema.as_ptr(), true);
            pg_sys::get_relname_relid(name.as_ptr(), namespace)
        };
        if found != pg_sys::InvalidOid {
            TABLES.with_borrow_mut(|known| known.push((schema, name, found)));
        }
        found
    })
}

/// Forgets tables whenever a schema comes or goes; called once from `_PG_init`.
pub fn init() {
    // SAFETY: the callback lives in this library, which is never unloaded.
    unsafe {
        pg_sys::CacheRegisterSyscacheCallback(
            pg_sys::SysCacheIdentifier::NAMESPACEOID as i32,
            Some(schemas_changed),
            pg_sys::Datum::null(),
        );
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn schemas_changed(_arg: pg_sys::Datum, _cache: i32, _hash: u32) {
    TABLES.with_borrow_mut(Vec::clear);
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
    // The server's parser takes words such as `tomorrow` too.
    let date = text.as_bytes().iter().take(10).enumerate();
    if text.len() < 10
        || date.into_iter().any(|(i, c)| {
            if i == 4 || i == 7 {
                *c != b'-'
            } else {
                !c.is_ascii_digit()
            }
        })
    {
        return None;
    }
    pgrx::datum::TimestampWithTimeZone::from_str(text)
        .ok()
        .map(i64::from)
}

/// A WARNING to the client and the log.
pub fn warn(message: &str) {
    pgrx::warning!("{message}");
}

/// What tells this server and its copies from all others.
pub fn server() -> u64 {
    // SAFETY: read from the control file when the server started.
    unsafe { pg_sys::GetSystemIdentifier() }
}

/// OID of this session's database.
pub fn database() -> u32 {
    // SAFETY: set once when the backend connected.
    u32::from(unsafe { pg_sys::MyDatabaseId })
}

/// Whether an extension is installed in this database.
pub fn extension_exists(name: &CStr) -> bool {
    // SAFETY: a catalog look-up inside a transaction.
    unsafe { pg_sys::get_extension_oid(name.as_ptr(), true) != pg_sys::InvalidOid }
}

/// A background process runs with a superuser's rights, so nobody else's objects may be in its path.
pub fn pin_search_path() {
    // SAFETY: sets an ordinary setting of this process.
    unsafe {
        pg_sys::SetConfigOption(
            c"search_path".as_ptr(),
            c"pg_catalog, pg_temp".as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
        );
    }
}

/// Shows a name in `pg_stat_activity.application_name`.
pub fn report_application(name: &CStr) {
    // SAFETY: the text is copied.
    unsafe { pg_sys::pgstat_report_appname(name.as_ptr()) };
}

/// Shows an activity in `pg_stat_activity.query`.
pub fn report_running(activity: &CStr) {
    // SAFETY: the text is copied.
    unsafe {
        pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_RUNNING, activity.as_ptr())
    };
}

/// Shows that the process is idle.
pub fn report_idle() {
    // SAFETY: no text is needed.
    unsafe { pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_IDLE, std::ptr::null()) };
}

/// A line in the server log.
pub fn log(message: &str) {
    pgrx::log!("{message}");
}

/// Fails as the server does where transactions cannot be put in an order; the caller tries again.
pub fn serialization_failure(sentence: &str) -> ! {
    let code = pgrx::PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE;
    pgrx::pg_sys::panic::ErrorReport::new(code, sentence.to_owned(), "serialization_failure")
        .report(pgrx::PgLogLevel::ERROR);
    unreachable!("an error has been raised")
}
