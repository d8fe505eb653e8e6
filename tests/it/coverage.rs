//! Every acceptance scenario has a test or a reason for having none yet.
//!
//! A test covers the scenarios whose ids its name carries (`e_17_…`). A name with `e_17_part_…`
//! covers only a part: such a scenario stands in `tests/contract/pending.tsv` with what is
//! missing, like one without any test. A scenario that is covered wholly does not stand there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::support::cluster::checkout;
use crate::support::contract;

/// Test names in the sources below these folders.
fn test_names() -> Vec<String> {
    let mut names = Vec::new();
    for folder in ["tests/it", "pg_test", "src"] {
        collect(&checkout().join(folder), &mut names);
    }
    names
}

fn collect(folder: &Path, names: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("a readable source");
            names.extend(tests_in(&text));
        }
    }
}

/// Names of the functions that stand under a test attribute.
fn tests_in(text: &str) -> Vec<String> {
    let mut under_attribute = false;
    let mut names = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test]")
            || line.starts_with("#[pg_test")
            || line.starts_with("#[pgrx::pg_test")
        {
            under_attribute = true;
        } else if let Some(rest) = line
            .strip_prefix("fn ")
            .or_else(|| line.strip_prefix("pub fn "))
        {
            if under_attribute {
                names.push(
                    rest.split(['(', '<'])
                        .next()
                        .unwrap_or_default()
                        .to_string(),
                );
            }
            under_attribute = false;
        }
    }
    names
}

/// The scenario ids in a test's name, each with whether it is covered in part only.
fn ids_in(name: &str) -> Vec<(String, bool)> {
    let words: Vec<&str> = name.split('_').collect();
    let mut ids = Vec::new();
    for (n, pair) in words.windows(2).enumerate() {
        let chapter = matches!(pair[0], "e" | "s" | "v" | "f" | "b" | "o");
        if chapter && !pair[1].is_empty() && pair[1].bytes().all(|byte| byte.is_ascii_digit()) {
            let part = words.get(n + 2) == Some(&"part");
            ids.push((format!("{}-{}", pair[0].to_uppercase(), pair[1]), part));
        }
    }
    ids
}

#[test]
fn the_names_of_tests_are_understood() {
    assert_eq!(
        ids_in("e_17_lane_name_limits"),
        [("E-17".to_string(), false)]
    );
    assert_eq!(ids_in("v_28_part_each"), [("V-28".to_string(), true)]);
    assert_eq!(
        ids_in("e_3_and_e_4_both"),
        [("E-3".to_string(), false), ("E-4".to_string(), false)]
    );
    assert_eq!(ids_in("a_claim_of_5_items"), []);
    let source = [
        "#[test]",
        "fn one() {",
        "fn helper() {",
        "#[test]",
        "#[should_panic]",
        "fn two() {",
    ]
    .join("\n");
    assert_eq!(tests_in(&source), ["one", "two"]);
}

#[test]
fn every_scenario_is_tested_or_pending_with_a_reason() {
    let scenarios = contract::scenarios();
    let pending = contract::pending();
    let mut covered: BTreeMap<String, bool> = BTreeMap::new();
    let mut complaints = Vec::new();
    for name in test_names() {
        for (id, part) in ids_in(&name) {
            if !scenarios.contains(&id) {
                complaints.push(format!("{name} names {id}, which no chapter has"));
            }
            *covered.entry(id).or_default() |= part;
        }
    }
    for id in &scenarios {
        match (covered.get(id), pending.contains_key(id)) {
            (None, false) => complaints.push(format!("{id} has no test and is not pending")),
            (Some(false), true) => {
                complaints.push(format!("{id} is tested wholly and still pending"))
            }
            (Some(true), false) => {
                complaints.push(format!("{id} is tested in part and not pending"))
            }
            _ => {}
        }
    }
    for (id, reason) in &pending {
        if !scenarios.contains(id) {
            complaints.push(format!("pending.tsv lists {id}, which no chapter has"));
        }
        if reason.len() < 10 {
            complaints.push(format!("pending.tsv gives no reason for {id}"));
        }
    }
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn every_pending_line_stands_once() {
    let lines = contract::table("pending.tsv");
    let ids: BTreeSet<&String> = lines.iter().map(|line| &line[0]).collect();
    assert_eq!(ids.len(), lines.len());
    assert!(
        lines.iter().all(|line| line.len() == 2),
        "two columns: id and reason"
    );
}
