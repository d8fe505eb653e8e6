//! What the documents promise: the tour of the README works line by line in a fresh database, links and make
//! targets exist, and the settings are described with the defaults they have.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::cluster::{Cluster, checkout};
use crate::support::{World, template};

/// A database without the extension, dropped at the end.
struct Bare {
    cluster: Cluster,
    name: String,
}

impl Bare {
    fn new() -> Self {
        let cluster = Cluster::home();
        let name = template::empty_database(&cluster);
        Self { cluster, name }
    }

    /// Feeds a script to psql, which stops at the first error; returns what it printed.
    #[track_caller]
    fn psql(&self, script: &str) -> String {
        let program = std::env::var("FF_PG_BINDIR").map_or("psql".into(), |dir| dir + "/psql");
        let mut psql = Command::new(program)
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &self.name])
            .args(["-h", &self.cluster.host, "-U", &self.cluster.user])
            .args(["-p", &self.cluster.port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("psql can be run");
        let mut input = psql.stdin.take().expect("standard input");
        input.write_all(script.as_bytes()).expect("psql reads");
        drop(input);
        let output = psql.wait_with_output().expect("psql ends");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{printed}\n{complaints}");
        printed
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        template::drop_database(&self.cluster, &self.name);
    }
}

fn read(path: impl AsRef<Path>) -> String {
    let path = checkout().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The fenced blocks of a language, one after the other.
fn blocks(text: &str, language: &str) -> String {
    let mut inside = false;
    let mut found = String::new();
    for line in text.lines() {
        match line.strip_prefix("```") {
            Some(tag) => inside = !inside && tag == language,
            None if inside => {
                found.push_str(line);
                found.push('\n');
            }
            None => {}
        }
    }
    found
}

/// The documents of the project.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![
        checkout(),
        checkout().join("docs"),
        checkout().join("bench"),
    ];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() && folder != checkout() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "md") {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn the_tour_of_the_readme_works_line_by_line_in_a_fresh_database() {
    let tour = blocks(&read("README.md"), "sql");
    assert!(tour.contains("ff_claim(") && tour.contains("ff_complete("));
    let printed = Bare::new().psql(&tour);
    for promised in [
        "created",
        "duplicate",
        "retry_scheduled",
        "this attempt is a retry after: mailbox busy",
        "delivered",
        "for you it is a reclaim",
        "FF401",
    ] {
        assert!(printed.contains(promised), "{promised}: {printed}");
    }
}

#[test]
fn the_queries_of_the_operations_guide_work() {
    let queries = blocks(&read("docs/operations.md"), "sql");
    assert!(queries.contains("ff_count_executions("));
    // Roles belong to the cluster, so nothing is kept.
    Bare::new().psql(&format!("BEGIN;\n{queries}\nROLLBACK;\n"));
}

#[test]
fn the_examples_of_the_reference_work_page_by_page() {
    for page in reference() {
        let examples = blocks(&read(&page), "sql");
        if !examples.is_empty() {
            Bare::new().psql(&format!("CREATE EXTENSION ff_engine;\n{examples}"));
        }
    }
}

#[test]
fn every_function_has_its_place_in_the_reference() {
    let pages: String = reference().iter().map(read).collect();
    let mut w = World::new();
    let mut missing = Vec::new();
    for row in w.rows(
        "SELECT p.proname::text AS name FROM pg_proc p
          WHERE p.pronamespace = 'public'::regnamespace AND p.proname LIKE 'ff\\_%' ORDER BY 1",
        &[],
    ) {
        let name: String = row.get("name");
        // A section of its own, or a line of a table for functions of one shape.
        if !pages.contains(&format!("\n## {name}\n")) && !pages.contains(&format!("\n| `{name}` |"))
        {
            missing.push(name);
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// The pages of the reference.
fn reference() -> Vec<PathBuf> {
    let mut pages = documents();
    pages.retain(|page| {
        page.parent()
            .is_some_and(|folder| folder.ends_with("reference"))
    });
    assert!(pages.len() > 5, "the reference has pages");
    pages
}

#[test]
fn links_in_the_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for document in documents() {
        let text = read(&document);
        let folder = document.parent().expect("a folder");
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            if link.contains("://") || link.contains(' ') {
                continue;
            }
            let target = if path.is_empty() {
                document.clone()
            } else {
                folder.join(path)
            };
            let found = target.exists() && (anchor.is_empty() || anchors(&target).contains(anchor));
            if !found {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The headings of a document as links name them.
fn anchors(document: &Path) -> BTreeSet<String> {
    read(document)
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

#[test]
fn make_targets_named_in_the_documents_exist() {
    let makefile = read("Makefile");
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
        .filter_map(|line| line.split_once(':').map(|(target, _)| target))
        .collect();
    let mut missing = Vec::new();
    for document in documents() {
        let text = read(&document);
        // In code: behind a back quote, or at the start of a line.
        for named in text
            .split("`make ")
            .skip(1)
            .chain(text.split("\nmake ").skip(1))
        {
            let target: String = named
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '-')
                .collect();
            if !target.is_empty() && !targets.contains(target.as_str()) {
                missing.push(format!("{}: make {target}", document.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn the_operations_guide_lists_every_setting_with_its_default() {
    let described: BTreeMap<String, String> = read("docs/operations.md")
        .lines()
        .filter_map(|line| {
            let mut cells = line
                .split('|')
                .skip(1)
                .map(|cell| cell.trim().trim_matches('`'));
            let (name, default) = (cells.next()?, cells.next()?);
            Some((format!("ff_engine.{name}"), default.into()))
        })
        .collect();
    let mut w = World::new();
    w.run("RESET ff_engine.clock_offset");
    for row in w.rows(
        "SELECT name, current_setting(name) FROM pg_settings WHERE name LIKE 'ff\\_engine.%'",
        &[],
    ) {
        let (name, default): (String, String) = (row.get(0), row.get(1));
        assert_eq!(described.get(&name), Some(&default), "{name}");
    }
}
