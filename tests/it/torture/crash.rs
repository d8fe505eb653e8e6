//! Sudden ends: of a backend, of a background worker, of the server (§70.8).

use std::process::Command;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use super::worker::{Habits, Journal};
use super::{Crew, audit};
use crate::support::cluster::Cluster;
use crate::support::pace::{busy, eventually, torture_time};
use crate::support::{Cells, World};

/// How long a busy machine may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// A crash ends every session of its server: one of these tests at a time, on a server apart.
pub fn alone_on_the_crash_server() -> (MutexGuard<'static, ()>, World) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let guard = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let cluster = Cluster::named("crash");
    // A test that failed may have left it in the middle of a recovery.
    let answers = eventually(PATIENCE, || cluster.answers());
    assert!(answers, "the crash server answers");
    (guard, World::on_wall_clock(cluster))
}

/// Sudden ends per test: a few, or twenty when there is time for them.
fn rounds() -> u64 {
    (torture_time().as_secs() / 30).clamp(3, 20)
}

/// Returns when the crew has completed this many more.
pub fn completes(w: &mut World, more: i64) {
    let before = w.executions_in("completed");
    let done = eventually(PATIENCE, || w.executions_in("completed") >= before + more);
    assert!(done, "the crew works");
}

/// Whether the process was still there to be killed.
pub fn kill_9(pid: i32) -> bool {
    let killed = Command::new("kill")
        .args(["-9", &pid.to_string()])
        .output()
        .expect("kill can be run");
    killed.status.success()
}

/// Whether the server notices the sudden end of one of its processes, and ends every session for it. It does not if the
/// process was about to leave anyway.
pub fn goes_down(w: &mut World) -> bool {
    eventually(Duration::from_secs(60), || {
        w.simple_query("SELECT 1").is_err()
    })
}

/// Returns when the server answers again.
pub fn comes_back(w: &mut World) {
    let door = w.door();
    let answers = eventually(PATIENCE, || {
        door.try_open()
            .is_ok_and(|mut client| client.simple_query("SELECT 1").is_ok())
    });
    assert!(answers, "the server is back");
    w.reconnect();
}

/// Returns when the server has gone down and come back.
fn reconnect(w: &mut World) {
    assert!(goes_down(w), "the old session has ended");
    comes_back(w);
}

#[test]
fn o_7_an_immediate_stop_loses_no_acknowledged_create_complete_or_signal() {
    let _machine = busy();
    let (_guard, mut w) = alone_on_the_crash_server();
    let mut journal = Journal::default();
    for _ in 0..rounds() {
        let crew = Crew::start(&w.door(), 16, Habits::steady());
        completes(&mut w, 200);
        w.cluster.crash();
        let told = crew.finish();
        w.cluster.start();
        reconnect(&mut w);
        journal = journal.joined(told);
        audit::check(&mut w, &journal);
    }
    assert!(!journal.signals.is_empty(), "signals were acknowledged");
    audit::finish_all(&mut w);
    audit::check(&mut w, &journal);
}

#[test]
fn a_killed_backend_loses_no_acknowledged_create_or_complete() {
    let _machine = busy();
    let (_guard, mut w) = alone_on_the_crash_server();
    let mut journal = Journal::default();
    for _ in 0..rounds() {
        let crew = Crew::start(&w.door(), 8, Habits::steady());
        completes(&mut w, 200);
        let killed = eventually(PATIENCE, || {
            let victims = w.rows(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database()
                    AND application_name = 'torture' ORDER BY random() LIMIT 1",
                &[],
            );
            victims.first().is_some_and(|row| kill_9(row.int("pid")))
        });
        assert!(killed, "one of the crew is there to be killed");
        reconnect(&mut w);
        completes(&mut w, 50);
        journal = journal.joined(crew.finish());
        audit::check(&mut w, &journal);
    }
    audit::finish_all(&mut w);
    audit::check(&mut w, &journal);
}

#[test]
fn o_3_a_killed_background_worker_comes_back_and_nothing_is_lost() {
    let _machine = busy();
    let (_guard, mut w) = alone_on_the_crash_server();
    let pid = background_worker(&mut w, 0);
    let crew = Crew::start(&w.door(), 4, Habits::steady());
    completes(&mut w, 100);
    assert!(kill_9(pid), "the worker stays");
    reconnect(&mut w);
    let journal = crew.finish();
    assert_ne!(background_worker(&mut w, pid), pid);
    audit::check(&mut w, &journal);
    let claim = w.claimed("priority => 9000", "lease_ttl => '300 ms'");
    let expired = eventually(PATIENCE, || {
        w.vector(claim.id)
            .starts_with("active/lease_expired_reclaimable")
    });
    assert!(expired, "the new worker works");
    audit::finish_all(&mut w);
    audit::check(&mut w, &journal);
}

/// The process id of this database's worker, once there is one other than `not`.
fn background_worker(w: &mut World, not: i32) -> i32 {
    let mut pid = 0;
    let found = eventually(PATIENCE, || {
        let rows = w.rows(
            "SELECT pid FROM pg_stat_activity
              WHERE datname = current_database() AND backend_type LIKE 'ff_engine%' AND pid <> $1",
            &[&not],
        );
        pid = rows.first().map_or(0, |row| row.int("pid"));
        pid != 0
    });
    assert!(found, "a background worker runs in the database");
    pid
}
