//! What a caller has planted is never run with the rights of the owner (§70.5).

use crate::bad_input::sweep::{call, public_functions};
use crate::support::template::{drop_database, empty_database};
use crate::support::{Cells, Session, World};

const PLANTS: &str = include_str!("plants.sql");

/// A session of a login with every right of the engine, its own objects before the server's and the engine's.
fn attacker(w: &mut World) -> Session {
    let login = w.login("attacker", "ff_admin");
    let database = w.database.clone();
    w.run(&format!("GRANT CREATE ON DATABASE {database} TO {login}"));
    let mut session = w.session_of(&login);
    session.run(&PLANTS.replace("@attacker@", &login));
    session.run("SET search_path = evil, public, pg_catalog");
    let planted = session.one("SELECT now() AS now, 1 = 1 AS equal", &[]);
    assert!(planted.maybe_instant("now").is_none() && planted.maybe_flag("equal").is_none());
    session.notices();
    session
}

/// Warnings of planted code that somebody else has run.
fn sprung(session: &mut Session) -> Vec<String> {
    session
        .notices()
        .iter()
        .map(|notice| notice.message().to_owned())
        .filter(|message| message.starts_with("planted "))
        .collect()
}

/// What a call comes to: how many rows, or which error.
fn outcome(session: &mut Session, call: &str, handle: &str) -> String {
    let parameters: &[&(dyn postgres::types::ToSql + Sync)] =
        if call.contains("$1") { &[&handle] } else { &[] };
    match session.query(call, parameters) {
        Ok(rows) => format!("{} rows", rows.len()),
        Err(e) => e
            .code()
            .map_or(String::new(), |code| code.code().to_owned()),
    }
}

/// The life of an execution, in calls without an operator or function of the caller's own.
fn life(s: &mut Session) -> Vec<String> {
    let mut facts = Vec::new();
    let retries = r#"{"retry_policy":{"max_retries":3,"backoff":{"type":"fixed","delay_ms":0}}}"#;
    let id = s.create(&format!(
        "idempotency_key => 'k', tags => '{{\"app.n\":\"1\"}}', payload => 'x', policy => '{retries}'"
    ));
    facts.push(s.create_row("idempotency_key => 'k'").text("outcome"));
    let first = s.claim("capabilities => '{gpu}'");
    s.one("SELECT * FROM ff_renew($1)", &[&first.handle]);
    s.one(
        "SELECT * FROM ff_progress($1, 50, 'half')",
        &[&first.handle],
    );
    facts.push(s.fail(&first.handle, "broken", "").text("outcome"));
    let second = s.claim("wait => '100 ms'");
    let recovered = s.rows("SELECT * FROM ff_recover_leases('w', 'w-1')", &[]);
    facts.push(recovered.len().to_string());
    s.complete(&second.handle, Some(b"done"));
    facts.push(
        s.complete(&second.handle, Some(b"done"))
            .flag("replayed")
            .to_string(),
    );
    facts.push(s.state(id));
    let other = s.create("delay_until => ff_server_time()");
    s.one(
        "SELECT * FROM ff_cancel_execution($1, 'because', 'operator_override')",
        &[&other],
    );
    facts.push(
        s.one("CALL ff_wait_for_work('L', '10 ms')", &[])
            .text("outcome"),
    );
    for list in [
        "ff_list_attempts($1)",
        "ff_lease_history($1)",
        "ff_execution_events($1)",
        "ff_describe_execution($1)",
    ] {
        let rows = s.rows(&format!("SELECT * FROM {list}"), &[&id]);
        facts.push(format!("{list} {}", rows.len()));
    }
    for list in [
        "ff_read_events('start')",
        "ff_list_executions()",
        "ff_count_executions()",
        "ff_list_lanes()",
        "ff_check_invariants()",
        "ff_capabilities()",
        "ff_config()",
        "ff_tick()",
        "public.ff_executions",
        "public.ff_attempts",
        "public.ff_leases",
        "public.ff_lanes",
    ] {
        let rows = s.rows(&format!("SELECT * FROM {list}"), &[]);
        facts.push(format!("{list} {}", rows.len()));
    }
    facts
}

#[test]
fn o_9_part_an_execution_lives_the_same_life_among_planted_objects() {
    let mut clean = World::with_roles();
    let expected = life(&mut clean);
    let mut w = World::with_roles();
    let mut session = attacker(&mut w);
    assert_eq!(life(&mut session), expected);
    assert_eq!(sprung(&mut session), [""; 0]);
    assert_eq!(w.executions(), 2, "and it is stored where it belongs");
}

#[test]
fn o_9_part_every_function_behaves_the_same_among_planted_objects() {
    let mut clean = World::with_roles();
    let mut w = World::with_roles();
    let mut session = attacker(&mut w);
    let mut handles = Vec::new();
    for world in [&mut clean, &mut w] {
        let held = world.claimed("", "lease_ttl => '1 h'");
        world.create_several(2, "");
        handles.push(held.handle);
    }
    let functions = public_functions(&mut clean);
    assert!(functions.len() >= 50);
    for (name, procedure, arguments) in &functions {
        let call = call(name, *procedure, arguments, usize::MAX, "")
            .replace("gen_random_uuid()", "ff_new_id()");
        let frame = if *procedure {
            ["", ""]
        } else {
            ["BEGIN", "ROLLBACK"]
        };
        let outcomes =
            [(&mut *clean, &handles[0]), (&mut session, &handles[1])].map(|(s, handle)| {
                s.run(frame[0]);
                let outcome = outcome(s, &call, handle);
                s.run(frame[1]);
                outcome
            });
        assert_eq!(outcomes[0], outcomes[1], "{call}");
        assert_eq!(sprung(&mut session), [""; 0], "{call}");
    }
}

#[test]
fn the_extension_is_created_in_a_schema_full_of_planted_objects() {
    let mut w = World::with_roles();
    let login = w.login("attacker", "");
    let name = empty_database(&w.cluster);
    let mut owner = Session::open(&w.cluster, &name, 0);
    owner.run(&format!("GRANT ALL ON SCHEMA public TO {login}"));
    let (code, _) = PLANTS
        .split_once("-- Tables and views")
        .expect("tables come last");
    let code = code
        .replace("CREATE SCHEMA evil;", "")
        .replace("evil.", "public.")
        .replace("@attacker@", &login);
    owner.run(&format!("SET ROLE {login}"));
    owner.run(&code);
    owner.run("RESET ROLE");
    owner.notices();
    owner.run("CREATE EXTENSION ff_engine");
    owner.rows("SELECT * FROM ff_create_roles()", &[]);
    assert_eq!(sprung(&mut owner), [""; 0]);
    assert_eq!(life(&mut owner), life(&mut w));
    assert_eq!(sprung(&mut owner), [""; 0]);
    drop(owner);
    drop_database(&w.cluster, &name);
}

#[test]
fn o_9_part_a_role_set_inside_the_transaction_decides_rights_and_nothing_else() {
    let mut w = World::with_roles();
    let nobody = w.login("nobody", "");
    let mut session = w.session_with("worker", &format!("ff_worker, ff_producer, {nobody}"));
    let id = session.create("");
    session.run("BEGIN");
    let claim = session.claim("");
    session.run(&format!("SAVEPOINT s; SET LOCAL ROLE {nobody}"));
    session.refused("42501", "SELECT * FROM ff_complete($1)", &[&claim.handle]);
    session.run("ROLLBACK TO s");
    session.complete(&claim.handle, None);
    session.run(&format!("SET LOCAL ROLE {nobody}; COMMIT"));
    assert_eq!(session.state(id), "completed");
    let creator = session
        .one("SELECT creator FROM ff_executions", &[])
        .text("creator");
    assert!(creator.ends_with("_worker"), "who has logged in: {creator}");
}
