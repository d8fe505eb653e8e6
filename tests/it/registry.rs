//! The registry of workers (§10.19): registering, heartbeats, death, listing.

use postgres::Row;

use crate::support::pace::apart;
use crate::support::{Cells, Session, World};

/// Registers as `w` for lane `L` unless the arguments, which follow the instance, say otherwise.
#[track_caller]
pub fn register(s: &mut Session, instance: &str, arguments: &str) -> Row {
    let worker = if arguments.contains("worker =>") {
        ""
    } else {
        ", worker => 'w'"
    };
    let lanes = if arguments.contains("lanes =>") {
        ""
    } else {
        ", lanes => '{L}'"
    };
    let more = if arguments.is_empty() {
        String::new()
    } else {
        format!(", {arguments}")
    };
    let sql = format!(
        "SELECT outcome, expires_at, expires_at - ff_server_time() AS left,
                expires_at - ff_server_time() BETWEEN interval '0' AND interval '24 h' AS ahead
           FROM ff_register_worker(worker_instance => '{instance}'{worker}{lanes}{more})"
    );
    s.one(&sql, &[])
}

#[track_caller]
pub fn outcome(s: &mut Session, instance: &str, arguments: &str) -> String {
    register(s, instance, arguments).text("outcome")
}

#[track_caller]
pub fn heartbeat(s: &mut Session, instance: &str) -> String {
    let row = s.one("SELECT * FROM ff_heartbeat_worker($1)", &[&instance]);
    let outcome = row.text("outcome");
    assert_eq!(
        row.maybe_instant("next_expiry").is_some(),
        outcome == "refreshed"
    );
    outcome
}

pub fn mark_dead(s: &mut Session, instance: &str, arguments: &str) -> (String, i32) {
    let row = s.one(
        &format!("SELECT * FROM ff_mark_worker_dead('{instance}', 'gone'{arguments})"),
        &[],
    );
    (row.text("outcome"), row.int("leases_revoked"))
}

pub fn listed(s: &mut Session, arguments: &str) -> Vec<String> {
    s.rows(&format!("SELECT * FROM ff_list_workers({arguments})"), &[])
        .iter()
        .map(|row| format!("{}/{}", row.text("namespace"), row.text("worker_instance")))
        .collect()
}

pub fn worker_events(s: &mut Session, arguments: &str) -> Vec<String> {
    s.rows(
        &format!("SELECT * FROM ff_list_worker_events({arguments})"),
        &[],
    )
    .iter()
    .map(|row| row.text("event"))
    .collect()
}

#[test]
fn e_91_an_instance_registers_refreshes_and_lapses() {
    let mut w = World::new();
    let at = "liveness_ttl => '10 s'";
    assert_eq!(outcome(&mut w, "w-1", at), "registered");
    let first = w.one("SELECT * FROM ff_list_workers()", &[]);
    let ends: bool = w.value(
        "SELECT expires_at = last_heartbeat_at + interval '10 s' AND last_heartbeat_at = registered_at FROM ff_workers",
        &[],
    );
    assert!(ends, "it holds for its time from now on");
    w.advance_ms(4_000);
    let more = "lanes => '{b,a,b}', capabilities => '{y,x,y}', liveness_ttl => '20 s'";
    assert_eq!(outcome(&mut w, "w-1", more), "refreshed");
    let again = w.one("SELECT * FROM ff_list_workers()", &[]);
    assert_eq!(
        again.instant("registered_at"),
        first.instant("registered_at")
    );
    assert_eq!(again.get::<_, Vec<String>>("lanes"), ["a", "b"]);
    assert_eq!(again.get::<_, Vec<String>>("capabilities"), ["x", "y"]);
    let ttl: bool = w.value(
        "SELECT liveness_ttl = '20 s' AND last_heartbeat_at >= registered_at + interval '4 s' FROM ff_list_workers()",
        &[],
    );
    assert!(ttl);

    let failure = w.refused(
        "FF310",
        "SELECT * FROM ff_register_worker('other', 'w-1', '{L}')",
        &[],
    );
    assert_eq!(failure.says("worker"), "w");
    // The same instance name in another namespace is somebody else.
    let elsewhere = "worker => 'other', namespace => 'n'";
    assert_eq!(outcome(&mut w, "w-1", elsewhere), "registered");

    w.advance_ms(20_000);
    assert_eq!(outcome(&mut w, "w-1", "worker => 'other'"), "registered");
    let taken = w.one("SELECT * FROM ff_list_workers('default')", &[]);
    assert_eq!(taken.text("worker"), "other");
    assert!(taken.instant("registered_at") > first.instant("registered_at"));
}

#[test]
fn e_91_arguments_of_a_registration_are_checked() {
    let mut w = World::new();
    let before = w.contents();
    let lanes = |n: usize| {
        let names: Vec<String> = (0..n).map(|i| format!("l{i}")).collect();
        format!("lanes => '{{{}}}'", names.join(","))
    };
    for (sqlstate, arguments) in [
        ("FF101", "lanes => '{}'".into()),
        ("FF101", "lanes => '{NULL}'".into()),
        ("FF101", lanes(257)),
        ("FF133", "lanes => '{\"\"}'".into()),
        ("FF133", "lanes => '{é}'".into()),
        ("FF101", "lanes => '{L}', liveness_ttl => '0'".into()),
        ("FF101", "lanes => '{L}', liveness_ttl => '1 month'".into()),
        (
            "FF101",
            "lanes => '{L}', liveness_ttl => '24:00:00.001'".into(),
        ),
        ("FF101", "lanes => '{L}', liveness_ttl => NULL".into()),
        ("FF101", "lanes => '{L}', namespace => ''".into()),
        (
            "FF103",
            "lanes => '{L}', capabilities => '{\"a b\"}'".into(),
        ),
        ("FF103", "lanes => '{L}', capabilities => '{NULL}'".into()),
    ] {
        let sql =
            format!("SELECT * FROM ff_register_worker('w', worker_instance => 'w-1', {arguments})");
        w.refused(sqlstate, &sql, &[]);
    }
    for call in [
        "ff_register_worker(NULL, 'w-1', '{L}')",
        "ff_register_worker('w', NULL, '{L}')",
        "ff_register_worker('w', 'w-1', NULL)",
        "ff_register_worker('w', repeat('x', 257), '{L}')",
        "ff_heartbeat_worker(NULL)",
        "ff_heartbeat_worker(E'a\\nb')",
        "ff_mark_worker_dead(NULL, 'x')",
        "ff_mark_worker_dead('w-1', NULL)",
        "ff_mark_worker_dead('w-1', 'x', revoke_leases => NULL)",
    ] {
        w.refused("FF101", &format!("SELECT * FROM {call}"), &[]);
    }
    assert_eq!(w.contents(), before, "nothing was left behind");
    assert_eq!(outcome(&mut w, "w-1", &lanes(256)), "registered");
    assert_eq!(
        outcome(&mut w, "w-2", "liveness_ttl => '24 h'"),
        "registered"
    );
}

#[test]
fn e_92_a_heartbeat_keeps_a_live_registration_and_no_other() {
    let mut w = World::new();
    assert_eq!(heartbeat(&mut w, "w-1"), "not_registered");
    register(&mut w, "w-1", "liveness_ttl => '10 s'");
    let before = w.all_events().len();
    for _ in 0..3 {
        w.advance_ms(9_000);
        assert_eq!(heartbeat(&mut w, "w-1"), "refreshed");
    }
    assert_eq!(w.all_events().len(), before, "heartbeats are no events");
    let ttl: bool = w.value(
        "SELECT expires_at - last_heartbeat_at = '10 s' AND last_heartbeat_at > registered_at + interval '26 s' FROM ff_workers",
        &[],
    );
    assert!(ttl, "the registered time counts");
    w.advance_ms(10_000);
    assert_eq!(heartbeat(&mut w, "w-1"), "not_registered");

    register(&mut w, "w-1", "");
    mark_dead(&mut w, "w-1", "");
    assert_eq!(heartbeat(&mut w, "w-1"), "not_registered");
}

#[test]
fn e_93_marking_dead_removes_the_registration() {
    let mut w = World::new();
    register(&mut w, "w-1", "");
    assert_eq!(mark_dead(&mut w, "w-1", ""), ("marked".into(), 0));
    assert_eq!(mark_dead(&mut w, "w-1", ""), ("not_registered".into(), 0));
    assert!(listed(&mut w, "").is_empty());
    for reason in ["repeat('x', 257)", "E'a\\nb'", "''"] {
        // The reason comes before everything else.
        let sql = format!("SELECT * FROM ff_mark_worker_dead('', {reason})");
        assert_eq!(w.refused("FF101", &sql, &[]).says("argument"), "reason");
    }
    register(&mut w, "w-1", "liveness_ttl => '1 s'");
    w.advance_ms(1_000);
    assert_eq!(
        mark_dead(&mut w, "w-1", ""),
        ("not_registered".into(), 0),
        "a lapsed registration is none"
    );
}

#[test]
fn e_93_with_its_registration_the_dead_lose_their_leases() {
    let mut w = World::new();
    register(&mut w, "w-1", "");
    w.create_several(3, "");
    let held = w.claims("max_items => 2");
    let other = w.claim("worker => 'w', worker_instance => 'w-2'");
    w.create("namespace => 'n'");
    let elsewhere = w.claim("namespace => 'n'");
    let ((outcome, revoked), events) =
        w.events_by(|w| mark_dead(w, "w-1", ", revoke_leases => true"));
    assert_eq!((outcome.as_str(), revoked), ("marked", 2));
    assert_eq!(
        events,
        [
            "worker.marked_dead(gone)",
            "lease.revoked(worker_dead: gone)",
            "lease.revoked(worker_dead: gone)"
        ]
    );
    for claim in &held {
        assert!(w.vector(claim.id).starts_with("active/lease_revoked/"));
        w.refused("FF403", "SELECT * FROM ff_renew($1)", &[&claim.handle]);
    }
    for claim in [&other, &elsewhere] {
        w.rows("SELECT * FROM ff_renew($1)", &[&claim.handle]);
    }
    // Registered or not: the leases of an instance that never announced itself go too.
    assert_eq!(
        mark_dead(&mut w, "w-2", ", revoke_leases => true"),
        ("not_registered".into(), 1)
    );
}

#[test]
fn e_95_the_list_pages_over_namespaces_without_repeats() {
    let mut w = World::new();
    for namespace in ["b", "a", "default"] {
        for instance in ["w-2", "w-1", "w-10"] {
            register(&mut w, instance, &format!("namespace => '{namespace}'"));
        }
    }
    register(&mut w, "lapsed", "liveness_ttl => '1 s', namespace => 'a'");
    w.advance_ms(1_000);
    let all = listed(&mut w, "");
    let mut sorted = all.clone();
    sorted.sort();
    assert_eq!(all, sorted);
    assert_eq!(all.len(), 9, "the lapsed one is hidden");
    let (mut namespace, mut instance) = (None::<String>, None::<String>);
    let mut paged = Vec::new();
    loop {
        let page = w.rows(
            "SELECT * FROM ff_list_workers(after_namespace => $1, after_instance => $2, max_items => 2)",
            &[&namespace, &instance],
        );
        let Some(last) = page.last() else { break };
        (namespace, instance) = (
            Some(last.text("namespace")),
            Some(last.text("worker_instance")),
        );
        paged.extend(
            page.iter()
                .map(|row| format!("{}/{}", row.text("namespace"), row.text("worker_instance"))),
        );
        assert_eq!(last.flag("has_more"), paged.len() < all.len());
    }
    assert_eq!(paged, all);
    assert_eq!(
        listed(&mut w, "'a', after_instance => 'w-1'"),
        ["a/w-10", "a/w-2"]
    );
    assert_eq!(listed(&mut w, "'nobody'"), Vec::<String>::new());
    assert_eq!(listed(&mut w, "max_items => 0"), Vec::<String>::new());
    w.refused(
        "FF101",
        "SELECT * FROM ff_list_workers(max_items => -1)",
        &[],
    );
    let same: bool = w.value(
        "SELECT (SELECT array_agg(t::text ORDER BY t::text) FROM (SELECT namespace, worker_instance, worker, lanes, capabilities,
                        registered_at, last_heartbeat_at, liveness_ttl FROM ff_list_workers()) t)
              = (SELECT array_agg(t::text ORDER BY t::text) FROM (SELECT namespace, worker_instance, worker, lanes, capabilities,
                        registered_at, last_heartbeat_at, liveness_ttl FROM ff_workers) t)",
        &[],
    );
    assert!(same, "the view shows what the list shows");
}

#[test]
fn e_95_the_list_counts_the_leases_that_are_held() {
    let mut w = World::new();
    register(&mut w, "w-1", "");
    register(&mut w, "w-2", "");
    register(&mut w, "w-1", "namespace => 'n'");
    w.create_several(4, "");
    let held = w.claims("max_items => 3, lease_ttl => '20 h'");
    w.complete(&held[0].handle, None);
    // A second lease of one execution, behind a timer of the first.
    w.rows(
        "SELECT * FROM ff_delay($1, ff_server_time())",
        &[&held[1].handle],
    );
    w.claims("max_items => 3, lease_ttl => '1 h'");
    let counts: Vec<_> = w
        .rows("SELECT * FROM ff_list_workers()", &[])
        .iter()
        .map(|row| {
            (
                row.text("namespace"),
                row.text("worker_instance"),
                row.int("leases_held"),
            )
        })
        .collect();
    let count = |namespace: &str, instance: &str, n| (namespace.to_owned(), instance.to_owned(), n);
    assert_eq!(
        counts,
        [
            count("default", "w-1", 3),
            count("default", "w-2", 0),
            count("n", "w-1", 0)
        ]
    );
}

#[test]
fn e_95_of_two_registrations_at_once_one_refreshes() {
    let mut w = World::new();
    let mut other = w.session();
    // Both in a namespace that nobody has used, and in one that is known.
    for namespace in ["new", "default"] {
        let sql = format!("namespace => '{namespace}'");
        w.run("BEGIN");
        assert_eq!(outcome(&mut w, "w-1", &sql), "registered");
        let pid = other.value("SELECT pg_backend_pid()", &[]);
        let arguments = sql.clone();
        let second = apart(move || {
            let row = outcome(&mut other, "w-1", &arguments);
            (other, row)
        });
        w.waits_until_blocked(pid);
        w.run("COMMIT");
        let (session, outcome) = second.outcome();
        assert_eq!(outcome, "refreshed");
        other = session;
    }
    assert_eq!(listed(&mut w, ""), ["default/w-1", "new/w-1"]);
}

#[test]
fn e_95_a_registration_that_is_rolled_back_leaves_the_place_to_the_next() {
    let mut w = World::new();
    register(&mut w, "w-0", "");
    let mut other = w.session();
    w.run("BEGIN");
    assert_eq!(outcome(&mut w, "w-1", ""), "registered");
    let pid = other.value("SELECT pg_backend_pid()", &[]);
    let second = apart(move || outcome(&mut other, "w-1", "worker => 'other'"));
    w.waits_until_blocked(pid);
    w.run("ROLLBACK");
    assert_eq!(second.outcome(), "registered");
    assert_eq!(
        worker_events(&mut w, "worker_instance => 'w-1'"),
        ["registered"]
    );
}
