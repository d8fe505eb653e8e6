//! Waiting for work inside a claim and in a procedure (§10.2 G12, §10.11, §10.11.2).

use std::time::{Duration, Instant};

use crate::support::cluster::Cluster;
use crate::support::pace::{Apart, apart, busy, eventually, quiet};
use crate::support::work::requiring;
use crate::support::{Cells, Session, World};

const WAIT: &str = "CALL ff_wait_for_work('L', '10 s')";

/// A session in a thread of its own that waits and says what came out, and when.
struct Waiter {
    pid: i32,
    answer: Apart<(String, Instant)>,
}

impl Waiter {
    fn start(w: &mut World, mut wait: impl FnMut(&mut Session) -> String + Send + 'static) -> Self {
        let mut session = w.session();
        let pid = session.pid();
        let answer = apart(move || (wait(&mut session), Instant::now()));
        w.waits_in_its_statement(pid);
        Self { pid, answer }
    }

    /// What the waiter returned and how long after the instant.
    fn outcome_since(self, start: Instant) -> (String, Duration) {
        let (outcome, returned) = self.answer.outcome();
        (outcome, returned.saturating_duration_since(start))
    }
}

fn claim_waiting(session: &mut Session) -> String {
    session.claims("wait => '5 s'").len().to_string()
}

fn call_waiting(session: &mut Session) -> String {
    session.one(WAIT, &[]).text("outcome")
}

/// The middle one of several latencies: one hiccup of the machine is not the engine's.
fn median(mut latencies: Vec<Duration>) -> Duration {
    latencies.sort();
    latencies[latencies.len() / 2]
}

#[track_caller]
fn wakes_within(mut w: World, limit: Duration, expected: &str, wait: fn(&mut Session) -> String) {
    let _machine = quiet();
    let mut latencies = Vec::new();
    for _ in 0..5 {
        let waiter = Waiter::start(&mut w, wait);
        w.create("");
        let (outcome, latency) = waiter.outcome_since(Instant::now());
        assert_eq!(outcome, expected);
        assert!(latency < Duration::from_millis(1500), "{latency:?}");
        latencies.push(latency);
        w.claims("max_items => 10");
    }
    let middle = median(latencies);
    assert!(middle < limit, "the median wake-up took {middle:?}");
}

#[test]
fn e_29_a_waiting_claim_is_woken_by_the_commit() {
    wakes_within(World::new(), Duration::from_millis(100), "1", claim_waiting);
}

#[test]
fn e_29_without_preload_a_waiting_claim_polls() {
    wakes_within(
        World::without_preload(),
        Duration::from_millis(350),
        "1",
        claim_waiting,
    );
}

#[test]
fn e_29_a_wait_inside_a_claim_ends_after_five_seconds() {
    let mut w = World::new();
    let mut long = w.session();
    let longer = apart(move || {
        let start = Instant::now();
        (long.claims("wait => '1 min'").len(), start.elapsed())
    });
    let start = Instant::now();
    assert!(w.claims("wait => '300 ms'").is_empty());
    assert!((Duration::from_millis(290)..Duration::from_secs(2)).contains(&start.elapsed()));
    let (claimed, elapsed) = longer.outcome();
    assert_eq!(claimed, 0);
    assert!(
        (Duration::from_millis(4900)..Duration::from_millis(6500)).contains(&elapsed),
        "{elapsed:?}"
    );
}

#[test]
fn e_29_waiting_needs_read_committed() {
    let mut w = World::new();
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        w.run(&format!("BEGIN ISOLATION LEVEL {level}"));
        w.refused(
            "FF134",
            "SELECT * FROM ff_claim('L', 'w', wait => '1 s')",
            &[],
        );
        w.run(&format!("ROLLBACK; BEGIN ISOLATION LEVEL {level}"));
        assert!(w.claims("wait => '0'").is_empty());
        w.run("ROLLBACK");
    }
}

#[test]
fn e_29_a_cancel_request_ends_the_wait() {
    let mut w = World::new();
    for wait in ["SELECT * FROM ff_claim('L', 'w', wait => '5 s')", WAIT] {
        let waiter = Waiter::start(&mut w, move |session| session.failure(wait, &[]).sqlstate);
        let cancelled = Instant::now();
        w.one("SELECT pg_cancel_backend($1)", &[&waiter.pid]);
        let (outcome, latency) = waiter.outcome_since(cancelled);
        assert_eq!(outcome, "57014");
        assert!(latency < Duration::from_secs(1), "{wait} took {latency:?}");
    }
}

#[test]
fn e_29_a_statement_timeout_ends_the_wait() {
    let mut w = World::new();
    w.run("SET statement_timeout = '200 ms'");
    w.refused(
        "57014",
        "SELECT * FROM ff_claim('L', 'w', wait => '5 s')",
        &[],
    );
    w.refused("57014", WAIT, &[]);
    w.run("RESET statement_timeout");
}

#[test]
fn e_29_a_claim_that_changed_something_does_not_go_on_waiting() {
    let mut w = World::new();
    let id = w.create(r#"policy => '{"max_reclaim_count":0}'"#);
    w.claim("lease_ttl => '1 s'");
    w.advance_ms(1_000);
    let start = Instant::now();
    assert!(w.claims("wait => '5 s'").is_empty());
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "it returns so that its change is committed"
    );
    assert_eq!(w.state(id), "failed");
}

#[test]
fn e_121_with_work_there_the_call_returns_at_once() {
    let mut w = World::new();
    let id = w.create("");
    let before = w.contents();
    let start = Instant::now();
    assert_eq!(call_waiting(&mut w), "work");
    assert!(start.elapsed() < Duration::from_secs(2));
    assert_eq!(w.contents(), before, "it changes and reserves nothing");
    assert_eq!(w.claim("").id, id);
}

#[test]
fn e_121_the_waiting_session_holds_nothing() {
    for mut w in [World::new(), World::without_preload()] {
        w.create("");
        w.claim("");
        let waiter = Waiter::start(&mut w, call_waiting);
        let pid = waiter.pid;
        // Polling takes a snapshot for an instant; asleep, none is held.
        let bare = eventually(Duration::from_secs(60), || {
            w.value(
                "SELECT backend_xmin IS NULL AND backend_xid IS NULL
                        AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND locktype <> 'virtualxid')
                   FROM pg_stat_activity a WHERE pid = $1 AND state = 'active'",
                &[&pid],
            )
        });
        assert!(bare, "no snapshot, no transaction id, no lock");
        w.create("");
        assert_eq!(waiter.outcome_since(Instant::now()).0, "work");
    }
}

#[test]
fn e_121_a_commit_ends_the_call() {
    wakes_within(
        World::new(),
        Duration::from_millis(100),
        "work",
        call_waiting,
    );
}

#[test]
fn e_121_without_preload_the_call_polls() {
    wakes_within(
        World::without_preload(),
        Duration::from_millis(350),
        "work",
        call_waiting,
    );
}

#[test]
fn e_121_with_nothing_the_call_times_out() {
    let mut w = World::new();
    let mut other = w.session();
    let long = apart(move || {
        let start = Instant::now();
        (call_waiting(&mut other), start.elapsed())
    });
    let start = Instant::now();
    assert_eq!(
        w.one("CALL ff_wait_for_work('L', '300 ms')", &[])
            .text("outcome"),
        "timeout"
    );
    assert!((Duration::from_millis(290)..Duration::from_secs(2)).contains(&start.elapsed()));
    assert_eq!(
        w.one("CALL ff_wait_for_work('never-used', '10 ms')", &[])
            .text("outcome"),
        "timeout"
    );
    let (outcome, elapsed) = long.outcome();
    assert_eq!(outcome, "timeout");
    assert!(
        (Duration::from_millis(9900)..Duration::from_millis(12000)).contains(&elapsed),
        "{elapsed:?}"
    );
}

#[test]
fn e_122_only_work_that_a_claim_could_get_counts() {
    let mut w = World::new();
    let brief = |w: &mut World, arguments: &str| {
        w.one(
            &format!("CALL ff_wait_for_work('L', '50 ms'{arguments})"),
            &[],
        )
        .text("outcome")
    };
    w.create(&requiring(&["gpu"]));
    assert_eq!(brief(&mut w, ""), "timeout");
    assert_eq!(brief(&mut w, ", capabilities => '{gpu}'"), "work");
    assert_eq!(
        brief(&mut w, ", capabilities => '{gpu}', namespace => 'other'"),
        "timeout"
    );
    w.one("SELECT * FROM ff_set_lane('L', 'paused')", &[]);
    assert_eq!(brief(&mut w, ", capabilities => '{gpu}'"), "timeout");
    w.one("SELECT * FROM ff_set_lane('L', 'active')", &[]);
    let claim = w.claim("capabilities => '{gpu}', lease_ttl => '1 s'");
    w.advance_ms(1_000);
    assert_eq!(
        brief(&mut w, ", capabilities => '{gpu}', reclaim => false"),
        "timeout"
    );
    assert_eq!(brief(&mut w, ", capabilities => '{gpu}'"), "work");
    assert_eq!(w.claim("capabilities => '{gpu}'").id, claim.id);
    w.create("execution_deadline => ff_server_time() - interval '1 s'");
    assert_eq!(brief(&mut w, ""), "timeout", "past its deadline");
}

#[test]
fn e_122_a_delay_falling_due_and_a_lease_running_out_end_the_wait() {
    let _machine = quiet();
    for mut w in [
        World::on_wall_clock(Cluster::home()),
        World::without_preload(),
    ] {
        w.create("delay_until => ff_server_time() + interval '700 ms'");
        let start = Instant::now();
        assert_eq!(call_waiting(&mut w), "work");
        assert!(
            (Duration::from_millis(500)..Duration::from_secs(2)).contains(&start.elapsed()),
            "{:?}",
            start.elapsed()
        );
        w.claim("lease_ttl => '700 ms'");
        let start = Instant::now();
        assert_eq!(call_waiting(&mut w), "work");
        assert!(
            (Duration::from_millis(500)..Duration::from_secs(2)).contains(&start.elapsed()),
            "{:?}",
            start.elapsed()
        );
        assert_eq!(w.claim("").kind, "reclaimed");
    }
}

#[test]
fn e_123_a_call_needs_to_be_on_its_own() {
    let mut w = World::new();
    w.run("BEGIN");
    w.refused("2D000", WAIT, &[]);
    w.run("ROLLBACK");
    w.run(
        "CREATE FUNCTION inside() RETURNS void LANGUAGE plpgsql AS
         $$ DECLARE said text; BEGIN CALL ff_wait_for_work('L', '1 s', outcome => said); END $$",
    );
    w.refused("2D000", "SELECT inside()", &[]);
    w.run("SET default_transaction_isolation = 'serializable'");
    w.create("");
    assert_eq!(call_waiting(&mut w), "work");
}

#[test]
fn e_123_two_hundred_waiters_lose_no_wakeup_and_hold_back_no_vacuum() {
    let _machine = busy();
    const WAITERS: usize = 200;
    const ITEMS: usize = 20;
    let mut w = World::on(Cluster::roomy());
    w.run("CREATE TABLE dead AS SELECT n FROM generate_series(1, 1000) n");
    let waiters: Vec<_> = (0..WAITERS)
        .map(|_| {
            let door = w.door();
            apart(move || {
                let mut session = door.open();
                let mut woken = 0;
                loop {
                    match session
                        .one("CALL ff_wait_for_work('L', '8 s')", &[])
                        .text("outcome")
                        .as_str()
                    {
                        "work" => woken += 1,
                        _ => return (woken, 0),
                    }
                    let claims = session.claims("");
                    if !claims.is_empty() {
                        return (woken, claims.len());
                    }
                }
            })
        })
        .collect();
    let all_asleep = eventually(Duration::from_secs(60), || {
        w.value::<i64>(
            "SELECT count(*) FROM pg_stat_activity
              WHERE datname = current_database() AND state = 'active' AND query LIKE 'CALL ff_wait%'",
            &[],
        ) >= WAITERS as i64 - 5
    });
    assert!(all_asleep);
    w.run("DELETE FROM dead");
    w.notices();
    w.run("VACUUM VERBOSE dead");
    let report: String = w
        .notices()
        .iter()
        .map(|notice| notice.message().to_string())
        .collect();
    assert!(
        report.contains("0 are dead but not yet removable"),
        "{report}"
    );
    w.create_several(ITEMS, "");
    let (mut woken, mut claimed) = (0, 0);
    for waiter in waiters {
        let (times, items) = waiter.outcome();
        woken += times;
        claimed += items;
    }
    assert_eq!(claimed, ITEMS, "no claim is lost");
    assert!(woken >= ITEMS, "{woken} were woken");
}
