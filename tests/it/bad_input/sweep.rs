//! Every function, every argument, nasty values: whatever happens, it is no internal error.

use postgres::error::SqlState;

use super::Inhabited;
use crate::support::{Cells, World};

/// Values of a type that have broken somebody's program before.
fn nasty(type_name: &str) -> &'static [&'static str] {
    match type_name {
        "text" => &[
            "''",
            "' '",
            "repeat('x', 70000)",
            "'%s%n'",
            r"E'\x01'",
            "'ffh1.'",
            "'ffc1.AAAA'",
            "'🦀'",
            "'NaN'",
        ],
        "text[]" => &[
            "'{}'",
            "'{NULL}'",
            "'{\"\"}'",
            "'{{a,b},{c,d}}'",
            "'[5:6]={a,b}'",
            "array_fill('x'::text, '{2000}')",
        ],
        "bytea" => &["''", r"'\x00'", "convert_to(repeat('x', 100000), 'UTF8')"],
        "bytea[]" => &[
            "'{}'",
            "'{NULL,NULL}'",
            r#"'[3:4]={"\\x01","\\x02"}'"#,
            "'{{a,b},{c,d}}'",
        ],
        "integer" => &["0", "-1", "1", "2147483647", "-2147483648"],
        "bigint" => &["0", "-1", "9223372036854775807", "-9223372036854775808"],
        "boolean" => &["true", "false"],
        "uuid" => &[
            "'00000000-0000-0000-0000-000000000000'",
            "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
        ],
        "uuid[]" => &[
            "'{}'",
            "'{NULL}'",
            "array_fill(gen_random_uuid(), '{2000}')",
        ],
        "jsonb" => &[
            "'null'",
            "'{}'",
            "'[]'",
            "'1'",
            "'\"x\"'",
            "'[[[[]]]]'",
            "'{\"a\":{\"b\":[null,1e400]}}'",
            "'{\"\":\"\"}'",
            "to_jsonb(repeat('[', 3000))",
        ],
        "interval" => &[
            "'0'",
            "'-1 s'",
            "'1 month'",
            "'178000000 years'",
            "'-178000000 years'",
            "'1 us'",
            "'100000000 days'",
        ],
        "timestamp with time zone" => &[
            "'infinity'",
            "'-infinity'",
            "'4713-01-01 BC'",
            "'294276-12-31'",
            "'1970-01-01'",
        ],
        "int4range" => &[
            "'empty'",
            "'(,)'",
            "'[0,0]'",
            "'[255,256)'",
            "'[-5,300]'",
            "'[2147483646,2147483647)'",
        ],
        _ => &[],
    }
}

/// A value that the functions accept, so that the nasty one is what is looked at.
pub fn harmless(name: &str, type_name: &str) -> Option<&'static str> {
    Some(match (name, type_name) {
        ("lane", _) => "'L'",
        ("handle", _) => "$1",
        ("handles", _) => "ARRAY[$1]",
        ("id", "text") => "'{fp:1}:00000000-0000-0000-0000-000000000001'",
        ("wait" | "timeout" | "max_duration", "interval") => "'1 ms'",
        ("worker" | "worker_instance" | "kind" | "reason", _) => "'x'",
        ("payloads", _) => "'{NULL}'",
        ("items", _) => r#"'[{"lane":"L","kind":"k"}]'"#,
        ("delay_until", _) => "ff_server_time()",
        ("state", _) => "'active'",
        ("condition", _) => "ff_cond_signal()",
        (_, "uuid") => "gen_random_uuid()",
        (_, "uuid[]") => "'{}'",
        _ => return None,
    })
}

/// Processes and schedules of the whole server, and what is to run long, are no subject here.
const LEFT_ALONE: [&str; 7] = [
    "ff_run_reconcilers",
    "ff_start_workers",
    "ff_stop_workers",
    "ff_schedule_reconcilers",
    "ff_unschedule_reconcilers",
    "ff_create_roles",
    "ff_events_rebase",
];

pub struct Argument {
    pub name: String,
    pub type_name: String,
    pub optional: bool,
    pub variadic: bool,
}

impl Argument {
    /// The argument in a call, by name.
    pub fn given(&self, value: &str) -> String {
        let (name, type_name) = (&self.name, &self.type_name);
        match self.variadic {
            true => format!("VARIADIC {name:?} => {value}::{type_name}"),
            false => format!("{name:?} => {value}"),
        }
    }
}

/// Public functions and procedures by name: whether it is a procedure, and its arguments.
pub fn public_functions(world: &mut World) -> Vec<(String, bool, Vec<Argument>)> {
    world
        .rows(
            "SELECT p.proname::text AS name, p.prokind = 'p' AS procedure,
                    coalesce(p.proargnames[1:p.pronargs], '{}') AS names,
                    ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY u (t, n) ORDER BY n) AS types,
                    (p.pronargs - p.pronargdefaults)::int AS required, p.provariadic <> 0 AS variadic
               FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
              WHERE n.nspname = 'public' AND p.proname LIKE 'ff\\_%'
              ORDER BY 1",
            &[],
        )
        .iter()
        .map(|row| {
            let (names, types): (Vec<String>, Vec<String>) = (row.get("names"), row.get("types"));
            let required = row.int("required");
            let last = names.len().saturating_sub(1);
            let variadic = row.flag("variadic");
            let arguments = names
                .into_iter()
                .zip(types)
                .enumerate()
                .map(|(n, (name, type_name))| Argument {
                    name,
                    type_name,
                    optional: n as i32 >= required,
                    variadic: variadic && n == last,
                })
                .collect();
            (row.text("name"), row.flag("procedure"), arguments)
        })
        .filter(|(name, _, _)| !LEFT_ALONE.contains(&name.as_str()))
        .collect()
}

/// Calls with one argument set to `value`, those without a default to something harmless.
pub fn call(
    name: &str,
    procedure: bool,
    arguments: &[Argument],
    odd: usize,
    value: &str,
) -> String {
    let given: Vec<String> = arguments
        .iter()
        .enumerate()
        .filter_map(|(n, argument)| {
            if n == odd {
                return Some(argument.given(value));
            }
            let harmless = harmless(&argument.name, &argument.type_name);
            let needed = !argument.optional
                || arguments.iter().any(|a| a.variadic)
                || ["wait", "timeout", "max_duration"].contains(&argument.name.as_str());
            needed.then(|| argument.given(harmless.unwrap_or("NULL")))
        })
        .collect();
    let verb = if procedure { "CALL" } else { "SELECT * FROM" };
    format!("{verb} {name}({})", given.join(", "))
}

#[test]
fn no_argument_of_any_function_makes_an_internal_error() {
    let _machine = crate::support::pace::busy();
    let mut inhabited = Inhabited::new();
    let world = &mut inhabited.world;
    // A lease per call would be spent by the first success: a handle that is always stale does.
    let stale = inhabited.held.handle.clone();
    world.run("SET statement_timeout = '10 s'; SET ff_engine.max_tail_wait = '10 ms'");
    let functions = public_functions(world);
    assert!(
        functions.len() >= 40,
        "only {} functions are installed",
        functions.len()
    );
    let mut calls = 0;
    for (name, procedure, arguments) in &functions {
        for (n, argument) in arguments.iter().enumerate() {
            for value in ["NULL"].iter().chain(nasty(&argument.type_name)) {
                let call = call(name, *procedure, arguments, n, value);
                world.run(if *procedure { "" } else { "BEGIN" });
                let parameters: &[&(dyn postgres::types::ToSql + Sync)] =
                    if call.contains("$1") { &[&stale] } else { &[] };
                if let Err(e) = world.query(&call, parameters) {
                    let code = e.code().cloned().unwrap_or(SqlState::INTERNAL_ERROR);
                    let of_the_caller = code.code().starts_with("FF")
                        || code.code().starts_with("22")
                        || code.code() == "42501";
                    assert!(of_the_caller, "{call}\n{e:?}");
                }
                world.run(if *procedure { "" } else { "ROLLBACK" });
                calls += 1;
            }
        }
    }
    assert!(calls > 500, "{calls} calls are not every function");
    world.run("RESET statement_timeout");
}
