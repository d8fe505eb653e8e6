//! Watching the engine at work: checks and numbers (§70.6).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::cluster::Cluster;
use crate::support::pace::eventually;
use crate::support::{Cells, Session, World};

/// Check → status and what was observed.
fn health(s: &mut Session) -> BTreeMap<String, (String, String)> {
    s.rows("SELECT * FROM ff_health()", &[])
        .iter()
        .map(|row| {
            for column in ["meaning", "action"] {
                assert!(!row.text(column).is_empty());
            }
            (
                row.text("check_name"),
                (row.text("status"), row.text("observed")),
            )
        })
        .collect()
}

fn status(s: &mut Session, check: &str) -> String {
    let checks = health(s);
    let Some((status, _)) = checks.get(check) else {
        panic!("no check {check} among {checks:?}");
    };
    status.clone()
}

#[test]
fn a_well_engine_is_well() {
    let mut w = World::on_wall_clock(Cluster::home());
    w.create("");
    let well = eventually(Duration::from_secs(60), || {
        let checks = health(&mut w);
        let mine = |name: &str| !["settings", "oldest_snapshot", "dead_rows"].contains(&name);
        checks
            .iter()
            .all(|(name, (status, _))| status == "ok" || !mine(name))
    });
    assert!(well, "{:?}", health(&mut w));
    let reconcilers = w.rows("SELECT * FROM ff_stat_reconcilers", &[]);
    let checks = health(&mut w);
    for row in &reconcilers {
        assert!(checks.contains_key(&format!("reconciler_{}", row.text("reconciler"))));
    }
    let ticked = w.rows("SELECT reconciler FROM ff_tick()", &[]);
    assert_eq!(
        reconcilers
            .iter()
            .map(|row| row.text("reconciler"))
            .collect::<Vec<_>>(),
        ticked
            .iter()
            .map(|row| row.text("reconciler"))
            .collect::<Vec<_>>(),
        "one each, in the order of a tick"
    );
}

#[test]
fn without_preload_and_worker_it_says_so() {
    let mut w = World::without_preload();
    assert_eq!(status(&mut w, "preload"), "warn");
    assert_eq!(status(&mut w, "background_work"), "fail");
    w.run("SELECT * FROM ff_start_workers()");
    assert_eq!(status(&mut w, "background_work"), "ok");
    w.run("SELECT * FROM ff_stop_workers()");
}

#[test]
fn what_is_due_and_not_done_is_told_by_reconciler() {
    let mut w = World::without_preload();
    w.create("delay_until => ff_server_time() + interval '1 s'");
    w.claimed("", "lease_ttl => '1 s'");
    assert_eq!(status(&mut w, "reconciler_delayed"), "ok");
    w.advance_ms(20_000);
    assert_eq!(status(&mut w, "reconciler_delayed"), "warn");
    assert_eq!(status(&mut w, "reconciler_lease_expiry"), "warn");
    assert_eq!(status(&mut w, "reconciler_attempt_timeout"), "ok");
    w.advance_ms(3_600_000);
    assert_eq!(status(&mut w, "reconciler_delayed"), "fail");
    w.run("SELECT * FROM ff_tick()");
    assert_eq!(status(&mut w, "reconciler_delayed"), "ok");
    assert_eq!(status(&mut w, "reconciler_lease_expiry"), "ok");
    assert_eq!(status(&mut w, "lost_leases"), "fail");
    assert_eq!(status(&mut w, "backlog"), "warn");
    w.claims("max_items => 2");
    assert_eq!(status(&mut w, "lost_leases"), "ok");
    assert_eq!(status(&mut w, "backlog"), "ok");
}

#[test]
fn a_contradiction_in_the_rows_is_found() {
    let mut w = World::new();
    let id = w.create("");
    assert_eq!(status(&mut w, "invariants"), "ok");
    w.will_break_invariants();
    w.run(&format!(
        "DELETE FROM ff_engine.ready WHERE execution_id = '{id}'"
    ));
    let checks = health(&mut w);
    let (status, observed) = &checks["invariants"];
    assert_eq!(status, "fail");
    assert!(observed.contains(&id.to_string()), "{observed}");
}

#[test]
fn a_snapshot_that_is_held_is_named() {
    let mut w = World::new();
    let mut other = w.session();
    other.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    other.run("SELECT 1");
    let observed = health(&mut w)["oldest_snapshot"].1.clone();
    assert!(observed.contains("has been open for"), "{observed}");
    other.run("COMMIT");
}

#[test]
fn lanes_are_counted_by_state() {
    let mut w = World::new();
    let first = w.create("");
    w.create_several(2, "");
    w.create("delay_until => ff_server_time() + interval '1 h'");
    w.run("SELECT * FROM ff_create_execution('M', 'k')");
    w.one("SELECT * FROM ff_set_lane('M', 'paused')", &[]);
    let claim = w.claim("");
    assert_eq!(claim.id, first);
    w.complete(&claim.handle, None);
    let rows = w.rows("SELECT * FROM ff_stat_lanes ORDER BY lane", &[]);
    let line = |row: &postgres::Row| {
        let n = |column| row.big(column);
        (
            row.text("lane"),
            row.text("state"),
            [
                n("waiting"),
                n("delayed"),
                n("active"),
                n("completed"),
                n("failed"),
            ],
            row.maybe_instant("oldest_ready_at").is_some(),
        )
    };
    assert_eq!(
        rows.iter().map(line).collect::<Vec<_>>(),
        [
            ("L".to_string(), "active".to_string(), [2, 1, 0, 1, 0], true),
            ("M".to_string(), "paused".to_string(), [1, 0, 0, 0, 0], true),
        ]
    );
    let oldest: bool = w.value(
        "SELECT s.oldest_ready_at = (SELECT min(created_at) FROM ff_executions WHERE lane = 'L' AND public_state = 'waiting')
           FROM ff_stat_lanes s WHERE lane = 'L'",
        &[],
    );
    assert!(oldest);
}

#[test]
fn runs_of_reconcilers_are_counted() {
    let mut w = World::new();
    w.create("delay_until => ff_server_time() + interval '1 s'");
    let processed = |w: &mut World| -> (i64, i64) {
        let row = w.one(
            "SELECT runs, processed FROM ff_stat_reconcilers WHERE reconciler = 'delayed'",
            &[],
        );
        (row.big("runs"), row.big("processed"))
    };
    let before = processed(&mut w);
    w.advance_ms(1_000);
    w.reconciles("delayed", 1);
    let after = processed(&mut w);
    assert!(after.0 > before.0 && after.1 == before.1 + 1);
}

#[test]
fn calls_are_counted_by_function() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    w.complete(&claim.handle, None);
    w.failure("SELECT * FROM ff_complete('no handle')", &[]);
    let row = |w: &mut World, function: &str| {
        w.one(
            "SELECT calls, errors, p50 <= p99 AND p50 > '0' AND total_time >= mean_time AS plausible
               FROM ff_stat_ops WHERE function = $1",
            &[&function],
        )
    };
    let complete = row(&mut w, "ff_complete");
    assert_eq!((complete.big("calls"), complete.big("errors")), (2, 1));
    assert!(complete.flag("plausible"));
    assert_eq!(row(&mut w, "ff_claim").big("calls"), 1);
    let other = World::new()
        .rows(
            "SELECT 1 FROM ff_stat_ops WHERE function = 'ff_complete'",
            &[],
        )
        .len();
    assert_eq!(other, 0, "each database has its own");
}

#[test]
fn the_numbers_are_told_as_openmetrics() {
    let mut w = World::new();
    w.create("");
    w.run(r#"SELECT * FROM ff_create_execution('a "quoted" \ lane', 'k')"#);
    w.run("SELECT * FROM ff_tick()");
    let text: String = w.value("SELECT ff_metrics()", &[]);
    assert!(text.ends_with("# EOF\n"));
    let mut family = String::new();
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            family = declared.split(' ').next().unwrap_or_default().to_string();
            assert!(text.contains(&format!("# HELP {family} ")), "{line}");
        } else if !line.starts_with('#') {
            assert!(line.starts_with(&family), "{line} stands under {family}");
            let (_, value) = line.rsplit_once(' ').expect("a value");
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
    for promised in [
        r#"ff_executions{lane="L",state="waiting"} 1"#,
        r#"ff_executions{lane="a \"quoted\" \\ lane",state="waiting"} 1"#,
        r#"ff_oldest_ready_age_seconds{lane="L"} "#,
        r#"ff_calls_total{function="ff_create_execution"} 2"#,
        r#"ff_call_seconds{function="ff_tick",quantile="0.99"} "#,
        r#"ff_reconciler_runs_total{reconciler="delayed"} "#,
        r#"ff_health{check="preload"} 0"#,
    ] {
        assert!(text.contains(promised), "{promised} in {text}");
    }
}
