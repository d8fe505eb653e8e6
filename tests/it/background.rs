//! Background workers: who runs, what they do on time, and what runs without them (§70.3).

use std::time::{Duration, Instant};

use crate::support::cluster::Cluster;
use crate::support::pace::{eventually, quiet};
use crate::support::waiting::READY;
use crate::support::{Cells, Session, World, template};

/// Databases with a background worker, of those named.
fn with_a_worker(s: &mut Session, databases: &[String]) -> Vec<String> {
    s.rows(
        "SELECT datname::text AS name FROM pg_stat_activity
          WHERE backend_type LIKE 'ff_engine%' AND datname = ANY ($1) ORDER BY 1",
        &[&databases],
    )
    .iter()
    .map(|row| row.text("name"))
    .collect()
}

#[test]
fn o_2_exactly_the_databases_with_the_extension_have_a_worker() {
    let cluster = Cluster::home();
    let mut first = World::on_wall_clock(cluster.clone());
    let second = World::on_wall_clock(cluster.clone());
    let third = template::empty_database(&cluster);
    let mut all = [
        first.database.clone(),
        second.database.clone(),
        third.clone(),
    ];
    all.sort();
    let two: Vec<String> = all.iter().filter(|name| **name != third).cloned().collect();
    let started = eventually(Duration::from_secs(60), || {
        with_a_worker(&mut first, &all) == two
    });
    assert!(
        started,
        "two workers run: {:?}",
        with_a_worker(&mut first, &all)
    );

    let mut inside = cluster
        .config(&third)
        .connect(postgres::NoTls)
        .expect("connect");
    inside
        .batch_execute("CREATE EXTENSION ff_engine")
        .expect("create the extension");
    let start = Instant::now();
    let noticed = eventually(Duration::from_secs(15), || {
        with_a_worker(&mut first, &all).len() == 3
    });
    assert!(
        noticed && start.elapsed() < Duration::from_secs(10),
        "within 10 s without a restart"
    );
    assert_eq!(with_a_worker(&mut first, &all), all, "one each");

    inside
        .batch_execute("DROP EXTENSION ff_engine")
        .expect("drop the extension");
    let ended = eventually(Duration::from_secs(60), || {
        with_a_worker(&mut first, &all) == two
    });
    assert!(ended, "its worker leaves");
    drop(inside);
    template::drop_database(&cluster, &third);
}

#[test]
fn o_2_a_worker_does_not_block_the_end_of_its_database() {
    let cluster = Cluster::home();
    let mut onlooker = World::new();
    let name = {
        let name = template::empty_database(&cluster);
        let mut inside = cluster
            .config(&name)
            .connect(postgres::NoTls)
            .expect("connect");
        inside
            .batch_execute("CREATE EXTENSION ff_engine")
            .expect("create the extension");
        name
    };
    let runs = eventually(Duration::from_secs(60), || {
        with_a_worker(&mut onlooker, std::slice::from_ref(&name)).len() == 1
    });
    assert!(runs);
    onlooker.run(&format!("ALTER DATABASE {name} RENAME TO {name}_renamed"));
    onlooker.run(&format!("DROP DATABASE {name}_renamed"));
}

/// Lets a lease of two seconds run out; returns how late its mark was written.
fn lateness_of_the_mark(w: &mut World, ttl: &str) -> Duration {
    let claim = w.claimed("", &format!("lease_ttl => '{ttl}'"));
    let marked = eventually(Duration::from_secs(60), || {
        w.describe(claim.id).text("ownership_state") == "lease_expired_reclaimable"
    });
    assert!(marked, "the lease is marked");
    let lateness: f64 = w.value(
        "SELECT extract(epoch FROM lease_expired_at - lease_expires_at)::float8 FROM ff_describe_execution($1)",
        &[&claim.id],
    );
    w.reconcile("execution_deadline", "");
    let taken = w.claim("lease_ttl => '1 h'");
    w.complete(&taken.handle, None);
    Duration::from_secs_f64(lateness.max(0.0))
}

#[test]
fn a_lease_expires_within_250_ms_of_its_instant() {
    let _machine = quiet();
    let mut w = World::on_wall_clock(Cluster::home());
    let mine = [w.database.clone()];
    assert!(eventually(Duration::from_secs(60), || with_a_worker(
        &mut w, &mine
    )
    .len()
        == 1));
    let mut late: Vec<Duration> = ["100 ms", "400 ms", "900 ms", "1700 ms", "2300 ms"]
        .into_iter()
        .map(|ttl| lateness_of_the_mark(&mut w, ttl))
        .collect();
    late.sort();
    assert!(
        late[2] < Duration::from_millis(250),
        "the median of {late:?}"
    );
    assert!(
        late[4] < Duration::from_millis(1000),
        "the latest of {late:?}"
    );
}

#[test]
fn a_delay_and_a_timeout_are_applied_on_time() {
    let _machine = quiet();
    let mut w = World::on_wall_clock(Cluster::home());
    let delayed = w.create("delay_until => ff_server_time() + interval '1 s'");
    let soon = eventually(Duration::from_millis(3_000), || {
        w.state(delayed) == "waiting"
    });
    assert!(soon, "promoted without a claim");
    let late =
        w.create("execution_deadline => ff_server_time() + interval '300 ms', priority => 9");
    assert!(eventually(Duration::from_secs(8), || w.state(late) == "expired"));
    let slow =
        w.create(r#"priority => 9, policy => '{"timeout_policy":{"attempt_timeout_ms":300}}'"#);
    w.claim("lease_ttl => '1 h'");
    assert!(eventually(Duration::from_secs(5), || w.state(slow) == "expired"));
}

#[test]
fn o_4_without_preload_a_worker_runs_on_demand_and_stops() {
    let _machine = quiet();
    let mut w = World::on_wall_clock(Cluster::named("nopreload"));
    let mine = [w.database.clone()];
    assert!(with_a_worker(&mut w, &mine).is_empty());
    let stopped = w.one("SELECT * FROM ff_stop_workers()", &[]);
    assert_eq!(stopped.text("outcome"), "not_running");

    let started = w.one("SELECT * FROM ff_start_workers()", &[]);
    assert_eq!(started.text("outcome"), "started");
    let again = w.one("SELECT * FROM ff_start_workers()", &[]);
    assert_eq!(
        (again.text("outcome"), again.int("pid")),
        ("already_running".into(), started.int("pid"))
    );
    assert_eq!(with_a_worker(&mut w, &mine).len(), 1);
    let mut late: Vec<_> = (0..3)
        .map(|_| lateness_of_the_mark(&mut w, "600 ms"))
        .collect();
    late.sort();
    assert!(late[1] < Duration::from_millis(250), "on time: {late:?}");

    let stopped = w.one("SELECT * FROM ff_stop_workers()", &[]);
    assert_eq!(stopped.text("outcome"), "stopped");
    assert!(eventually(Duration::from_secs(60), || with_a_worker(
        &mut w, &mine
    )
    .is_empty()));
    let claim = w.claimed("", "lease_ttl => '100 ms'");
    // Nothing runs: three times as long as the slowest worker would need, the mark is not there.
    std::thread::sleep(Duration::from_secs(5));
    assert!(w.vector(claim.id).starts_with("active/leased"));
}

#[test]
fn o_5_part_with_pg_cron_alone_a_lease_expires_and_a_retry_runs() {
    // Debian has pg_cron for its own server; the other majors come without one.
    let mut onlooker = World::new();
    let there: bool = onlooker.value(
        "SELECT count(*) > 0 FROM pg_available_extensions WHERE name = 'pg_cron'",
        &[],
    );
    let major: i32 = onlooker.value(
        "SELECT current_setting('server_version_num')::int / 10000",
        &[],
    );
    if !there && major != 15 {
        eprintln!("PostgreSQL {major} is installed without pg_cron: nothing to see");
        return;
    }
    let cluster = Cluster::named("cron");
    let mut w = Session::open(&cluster, "postgres", 0);
    w.run("CREATE EXTENSION IF NOT EXISTS pg_cron; DROP EXTENSION IF EXISTS ff_engine; CREATE EXTENSION ff_engine");
    let preloaded: bool = w.one("SELECT * FROM ff_version()", &[]).flag("preloaded");
    assert!(
        !preloaded && with_a_worker(&mut w, &["postgres".into()]).is_empty(),
        "no worker"
    );
    let jobs = w.rows("SELECT * FROM ff_schedule_reconcilers()", &[]);
    assert!(!jobs.is_empty());
    let again = w.rows("SELECT * FROM ff_schedule_reconcilers()", &[]);
    assert_eq!(jobs.len(), again.len());
    let scheduled: i64 = w.value(
        "SELECT count(*) FROM cron.job WHERE command LIKE '%ff_%'",
        &[],
    );
    assert_eq!(
        scheduled,
        jobs.len() as i64,
        "scheduling again adds nothing"
    );

    let lost = w.claimed("", "lease_ttl => '1 s'");
    let failed = w.create(r#"priority => 5, policy => '{"retry_policy":{"backoff":{"type":"fixed","delay_ms":1000}}}'"#);
    let claim = w.claim("lease_ttl => '1 h'");
    assert_eq!(claim.id, failed);
    w.fail(&claim.handle, "x", "");
    let applied = eventually(Duration::from_secs(130), || {
        w.vector(lost.id)
            .starts_with("active/lease_expired_reclaimable")
            && w.state(failed) == "waiting"
    });
    let history: Vec<String> = w
        .rows("SELECT command || ': ' || coalesce(return_message, status) FROM cron.job_run_details ORDER BY runid DESC LIMIT 3", &[])
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert!(applied, "pg_cron carried them on: {history:?}");
    let removed: i32 = w.value("SELECT ff_unschedule_reconcilers()", &[]);
    assert_eq!(removed as usize, jobs.len());
    assert_eq!(
        w.value::<i64>(
            "SELECT count(*) FROM cron.job WHERE command LIKE '%ff_%'",
            &[]
        ),
        0
    );
    crate::support::world::assert_invariants(&mut w);
}

/// Processor time a process has used so far.
fn processor_time(pid: i32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a live process");
    // Behind the name in parentheses the user and system ticks are fields 12 and 13.
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks: u64 = [11, 12]
        .iter()
        .map(|n| fields[*n].parse::<u64>().expect("ticks"))
        .sum();
    Duration::from_millis(ticks * 10)
}

/// How many rows a reconciler has failed at since the server started.
fn errors(w: &mut World, name: &str) -> i64 {
    w.value(
        "SELECT errors FROM ff_stat_reconcilers WHERE reconciler = $1",
        &[&name],
    )
}

#[test]
fn a_row_that_cannot_be_reconciled_rests_for_a_minute_and_holds_up_no_other() {
    let mut w = World::on_wall_clock(Cluster::home());
    w.will_break_invariants();
    w.run("BEGIN");
    let broken = w.waiting(&format!("{READY}, timeout => '1 ms'"));
    w.run(r#"UPDATE ff_engine.suspension SET condition = '{"type":"xor"}'; COMMIT"#);
    let tried = eventually(Duration::from_secs(60), || {
        errors(&mut w, "suspension_timeout") > 0
    });
    assert!(tried, "the worker has met it");
    let start = Instant::now();
    for _ in 0..10 {
        let s = w.waiting(&format!("{READY}, timeout => '1 ms'"));
        let failed = eventually(Duration::from_secs(60), || w.state(s.id) == "failed");
        assert!(failed, "others are handled");
    }
    let again = errors(&mut w, "suspension_timeout") - 1;
    let minutes = start.elapsed().as_secs() / 60;
    assert!(
        again <= minutes as i64,
        "tried {again} times in {minutes} min"
    );
    assert_eq!(w.state(broken.id), "suspended");
    let (processed, _, errors, _) = w.reconcile("suspension_timeout", "");
    assert_eq!((processed, errors), (0, 1), "whoever asks gets an answer");
}

#[test]
fn an_idle_worker_uses_next_to_no_processor() {
    let mut w = World::on_wall_clock(Cluster::home());
    w.run("SELECT count(*) FROM ff_create_many('L', 'k', array_fill(NULL::bytea, '{1000}'))");
    w.claims("max_items => 500, lease_ttl => '1 h'");
    let mine = [w.database.clone()];
    assert!(eventually(Duration::from_secs(60), || with_a_worker(
        &mut w, &mine
    )
    .len()
        == 1));
    let pid: i32 = w.value(
        "SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'ff_engine%' AND datname = current_database()",
        &[],
    );
    std::thread::sleep(Duration::from_secs(2));
    let before = processor_time(pid);
    let over = Duration::from_secs(20);
    std::thread::sleep(over);
    let used = processor_time(pid) - before;
    assert!(
        used <= over / 200,
        "{used:?} of {over:?} is more than 0.5 %"
    );
}
