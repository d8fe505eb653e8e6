//! How long streams stay (§30.9, §10.22).

use crate::support::World;
use crate::support::stream::best;

const TABLES: [&str; 6] = [
    "stream",
    "stream_live",
    "frame",
    "frame_live",
    "stream_summary",
    "stream_end",
];

fn fill(w: &mut World, handle: &str) {
    w.append_many(handle, 5, "");
    w.append_many(handle, 5, &best("1 min"));
    w.frame(handle, b"{}", "mode => 'durable_summary'");
}

fn stored(w: &mut World) -> Vec<i64> {
    TABLES.iter().map(|table| w.count(table)).collect()
}

#[test]
fn e_111_a_purged_execution_takes_its_streams_with_it() {
    let mut w = World::new();
    let kept = w.claimed("", "lease_ttl => '1 d'");
    fill(&mut w, &kept.handle);
    let retry =
        r#"policy => '{"retry_policy":{"max_retries":1,"backoff":{"type":"fixed","delay_ms":0}}}'"#;
    let first = w.claimed(&format!("retention => '1 h', {retry}"), "");
    fill(&mut w, &first.handle);
    w.fail(&first.handle, "x", "");
    let second = w.claim("");
    fill(&mut w, &second.handle);
    w.complete(&second.handle, None);
    assert_eq!(stored(&mut w), [3, 3, 18, 15, 3, 2]);
    w.reconciles("retention", 0);
    w.advance_ms(3_600_000);
    w.reconciles("retention", 1);
    assert_eq!(stored(&mut w), [1, 1, 6, 5, 1, 0]);
    assert!(w.output(first.id, "attempt_index => 0").is_empty());
    w.rows("SELECT * FROM ff_tick()", &[]);
    assert_eq!(
        w.count("stream_watch"),
        1,
        "only the living stream is looked after"
    );
}

#[test]
fn e_111_an_execution_whose_stream_is_being_written_is_purged_later() {
    let mut w = World::new();
    for first in [true, false] {
        let claim = w.claimed("retention => '0'", "lease_ttl => '1 h'");
        if first {
            w.frame(&claim.handle, b"x", "");
        }
        let mut worker = w.session();
        worker.run("BEGIN");
        worker.frame(&claim.handle, b"late", "");
        w.one(
            "SELECT * FROM ff_cancel_execution($1, 'no', 'operator_override')",
            &[&claim.id],
        );
        w.run("SET statement_timeout = '5 s'");
        w.reconciles("retention", i32::from(!first));
        w.run("RESET statement_timeout");
        worker.run("COMMIT");
        w.reconciles("retention", i32::from(first));
        w.advance_ms(1_000);
        w.rows("SELECT * FROM ff_tick()", &[]);
        assert_eq!(stored(&mut w), [0; 6], "nothing is left of it");
        assert_eq!(w.count("stream_watch"), 0);
    }
}

#[test]
fn a_stream_may_end_before_its_execution() {
    let mut w = World::new();
    let policy = r#"policy => '{"stream_policy":{"retention_ttl_ms":60000}}', retention => '1 d'"#;
    let claim = w.claimed(policy, "lease_ttl => '1 h'");
    fill(&mut w, &claim.handle);
    w.advance_ms(120_000);
    w.reconcile("stream_gc", "");
    assert_eq!(w.count("stream"), 1, "counted from the end");
    w.complete(&claim.handle, None);
    w.advance_ms(50_000);
    w.reconcile("stream_gc", "");
    assert_eq!(w.output(claim.id, "").len(), 7);
    w.advance_ms(10_000);
    let (processed, _, errors, remaining) = w.reconcile("stream_gc", "");
    assert!(processed > 0 && errors == 0 && !remaining);
    assert_eq!(stored(&mut w), [0; 6]);
    assert_eq!(w.output(claim.id, ""), [". attempt_success"]);
    assert_eq!(w.summary(claim.id), None);
    assert!(w.exists(claim.id));
    w.reconciles("stream_gc", 0);
    assert_eq!(w.count("stream_watch"), 0);
}

#[test]
fn frames_are_deleted_in_batches() {
    let mut w = World::new();
    let policy = r#"policy => '{"stream_policy":{"retention_ttl_ms":1000}}', retention => '1 d'"#;
    let claim = w.claimed(policy, "lease_ttl => '1 h'");
    w.append_many(&claim.handle, 250, "");
    w.complete(&claim.handle, None);
    w.advance_ms(1_000);
    assert_eq!(w.reconcile("stream_gc", "max_items => 0"), (0, 0, 0, false));
    let mut runs = 0;
    while w.reconcile("stream_gc", "max_items => 100").3 {
        runs += 1;
        assert_eq!(
            w.output(claim.id, ""),
            [". attempt_success"],
            "hidden at once"
        );
        assert!(w.count("frame") >= 250 - 110 * runs && runs < 10);
    }
    assert_eq!(stored(&mut w), [0; 6]);
}

#[test]
fn best_effort_frames_that_have_faded_are_deleted() {
    let mut w = World::new();
    let claim = w.claimed("", "lease_ttl => '1 h'");
    w.append_many(&claim.handle, 50, &best("1 s"));
    w.reconciles("stream_gc", 0);
    w.advance_ms(60_000);
    w.reconciles("stream_gc", 50);
    assert_eq!(w.count("frame_live"), 0);
    w.append_many(&claim.handle, 50, &best("1 min"));
    w.complete(&claim.handle, None);
    w.advance_ms(60_000);
    w.rows("SELECT * FROM ff_tick()", &[]);
    assert_eq!(w.output(claim.id, "").len(), 51);
    w.advance_ms(60_000);
    w.rows("SELECT * FROM ff_tick()", &[]);
    assert_eq!((w.count("frame_live"), w.count("stream_watch")), (0, 0));
}

#[test]
fn clearing_away_keeps_to_its_filters() {
    let mut w = World::new();
    for namespace in ["a", "b"] {
        let create = format!(r#"namespace => '{namespace}', tags => '{{"app.t":"{namespace}"}}'"#);
        let claim = w.claimed(&create, "lease_ttl => '1 h'");
        w.append_many(&claim.handle, 5, &best("1 s"));
    }
    w.advance_ms(60_000);
    for (arguments, processed) in [
        ("namespace => 'nobody'", 0),
        (r#"namespace => 'a', tags => '{"app.t":"b"}'"#, 0),
        ("namespace => 'a'", 5),
        (r#"tags => '{"app.t":"b"}'"#, 5),
    ] {
        assert_eq!(
            w.reconcile("stream_gc", arguments).0,
            processed,
            "{arguments}"
        );
    }
    assert_eq!(w.count("frame_live"), 0);
}
