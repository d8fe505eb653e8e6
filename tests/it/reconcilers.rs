//! Reconcilers: batches, sharing, failures, filters, retention, the tick (§10.21).

use crate::support::pace::{apart, busy};
use crate::support::{Cells, World};

#[test]
fn e_107_a_reconciler_works_in_batches_until_nothing_is_due() {
    let mut w = World::new();
    for count in [1000, 1000, 500] {
        w.run(&format!("SELECT count(*) FROM ff_create_many('L', 'k', array_fill(NULL::bytea, '{{{count}}}'), delay_until => ff_server_time() + interval '1 min')"));
    }
    w.advance_ms(60_000);
    for (processed, remaining) in [(1000, true), (1000, true), (500, false), (0, false)] {
        assert_eq!(
            w.reconcile("delayed", "max_items => 1000"),
            (processed, 0, 0, remaining)
        );
    }
    assert_eq!(w.executions_in("waiting"), 2500);
}

#[test]
fn e_108_two_sessions_share_the_due_rows() {
    let _machine = busy();
    let mut w = World::new();
    w.run("SELECT count(*) FROM ff_create_many('L', 'k', array_fill(NULL::bytea, '{1000}'))");
    assert_eq!(
        w.claims("max_items => 1000, lease_ttl => '1 s'").len(),
        1000
    );
    w.advance_ms(1_000);
    let runners: Vec<_> = (0..2)
        .map(|_| {
            let door = w.door();
            apart(move || {
                let mut session = door.open();
                let mut sum = 0;
                loop {
                    let (processed, _, errors, _) =
                        session.reconcile("lease_expiry", "max_items => 100");
                    assert_eq!(errors, 0);
                    if processed == 0 {
                        return sum;
                    }
                    sum += processed;
                }
            })
        })
        .collect();
    let sum: i32 = runners.into_iter().map(|runner| runner.outcome()).sum();
    let (left, _, _, remaining) = w.reconcile("lease_expiry", "");
    assert_eq!((sum + left, remaining), (1000, false));
    let expired = w
        .all_events()
        .iter()
        .filter(|event| event.word() == "lease.expired")
        .count();
    assert_eq!(expired, 1000, "one event each");
}

#[test]
fn e_109_one_bad_row_does_not_stop_the_others() {
    let mut w = World::new();
    let ids = w.create_several(5, "");
    assert_eq!(w.claims("max_items => 5, lease_ttl => '1 s'").len(), 5);
    let bad = ids[2];
    w.run(&format!(
        "CREATE FUNCTION refuse(id uuid) RETURNS uuid IMMUTABLE LANGUAGE plpgsql AS $$
             BEGIN IF id = '{bad}' AND current_setting('planted.fails', true) = 'yes' THEN RAISE EXCEPTION 'planted'; END IF;
             RETURN id; END $$;
         CREATE INDEX planted ON ff_engine.event (refuse(execution_id));
         SET planted.fails = 'yes'"
    ));
    w.advance_ms(1_000);
    w.notices();
    assert_eq!(
        w.reconcile("lease_expiry", ""),
        (4, 0, 1, true),
        "what failed is still due"
    );
    let warnings: Vec<String> = w
        .notices()
        .iter()
        .filter(|n| n.severity() == "WARNING")
        .map(|n| n.message().to_string())
        .collect();
    assert!(
        warnings.iter().any(|text| text.contains(&bad.to_string())),
        "{warnings:?}"
    );
    assert_eq!(
        w.vector(bad),
        "active/leased/not_applicable/none/none/running_attempt"
    );
    assert_eq!(
        w.reconcile("lease_expiry", ""),
        (0, 0, 1, true),
        "it is tried again"
    );
    w.run("DROP INDEX ff_engine.planted");
    w.reconciles("lease_expiry", 1);
}

#[test]
fn e_110_filters_leave_other_due_rows_untouched() {
    let due = |w: &mut World, more: &str| {
        let id = w.create(more);
        w.claim("lease_ttl => '1 s'");
        id
    };
    let mut w = World::new();
    due(&mut w, "namespace => 'a'");
    due(&mut w, r#"tags => '{"app.x":"1","app.y":"2"}'"#);
    let apart = due(&mut w, "");
    w.advance_ms(1_000);
    assert_eq!(w.reconcile("lease_expiry", "namespace => 'nobody'").0, 0);
    assert_eq!(
        w.reconcile("lease_expiry", "namespace => 'a'"),
        (1, 0, 0, false)
    );
    assert_eq!(
        w.reconcile("lease_expiry", r#"tags => '{"app.x":"2"}'"#).0,
        0
    );
    assert_eq!(
        w.reconcile("lease_expiry", r#"tags => '{"app.x":"1"}'"#).0,
        1
    );
    let partition: i16 = w.value("SELECT ff_partition_of($1)", &[&apart]);
    assert_eq!(
        w.reconcile(
            "lease_expiry",
            &format!("partitions => int4range(0, {partition})")
        )
        .0,
        0
    );
    assert_eq!(
        w.vector(apart),
        "active/leased/not_applicable/none/none/running_attempt"
    );
    assert_eq!(
        w.reconcile(
            "lease_expiry",
            &format!("partitions => '[{partition},{partition}]'")
        )
        .0,
        1
    );
}

#[test]
fn e_111_terminal_executions_are_kept_as_long_as_asked() {
    let mut w = World::new();
    let mut end = |arguments: &str| {
        let claim = w.claimed(arguments, "");
        w.complete(&claim.handle, None);
        claim.id
    };
    let by_default = end("");
    let at_once = end(r#"policy => '{"retention_ms":0}'"#);
    let for_ever = end(r#"policy => '{"retention_ms":-1}'"#);
    let for_ever_by_argument = end("retention => '-1 s'");
    let by_argument = end(r#"retention => '1 h', policy => '{"retention_ms":0}'"#);
    let by_stream = end(r#"policy => '{"stream_policy":{"retention_ttl_ms":7200000}}'"#);
    let alive = w.create("");

    w.reconciles("retention", 1);
    assert!(!w.exists(at_once));
    assert!(w.attempts(at_once).is_empty());
    assert_eq!(w.events_of(at_once).len(), 3, "its events survive");
    w.advance_ms(3_600_000);
    w.reconciles("retention", 1);
    assert!(!w.exists(by_argument));
    w.advance_ms(3_600_000);
    w.reconciles("retention", 1);
    assert!(!w.exists(by_stream));
    w.advance_ms(21 * 3_600_000);
    w.reconciles("retention", 0);
    assert!(w.exists(by_default), "23 h after its end");
    w.advance_ms(3_600_000);
    w.reconciles("retention", 1);
    assert!(!w.exists(by_default));
    w.advance_ms(20 * 86_400_000);
    w.reconciles("retention", 0);
    assert!(w.exists(for_ever) && w.exists(for_ever_by_argument) && w.exists(alive));
    assert_eq!(w.executions(), 3, "the counters follow the purge");
}

#[test]
fn e_111_a_lane_has_a_retention_of_its_own() {
    let mut w = World::new();
    w.one("SELECT * FROM ff_set_lane('L', retention => '10 s')", &[]);
    let by_lane = w.claimed("", "");
    w.complete(&by_lane.handle, None);
    let by_policy = w.claimed(r#"policy => '{"retention_ms":20000}'"#, "");
    w.complete(&by_policy.handle, None);
    w.advance_ms(10_000);
    w.reconciles("retention", 1);
    assert!(!w.exists(by_lane.id) && w.exists(by_policy.id));
}

#[test]
fn e_111_a_purged_execution_is_gone_for_everyone() {
    let mut w = World::new();
    let claim = w.claimed(r#"payload => '\x01', retention => '0'"#, "");
    w.complete(&claim.handle, Some(b"r"));
    w.reconciles("retention", 1);
    assert_eq!(
        w.value::<Option<String>>("SELECT ff_read_execution_state($1)", &[&claim.id]),
        None
    );
    assert_eq!(w.result(claim.id), None);
    w.refused("FF001", "SELECT * FROM ff_complete($1)", &[&claim.handle]);
    let rows_of = |w: &mut World, table: &str| w.contents()[&format!("ff_engine.{table}")].0;
    for table in ["execution", "execution_input", "attempt", "ready"] {
        assert_eq!(rows_of(&mut w, table), 0, "{table}");
    }
    w.advance_ms(86_400_000);
    w.rows("SELECT * FROM ff_tick()", &[]);
    assert_eq!(
        rows_of(&mut w, "timer"),
        0,
        "a reminder goes when it comes up"
    );
}

#[test]
fn e_111_a_purge_takes_the_suspensions_along() {
    let mut w = World::new();
    let s = w.waiting_with(
        "retention => '1 h'",
        "ff_cond_count(2, 'sources', '{a}'), idempotency_key => 'once'",
    );
    let kept = w.waiting("ff_cond_count(2, 'sources', '{a}')");
    for (point, key) in [(s.point(), "one"), (kept.point(), "two")] {
        w.deliver(&point, "go", &format!("idempotency_key => '{key}'"));
    }
    w.one("SELECT * FROM ff_resume_execution($1)", &[&s.id]);
    let again = w.reclaimed(&s);
    w.create_waitpoint(&again.handle, "early", "'1 min'");
    w.complete(&again.handle, None);
    w.advance_ms(3_600_000);
    w.reconciles("retention", 1);
    assert!(!w.exists(s.id));
    for table in ["suspension", "waitpoint", "signal", "satisfier"] {
        assert_eq!(w.count(table), 1, "{table}");
    }
    assert_eq!(w.count("suspension_key"), 0);
    w.undeliverable("FF108", &s.point(), "");
    w.reconciles("pending_waitpoint", 0);
    assert_eq!(w.count("waitpoint_expiry"), 0, "a reminder of what is gone");
    w.advance_ms(86_400_000);
    w.reconciles("signal_gc", 2);
    assert_eq!(w.count("signal_key"), 0);
    assert_eq!(w.state(kept.id), "suspended");
}

/// The reconcilers of the engine in the order of §10.21.
const TICK: [&str; 26] = [
    "execution_deadline",
    "attempt_timeout",
    "suspension_timeout",
    "lease_expiry",
    "budget_reset",
    "budget_enforce",
    "cascade",
    "sibling_cancel",
    "sibling_cancel_repair",
    "cancel_backlog",
    "dependency",
    "flow_summary",
    "delayed",
    "grant_expiry",
    "budget_counters",
    "quota_counters",
    "unblock",
    "pending_waitpoint",
    "worker_ttl",
    "idempotency",
    "signal_gc",
    "stream_gc",
    "retention",
    "flow_retention",
    "event_dispatch",
    "event_retention",
];

#[test]
fn e_112_part_a_tick_runs_the_reconcilers_in_order() {
    let mut w = World::new();
    let names: Vec<String> = w
        .rows("SELECT * FROM ff_tick()", &[])
        .iter()
        .map(|row| row.text("reconciler"))
        .collect();
    let known: Vec<&str> = TICK
        .into_iter()
        .filter(|name| names.iter().any(|n| n == name))
        .collect();
    assert_eq!(names, known, "no other name, none twice, in this order");
    for name in [
        "execution_deadline",
        "attempt_timeout",
        "lease_expiry",
        "delayed",
        "idempotency",
        "retention",
    ] {
        assert!(names.iter().any(|n| n == name), "{name} is missing");
    }
}

#[test]
fn e_112_part_ticks_alone_carry_everything_to_its_end() {
    let mut w = World::new();
    let retried = w.claimed(
        r#"policy => '{"retry_policy":{"backoff":{"type":"fixed","delay_ms":900}}}'"#,
        "",
    );
    w.fail(&retried.handle, "x", "");
    let lost = w.claimed("", "lease_ttl => '100 ms'");
    let slow = w.claimed(
        r#"policy => '{"timeout_policy":{"attempt_timeout_ms":1000}}'"#,
        "lease_ttl => '1 h'",
    );
    let late = w.create("execution_deadline => ff_server_time() + interval '1 ms'");
    w.advance_ms(1_000);
    let rows = w.rows("SELECT * FROM ff_tick()", &[]);
    let processed: Vec<(String, i32)> = rows
        .iter()
        .filter(|row| row.int("processed") > 0)
        .map(|row| (row.text("reconciler"), row.int("processed")))
        .collect();
    let each = [
        "execution_deadline",
        "attempt_timeout",
        "lease_expiry",
        "delayed",
    ]
    .map(|name| (name.to_string(), 1));
    assert_eq!(processed, each);
    assert_eq!(
        (w.state(retried.id), w.state(slow.id), w.state(late)),
        ("waiting".into(), "expired".into(), "expired".into())
    );
    assert_eq!(
        w.vector(lost.id),
        "active/lease_expired_reclaimable/not_applicable/waiting_for_worker/none/attempt_interrupted"
    );
    let again = w.rows("SELECT * FROM ff_tick()", &[]);
    assert!(
        again
            .iter()
            .all(|row| (row.int("processed"), row.flag("remaining")) == (0, false))
    );
}

#[test]
fn e_112_part_an_execution_due_for_several_ends_by_its_deadline() {
    let mut w = World::new();
    let policy = r#"policy => '{"timeout_policy":{"attempt_timeout_ms":1000,"execution_deadline_ms":1000},"retry_policy":{}}'"#;
    let claim = w.claimed(policy, "lease_ttl => '1 s'");
    let delayed = w.create(r#"delay_until => ff_server_time() + interval '1 s', execution_deadline => ff_server_time() + interval '1 s'"#);
    w.advance_ms(1_100);
    w.rows("SELECT * FROM ff_tick()", &[]);
    assert_eq!(
        (w.state(claim.id), w.state(delayed)),
        ("expired".into(), "expired".into())
    );
    assert_eq!(
        w.describe(claim.id).text("failure_reason"),
        "execution_deadline"
    );
}

#[test]
fn a_filter_looks_past_what_it_leaves_out() {
    let mut w = World::new();
    for namespace in ["b", "b", "b", "a"] {
        let named = format!("namespace => '{namespace}'");
        w.create(&format!(
            "{named}, delay_until => ff_server_time() + interval '10 min'"
        ));
        w.create(&format!(
            "{named}, priority => 1, idempotency_key => gen_random_uuid()::text, dedup_window => '10 min', retention => '10 min'"
        ));
        let ended = w.claim("");
        w.complete(&ended.handle, None);
        w.waiting_with(&named, "ff_cond_signal(), timeout => '10 min'");
        w.create(&named);
        let held = w.claim("lease_ttl => '10 min'");
        w.create_waitpoint(&held.handle, "early", "'10 min'");
        w.advance_ms(10);
    }
    w.advance_ms(600_000);
    for name in [
        "pending_waitpoint",
        "suspension_timeout",
        "lease_expiry",
        "delayed",
        "idempotency",
        "retention",
    ] {
        let (processed, _, errors, remaining) =
            w.reconcile(name, "max_items => 1, namespace => 'a'");
        assert_eq!((processed, errors, remaining), (1, 0, false), "{name}");
        let (processed, _, errors, remaining) =
            w.reconcile(name, "max_items => 2, namespace => 'b'");
        assert_eq!((processed, errors, remaining), (2, 0, true), "{name}");
    }
}

#[test]
fn zero_items_do_nothing_and_negative_ones_are_refused() {
    let mut w = World::new();
    w.claimed("", "lease_ttl => '1 s'");
    w.advance_ms(1_000);
    for name in [
        "lease_expiry",
        "delayed",
        "attempt_timeout",
        "execution_deadline",
        "idempotency",
        "retention",
    ] {
        w.refused(
            "FF101",
            &format!("SELECT * FROM ff_reconcile_{name}(-1)"),
            &[],
        );
        assert_eq!(w.reconcile(name, "0").0, 0, "{name}");
    }
    w.refused("FF101", "SELECT * FROM ff_tick(-1)", &[]);
    w.reconciles("lease_expiry", 1);
}
