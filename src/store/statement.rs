//! Statements that write rows of one table: one text for a single row, one for many, from the same columns.

use std::ffi::CString;

use pgrx::pg_sys::{BuiltinOid, Oid};

use crate::pg::array::{array, type_of as array_type};
use crate::pg::spi::{Arg, Db, Kept, KeptByMask, Rows};

/// Name and type of a column.
pub type Named = (&'static str, BuiltinOid);

/// What a write does with its columns.
#[derive(Clone, Copy)]
enum Verb {
    Insert,
    /// The first column finds the row, the others are set.
    Update,
    /// All columns together find the row.
    Delete,
}

/// A write to one table, set-based: `n` rows cost one statement.
pub struct Write<const N: usize> {
    table: &'static str,
    columns: [Named; N],
    verb: Verb,
    suffix: &'static str,
    one: Kept,
    many: Kept,
}

impl<const N: usize> Write<N> {
    /// `INSERT INTO table (columns) …`, followed by `suffix`.
    pub const fn insert(table: &'static str, columns: [Named; N], suffix: &'static str) -> Self {
        Self {
            table,
            columns,
            verb: Verb::Insert,
            suffix,
            one: Kept::new(),
            many: Kept::new(),
        }
    }

    /// `DELETE FROM table` by all columns.
    pub const fn delete(table: &'static str, columns: [Named; N]) -> Self {
        Self {
            table,
            columns,
            verb: Verb::Delete,
            suffix: "",
            one: Kept::new(),
            many: Kept::new(),
        }
    }

    /// Writes all rows with one statement; nothing for no rows.
    pub fn run(&self, db: &Db, rows: &[[Arg; N]]) -> Option<Rows> {
        let kept = if rows.len() == 1 {
            &self.one
        } else {
            &self.many
        };
        let text = |many| text(self.verb, self.table, &self.columns, self.suffix, many);
        execute(db, kept, text, &self.columns, rows)
    }
}

/// Writes to one table that name only some of its columns, each choice with a plan of its own.
pub struct Writes {
    table: &'static str,
    columns: &'static [Named],
    verb: Verb,
    suffix: &'static str,
    one: KeptByMask,
    many: KeptByMask,
}

impl Writes {
    const fn new(
        verb: Verb,
        table: &'static str,
        columns: &'static [Named],
        suffix: &'static str,
    ) -> Self {
        Self {
            table,
            columns,
            verb,
            suffix,
            one: KeptByMask::new(),
            many: KeptByMask::new(),
        }
    }

    /// `INSERT INTO table (chosen columns) …`, followed by `suffix`.
    pub const fn insert(
        table: &'static str,
        columns: &'static [Named],
        suffix: &'static str,
    ) -> Self {
        Self::new(Verb::Insert, table, columns, suffix)
    }

    /// `UPDATE table SET …` of the chosen columns by the first one.
    pub const fn update(table: &'static str, columns: &'static [Named]) -> Self {
        Self::new(Verb::Update, table, columns, "")
    }

    /// Writes all rows with one statement. Bit `i` of the mask chooses column `i`; every row holds the chosen
    /// columns in order.
    pub fn run(&self, db: &Db, mask: u128, rows: &[Vec<Arg>]) -> Option<Rows> {
        let chosen: Vec<Named> = self
            .columns
            .iter()
            .enumerate()
            .filter(|(i, _)| mask >> i & 1 == 1)
            .map(|(_, c)| *c)
            .collect();
        let kept = if rows.len() == 1 {
            self.one.get(mask)
        } else {
            self.many.get(mask)
        };
        let text = |many| text(self.verb, self.table, &chosen, self.suffix, many);
        execute(db, kept, text, &chosen, rows)
    }
}

fn execute<R: AsRef<[Arg]>>(
    db: &Db,
    kept: &Kept,
    text: impl Fn(bool) -> CString,
    columns: &[Named],
    rows: &[R],
) -> Option<Rows> {
    match rows {
        [] => None,
        [row] => {
            let types: Vec<Oid> = columns.iter().map(|(_, oid)| (*oid).into()).collect();
            Some(kept.execute(db, || text(false), &types, row.as_ref(), false))
        }
        rows => {
            let types: Vec<Oid> = columns.iter().map(|(_, oid)| array_type(*oid)).collect();
            let column = |c: usize| {
                rows.iter()
                    .map(move |r| r.as_ref().get(c).copied().unwrap_or(Arg::NULL))
            };
            let args: Vec<Arg> = columns
                .iter()
                .enumerate()
                .map(|(c, (_, oid))| array(*oid, column(c)))
                .collect();
            Some(kept.execute(db, || text(true), &types, &args, false))
        }
    }
}

fn text(verb: Verb, table: &str, columns: &[Named], suffix: &str, many: bool) -> CString {
    let value = |i: usize, name: &str| {
        if many {
            format!("n.{name}")
        } else {
            format!("${}", i + 1)
        }
    };
    let pairs = |range: std::ops::Range<usize>, left: &str, by: &str| {
        let pair = |(i, (name, _)): (usize, &Named)| format!("{left}{name} = {}", value(i, name));
        columns
            .iter()
            .enumerate()
            .take(range.end)
            .skip(range.start)
            .map(pair)
            .collect::<Vec<_>>()
            .join(by)
    };
    let list = columns
        .iter()
        .map(|(name, _)| *name)
        .collect::<Vec<_>>()
        .join(", ");
    let places = (1..=columns.len())
        .map(|i| format!("${i}"))
        .collect::<Vec<_>>()
        .join(", ");
    let source = |word: &str| {
        if many {
            format!(" {word} unnest({places}) AS n ({list})")
        } else {
            String::new()
        }
    };
    let sql = match verb {
        Verb::Insert if many => {
            format!(
                "INSERT INTO {table} ({list}) SELECT {list}{} {suffix}",
                source("FROM")
            )
        }
        Verb::Insert => format!("INSERT INTO {table} ({list}) VALUES ({places}) {suffix}"),
        Verb::Update => {
            let sets = pairs(1..columns.len(), "", ", ");
            format!(
                "UPDATE {table} AS t SET {sets}{} WHERE {}",
                source("FROM"),
                pairs(0..1, "t.", "")
            )
        }
        Verb::Delete => {
            let all = pairs(0..columns.len(), "t.", " AND ");
            format!("DELETE FROM {table} AS t{} WHERE {all}", source("USING"))
        }
    };
    CString::new(sql).unwrap_or_default()
}
