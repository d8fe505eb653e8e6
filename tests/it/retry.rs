//! The retry decision, back-off, and what the next attempt inherits (§10.7, §10.14.5).

use chrono::Duration;
use postgres::Row;

use crate::support::{Cells, World};

const PENDING: &str =
    "runnable/unowned/not_eligible_until_time/waiting_for_retry_backoff/none/pending_retry_attempt";

fn fixed(retries: u32, delay_ms: u32) -> String {
    format!(
        r#"policy => '{{"retry_policy":{{"max_retries":{retries},"backoff":{{"type":"fixed","delay_ms":{delay_ms}}}}}}}'"#
    )
}

#[test]
fn e_56_a_retry_waits_for_its_backoff_and_starts_a_new_attempt() {
    let mut w = World::new();
    let claim = w.claimed(&fixed(3, 10), "");
    let (row, events) = w.events_by(|w| w.fail(&claim.handle, "first failure", ""));
    assert_eq!(
        (row.text("outcome"), row.text("public_state")),
        ("retry_scheduled".into(), "delayed".into())
    );
    assert_eq!(
        (row.maybe_int("next_attempt_index"), row.int("retry_count")),
        (Some(1), 1)
    );
    assert_eq!(
        events,
        ["lease.released(failed_retry_scheduled)"],
        "no completion event"
    );
    w.assert_vector(claim.id, PENDING, "delayed");
    let facts = w.describe(claim.id);
    assert_eq!(facts.maybe_uuid("current_attempt_id"), None);
    assert_eq!(
        (
            facts.maybe_int("current_attempt_index"),
            facts.int("total_attempt_count")
        ),
        (Some(0), 1)
    );
    assert_eq!(
        facts.maybe_instant("delay_until"),
        row.maybe_instant("delay_until")
    );
    assert!(!facts.text("blocking_detail").is_empty());
    assert_eq!(
        facts.text("failure_reason"),
        "first failure",
        "kept while the retry is pending"
    );
    assert_eq!(w.attempt_words(claim.id), ["0 initial ended_failure"]);

    w.advance_ms(10);
    w.reconciles("delayed", 1);
    w.assert_vector(
        claim.id,
        "runnable/unowned/eligible_now/waiting_for_worker/none/pending_retry_attempt",
        "waiting",
    );
    let next = w.claim("");
    assert_eq!((next.id, next.index, next.epoch), (claim.id, 1, 2));
    assert_eq!(
        (next.attempt_type.as_str(), next.kind.as_str()),
        ("retry", "fresh")
    );
    assert_ne!(next.attempt_id, claim.attempt_id);
    assert_eq!(next.row.maybe_int("previous_attempt_index"), Some(0));
    assert_eq!(
        next.row.maybe_text("previous_failure").as_deref(),
        Some("first failure")
    );
    assert_eq!(next.row.int("retry_count"), 1);
}

#[test]
fn e_57_a_repeated_failure_returns_what_was_decided() {
    let mut w = World::new();
    let claim = w.claimed(&fixed(3, 10), "");
    let first = w.fail(&claim.handle, "x", "");
    let same = |row: &Row| {
        assert_eq!(
            (row.text("outcome"), row.flag("replayed")),
            ("retry_scheduled".into(), true)
        );
        assert_eq!(
            row.maybe_instant("delay_until"),
            first.maybe_instant("delay_until")
        );
        assert_eq!(
            (row.maybe_int("next_attempt_index"), row.int("retry_count")),
            (Some(1), 1)
        );
        assert_eq!(row.text("public_state"), first.text("public_state"));
    };
    let before = w.contents();
    same(&w.fail(&claim.handle, "y", "'permanent'"));
    assert_eq!(w.contents(), before);
    w.advance_ms(10);
    w.claim("");
    let before = w.contents();
    same(&w.fail(&claim.handle, "y", ""));
    assert_eq!(w.contents(), before);
}

/// Milliseconds until the retry that this failure schedules.
#[track_caller]
fn backoff(w: &mut World, handle: &str, arguments: &str) -> i64 {
    let before = w.now();
    let row = w.fail(handle, "x", arguments);
    let after = w.now();
    assert_eq!(row.text("outcome"), "retry_scheduled");
    let until = row.maybe_instant("delay_until").expect("an instant");
    // The failure happened between the two looks at the clock.
    let (least, most) = (
        (until - after).num_milliseconds(),
        (until - before).num_milliseconds(),
    );
    (least + most) / 2
}

fn close(delay: i64, expected: i64) -> bool {
    (delay - expected).abs() < 500
}

#[test]
fn e_58_exponential_delays_grow_to_their_maximum() {
    let mut w = World::new();
    w.create(r#"policy => '{"retry_policy":{"max_retries":9,"backoff":{"type":"exponential","initial_delay_ms":1000,"multiplier":2.0,"max_delay_ms":5000}}}'"#);
    for expected in [1000, 2000, 4000, 5000, 5000] {
        let claim = w.claim("");
        let delay = backoff(&mut w, &claim.handle, "");
        assert!(close(delay, expected), "{delay} instead of {expected}");
        w.advance_ms(6_000);
    }
}

#[test]
fn e_58_jitter_stays_in_the_upper_half() {
    let mut w = World::new();
    w.create(r#"policy => '{"retry_policy":{"max_retries":99,"backoff":{"type":"exponential","initial_delay_ms":100000,"multiplier":1,"max_delay_ms":100000,"jitter":true}}}'"#);
    let mut delays = Vec::new();
    for _ in 0..20 {
        let claim = w.claim("");
        delays.push(backoff(&mut w, &claim.handle, ""));
        w.advance_ms(101_000);
    }
    assert!(
        delays
            .iter()
            .all(|delay| (49_500..=100_500).contains(delay)),
        "{delays:?}"
    );
    let (least, most) = (delays.iter().min(), delays.iter().max());
    assert!(
        most.zip(least)
            .is_some_and(|(most, least)| most - least > 5_000),
        "drawn, not fixed: {delays:?}"
    );
}

#[test]
fn e_58_the_worker_may_name_the_delay() {
    let mut w = World::new();
    w.create(&fixed(9, 1000));
    let claim = w.claim("");
    let delay = backoff(&mut w, &claim.handle, "retry_after => '30 s'");
    assert!(close(delay, 30_000), "{delay}");
    w.advance_ms(31_000);
    let claim = w.claim("");
    let row = w.fail(&claim.handle, "x", "retry_after => '0 s'");
    assert_eq!(
        (row.text("outcome"), row.text("public_state")),
        ("retry_scheduled".into(), "waiting".into())
    );
    w.assert_vector(
        claim.id,
        "runnable/unowned/eligible_now/waiting_for_worker/none/pending_retry_attempt",
        "waiting",
    );
    let claim = w.claim("");
    w.refused(
        "FF101",
        "SELECT * FROM ff_fail($1, 'x', retry_after => '-1 s')",
        &[&claim.handle],
    );
}

#[test]
fn e_59_retries_are_counted_beyond_the_first_attempt() {
    let mut w = World::new();
    let id = w.create(&fixed(2, 0));
    for outcome in ["retry_scheduled", "retry_scheduled", "terminal_failed"] {
        let claim = w.claim("");
        assert_eq!(w.fail(&claim.handle, "x", "").text("outcome"), outcome);
    }
    assert_eq!(
        w.attempt_words(id),
        [
            "0 initial ended_failure",
            "1 retry ended_failure",
            "2 retry ended_failure"
        ]
    );
    let facts = w.describe(id);
    assert_eq!(
        (facts.int("total_attempt_count"), facts.int("retry_count")),
        (3, 2)
    );
    assert_eq!(facts.maybe_int("current_attempt_index"), Some(2));
}

#[test]
fn e_59_naming_the_delay_grants_no_further_retry() {
    let mut w = World::new();
    w.create(&fixed(1, 0));
    for outcome in ["retry_scheduled", "terminal_failed"] {
        let claim = w.claim("");
        let row = w.fail(&claim.handle, "x", "retry_after => '0'");
        assert_eq!(row.text("outcome"), outcome);
    }
}

#[test]
fn e_60_permanent_and_cancelled_failures_are_final() {
    for class in ["permanent", "cancelled"] {
        let mut w = World::new();
        let claim = w.claimed(&fixed(3, 0), "");
        let row = w.fail(&claim.handle, "x", &format!("'{class}'"));
        assert_eq!(row.text("outcome"), "terminal_failed", "{class}");
        assert_eq!(
            w.describe(claim.id).text("failure_category"),
            class,
            "the category's default"
        );
    }
    for class in ["transient", "infra_crash", "timeout"] {
        let mut w = World::new();
        let claim = w.claimed(&fixed(3, 0), "");
        let row = w.fail(&claim.handle, "x", &format!("'{class}'"));
        assert_eq!(row.text("outcome"), "retry_scheduled", "{class}");
    }
}

#[test]
fn e_60_only_listed_categories_and_classes_retry() {
    let policy = |list: &str| {
        format!(
            r#"policy => '{{"retry_policy":{{"retryable_categories":[{list}],"backoff":{{"type":"fixed","delay_ms":0}}}}}}'"#
        )
    };
    for (list, failure, outcome) in [
        (
            r#""provider_error""#,
            "category => 'provider_error'",
            "retry_scheduled",
        ),
        (r#""provider_error""#, "'transient'", "terminal_failed"),
        (
            r#""provider_error""#,
            "'permanent', 'provider_error'",
            "terminal_failed",
        ),
        (
            r#""transient""#,
            "'transient', 'anything'",
            "retry_scheduled",
        ),
    ] {
        let mut w = World::new();
        let claim = w.claimed(&policy(list), "");
        assert_eq!(
            w.fail(&claim.handle, "x", failure).text("outcome"),
            outcome,
            "[{list}] {failure}"
        );
    }
}

#[test]
fn e_60_an_unknown_classification_is_refused() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    w.refused(
        "FF101",
        "SELECT * FROM ff_fail($1, 'x', 'odd')",
        &[&claim.handle],
    );
    assert_eq!(w.state(claim.id), "active");
}

#[test]
fn e_61_a_retry_on_another_tier_is_a_fallback() {
    let mut w = World::new();
    let id = w.create(
        r#"policy => '{"retry_policy":{"max_retries":2,"backoff":{"type":"fixed","delay_ms":0}},
            "timeout_policy":{"attempt_timeout_ms":1000},
            "fallback_policy":{"tiers":[{"provider":"a","model":"m"},{"provider":"b","model":"n","timeout_ms":60000}]}}'"#,
    );
    let mut left = Vec::new();
    for _ in 0..3 {
        let claim = w.claim("lease_ttl => '1 h'");
        let now = w.now();
        left.push((claim.row.instant("attempt_deadline") - now).num_milliseconds());
        w.fail(&claim.handle, "x", "");
    }
    assert_eq!(
        w.attempt_words(id),
        [
            "0 initial ended_failure",
            "1 fallback ended_failure",
            "2 retry ended_failure"
        ]
    );
    assert!(left[0] <= 1_000, "the policy's timeout: {left:?}");
    assert!(
        (59_000..=60_000).contains(&left[1]),
        "the tier's timeout: {left:?}"
    );
    assert!(
        (59_000..=60_000).contains(&left[2]),
        "the same tier again: {left:?}"
    );
}

#[test]
fn e_56_reasons_may_be_empty_and_are_cut_not_refused() {
    let mut w = World::new();
    w.create(&fixed(9, 0));
    for (reason, kept) in [(String::new(), 0), ("é".repeat(5000), 8192)] {
        let claim = w.claim("");
        w.fail(&claim.handle, &reason, "");
        let stored = w
            .attempts(claim.id)
            .pop()
            .and_then(|a| a.maybe_text("failure_reason"));
        assert_eq!(stored.unwrap_or_default().len(), kept);
    }
}

#[test]
fn e_58_a_delay_that_overflows_saturates() {
    let mut w = World::new();
    let max = 3 * 86_400_000_i64;
    w.create(&format!(r#"policy => '{{"retry_policy":{{"max_retries":1000000,"backoff":{{"type":"exponential","initial_delay_ms":1000000000,"multiplier":1000,"max_delay_ms":{max}}}}}}}'"#));
    for _ in 0..5 {
        let claim = w.claim("");
        let row = w.fail(&claim.handle, "x", "");
        let now = w.now();
        let wait = row.maybe_instant("delay_until").expect("an instant") - now;
        assert!(wait <= Duration::milliseconds(max));
        w.advance_ms(max);
    }
}
