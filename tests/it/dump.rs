//! A dump of a live engine, restored into another database, goes on where it was (§70.2).

use std::process::{Command, Stdio};

use uuid::Uuid;

use crate::support::cluster::Cluster;
use crate::support::contents::Contents;
use crate::support::session::HEAD_START_MS;
use crate::support::stream::best;
use crate::support::template::{drop_database, empty_database};
use crate::support::waiting::{READY, Waiting};
use crate::support::world::assert_invariants;
use crate::support::{Cells, Session, World};

/// A database with the dump of another one.
struct Copy {
    cluster: Cluster,
    database: String,
}

impl Copy {
    /// None where the server comes without the programs.
    fn of(w: &World, onto: &Cluster) -> Option<Self> {
        let (Some(mut dump), Some(mut restore)) =
            (w.cluster.program("pg_dump"), onto.program("pg_restore"))
        else {
            eprintln!("this server is installed without pg_dump: nothing to see");
            return None;
        };
        let copy = Self {
            cluster: onto.clone(),
            database: empty_database(onto),
        };
        let mut dump = dump
            .args(["-Fc", &w.database])
            .stdout(Stdio::piped())
            .spawn()
            .expect("pg_dump can be run");
        let archive = dump.stdout.take().expect("an archive");
        let restored = run(restore
            .args(["--exit-on-error", "-d", &copy.database])
            .stdin(archive));
        assert!(restored.is_empty(), "{restored}");
        assert!(dump.wait().expect("pg_dump ends").success());
        Some(copy)
    }

    fn session(&self) -> Session {
        Session::open(&self.cluster, &self.database, HEAD_START_MS)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        drop_database(&self.cluster, &self.database);
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("the program can be run");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn counts(s: &mut Session) -> Vec<(String, i64)> {
    s.rows("SELECT * FROM ff_count_executions()", &[])
        .iter()
        .map(|row| (row.text("public_state"), row.big("executions")))
        .collect()
}

/// What a dump takes along: all but the signing keys.
fn dumped(s: &mut Session) -> Contents {
    let mut contents = s.contents();
    let keys = contents.remove("ff_engine.waitpoint_secret");
    assert!(keys.is_some());
    contents
}

/// A thousand executions in every state there is, and what else an engine remembers.
struct Life {
    held: Vec<crate::support::Claim>,
    suspended: Waiting,
    delayed: Uuid,
    retried: Uuid,
}

fn live(w: &mut World) -> Life {
    w.rows(
        "SELECT * FROM ff_create_many('L', 'k', array_fill('\\x01'::bytea, ARRAY[950]), tags => '{\"app.n\":\"1\"}')",
        &[],
    );
    for claim in w.claims("max_items => 300") {
        w.complete(&claim.handle, Some(b"done"));
    }
    for claim in w.claims("max_items => 20") {
        w.fail(&claim.handle, "broken", "classification => 'permanent'");
    }
    for claim in w.claims("max_items => 20") {
        w.one("SELECT * FROM ff_cancel($1, 'unwanted')", &[&claim.handle]);
    }
    w.create("execution_deadline => ff_server_time() + interval '1 ms', priority => 9000");
    w.advance_ms(100);
    w.rows("SELECT * FROM ff_tick()", &[]);
    let retries =
        r#"{"retry_policy":{"max_retries":3,"backoff":{"type":"fixed","delay_ms":60000}}}"#;
    let retried = w.create(&format!("policy => '{retries}', priority => 9000"));
    let claim = w.claim("");
    assert_eq!(claim.id, retried);
    w.fail(&claim.handle, "later", "");
    w.seed();
    let claim = w.claimed("priority => 9000", "");
    let suspended = w.suspended(claim, READY);
    let delayed =
        w.create("delay_until => ff_server_time() + interval '1 min', idempotency_key => 'once'");
    for n in 0..10 {
        let id = w.create(&format!("namespace => 'tenant-{n}'"));
        w.one(
            "SELECT * FROM ff_block_execution($1, 'paused_by_operator')",
            &[&id],
        );
    }
    let replayed = w.create("priority => 9000");
    w.claim("");
    w.one(
        "SELECT * FROM ff_cancel_execution($1, 'no', 'operator_override')",
        &[&replayed],
    );
    w.one("SELECT * FROM ff_replay_execution($1, 'yes')", &[&replayed]);
    w.one(
        "SELECT * FROM ff_set_lane('other', 'paused', 'because', '1 d')",
        &[],
    );
    w.one(
        "SELECT * FROM ff_register_worker('w', 'w-1', ARRAY['L'], liveness_ttl => '1 h')",
        &[],
    );
    let held = w.claims("max_items => 3, lease_ttl => '1 min'");
    w.frame(&held[1].handle, b"before", "");
    w.frame(&held[1].handle, b"{}", "mode => 'durable_summary'");
    Life {
        held,
        suspended,
        delayed,
        retried,
    }
}

fn goes_on(copy: &mut Session, life: &Life) {
    let [completed, renewed, lost] = life.held.as_slice() else {
        panic!("three are held")
    };
    assert_eq!(
        copy.complete(&completed.handle, Some(b"moved"))
            .text("outcome"),
        "completed"
    );
    copy.one("SELECT * FROM ff_renew($1, '1 h')", &[&renewed.handle]);
    for mode in ["", "mode => 'durable_summary'", &best("1 h")] {
        copy.frame(&renewed.handle, b"{}", mode);
    }
    assert_eq!(copy.output(renewed.id, "").len(), 5);
    assert_eq!(
        copy.summary(renewed.id).map(|(version, _)| version),
        Some(2)
    );
    let waiting = &life.suspended;
    copy.undeliverable("FF108", &waiting.point(), "");
    copy.seed();
    assert_eq!(
        copy.effect(&waiting.point(), "ready"),
        "resume_condition_satisfied",
        "an old token is good again with the key that signed it"
    );
    let resumed = copy.claim("");
    assert_eq!((resumed.id, resumed.kind.as_str()), (waiting.id, "resumed"));
    let again = copy.create_row("idempotency_key => 'once'");
    assert_eq!(again.text("outcome"), "duplicate");
    assert_eq!(again.uuid("execution_id"), life.delayed);
    let created = copy.create("priority => 9000");
    assert_eq!(copy.claim("").id, created, "what is new is claimed");

    copy.advance_ms(61_000);
    let due: Vec<Uuid> = copy
        .claims("max_items => 1000")
        .iter()
        .map(|c| c.id)
        .collect();
    for id in [life.delayed, life.retried, lost.id] {
        assert!(due.contains(&id), "{id} is handed out when it is due");
    }
    assert!(!due.contains(&renewed.id), "a renewed lease holds");
    let lane = copy.one("SELECT * FROM ff_lanes WHERE lane = 'other'", &[]);
    assert_eq!(
        (lane.text("state"), lane.text("reason")),
        ("paused".into(), "because".into())
    );
    copy.one("SELECT * FROM ff_set_lane('third')", &[]);
    assert_invariants(copy);
}

#[test]
fn o_6_part_a_restored_dump_goes_on_where_it_was() {
    let mut w = World::with_roles();
    let life = live(&mut w);
    let login = w.login("tenant", "ff_worker");
    w.one("SELECT ff_grant_namespace($1, 'tenant-7')", &[&login]);
    let (before, states) = (dumped(&mut w), counts(&mut w));
    assert!(states.len() >= 7, "{states:?}");
    let Some(copy) = Copy::of(&w, &w.cluster) else {
        return;
    };
    let mut session = copy.session();
    session.set_offset_ms(w.offset_ms());
    assert_eq!(dumped(&mut session), before);
    assert_eq!(counts(&mut session), states);
    let mut tenant = copy.session();
    tenant.run(&format!("SET SESSION AUTHORIZATION {login}"));
    let seen = tenant.rows("SELECT namespace FROM ff_executions", &[]);
    assert_eq!(seen.len(), 1, "rights and bindings have moved too");
    assert_eq!(seen[0].text("namespace"), "tenant-7");

    let events = |s: &mut Session| {
        s.rows("SELECT * FROM ff_read_events('start', max_items => 1)", &[])
            .len()
    };
    assert_eq!((events(&mut session), events(&mut w)), (1, 1));
    goes_on(&mut session, &life);
    assert_eq!(
        dumped(&mut w),
        before,
        "the one it was taken from is another one"
    );
}

#[test]
fn o_6_part_a_dump_is_restored_on_another_server() {
    let mut w = World::new();
    let life = live(&mut w);
    let states = counts(&mut w);
    let Some(copy) = Copy::of(&w, &Cluster::named("nopreload")) else {
        return;
    };
    let mut session = copy.session();
    session.set_offset_ms(w.offset_ms());
    assert_eq!(counts(&mut session), states);
    goes_on(&mut session, &life);
}
