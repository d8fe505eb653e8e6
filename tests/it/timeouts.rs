//! Attempt timeouts and execution deadlines (§10.17).

use crate::support::waiting::READY;
use crate::support::{Cells, World};

const ONE_SECOND: &str = r#"{"attempt_timeout_ms":1000}"#;

#[test]
fn e_15_work_past_its_deadline_is_never_handed_out_and_expires() {
    let mut w = World::new();
    let id = w.create("execution_deadline => ff_server_time() + interval '1 ms'");
    w.advance_ms(1_000);
    assert!(w.claims("").is_empty());
    assert_eq!(w.state(id), "waiting");
    let (_, events) = w.events_by(|w| w.reconciles("execution_deadline", 1));
    assert!(
        events.len() == 1 && events[0].starts_with("completion.expired"),
        "{events:?}"
    );
    w.assert_vector(
        id,
        "terminal/unowned/not_applicable/none/expired/pending_first_attempt",
        "expired",
    );
    assert_eq!(w.describe(id).text("failure_reason"), "execution_deadline");
    w.reconciles("execution_deadline", 0);
}

#[test]
fn e_15_a_deadline_already_past_is_accepted() {
    let mut w = World::new();
    let id = w.create("execution_deadline => ff_server_time() - interval '1 s'");
    assert!(w.claims("").is_empty());
    assert_eq!(
        w.state(id),
        "waiting",
        "a claim leaves it to the reconciler"
    );
    w.reconciles("execution_deadline", 1);
    assert_eq!(w.state(id), "expired");
}

#[test]
fn e_15_a_deadline_in_the_policy_counts_from_creation() {
    let mut w = World::new();
    let id = w.create(r#"policy => '{"timeout_policy":{"execution_deadline_ms":10000}}'"#);
    let facts = w.describe(id);
    let span = facts
        .maybe_instant("execution_deadline")
        .expect("a deadline")
        - facts.instant("created_at");
    assert_eq!(span.num_milliseconds(), 10_000);
    w.advance_ms(10_000);
    w.reconciles("execution_deadline", 1);
}

#[test]
fn e_76_an_attempt_past_its_timeout_expires_the_execution() {
    let mut w = World::new();
    let claim = w.claimed(
        &format!(r#"policy => '{{"timeout_policy":{ONE_SECOND}}}'"#),
        "lease_ttl => '1 h'",
    );
    let now = w.now();
    let left = (claim.row.instant("attempt_deadline") - now).num_milliseconds();
    assert!((0..=1_000).contains(&left));
    w.reconciles("attempt_timeout", 0);
    w.advance_ms(1_000);
    let (_, events) = w.events_by(|w| w.reconciles("attempt_timeout", 1));
    assert_eq!(events[0], "lease.released(attempt_timeout)");
    assert!(
        events.len() == 2 && events[1].starts_with("completion.expired"),
        "{events:?}"
    );
    w.assert_vector(
        claim.id,
        "terminal/unowned/not_applicable/none/expired/attempt_terminal",
        "expired",
    );
    let facts = w.describe(claim.id);
    assert_eq!(
        (facts.text("failure_reason"), facts.maybe_uuid("lease_id")),
        ("attempt_timeout".into(), None)
    );
    let attempt = w.attempts(claim.id).pop().expect("an attempt");
    assert_eq!(
        (attempt.text("attempt_state"), attempt.text("failure_class")),
        ("ended_failure".into(), "timeout".into())
    );
    w.refused("FF210", "SELECT * FROM ff_complete($1)", &[&claim.handle]);
}

#[test]
fn e_76_until_the_timeout_is_applied_the_worker_may_still_finish() {
    let mut w = World::new();
    let claim = w.claimed(
        &format!(r#"policy => '{{"timeout_policy":{ONE_SECOND}}}'"#),
        "lease_ttl => '1 h'",
    );
    w.advance_ms(2_000);
    assert_eq!(w.complete(&claim.handle, None).text("outcome"), "completed");
    w.reconciles("attempt_timeout", 0);
}

#[test]
fn e_77_with_retries_left_a_timeout_is_a_failure_like_another() {
    let mut w = World::new();
    let policy = format!(
        r#"policy => '{{"timeout_policy":{ONE_SECOND},"retry_policy":{{"max_retries":3}}}}'"#
    );
    let claim = w.claimed(&policy, "lease_ttl => '1 h'");
    w.advance_ms(1_000);
    let (_, events) = w.events_by(|w| w.reconciles("attempt_timeout", 1));
    assert_eq!(
        events,
        ["lease.released(attempt_timeout)"],
        "no completion event"
    );
    w.assert_vector(
        claim.id,
        "runnable/unowned/not_eligible_until_time/waiting_for_retry_backoff/none/pending_retry_attempt",
        "delayed",
    );
    assert_eq!(w.describe(claim.id).int("retry_count"), 1);
    w.advance_ms(1_000);
    let next = w.claim("lease_ttl => '1 h'");
    assert_eq!((next.index, next.attempt_type.as_str()), (1, "retry"));
    let now = w.now();
    let left = (next.row.instant("attempt_deadline") - now).num_milliseconds();
    assert!((0..=1_000).contains(&left), "a fresh timeout: {left}");
}

#[test]
fn e_77_categories_decide_about_timeouts_too() {
    let mut w = World::new();
    let policy = format!(
        r#"policy => '{{"timeout_policy":{ONE_SECOND},"retry_policy":{{"retryable_categories":["provider_error"]}}}}'"#
    );
    let claim = w.claimed(&policy, "lease_ttl => '1 h'");
    w.advance_ms(1_000);
    w.reconciles("attempt_timeout", 1);
    assert_eq!(w.state(claim.id), "expired");
}

const DEADLINE: &str = r#""timeout_policy":{"execution_deadline_ms":10000}"#;

#[test]
fn e_79_a_deadline_ends_delayed_work() {
    let mut w = World::new();
    let id = w.create(&format!(
        "delay_until => ff_server_time() + interval '1 h', policy => '{{{DEADLINE}}}'"
    ));
    w.advance_ms(10_000);
    w.reconciles("execution_deadline", 1);
    w.assert_vector(
        id,
        "terminal/unowned/not_applicable/none/expired/pending_first_attempt",
        "expired",
    );
    assert_eq!(w.describe(id).maybe_instant("delay_until"), None);
}

#[test]
fn e_79_a_deadline_ends_running_work() {
    let mut w = World::new();
    let claim = w.claimed(&format!("policy => '{{{DEADLINE}}}'"), "lease_ttl => '1 h'");
    w.advance_ms(10_000);
    let (_, events) = w.events_by(|w| w.reconciles("execution_deadline", 1));
    assert_eq!(events[0], "lease.released(execution_deadline)");
    assert!(
        events.len() == 2 && events[1].starts_with("completion.expired"),
        "{events:?}"
    );
    w.assert_vector(
        claim.id,
        "terminal/unowned/not_applicable/none/expired/attempt_terminal",
        "expired",
    );
    let attempt = w.attempts(claim.id).pop().expect("an attempt");
    assert_eq!(
        (
            attempt.text("attempt_state"),
            attempt.text("failure_reason")
        ),
        ("ended_failure".into(), "execution_deadline".into())
    );
    w.refused("FF210", "SELECT * FROM ff_renew($1)", &[&claim.handle]);
}

#[test]
fn e_79_a_deadline_ends_work_whose_lease_was_lost() {
    let mut w = World::new();
    let claim = w.claimed(&format!("policy => '{{{DEADLINE}}}'"), "lease_ttl => '1 s'");
    w.advance_ms(1_000);
    w.reconciles("lease_expiry", 1);
    w.advance_ms(9_000);
    assert!(
        w.claims("").is_empty(),
        "past its deadline it is not reclaimed"
    );
    let (_, events) = w.events_by(|w| w.reconciles("execution_deadline", 1));
    assert!(
        events.len() == 1 && events[0].starts_with("completion.expired"),
        "no lease to release: {events:?}"
    );
    assert_eq!(w.attempt_words(claim.id), ["0 initial ended_failure"]);
}

#[test]
fn e_79_a_deadline_ends_a_paused_attempt() {
    let mut w = World::new();
    let claim = w.claimed(&format!("policy => '{{{DEADLINE}}}'"), "");
    w.one(
        "SELECT * FROM ff_delay($1, ff_server_time() + interval '1 h')",
        &[&claim.handle],
    );
    w.advance_ms(10_000);
    w.reconciles("execution_deadline", 1);
    w.assert_vector(
        claim.id,
        "terminal/unowned/not_applicable/none/expired/attempt_terminal",
        "expired",
    );
    assert_eq!(w.attempt_words(claim.id), ["0 initial ended_failure"]);
}

#[test]
fn e_79_a_deadline_ends_a_suspended_attempt_and_its_waitpoints() {
    let mut w = World::new();
    let s = w.waiting_with(&format!("policy => '{{{DEADLINE}}}'"), READY);
    w.advance_ms(10_000);
    let (_, events) = w.events_by(|w| w.reconciles("execution_deadline", 1));
    assert!(
        events.len() == 2 && events[1].starts_with("completion.expired"),
        "{events:?}"
    );
    w.assert_vector(
        s.id,
        "terminal/unowned/not_applicable/none/expired/attempt_terminal",
        "expired",
    );
    assert_eq!(w.attempt_words(s.id), ["0 initial ended_failure"]);
    assert_eq!(w.describe(s.id).maybe_uuid("current_suspension_id"), None);
    let closed = "expired:execution_deadline";
    assert_eq!(w.suspension(s.id).text("close_reason"), closed);
    assert_eq!(w.waitpoint_state(s.point().id), format!("closed {closed}"));
    w.undeliverable("FF407", &s.point(), "");
    assert!(w.claims("").is_empty());
}

#[test]
fn e_79_a_deadline_wins_over_a_pending_retry() {
    let mut w = World::new();
    let claim = w.claimed(
        &format!(r#"policy => '{{{DEADLINE},"retry_policy":{{}}}}'"#),
        "",
    );
    w.fail(&claim.handle, "the original reason", "retry_after => '1 h'");
    w.advance_ms(10_000);
    w.reconciles("execution_deadline", 1);
    w.assert_vector(
        claim.id,
        "terminal/unowned/not_applicable/none/expired/attempt_terminal",
        "expired",
    );
    assert_eq!(
        w.describe(claim.id).text("failure_reason"),
        "execution_deadline"
    );
    let attempt = w.attempts(claim.id).pop().expect("an attempt");
    assert_eq!(
        (
            attempt.text("attempt_state"),
            attempt.text("failure_reason")
        ),
        ("ended_failure".into(), "the original reason".into())
    );
}
