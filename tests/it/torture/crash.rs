//! Sudden ends: of a backend, of a background worker, of the server (§70.8).

use std::process::Command;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use super::worker::{Habits, Journal};
use super::{Crew, audit};
use crate::support::cluster::Cluster;
use crate::support::pace::{busy, eventually, torture_time};
use crate::support::{Cells, World};

/// A crash ends every session of its server: one of these tests at a time, on a server apart.
pub fn alone_on_the_crash_server() -> (MutexGuard<'static, ()>, World) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let guard = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    (guard, World::on_wall_clock(Cluster::named("crash")))
}

/// Sudden ends per test: a few, or twenty when there is time for them.
fn rounds() -> u64 {
    (torture_time().as_secs() / 30).clamp(3, 20)
}

/// Returns when the crew has completed this many more.
fn completes(w: &mut World, more: i64) {
    let before = w.executions_in("completed");
    let done = eventually(Duration::from_secs(60), || {
        w.executions_in("completed") >= before + more
    });
    assert!(done, "the crew works");
}

pub fn kill_9(pid: i32) {
    let status = Command::new("kill")
        .args(["-9", &pid.to_string()])
        .status()
        .expect("kill can be run");
    assert!(status.success(), "kill -9 {pid}");
}

/// Returns when the server has noticed the sudden end of one of its processes, has ended every
/// session for it, and answers again.
pub fn reconnect(w: &mut World) {
    let noticed = eventually(Duration::from_secs(30), || {
        w.simple_query("SELECT 1").is_err()
    });
    assert!(noticed, "the old session has ended");
    let door = w.door();
    let answers = eventually(Duration::from_secs(30), || {
        door.try_open()
            .is_ok_and(|mut client| client.simple_query("SELECT 1").is_ok())
    });
    assert!(answers, "the server is back");
    w.reconnect();
}

#[test]
fn an_immediate_stop_loses_no_acknowledged_create_or_complete() {
    let _machine = busy();
    let (_guard, mut w) = alone_on_the_crash_server();
    let mut journal = Journal::default();
    for _ in 0..rounds() {
        let crew = Crew::start(&w.door(), 8, Habits::steady());
        completes(&mut w, 200);
        w.cluster.crash();
        let told = crew.finish();
        w.cluster.start();
        reconnect(&mut w);
        journal = journal.joined(told);
        audit::check(&mut w, &journal);
    }
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
        let victim: i32 = w.value(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()
                AND application_name = 'torture' ORDER BY random() LIMIT 1",
            &[],
        );
        kill_9(victim);
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
    kill_9(pid);
    reconnect(&mut w);
    let journal = crew.finish();
    assert_ne!(background_worker(&mut w, pid), pid);
    audit::check(&mut w, &journal);
    let claim = w.claimed("priority => 9000", "lease_ttl => '300 ms'");
    let expired = eventually(Duration::from_secs(5), || {
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
    let found = eventually(Duration::from_secs(30), || {
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
