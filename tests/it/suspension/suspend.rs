//! What a suspend does, and what it refuses.

use crate::support::waiting::READY;
use crate::support::{Cells, World};

#[test]
fn s_1_a_suspend_releases_the_lease_and_leaves_an_address() {
    let mut w = World::new();
    w.seed();
    let claim = w.claimed("", "");
    let rows = w.suspend(&claim.handle, READY);
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    let read = |name: &str| row.text(name);
    assert_eq!(
        (read("outcome"), row.int("ordinal"), read("waitpoint_key")),
        ("suspended".into(), 1, "wpk:a".into())
    );
    assert_eq!(
        (read("waitpoint_state"), read("public_state")),
        ("active".into(), "suspended".into())
    );
    let token = read("waitpoint_token");
    let mac = token.strip_prefix("k1:").expect("the kid");
    assert!(mac.len() == 64 && mac.bytes().all(|c| b"0123456789abcdef".contains(&c)));
    assert_ne!(read("handle"), claim.handle);
    assert!(!row.flag("replayed") && row.maybe_instant("expires_at").is_none());
    w.assert_vector(
        claim.id,
        "suspended/unowned/not_applicable/waiting_for_signal/none/attempt_interrupted",
        "suspended",
    );
    let e = w.describe(claim.id);
    assert!(e.maybe_uuid("lease_id").is_none() && e.maybe_instant("lease_expires_at").is_none());
    assert_eq!((e.maybe_text("worker"), e.big("lease_epoch")), (None, 1));
    assert_eq!(e.uuid("current_suspension_id"), row.uuid("suspension_id"));
    assert_eq!(e.uuid("current_waitpoint_id"), row.uuid("waitpoint_id"));
    assert_eq!(
        e.text("blocking_detail"),
        format!(
            "suspended: waitpoint {} awaiting waiting_for_signal",
            row.uuid("waitpoint_id")
        )
    );
    let attempt = &w.attempts(claim.id)[0];
    assert_eq!(attempt.text("attempt_state"), "suspended");
    assert_eq!(
        attempt.text("pause_kind"),
        row.uuid("suspension_id").to_string()
    );
    assert_eq!(
        w.event_words(claim.id)[1..],
        [
            "lease.released(suspended)",
            "suspension.suspended(waiting_for_signal)"
        ]
    );
}

#[test]
fn s_2_neither_handle_works_while_suspended() {
    let mut w = World::new();
    let s = w.waiting(READY);
    let before = w.contents();
    w.refused("FF210", "SELECT * FROM ff_complete($1)", &[&s.claim.handle]);
    w.refused("FF210", "SELECT * FROM ff_complete($1)", &[&s.handle]);
    let again = format!("SELECT * FROM ff_suspend($1, {READY})");
    let failure = w.refused("FF405", &again, &[&s.claim.handle]);
    assert_eq!(failure.says("suspension_id"), s.suspension.to_string());
    w.refused("FF405", &again, &[&s.handle]);
    assert_eq!(w.contents(), before);
    w.effect(&s.point(), "ready");
    let claim = w.reclaimed(&s);
    w.refused("FF401", &again, &[&s.claim.handle]);
    w.complete(&claim.handle, None);
}

#[test]
fn s_3_a_suspend_by_lease_epoch_and_attempt() {
    let mut w = World::new();
    w.seed();
    let c = w.claimed("", "");
    let call =
        "SELECT * FROM ff_suspend_execution($1, $2, $3, $4, ff_cond_signal('wpk:t', 'ready'), $5)";
    let none: Option<uuid::Uuid> = None;
    let before = w.contents();
    let index = Some(0i32);
    w.refused(
        "FF401",
        call,
        &[&c.id, &c.lease_id, &(c.epoch + 999), &c.attempt_id, &index],
    );
    w.refused("FF127", call, &[&c.id, &none, &None::<i64>, &none, &index]);
    w.refused(
        "FF128",
        call,
        &[&c.id, &c.lease_id, &None::<i64>, &none, &index],
    );
    let other = uuid::Uuid::from_u128(1);
    w.refused(
        "FF111",
        call,
        &[&c.id, &c.lease_id, &c.epoch, &other, &index],
    );
    w.refused(
        "FF111",
        call,
        &[&c.id, &c.lease_id, &c.epoch, &c.attempt_id, &Some(1i32)],
    );
    w.refused(
        "FF001",
        call,
        &[&other, &c.lease_id, &c.epoch, &c.attempt_id, &index],
    );
    assert_eq!(w.contents(), before);
    let row = w.one(
        call,
        &[&c.id, &c.lease_id, &c.epoch, &c.attempt_id, &None::<i32>],
    );
    assert_eq!(
        (row.text("outcome"), row.text("waitpoint_key")),
        ("suspended".into(), "wpk:t".into())
    );
    assert_eq!(w.state(c.id), "suspended");
}

#[test]
fn s_4_a_lost_lease_suspends_nothing() {
    let mut w = World::new();
    w.seed();
    let call = format!("SELECT * FROM ff_suspend($1, {READY})");
    let elapsed = w.claimed("", "lease_ttl => '1 s'");
    w.advance_ms(1_000);
    w.refused("FF402", &call, &[&elapsed.handle]);
    let revoked = w.claimed("", "reclaim => false");
    w.rows("SELECT * FROM ff_revoke_lease($1)", &[&revoked.id]);
    w.refused("FF403", &call, &[&revoked.handle]);
    assert_eq!((w.count("suspension"), w.count("waitpoint")), (0, 0));
}

#[test]
fn s_5_keys_and_timeouts_are_checked_first() {
    let mut w = World::new();
    w.seed();
    let c = w.claimed("", "");
    let refused = |w: &mut World, code: &str, arguments: &str| {
        let call = format!("SELECT * FROM ff_suspend($1, {arguments})");
        w.refused(code, &call, &[&c.handle])
            .says("rule")
            .to_string()
    };
    let mismatch = r#"ff_cond_signal('wpk:B'), '[{"key":"wpk:A"}]'"#;
    assert_eq!(refused(&mut w, "FF131", mismatch), "waitpoint_key_mismatch");
    let only = "ff_cond_timeout_only()";
    assert_eq!(
        refused(&mut w, "FF131", only),
        "timeout_only_without_deadline"
    );
    let past = format!("{READY}, timeout_at => ff_server_time() - interval '1 h'");
    assert_eq!(refused(&mut w, "FF101", &past), "timeout_at_in_past");
    let both = format!("{READY}, timeout => '1 s', timeout_at => ff_server_time()");
    assert_eq!(refused(&mut w, "FF101", &both), "both_given");
    let zero = format!("{READY}, timeout => '0'");
    assert_eq!(refused(&mut w, "FF101", &zero), "not_positive");
    let late = w.suspended(
        c,
        &format!("{READY}, timeout_at => ff_server_time() - interval '1 s'"),
    );
    w.reconciles("suspension_timeout", 1);
    assert_eq!(w.state(late.id), "failed");
    let policy = r#"policy => '{"suspension_policy":{"default_timeout_ms":60000,"timeout_behavior":"cancel"}}'"#;
    let now = w.now();
    let s = w.waiting_with(policy, only);
    let timeout = w.suspension(s.id).instant("timeout_at") - now;
    assert!(
        (60_000..70_000).contains(&timeout.num_milliseconds()),
        "{timeout}"
    );
    assert_eq!(w.suspension(s.id).text("timeout_behavior"), "cancel");
}

#[test]
fn s_6_documents_are_refused_whatever_the_handle() {
    let mut w = World::new();
    w.seed();
    let claim = w.claimed("", "");
    let nested = |n: usize| {
        (0..n).fold(READY.to_string(), |inner, _| {
            format!("ff_cond_all_of({inner})")
        })
    };
    for handle in [claim.handle.as_str(), "garbage"] {
        for (condition, rule) in [
            (
                r#"'{"type":"all_of","members":[]}'"#.to_string(),
                "members_empty",
            ),
            ("ff_cond_count(0, 'signals')".into(), "count_n_zero"),
            (
                "ff_cond_count(1, 'signals', '{}')".into(),
                "count_waitpoints_empty",
            ),
            (
                "ff_cond_count(3, 'waitpoints', '{a,b}')".into(),
                "count_exceeds_waitpoint_set",
            ),
            (nested(5), "depth_exceeded"),
            ("ff_cond_signal('a', '')".into(), "empty_signal_name"),
            (r#"'{"type":"signal","v":2}'"#.into(), "unsupported_version"),
            (
                format!("ff_cond_all_of({READY}, ff_cond_operator_only())"),
                "leaf_not_allowed_in_composite",
            ),
        ] {
            let call = format!("SELECT * FROM ff_suspend($1, {condition})");
            let failure = w.refused("FF131", &call, &[&handle]);
            assert_eq!(failure.says("rule"), rule);
            assert!(failure.detail["path"].is_string());
        }
    }
    let by_signals = "ff_cond_count(3, 'signals', '{a,b}')";
    assert_eq!(w.suspended(claim, by_signals).points.len(), 2);
    let claim = w.claimed("", "");
    w.suspended(claim, &nested(4));
}

#[test]
fn s_7_one_fresh_waitpoint_per_key_in_tree_order() {
    let mut w = World::new();
    let s = w.waiting("ff_cond_all_waitpoints('wpk:db', 'wpk:cache', 'wpk:flag')");
    let keys: Vec<&str> = s.points.iter().map(|p| p.key.as_str()).collect();
    assert_eq!(keys, ["wpk:db", "wpk:cache", "wpk:flag"]);
    let tokens: std::collections::BTreeSet<_> = s.points.iter().map(|p| &p.token).collect();
    assert_eq!(tokens.len(), 3);
    assert_eq!(
        w.describe(s.id).uuid("current_waitpoint_id"),
        s.points[0].id
    );
    let c = w.claimed("", "");
    for (arguments, code, rule) in [
        (
            format!(r#"{READY}, '[{{"key":"wpk:a"}},{{"key":"wpk:x"}}]'"#),
            "FF131",
            "extra_binding_not_referenced_by_condition",
        ),
        (
            r#"ff_cond_all_waitpoints('wpk:a', 'wpk:y'), '[{"key":"wpk:a"}]'"#.into(),
            "FF131",
            "referenced_waitpoint_key_missing_binding",
        ),
        (
            format!(r#"{READY}, '[{{"key":"wpk:a"}},{{"key":"wpk:a"}}]'"#),
            "FF107",
            "duplicate",
        ),
        (format!("{READY}, '[]'"), "FF101", "waitpoints_empty"),
    ] {
        let call = format!("SELECT * FROM ff_suspend($1, {arguments})");
        assert_eq!(w.refused(code, &call, &[&c.handle]).says("rule"), rule);
    }
    let nameless = w.suspended(c, "ff_cond_signal()");
    assert_eq!(
        nameless.points[0].key,
        format!("wpk:{}", nameless.points[0].id)
    );
    assert_eq!(
        w.effect(&nameless.point(), "any name"),
        "resume_condition_satisfied"
    );
}

#[test]
fn s_8_every_reason_blocks_as_its_word_says() {
    let mut w = World::new();
    for (reason, blocking) in [
        ("waiting_for_signal", "waiting_for_signal"),
        ("step_boundary", "waiting_for_signal"),
        ("awaiting_kyc", "waiting_for_signal"),
        ("waiting_for_approval", "waiting_for_approval"),
        ("waiting_for_callback", "waiting_for_callback"),
        ("waiting_for_tool_result", "waiting_for_tool_result"),
        ("waiting_for_operator_review", "paused_by_operator"),
        ("manual_pause", "paused_by_operator"),
        ("paused_by_policy", "paused_by_policy"),
        ("paused_by_budget", "waiting_for_budget"),
    ] {
        let s = w.waiting(&format!("{READY}, reason => '{reason}'"));
        assert_eq!(w.describe(s.id).text("blocking_reason"), blocking);
        assert_eq!(w.suspension(s.id).text("reason"), reason);
    }
    let c = w.claimed("", "");
    let call = format!("SELECT * FROM ff_suspend($1, {READY}, reason => 'Bad Word')");
    w.refused("FF101", &call, &[&c.handle]);
}

#[test]
fn s_9_without_a_key_nothing_fresh_can_be_signed() {
    let mut w = World::new();
    let c = w.claimed("", "");
    let before = w.contents();
    let call = format!("SELECT * FROM ff_suspend($1, {READY})");
    w.refused("FF506", &call, &[&c.handle]);
    let create = "SELECT * FROM ff_create_waitpoint($1, 'wpk:p', '1 min')";
    w.refused("FF506", create, &[&c.handle]);
    assert_eq!(w.contents(), before);
    assert_eq!(w.state(c.id), "active");
    w.rows("SELECT * FROM ff_renew($1)", &[&c.handle]);
    w.seed();
    let point = w.create_waitpoint(&c.handle, "wpk:p", "'1 min'");
    w.will_break_invariants();
    w.run("DELETE FROM ff_engine.waitpoint_secret");
    w.reconnect();
    let rows = w.suspend(
        &c.handle,
        &format!(r#"ff_cond_signal(), '[{{"use":"{}"}}]'"#, point.id),
    );
    assert_eq!(rows[0].text("outcome"), "suspended");
    assert_eq!(rows[0].maybe_text("waitpoint_token"), None);
}

#[test]
fn s_10_a_suspend_is_of_its_transaction() {
    let mut w = World::new();
    w.seed();
    w.run("CREATE TABLE business (step text)");
    let c = w.claimed("", "");
    let before = w.contents();
    w.run("BEGIN");
    w.suspend(&c.handle, READY);
    w.run("INSERT INTO business VALUES ('asked')");
    w.run("ROLLBACK");
    assert_eq!(w.contents(), before);
    w.rows("SELECT * FROM ff_renew($1)", &[&c.handle]);
    w.run("BEGIN");
    w.suspend(&c.handle, READY);
    w.run("INSERT INTO business VALUES ('asked')");
    w.run("COMMIT");
    assert_eq!(w.state(c.id), "suspended");
    assert_eq!(w.value::<i64>("SELECT count(*) FROM business", &[]), 1);
}

#[test]
fn s_11_the_attempts_time_stands_still_and_the_deadline_does_not() {
    let mut w = World::new();
    let policy = r#"policy => '{"timeout_policy":{"attempt_timeout_ms":60000}}'"#;
    w.seed();
    let c = w.claimed(policy, "lease_ttl => '1 h'");
    w.advance_ms(20_000);
    let s = w.suspended(c, READY);
    w.advance_ms(3_600_000);
    w.effect(&s.point(), "ready");
    let before = w.now();
    let again = w.reclaimed(&s);
    let left = again.row.instant("attempt_deadline") - before;
    assert!(
        (39_000..41_000).contains(&left.num_milliseconds()),
        "{left}"
    );
    let doomed = w.waiting_with(
        "execution_deadline => ff_server_time() + interval '30 min'",
        &format!("{READY}, timeout => '2 h'"),
    );
    w.advance_ms(1_800_000);
    w.reconciles("execution_deadline", 1);
    assert_eq!(w.state(doomed.id), "expired");
    let reason = "expired:execution_deadline";
    assert_eq!(w.suspension(doomed.id).text("close_reason"), reason);
    assert_eq!(
        w.waitpoint_state(doomed.point().id),
        format!("closed {reason}")
    );
    assert_eq!(
        w.event_words(doomed.id)[3..],
        ["suspension.closed", "completion.expired"]
    );
}
