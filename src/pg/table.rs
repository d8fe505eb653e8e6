//! The engine's own tables, reached without a plan: rows found by key, locked, and written.
//!
//! The executor builds and tears down a plan's nodes for every statement, which costs several times what changing
//! one row by its key does. These are the calls the server itself applies replicated changes with. Rows are found
//! through an ordinary index, indexes are kept in step, and every other client sees ordinary rows; what is left out
//! are triggers and checks, so callers hand over rows they know to be legal.

use std::cell::{Cell, RefCell};
use std::ffi::CStr;
use std::rc::{Rc, Weak};

use pgrx::pg_sys;
use pgrx::pg_sys::BuiltinOid::*;

use super::session;

mod find;
mod indexes;
mod near;
mod own;
pub mod place;
mod search;
mod write;

pub use find::{Finder, Held};
pub use own::Own;

/// What a read-only transaction is told that it cannot execute.
const OPERATION: &CStr = c"operations of ff_engine that write";

/// The support function of a btree that compares two values.
const ORDER: i16 = 1;

/// Name and type of a column.
pub type Named = (&'static str, pg_sys::BuiltinOid);

/// A table of the engine as one user of it sees it, who always names the same columns.
pub struct Table {
    name: &'static CStr,
    /// How many of the first columns find a row.
    key: usize,
    known: RefCell<Option<Rc<Known>>>,
}

// SAFETY: a backend has one thread.
unsafe impl Sync for Table {}

/// What the catalogs say about a table, looked up again when they have changed.
struct Known {
    table: pg_sys::Oid,
    /// Cleared by the server's message that the table or its indexes have changed.
    fresh: Cell<bool>,
    /// Attribute numbers of the named columns.
    places: Vec<usize>,
    /// Attribute numbers of all columns that must not be null.
    required: Vec<usize>,
    key: Option<Key>,
    /// The key is a uuid, behind nothing but columns whose values are no pointers.
    ends_with_uuid: bool,
}

/// An index that starts with the key's columns.
struct Key {
    index: pg_sys::Oid,
    columns: Vec<KeyColumn>,
}

thread_local! {
    /// What is known of all tables, for the server's messages.
    static EVERY: RefCell<Vec<Weak<Known>>> = const { RefCell::new(Vec::new()) };
    /// How many messages there have been: what was read while one arrived is stale from the start.
    static MESSAGES: Cell<u64> = const { Cell::new(0) };
}

/// Registers for the server's messages; called once from `_PG_init`.
pub fn init() {
    // SAFETY: the callback lives in this library, which is never unloaded.
    unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(changed), pg_sys::Datum::null()) };
}

#[pgrx::pg_guard]
unsafe extern "C-unwind" fn changed(_arg: pg_sys::Datum, table: pg_sys::Oid) {
    MESSAGES.set(MESSAGES.get() + 1);
    EVERY.with_borrow(|every| {
        for known in every.iter().filter_map(Weak::upgrade) {
            if table == pg_sys::Oid::INVALID || table == known.table {
                known.fresh.set(false);
            }
        }
    });
}

/// How the index compares values of a column.
struct KeyColumn {
    equal: pg_sys::Oid,
    /// At least.
    from: pg_sys::Oid,
    compare: pg_sys::Oid,
    collation: pg_sys::Oid,
}

/// A table that is open for the length of one call.
struct Open {
    relation: pg_sys::Relation,
    known: Rc<Known>,
}

impl Table {
    /// A table of the schema `ff_engine`; its rows are found by the first `key` named columns.
    pub const fn new(name: &'static CStr, key: usize) -> Self {
        Self {
            name,
            key,
            known: RefCell::new(None),
        }
    }

    /// Opens the table for an operation that writes; the lock is kept to the end of the transaction. Finding rows takes
    /// it too, since they are written next: with a weaker one a REINDEX could come between the two, and deadlock.
    fn open(&self, columns: &[Named]) -> Open {
        let lock = pg_sys::RowExclusiveLock as i32;
        // SAFETY: catalog look-ups and relation opening inside a transaction; an OID that has gone gives no relation.
        unsafe {
            pg_sys::PreventCommandIfReadOnly(OPERATION.as_ptr());
            if let Some(known) = self.known.borrow().as_ref() {
                let relation = pg_sys::try_relation_open(known.table, lock);
                // Messages arrive with the lock, so what is fresh now stays true as long as it is held.
                if !relation.is_null() && known.fresh.get() {
                    let known = known.clone();
                    return Open { relation, known };
                }
                if !relation.is_null() {
                    pg_sys::relation_close(relation, pg_sys::NoLock as i32);
                }
            }
            let relation = pg_sys::relation_open(session::table(c"ff_engine", self.name), lock);
            let known = Known::of(relation, columns, self.key);
            *self.known.borrow_mut() = Some(known.clone());
            Open { relation, known }
        }
    }
}

impl Open {
    /// The index that rows are found by.
    fn key(&self) -> &Key {
        match &self.known.key {
            Some(key) => key,
            None => {
                pgrx::error!("a table of the engine has lost the index that its rows are found by")
            }
        }
    }

    /// Gives the relation back; after an error the transaction's abort does it.
    fn close(self) {
        // SAFETY: opened by `Table::open`, closed once.
        unsafe { pg_sys::relation_close(self.relation, pg_sys::NoLock as i32) };
    }
}

impl Known {
    /// # Safety
    /// The relation must be open.
    unsafe fn of(relation: pg_sys::Relation, columns: &[Named], key: usize) -> Rc<Known> {
        // SAFETY: the descriptor belongs to the open relation and is copied; index relations are closed again.
        unsafe {
            let messages = MESSAGES.get();
            let table = (*relation).rd_id;
            if (*relation).rd_tableam != pg_sys::GetHeapamTableAmRoutine() {
                pgrx::error!("a table of the engine is not stored as a heap");
            }
            let descriptor = pgrx::PgTupleDesc::from_pg_copy((*relation).rd_att);
            let attributes = || {
                (1..)
                    .zip(descriptor.iter())
                    .filter(|(_, a)| !a.attisdropped)
            };
            let place = |(name, _): &Named| match attributes().find(|(_, a)| a.name() == *name) {
                Some((place, _)) => place,
                None => pgrx::error!("the engine's table {table:?} has no column {name}"),
            };
            let places: Vec<usize> = columns.iter().map(place).collect();
            let required = attributes()
                .filter(|(_, a)| a.attnotnull)
                .map(|(i, _)| i)
                .collect();
            let ends_with_uuid = match columns.get(..key) {
                Some([others @ .., (_, UUIDOID)]) => others.iter().all(|(_, t)| {
                    matches!(t, CHAROID | INT2OID | INT4OID | INT8OID | TIMESTAMPTZOID)
                }),
                _ => false,
            };
            let by = places.get(..key).unwrap_or_default();
            let key = if by.is_empty() {
                None
            } else {
                Key::of(relation, by)
            };
            let known = Rc::new(Known {
                table,
                fresh: Cell::new(messages == MESSAGES.get()),
                places,
                required,
                key,
                ends_with_uuid,
            });
            EVERY.with_borrow_mut(|every| {
                every.retain(|other| other.strong_count() > 0);
                every.push(Rc::downgrade(&known));
            });
            known
        }
    }
}

/// Whether an index holds every row, in ascending order: none that is being built, none of a part of the table.
///
/// # Safety
/// The index is open.
unsafe fn plain(index: pg_sys::Relation) -> bool {
    // SAFETY: as the caller promises; an index has an option for each key column.
    unsafe {
        let form = (*index).rd_index;
        let keys = (*form).indnkeyatts as usize;
        (*form).indisvalid
            && (*(*index).rd_rel).relam == pg_sys::BTREE_AM_OID
            && pg_sys::RelationGetIndexPredicate(index).is_null()
            && std::slice::from_raw_parts((*index).rd_indoption, keys)
                .iter()
                .all(|option| *option == 0)
    }
}

impl Key {
    /// # Safety
    /// The relation must be open.
    unsafe fn of(relation: pg_sys::Relation, by: &[usize]) -> Option<Key> {
        // SAFETY: the list of a relation's indexes holds their OIDs; an open index has as many keys as it says.
        unsafe {
            let list = pg_sys::RelationGetIndexList(relation);
            let indexes = (0..pg_sys::list_length(list)).map(|i| pg_sys::list_nth_oid(list, i));
            let mut found = None;
            for oid in indexes {
                let index = pg_sys::index_open(oid, pg_sys::AccessShareLock as i32);
                let columns = (*(*index).rd_index)
                    .indkey
                    .values
                    .as_slice((*(*index).rd_index).indnkeyatts as usize);
                let starts = plain(index)
                    && columns.len() >= by.len()
                    && by
                        .iter()
                        .zip(columns)
                        .all(|(a, b)| i64::try_from(*a) == Ok(i64::from(*b)));
                if starts && found.is_none() {
                    let columns = (0..by.len()).map(|i| KeyColumn::of(index, i)).collect();
                    found = Some(Key {
                        index: oid,
                        columns,
                    });
                }
                pg_sys::index_close(index, pg_sys::AccessShareLock as i32);
            }
            pg_sys::list_free(list);
            found
        }
    }
}

impl KeyColumn {
    /// # Safety
    /// The relation is an open btree with more than `i` key columns.
    unsafe fn of(index: pg_sys::Relation, i: usize) -> KeyColumn {
        // SAFETY: as the caller promises; the arrays have an item for each column.
        unsafe {
            let (family, operand) = (*(*index).rd_opfamily.add(i), *(*index).rd_opcintype.add(i));
            let operator = |strategy: u32| {
                pg_sys::get_opcode(pg_sys::get_opfamily_member(
                    family,
                    operand,
                    operand,
                    strategy as i16,
                ))
            };
            KeyColumn {
                equal: operator(pg_sys::BTEqualStrategyNumber),
                from: operator(pg_sys::BTGreaterEqualStrategyNumber),
                compare: pg_sys::get_opfamily_proc(family, operand, operand, ORDER),
                collation: *(*index).rd_indcollation.add(i),
            }
        }
    }
}
