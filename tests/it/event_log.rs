//! What each operation appends to the event log, and what an event carries (§30.10, §30.11).

use serde_json::json;

use crate::support::events::Event;
use crate::support::{Cells, World};

const RETRY: &str = r#"policy => '{"retry_policy":{"backoff":{"type":"fixed","delay_ms":10}}}'"#;

/// The rows of §30.11 that this stage has, each as a step and its exact events.
#[test]
fn v_28_part_each_operation_appends_exactly_its_events() {
    let mut w = World::new();
    let mut seen: Vec<(&str, Vec<String>)> = Vec::new();
    let mut step = |w: &mut World, name: &'static str, run: &mut dyn FnMut(&mut World)| {
        let before = w.all_events().last().map_or(0, |event| event.id);
        run(w);
        let events = w.all_events();
        seen.push((
            name,
            events
                .iter()
                .filter(|e| e.id > before)
                .map(|e| e.word().split('(').next().unwrap_or_default().to_string() + &reason(e))
                .collect(),
        ));
    };
    step(&mut w, "create", &mut |w| {
        w.create(RETRY);
    });
    let mut handle = String::new();
    step(&mut w, "claim", &mut |w| {
        handle = w.claim("lease_ttl => '10 s'").handle
    });
    step(&mut w, "progress", &mut |w| {
        drop(w.one("SELECT ff_progress($1, 1)", &[&handle]))
    });
    step(&mut w, "renew", &mut |w| {
        drop(w.one("SELECT ff_renew($1)", &[&handle]))
    });
    step(&mut w, "delay", &mut |w| {
        drop(w.one(
            "SELECT ff_delay($1, ff_server_time() + interval '1 s')",
            &[&handle],
        ))
    });
    w.advance_ms(1_000);
    step(&mut w, "delay elapses", &mut |w| w.reconciles("delayed", 1));
    step(&mut w, "claim resumed", &mut |w| {
        handle = w.claim("lease_ttl => '10 s'").handle
    });
    step(&mut w, "fail, retry", &mut |w| {
        drop(w.fail(&handle, "x", ""))
    });
    w.advance_ms(1_000);
    step(&mut w, "claim retry", &mut |w| {
        handle = w.claim("lease_ttl => '10 s'").handle
    });
    w.advance_ms(10_000);
    step(&mut w, "lease expires", &mut |w| {
        w.reconciles("lease_expiry", 1)
    });
    step(&mut w, "reclaim", &mut |w| handle = w.claim("").handle);
    step(&mut w, "complete", &mut |w| drop(w.complete(&handle, None)));
    step(&mut w, "complete, replayed", &mut |w| {
        drop(w.complete(&handle, None))
    });
    step(&mut w, "fail, final", &mut |w| {
        let claim = w.claimed("", "");
        w.fail(&claim.handle, "x", "");
    });
    step(&mut w, "cancel", &mut |w| {
        let claim = w.claimed("", "");
        w.one("SELECT ff_cancel($1, 'x')", &[&claim.handle]);
    });
    step(&mut w, "duplicate", &mut |w| {
        w.create("idempotency_key => 'a', delay_until => ff_server_time() + interval '1 h'");
        assert_eq!(
            w.create_row("idempotency_key => 'a'").text("outcome"),
            "duplicate"
        );
    });
    let expected: [(&str, &[&str]); 16] = [
        ("create", &[]),
        ("claim", &["lease.acquired claim"]),
        ("progress", &[]),
        ("renew", &["lease.renewed"]),
        ("delay", &["lease.released worker_delay"]),
        ("delay elapses", &[]),
        ("claim resumed", &["lease.acquired claim_resumed"]),
        ("fail, retry", &["lease.released failed_retry_scheduled"]),
        ("claim retry", &["lease.acquired claim"]),
        ("lease expires", &["lease.expired"]),
        ("reclaim", &["lease.reclaimed lease_expired"]),
        (
            "complete",
            &["lease.released completed", "completion.success"],
        ),
        ("complete, replayed", &[]),
        (
            "fail, final",
            &[
                "lease.acquired claim",
                "lease.released failed_terminal",
                "completion.failed",
            ],
        ),
        (
            "cancel",
            &[
                "lease.acquired claim",
                "lease.released cancelled",
                "completion.cancelled",
            ],
        ),
        ("duplicate", &[]),
    ];
    for ((name, events), (expected_name, expected_events)) in seen.iter().zip(expected) {
        assert_eq!(*name, expected_name);
        assert_eq!(events, expected_events, "{name}");
    }
}

/// The reason of a lease event; other families have none to compare.
fn reason(event: &Event) -> String {
    match event.details["reason"].as_str() {
        Some(reason) if event.family == "lease" => format!(" {reason}"),
        _ => String::new(),
    }
}

#[test]
fn v_28_part_a_rollback_leaves_no_event() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    for call in [
        "SELECT ff_renew($1)",
        "SELECT ff_complete($1)",
        "SELECT ff_fail($1, 'x')",
        "SELECT ff_cancel($1, 'x')",
    ] {
        let (_, events) = w.events_by(|w| {
            w.run("BEGIN");
            w.one(call, &[&claim.handle]);
            w.run("ROLLBACK");
        });
        assert!(events.is_empty(), "{call}: {events:?}");
        w.run("BEGIN; SAVEPOINT s");
        w.one(call, &[&claim.handle]);
        w.run("ROLLBACK TO s; COMMIT");
        assert_eq!(w.event_words(claim.id), ["lease.acquired(claim)"], "{call}");
    }
}

#[test]
fn v_29_part_an_event_carries_its_execution_as_it_was_then() {
    let mut w = World::new();
    let row = w.one(
        r#"SELECT * FROM ff_create_execution('L', 'k', namespace => 'n', tags => '{"app.x":"1"}', retention => '0')"#,
        &[],
    );
    let claim = w.claim("namespace => 'n'");
    let before = w.now();
    w.complete(&claim.handle, None);
    let after = w.now();
    w.reconciles("retention", 1);

    let events = w.rows(
        "SELECT * FROM ff_read_events('start') ORDER BY event_id",
        &[],
    );
    assert_eq!(events.len(), 3);
    for event in &events {
        assert_eq!(
            (event.text("namespace"), event.text("lane")),
            ("n".into(), "L".into())
        );
        assert_eq!(event.small("partition_key"), row.small("partition_key"));
        assert_eq!(
            (event.uuid("execution_id"), event.maybe_uuid("flow_id")),
            (claim.id, None)
        );
        assert_eq!(event.maybe_int("attempt_index"), Some(0));
    }
    let ended = &events[2];
    assert!(
        (before..=after).contains(&ended.instant("occurred_at")),
        "the engine clock"
    );
    let lease = events[0].json("details");
    assert_eq!(lease["lease_id"], claim.lease_id.to_string());
    assert_eq!(lease["attempt_id"], claim.attempt_id.to_string());
    assert_eq!(
        (
            &lease["lease_epoch"],
            &lease["worker"],
            &lease["worker_instance"]
        ),
        (&json!(1), &json!("w"), &json!("w-1"))
    );
    assert_eq!(
        ended.json("details")["attempt_id"],
        claim.attempt_id.to_string()
    );
    assert_eq!(ended.json("details")["replay_count"], 0);
    let tagged = |filter| {
        w.door()
            .open()
            .rows(
                "SELECT * FROM ff_read_events('start', filter => $1)",
                &[&filter],
            )
            .len()
    };
    assert_eq!(tagged(json!({"tags": {"app.x": "1"}})), 3);
    assert_eq!(tagged(json!({"tags": {"app.x": "2"}})), 0);
}

#[test]
fn v_30_part_a_paused_attempt_completes_only_at_its_end() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    w.one("SELECT ff_delay($1, ff_server_time())", &[&claim.handle]);
    let completions = |w: &mut World| {
        w.events_of(claim.id)
            .iter()
            .filter(|e| e.family == "completion")
            .count()
    };
    assert_eq!(completions(&mut w), 0);
    let resumed = w.claim("");
    assert_eq!(completions(&mut w), 0);
    w.complete(&resumed.handle, None);
    assert_eq!(completions(&mut w), 1);
    let completion = w.one("SELECT * FROM ff_read_events('start', '{completion}')", &[]);
    assert_eq!(
        (
            completion.text("event_type"),
            completion.maybe_uuid("flow_id")
        ),
        ("success".into(), None)
    );
}

#[test]
fn failures_carry_their_reason_and_category() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    w.fail(&claim.handle, "boom", "category => 'io'");
    let event = w.events_of(claim.id).pop().expect("a completion");
    assert_eq!(event.event_type, "failed");
    assert_eq!(
        (
            event.details["failure_reason"].as_str(),
            event.details["failure_category"].as_str()
        ),
        (Some("boom"), Some("io"))
    );
}
