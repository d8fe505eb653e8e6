//! A role bound to namespaces sees and acts on those only (§70.5).

use uuid::Uuid;

use crate::support::cluster::Cluster;
use crate::support::pace::apart;
use crate::support::{Cells, Session, World};

/// Binds a role.
#[track_caller]
fn bind(w: &mut World, role: &str, namespace: &str) -> String {
    w.value("SELECT ff_grant_namespace($1, $2)", &[&role, &namespace])
}

#[track_caller]
fn unbind(w: &mut World, role: &str, namespace: &str) -> String {
    w.value("SELECT ff_revoke_namespace($1, $2)", &[&role, &namespace])
}

/// Namespaces of the executions that a session sees.
fn seen(s: &mut Session) -> Vec<String> {
    s.rows(
        "SELECT DISTINCT namespace FROM ff_executions ORDER BY 1",
        &[],
    )
    .iter()
    .map(|row| row.text("namespace"))
    .collect()
}

/// An execution in each of the namespaces `a` and `b`, in that order.
fn two_tenants(w: &mut World) -> (Uuid, Uuid) {
    (w.create("namespace => 'a'"), w.create("namespace => 'b'"))
}

#[test]
fn o_10_part_a_bound_role_claims_and_waits_for_its_own_work_only() {
    for mut w in [
        World::with_roles(),
        World::with_roles_on(Cluster::named("nopreload")),
    ] {
        let login = w.login("a", "ff_worker");
        bind(&mut w, &login, "a");
        let foreign = w.create("namespace => 'b', priority => 9000");
        let mut a = w.session_of(&login);
        assert!(a.claims("max_items => 10").is_empty());
        assert!(a.claims("namespace => 'b'").is_empty());
        assert!(a.claims("wait => '50 ms'").is_empty());
        for call in [
            "CALL ff_wait_for_work('L', '50 ms')",
            "CALL ff_wait_for_work('L', '50 ms', namespace => 'b')",
            "CALL ff_wait_for_work_any(ARRAY['L', 'M'], '50 ms')",
        ] {
            assert_eq!(a.one(call, &[]).text("outcome"), "timeout", "{call}");
        }
        let own = w.create("namespace => 'a'");
        assert_eq!(
            a.one("CALL ff_wait_for_work('L', '5 s')", &[])
                .text("outcome"),
            "work"
        );
        let any = a.rows(
            "SELECT * FROM ff_claim_any(ARRAY['L', 'M'], 'w', max_items => 10)",
            &[],
        );
        assert_eq!(any.len(), 1);
        assert_eq!(any[0].uuid("execution_id"), own);
        let next = a.rows(
            "SELECT * FROM ff_complete_and_claim($1, namespace => 'b')",
            &[&any[0].text("handle")],
        );
        assert_eq!(next.len(), 1);
        assert!(
            next[0].maybe_uuid("execution_id").is_none(),
            "nothing of b was claimed"
        );
        assert_eq!(w.state(foreign), "waiting");
        assert_eq!(w.claim("").id, foreign, "others find it where it was");
    }
}

#[test]
fn o_10_part_a_waiter_of_one_tenant_is_not_woken_by_the_work_of_another() {
    let mut w = World::with_roles();
    let login = w.login("a", "ff_worker");
    bind(&mut w, &login, "a");
    w.create("namespace => 'b'");
    let mut waiter = w.session_of(&login);
    let pid = waiter.pid();
    let waiting = apart(move || waiter.claims("wait => '5 s'").len());
    w.waits_in_its_statement(pid);
    w.create("namespace => 'b'");
    w.create("namespace => 'a'");
    assert_eq!(waiting.outcome(), 1);
}

#[test]
fn o_10_part_executions_of_others_are_absent_to_every_operator_call() {
    let mut w = World::with_roles();
    let login = w.login("a", "ff_operator");
    bind(&mut w, &login, "a");
    let (own, foreign) = two_tenants(&mut w);
    let held = w.claim("namespace => 'b'");
    let before = w.contents();
    let mut a = w.session_of(&login);
    for call in [
        "ff_cancel_execution($1, 'because', 'operator_override')",
        "ff_revoke_lease($1, 'because')",
        "ff_change_priority($1, 7)",
        "ff_replay_execution($1)",
        "ff_block_execution($1, 'paused_by_operator')",
        "ff_unblock_execution($1)",
        "ff_set_execution_tag($1, 'app.x', 'y')",
        "ff_read_execution_context($1)",
        "ff_format_execution_id($1)",
        "ff_read_total_attempt_count($1)",
    ] {
        a.refused("FF001", &format!("SELECT * FROM {call}"), &[&foreign]);
    }
    for call in [
        "ff_complete($1)",
        "ff_renew($1)",
        "ff_progress($1, 5)",
        "ff_fail($1, 'because')",
        "ff_cancel($1, 'because')",
        "ff_delay($1, ff_server_time())",
    ] {
        a.refused("FF001", &format!("SELECT * FROM {call}"), &[&held.handle]);
    }
    assert_eq!(w.contents(), before);
    for (call, rows) in [
        ("SELECT * FROM ff_describe_execution($1)", 0),
        ("SELECT * FROM ff_read_execution_info($1)", 0),
        ("SELECT * FROM ff_get_execution_result($1)", 0),
        ("SELECT * FROM ff_list_attempts($1)", 0),
        ("SELECT * FROM ff_lease_history($1)", 0),
        ("SELECT * FROM ff_execution_events($1)", 0),
        ("SELECT 1 WHERE ff_read_execution_state($1) IS NOT NULL", 0),
        (
            "SELECT 1 WHERE ff_get_execution_namespace($1) IS NOT NULL",
            0,
        ),
        ("SELECT * FROM ff_executions WHERE execution_id = $1", 0),
        ("SELECT * FROM ff_attempts WHERE execution_id = $1", 0),
        ("SELECT * FROM ff_leases WHERE execution_id = $1", 0),
    ] {
        assert_eq!(a.rows(call, &[&foreign]).len(), rows, "{call}");
    }
    let standing = a.one(
        "SELECT * FROM ff_await_executions(ARRAY[$1::uuid], wait => '0')",
        &[&foreign],
    );
    assert!(standing.maybe_text("public_state").is_none());
    a.one(
        "SELECT * FROM ff_cancel_execution($1, 'because', 'operator_override')",
        &[&own],
    );
    assert_eq!(w.state(own), "cancelled");
}

#[test]
fn o_10_part_lists_counts_and_events_leave_out_what_is_not_bound() {
    let mut w = World::with_roles();
    let login = w.login("a", "ff_operator");
    bind(&mut w, &login, "a");
    w.create_several(2, "namespace => 'a'");
    w.create_several(3, "namespace => 'b'");
    w.one(
        "SELECT * FROM ff_create_execution('only-b', 'k', namespace => 'b')",
        &[],
    );
    let claims = w.claims("max_items => 10, lease_ttl => '1 s'");
    assert_eq!(claims.len(), 5);
    w.advance_ms(2000);
    let mut a = w.session_of(&login);
    let count = |s: &mut Session, of: &str| s.rows(&format!("SELECT * FROM {of}"), &[]).len();
    for (of, own, all) in [
        ("ff_list_executions()", 2, 6),
        ("ff_list_executions(namespace => 'b')", 0, 4),
        ("ff_list_expired_leases()", 2, 5),
        ("ff_list_lanes()", 1, 2),
        ("ff_lanes", 1, 2),
        ("ff_leases", 2, 5),
        ("ff_attempts", 2, 5),
        ("ff_executions", 2, 6),
        ("ff_read_events('start')", 2, 5),
        (
            "ff_read_events('start', filter => '{\"namespace\":\"b\"}')",
            0,
            3,
        ),
        (
            "ff_read_events('start', filter => '{\"namespace\":\"a\"}')",
            2,
            2,
        ),
    ] {
        assert_eq!((count(&mut a, of), count(&mut w, of)), (own, all), "{of}");
    }
    let counted: i64 = a.value(
        "SELECT sum(executions)::bigint FROM ff_count_executions()",
        &[],
    );
    assert_eq!(counted, 2);
    // The log shows the bound reader as many positions, none of them with a word of others.
    let recovered = a.rows("SELECT * FROM ff_recover_leases('w', 'w-1')", &[]);
    assert!(recovered.is_empty(), "elapsed leases are not recovered");
}

#[test]
fn o_10_part_leases_are_recovered_and_renewed_within_the_binding() {
    let mut w = World::with_roles();
    let login = w.login("a", "ff_worker");
    bind(&mut w, &login, "a");
    two_tenants(&mut w);
    let held = w.claims("max_items => 10");
    assert_eq!(held.len(), 2);
    let mut a = w.session_of(&login);
    let recovered = a.rows("SELECT * FROM ff_recover_leases('w', 'w-1')", &[]);
    assert_eq!(recovered.len(), 1);
    assert_eq!(recovered[0].text("namespace"), "a");
    assert!(
        a.rows("SELECT * FROM ff_recover_leases('w', 'w-1', 'b')", &[])
            .is_empty()
    );
}

#[test]
fn o_10_part_a_bound_role_creates_in_its_namespaces_only() {
    let mut w = World::with_roles();
    let login = w.login("a", "ff_producer");
    bind(&mut w, &login, "a");
    let foreign = w.create("namespace => 'b'");
    let before = w.contents();
    let mut a = w.session_of(&login);
    for call in [
        "SELECT * FROM ff_create_execution('L', 'k')",
        "SELECT * FROM ff_create_execution('L', 'k', namespace => 'b')",
        "SELECT * FROM ff_create_execution('new', 'k', namespace => 'new')",
        "SELECT * FROM ff_create_many('L', 'k', '{NULL,NULL}', namespace => 'b')",
    ] {
        let failure = a.refused("FF116", call, &[]);
        assert_eq!(failure.says("rule"), "namespace");
    }
    let items =
        r#"[{"lane":"L","kind":"k","namespace":"a"},{"lane":"L","kind":"k","namespace":"b"}]"#;
    let failure = a.refused(
        "FF116",
        &format!("SELECT * FROM ff_create_executions('{items}')"),
        &[],
    );
    assert_eq!(failure.detail["item"], 1);
    assert_eq!(w.contents(), before, "no lane, no namespace, no execution");

    a.create("namespace => 'a'");
    let taken = a.create_row(&format!("namespace => 'a', execution_id => '{foreign}'"));
    assert_eq!(taken.text("outcome"), "duplicate");
    assert!(
        taken.maybe_text("public_state").is_none(),
        "and no word about it"
    );
}

#[test]
fn what_concerns_all_namespaces_is_refused_to_a_bound_role() {
    let mut w = World::with_roles();
    let login = w.login("a", "ff_admin");
    bind(&mut w, &login, "a");
    w.create("namespace => 'a'");
    let before = w.contents();
    let mut a = w.session_of(&login);
    for call in [
        "ff_set_lane('L', 'paused')",
        "ff_create_roles()",
        "ff_grant_namespace('ff_worker', 'a')",
        &format!("ff_grant_namespace('{login}', 'b')"),
        &format!("ff_revoke_namespace('{login}', 'a')"),
        "ff_start_workers()",
        "ff_stop_workers()",
        "ff_schedule_reconcilers()",
        "ff_unschedule_reconcilers()",
    ] {
        let failure = a.refused("FF116", &format!("SELECT * FROM {call}"), &[]);
        assert_eq!(failure.says("rule"), "bound_role", "{call}");
    }
    assert_eq!(w.contents(), before);
}

#[test]
fn o_10_part_reconcilers_of_a_bound_role_leave_the_work_of_others_alone() {
    let mut w = World::with_roles();
    let login = w.login("a", "ff_operator");
    bind(&mut w, &login, "a");
    let own = w.create("namespace => 'a', delay_until => ff_server_time() + interval '1 s', idempotency_key => 'k', dedup_window => '1 s'");
    let foreign = w.create("namespace => 'b', delay_until => ff_server_time() + interval '1 s', idempotency_key => 'k', dedup_window => '1 s'");
    w.advance_ms(2000);
    let mut a = w.session_of(&login);
    a.reconciles("delayed", 1);
    a.reconciles("idempotency", 1);
    assert_eq!(
        a.rows("SELECT * FROM ff_tick() WHERE processed > 0", &[])
            .len(),
        0
    );
    assert_eq!(w.state(own), "waiting");
    assert_eq!(w.state(foreign), "delayed");
    w.reconciles("delayed", 1);
    w.reconciles("idempotency", 1);
}

#[test]
fn a_binding_counts_from_its_commit_in_every_session() {
    for mut w in [
        World::with_roles_on(Cluster::roomy()),
        World::with_roles_on(Cluster::named("nopreload")),
    ] {
        let login = w.login("a", "ff_operator");
        two_tenants(&mut w);
        let mut a = w.session_of(&login);
        assert_eq!(seen(&mut a), ["a", "b"], "unbound, it sees all");

        w.run("BEGIN");
        assert_eq!(bind(&mut w, &login, "a"), "granted");
        assert_eq!(seen(&mut a), ["a", "b"], "not yet committed");
        w.run("ROLLBACK");
        assert_eq!(seen(&mut a), ["a", "b"], "it never was");
        assert_eq!(bind(&mut w, &login, "a"), "granted");
        assert_eq!(seen(&mut a), ["a"]);
        assert_eq!(bind(&mut w, &login, "a"), "unchanged");

        a.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
        assert_eq!(seen(&mut a), ["a"]);
        assert_eq!(bind(&mut w, &login, "b"), "granted");
        a.run("COMMIT");
        assert_eq!(seen(&mut a), ["a", "b"]);
        assert_eq!(unbind(&mut w, &login, "b"), "revoked");
        assert_eq!(seen(&mut a), ["a"]);
        assert_eq!(unbind(&mut w, &login, "b"), "unchanged");
        assert_eq!(unbind(&mut w, &login, "nobody's"), "unchanged");
        assert_eq!(unbind(&mut w, &login, "a"), "unbound");
        assert_eq!(seen(&mut a), ["a", "b"]);
    }
}

#[test]
fn a_binding_in_a_prepared_transaction_counts_from_its_second_commit() {
    let mut w = World::with_roles_on(Cluster::roomy());
    let login = w.login("a", "ff_operator");
    two_tenants(&mut w);
    let mut a = w.session_of(&login);
    w.run("BEGIN");
    bind(&mut w, &login, "a");
    w.run("PREPARE TRANSACTION 'binding'");
    assert_eq!(seen(&mut a), ["a", "b"]);
    w.session().run("COMMIT PREPARED 'binding'");
    assert_eq!(seen(&mut a), ["a"]);
}

#[test]
fn whoever_writes_the_bindings_every_session_learns_of_it() {
    let mut w = World::with_roles();
    let login = w.login("a", "ff_operator");
    two_tenants(&mut w);
    let mut a = w.session_of(&login);
    assert_eq!(seen(&mut a), ["a", "b"]);
    let insert = format!(
        "INSERT INTO ff_engine.namespace_role
         SELECT '{login}'::regrole, namespace_id FROM ff_engine.namespace WHERE name = 'b'"
    );
    w.run(&insert);
    assert_eq!(seen(&mut a), ["b"]);
    w.run("TRUNCATE ff_engine.namespace_role");
    assert_eq!(seen(&mut a), ["a", "b"]);
}

#[test]
fn members_are_bound_and_setting_a_role_never_widens() {
    let mut w = World::with_roles();
    two_tenants(&mut w);
    w.create("namespace => 'c'");
    let tenant = w.login("tenant", "");
    bind(&mut w, &tenant, "a");
    let member = w.login("member", &format!("ff_operator, {tenant}"));
    let mut session = w.session_of(&member);
    assert_eq!(seen(&mut session), ["a"], "by membership");
    session.run("SET ROLE ff_operator");
    assert_eq!(seen(&mut session), ["a"], "whatever role it sets");
    session.run("RESET ROLE");

    bind(&mut w, &member, "b");
    assert_eq!(seen(&mut session), ["a", "b"], "both together");
    w.run(&format!("GRANT ff_reader TO {tenant}"));
    session.run(&format!("SET ROLE {tenant}"));
    assert_eq!(seen(&mut session), ["a"], "a role that sees less");
    session.run("RESET ROLE");

    w.run(&format!("REVOKE {tenant} FROM {member}"));
    assert_eq!(seen(&mut session), ["b"], "no longer a member");

    // A pooler logs in as itself and sets the role of whom it serves.
    let pooler = w.login("pooler", &format!("{tenant}, {member}"));
    unbind(&mut w, &member, "b");
    unbind(&mut w, &tenant, "a");
    let mut pool = w.session_of(&pooler);
    assert_eq!(seen(&mut pool), ["a", "b", "c"]);
    w.run(&format!(
        "CREATE ROLE {pooler}_of_c; GRANT ff_reader TO {pooler}_of_c"
    ));
    bind(&mut w, &format!("{pooler}_of_c"), "c");
    pool.run("RESET ROLE");
    w.run(&format!("SET ROLE {pooler}_of_c"));
    assert_eq!(seen(&mut w), ["c"], "also a superuser's session");
    w.run("RESET ROLE");
    assert_eq!(seen(&mut w), ["a", "b", "c"]);
}

#[test]
fn a_wrapper_with_the_rights_of_its_owner_does_not_lift_a_binding() {
    let mut w = World::with_roles();
    two_tenants(&mut w);
    let login = w.login("a", "");
    bind(&mut w, &login, "a");
    w.run("CREATE FUNCTION peek() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER AS 'SELECT namespace FROM ff_executions'");
    let mut a = w.session_of(&login);
    let rows = a.rows("SELECT * FROM peek()", &[]);
    assert_eq!(rows.len(), 1);
}

#[test]
fn a_condition_of_the_reader_sees_no_row_that_the_view_hides() {
    let mut w = World::with_roles();
    let login = w.login("a", "ff_reader");
    bind(&mut w, &login, "a");
    w.create("namespace => 'a', tags => '{\"app.secret\":\"mine\"}'");
    w.create("namespace => 'b', tags => '{\"app.secret\":\"theirs\"}'");
    w.claims("max_items => 10");
    let mut a = w.session_of(&login);
    a.run(
        "CREATE FUNCTION pg_temp.peek(value text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS
         'BEGIN RAISE NOTICE ''saw %'', value; RETURN true; END'",
    );
    a.notices();
    for (view, column) in [
        ("ff_executions", "tags"),
        ("ff_leases", "namespace"),
        ("ff_attempts", "execution_id"),
    ] {
        let rows = a.rows(
            &format!("SELECT * FROM {view} WHERE pg_temp.peek({column}::text)"),
            &[],
        );
        assert_eq!(rows.len(), 1, "{view}");
        assert_eq!(a.notices().len(), 1, "{view} shows its condition one row");
    }
}

#[test]
fn names_that_cannot_be_bound_are_refused() {
    let mut w = World::with_roles();
    let login = w.login("a", "");
    let before = w.contents();
    let superuser: String = w.value("SELECT current_user::text", &[]);
    for (role, namespace, argument, rule) in [
        (None, Some("a"), "role", "null"),
        (Some(login.as_str()), None, "namespace", "null"),
        (Some("nobody here"), Some("a"), "role", "unknown_role"),
        (Some(""), Some("a"), "role", "unknown_role"),
        (Some(superuser.as_str()), Some("a"), "role", "superuser"),
    ] {
        for function in ["ff_grant_namespace", "ff_revoke_namespace"] {
            let failure = w.refused(
                "FF101",
                &format!("SELECT {function}($1, $2)"),
                &[&role, &namespace],
            );
            assert_eq!(
                (failure.says("argument"), failure.says("rule")),
                (argument, rule)
            );
        }
    }
    for namespace in ["", "x\u{1}", &"x".repeat(257)] {
        w.refused(
            "FF101",
            "SELECT ff_grant_namespace($1, $2)",
            &[&login, &namespace],
        );
    }
    assert_eq!(w.contents(), before);
}

#[test]
fn a_dropped_role_leaves_no_binding_to_a_later_one() {
    let mut w = World::with_roles();
    let gone = w.login("gone", "");
    bind(&mut w, &gone, "a");
    w.run(&format!("DROP ROLE {gone}"));
    let login = w.login("a", "");
    bind(&mut w, &login, "a");
    let rows: i64 = w.value("SELECT count(*) FROM ff_engine.namespace_role", &[]);
    assert_eq!(rows, 1);
}

/// What a session has read it keeps, but for what other tests do to roles meanwhile.
#[test]
fn bindings_cost_no_statement_per_call() {
    const ROUNDS: i64 = 100;
    for mut w in [
        World::with_roles(),
        World::with_roles_on(Cluster::named("nopreload")),
    ] {
        let login = w.login("a", "ff_operator");
        bind(&mut w, &login, "a");
        let mut a = w.session_of(&login);
        for _ in 0..ROUNDS {
            seen(&mut a);
            a.claims("");
            w.create("namespace => 'a'");
        }
        a.run("SELECT pg_stat_force_next_flush()");
        w.run("SELECT pg_stat_force_next_flush()");
        let reads: i64 = w.value(
            "SELECT coalesce(seq_scan, 0) + coalesce(idx_scan, 0) FROM pg_stat_user_tables
              WHERE relname = 'namespace_role' AND schemaname = 'ff_engine'",
            &[],
        );
        assert!(
            reads < ROUNDS,
            "{reads} reads in {ROUNDS} rounds of three calls"
        );
    }
}
