//! Waiting for frames (§30.7, §10.2 G12).

use std::time::{Duration, Instant};

use postgres::Row;
use uuid::Uuid;

use crate::support::cluster::Cluster;
use crate::support::pace::{Apart, apart, busy, eventually, quiet};
use crate::support::stream::{best, said};
use crate::support::{Session, World};

/// A session in a thread of its own that tails, and says what came and when.
struct Tailer {
    pid: i32,
    rows: Apart<(Vec<Row>, Instant)>,
}

impl Tailer {
    fn start(w: &mut World, id: Uuid, arguments: &str) -> Self {
        let mut session = w.session();
        let (pid, arguments) = (session.pid(), arguments.to_owned());
        let rows = apart(move || (session.tail_stream(id, &arguments), Instant::now()));
        w.waits_in_its_statement(pid);
        Self { pid, rows }
    }

    /// What came, and how long after the instant.
    fn outcome_since(self, start: Instant) -> (Vec<String>, Duration) {
        let (rows, returned) = self.rows.outcome();
        (said(&rows), returned.saturating_duration_since(start))
    }

    fn outcome(self) -> Vec<String> {
        self.outcome_since(Instant::now()).0
    }
}

fn timed(s: &mut Session, id: Uuid, arguments: &str) -> (Vec<String>, Duration) {
    let start = Instant::now();
    let rows = s.tail_stream(id, arguments);
    (said(&rows), start.elapsed())
}

const NOTHING: [&str; 0] = [];

#[test]
fn v_25_a_tail_waits_as_long_as_asked_and_no_longer_than_allowed() {
    let _machine = quiet();
    let mut w = World::new();
    let claim = w.claimed("", "lease_ttl => '1 h'");
    let mut long = w.session();
    let id = claim.id;
    let seven = apart(move || timed(&mut long, id, "wait => '7 s'"));
    let (rows, elapsed) = timed(&mut w, claim.id, "wait => '200 ms'");
    assert_eq!(rows, NOTHING);
    assert!(
        (Duration::from_millis(190)..Duration::from_millis(1500)).contains(&elapsed),
        "{elapsed:?}"
    );
    for wait in ["wait => NULL", "wait => '0'"] {
        let (rows, elapsed) = timed(&mut w, claim.id, wait);
        assert_eq!(rows, NOTHING);
        assert!(elapsed < Duration::from_millis(150), "{elapsed:?}");
    }
    let limit: String = w.value("SHOW ff_engine.max_tail_wait", &[]);
    assert_eq!(limit, "30s");
    w.run("SET ff_engine.max_tail_wait = '300 ms'");
    let (rows, elapsed) = timed(&mut w, claim.id, "wait => '5 min'");
    assert_eq!(rows, NOTHING);
    assert!(
        (Duration::from_millis(290)..Duration::from_secs(2)).contains(&elapsed),
        "{elapsed:?}"
    );
    let (rows, elapsed) = seven.outcome();
    assert_eq!(rows, NOTHING);
    assert!(
        (Duration::from_millis(6_900)..Duration::from_millis(8_500)).contains(&elapsed),
        "{elapsed:?}"
    );
}

#[track_caller]
fn woken(mut w: World, limit: Duration) {
    let _machine = quiet();
    let claim = w.claimed("", "lease_ttl => '1 h'");
    let mut last = "0-0".to_string();
    let mut latencies = Vec::new();
    for _ in 0..5 {
        let tailer = Tailer::start(
            &mut w,
            claim.id,
            &format!("after_id => '{last}', wait => '10 s'"),
        );
        last = w.frame(&claim.handle, b"x", "");
        let (rows, latency) = tailer.outcome_since(Instant::now());
        assert_eq!(rows, ["x"]);
        latencies.push(latency);
    }
    latencies.sort();
    assert!(
        latencies[2] < limit,
        "the median wake-up took {:?}",
        latencies[2]
    );
}

#[test]
fn v_25_a_waiting_tail_is_woken_by_the_commit() {
    woken(World::new(), Duration::from_millis(100));
}

#[test]
fn v_25_without_preload_a_waiting_tail_polls() {
    woken(World::without_preload(), Duration::from_millis(600));
}

#[test]
fn v_26_the_end_of_a_stream_ends_the_wait() {
    let mut w = World::new();
    for frames in [0, 1] {
        let claim = w.claimed("", "lease_ttl => '1 h'");
        let mut last = "0-0".to_string();
        for _ in 0..frames {
            last = w.frame(&claim.handle, b"x", "");
        }
        let tailer = Tailer::start(
            &mut w,
            claim.id,
            &format!("after_id => '{last}', wait => '30 s'"),
        );
        w.complete(&claim.handle, None);
        let (rows, latency) = tailer.outcome_since(Instant::now());
        assert_eq!(rows, [". attempt_success"]);
        assert!(
            latency < Duration::from_secs(4),
            "not by its own look: {latency:?}"
        );
    }
    let claim = w.claimed("", "lease_ttl => '1 h'");
    let tailer = Tailer::start(&mut w, claim.id, "wait => '30 s'");
    w.run("BEGIN");
    w.frame(&claim.handle, b"last", "");
    w.complete(&claim.handle, None);
    w.run("COMMIT");
    assert_eq!(
        tailer.outcome(),
        ["last", ". attempt_success"],
        "both at once"
    );
}

#[test]
fn v_26_many_streams_that_end_together_wake_every_tail() {
    let mut w = World::new();
    w.create_several(40, "");
    let claims = w.claims("max_items => 40, lease_ttl => '1 h'");
    let handles: Vec<&String> = claims.iter().map(|claim| &claim.handle).collect();
    let tailers = [0, 39].map(|n| Tailer::start(&mut w, claims[n].id, "wait => '30 s'"));
    w.rows("SELECT * FROM ff_complete_many($1)", &[&handles]);
    let completed = Instant::now();
    for tailer in tailers {
        let (rows, latency) = tailer.outcome_since(completed);
        assert_eq!(rows, [". attempt_success"]);
        assert!(latency < Duration::from_secs(4), "{latency:?}");
    }
}

#[test]
fn v_26_hidden_frames_do_not_end_the_wait() {
    let mut w = World::new();
    let claim = w.claimed("", "lease_ttl => '1 h'");
    let tailer = Tailer::start(
        &mut w,
        claim.id,
        "wait => '30 s', visibility => 'exclude_best_effort'",
    );
    for _ in 0..5 {
        w.frame(&claim.handle, b"hidden", &best("1 min"));
        w.waits_in_its_statement(tailer.pid);
    }
    assert!(!tailer.rows.is_finished());
    w.frame(&claim.handle, b"shown", "");
    assert_eq!(tailer.outcome(), ["shown"]);
}

#[test]
fn v_26_waiting_needs_read_committed_and_ends_with_its_statement() {
    let mut w = World::new();
    let claim = w.claimed("", "lease_ttl => '1 h'");
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        w.run(&format!("BEGIN ISOLATION LEVEL {level}"));
        w.refused(
            "FF134",
            "SELECT * FROM ff_tail_stream($1, wait => '1 s')",
            &[&claim.id],
        );
        w.run(&format!("ROLLBACK; BEGIN ISOLATION LEVEL {level}"));
        assert!(w.tail_stream(claim.id, "").is_empty());
        w.run("ROLLBACK");
    }
    w.run("SET statement_timeout = '100 ms'");
    w.refused(
        "57014",
        "SELECT * FROM ff_tail_stream($1, wait => '30 s')",
        &[&claim.id],
    );
    w.run("RESET statement_timeout");
    let mut waiting = w.session();
    let (pid, id) = (waiting.pid(), claim.id);
    let cancelled = apart(move || {
        waiting
            .failure("SELECT * FROM ff_tail_stream($1, wait => '30 s')", &[&id])
            .sqlstate
    });
    w.waits_in_its_statement(pid);
    w.rows("SELECT pg_cancel_backend($1)", &[&pid]);
    assert_eq!(cancelled.outcome(), "57014");
}

#[test]
fn a_tail_that_starts_before_the_attempt_follows_it() {
    let mut w = World::new();
    let id = w.create("");
    let tailer = Tailer::start(&mut w, id, "wait => '30 s'");
    let claim = w.claim("");
    w.frame(&claim.handle, b"x", "");
    assert_eq!(tailer.outcome(), ["x"]);
}

#[test]
fn v_27_only_so_many_tails_wait_at_a_time() {
    let _machine = busy();
    let mut w = World::on(Cluster::roomy());
    let claim = w.claimed("", "lease_ttl => '1 h'");
    let id = claim.id;
    let tailers: Vec<_> = (0..64)
        .map(|_| {
            let door = w.door();
            apart(move || said(&door.open().tail_stream(id, "wait => '30 s'")))
        })
        .collect();
    let all_wait = eventually(Duration::from_secs(30), || {
        w.value::<i64>(
            "SELECT count(*) FROM pg_stat_activity
              WHERE datname = current_database() AND query LIKE '%ff_tail_stream%' AND wait_event = 'Extension'",
            &[],
        ) == 64
    });
    assert!(all_wait, "64 tails wait");
    let failure = w.refused(
        "FF502",
        "SELECT * FROM ff_tail_stream($1, wait => '1 s')",
        &[&id],
    );
    assert_eq!(
        (
            failure.detail["pool"].as_str(),
            failure.detail["max"].as_i64()
        ),
        (Some("tails"), Some(64))
    );
    assert!(
        w.tail_stream(id, "").is_empty(),
        "who does not wait is not counted"
    );
    let start = Instant::now();
    w.frame(&claim.handle, b"x", "");
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    for tailer in tailers {
        assert_eq!(tailer.outcome(), ["x"]);
    }
    assert_eq!(
        said(&w.tail_stream(id, "wait => '1 s'")),
        ["x"],
        "what is there is not waited for"
    );
}
