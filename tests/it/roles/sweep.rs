//! Every function and every view, used by a bound role on what belongs to others: nothing of theirs is shown, and
//! nothing of theirs changes.

use uuid::Uuid;

use super::bind;
use crate::bad_input::sweep::{Argument, harmless, public_functions};
use crate::support::waiting::Waiting;
use crate::support::work::requiring;
use crate::support::{Cells, Session, World};

/// Stands in everything that another tenant has named or written.
const MARK: &str = "theirs";

/// What another tenant has in the database.
struct Theirs {
    ids: Vec<Uuid>,
    held: Uuid,
    handle: String,
    lease: Uuid,
    attempt: Uuid,
    waiting: Waiting,
    flow: Uuid,
    edge: Uuid,
}

/// Executions of the tenant `theirs` in many states, in a lane that both use and in one of its own.
fn inhabit(w: &mut World) -> Theirs {
    let marked = format!(
        "namespace => '{MARK}', tags => '{{\"app.{MARK}\":\"{MARK}\"}}', payload => '{MARK}', creator => '{MARK}'"
    );
    let mut ids = w.create_several(3, &marked);
    ids.push(w.create(&format!(
        "{marked}, delay_until => ff_server_time() + interval '1 d'"
    )));
    ids.push(w.create(&format!("namespace => '{MARK}', {}", requiring(&[MARK]))));
    let lane = format!("lane-of-{MARK}");
    let row = w.one(
        "SELECT * FROM ff_create_execution($1, $1, namespace => $2)",
        &[&lane, &MARK],
    );
    ids.push(row.uuid("execution_id"));
    let claim = format!(
        "namespace => '{MARK}', worker => '{MARK}', worker_instance => '{MARK}', lease_ttl => '1 d'"
    );
    let failed = w.claim(&claim);
    w.fail(&failed.handle, MARK, "classification => 'permanent'");
    let done = w.claim(&claim);
    w.complete(&done.handle, Some(MARK.as_bytes()));
    let held = w.claim(&claim);
    w.one(
        "SELECT * FROM ff_progress($1, 5, $2)",
        &[&held.handle, &MARK],
    );
    let said = format!("frame_type => '{MARK}', source => '{MARK}', correlation_id => '{MARK}'");
    w.frame(&held.handle, MARK.as_bytes(), &said);
    let patch = format!(r#"{{"{MARK}":"{MARK}"}}"#);
    w.frame(&held.handle, patch.as_bytes(), "mode => 'durable_summary'");
    w.seed();
    ids.push(w.create(&marked));
    let waiting = w.claim(&claim);
    let waiting = w.suspended(
        waiting,
        &format!("ff_cond_signal('{MARK}', '{MARK}'), continuation => '{MARK}'"),
    );
    w.deliver(
        &waiting.point(),
        "something else",
        &format!("payload => '{MARK}', source_identity => '{MARK}'"),
    );
    w.one(
        "SELECT * FROM ff_register_worker($1, $1, ARRAY['L', $2], ARRAY['x'], '1 h', $1)",
        &[&MARK, &lane],
    );
    let flow = w
        .one(
            "SELECT * FROM ff_create_flow(flow_kind => $1, namespace => $1, tags => '{\"app.theirs\": \"theirs\"}')",
            &[&MARK],
        )
        .uuid("flow_id");
    let (up, down) = (w.create(&marked), w.create(&marked));
    for id in [up, down] {
        w.one(
            "SELECT * FROM ff_add_execution_to_flow($1, $2)",
            &[&flow, &id],
        );
    }
    let edge = w.edge_with(flow, up, down, "data_passing_ref => 'theirs'");
    ids.extend([up, down]);
    Theirs {
        flow,
        edge,
        ids,
        held: held.id,
        handle: held.handle,
        lease: held.lease_id,
        attempt: held.attempt_id,
        waiting,
    }
}

/// Everything stored that belongs to the other tenant or to nobody. That a token was refused at their waitpoints is
/// noted for them, whoever tried it; flows are projected by the background worker, whoever looks.
fn their_rows(w: &mut World) -> Vec<String> {
    let tables: Vec<String> = w
        .rows(
            "SELECT c.relname::text AS name,
                    (SELECT max(a.attname) FROM pg_attribute a WHERE a.attrelid = c.oid
                        AND a.attname IN ('namespace_id', 'execution_id')) AS key
               FROM pg_class c WHERE c.relnamespace = 'ff_engine'::regnamespace AND c.relkind = 'r'
                AND c.relname NOT IN ('namespace', 'claimer', 'tally', 'tally_position', 'moved', 'token_failure', 'flow_summary')",
            &[],
        )
        .iter()
        .map(|row| {
            let (name, key) = (row.text("name"), row.maybe_text("key"));
            let theirs = match key.as_deref() {
                Some("namespace_id") => "t.namespace_id = (SELECT namespace_id FROM ff_engine.namespace WHERE name = 'theirs')",
                Some(_) => "t.execution_id IN (SELECT execution_id FROM ff_executions WHERE namespace = 'theirs')",
                None => "true",
            };
            format!("SELECT '{name} ' || t::text AS stored FROM ff_engine.{name} t WHERE {theirs}")
        })
        .collect();
    let all = format!("{} ORDER BY 1", tables.join(" UNION ALL "));
    w.rows(&all, &[])
        .iter()
        .map(|row| row.text("stored"))
        .collect()
}

/// An argument that points at the other tenant where it can.
fn aimed(argument: &Argument, id: Uuid) -> Option<String> {
    Some(
        match (argument.name.as_str(), argument.type_name.as_str()) {
            ("execution_id", _) => format!("'{id}'"),
            ("execution_ids", _) => format!("ARRAY['{id}'::uuid]"),
            ("id", "text") => format!("'{{fp:1}}:{id}'"),
            ("namespace", _) => format!("'{MARK}'"),
            ("lease_id" | "expected_lease_id", _) => "$2".into(),
            ("attempt_id", _) => "$3".into(),
            ("lease_epoch", _) => "1".into(),
            ("upstream_execution_id" | "downstream_execution_id", _) => format!("'{id}'"),
            ("flow_id", _) => "$6".into(),
            ("edge_id", _) => "$7".into(),
            ("waitpoint_id", _) => "$4".into(),
            ("waitpoint_token", _) => "$5".into(),
            ("signal_name" | "idempotency_suffix", _) => "'x'".into(),
            ("worker" | "worker_instance", _) => format!("'{MARK}'"),
            ("role", _) => "'ff_worker'".into(),
            ("position", _) | ("after", "text") => "'start'".into(),
            ("max_items", _) => "1000".into(),
            _ => harmless(&argument.name, &argument.type_name)?.to_owned(),
        },
    )
}

/// One call per way of aiming: at the execution or lane alone, and at the namespace as well.
fn calls(name: &str, procedure: bool, arguments: &[Argument], id: Uuid) -> Vec<String> {
    let verb = if procedure {
        "CALL"
    } else {
        "SELECT x::text AS shown FROM"
    };
    let rest = if procedure { "" } else { " AS x" };
    [false, true]
        .into_iter()
        .map(|namespace| {
            let given: Vec<String> = arguments
                .iter()
                .filter(|a| {
                    let aims = [
                        "execution_id",
                        "namespace",
                        "handle",
                        "handles",
                        "position",
                        "after",
                        "max_items",
                        "wait",
                        "timeout",
                        "lease_id",
                        "lease_epoch",
                        "attempt_id",
                        "source",
                    ];
                    !a.optional
                        || arguments.iter().any(|a| a.variadic)
                        || (aims.contains(&a.name.as_str()) && (namespace || a.name != "namespace"))
                })
                .filter_map(|a| {
                    let value = match a.name.as_str() {
                        "source" => Some("'operator_override'".to_owned()),
                        "lease_id" | "lease_epoch" | "attempt_id" if a.optional => None,
                        _ => Some(aimed(a, id).unwrap_or_else(|| "NULL".into())),
                    }?;
                    Some(a.given(&value))
                })
                .collect();
            format!("{verb} {name}({}){rest}", given.join(", "))
        })
        .collect()
}

/// What the call showed: rows as text, or the error with all its fields.
fn shown(s: &mut Session, call: &str, procedure: bool, theirs: &Theirs) -> String {
    let call = call
        .replace("$1", &format!("'{}'", theirs.handle))
        .replace("$2", &format!("'{}'", theirs.lease))
        .replace("$3", &format!("'{}'", theirs.attempt))
        .replace("$4", &format!("'{}'", theirs.waiting.point().id))
        .replace("$5", &format!("'{}'", theirs.waiting.point().token))
        .replace("$6", &format!("'{}'", theirs.flow))
        .replace("$7", &format!("'{}'", theirs.edge));
    s.run(if procedure { "" } else { "BEGIN" });
    let text = match s.query(&call, &[]) {
        Ok(rows) if procedure => rows.iter().map(|row| row.text("outcome")).collect(),
        Ok(rows) => rows
            .iter()
            .map(|row| row.maybe_text("shown").unwrap_or_default() + "\n")
            .collect(),
        Err(e) => {
            let e = e.as_db_error().expect("an error of the server").clone();
            assert_ne!(e.code().code(), "XX000", "{call}: {e:?}");
            assert!(!e.code().code().starts_with("42"), "{call}: {e:?}");
            format!(
                "{} {} {}",
                e.message(),
                e.detail().unwrap_or_default(),
                e.hint().unwrap_or_default()
            )
        }
    };
    s.run(if procedure { "" } else { "COMMIT" });
    text
}

/// Functions that read no table, or concern the whole installation and are refused elsewhere.
const ABOUT_NOBODY: [&str; 8] = [
    "ff_run_reconcilers",
    "ff_start_workers",
    "ff_stop_workers",
    "ff_schedule_reconcilers",
    "ff_unschedule_reconcilers",
    "ff_create_roles",
    "ff_parse_execution_id",
    "ff_handle_info",
];

#[test]
fn o_10_no_function_shows_or_changes_anything_of_another_namespace() {
    let mut w = World::with_roles();
    let theirs = inhabit(&mut w);
    let login = w.login("mine", "ff_admin");
    bind(&mut w, &login, "mine");
    let mut mine = w.session_of(&login);
    mine.run("SET statement_timeout = '10 s'");
    let before = their_rows(&mut w);
    assert!(before.len() > 15);
    let mut aimed_calls = 0;
    for (name, procedure, arguments) in public_functions(&mut w) {
        if ABOUT_NOBODY.contains(&name.as_str()) {
            continue;
        }
        for id in &theirs.ids {
            for call in calls(&name, procedure, &arguments, *id) {
                let text = shown(&mut mine, &call, procedure, &theirs);
                // What the caller has said itself may be said back.
                let told: String = text.replace(&format!("\"namespace\":\"{MARK}\""), "");
                assert!(!told.contains(MARK), "{call}\n{text}");
                let named =
                    |other: &Uuid| other == id || (*other == theirs.held && call.contains("$1"));
                for other in theirs.ids.iter().filter(|other| !named(other)) {
                    assert!(!told.contains(&other.to_string()), "{call}\n{text}");
                }
                aimed_calls += 1;
            }
        }
        let after = their_rows(&mut w);
        assert_eq!(after, before, "{name}");
    }
    assert!(aimed_calls > 500, "only {aimed_calls} calls");
    for view in w.rows(
        "SELECT c.relname::text AS name FROM pg_class c
          WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'v' AND c.relname LIKE 'ff\\_%'",
        &[],
    ) {
        let name = view.text("name");
        for row in mine.rows(&format!("SELECT x::text AS shown FROM {name} AS x"), &[]) {
            let text = row.text("shown");
            assert!(!text.contains(MARK), "{name}: {text}");
            assert!(!theirs.ids.iter().any(|id| text.contains(&id.to_string())), "{name}: {text}");
        }
    }
}
