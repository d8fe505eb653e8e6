//! The functions that are installed, compared with the ones the specification names.

use std::collections::{BTreeMap, BTreeSet};

use postgres::Row;

use crate::support::{Cells, World, contract};

/// Installed public functions and procedures.
fn installed(w: &mut World) -> Vec<Row> {
    w.rows(
        "SELECT p.oid::regprocedure::text AS signature, p.proname::text AS name, p.prokind::text AS kind,
                p.provolatile::text AS volatility, p.prosecdef AS definer,
                p.prolang = (SELECT l.oid FROM pg_language AS l WHERE l.lanname = 'c') AS native,
                coalesce(p.proconfig, '{}') AS config, p.proargtypes::regtype[]::text AS types,
                p.proisstrict AS strict, obj_description(p.oid, 'pg_proc') AS comment,
                has_function_privilege('pg_monitor', p.oid, 'EXECUTE') AS open
           FROM pg_proc p
           JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
           JOIN pg_namespace n ON n.oid = p.pronamespace
          WHERE n.nspname = 'public'
          ORDER BY 1",
        &[],
    )
}

#[track_caller]
fn none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn every_installed_function_is_one_of_the_specification_and_of_its_kind() {
    let mut w = World::new();
    let specified: BTreeMap<String, (String, String)> = contract::table("functions.tsv")
        .into_iter()
        .map(|row| (row[0].clone(), (row[4].clone(), row[5].clone())))
        .collect();
    let mut complaints = Vec::new();
    let functions = installed(&mut w);
    assert!(
        functions.len() >= 50,
        "only {} functions are installed",
        functions.len()
    );
    for row in &functions {
        let name = row.text("name");
        let Some((kind, volatility)) = specified.get(&name) else {
            complaints.push(format!("{name} is in no chapter"));
            continue;
        };
        let is_procedure = row.text("kind") == "p";
        if is_procedure != (kind == "procedure") {
            complaints.push(format!("{name} is to be a {kind}"));
        }
        let is = match row.text("volatility").as_str() {
            "i" => "immutable",
            "s" => "stable",
            _ => "volatile",
        };
        if !is_procedure && is != volatility {
            complaints.push(format!("{name} is {is} and not {volatility}"));
        }
    }
    none(complaints);
}

#[test]
fn no_name_is_overloaded_and_no_argument_is_smallint() {
    let mut w = World::new();
    let functions = installed(&mut w);
    let names: BTreeSet<String> = functions.iter().map(|row| row.text("name")).collect();
    assert_eq!(names.len(), functions.len(), "one name, one signature");
    none(
        functions
            .iter()
            .filter(|row| row.text("types").contains("smallint"))
            .map(|row| row.text("signature"))
            .collect(),
    );
}

#[test]
fn nothing_is_granted_to_everybody() {
    let mut w = World::new();
    none(
        installed(&mut w)
            .iter()
            .filter(|row| row.flag("open"))
            .map(|row| row.text("signature"))
            .collect(),
    );
    let inner = w.rows(
        "SELECT p.oid::regprocedure::text AS signature FROM pg_proc p
          WHERE pronamespace = 'ff_engine'::regnamespace AND has_function_privilege('pg_monitor', p.oid, 'EXECUTE')
            AND has_schema_privilege('pg_monitor', 'ff_engine', 'USAGE')",
        &[],
    );
    none(inner.iter().map(|row| row.text("signature")).collect());
    let relations = w.rows(
        "SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE (n.nspname = 'ff_engine' OR c.relname LIKE 'ff\\_%') AND c.relkind IN ('r', 'v', 'S', 'p')
            AND (has_table_privilege('pg_monitor', c.oid, 'SELECT')
                 OR has_table_privilege('pg_monitor', c.oid, 'UPDATE'))",
        &[],
    );
    none(relations.iter().map(|row| row.text("name")).collect());
}

/// These read nothing that is stored.
const WITHOUT_STORAGE: [&str; 3] = ["ff_new_id", "ff_server_time", "ff_server_time_ms"];

/// The waiting procedures end transactions, which neither is compatible with (§10.23); the
/// others run with the owner's rights on a path nobody can bend.
#[test]
fn functions_run_as_their_owner_on_a_pinned_path() {
    let mut w = World::new();
    let mut complaints = Vec::new();
    for row in installed(&mut w) {
        let (name, config) = (row.text("name"), row.get::<_, Vec<String>>("config"));
        let pinned = config
            .iter()
            .any(|set| set.starts_with("search_path=") && set.ends_with("pg_catalog, pg_temp"));
        if row.text("kind") == "p" {
            if row.flag("definer") || !config.is_empty() {
                complaints.push(format!("{name} could not end a transaction"));
            }
        } else if row.text("volatility") != "i"
            // What is written in Rust pins the path for each statement it runs.
            && !((pinned || row.flag("native")) && (row.flag("definer") || WITHOUT_STORAGE.contains(&name.as_str())))
        {
            complaints.push(format!("{name} {config:?}"));
        }
    }
    none(complaints);
}

/// A strict function would answer NULL where the specification wants an error.
#[test]
fn no_function_swallows_null_arguments() {
    let mut w = World::new();
    none(
        installed(&mut w)
            .iter()
            .filter(|row| row.flag("strict") && row.text("types") != "{}")
            .map(|row| row.text("signature"))
            .collect(),
    );
}

#[test]
fn every_function_says_what_it_does() {
    let mut w = World::new();
    none(
        installed(&mut w)
            .iter()
            .filter(|row| row.maybe_text("comment").unwrap_or_default().is_empty())
            .map(|row| row.text("signature"))
            .collect(),
    );
}

#[test]
fn an_unknown_setting_is_rejected_and_the_known_ones_are_described() {
    let mut w = World::new();
    w.refused("42602", "SET ff_engine.max_clain_items = 5", &[]);
    let settings = w.rows(
        "SELECT name, short_desc, context FROM pg_settings WHERE name LIKE 'ff\\_engine.%'",
        &[],
    );
    assert!(settings.len() >= 10);
    none(
        settings
            .iter()
            .filter(|row| row.text("short_desc").is_empty())
            .map(|row| row.text("name"))
            .collect(),
    );
    let clock = settings
        .iter()
        .find(|row| row.text("name") == "ff_engine.clock_offset")
        .expect("a clock");
    assert_eq!(
        clock.text("context"),
        "superuser",
        "the clock is not for everybody"
    );
}
