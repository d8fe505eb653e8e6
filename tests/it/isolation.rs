//! Strict isolation levels, deadlocks, rollbacks (§10.2 G1, G4, G5).

use crate::support::failure::Failure;
use crate::support::pace::{apart, busy};
use crate::support::{Cells, World};

#[test]
fn e_116_under_repeatable_read_one_of_two_rivals_gives_up() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    let mut rival = w.session();
    rival.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    rival.state(claim.id);
    w.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert_eq!(w.complete(&claim.handle, None).text("outcome"), "completed");
    w.run("COMMIT");
    rival.refused("40001", "SELECT * FROM ff_fail($1, 'x')", &[&claim.handle]);
    rival.run("ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ");
    rival.refused("FF210", "SELECT * FROM ff_fail($1, 'x')", &[&claim.handle]);
    rival.run("ROLLBACK");
    assert_eq!(w.event_words(claim.id).len(), 3);
}

#[test]
fn e_116_the_loser_may_also_have_waited() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    w.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    w.complete(&claim.handle, None);
    let mut rival = w.session();
    let (pid, handle) = (rival.pid(), claim.handle.clone());
    let waiting = apart(move || {
        rival.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
        rival
            .failure("SELECT * FROM ff_fail($1, 'x')", &[&handle])
            .sqlstate
    });
    let mut onlooker = w.session();
    onlooker.waits_until_blocked(pid);
    w.run("COMMIT");
    assert_eq!(waiting.outcome(), "40001");
    assert_eq!(w.state(claim.id), "completed");
}

#[test]
fn e_116_serializable_claimers_share_without_overlap() {
    let _machine = busy();
    let mut w = World::new();
    let mut ids = w.create_several(20, "");
    let claimers: Vec<_> = (0..8)
        .map(|_| {
            let door = w.door();
            apart(move || {
                let mut session = door.open();
                session.run("SET default_transaction_isolation = 'serializable'");
                let mut mine = Vec::new();
                loop {
                    match session.query(
                        "SELECT execution_id FROM ff_claim('L', 'w', max_items => 5)",
                        &[],
                    ) {
                        Ok(rows) if rows.is_empty() => return mine,
                        Ok(rows) => mine.extend(rows.iter().map(|row| row.uuid("execution_id"))),
                        Err(e) => assert_eq!(Failure::of(&e).sqlstate, "40001"),
                    }
                }
            })
        })
        .collect();
    let mut claimed: Vec<_> = claimers
        .into_iter()
        .flat_map(|claimer| claimer.outcome())
        .collect();
    claimed.sort();
    ids.sort();
    assert_eq!(claimed, ids);
}

#[test]
fn e_117_batches_in_opposite_order_do_not_deadlock() {
    let _machine = busy();
    let mut w = World::new();
    for _ in 0..10 {
        w.run("SELECT count(*) FROM ff_create_many('L', 'k', array_fill(NULL::bytea, '{50}'))");
        let mut handles: Vec<_> = w
            .claims("max_items => 50")
            .into_iter()
            .map(|claim| claim.handle)
            .collect();
        let finishers: Vec<_> = (0..2)
            .map(|_| {
                handles.reverse();
                let (door, handles) = (w.door(), handles.clone());
                apart(move || {
                    let mut session = door.open();
                    let rows = session.rows("SELECT * FROM ff_complete_many($1)", &[&handles]);
                    assert!(rows.iter().all(|row| row.text("outcome") == "completed"));
                    rows.iter().filter(|row| !row.flag("replayed")).count()
                })
            })
            .collect();
        let first_hand: usize = finishers
            .into_iter()
            .map(|finisher| finisher.outcome())
            .sum();
        assert_eq!(first_hand, 50, "each completed once, the rest are replays");
    }
}

#[test]
fn e_118_part_a_rollback_leaves_everything_as_before() {
    let mut w = World::new();
    let retry = r#"policy => '{"retry_policy":{}}'"#;
    let held: Vec<_> = (0..8)
        .map(|_| w.claimed(retry, "lease_ttl => '1 h'"))
        .collect();
    w.claimed(
        r#"policy => '{"timeout_policy":{"attempt_timeout_ms":1000}}'"#,
        "lease_ttl => '1 h'",
    );
    let lost = w.claimed("", "lease_ttl => '1 s'");
    let ended = w.claimed("retention => '0'", "");
    w.complete(&ended.handle, None);
    let delayed = w.create("delay_until => ff_server_time() + interval '1 s'");
    let late = w.create("execution_deadline => ff_server_time() + interval '1 s'");
    w.create_several(3, "idempotency_key => NULL");
    w.create("idempotency_key => 'a', dedup_window => '1 s'");
    w.advance_ms(1_000);

    let handle = |n: usize| held[n].handle.as_str();
    let steps = [
        "SELECT ff_create_execution('new lane', 'k', '\\x01', idempotency_key => 'b')".to_string(),
        r#"SELECT ff_create_executions('[{"lane":"other","kind":"k"}]')"#.into(),
        "SELECT ff_create_many('L', 'k', '{NULL,NULL}')".into(),
        "SELECT ff_claim('L', 'new worker', capabilities => '{x}', max_items => 2)".into(),
        format!("SELECT ff_renew('{}')", handle(0)),
        format!("SELECT ff_renew_many('{{{}}}')", handle(0)),
        format!("SELECT ff_progress('{}', 5, 'x')", handle(0)),
        format!(
            "SELECT ff_delay('{}', ff_server_time() + interval '1 h')",
            handle(1)
        ),
        format!("SELECT ff_complete('{}', 'r')", handle(2)),
        format!("SELECT ff_complete_many('{{{}}}')", handle(3)),
        format!("SELECT ff_complete_and_claim('{}', 'r')", handle(4)),
        format!("SELECT ff_complete_many_and_claim('{{{}}}')", handle(5)),
        format!("SELECT ff_fail('{}', 'x')", handle(6)),
        format!("SELECT ff_cancel('{}', 'x')", handle(7)),
        format!(
            "SELECT ff_complete_execution('{}', source => 'operator_override')",
            held[0].id
        ),
        format!(
            "SELECT ff_fail_execution('{}', source => 'operator_override')",
            held[0].id
        ),
        format!(
            "SELECT ff_delay_execution('{}', ff_server_time(), source => 'operator_override')",
            held[0].id
        ),
        format!(
            "SELECT ff_wait_children_execution('{}', source => 'operator_override')",
            held[0].id
        ),
        format!(
            "SELECT ff_renew_lease('{}', '{}', 1, '{}')",
            held[0].id, held[0].lease_id, held[0].attempt_id
        ),
        "SELECT ff_issue_claim_grant(execution_id, 'new worker') FROM ff_scan_eligible('L')".into(),
        "SELECT ff_issue_grant_and_claim(execution_id, '1 s') FROM ff_scan_eligible('L')".into(),
        "SELECT ff_claim_for_worker('L', 'new worker')".into(),
        "SELECT ff_claim_execution(execution_id, 'w') FROM ff_claim_for_worker('L', 'w')".into(),
        format!("SELECT ff_issue_reclaim_grant('{}', 'new worker')", lost.id),
        format!(
            "SELECT ff_reclaim_execution(execution_id, 'w') FROM ff_issue_reclaim_grant('{}', 'w')",
            lost.id
        ),
        format!("SELECT ff_mark_lease_expired_if_due('{}')", lost.id),
        format!("SELECT ff_promote_delayed('{delayed}')"),
        format!("SELECT ff_expire_execution('{late}', 'execution_deadline')"),
        "SELECT ff_set_lane('L', 'paused')".into(),
        "SELECT ff_reconcile_lease_expiry()".into(),
        "SELECT ff_reconcile_delayed()".into(),
        "SELECT ff_reconcile_attempt_timeout()".into(),
        "SELECT ff_reconcile_execution_deadline()".into(),
        "SELECT ff_reconcile_idempotency()".into(),
        "SELECT ff_reconcile_retention()".into(),
        "SELECT ff_tick()".into(),
    ];
    let before = w.contents();
    for step in steps {
        w.run("BEGIN");
        let rows = w.rows(&step, &[]);
        assert!(!rows.is_empty(), "{step} does something");
        assert_ne!(w.contents(), before, "{step} changes something");
        w.run("ROLLBACK");
        assert_eq!(w.contents(), before, "{step}");
    }
}
