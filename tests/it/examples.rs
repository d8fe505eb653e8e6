//! The workers of `examples/`, each a process of its own against the real server: they work, renew the leases of
//! long work, report failures, and end in an orderly way on SIGTERM.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use uuid::Uuid;

use crate::support::cluster::{Cluster, checkout};
use crate::support::pace::eventually;
use crate::support::{Cells, World};

const PATIENCE: Duration = Duration::from_secs(60);
/// Long work takes longer than this, in seconds.
const LEASE: &str = "3";

/// A running example.
struct Example(Child);

impl Example {
    fn start(world: &World, program: &str, script: &str) -> Self {
        let mut path = std::env::var("FF_PG_BINDIR").unwrap_or_default();
        path = format!("{path}:{}", std::env::var("PATH").unwrap_or_default());
        let child = Command::new(program)
            .arg(checkout().join("examples").join(script))
            .args(["L", LEASE])
            .env("PATH", path)
            .env("PGHOST", &world.cluster.host)
            .env("PGPORT", world.cluster.port.to_string())
            .env("PGUSER", &world.cluster.user)
            .env("PGDATABASE", &world.database)
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("{program} cannot be run: {e}"));
        Self(child)
    }

    /// Asks it to end, and returns how it did.
    fn terminate(mut self) -> ExitStatus {
        let pid = self.0.id().to_string();
        let killed = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(killed.is_ok_and(|status| status.success()), "kill {pid}");
        let mut ended = None;
        eventually(PATIENCE, || {
            ended = self.0.try_wait().expect("the state of a child");
            ended.is_some()
        });
        ended.expect("the worker ends")
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn create(w: &mut World, kind: &str, payload: &str, more: &str) -> Uuid {
    let sql = format!("SELECT * FROM ff_create_execution('L', $1, $2{more})");
    w.one(&sql, &[&kind, &payload.as_bytes()])
        .uuid("execution_id")
}

fn state(w: &mut World, id: Uuid) -> String {
    w.value("SELECT ff_read_execution_state($1)", &[&id])
}

fn result(w: &mut World, id: Uuid) -> String {
    w.value(
        "SELECT convert_from(result, 'UTF8') FROM ff_get_execution_result($1)",
        &[&id],
    )
}

#[track_caller]
fn becomes(w: &mut World, id: Uuid, wanted: &str) {
    let mut last = String::new();
    let reached = eventually(PATIENCE, || {
        last = state(w, id);
        last == wanted
    });
    assert!(reached, "{wanted} is expected, it is {last}");
}

/// The behaviour that all examples share.
fn is_a_good_worker(program: &str, script: &str) {
    let mut w = World::on_wall_clock(Cluster::home());
    let shouts: Vec<Uuid> = (0..5)
        .map(|i| create(&mut w, "shout", &format!("hello {i}"), ""))
        .collect();
    let nap = create(&mut w, "sleep", "5", "");
    let policy =
        r#"{"retry_policy": {"max_retries": 1, "backoff": {"type": "fixed", "delay_ms": 1}}}"#;
    let riddle = create(&mut w, "riddle", "", &format!(", policy => '{policy}'"));

    let worker = Example::start(&w, program, script);
    for (i, id) in shouts.iter().enumerate() {
        becomes(&mut w, *id, "completed");
        assert_eq!(result(&mut w, *id), format!("HELLO {i}"));
    }
    becomes(&mut w, riddle, "failed");
    let described = w.one("SELECT * FROM ff_describe_execution($1)", &[&riddle]);
    assert_eq!(described.int("total_attempt_count"), 2);
    assert_eq!(described.text("failure_reason"), "no idea how to riddle");
    becomes(&mut w, nap, "completed");
    let described = w.one("SELECT * FROM ff_describe_execution($1)", &[&nap]);
    assert_eq!(described.big("lease_epoch"), 1, "the lease was renewed");
    assert!(w.event_words(nap).contains(&"lease.renewed".into()));

    // Told to end, it ends the work in hand and takes no more.
    let last = create(&mut w, "sleep", "1", "");
    becomes(&mut w, last, "active");
    let left = create(&mut w, "shout", "later", "");
    assert_eq!(worker.terminate().code(), Some(0));
    assert_eq!(state(&mut w, last), "completed");
    assert_eq!(state(&mut w, left), "waiting");

    // Told to end while it waits, it ends, and so does its wait on the server.
    let worker = Example::start(&w, program, script);
    becomes(&mut w, left, "completed");
    assert!(eventually(PATIENCE, || waits(&mut w) == 1), "it waits");
    assert_eq!(worker.terminate().code(), Some(0));
    assert!(eventually(Duration::from_secs(5), || waits(&mut w) == 0));
}

/// Sessions of the world's database that wait for work.
fn waits(w: &mut World) -> i64 {
    w.value(
        "SELECT count(*) FROM pg_stat_activity
          WHERE datname = current_database() AND state = 'active' AND query LIKE 'CALL ff\\_wait\\_for\\_work(%'",
        &[],
    )
}

#[test]
fn the_worker_in_python_works() {
    // Debian's package of psycopg belongs to Debian's Python.
    is_a_good_worker("/usr/bin/python3", "worker.py");
}

#[test]
fn the_worker_in_node_works() {
    is_a_good_worker("node", "worker.js");
}

#[test]
fn the_worker_in_bash_works() {
    is_a_good_worker("bash", "worker.sh");
}

#[test]
fn a_killed_worker_s_execution_is_finished_by_one_in_another_language() {
    let mut w = World::on_wall_clock(Cluster::home());
    let id = create(&mut w, "sleep", "2", "");
    let doomed = Example::start(&w, "/usr/bin/python3", "worker.py");
    becomes(&mut w, id, "active");
    drop(doomed);
    let _rescuer = Example::start(&w, "node", "worker.js");
    becomes(&mut w, id, "completed");
    assert_eq!(
        w.attempt_words(id),
        ["0 initial interrupted_reclaimed", "1 reclaim ended_success"]
    );
}
