//! Which numbers of a small table the calling roles are bound to, without a statement per call.
//!
//! The table holds pairs of a role and a number. It is read once and kept until the server's own invalidation
//! messages say that it, or who is a member of what, has changed. They arrive with the commit that makes the change,
//! also that of a prepared transaction, also on a standby, and also where the library is not preloaded.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ffi::CStr;
use std::rc::Rc;

use pgrx::pg_sys;

use super::session;

thread_local! {
    static TABLE: Cell<pg_sys::Oid> = const { Cell::new(pg_sys::Oid::INVALID) };
    /// Number of messages that may concern the table.
    static MESSAGES: Cell<u64> = const { Cell::new(1) };
    /// The number at which the table was read; set after it has been, so that a failure in between counts as no read.
    static READ_AT: Cell<u64> = const { Cell::new(0) };
    /// No role is bound to anything.
    static NONE: Cell<bool> = const { Cell::new(false) };
    static PAIRS: RefCell<Vec<(pg_sys::Oid, i32)>> = const { RefCell::new(Vec::new()) };
    static MINE: RefCell<Option<Mine>> = const { RefCell::new(None) };
}

/// What a pair of session user and current role may see.
type Mine = ([pg_sys::Oid; 2], Option<Rc<BTreeSet<i32>>>);

/// Registers for the server's messages; called once from `_PG_init`.
pub fn init() {
    // SAFETY: the callbacks live in this library, which is never unloaded.
    unsafe {
        pg_sys::CacheRegisterRelcacheCallback(Some(table_changed), pg_sys::Datum::null());
        for cache in [
            pg_sys::SysCacheIdentifier::AUTHOID,
            pg_sys::SysCacheIdentifier::AUTHMEMROLEMEM,
        ] {
            pg_sys::CacheRegisterSyscacheCallback(
                cache as i32,
                Some(roles_changed),
                pg_sys::Datum::null(),
            );
        }
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn table_changed(_arg: pg_sys::Datum, table: pg_sys::Oid) {
    if table == pg_sys::Oid::INVALID || table == TABLE.get() {
        MESSAGES.set(MESSAGES.get() + 1);
    }
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn roles_changed(_arg: pg_sys::Datum, _cache: i32, _hash: u32) {
    MESSAGES.set(MESSAGES.get() + 1);
}

/// Tells every backend, when this transaction commits, to read the table again.
pub fn changed(table: pg_sys::Oid) {
    // SAFETY: the caller holds a lock on the table.
    unsafe { pg_sys::CacheInvalidateRelcacheByRelid(table) };
}

/// The numbers that the callers are bound to, by the table of this name; `None` if they are not bound.
///
/// A role is bound by its own rows and by those of every role it is a member of, and to all of them together.
/// Both the session's user and the role it has set are callers: setting a role can take away, never add.
/// Nobody can confine a superuser.
pub fn numbers(schema: &'static CStr, table: &'static CStr) -> Option<Rc<BTreeSet<i32>>> {
    if READ_AT.get() != MESSAGES.get() {
        refresh(schema, table);
    }
    if NONE.get() {
        return None;
    }
    let callers = session::callers();
    MINE.with_borrow_mut(|mine| {
        if let Some((known, numbers)) = mine
            && *known == callers
        {
            return numbers.clone();
        }
        let numbers = PAIRS.with_borrow(|pairs| {
            callers
                .iter()
                .filter_map(|caller| of_role(*caller, pairs))
                .reduce(|all, own| &all & &own)
                .map(Rc::new)
        });
        *mine = Some((callers, numbers.clone()));
        numbers
    })
}

fn of_role(role: pg_sys::Oid, pairs: &[(pg_sys::Oid, i32)]) -> Option<BTreeSet<i32>> {
    if session::is_superuser(role) {
        return None;
    }
    let own: BTreeSet<i32> = pairs
        .iter()
        .filter(|(bound, _)| session::is_member(role, *bound))
        .map(|(_, number)| *number)
        .collect();
    (!own.is_empty()).then_some(own)
}

fn refresh(schema: &'static CStr, table: &'static CStr) {
    let oid = session::table(schema, table);
    TABLE.set(oid);
    MINE.replace(None);
    if oid == pg_sys::Oid::INVALID {
        NONE.set(true);
        return;
    }
    // A message that arrives while the table is read makes what was read stale.
    let messages = MESSAGES.get();
    let pairs = pairs(oid);
    NONE.set(pairs.is_empty());
    PAIRS.replace(pairs);
    READ_AT.set(messages);
}

/// All rows, on a snapshot as new as those of the catalog, whatever the transaction's own is.
fn pairs(table: pg_sys::Oid) -> Vec<(pg_sys::Oid, i32)> {
    let mut pairs = Vec::new();
    // SAFETY: opened and closed in pairs; an error in between is cleaned up by the transaction's abort. The first
    // two columns are an oid and an int, never null.
    unsafe {
        let relation = pg_sys::table_open(table, pg_sys::AccessShareLock as i32);
        let scan = pg_sys::systable_beginscan(
            relation,
            pg_sys::InvalidOid,
            false,
            std::ptr::null_mut(),
            0,
            std::ptr::null_mut(),
        );
        let columns = (*(*relation).rd_att).natts as usize;
        let mut values = vec![pg_sys::Datum::null(); columns];
        let mut nulls = vec![false; columns];
        loop {
            let row = pg_sys::systable_getnext(scan);
            if row.is_null() {
                break;
            }
            pg_sys::heap_deform_tuple(
                row,
                (*relation).rd_att,
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
            );
            if let [role, number, ..] = values.as_slice() {
                pairs.push((
                    pg_sys::Oid::from(role.value() as u32),
                    number.value() as i32,
                ));
            }
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(relation, pg_sys::AccessShareLock as i32);
    }
    pairs
}
