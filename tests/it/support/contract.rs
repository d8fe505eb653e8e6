//! The tables of `tests/contract/`: what the specification names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use super::cluster::checkout;

/// Rows of a tab-separated file without its header line.
pub fn table(name: &str) -> Vec<Vec<String>> {
    let file = checkout().join("tests/contract").join(name);
    let text = std::fs::read_to_string(&file)
        .unwrap_or_else(|e| panic!("{} cannot be read: {e}", file.display()));
    text.lines()
        .skip(1)
        .filter(|line| !line.is_empty())
        .map(|line| line.split('\t').map(String::from).collect())
        .collect()
}

/// SQLSTATE → kind.
pub fn errors() -> &'static BTreeMap<String, String> {
    static ERRORS: OnceLock<BTreeMap<String, String>> = OnceLock::new();
    ERRORS.get_or_init(|| {
        table("errors.tsv")
            .into_iter()
            .map(|row| (row[1].clone(), row[0].clone()))
            .collect()
    })
}

pub fn kind_of(sqlstate: &str) -> Option<String> {
    errors().get(sqlstate).cloned()
}

/// Scenario ids such as `E-17`.
pub fn scenarios() -> BTreeSet<String> {
    table("scenarios.tsv")
        .into_iter()
        .map(|row| row[0].clone())
        .collect()
}

/// Scenario ids that are not, or only in part, covered yet, with the reason.
pub fn pending() -> BTreeMap<String, String> {
    table("pending.tsv")
        .into_iter()
        .map(|row| (row[0].clone(), row[1].clone()))
        .collect()
}
