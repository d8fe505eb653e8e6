//! Writes to one table: named columns, any number of rows, no plan but where a conflict is to be expected.

use std::ffi::{CStr, CString};

use pgrx::pg_sys::Oid;

use crate::pg::array::{array, type_of as array_type};
use crate::pg::spi::{Arg, Db, KeptByMask, Rows};
use crate::pg::table::Table;

pub use crate::pg::table::Named;

/// What a write does with its columns.
#[derive(Clone, Copy)]
enum Verb {
    Insert,
    /// All columns together find the row.
    Delete,
}

/// A write to one table that always names the same columns.
pub struct Write<const N: usize> {
    table: Table,
    columns: [Named; N],
    verb: Verb,
}

impl<const N: usize> Write<N> {
    /// Inserts rows; columns that are not named become null.
    pub const fn insert(table: &'static CStr, columns: [Named; N]) -> Self {
        Self {
            table: Table::new(table, 0),
            columns,
            verb: Verb::Insert,
        }
    }

    /// Deletes rows by all columns, which some index starts with.
    pub const fn delete(table: &'static CStr, columns: [Named; N]) -> Self {
        Self {
            table: Table::new(table, N),
            columns,
            verb: Verb::Delete,
        }
    }

    /// Writes all rows; of those that are deleted, whether each was there to be.
    pub fn run(&self, db: &Db, rows: &[[Arg; N]]) -> Vec<bool> {
        match self.verb {
            Verb::Insert => {
                self.table.insert(db, &self.columns, u128::MAX, rows);
                Vec::new()
            }
            Verb::Delete => self.table.delete(db, &self.columns, rows),
        }
    }
}

/// Inserts into one table that name only some of its columns.
pub struct Inserts {
    table: Table,
    columns: &'static [Named],
}

impl Inserts {
    /// Inserts rows of a table with these columns.
    pub const fn new(table: &'static CStr, columns: &'static [Named]) -> Self {
        Self {
            table: Table::new(table, 0),
            columns,
        }
    }

    /// Inserts all rows. Bit `i` of the mask chooses column `i`; every row holds the chosen columns in order.
    pub fn run(&self, db: &Db, mask: u128, rows: &[Vec<Arg>]) {
        self.table.insert(db, self.columns, mask, rows);
    }
}

/// Updates of rows that are locked, by the first columns.
pub struct Updates {
    table: Table,
    columns: &'static [Named],
}

impl Updates {
    /// Updates rows of a table with these columns; the first one is its key.
    pub const fn new(table: &'static CStr, columns: &'static [Named]) -> Self {
        Self::by(table, 1, columns)
    }

    /// Updates rows of a table with these columns, of which the first `key` together find a row.
    pub const fn by(table: &'static CStr, key: usize, columns: &'static [Named]) -> Self {
        Self {
            table: Table::new(table, key),
            columns,
        }
    }

    /// Changes all rows. Bit `i` of the mask chooses column `i`, the key among them; every row holds the chosen
    /// columns in order.
    pub fn run(&self, db: &Db, mask: u128, rows: &[Vec<Arg>]) {
        self.table.update(db, self.columns, mask, rows);
    }
}

/// Inserts that give way to a row which has their key already.
pub struct InsertsIfFree {
    table: &'static CStr,
    columns: &'static [Named],
    plans: KeptByMask,
}

impl InsertsIfFree {
    /// Inserts rows of a table with these columns; the first one is its key.
    pub const fn new(table: &'static CStr, columns: &'static [Named]) -> Self {
        Self {
            table,
            columns,
            plans: KeptByMask::new(),
        }
    }

    /// Inserts those rows whose key is free, and returns their keys.
    pub fn run(&self, db: &Db, mask: u128, rows: &[Vec<Arg>]) -> Rows {
        let all = self.columns.iter().enumerate();
        let chosen = all.filter(|(i, _)| mask >> i & 1 == 1).map(|(_, c)| *c);
        let (names, types): (Vec<&str>, Vec<_>) = chosen.unzip();
        let column = |c: usize| {
            rows.iter()
                .map(move |r| r.get(c).copied().unwrap_or(Arg::NULL))
        };
        let arrays = types.iter().enumerate();
        let args: Vec<Arg> = arrays.map(|(c, oid)| array(*oid, column(c))).collect();
        let types: Vec<Oid> = types.iter().map(|oid| array_type(*oid)).collect();
        let sql = || {
            let places: Vec<String> = (1..=names.len()).map(|i| format!("${i}")).collect();
            let (list, places) = (names.join(", "), places.join(", "));
            let table = self.table.to_string_lossy();
            let key = names.first().copied().unwrap_or_default();
            CString::new(format!(
                "INSERT INTO ff_engine.{table} ({list}) SELECT {list} FROM unnest({places}) AS n ({list}) \
                 ON CONFLICT ({key}) DO NOTHING RETURNING {key}"
            ))
            .unwrap_or_default()
        };
        self.plans.get(mask).execute(db, sql, &types, &args, false)
    }
}
