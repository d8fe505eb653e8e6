//! A physical standby (§70.3, §70.7): it can be read, refuses to be written with the server's own error, and goes on
//! after its promotion.

use std::time::{Duration, Instant};

use crate::bad_input::sweep::{call, public_functions};
use crate::support::cluster::Cluster;
use crate::support::pace::{eventually, quiet};
use crate::support::stream::best;
use crate::support::{Cells, Session, World};

/// A primary with a world in it, and its standby.
struct Pair {
    world: World,
    standby: Cluster,
}

impl Pair {
    /// None where the server comes without the programs.
    fn new(name: &str) -> Option<Self> {
        let primary = Cluster::named(&format!("ha-{name}"));
        if primary.program("pg_basebackup").is_none() {
            eprintln!("this server is installed without pg_basebackup: nothing to see");
            return None;
        }
        let standby = primary.standby(&format!("ha-{name}-copy"));
        let mut world = World::on_wall_clock(primary);
        world.rows("SELECT * FROM ff_create_roles()", &[]);
        Some(Self { world, standby })
    }

    /// Waits until the standby shows what has been committed.
    fn catch_up(&mut self) {
        let written: String = self
            .world
            .value("SELECT pg_current_wal_flush_lsn()::text", &[]);
        let mut watch = self.standby.maintenance();
        let shown = eventually(Duration::from_secs(60), || {
            watch
                .query_one(
                    "SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn",
                    &[&written],
                )
                .expect("the standby answers")
                .get(0)
        });
        assert!(shown, "the standby follows");
    }

    /// A session on the standby that sees what has been committed.
    fn session(&mut self) -> Session {
        self.catch_up();
        Session::open(&self.standby, &self.world.database, 0)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        crate::support::cluster::script(&["drop", &self.standby.name]);
    }
}

/// Reads that answer on a standby as they do on the primary.
const READS: [&str; 18] = [
    "SELECT * FROM ff_describe_execution($1)",
    "SELECT * FROM ff_read_execution_info($1)",
    "SELECT ff_read_execution_state($1)",
    "SELECT * FROM ff_read_execution_context($1)",
    "SELECT * FROM ff_list_attempts($1)",
    "SELECT * FROM ff_lease_history($1)",
    "SELECT * FROM ff_execution_events($1)",
    "SELECT * FROM ff_read_stream($1)",
    "SELECT * FROM ff_tail_stream($1, wait => '1 s')",
    "SELECT * FROM ff_read_summary($1)",
    "SELECT * FROM ff_stream_status($1)",
    "SELECT * FROM ff_list_executions() WHERE $1::uuid IS NOT NULL",
    "SELECT * FROM ff_count_executions() WHERE $1::uuid IS NOT NULL",
    "SELECT * FROM ff_list_lanes() WHERE $1::uuid IS NOT NULL",
    "SELECT * FROM ff_list_workers() WHERE $1::uuid IS NOT NULL",
    "SELECT event_id, event_type FROM ff_read_events('start') WHERE $1::uuid IS NOT NULL",
    "SELECT * FROM ff_leases WHERE $1::uuid IS NOT NULL",
    "SELECT * FROM ff_check_invariants() WHERE $1::uuid IS NOT NULL",
];

#[test]
fn o_11_a_standby_is_read_and_refuses_to_be_written() {
    let Some(mut pair) = Pair::new("read") else {
        return;
    };
    let id = pair.world.create("namespace => 'a', payload => 'x'");
    pair.world.create("namespace => 'b'");
    let claim = pair.world.claim("namespace => 'a', lease_ttl => '1 h'");
    pair.world.one(
        "SELECT * FROM ff_register_worker('w', 'w-1', ARRAY['L'])",
        &[],
    );
    pair.world.frame(&claim.handle, b"x", "");
    pair.world
        .frame(&claim.handle, b"{}", "mode => 'durable_summary'");
    let mut standby = pair.session();
    for read in READS {
        let text = |s: &mut Session| -> Vec<String> {
            s.rows(&format!("SELECT r::text AS row FROM ({read}) AS r"), &[&id])
                .iter()
                .map(|row| row.text("row"))
                .collect()
        };
        let found = text(&mut standby);
        assert_eq!(found, text(&mut pair.world), "{read}");
        assert_eq!(
            found.is_empty(),
            read.contains("ff_check_invariants"),
            "{read}"
        );
    }
    let outcome = standby.one("CALL ff_wait_for_work('L', '1 s')", &[]);
    assert_eq!(outcome.text("outcome"), "work");
    pair.world.frame(&claim.handle, b"x", &best("1 min"));
    pair.catch_up();
    assert_eq!(pair.world.output(id, "").len(), 3);
    assert_eq!(standby.output(id, "").len(), 2, "best-effort frames stay");

    for write in [
        "SELECT * FROM ff_create_execution('L', 'k')",
        "SELECT * FROM ff_create_execution('new', 'k', namespace => 'new')",
        "SELECT * FROM ff_claim('L', 'w')",
        "SELECT * FROM ff_complete($1)",
        "SELECT * FROM ff_renew($1)",
        "SELECT * FROM ff_append_frame($1, 'x')",
        "SELECT * FROM ff_set_lane('L', 'paused')",
        "SELECT * FROM ff_grant_namespace('ff_worker', 'a')",
    ] {
        let handle: &[&(dyn postgres::types::ToSql + Sync)] = if write.contains("$1") {
            &[&claim.handle]
        } else {
            &[]
        };
        standby.refused("25006", write, handle);
    }
    // Whatever is called, it is answered, refused for its arguments, or refused by the server for writing.
    for (name, procedure, arguments) in public_functions(&mut pair.world) {
        let call = call(&name, procedure, &arguments, usize::MAX, "")
            .replace("$1", &format!("'{}'", claim.handle));
        if let Err(e) = standby.query(&call, &[]) {
            let code = e.code().map_or("", |code| code.code()).to_owned();
            assert!(code == "25006" || code.starts_with("FF"), "{call}\n{e:?}");
        }
    }
}

#[test]
fn a_binding_reaches_the_sessions_of_a_standby() {
    let Some(mut pair) = Pair::new("bind") else {
        return;
    };
    let login = pair.world.login("a", "ff_reader");
    pair.world.create("namespace => 'a'");
    pair.world.create("namespace => 'b'");
    let mut reader = pair.session();
    reader.run(&format!("SET SESSION AUTHORIZATION {login}"));
    let count = |s: &mut Session| s.rows("SELECT * FROM ff_executions", &[]).len();
    assert_eq!(count(&mut reader), 2);
    pair.world
        .one("SELECT ff_grant_namespace($1, 'a')", &[&login]);
    pair.catch_up();
    assert_eq!(count(&mut reader), 1);
    pair.world
        .one("SELECT ff_revoke_namespace($1, 'a')", &[&login]);
    pair.catch_up();
    assert_eq!(count(&mut reader), 2);
}

#[test]
fn o_11_after_its_promotion_the_work_of_a_lost_worker_goes_on() {
    let _machine = quiet();
    let Some(mut pair) = Pair::new("promote") else {
        return;
    };
    let id = pair.world.create("");
    let lost = pair.world.claim("lease_ttl => '2 s'");
    let mut session = pair.session();
    pair.world.will_break_invariants();
    pair.world.cluster.crash();
    session.run("SELECT pg_promote()");
    let promoted = Instant::now();
    let mut waiter = Session::open(&pair.standby, &pair.world.database, 0);
    let claim = loop {
        let mut claims = waiter.claims("wait => '5 s'");
        if let Some(claim) = claims.pop() {
            break claim;
        }
        assert!(
            promoted.elapsed() < Duration::from_secs(20),
            "nothing was recovered"
        );
    };
    assert_eq!((claim.id, claim.epoch), (id, lost.epoch + 1));
    assert!(
        promoted.elapsed() < Duration::from_secs(3),
        "{:?}",
        promoted.elapsed()
    );
    session.refused("FF401", "SELECT * FROM ff_complete($1)", &[&lost.handle]);
    session.complete(&claim.handle, None);
    assert_eq!(session.state(id), "completed");
    session.create("");
    // A worker of the database starts by itself.
    let mut watch = pair.standby.maintenance();
    let database = pair.world.database.clone();
    let works = eventually(Duration::from_secs(60), || {
        let sql = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = $1 AND backend_type LIKE 'ff_engine%'";
        watch
            .query_one(sql, &[&database])
            .expect("the server answers")
            .get(0)
    });
    assert!(works, "the background worker is back");
    pair.world.cluster.start();
    pair.world.reconnect();
}
