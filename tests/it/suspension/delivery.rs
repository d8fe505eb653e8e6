//! What a delivery checks, and what a repeat gets (§20.9, §20.11, §20.12).

use uuid::Uuid;

use crate::support::waiting::{Point, READY};
use crate::support::{Cells, World};

fn with_token(point: &Point, token: &str) -> Point {
    Point {
        token: token.into(),
        ..point.clone()
    }
}

#[test]
fn s_27_every_wrong_token_looks_the_same() {
    let mut w = World::new();
    let s = w.waiting(READY);
    let active = w.claimed("", "");
    let good = s.point();
    let digits = good.token.strip_prefix("k1:").expect("kid").to_string();
    let flipped = |c: char| if c == '0' { '1' } else { '0' };
    let last = digits.chars().last().expect("a digit");
    let before = w.contents();
    for missing in ["NULL", "''"] {
        let call = format!("SELECT * FROM ff_deliver_signal($1, {missing}, 'ready')");
        let failure = w.refused("FF108", &call, &[&good.id]);
        assert_eq!(failure.says("rule"), "missing");
    }
    let mut seen = std::collections::BTreeSet::new();
    let zeros = "0".repeat(64);
    for token in [
        format!("k1:{}{}", &digits[..63], flipped(last)),
        format!("k9:{zeros}"),
        format!("k1:{zeros}"),
        digits.clone(),
        format!("k1:{}", digits.to_uppercase()),
        format!("k1:{digits}0"),
        "nonsense".into(),
    ] {
        let failure = w.undeliverable("FF108", &with_token(&good, &token), "");
        seen.insert((failure.message, failure.detail.to_string()));
    }
    let mut strange = good.clone();
    strange.id = Uuid::from_u128(9);
    let unknown = w.undeliverable("FF108", &strange, "");
    seen.insert((unknown.message, unknown.detail.to_string()));
    let elsewhere = format!("execution_id => '{}'", active.id);
    let other = w.undeliverable("FF108", &good, &elsewhere);
    seen.insert((other.message, other.detail.to_string()));
    assert_eq!(seen.len(), 1, "{seen:?}");
    // When a token was last refused is noted by the background worker, whenever it passes.
    let mut after = w.contents();
    after.extend(before.clone().remove_entry("ff_engine.token_failure"));
    assert_eq!(after, before);
    let own = format!("execution_id => '{}'", s.id);
    assert_eq!(w.deliver(&good, "ready", &own).text("outcome"), "accepted");
}

#[test]
fn s_29_a_repeat_is_answered_like_the_first_time() {
    let mut w = World::new();
    let s = w.waiting("ff_cond_count(2, 'signals', '{w}')");
    let p = s.point();
    let first = w.deliver(&p, "x", "idempotency_key => 'd1'");
    let before = w.contents();
    let repeat = w.deliver(
        &p,
        "x",
        "idempotency_key => 'd1', signal_id => gen_random_uuid()",
    );
    assert_eq!(
        (
            repeat.text("outcome"),
            repeat.uuid("signal_id"),
            repeat.text("effect")
        ),
        (
            "duplicate".into(),
            first.uuid("signal_id"),
            "appended_to_waitpoint".into()
        )
    );
    assert!(!repeat.flag("resumed"));
    assert_eq!(w.contents(), before);
    assert_eq!(w.state(s.id), "suspended");
    let closing = w.deliver(&p, "x", "idempotency_key => 'd2'");
    assert!(closing.flag("resumed"));
    let again = w.deliver(&p, "x", "idempotency_key => 'd2'");
    assert_eq!(
        (
            again.text("outcome"),
            again.text("effect"),
            again.flag("resumed")
        ),
        (
            "duplicate".into(),
            "resume_condition_satisfied".into(),
            false
        )
    );

    let s = w.waiting("ff_cond_count(9, 'signals', '{w}')");
    let p = s.point();
    let keyed = "idempotency_key => 'd'";
    w.deliver(&p, "x", keyed);
    w.advance_ms(86_400_000 - 1_000);
    assert_eq!(w.deliver(&p, "x", keyed).text("outcome"), "duplicate");
    w.advance_ms(1_000);
    assert_eq!(w.deliver(&p, "x", keyed).text("outcome"), "accepted");
    let off = "idempotency_key => 'off', dedup_ttl => '0'";
    for _ in 0..2 {
        assert_eq!(w.deliver(&p, "x", off).text("outcome"), "accepted");
    }
    let id = "signal_id => '00000000-0000-8000-8000-000000000abc'";
    assert_eq!(w.deliver(&p, "x", id).text("outcome"), "accepted");
    assert_eq!(w.deliver(&p, "x", id).text("outcome"), "duplicate");
    let elsewhere = w.waiting(READY);
    w.undeliverable("FF311", &elsewhere.point(), id);
    assert_eq!(w.suspension(s.id).json("waitpoints")[0]["signal_count"], 5);
    w.advance_ms(2 * 86_400_000);
    assert!(w.reconcile("signal_gc", "").0 >= 1);
    assert_eq!(w.count("signal_key"), 0);
}

#[test]
fn s_31_limits_of_name_and_payload() {
    let mut w = World::new();
    let s = w.waiting("ff_cond_count(99, 'signals', '{w}')");
    let p = s.point();
    let call = "SELECT * FROM ff_deliver_signal($1, $2, 'x', $3)";
    let largest: Vec<u8> = (0..65_536u32).map(|n| (n * 31 % 251) as u8).collect();
    let too_large = vec![0u8; 65_537];
    w.one(call, &[&p.id, &p.token, &largest]);
    w.refused("FF105", call, &[&p.id, &p.token, &too_large]);
    w.one(call, &[&p.id, &p.token, &None::<Vec<u8>>]);
    w.one(call, &[&p.id, &p.token, &Vec::<u8>::new()]);
    let stored = w.rows(
        "SELECT * FROM ff_list_signals($1, include_payload => true)",
        &[&s.id],
    );
    let stored: Vec<_> = stored.iter().map(|row| row.bytes("payload")).collect();
    assert_eq!(stored, [Some(largest), None, Some(vec![])]);
    let named = "SELECT * FROM ff_deliver_signal($1, $2, $3)";
    let long = "x".repeat(129);
    for name in [long.as_str(), "", "a\nb", "__x", " x", "x "] {
        w.refused("FF101", named, &[&p.id, &p.token, &name]);
    }
    assert_eq!(w.effect(&p, &"x".repeat(128)), "appended_to_waitpoint");
    for arguments in [
        "source_type => 'engine'",
        "source_type => ''",
        "signal_category => ''",
        "payload_encoding => repeat('x', 65)",
        "source_identity => repeat('x', 257)",
        "correlation_id => repeat('x', 257)",
        "idempotency_key => repeat('x', 257)",
        "target_scope => 'flow'",
        "dedup_ttl => '-1 s'",
        "dedup_ttl => '31 days'",
        "payload_encoding => NULL",
    ] {
        w.undeliverable("FF101", &p, arguments);
    }
}

#[test]
fn s_32_an_execution_takes_so_many_signals() {
    let mut w = World::new();
    let policy = r#"policy => '{"max_signals_per_execution":3}'"#;
    let s = w.waiting_with(policy, "ff_cond_count(9, 'signals', '{w}', '{x}')");
    let p = s.point();
    w.deliver(&p, "x", "");
    w.deliver(&p, "x", "idempotency_key => 'second'");
    assert_eq!(w.effect(&p, "ignored"), "signal_ignored_matcher_failed");
    w.undeliverable("FF106", &p, "");
    let repeat = w.deliver(&p, "x", "idempotency_key => 'second'");
    assert_eq!(repeat.text("outcome"), "duplicate");
    assert_eq!(w.count("signal"), 3);
}

#[test]
fn s_33_and_e_80_signals_that_come_too_late() {
    let mut w = World::new();
    let s = w.waiting("ff_cond_all_waitpoints('wpk:a', 'wpk:b')");
    w.rows("SELECT * FROM ff_cancel_execution($1, 'enough')", &[&s.id]);
    w.undeliverable("FF407", &s.points[0], "");
    for point in &s.points {
        assert_eq!(w.waitpoint_state(point.id), "closed cancelled");
    }
    assert_eq!(w.suspension(s.id).text("close_reason"), "cancelled");
    assert_eq!(
        w.event_words(s.id)[3..],
        ["suspension.closed", "completion.cancelled"]
    );
    assert_eq!(w.attempt_words(s.id), ["0 initial ended_cancelled"]);
    let s = w.waiting(READY);
    w.effect(&s.point(), "ready");
    let late = w.undeliverable("FF406", &s.point(), "");
    assert_eq!(
        (late.says("state"), late.says("close_reason")),
        ("closed", "resumed")
    );
}

#[test]
fn s_48_an_operator_approves_without_a_token() {
    let mut w = World::new();
    let approve = |w: &mut World, s: &crate::support::waiting::Waiting, arguments: &str| {
        let call = format!("SELECT * FROM ff_deliver_approval_signal($1, $2, {arguments})");
        w.one(&call, &[&s.id, &s.point().id])
    };
    let condition = "ff_cond_signal('wpk:a', 'approved')";
    let s = w.waiting(condition);
    let no = approve(&mut w, &s, "'rejected', '1'");
    assert_eq!(no.text("effect"), "signal_ignored_matcher_failed");
    assert_eq!(
        approve(&mut w, &s, "'rejected', '1'").text("outcome"),
        "duplicate"
    );
    assert_eq!(w.state(s.id), "suspended");
    let call = "SELECT * FROM ff_deliver_approval_signal($1, $2, 'approved', '1', lane => $3)";
    let nil = Uuid::nil();
    let lane = Some("L");
    w.refused("FF001", call, &[&nil, &s.point().id, &lane]);
    let wrong = w.refused("FF101", call, &[&s.id, &nil, &Some("not-L")]);
    assert_eq!(wrong.says("rule"), "lane_mismatch");
    assert_eq!(
        (wrong.says("lane"), wrong.says("execution_lane")),
        ("not-L", "L")
    );
    w.refused("FF007", call, &[&s.id, &nil, &lane]);
    let other = w.waiting(condition);
    w.refused("FF113", call, &[&s.id, &other.point().id, &lane]);
    w.rows("SELECT * FROM ff_rotate_waitpoint_secret('k2')", &[]);
    w.rows("SELECT * FROM ff_revoke_waitpoint_kid('k1')", &[]);
    let yes = w.one(call, &[&s.id, &s.point().id, &lane]);
    assert_eq!(yes.text("effect"), "resume_condition_satisfied");
    let signal = &w.rows(
        "SELECT * FROM ff_list_signals($1, after_seq => 1)",
        &[&s.id],
    )[0];
    assert_eq!(
        (
            signal.text("signal_category"),
            signal.text("source_type"),
            signal.text("target_scope")
        ),
        ("approval".into(), "operator".into(), "execution".into())
    );
    assert_eq!(signal.text("idempotency_key"), "approval:approved:1");
}

#[test]
fn a_batch_of_signals_succeeds_and_fails_item_by_item() {
    let mut w = World::new();
    let s = w.waiting("ff_cond_count(2, 'signals', '{w}')");
    let other = w.waiting(READY);
    let item = |p: &Point, more: &str| {
        format!(
            r#"{{"waitpoint_id":"{}","waitpoint_token":"{}","signal_name":"ready"{more}}}"#,
            p.id, p.token
        )
    };
    let items = [
        item(&s.point(), r#","payload_json":{"a":1}"#),
        item(&with_token(&s.point(), "k1:bad"), ""),
        item(
            &other.point(),
            r#","dedup_ttl":"1 hour","idempotency_key":"k""#,
        ),
        item(&s.point(), r#","surprise":1"#),
        item(&s.point(), ""),
        item(&s.point(), ""),
        "7".into(),
    ]
    .join(",");
    let rows = w.rows(
        &format!("SELECT * FROM ff_deliver_signals('[{items}]')"),
        &[],
    );
    let answers: Vec<String> = rows
        .iter()
        .map(|r| {
            r.maybe_text("effect")
                .or(r.maybe_text("error_code"))
                .unwrap_or_default()
        })
        .collect();
    assert_eq!(
        answers,
        [
            "appended_to_waitpoint",
            "FF108",
            "resume_condition_satisfied",
            "FF101",
            "resume_condition_satisfied",
            "FF406",
            "FF101"
        ]
    );
    assert_eq!(
        (w.state(s.id), w.state(other.id)),
        ("resumable".into(), "resumable".into())
    );
    let many =
        "SELECT * FROM ff_deliver_signals((SELECT jsonb_agg(1) FROM generate_series(1, 1001)))";
    w.refused("FF101", many, &[]);
}
