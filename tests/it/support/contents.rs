//! Everything that is stored, in one comparable value: "nothing was left behind".

use std::collections::BTreeMap;

use super::Session;

/// Table → (rows, sum of the hashes of its rows).
pub type Contents = BTreeMap<String, (i64, i64)>;

impl Session {
    /// Contents of every table of the engine. A few seconds on large tables, fast on test data.
    #[track_caller]
    pub fn contents(&mut self) -> Contents {
        let tables: Vec<String> = self
            .rows(
                "SELECT format('%I.%I', n.nspname, c.relname)
                   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE n.nspname = 'ff_engine' AND c.relkind = 'r'
                    AND c.relname NOT IN ('tally', 'tally_position', 'moved')
                  ORDER BY 1",
                &[],
            )
            .iter()
            .map(|row| row.get(0))
            .collect();
        assert!(!tables.is_empty(), "the engine has tables");
        // Background work moves counts from one of their tables to another at any time; what they say stays.
        let union: Vec<String> = tables
            .iter()
            .map(String::as_str)
            .chain(["ff_engine.counted()"])
            .map(|table| {
                format!(
                    "SELECT '{table}', count(*), coalesce(sum(hashtextextended(t::text, 0) / 4096), 0)::bigint
                       FROM {table} t"
                )
            })
            .collect();
        self.rows(&union.join(" UNION ALL "), &[])
            .iter()
            .map(|row| (row.get(0), (row.get(1), row.get(2))))
            .collect()
    }
}
