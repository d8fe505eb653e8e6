//! Every installed function against its signature in the specification: names, types and defaults of its arguments,
//! and the columns of its result.

use std::collections::BTreeMap;

use crate::support::{Cells, World, contract};

/// One argument or column.
#[derive(Debug, PartialEq)]
struct Item {
    /// `INOUT` or `VARIADIC`, nothing for an ordinary one.
    mode: String,
    name: String,
    type_name: String,
    default: Option<String>,
}

/// The items of a list; commas inside brackets and quotes do not part them.
fn items(list: &str) -> Vec<Item> {
    let (mut depth, mut quoted, mut parts) = (0, false, vec![String::new()]);
    for c in list.chars() {
        match c {
            '\'' => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' | ']' | '}' if !quoted => depth -= 1,
            ',' if depth == 0 && !quoted => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().expect("one at least").push(c);
    }
    parts.retain(|part| !part.trim().is_empty());
    parts.iter().map(|part| item(part.trim())).collect()
}

fn item(text: &str) -> Item {
    let (declared, default) = match text.split_once(" DEFAULT ") {
        Some((declared, default)) => (declared, Some(default.to_owned())),
        None => (text, None),
    };
    let mut words = declared.split(' ').peekable();
    let mode = words
        .next_if(|word| ["IN", "INOUT", "OUT", "VARIADIC"].contains(word))
        .filter(|word| *word != "IN")
        .unwrap_or_default();
    let name = words.next().unwrap_or_default().trim_matches('"');
    Item {
        mode: mode.into(),
        name: name.into(),
        type_name: long_name(&words.collect::<Vec<_>>().join(" ")),
        default,
    }
}

/// A type as the server spells it.
fn long_name(type_name: &str) -> String {
    match type_name {
        "int" => "integer".into(),
        "timestamptz" => "timestamp with time zone".into(),
        other => other.into(),
    }
}

/// The columns between the brackets of a `TABLE(…)`.
fn columns(result: &str) -> Option<Vec<Item>> {
    Some(items(result.strip_prefix("TABLE(")?.strip_suffix(')')?))
}

/// A default as the value it stands for.
fn value(w: &mut World, item: &Item) -> Option<String> {
    let text = item.default.as_ref()?;
    let sql = format!(
        "SELECT coalesce((({text})::{})::text, 'NULL')",
        item.type_name
    );
    Some(w.value(&sql, &[]))
}

fn compare(
    w: &mut World,
    name: &str,
    what: &str,
    specified: &[Item],
    found: &[Item],
) -> Vec<String> {
    let brief = |items: &[Item]| -> Vec<String> {
        items
            .iter()
            .map(|i| {
                format!("{} {} {}", i.mode, i.name, i.type_name)
                    .trim()
                    .to_owned()
            })
            .collect()
    };
    if brief(specified) != brief(found) {
        return vec![format!(
            "{name} has the {what} {:?} and not {:?}",
            brief(found),
            brief(specified)
        )];
    }
    let mut complaints = Vec::new();
    for (one, other) in specified.iter().zip(found) {
        let defaults = (value(w, one), value(w, other));
        if defaults.0 != defaults.1 {
            complaints.push(format!(
                "the default of {} in {name} is {:?} and not {:?}",
                one.name, defaults.1, defaults.0
            ));
        }
    }
    complaints
}

#[test]
fn every_installed_function_has_the_signature_of_the_specification() {
    let mut w = World::new();
    let specified: BTreeMap<String, (String, String)> = contract::table("signatures.tsv")
        .into_iter()
        .map(|row| (row[0].clone(), (row[1].clone(), row[2].clone())))
        .collect();
    let installed = w.rows(
        "SELECT p.proname::text AS name, pg_get_function_arguments(p.oid) AS arguments,
                coalesce(pg_get_function_result(p.oid), 'procedure') AS result
           FROM pg_proc p
           JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
           JOIN pg_extension x ON x.oid = d.refobjid AND x.extname = 'ff_engine' AND x.extnamespace = p.pronamespace
          ORDER BY 1",
        &[],
    );
    assert!(installed.len() >= 80, "only {} functions", installed.len());
    let mut complaints = Vec::new();
    for row in &installed {
        let (name, found) = (row.text("name"), row.text("result"));
        let Some((arguments, result)) = specified.get(&name) else {
            complaints.push(format!("{name} has no line in signatures.tsv"));
            continue;
        };
        let (asked, given) = (items(arguments), items(&row.text("arguments")));
        complaints.extend(compare(&mut w, &name, "arguments", &asked, &given));
        match (columns(result), columns(&found)) {
            // The specification describes these columns in words.
            _ if result == "…" => {}
            (Some(asked), Some(given)) => {
                complaints.extend(compare(&mut w, &name, "columns", &asked, &given));
            }
            _ if long_name(result) == found => {}
            _ => complaints.push(format!("{name} returns {found} and not {result}")),
        }
    }
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn every_line_of_the_signatures_names_a_function_of_the_specification() {
    let functions: Vec<String> = contract::table("functions.tsv")
        .into_iter()
        .map(|row| row[0].clone())
        .collect();
    let signed: Vec<String> = contract::table("signatures.tsv")
        .into_iter()
        .map(|row| row[0].clone())
        .collect();
    assert_eq!(signed, functions, "one line each, in the same order");
}

#[test]
fn a_list_is_taken_apart_where_its_items_end() {
    let found =
        items("a text DEFAULT 'x, y'::text, VARIADIC b text[] DEFAULT '{1,2}', INOUT \"c\" int");
    let names: Vec<_> = found
        .iter()
        .map(|i| (i.mode.as_str(), i.name.as_str(), i.type_name.as_str()))
        .collect();
    assert_eq!(
        names,
        [
            ("", "a", "text"),
            ("VARIADIC", "b", "text[]"),
            ("INOUT", "c", "integer")
        ]
    );
    assert_eq!(found[0].default.as_deref(), Some("'x, y'::text"));
}
