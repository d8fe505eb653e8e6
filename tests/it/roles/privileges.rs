//! Each role may call the functions of its classes and nothing else.

use std::collections::BTreeMap;

use crate::support::login::ROLES;
use crate::support::template::{drop_database, empty_database};
use crate::support::waiting::READY;
use crate::support::{Cells, Session, World, contract, pace};

/// The roles that a function of these classes is open to.
fn admitted(classes: &str) -> Vec<&'static str> {
    let of = |class: &str| -> &[&str] {
        match class {
            "P" => &["ff_producer", "ff_operator", "ff_admin"],
            "W" => &["ff_worker", "ff_operator", "ff_admin"],
            "S" => &["ff_signaller", "ff_operator", "ff_admin"],
            "R" => &[
                "ff_reader",
                "ff_producer",
                "ff_worker",
                "ff_operator",
                "ff_admin",
            ],
            "O" | "M" => &["ff_operator", "ff_admin"],
            "A" => &["ff_admin"],
            "U" => &ROLES,
            other => panic!("no such class: {other}"),
        }
    };
    ROLES
        .into_iter()
        .filter(|role| classes.split(',').any(|class| of(class).contains(role)))
        .collect()
}

/// Functions and procedures by name: a call with nothing but NULL, and the roles that may make it.
fn calls(w: &mut World) -> BTreeMap<String, (String, Vec<&'static str>)> {
    let classes: BTreeMap<String, String> = contract::table("functions.tsv")
        .into_iter()
        .map(|row| (row[0].clone(), row[3].clone()))
        .collect();
    w.rows(
        "SELECT p.proname::text AS name,
                format('%s %I(%s)', CASE p.prokind WHEN 'p' THEN 'CALL' ELSE 'SELECT * FROM' END, p.proname,
                       (SELECT string_agg('NULL::' || format_type(t, NULL), ', ') FROM unnest(p.proargtypes) AS t)) AS call
           FROM pg_proc p
           JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
           JOIN pg_extension x ON x.oid = d.refobjid AND x.extname = 'ff_engine' AND x.extnamespace = p.pronamespace",
        &[],
    )
    .iter()
    .map(|row| {
        let name = row.text("name");
        let roles = admitted(&classes[&name]);
        (name, (row.text("call"), roles))
    })
    .collect()
}

#[track_caller]
fn none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "{complaints:#?}");
}

fn complaints_about_rights(w: &mut World) -> Vec<String> {
    let mut complaints = Vec::new();
    for (name, (_, admitted)) in calls(w) {
        for role in ROLES {
            let may: bool = w.value(
                "SELECT has_function_privilege($1, p.oid, 'EXECUTE') FROM pg_proc p WHERE p.proname = $2",
                &[&role, &name],
            );
            if may != admitted.contains(&role) {
                complaints.push(format!("{role} may call {name}: {may}"));
            }
        }
    }
    complaints
}

#[test]
fn e_126_each_function_is_open_to_exactly_the_roles_of_its_classes() {
    let mut w = World::with_roles();
    none(complaints_about_rights(&mut w));
}

#[test]
fn e_126_a_role_outside_the_class_of_a_function_is_refused_by_the_server() {
    let mut w = World::with_roles();
    let calls = calls(&mut w);
    let before = w.contents();
    let mut refused = 0;
    for role in ROLES {
        let mut session = w.session_of(role);
        for (call, admitted) in calls.values() {
            if !admitted.contains(&role) {
                session.refused("42501", call, &[]);
                refused += 1;
            }
        }
    }
    assert!(refused > 100, "only {refused} calls were refused");
    assert_eq!(w.contents(), before, "refused calls leave nothing behind");
}

#[test]
fn the_storage_is_closed_to_every_role_and_the_views_are_open_to_readers() {
    let mut w = World::with_roles();
    let relations = w.rows(
        "SELECT c.oid::regclass::text AS name, c.relkind::text AS kind FROM pg_class c
          WHERE c.relnamespace = 'ff_engine'::regnamespace AND c.relkind IN ('r', 'v', 'S') ORDER BY 1",
        &[],
    );
    let inner = w.rows(
        "SELECT format('SELECT ff_engine.%I(%s)', p.proname,
                       (SELECT string_agg('NULL::' || format_type(t, NULL), ', ') FROM unnest(p.proargtypes) AS t)) AS call
           FROM pg_proc p WHERE p.pronamespace = 'ff_engine'::regnamespace",
        &[],
    );
    let views = w.rows(
        "SELECT c.oid::regclass::text AS name FROM pg_class c
          WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'v' AND c.relname LIKE 'ff\\_%'",
        &[],
    );
    assert!(relations.len() > 10 && inner.len() > 10 && views.len() >= 4);
    w.claimed("", "");
    for role in ROLES {
        let mut session = w.session_of(role);
        for relation in &relations {
            let name = relation.text("name");
            let statements: &[String] = match relation.text("kind").as_str() {
                "S" => &[format!("SELECT nextval('{name}')")],
                _ => &[
                    format!("SELECT * FROM {name}"),
                    format!("DELETE FROM {name}"),
                    format!("INSERT INTO {name} DEFAULT VALUES"),
                ],
            };
            for statement in statements {
                session.refused("42501", statement, &[]);
            }
        }
        for function in &inner {
            session.refused("42501", &function.text("call"), &[]);
        }
        for view in &views {
            let name = view.text("name");
            let select = format!("SELECT * FROM {name}");
            if role == "ff_signaller" {
                session.refused("42501", &select, &[]);
            } else {
                session.rows(&select, &[]);
            }
            let failure = session.failure(&format!("DELETE FROM {name}"), &[]);
            assert!(
                ["42501", "55000"].contains(&failure.sqlstate.as_str()),
                "{failure:?}"
            );
        }
    }
}

/// Every right on functions and views, as the server stores it, with the version of its row.
fn stored_rights(w: &mut World) -> Vec<String> {
    w.rows(
        "SELECT format('%s %s %s', p.oid::regprocedure, p.proacl, p.xmin) AS stored FROM pg_proc p
          WHERE p.proname LIKE 'ff\\_%' OR p.pronamespace = 'ff_engine'::regnamespace
         UNION ALL
         SELECT format('%s %s %s', c.oid::regclass, c.relacl, c.xmin) FROM pg_class c WHERE c.relname LIKE 'ff\\_%'
          ORDER BY 1",
        &[],
    )
    .iter()
    .map(|row| row.text("stored"))
    .collect()
}

#[test]
fn creating_the_roles_again_changes_nothing_and_repairs_what_was_changed() {
    let mut w = World::with_roles();
    let granted = stored_rights(&mut w);
    for row in w.rows("SELECT * FROM ff_create_roles()", &[]) {
        assert!(ROLES.contains(&row.text("role").as_str()));
        assert_eq!(row.text("outcome"), "exists");
    }
    assert_eq!(stored_rights(&mut w), granted, "no row was touched");

    // An update brings a function that nobody may call yet, and moves another to a class of its own.
    w.run(
        "REVOKE EXECUTE ON FUNCTION ff_ping FROM ff_reader, ff_signaller;
         REVOKE SELECT ON ff_leases FROM ff_reader;
         REVOKE EXECUTE ON FUNCTION ff_engine.admits FROM ff_reader;
         GRANT EXECUTE ON FUNCTION ff_cancel_execution, ff_claim TO ff_reader",
    );
    assert!(!complaints_about_rights(&mut w).is_empty());
    w.rows("SELECT * FROM ff_create_roles()", &[]);
    none(complaints_about_rights(&mut w));
    w.session_of("ff_reader")
        .rows("SELECT * FROM ff_leases", &[]);
}

#[test]
fn two_sessions_may_create_the_roles_at_the_same_time() {
    let w = World::new();
    let doors = [w.door(), w.door(), w.door()];
    let threads: Vec<_> = doors
        .into_iter()
        .map(|door| {
            pace::apart(move || {
                door.open()
                    .rows("SELECT * FROM ff_create_roles()", &[])
                    .len()
            })
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.outcome(), ROLES.len());
    }
}

#[test]
fn rights_follow_an_extension_in_a_schema_of_its_own() {
    let mut w = World::new();
    let name = empty_database(&w.cluster);
    let mut inside = Session::open(&w.cluster, &name, 0);
    inside.run("CREATE SCHEMA \"Jobs\"; CREATE EXTENSION ff_engine SCHEMA \"Jobs\"");
    inside.rows("SELECT * FROM \"Jobs\".ff_create_roles()", &[]);
    inside.run("SET SESSION AUTHORIZATION ff_producer; SET search_path = \"Jobs\"");
    inside.create("");
    assert_eq!(inside.rows("SELECT * FROM ff_executions", &[]).len(), 1);
    inside.refused("42501", "SELECT * FROM ff_claim('L', 'w')", &[]);
    drop(inside);
    drop_database(&w.cluster, &name);
    w.run("SELECT 1");
}

#[test]
fn o_8_a_worker_can_work_and_nothing_else() {
    let mut w = World::with_roles();
    let id = w.create("payload => 'do it', tags => '{\"app.n\":\"1\"}'");
    let mut worker = w.session_with("worker", "ff_worker");
    let claim = worker.claim("");
    assert_eq!(claim.id, id);
    worker.one("SELECT * FROM ff_renew($1)", &[&claim.handle]);
    worker.one("SELECT * FROM ff_progress($1, 50)", &[&claim.handle]);
    worker.one("SELECT * FROM ff_read_execution_context($1)", &[&id]);
    worker.complete(&claim.handle, Some(b"done"));
    assert_eq!(worker.state(id), "completed");
    assert_eq!(
        worker
            .one("CALL ff_wait_for_work('L', '10 ms')", &[])
            .text("outcome"),
        "timeout"
    );
    for statement in [
        "SELECT * FROM ff_create_execution('L', 'k')",
        "SELECT * FROM ff_cancel_execution(gen_random_uuid(), 'because', 'operator_override')",
        "SELECT * FROM ff_set_lane('L', 'paused')",
        "SELECT * FROM ff_create_budget('lane', 'L')",
        "SELECT * FROM ff_create_quota_policy(1, '1 s', 1)",
        "SELECT * FROM ff_engine.waitpoint_secret",
        "SELECT * FROM ff_engine.budget",
        "SELECT * FROM ff_tick()",
        "SELECT * FROM ff_create_roles()",
        "SELECT * FROM ff_grant_namespace('ff_worker', 'a')",
        "SELECT * FROM ff_engine.execution",
        "SELECT * FROM ff_engine.execution_input",
        "SET ff_engine.clock_offset = 0",
    ] {
        worker.refused("42501", statement, &[]);
    }
}

#[test]
fn e_126_single_grants_are_enough() {
    let mut w = World::new();
    let scheduler = w.login("scheduler", "");
    w.run(&format!("GRANT EXECUTE ON FUNCTION ff_tick TO {scheduler}"));
    let mut session = w.session_of(&scheduler);
    assert!(session.rows("SELECT * FROM ff_tick()", &[]).len() > 3);
    session.refused("42501", "SELECT * FROM ff_reconcile_delayed()", &[]);

    let dispatcher = w.login("dispatcher", "");
    w.run(&format!(
        "GRANT EXECUTE ON PROCEDURE ff_wait_for_work TO {dispatcher}"
    ));
    w.create("");
    let mut session = w.session_of(&dispatcher);
    let outcome = session.one("CALL ff_wait_for_work('L', '1 s')", &[]);
    assert_eq!(outcome.text("outcome"), "work");
    session.refused("42501", "SELECT * FROM ff_claim('L', 'w')", &[]);
}

#[test]
fn e_126_only_an_operator_overrides() {
    let mut w = World::with_roles();
    let held: Vec<_> = (0..5).map(|_| w.claimed("", "")).collect();
    let before = w.contents();
    let mut worker = w.session_with("worker", "ff_worker");
    let mut operator = w.session_with("operator", "ff_operator");
    let calls = [
        "ff_complete_execution($1, source => 'operator_override')",
        "ff_fail_execution($1, reason => 'x', source => 'operator_override')",
        "ff_delay_execution($1, ff_server_time() + '1 h', source => 'operator_override')",
        "ff_wait_children_execution($1, source => 'operator_override')",
    ];
    for (call, claim) in calls.iter().zip(&held) {
        let failure = worker.refused("FF116", &format!("SELECT * FROM {call}"), &[&claim.id]);
        assert_eq!(failure.says("rule"), "operator_override");
        worker.run("SET ROLE ff_worker");
        worker.refused("FF116", &format!("SELECT * FROM {call}"), &[&claim.id]);
        worker.run("RESET ROLE");
    }
    assert_eq!(w.contents(), before);
    for (call, claim) in calls.iter().zip(&held) {
        operator.one(&format!("SELECT * FROM {call}"), &[&claim.id]);
    }
    let claim = &held[4];
    let fence = "lease_id => $2, lease_epoch => $3, attempt_id => $4";
    worker.one(
        &format!("SELECT * FROM ff_complete_execution($1, {fence})"),
        &[&claim.id, &claim.lease_id, &claim.epoch, &claim.attempt_id],
    );
}

#[test]
fn e_126_a_signaller_delivers_signals_and_nothing_else() {
    let mut w = World::with_roles();
    let (one, other) = (w.waiting(READY), w.waiting(READY));
    let mut signaller = w.session_with("bridge", "ff_signaller");
    let before = w.contents();
    for call in [
        "ff_claim('L', 'w')",
        "ff_create_execution('L', 'k')",
        "ff_list_signals('{id}')",
        "ff_describe_execution('{id}')",
        "ff_describe_suspension('{id}')",
        "ff_list_pending_waitpoints('{id}')",
        "ff_list_waitpoint_kids()",
        "ff_read_waitpoint_token('{point}')",
        "ff_deliver_approval_signal('{id}', '{point}', 'ready', '1')",
        "ff_close_waitpoint('{point}')",
        "ff_resume_execution('{id}')",
        "ff_expire_suspension('{id}')",
        "ff_rotate_waitpoint_secret('k2')",
        "ff_engine.waitpoint",
        "ff_engine.waitpoint_secret",
        "ff_engine.signal",
    ] {
        let call = call
            .replace("{id}", &one.id.to_string())
            .replace("{point}", &one.point().id.to_string());
        signaller.refused("42501", &format!("SELECT * FROM {call}"), &[]);
    }
    assert_eq!(w.contents(), before, "nothing was left behind");

    let mut forged = one.point();
    forged.token = other.point().token;
    signaller.undeliverable("FF108", &forged, "");
    let effect = "resume_condition_satisfied";
    assert_eq!(signaller.effect(&one.point(), "ready"), effect);
    let point = other.point();
    let batch = format!(
        r#"[{{"waitpoint_id":"{}","waitpoint_token":"{}","signal_name":"ready"}}]"#,
        point.id, point.token
    );
    let row = signaller.one(&format!("SELECT * FROM ff_deliver_signals('{batch}')"), &[]);
    assert_eq!(row.text("effect"), effect);
    for id in [one.id, other.id] {
        assert_eq!(w.state(id), "resumable");
    }
}
