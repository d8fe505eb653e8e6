//! Progress, and giving the lease back until an instant (§10.14.2, §10.14.3).

use chrono::Duration;

use crate::support::{Cells, World};

const DELAYED: &str =
    "runnable/unowned/not_eligible_until_time/waiting_for_delay/none/attempt_interrupted";
const IN_A_MINUTE: &str = "SELECT * FROM ff_delay($1, ff_server_time() + interval '60 s')";

#[test]
fn e_49_progress_is_the_last_word_of_the_running_attempt() {
    let mut w = World::new();
    let claim = w.claimed("", "lease_ttl => '10 s'");
    let progress = |w: &mut World| {
        let facts = w.describe(claim.id);
        (
            facts.maybe_int("progress_pct"),
            facts.maybe_text("progress_message"),
        )
    };
    assert_eq!(progress(&mut w), (None, None));
    let (_, events) = w.events_by(|w| {
        w.one("SELECT ff_progress($1, 40, 'x')", &[&claim.handle]);
        w.one("SELECT ff_progress($1, NULL, 'y')", &[&claim.handle]);
    });
    assert!(events.is_empty());
    assert_eq!(progress(&mut w), (Some(40), Some("y".into())));
    w.one("SELECT ff_progress($1, 0)", &[&claim.handle]);
    assert_eq!(progress(&mut w), (Some(0), Some("y".into())));
    assert!(
        w.describe(claim.id)
            .maybe_instant("progress_updated_at")
            .is_some()
    );
    for outside in [-1, 101] {
        w.refused(
            "FF101",
            "SELECT ff_progress($1, $2)",
            &[&claim.handle, &outside],
        );
    }
    w.advance_ms(10_000);
    w.claim("");
    assert_eq!(
        progress(&mut w),
        (None, None),
        "a new attempt starts without"
    );
    assert_eq!(
        w.describe(claim.id).maybe_instant("progress_updated_at"),
        None
    );
}

#[test]
fn e_49_a_long_message_is_cut_on_a_character_boundary() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    let long = format!("x{}", "é".repeat(5000));
    w.one("SELECT ff_progress($1, 1, $2)", &[&claim.handle, &long]);
    let kept = w.describe(claim.id).text("progress_message");
    assert_eq!(
        kept,
        format!("x{}", "é".repeat(4095)),
        "8191 bytes: the next character would be the 8193rd"
    );
}

#[test]
fn e_50_a_delayed_attempt_is_continued_not_repeated() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    let asked_at = w.now();
    let (row, events) = w.events_by(|w| w.one(IN_A_MINUTE, &[&claim.handle]));
    assert_eq!(
        (
            row.text("outcome"),
            row.text("public_state"),
            row.flag("replayed")
        ),
        ("delayed".into(), "delayed".into(), false)
    );
    let until = row.instant("delay_until");
    assert!((until - asked_at - Duration::seconds(60)).num_seconds() < 5);
    assert_eq!(events, ["lease.released(worker_delay)"]);
    w.assert_vector(claim.id, DELAYED, "delayed");
    let facts = w.describe(claim.id);
    assert_eq!(facts.maybe_instant("delay_until"), Some(until));
    assert!(facts.text("blocking_detail").starts_with("delayed until "));
    assert_eq!(
        (
            facts.maybe_uuid("lease_id"),
            facts.maybe_text("worker"),
            facts.maybe_instant("lease_expires_at")
        ),
        (None, None, None)
    );
    assert_eq!(w.attempt_words(claim.id), ["0 initial suspended"]);
    assert_eq!(
        w.attempts(claim.id)[0].maybe_text("pause_kind").as_deref(),
        Some("worker_delay")
    );

    let before = w.contents();
    let again = w.one(
        "SELECT * FROM ff_delay($1, ff_server_time() + interval '9 h')",
        &[&claim.handle],
    );
    assert_eq!(
        (
            again.text("outcome"),
            again.instant("delay_until"),
            again.flag("replayed")
        ),
        ("delayed".into(), until, true)
    );
    assert_eq!(w.contents(), before, "a replay writes nothing");

    w.advance_ms(60_000);
    let (resumed, events) = w.events_by(|w| w.claim(""));
    assert_eq!(events, ["lease.acquired(claim_resumed)"]);
    assert_eq!(
        (
            resumed.id,
            resumed.index,
            resumed.epoch,
            resumed.kind.as_str()
        ),
        (claim.id, 0, 2, "resumed")
    );
    assert_eq!(resumed.attempt_id, claim.attempt_id);
    assert_eq!(
        (
            resumed.attempt_type.as_str(),
            resumed.row.int("total_attempt_count")
        ),
        ("initial", 1)
    );
    assert_eq!(w.attempt_words(claim.id), ["0 initial started"]);
    assert_eq!(w.attempts(claim.id)[0].maybe_text("pause_kind"), None);
    w.refused("FF401", "SELECT * FROM ff_renew($1)", &[&claim.handle]);
    let replay = w.one(IN_A_MINUTE, &[&claim.handle]);
    assert!(
        replay.flag("replayed"),
        "until a later lease of the attempt has ended"
    );
    w.complete(&resumed.handle, None);
    w.refused("FF210", IN_A_MINUTE, &[&claim.handle]);
}

#[test]
fn e_50_a_delay_to_the_past_makes_it_resumable_at_once() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    let row = w.one(
        "SELECT * FROM ff_delay($1, ff_server_time() - interval '1 s')",
        &[&claim.handle],
    );
    assert_eq!(
        (row.text("outcome"), row.text("public_state")),
        ("ready".into(), "resumable".into())
    );
    w.assert_vector(
        claim.id,
        "runnable/unowned/eligible_now/waiting_for_worker/none/attempt_interrupted",
        "resumable",
    );
    assert_eq!(w.claim("").kind, "resumed");
}

#[test]
fn e_50_the_reconciler_makes_a_delayed_attempt_resumable() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    w.one(IN_A_MINUTE, &[&claim.handle]);
    w.advance_ms(60_000);
    let (_, events) = w.events_by(|w| w.reconciles("delayed", 1));
    assert!(events.is_empty());
    w.assert_vector(
        claim.id,
        "runnable/unowned/eligible_now/waiting_for_worker/none/attempt_interrupted",
        "resumable",
    );
    let facts = w.describe(claim.id);
    assert_eq!(
        (
            facts.maybe_instant("delay_until"),
            facts
                .maybe_text("blocking_detail")
                .filter(|d| !d.is_empty())
        ),
        (None, None)
    );
}

#[test]
fn e_50_a_delay_needs_an_instant() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    w.refused(
        "FF101",
        "SELECT * FROM ff_delay($1, NULL)",
        &[&claim.handle],
    );
    assert_eq!(w.state(claim.id), "active");
}

#[test]
fn e_78_the_clock_of_an_attempt_stands_still_while_it_is_paused() {
    let mut w = World::new();
    let claim = w.claimed(
        r#"policy => '{"timeout_policy":{"attempt_timeout_ms":10000}}'"#,
        "lease_ttl => '1 h'",
    );
    assert!(claim.row.maybe_instant("attempt_deadline").is_some());
    w.advance_ms(4_000);
    w.one(
        "SELECT * FROM ff_delay($1, ff_server_time() + interval '1 h')",
        &[&claim.handle],
    );
    assert_eq!(w.describe(claim.id).maybe_instant("attempt_deadline"), None);
    w.advance_ms(3_600_000);
    w.reconciles("attempt_timeout", 0);
    let resumed = w.claim("lease_ttl => '1 h'");
    let now = w.now();
    let left = (resumed.row.instant("attempt_deadline") - now).num_milliseconds();
    assert!(
        (4_000..=6_000).contains(&left),
        "six of ten seconds are left, not {left} ms"
    );
    w.advance_ms(6_000);
    w.reconciles("attempt_timeout", 1);
    assert_eq!(w.state(claim.id), "expired");
}

#[test]
fn e_51_outside_a_flow_nobody_has_to_be_waited_for() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    let (row, events) =
        w.events_by(|w| w.one("SELECT * FROM ff_wait_children($1)", &[&claim.handle]));
    assert_eq!(
        (row.text("outcome"), row.text("public_state")),
        ("ready".into(), "resumable".into())
    );
    assert_eq!(
        (row.int("open_dependencies"), row.flag("replayed")),
        (0, false)
    );
    assert_eq!(events, ["lease.released(waiting_children)"]);
    w.assert_vector(
        claim.id,
        "runnable/unowned/eligible_now/waiting_for_worker/none/attempt_interrupted",
        "resumable",
    );
    assert_eq!(w.attempt_words(claim.id), ["0 initial suspended"]);
    assert_eq!(
        w.attempts(claim.id)[0].maybe_text("pause_kind").as_deref(),
        Some("waiting_children")
    );
    let again = w.one("SELECT * FROM ff_wait_children($1)", &[&claim.handle]);
    assert!(again.flag("replayed"));
    let resumed = w.claim("");
    assert_eq!(
        (resumed.kind.as_str(), resumed.index, resumed.epoch),
        ("resumed", 0, 2)
    );
}
