//! Repeated suspends (§20.8).

use crate::support::waiting::READY;
use crate::support::{Cells, World};

#[test]
fn s_12_a_repeated_suspend_gets_its_first_answer() {
    let mut w = World::new();
    w.seed();
    let c = w.claimed("", "");
    let first = w.suspend(&c.handle, &format!("{READY}, idempotency_key => 'retry-1'"));
    let before = w.contents();
    let second = w.suspend(
        &c.handle,
        "ff_cond_signal('wpk:z', 'other'), idempotency_key => 'retry-1', suspension_id => gen_random_uuid()",
    );
    assert_eq!(second.len(), 1);
    for column in ["suspension_id", "waitpoint_id"] {
        assert_eq!(first[0].uuid(column), second[0].uuid(column));
    }
    for column in [
        "outcome",
        "handle",
        "waitpoint_key",
        "waitpoint_token",
        "public_state",
    ] {
        assert_eq!(first[0].text(column), second[0].text(column), "{column}");
    }
    assert!(!first[0].flag("replayed") && second[0].flag("replayed"));
    assert_eq!(w.contents(), before);
}

#[test]
fn s_13_a_key_counts_for_one_attempt_of_one_execution() {
    let mut w = World::new();
    w.seed();
    let keyed = format!("{READY}, idempotency_key => 'retry-1'");
    let id = |n: u8| format!("execution_id => '00000000-0000-8100-8000-0000000000{n:02}'");
    let one = w.waiting_with(&id(1), &keyed);
    let other = w.waiting_with(&id(2), &keyed);
    assert_ne!(one.suspension, other.suspension);
    let policy = r#"policy => '{"retry_policy":{"backoff":{"type":"fixed","delay_ms":0}}}'"#;
    let first = w.waiting_with(policy, &keyed);
    w.effect(&first.point(), "ready");
    let again = w.reclaimed(&first);
    w.fail(&again.handle, "x", "");
    let retry = w.claim("");
    assert_eq!(retry.index, 1);
    assert_ne!(w.suspended(retry, &keyed).suspension, first.suspension);
}

#[test]
fn s_14_the_step_run_again_after_the_wake_up_goes_on() {
    let mut w = World::new();
    let keyed = format!("{READY}, idempotency_key => 'retry-1'");
    let s = w.waiting(&keyed);
    w.effect(&s.point(), "ready");
    let again = w.reclaimed(&s);
    let before = w.contents();
    let row = &w.suspend(&again.handle, &keyed)[0];
    assert_eq!(
        (
            row.text("outcome"),
            row.flag("replayed"),
            row.maybe_text("handle")
        ),
        ("already_satisfied".into(), true, None)
    );
    assert_eq!(row.uuid("suspension_id"), s.suspension);
    assert_eq!(row.text("public_state"), "active");
    let stale = &w.suspend(&s.claim.handle, &keyed)[0];
    assert_eq!(stale.text("outcome"), "suspended");
    assert_eq!(stale.text("handle"), s.handle);
    assert_eq!(w.contents(), before);
    w.complete(&again.handle, None);
}

#[test]
fn s_15_a_key_is_remembered_a_while() {
    let mut w = World::new();
    let keyed = |more: &str| format!("{READY}, idempotency_key => 'k'{more}");
    let s = w.waiting(&keyed(
        ", timeout => '10 s', timeout_behavior => 'auto_resume'",
    ));
    w.advance_ms(69_000);
    assert!(w.suspend(&s.claim.handle, &keyed(""))[0].flag("replayed"));
    w.advance_ms(1_000);
    let call = format!("SELECT * FROM ff_suspend($1, {})", keyed(""));
    w.refused("FF405", &call, &[&s.claim.handle]);
    let s = w.waiting(&keyed(""));
    w.advance_ms(7 * 86_400_000 - 5_000);
    assert!(w.suspend(&s.claim.handle, &keyed(""))[0].flag("replayed"));
    w.advance_ms(5_000);
    w.refused("FF405", &call, &[&s.claim.handle]);
    assert_eq!(w.count("suspension_key"), 2);
    assert_eq!(w.reconcile("signal_gc", "").0, 2);
    assert_eq!(w.count("suspension_key"), 0);
    w.reconciles("signal_gc", 0);
}
