//! The rules of the house, read from the sources: who imports whom, where SQL and unsafe may
//! stand, and how long a file may be. ARCHITECTURE.md explains them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::support::cluster::checkout;

struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The folder under `src/`, or the file's own name: `store`, `guc`.
    fn module(&self) -> &str {
        let below = self.path.strip_prefix("src/").unwrap_or_default();
        below.split(['/', '.']).next().unwrap_or_default()
    }

    /// Lines with their numbers, without comments and without the file's own unit tests.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.text.find("#[cfg(test)]").unwrap_or(self.text.len());
        self.text[..end]
            .lines()
            .enumerate()
            .map(|(n, line)| (n + 1, line))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    for folder in folders {
        walk(&checkout().join(folder), &mut found);
    }
    found
}

fn walk(folder: &Path, found: &mut Vec<Source>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let known = ["rs", "sql", "sh", "py", "js", "mjs", "ts"];
        if path.is_dir() {
            if !path.ends_with("node_modules") && !path.ends_with("released") {
                walk(&path, found);
            }
        } else if path
            .extension()
            .is_some_and(|e| known.iter().any(|known| e == *known))
        {
            let text = std::fs::read_to_string(&path).expect("a readable source");
            let path = path
                .strip_prefix(checkout())
                .expect("below the checkout")
                .display()
                .to_string();
            found.push(Source { path, text });
        }
    }
}

#[track_caller]
fn none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// Which parts of the crate a part may use. What is not listed is not looked at.
const ARROWS: [(&str, &[&str]); 7] = [
    ("model", &["error", "model"]),
    ("pg", &["pg"]),
    ("store", &["pg", "model", "error", "store", "guc"]),
    ("ops", &["model", "store", "error", "ops", "pg", "guc"]),
    (
        "api",
        &[
            "ops",
            "error",
            "api",
            "model",
            "store",
            "pg",
            "reconcile",
            "guc",
            "bg",
        ],
    ),
    (
        "reconcile",
        &["ops", "store", "model", "error", "reconcile", "pg", "guc"],
    ),
    ("bg", &["reconcile", "pg", "bg", "guc"]),
];

#[test]
fn imports_follow_the_arrows() {
    let mut complaints = Vec::new();
    let sources = sources(&["src"]);
    assert!(sources.len() > 20, "the crate has sources");
    for source in &sources {
        let Some((_, allowed)) = ARROWS.iter().find(|(module, _)| *module == source.module())
        else {
            continue;
        };
        for (n, line) in source.code() {
            for used in line.match_indices("crate::").filter_map(|(at, found)| {
                line[at + found.len()..]
                    .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .next()
            }) {
                if !used.is_empty() && !allowed.contains(&used) {
                    complaints.push(format!("{}:{n} uses crate::{used}", source.path));
                }
            }
        }
    }
    none(complaints);
}

#[test]
fn the_model_knows_neither_the_server_nor_the_clock_nor_chance() {
    let mut complaints = Vec::new();
    for source in sources(&["src/model"]) {
        for (n, line) in source.code() {
            for word in [
                "pgrx",
                "pg_sys",
                "SystemTime",
                "Instant::now",
                "rand::",
                "getrandom",
                "new_v4",
            ] {
                if line.contains(word) {
                    complaints.push(format!("{}:{n} uses {word}", source.path));
                }
            }
        }
    }
    none(complaints);
}

#[test]
fn sql_stands_only_where_statements_belong() {
    let verbs = [
        "SELECT ",
        "INSERT INTO ",
        "UPDATE ff_engine",
        "DELETE FROM ",
        "WITH ",
    ];
    let mut complaints = Vec::new();
    for source in sources(&["src"]) {
        if source.module() == "store" {
            continue;
        }
        for (n, line) in source.code() {
            let of_a_procedure =
                source.module() == "api" && source.text.contains("CREATE PROCEDURE");
            let starts_a_statement = verbs.iter().any(|verb| {
                line.contains(&format!("\"{verb}")) || line.trim_start().starts_with(verb)
            });
            if starts_a_statement && !of_a_procedure {
                complaints.push(format!("{}:{n} {}", source.path, line.trim()));
            }
        }
    }
    none(complaints);
}

#[test]
fn unsafe_stands_only_at_the_border_to_the_server() {
    let mut complaints = Vec::new();
    for source in sources(&["src"]) {
        if ["pg", "bg"].contains(&source.module()) || source.path == "src/error/raise.rs" {
            continue;
        }
        for (n, line) in source.code() {
            let words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            if words.into_iter().any(|word| word == "unsafe") {
                complaints.push(format!("{}:{n} {}", source.path, line.trim()));
            }
        }
    }
    none(complaints);
}

#[test]
fn the_layers_above_the_server_forbid_unsafe_code() {
    let mut complaints = Vec::new();
    for layer in ["model", "store", "ops", "reconcile"] {
        let file = checkout().join("src").join(layer).join("mod.rs");
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        if !text.contains("#![forbid(unsafe_code)]") {
            complaints.push(format!("src/{layer}/mod.rs does not forbid it"));
        }
    }
    none(complaints);
}

#[test]
fn no_file_is_longer_than_500_lines() {
    let folders = [
        "src", "sql", "pg_test", "tests", "scripts", "bench", "examples",
    ];
    none(
        sources(&folders)
            .iter()
            .map(|source| (source, source.text.lines().count()))
            .filter(|(_, lines)| *lines > 500)
            .map(|(source, lines)| format!("{} has {lines} lines", source.path))
            .collect(),
    );
}

#[test]
fn every_rust_file_says_what_belongs_in_it() {
    none(
        sources(&["src", "tests", "pg_test"])
            .iter()
            .filter(|source| source.path.ends_with(".rs") && !source.text.starts_with("//!"))
            .map(|source| format!("{} does not begin with //!", source.path))
            .collect(),
    );
}

#[test]
fn no_file_is_a_drawer_for_the_rest() {
    let drawers = [
        "utils", "util", "helpers", "helper", "common", "types", "misc", "manager",
    ];
    none(
        sources(&["src", "tests", "pg_test"])
            .iter()
            .filter(|source| {
                let stem = Path::new(&source.path)
                    .file_stem()
                    .and_then(|stem| stem.to_str())
                    .unwrap_or_default();
                drawers.contains(&stem)
            })
            .map(|source| source.path.clone())
            .collect(),
    );
}

#[test]
fn no_test_is_switched_off() {
    let mut complaints = Vec::new();
    let marks = [
        concat!("#[", "ignore"),
        concat!("//", " #[test]"),
        concat!("//", "#[test]"),
    ];
    for source in sources(&["src", "tests", "pg_test"]) {
        for (n, line) in source.text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                complaints.push(format!("{}:{} {}", source.path, n + 1, line.trim()));
            }
        }
    }
    none(complaints);
}

/// Functions of the schema that a text calls, outside comments.
fn called(text: &str) -> BTreeSet<&str> {
    let code = text.lines().filter_map(|line| line.split("--").next());
    let schemas =
        |line| ["ff_engine.", "@extschema@."].map(|schema| str::split(line, schema).skip(1));
    code.flat_map(schemas)
        .flatten()
        .filter_map(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
            rest[end..].starts_with('(').then_some(&rest[..end])
        })
        .collect()
}

/// The order in which the install script declares the functions of Rust changes from build to build.
#[test]
fn the_install_script_has_every_function_before_it_is_called() {
    let script = std::fs::read_to_string(checkout().join("src/schema.rs")).expect("the script");
    let (files, api) = (sources(&["sql"]), sources(&["src/api"]));
    let declared = |name: &str| {
        let in_rust = format!("fn {name}(");
        let in_sql =
            ["ff_engine", "@extschema@"].map(|schema| format!("FUNCTION {schema}.{name}("));
        api.iter().any(|s| s.text.contains(&in_rust))
            && !files
                .iter()
                .any(|s| in_sql.iter().any(|sql| s.text.contains(sql)))
    };
    let mut required = BTreeSet::new();
    let mut complaints = Vec::new();
    for block in script.split("extension_sql_file!(").skip(1) {
        let file = block.split('"').nth(1).expect("a file");
        let source = files.iter().find(|s| file.ends_with(&s.path));
        let list = block.split_once("requires = ").map_or("", |(_, list)| list);
        let words = list.split(|c: char| !c.is_ascii_alphanumeric() && !"_:".contains(c));
        required.extend(words.filter_map(|path| Some(path.rsplit_once("::")?.1)));
        // What is installed last finds everything.
        if !block.contains("finalize") {
            let called = called(&source.expect("a file of sql/").text);
            let late = called
                .into_iter()
                .filter(|name| declared(name) && !required.contains(name));
            complaints.extend(late.map(|name| format!("{file} needs {name}")));
        }
    }
    none(complaints);
}

/// The number behind a word of a file.
fn number_behind(file: &str, word: &str) -> i64 {
    let text = std::fs::read_to_string(checkout().join(file)).expect("a readable file");
    let (_, rest) = text.split_once(word).expect("the word");
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a number")
}

/// More events to a value than the sequence leaves room for would share their ids.
#[test]
fn a_value_of_the_event_sequence_leaves_room_for_the_events_it_numbers() {
    let step = number_behind("sql/18_event.sql", "INCREMENT BY ");
    let events = number_behind("src/store/event.rs", "PER_VALUE: i64 = ");
    assert_eq!(step, 2 * events, "each event takes two ids");
}
