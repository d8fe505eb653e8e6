//! Statements that write rows of one table: one text for a single row, one for many, from the same columns.

use std::ffi::CString;

use pgrx::pg_sys;

use crate::pg::array::{array, type_of as array_type};
use crate::pg::spi::{Arg, Db, Kept, Rows};

/// What a write does with its columns.
#[derive(Clone, Copy)]
enum Verb {
    Insert,
    /// The first `keys` columns find the row, the others are set.
    Update,
    /// All columns together find the row.
    Delete,
}

/// A write to one table, set-based: `n` rows cost one statement.
pub struct Write<const N: usize> {
    table: &'static str,
    columns: [(&'static str, pg_sys::BuiltinOid); N],
    verb: Verb,
    keys: usize,
    suffix: &'static str,
    one: Kept,
    many: Kept,
}

impl<const N: usize> Write<N> {
    const fn make(
        verb: Verb,
        keys: usize,
        table: &'static str,
        columns: [(&'static str, pg_sys::BuiltinOid); N],
        suffix: &'static str,
    ) -> Self {
        Self {
            table,
            columns,
            verb,
            keys,
            suffix,
            one: Kept::new(),
            many: Kept::new(),
        }
    }

    /// `INSERT INTO table (columns) …`, followed by `suffix`.
    pub const fn insert(
        table: &'static str,
        columns: [(&'static str, pg_sys::BuiltinOid); N],
        suffix: &'static str,
    ) -> Self {
        Self::make(Verb::Insert, 0, table, columns, suffix)
    }

    /// `UPDATE table SET …` by the first `keys` columns.
    pub const fn update(
        table: &'static str,
        keys: usize,
        columns: [(&'static str, pg_sys::BuiltinOid); N],
    ) -> Self {
        Self::make(Verb::Update, keys, table, columns, "")
    }

    /// `DELETE FROM table` by all columns.
    pub const fn delete(
        table: &'static str,
        columns: [(&'static str, pg_sys::BuiltinOid); N],
    ) -> Self {
        Self::make(Verb::Delete, N, table, columns, "")
    }

    /// Writes all rows with one statement; nothing for no rows.
    pub fn run(&self, db: &Db, rows: &[[Arg; N]]) -> Option<Rows> {
        match rows {
            [] => None,
            [row] => {
                let types = self.columns.map(|(_, oid)| pg_sys::Oid::from(oid));
                Some(
                    self.one
                        .execute(db, || self.text(false), &types, row, false),
                )
            }
            rows => {
                let types = self.columns.map(|(_, oid)| array_type(oid));
                let args: [Arg; N] = std::array::from_fn(|c| {
                    let oid = self
                        .columns
                        .get(c)
                        .map_or(pg_sys::BuiltinOid::TEXTOID, |(_, oid)| *oid);
                    array(
                        oid,
                        rows.iter()
                            .map(|row| row.get(c).copied().unwrap_or(Arg::NULL)),
                    )
                });
                Some(
                    self.many
                        .execute(db, || self.text(true), &types, &args, false),
                )
            }
        }
    }

    fn text(&self, many: bool) -> CString {
        let names = || self.columns.iter().map(|(name, _)| *name);
        let value = |i: usize, name: &str| {
            if many {
                format!("n.{name}")
            } else {
                format!("${}", i + 1)
            }
        };
        let join = |parts: Vec<String>, by: &str| parts.join(by);
        let list = join(names().map(str::to_owned).collect(), ", ");
        let arrays = join((1..=N).map(|i| format!("${i}")).collect(), ", ");
        let source = if many {
            format!(" unnest({arrays}) AS n ({list})")
        } else {
            String::new()
        };
        let matches = join(
            names()
                .enumerate()
                .take(self.keys)
                .map(|(i, c)| format!("t.{c} = {}", value(i, c)))
                .collect(),
            " AND ",
        );
        let table = self.table;
        let suffix = self.suffix;
        let sql = match self.verb {
            Verb::Insert if many => {
                format!("INSERT INTO {table} ({list}) SELECT {list} FROM{source} {suffix}")
            }
            Verb::Insert => format!("INSERT INTO {table} ({list}) VALUES ({arrays}) {suffix}"),
            Verb::Update => {
                let sets = join(
                    names()
                        .enumerate()
                        .skip(self.keys)
                        .map(|(i, c)| format!("{c} = {}", value(i, c)))
                        .collect(),
                    ", ",
                );
                let from = if many {
                    format!(" FROM{source}")
                } else {
                    String::new()
                };
                format!("UPDATE {table} AS t SET {sets}{from} WHERE {matches}")
            }
            Verb::Delete => {
                let using = if many {
                    format!(" USING{source}")
                } else {
                    String::new()
                };
                format!("DELETE FROM {table} AS t{using} WHERE {matches}")
            }
        };
        CString::new(sql).unwrap_or_default()
    }
}
