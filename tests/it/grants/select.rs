//! What a scheduler sees, and what it is given next.

use uuid::Uuid;

use super::{granted, scan, select};
use crate::support::work::requiring;
use crate::support::{Cells, World};

#[test]
fn selecting_follows_the_order_and_the_limits_of_a_claim() {
    let mut w = World::new();
    let unfit = w.create(&format!("{}, priority => 9", requiring(&["gpu"])));
    w.create("priority => 8, namespace => 'other'");
    let first = w.create("priority => 7");
    let second = w.create("priority => 1");
    let lost = w.claimed("priority => 9000", "lease_ttl => '1 s'");
    w.advance_ms(1_000);
    let all = scan(&mut w, ", namespace => 'default'");
    assert_eq!(all, [unfit, first, second], "whatever they require");
    for expected in [first, second] {
        let row = select(&mut w, ", namespace => 'default'");
        assert_eq!(row.uuid("execution_id"), expected);
    }
    assert_eq!(
        select(&mut w, ", namespace => 'default'").text("outcome"),
        "no_work",
        "a lost lease is not claimable"
    );
    assert_eq!(
        w.claim("capabilities => '{}', namespace => 'default'").id,
        lost.id
    );
    let row = select(&mut w, ", capabilities => '{gpu}', namespace => 'default'");
    assert_eq!(row.uuid("execution_id"), unfit);
}

#[test]
fn a_scan_pages_nothing_and_shows_what_a_scheduler_needs() {
    let mut w = World::new();
    let gpu = w.create(&format!("{}, priority => 5", requiring(&["gpu"])));
    let plain = w.create("");
    let paused = interrupted_behind(&mut w);
    let rows = w.rows("SELECT * FROM ff_scan_eligible('L')", &[]);
    let seen: Vec<(Uuid, i32, Vec<String>, String)> = rows
        .iter()
        .map(|r| {
            (
                r.uuid("execution_id"),
                r.int("priority"),
                r.get("required_capabilities"),
                r.text("attempt_state"),
            )
        })
        .collect();
    let first = "pending_first_attempt".to_string();
    assert_eq!(
        seen,
        [
            (gpu, 5, vec!["gpu".to_string()], first.clone()),
            (plain, 0, vec![], first),
            (paused, 0, vec![], "attempt_interrupted".to_string()),
        ]
    );
    assert_eq!(
        rows[1].instant("created_at"),
        w.describe(plain).instant("created_at")
    );
    assert_eq!(scan(&mut w, ", max_items => 1"), [gpu]);
    assert!(scan(&mut w, ", max_items => 0").is_empty());
    let partition: i16 = w.value("SELECT ff_partition_of($1)", &[&plain]);
    let only = scan(
        &mut w,
        &format!(", partitions => '[{partition},{partition}]'"),
    );
    assert!(only.contains(&plain) && only.len() < 3 || partition_of_all(&mut w, partition));
    assert!(scan(&mut w, ", namespace => 'nobody'").is_empty());
    assert!(
        w.rows("SELECT * FROM ff_scan_eligible('never-used')", &[])
            .is_empty()
    );
    w.refused("FF133", "SELECT * FROM ff_scan_eligible('')", &[]);
}

/// An interrupted attempt of the youngest execution.
fn interrupted_behind(w: &mut World) -> Uuid {
    let id = w.create("priority => 9000");
    let claim = w.claim("");
    assert_eq!(claim.id, id);
    w.one("SELECT * FROM ff_change_priority($1, 0)", &[&id]);
    w.one(
        "SELECT * FROM ff_delay($1, ff_server_time())",
        &[&claim.handle],
    );
    id
}

/// By chance, every execution may lie in one partition.
fn partition_of_all(w: &mut World, partition: i16) -> bool {
    w.value(
        "SELECT bool_and(ff_partition_of(execution_id) = $1) FROM ff_list_executions()",
        &[&partition],
    )
}

#[test]
fn what_a_scheduler_notes_is_kept_with_the_grant() {
    let mut w = World::new();
    let id = w.create("");
    let more =
        r#", route_snapshot => '{"zone":"b","cost":1.50}', admission_summary => 'budget b1 ok'"#;
    granted(&mut w, id, more);
    let kept = w.one(
        "SELECT grant_route_snapshot, grant_admission_summary FROM ff_engine.execution_row WHERE execution_id = $1",
        &[&id],
    );
    assert_eq!(kept.json("grant_route_snapshot")["zone"], "b");
    assert_eq!(kept.text("grant_admission_summary"), "budget b1 ok");
    let other = w.create("");
    let before = w.contents();
    for odd in [
        "route_snapshot => '[]'",
        "route_snapshot => jsonb_build_object('x', repeat('x', 8192))",
        "admission_summary => ''",
        "admission_summary => repeat('x', 1025)",
        "block_on_mismatch => NULL",
        "grant_ttl => '11 min'",
        "grant_ttl => '0'",
        "grant_ttl => '1 month'",
        "worker_instance => ''",
    ] {
        let call = format!("SELECT * FROM ff_issue_claim_grant($1, 'w', {odd})");
        w.refused("FF101", &call, &[&other]);
    }
    let call = "SELECT * FROM ff_issue_claim_grant($1, 'w', capabilities => '{a b}')";
    w.refused("FF103", call, &[&other]);
    w.refused(
        "FF103",
        "SELECT * FROM ff_claim_for_worker('L', 'w', capabilities => '{a b}')",
        &[],
    );
    assert_eq!(w.contents(), before);
}

#[test]
fn a_grant_waits_for_nobody_and_nobody_waits_for_its_end() {
    let mut w = World::new();
    let id = w.create("");
    let mut other = w.session();
    w.run("BEGIN");
    granted(&mut w, id, "");
    assert_eq!(select(&mut other, "").text("outcome"), "no_work");
    assert!(other.claims("").is_empty());
    w.run("ROLLBACK");
    assert_eq!(select(&mut other, "").uuid("execution_id"), id);
}

#[test]
fn a_scheduler_that_is_bound_to_a_namespace_sees_and_reserves_nothing_else() {
    let mut w = World::with_roles();
    let mine = w.create("namespace => 'a'");
    let other = w.create("namespace => 'b', priority => 9");
    let login = w.login("scheduler", "ff_operator");
    w.one("SELECT ff_grant_namespace($1, 'a')", &[&login]);
    let mut bound = w.session_of(&login);
    assert_eq!(scan(&mut bound, ""), [mine]);
    assert!(scan(&mut bound, ", namespace => 'b'").is_empty());
    assert_eq!(select(&mut bound, "").uuid("execution_id"), mine);
    assert_eq!(select(&mut bound, "").text("outcome"), "no_work");
    let before = w.contents();
    for call in [
        "SELECT * FROM ff_issue_claim_grant($1, 'w')",
        "SELECT * FROM ff_issue_reclaim_grant($1, 'w')",
        "SELECT * FROM ff_claim_execution($1, 'w')",
        "SELECT * FROM ff_issue_grant_and_claim($1, '1 s')",
        "SELECT * FROM ff_complete_execution($1, source => 'operator_override')",
    ] {
        bound.refused("FF001", call, &[&other]);
    }
    let word: String = bound.value("SELECT ff_promote_delayed($1)", &[&other]);
    assert_eq!(word, "not_found");
    assert_eq!(w.contents(), before);
}
