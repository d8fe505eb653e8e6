//! Strict isolation levels, deadlocks, rollbacks (§10.2 G1, G4, G5).

use crate::support::failure::Failure;
use crate::support::pace::{apart, busy};
use crate::support::world::assert_invariants;
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
            .claims("max_items => 50, lease_ttl => '1 h'")
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
fn a_reconciler_with_an_old_snapshot_takes_no_timer_of_what_it_cannot_see() {
    let mut w = World::new();
    w.create("");
    let mut other = w.session();
    w.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    w.run("SELECT count(*) FROM ff_executions");
    let late = other.create("priority => 1");
    assert_eq!(other.claim("lease_ttl => '1 s'").id, late);
    w.advance_ms(2_000);
    w.run("SELECT * FROM ff_tick()");
    w.run("COMMIT");
    assert_invariants(&mut w);
    w.run("SELECT * FROM ff_tick()");
    assert_eq!(
        w.vector(late),
        "active/lease_expired_reclaimable/not_applicable/waiting_for_worker/none/attempt_interrupted"
    );
}
