//! Heavyweight locks with a name: one worker per database, the probe for a database that is going away, and one
//! appender per stream.

use pgrx::pg_sys;

/// What the locks of this module are on.
#[derive(Clone, Copy)]
enum Object {
    /// This database.
    Database,
    /// The extension, and what it is about: 0 for itself.
    Extension(u16),
    /// What has this number in place of a stream. No such object exists.
    Stream(u64),
}

fn tag(object: Object) -> pg_sys::LOCKTAG {
    // SAFETY: set once when the process connected.
    let here = unsafe { pg_sys::MyDatabaseId };
    let (database, class, object, sub) = match object {
        Object::Database => (pg_sys::InvalidOid, pg_sys::DatabaseRelationId, here, 0),
        Object::Extension(sub) => (here, pg_sys::ExtensionRelationId, extension().into(), sub),
        Object::Stream(number) => {
            let table = super::session::table(c"ff_engine", c"stream");
            (here, table, (number as u32).into(), (number >> 32) as u16)
        }
    };
    pg_sys::LOCKTAG {
        locktag_field1: database.into(),
        locktag_field2: class.into(),
        locktag_field3: object.into(),
        locktag_field4: sub,
        locktag_type: pg_sys::LockTagType::LOCKTAG_OBJECT as u8,
        locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
    }
}

/// OID of the extension in this database, 0 if it is not installed.
pub fn extension() -> u32 {
    // SAFETY: a catalog look-up inside a transaction.
    u32::from(unsafe { pg_sys::get_extension_oid(c"ff_engine".as_ptr(), true) })
}

fn acquire(tag: &pg_sys::LOCKTAG, mode: u32, session: bool) -> bool {
    // SAFETY: the tag is complete; without waiting the answer comes at once.
    let result = unsafe { pg_sys::LockAcquire(tag, mode as i32, session, true) };
    result != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
}

/// Takes, for the life of this process, the lock that makes it the only worker of its database.
pub fn only_worker() -> bool {
    // A lock of this method is released when the process ends, however it ends.
    let tag = pg_sys::LOCKTAG {
        locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
        ..tag(Object::Extension(1))
    };
    acquire(&tag, pg_sys::ExclusiveLock, true)
}

/// Whether this transaction, until it ends, is the one that stores the installation's identity.
pub fn draws_installation() -> bool {
    acquire(&tag(Object::Extension(2)), pg_sys::ExclusiveLock, false)
}

/// Whether somebody drops, renames or copies this database and waits for its sessions to go.
pub fn database_is_wanted_elsewhere() -> bool {
    !acquire(&tag(Object::Database), pg_sys::RowExclusiveLock, false)
}

/// Keeps the extension from being dropped until the transaction ends; false if somebody is dropping it.
///
/// DROP EXTENSION locks the extension before its tables, so a process that asks for it first cannot deadlock.
pub fn extension_stays() -> bool {
    extension() != 0
        && acquire(&tag(Object::Extension(0)), pg_sys::AccessShareLock, false)
        // It may have gone while the lock was asked for.
        && super::session::extension_exists(c"ff_engine")
}

/// Keeps other appenders of a stream waiting until this transaction ends.
pub fn stream(number: u64) {
    let tag = tag(Object::Stream(number));
    // SAFETY: the tag is complete; a transaction that may not write is told so before it asks.
    unsafe {
        pg_sys::PreventCommandIfReadOnly(c"appending to a stream".as_ptr());
        pg_sys::LockAcquire(&tag, pg_sys::ExclusiveLock as i32, false, false);
    }
}

/// Whether nobody is appending to a stream at this moment.
pub fn stream_is_free(number: u64) -> bool {
    let tag = tag(Object::Stream(number));
    let free = acquire(&tag, pg_sys::ExclusiveLock, false);
    if free {
        // SAFETY: taken just now, and not needed: who appends later finds the stream closed.
        unsafe { pg_sys::LockRelease(&tag, pg_sys::ExclusiveLock as i32, false) };
    }
    free
}
