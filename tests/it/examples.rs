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
        Self::start_with(world, program, script, &["L", LEASE])
    }

    fn start_with(world: &World, program: &str, script: &str, arguments: &[&str]) -> Self {
        let mut path = std::env::var("FF_PG_BINDIR").unwrap_or_default();
        path = format!("{path}:{}", std::env::var("PATH").unwrap_or_default());
        let child = Command::new(program)
            .arg(checkout().join("examples").join(script))
            .args(arguments)
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
    assert!(eventually(Duration::from_secs(60), || waits(&mut w) == 0));
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

#[test]
fn the_approval_gate_in_python_asks_and_goes_on() {
    let mut w = World::on_wall_clock(Cluster::home());
    w.seed();
    let id = create(&mut w, "refund", "42 euros", "");
    let worker = Example::start(&w, "/usr/bin/python3", "approval.py");
    becomes(&mut w, id, "suspended");
    let open = w.one("SELECT * FROM ff_list_pending_waitpoints($1)", &[&id]);
    let names: Vec<String> = open.get("required_signal_names");
    assert_eq!(names, ["approved", "rejected"]);
    // Meanwhile the worker is free for other work.
    let other = create(&mut w, "refund", "7 euros", "");
    becomes(&mut w, other, "suspended");
    w.one(
        "SELECT * FROM ff_deliver_approval_signal($1, $2, 'approved', '1', source_identity => 'ada')",
        &[&id, &open.uuid("waitpoint_id")],
    );
    becomes(&mut w, id, "completed");
    assert_eq!(result(&mut w, id), "approved by ada");
    assert_eq!(w.attempt_words(id), ["0 initial ended_success"]);
    assert_eq!(state(&mut w, other), "suspended");
    assert_eq!(worker.terminate().code(), Some(0));
}

/// Status line and body of the answer to a request.
fn http(port: u16, request: &str) -> (u16, String) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("the bridge listens");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let status = answer
        .split_whitespace()
        .nth(1)
        .and_then(|n| n.parse().ok());
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    (status.unwrap_or_default(), body.to_string())
}

#[test]
fn the_webhook_in_node_turns_callbacks_into_signals() {
    let mut w = World::on_wall_clock(Cluster::home());
    let s = w.waiting("ff_cond_signal('callback', 'paid')");
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|free| free.local_addr())
        .expect("a free port")
        .port();
    let bridge = Example::start_with(&w, "node", "webhook.js", &[&port.to_string()]);
    let listening = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    assert!(eventually(PATIENCE, listening), "the bridge listens");
    let post = |token: &str, key: &str, name: &str| {
        let body = r#"{"amount": 42}"#;
        let request = format!(
            "POST /signals/{}?name={name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Idempotency-Key: {key}\r\nContent-Length: {}\r\n\r\n{body}",
            s.point().id,
            body.len()
        );
        http(port, &request)
    };
    let token = s.point().token;
    let forged = format!("k1:{}", "0".repeat(64));
    let (status, body) = post(&forged, "a", "paid");
    assert_eq!(status, 403, "{body}");
    assert!(!body.contains(&"0".repeat(64)), "{body}");
    assert_eq!(post(&token, "b", "received").0, 202);
    let (status, body) = post(&token, "c", "paid");
    assert_eq!(status, 202);
    assert!(body.contains("resume_condition_satisfied"), "{body}");
    assert_eq!(post(&token, "c", "paid").0, 200, "a repeat is no error");
    assert_eq!(post(&token, "d", "paid").0, 409, "somebody was quicker");
    assert_eq!(
        http(
            port,
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .0,
        404
    );
    let again = w.reclaimed(&s);
    let signal = w.one("SELECT * FROM ff_observe_signals($1)", &[&again.handle]);
    assert_eq!(signal.bytes("payload"), Some(br#"{"amount": 42}"#.to_vec()));
    assert_eq!(signal.text("source_type"), "webhook");
    assert_eq!(bridge.terminate().code(), Some(0));
}

#[test]
fn the_two_person_approval_in_sql_works() {
    let mut w = World::on_wall_clock(Cluster::home());
    let program = std::env::var("FF_PG_BINDIR").map_or("psql".into(), |dir| dir + "/psql");
    let output = Command::new(program)
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &w.database])
        .args(["-h", &w.cluster.host, "-p", &w.cluster.port.to_string()])
        .args(["-U", &w.cluster.user, "-f"])
        .arg(checkout().join("examples/two_person_approval.sql"))
        .output()
        .expect("psql runs");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{printed}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for promised in [
        "the launch is suspended",
        "appended_to_waitpoint_duplicate",
        "ada and bob",
    ] {
        assert!(printed.contains(promised), "{promised}: {printed}");
    }
    assert_eq!(w.executions_in("completed"), 1);
}
