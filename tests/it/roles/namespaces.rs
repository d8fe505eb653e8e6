//! A role bound to namespaces sees and acts on those only (§70.5).

use crate::support::cluster::Cluster;
use crate::support::pace::apart;
use crate::support::waiting::READY;
use crate::support::work::requiring;
use crate::support::{Cells, Session, World};

use super::{bind, two_tenants};

#[test]
fn o_10_a_bound_role_claims_and_waits_for_its_own_work_only() {
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
fn o_10_a_waiter_of_one_tenant_is_not_woken_by_the_work_of_another() {
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
fn o_10_executions_of_others_are_absent_to_every_operator_call() {
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
fn o_10_suspensions_waitpoints_and_signals_of_others_are_absent() {
    let mut w = World::with_roles();
    let login = w.login("a", "ff_admin");
    bind(&mut w, &login, "a");
    w.seed();
    let [own, foreign] = ["a", "b"].map(|namespace| {
        w.create(&format!("namespace => '{namespace}'"));
        let claim = w.claim(&format!("namespace => '{namespace}'"));
        w.suspended(claim, &format!("{READY}, timeout => '1 s'"))
    });
    w.deliver(&foreign.point(), "something else", "");
    w.create("namespace => 'b'");
    let held = w.claim("namespace => 'b', lease_ttl => '1 h'");
    w.create_waitpoint(&held.handle, "wpk:b", "'1 s'");
    w.advance_ms(1_000);
    let before = w.contents();
    let mut a = w.session_of(&login);
    let point = foreign.point();
    for (error, call) in [
        (
            "FF001",
            "ff_deliver_approval_signal('{id}', '{point}', 'ready', '1')",
        ),
        ("FF001", "ff_resume_execution('{id}')"),
        ("FF001", "ff_list_pending_waitpoints('{id}')"),
        ("FF007", "ff_close_waitpoint('{point}', force => true)"),
        ("FF001", "ff_create_waitpoint('{held}', 'wpk:b', '1 h')"),
        ("FF001", "ff_suspend('{held}', ff_cond_signal())"),
    ] {
        let call = call
            .replace("{id}", &foreign.id.to_string())
            .replace("{point}", &point.id.to_string())
            .replace("{held}", &held.handle);
        a.refused(error, &format!("SELECT * FROM {call}"), &[]);
    }
    for call in ["ff_describe_suspension($1)", "ff_list_signals($1)"] {
        let call = format!("SELECT * FROM {call}");
        assert!(a.rows(&call, &[&foreign.id]).is_empty(), "{call}");
    }
    let expired = a.one("SELECT * FROM ff_expire_suspension($1)", &[&foreign.id]);
    assert_eq!(expired.text("outcome"), "not_found");
    let token = "SELECT ff_read_waitpoint_token($1)";
    assert_eq!(a.value::<Option<String>>(token, &[&point.id]), None);
    assert_eq!(w.contents(), before, "nothing of theirs was touched");
    // The answer to any token that does not open a waitpoint, so that nothing shows that there is one.
    a.undeliverable("FF108", &point, "");
    let batch = format!(
        r#"[{{"waitpoint_id":"{}","waitpoint_token":"{}","signal_name":"ready"}}]"#,
        point.id, point.token
    );
    let row = a.one(&format!("SELECT * FROM ff_deliver_signals('{batch}')"), &[]);
    assert_eq!(row.text("error_code"), "FF108");
    assert_eq!(row.maybe_uuid("execution_id"), None);
    let signals = w.rows("SELECT * FROM ff_list_signals($1)", &[&foreign.id]);
    assert_eq!(signals.len(), 1, "only their own");
    let listed = a.rows("SELECT * FROM ff_list_suspended(NULL)", &[]);
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].uuid("execution_id"), own.id);
    a.rows("SELECT * FROM ff_reconcile_suspension_timeout()", &[]);
    a.rows("SELECT * FROM ff_reconcile_pending_waitpoint()", &[]);
    assert_eq!(w.state(foreign.id), "suspended");
    assert_eq!(w.state(own.id), "failed");
}

#[test]
fn o_10_lists_counts_and_events_leave_out_what_is_not_bound() {
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
fn o_10_leases_are_recovered_and_renewed_within_the_binding() {
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
fn o_10_a_bound_role_creates_in_its_namespaces_only() {
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
fn o_10_the_registry_shows_a_bound_role_its_own_workers() {
    let mut w = World::with_roles();
    let login = w.login("a", "ff_operator");
    bind(&mut w, &login, "a");
    let register = |s: &mut Session, namespace: &str| {
        s.one(
            "SELECT * FROM ff_register_worker('w', 'w-1', ARRAY['L'], liveness_ttl => '1 s', namespace => $1)",
            &[&namespace],
        )
    };
    register(&mut w, "b");
    w.create(&format!("namespace => 'b', {}", requiring(&["gpu"])));
    let held = w.claimed("namespace => 'b'", "");
    let before = w.contents();
    let mut a = w.session_of(&login);
    for list in [
        "ff_list_workers()",
        "ff_list_workers(namespace => 'b')",
        "ff_workers",
        "ff_list_worker_events()",
        "ff_list_unroutable()",
    ] {
        let sql = format!("SELECT * FROM {list}");
        assert_eq!(
            (a.rows(&sql, &[]).len(), w.rows(&sql, &[]).len()),
            (0, 1),
            "{list}"
        );
    }
    for call in [
        "ff_heartbeat_worker('w-1', 'b')",
        "ff_mark_worker_dead('w-1', 'because', 'b', revoke_leases => true)",
    ] {
        let row = a.one(&format!("SELECT * FROM {call}"), &[]);
        assert_eq!(row.text("outcome"), "not_registered", "{call}");
    }
    a.refused(
        "FF116",
        "SELECT * FROM ff_register_worker('w', 'w-1', ARRAY['L'], namespace => 'b')",
        &[],
    );
    assert_eq!(w.contents(), before);
    assert_eq!(w.state(held.id), "active");

    register(&mut a, "a");
    assert_eq!(a.rows("SELECT * FROM ff_list_workers()", &[]).len(), 1);
    w.advance_ms(2000);
    let mut a = w.session_of(&login);
    a.reconciles("worker_ttl", 1);
    w.reconciles("worker_ttl", 1);
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
fn o_10_reconcilers_of_a_bound_role_leave_the_work_of_others_alone() {
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
