//! Counting executions without reading them (§10.5): exact for every reader, whoever keeps the counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::cluster::Cluster;
use crate::support::pace::{apart, busy, eventually};
use crate::support::{Cells, Session, World};

/// Counts by state, of all lanes.
fn counts(s: &mut Session) -> Vec<(String, i64)> {
    s.rows("SELECT * FROM ff_count_executions() ORDER BY 1", &[])
        .iter()
        .map(|row| (row.text("public_state"), row.big("executions")))
        .collect()
}

fn of(pairs: &[(&str, i64)]) -> Vec<(String, i64)> {
    let pair = |(state, n): &(&str, i64)| (state.to_string(), *n);
    pairs.iter().map(pair).collect()
}

/// What the counts say and the rows do not, in one snapshot.
fn lies(s: &mut Session) -> Vec<String> {
    s.rows(
        "SELECT detail FROM ff_check_invariants() WHERE invariant = 'count'",
        &[],
    )
    .iter()
    .map(|row| row.text("detail"))
    .collect()
}

/// Whether the executions have been counted and nothing is left to add.
fn caught_up(s: &mut Session) -> bool {
    s.value(
        "SELECT EXISTS (SELECT FROM ff_engine.tallied) AND NOT EXISTS (SELECT FROM ff_engine.untallied)",
        &[],
    )
}

/// Lets everything be counted anew.
const FORGET: &str = "UPDATE ff_engine.tally_position SET next = NULL";

#[test]
fn nothing_is_lost_when_the_number_of_the_installation_is_drawn_while_counts_are_brought_up() {
    let mut w = World::without_preload();
    w.run("SELECT * FROM ff_tick()");
    let (mut first, mut other, mut ticker) = (w.session(), w.session(), w.session());
    for s in [&mut first, &mut other] {
        s.create("");
    }
    w.run("SELECT * FROM ff_tick()");
    for s in [&mut first, &mut other] {
        s.create("");
    }
    // The first claim of all draws the number; its session goes on adding to its own sum.
    first.run("BEGIN");
    first.create("");
    first.claim("");
    w.run("BEGIN; SELECT FROM ff_engine.tally FOR UPDATE");
    let pid = ticker.pid();
    let tick = apart(move || ticker.run("SELECT * FROM ff_tick()"));
    w.waits_until_blocked(pid);
    first.run("COMMIT");
    w.run("COMMIT");
    tick.outcome();
    assert_eq!(lies(&mut w), [""; 0]);
    assert_eq!(counts(&mut w), of(&[("active", 1), ("waiting", 4)]));
    // Now they begin anew, and then take in what was summed up before.
    w.run("SELECT * FROM ff_tick()");
    w.run("SELECT * FROM ff_tick()");
    assert!(caught_up(&mut w));
    assert_eq!(counts(&mut w), of(&[("active", 1), ("waiting", 4)]));
}

#[test]
fn what_has_been_counted_is_no_longer_read() {
    let mut w = World::without_preload();
    w.create_several(3, "");
    w.claim("");
    w.run("SELECT * FROM ff_tick()");
    w.run("SELECT * FROM ff_tick()");
    assert!(caught_up(&mut w));
    w.create("");
    assert!(!caught_up(&mut w));
    assert_eq!(counts(&mut w), of(&[("active", 1), ("waiting", 3)]));
    w.run("SELECT * FROM ff_tick()");
    assert!(caught_up(&mut w));
    assert_eq!(counts(&mut w), of(&[("active", 1), ("waiting", 3)]));
    let left: i64 = w.value("SELECT count(*) FROM ff_engine.moved", &[]);
    assert_eq!(left, 0, "what is counted is forgotten");
}

#[test]
fn the_background_worker_counts() {
    let mut w = World::on_wall_clock(Cluster::home());
    w.create_several(3, "");
    w.claim("");
    assert!(
        eventually(Duration::from_secs(60), || caught_up(&mut w)),
        "the worker comes by"
    );
    assert_eq!(counts(&mut w), of(&[("active", 1), ("waiting", 2)]));
}

#[test]
fn work_counts_for_others_from_its_commit() {
    let mut w = World::new();
    w.create("");
    w.run("SELECT * FROM ff_tick()");
    let mut other = w.session();
    w.run("BEGIN");
    w.create("");
    w.run("SAVEPOINT s");
    w.create("");
    w.run("ROLLBACK TO s");
    assert_eq!(counts(&mut w), of(&[("waiting", 2)]), "its own");
    assert_eq!(counts(&mut other), of(&[("waiting", 1)]));
    other.create("");
    other.run("SELECT * FROM ff_tick()");
    assert_eq!(counts(&mut other), of(&[("waiting", 2)]));
    assert_eq!(counts(&mut w), of(&[("waiting", 3)]));
    w.run("COMMIT");
    assert_eq!(counts(&mut other), of(&[("waiting", 3)]));
    other.run("SELECT * FROM ff_tick()");
    assert!(eventually(Duration::from_secs(60), || caught_up(
        &mut other
    )));
    assert_eq!(counts(&mut other), of(&[("waiting", 3)]));
    w.run("BEGIN");
    w.create("");
    w.run("ROLLBACK");
    assert_eq!(counts(&mut other), of(&[("waiting", 3)]));
}

#[test]
fn a_prepared_transaction_counts_when_it_commits() {
    let mut w = World::new();
    w.create("");
    w.run("SELECT * FROM ff_tick()");
    w.run("BEGIN");
    w.create("");
    let name = w.database.clone();
    w.run(&format!("PREPARE TRANSACTION '{name}'"));
    w.create("");
    w.run("SELECT * FROM ff_tick()");
    assert_eq!(counts(&mut w), of(&[("waiting", 2)]));
    w.run(&format!("COMMIT PREPARED '{name}'"));
    assert_eq!(counts(&mut w), of(&[("waiting", 3)]));
    w.run("SELECT * FROM ff_tick()");
    assert_eq!(counts(&mut w), of(&[("waiting", 3)]));
}

#[test]
fn a_tick_among_other_work_of_its_transaction_counts_nothing_twice() {
    let mut w = World::new();
    for before in ["", FORGET] {
        w.run(before);
        let known = w.executions();
        w.run("BEGIN");
        w.create("");
        w.run("SELECT * FROM ff_tick()");
        w.create("");
        w.run("SELECT * FROM ff_tick()");
        w.run("COMMIT");
        assert_eq!(w.executions(), known + 2);
        w.run("SELECT * FROM ff_tick()");
        assert_eq!(w.executions(), known + 2);
    }
    w.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    w.create("");
    w.run("SELECT * FROM ff_tick()");
    w.run("COMMIT");
    assert_eq!(w.executions(), 5);
}

/// Rows in which sessions sum up what has moved.
fn sums(s: &mut Session) -> i64 {
    s.value("SELECT count(*) FROM ff_engine.moved", &[])
}

#[test]
fn a_session_adds_to_its_own_row_until_it_is_taken() {
    let mut w = World::without_preload();
    w.run("SELECT * FROM ff_tick()");
    let mut other = w.session();
    for _ in 0..3 {
        w.create("");
        other.create("");
    }
    assert_eq!(sums(&mut w), 2, "one of each session");
    w.run("BEGIN");
    w.create("");
    w.run("SAVEPOINT s");
    w.create("");
    w.run("ROLLBACK TO s");
    w.create("");
    w.run("ROLLBACK");
    w.create("");
    assert_eq!(counts(&mut w), of(&[("waiting", 7)]));
    other.run("SELECT * FROM ff_tick()");
    assert_eq!(sums(&mut w), 0);
    w.create("");
    assert_eq!(counts(&mut other), of(&[("waiting", 8)]));
    assert_eq!(lies(&mut w), [""; 0]);
}

#[test]
fn a_row_that_a_session_is_adding_to_is_left_to_it() {
    let mut w = World::without_preload();
    let mut other = w.session();
    for before in ["SELECT * FROM ff_tick()", FORGET] {
        other.run(before);
        let known = w.executions();
        w.create("");
        w.run("BEGIN");
        w.create("");
        // Twice: the second time the row stands far behind the position.
        for _ in 0..2 {
            other.run("SELECT * FROM ff_tick()");
            assert_eq!(other.executions(), known + 1);
            assert_eq!(w.executions(), known + 2);
            assert!(sums(&mut other) > 0);
        }
        w.run("COMMIT");
        assert_eq!(other.executions(), known + 2);
        other.run("SELECT * FROM ff_tick()");
        assert_eq!(other.executions(), known + 2);
        assert_eq!(sums(&mut other), 0);
        assert_eq!(lies(&mut other), [""; 0]);
    }
}

#[test]
fn a_row_that_others_are_taking_is_not_waited_for() {
    let mut w = World::without_preload();
    let mut other = w.session();
    w.run("SELECT * FROM ff_tick()");
    w.create("");
    other.run("BEGIN");
    other.run("SELECT * FROM ff_tick()");
    w.create("");
    assert_eq!(w.executions(), 2);
    other.run("ROLLBACK");
    assert_eq!(other.executions(), 2);
    other.run("SELECT * FROM ff_tick()");
    assert_eq!((other.executions(), sums(&mut other)), (2, 0));
}

#[test]
fn a_row_survives_what_vacuum_does_to_its_table() {
    let mut w = World::without_preload();
    w.run("SELECT * FROM ff_tick()");
    let mut other = w.session();
    for maintenance in [
        "VACUUM ff_engine.moved",
        "VACUUM FULL ff_engine.moved",
        "TRUNCATE ff_engine.moved, ff_engine.tally",
    ] {
        w.create("");
        w.run("SELECT * FROM ff_tick()");
        other.create("");
        w.run(maintenance);
        if maintenance.starts_with("TRUNCATE") {
            w.run(FORGET);
        }
        w.create("");
        assert_eq!(lies(&mut w), [""; 0]);
    }
    assert_eq!(w.executions(), 9);
}

#[test]
fn counts_begin_anew_where_a_dump_was_restored() {
    let mut w = World::new();
    w.create_several(4, "");
    let claim = w.claim("");
    w.complete(&claim.handle, None);
    w.claim("");
    let all = of(&[("active", 1), ("completed", 1), ("waiting", 2)]);
    // The tables of the counts come empty, and the log with transactions that this server has not reached yet.
    w.run(
        "BEGIN;
         DELETE FROM ff_engine.tally;
         DELETE FROM ff_engine.moved;
         UPDATE ff_engine.event SET txid = (txid::text::bigint + 1000000)::text::xid8;
         UPDATE ff_engine.tally_position SET next = NULL, installation = NULL;
         COMMIT",
    );
    assert_eq!(counts(&mut w), all);
    w.run("SELECT * FROM ff_tick()");
    assert_eq!(counts(&mut w), all);
    w.create("");
    w.claim("");
    assert_eq!(
        counts(&mut w),
        of(&[("active", 2), ("completed", 1), ("waiting", 2)])
    );
    assert!(eventually(Duration::from_secs(60), || {
        w.run("SELECT * FROM ff_tick()");
        caught_up(&mut w)
    }));
    // Another installation: the counts are not of these executions.
    w.run("UPDATE ff_engine.tally SET executions = 77");
    w.run("UPDATE ff_engine.installation SET installation_id = '\\x01020304'");
    assert_eq!(w.executions(), 5);
    w.run("SELECT * FROM ff_tick()");
    assert_eq!(w.executions(), 5);
}

#[test]
fn every_reader_counts_exactly_while_sessions_work_and_others_count() {
    let _machine = busy();
    let mut w = World::on_wall_clock(Cluster::home());
    let over = Arc::new(AtomicBool::new(false));
    let mut crews = Vec::new();
    for crew in 0..3 {
        let (door, over) = (w.door(), over.clone());
        crews.push(apart(move || {
            let mut s = door.open();
            let mut round = 0;
            while !over.load(Ordering::Relaxed) {
                round += 1;
                work(&mut s, crew + round);
            }
        }));
    }
    let (door, stop) = (w.door(), over.clone());
    crews.push(apart(move || {
        let mut s = door.open();
        while !stop.load(Ordering::Relaxed) {
            s.run("SELECT * FROM ff_tick()");
        }
    }));
    for _ in 0..60 {
        let lies = lies(&mut w);
        if !lies.is_empty() {
            over.store(true, Ordering::Relaxed);
        }
        assert!(lies.is_empty(), "{lies:#?}");
    }
    over.store(true, Ordering::Relaxed);
    for crew in crews {
        crew.outcome();
    }
    w.run("SELECT * FROM ff_tick()");
    assert!(lies(&mut w).is_empty());
    assert!(w.executions() > 0);
}

/// A round of work in which nothing stays as it was; some of it is taken back.
fn work(s: &mut Session, round: i32) {
    let end = if round % 3 == 0 { "ROLLBACK" } else { "COMMIT" };
    s.run("BEGIN");
    s.rows(
        &format!(
            r#"SELECT * FROM ff_create_many('L', 'k', '{{a,b,c,d,e}}', namespace => 'n{}', policy => '{{"retry_policy":{{}}}}')"#,
            round % 2
        ),
        &[],
    );
    s.create("delay_until => ff_server_time() + interval '2 ms', retention => '0'");
    s.run(end);
    let claims = s.claims("max_items => 4");
    s.run("BEGIN");
    for (place, claim) in claims.iter().enumerate() {
        match place {
            0 => drop(s.complete(&claim.handle, None)),
            1 => drop(s.fail(&claim.handle, "no", "retry_after => '1 ms'")),
            2 => drop(s.rows(
                "SELECT * FROM ff_delay($1, ff_server_time())",
                &[&claim.handle],
            )),
            _ => drop(s.rows("SELECT * FROM ff_cancel($1, 'enough')", &[&claim.handle])),
        }
    }
    s.run(end);
}
