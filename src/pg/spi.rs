//! Statements: prepared once per backend, kept, generic, pinned; arguments and columns as plain Rust values.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::ptr;

use pgrx::pg_sys;
use pgrx::{FromDatum, IntoDatum};

use super::path;
use super::plan::Pinned;

/// Proof that SPI is connected; everything that runs SQL asks for it.
pub struct Db(PhantomData<*const ()>);

impl Db {
    /// Connects SPI, runs `work`, disconnects. Values that leave must own their memory.
    pub fn with<T>(work: impl FnOnce(&Db) -> T) -> T {
        // SAFETY: SPI nests; an error inside `work` unwinds and the transaction's abort pops SPI.
        unsafe {
            if pg_sys::SPI_connect() != pg_sys::SPI_OK_CONNECT as i32 {
                pgrx::error!("could not connect to SPI");
            }
            let result = work(&Db(PhantomData));
            pg_sys::SPI_finish();
            result
        }
    }

    /// Runs one command that takes no arguments, such as a GRANT.
    pub fn command(&self, text: &str) {
        let text = CString::new(text).unwrap_or_default();
        // SAFETY: SPI is connected, and the text ends with a NUL.
        let code = unsafe { pg_sys::SPI_execute(text.as_ptr(), false, 0) };
        if code < 0 {
            pgrx::error!("a command of the engine failed with SPI code {code}");
        }
    }

    /// For a caller that has connected SPI itself in non-atomic mode.
    pub(super) fn connected() -> Db {
        Db(PhantomData)
    }
}

/// One statement argument.
#[derive(Clone, Copy)]
pub struct Arg {
    pub(super) datum: pg_sys::Datum,
    pub(super) null: bool,
}

impl Arg {
    /// SQL NULL.
    pub const NULL: Arg = Arg {
        datum: pg_sys::Datum::null(),
        null: true,
    };

    pub(super) fn datum(datum: Option<pg_sys::Datum>) -> Arg {
        datum.map_or(Arg::NULL, |datum| Arg { datum, null: false })
    }
}

macro_rules! arg_from {
    ($($t:ty),*) => { $(
        impl From<$t> for Arg {
            fn from(value: $t) -> Arg { Arg::datum(value.into_datum()) }
        }
    )* };
}
arg_from!(bool, i8, i16, i32, i64, f64, &str, &String, &[u8]);

impl From<pg_sys::Oid> for Arg {
    fn from(value: pg_sys::Oid) -> Arg {
        Arg::datum(value.into_datum())
    }
}

impl From<uuid::Uuid> for Arg {
    fn from(value: uuid::Uuid) -> Arg {
        Arg::datum(pgrx::Uuid::from_bytes(value.into_bytes()).into_datum())
    }
}

impl<T: Into<Arg>> From<Option<T>> for Arg {
    fn from(value: Option<T>) -> Arg {
        value.map_or(Arg::NULL, Into::into)
    }
}

/// A value that a column can be read as.
pub trait Column: Sized {
    /// Reads one datum.
    fn read(datum: pg_sys::Datum, null: bool) -> Self;
}

/// A type that a column which is never null can be read as.
pub trait Plain: Sized {
    /// Reads a datum that is known not to be null.
    fn from_plain(datum: pg_sys::Datum) -> Option<Self>;
}

macro_rules! plain {
    ($($t:ty),*) => { $(
        impl Plain for $t {
            fn from_plain(datum: pg_sys::Datum) -> Option<Self> {
                // SAFETY: statement texts and decoders stand side by side and agree on the column's type.
                unsafe { <$t as FromDatum>::from_datum(datum, false) }
            }
        }
    )* };
}
plain!(
    bool,
    i8,
    i16,
    i32,
    i64,
    f64,
    String,
    Vec<u8>,
    Vec<String>,
    Vec<i32>
);

impl Plain for Vec<uuid::Uuid> {
    fn from_plain(datum: pg_sys::Datum) -> Option<Self> {
        // SAFETY: statement texts and decoders agree that the column is an array of uuids.
        let ids = unsafe { Vec::<pgrx::Uuid>::from_datum(datum, false) }?;
        Some(
            ids.iter()
                .map(|id| uuid::Uuid::from_bytes(*id.as_bytes()))
                .collect(),
        )
    }
}

impl Plain for uuid::Uuid {
    fn from_plain(datum: pg_sys::Datum) -> Option<Self> {
        // SAFETY: a uuid datum points to sixteen bytes inside the result's memory.
        Some(uuid::Uuid::from_bytes(unsafe {
            *datum.cast_mut_ptr::<[u8; 16]>()
        }))
    }
}

impl<T: Plain> Column for Option<T> {
    fn read(datum: pg_sys::Datum, null: bool) -> Self {
        if null { None } else { T::from_plain(datum) }
    }
}

macro_rules! column {
    ($($t:ty),*) => { $(
        impl Column for $t {
            fn read(datum: pg_sys::Datum, null: bool) -> Self {
                match Option::<$t>::read(datum, null) {
                    Some(value) => value,
                    None => pgrx::error!("an engine statement returned null where the schema forbids it"),
                }
            }
        }
    )* };
}
column!(
    bool,
    i8,
    i16,
    i32,
    i64,
    f64,
    String,
    Vec<u8>,
    Vec<String>,
    Vec<i32>,
    uuid::Uuid,
    Vec<uuid::Uuid>
);

/// One statement: its text, its argument types and, once used, its plan.
pub struct Stmt<const N: usize> {
    sql: &'static CStr,
    types: [pg_sys::BuiltinOid; N],
    plan: Kept,
}

impl<const N: usize> Stmt<N> {
    /// A statement that is prepared when it first runs.
    pub const fn new(sql: &'static CStr, types: [pg_sys::BuiltinOid; N]) -> Self {
        Self {
            sql,
            types,
            plan: Kept::new(),
        }
    }

    /// Runs with a fresh snapshot; sees what earlier statements of the operation did.
    pub fn run(&self, db: &Db, args: [Arg; N]) -> Rows {
        self.execute(db, &args, false)
    }

    /// Runs on the caller's snapshot, for functions declared STABLE.
    pub fn read(&self, db: &Db, args: [Arg; N]) -> Rows {
        self.execute(db, &args, true)
    }

    fn execute(&self, db: &Db, args: &[Arg; N], read_only: bool) -> Rows {
        let oids = self.types.map(pg_sys::Oid::from);
        self.plan
            .execute(db, || self.sql.to_owned(), &oids, args, read_only)
    }
}

/// A kept plan, made at first use.
pub struct Kept(Cell<pg_sys::SPIPlanPtr>);

// SAFETY: a backend has one thread.
unsafe impl Sync for Kept {}

impl Kept {
    pub const fn new() -> Self {
        Self(Cell::new(ptr::null_mut()))
    }

    pub fn execute(
        &self,
        _db: &Db,
        sql: impl FnOnce() -> CString,
        types: &[pg_sys::Oid],
        args: &[Arg],
        read_only: bool,
    ) -> Rows {
        path::pinned(|| self.run(sql, types, args, read_only))
    }

    fn run(
        &self,
        sql: impl FnOnce() -> CString,
        types: &[pg_sys::Oid],
        args: &[Arg],
        read_only: bool,
    ) -> Rows {
        let _pinned = Pinned::new();
        // SAFETY: `execute` has proof that SPI is connected; argument arrays have the plan's length; the plan is kept
        // for the life of the backend and only used by its one thread.
        unsafe {
            if self.0.get().is_null() {
                let mut oids = types.to_vec();
                let plan = pg_sys::SPI_prepare_cursor(
                    sql().as_ptr(),
                    oids.len() as i32,
                    oids.as_mut_ptr(),
                    pg_sys::CURSOR_OPT_GENERIC_PLAN as i32,
                );
                if plan.is_null() || pg_sys::SPI_keepplan(plan) != 0 {
                    pgrx::error!("could not prepare a statement of the engine");
                }
                self.0.set(plan);
            }
            let mut datums: Vec<pg_sys::Datum> = args.iter().map(|a| a.datum).collect();
            let nulls: Vec<std::ffi::c_char> = args
                .iter()
                .map(|a| if a.null { b'n' } else { b' ' } as std::ffi::c_char)
                .collect();
            let code = pg_sys::SPI_execute_plan(
                self.0.get(),
                datums.as_mut_ptr(),
                nulls.as_ptr(),
                read_only,
                0,
            );
            if code < 0 {
                pgrx::error!("a statement of the engine failed with SPI code {code}");
            }
            Rows {
                table: pg_sys::SPI_tuptable,
                count: pg_sys::SPI_processed as usize,
            }
        }
    }
}

/// Kept plans of statements that differ only in the columns they name, by a mask of those columns.
pub struct KeptByMask(RefCell<Vec<(u128, &'static Kept)>>);

// SAFETY: a backend has one thread.
unsafe impl Sync for KeptByMask {}

impl KeptByMask {
    /// No plan yet.
    pub const fn new() -> Self {
        Self(RefCell::new(Vec::new()))
    }

    /// The plan of a mask; made when it first runs. Masks are few, so plans are kept for the life of the backend.
    pub fn get(&self, mask: u128) -> &'static Kept {
        let mut plans = self.0.borrow_mut();
        if let Some((_, kept)) = plans.iter().find(|(known, _)| *known == mask) {
            return kept;
        }
        let kept: &'static Kept = Box::leak(Box::new(Kept::new()));
        plans.push((mask, kept));
        kept
    }
}

/// The rows a statement returned; valid until SPI is disconnected.
pub struct Rows {
    table: *mut pg_sys::SPITupleTable,
    count: usize,
}

impl Rows {
    /// Rows returned, or changed by a statement without RETURNING.
    pub fn len(&self) -> usize {
        self.count
    }

    /// No row was returned or changed.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The first row, if any.
    pub fn first(&self) -> Option<Row<'_>> {
        (self.count > 0).then_some(Row {
            rows: self,
            index: 0,
        })
    }

    /// All rows in order.
    pub fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.count).map(|index| Row { rows: self, index })
    }
}

/// One returned row.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    rows: &'a Rows,
    index: usize,
}

impl Row<'_> {
    /// Column `ordinal`, counted from 1 as in the statement's select list.
    pub fn get<T: Column>(&self, ordinal: i32) -> T {
        // SAFETY: the index is below the number of returned rows; SPI checks the ordinal.
        unsafe {
            let tuple = *(*self.rows.table).vals.add(self.index);
            let mut null = false;
            let datum =
                pg_sys::SPI_getbinval(tuple, (*self.rows.table).tupdesc, ordinal, &mut null);
            T::read(datum, null)
        }
    }

    /// Reads columns one after the other, in the order of the select list.
    pub fn cursor(&self) -> Cursor<'_> {
        Cursor { row: self, next: 1 }
    }
}

/// Reads a row's columns in order.
pub struct Cursor<'a> {
    row: &'a Row<'a>,
    next: i32,
}

impl Cursor<'_> {
    /// The next column.
    pub fn next<T: Column>(&mut self) -> T {
        let value = self.row.get(self.next);
        self.next += 1;
        value
    }
}
