//! What binds a role, from when on, and what cannot lift it (§70.5).

use crate::support::World;
use crate::support::cluster::Cluster;

use super::{bind, seen, two_tenants, unbind};

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
