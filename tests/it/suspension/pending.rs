//! Waitpoints handed out before the suspension that uses them (§20.5, §20.7).

use uuid::Uuid;

use crate::support::waiting::READY;
use crate::support::{Cells, World};

#[test]
fn s_34_a_waitpoint_ahead_of_time() {
    let mut w = World::new();
    w.seed();
    let c = w.claimed("", "");
    let lease = w.describe(c.id).instant("lease_expires_at");
    let now = w.now();
    let a = w.create_waitpoint(&c.handle, "wpk:p", "'60 s'");
    let b = w.create_waitpoint(&c.handle, "wpk:p", "'60 s'");
    assert!(a.id != b.id && a.token != b.token);
    assert_eq!(w.describe(c.id).instant("lease_expires_at"), lease);
    let rows = w.rows("SELECT * FROM ff_list_pending_waitpoints($1)", &[&c.id]);
    assert_eq!(rows.len(), 2);
    for row in &rows {
        assert_eq!(row.text("state"), "pending");
        assert!(row.maybe_instant("activated_at").is_none());
        let life = row.instant("expires_at") - now;
        assert!((60_000..70_000).contains(&life.num_milliseconds()));
        assert!(
            row.get::<_, Vec<String>>("required_signal_names")
                .is_empty()
        );
    }
    let call = "SELECT * FROM ff_create_waitpoint($1, $2, $3::text::interval)";
    for key in ["", "a\nb", &"x".repeat(257)] {
        w.refused("FF107", call, &[&c.handle, &key, &"1 s"]);
    }
    for life in ["0", "-1 s", "31 days"] {
        w.refused("FF101", call, &[&c.handle, &"k", &life]);
    }
    let chosen = "SELECT * FROM ff_create_waitpoint($1, 'k', '1 s', $2)";
    w.refused("FF305", chosen, &[&c.handle, &a.id]);
    w.run("SET ff_engine.max_open_waitpoints = 2");
    let full = w.refused("FF502", call, &[&c.handle, &"k", &"1 s"]);
    assert_eq!(full.says("pool"), "open_waitpoints");
    w.run("RESET ff_engine.max_open_waitpoints");
    w.one(chosen, &[&c.handle, &Uuid::from_u128(5)]);
    assert_eq!(
        w.event_words(c.id)[1..],
        ["suspension.waitpoint_created"; 3]
    );
}

#[test]
fn s_35_an_early_signal_is_buffered() {
    let mut w = World::new();
    w.seed();
    let c = w.claimed("", "");
    let p = w.create_waitpoint(&c.handle, "wpk:p", "'60 s'");
    let mut forged = p.clone();
    forged.token = format!("k1:{}", "0".repeat(64));
    w.undeliverable("FF108", &forged, "");
    let row = w.deliver(&p, "early", "");
    assert_eq!(
        (
            row.text("outcome"),
            row.text("effect"),
            row.text("public_state")
        ),
        (
            "accepted".into(),
            "buffered_for_pending_waitpoint".into(),
            "active".into()
        )
    );
    assert_eq!(
        w.event_words(c.id).last().map(String::as_str),
        Some("signal.buffered")
    );
}

#[test]
fn s_36_an_answer_that_is_here_already() {
    let mut w = World::new();
    w.seed();
    let c = w.claimed("", "");
    let p = w.create_waitpoint(&c.handle, "wpk:p", "'60 s'");
    w.effect(&p, "callback_result");
    let use_p = format!(
        r#"ff_cond_signal(NULL, 'callback_result'), '[{{"use":"{}"}}]'"#,
        p.id
    );
    let vector = w.vector(c.id);
    let row = &w.suspend(&c.handle, &use_p)[0];
    assert_eq!(
        (
            row.text("outcome"),
            row.maybe_text("handle"),
            row.text("public_state")
        ),
        ("already_satisfied".into(), None, "active".into())
    );
    assert_eq!(row.text("waitpoint_state"), "closed");
    assert_eq!(w.vector(c.id), vector);
    assert_eq!(w.waitpoint_state(p.id), "closed already_satisfied");
    w.rows("SELECT * FROM ff_renew($1)", &[&c.handle]);
    let seen = w.one("SELECT * FROM ff_observe_signals($1)", &[&c.handle]);
    assert!(seen.flag("matched") && seen.text("signal_name") == "callback_result");
    let context = w.one("SELECT * FROM ff_resume_context($1)", &[&c.handle]);
    assert_eq!(
        (context.text("close_reason"), context.text("resume_trigger")),
        ("already_satisfied".into(), "buffered".into())
    );
    assert_eq!(
        w.event_words(c.id)[3],
        "suspension.already_satisfied(waiting_for_signal)"
    );
    w.complete(&c.handle, None);
}

#[test]
fn s_37_a_head_start_is_no_end() {
    let mut w = World::new();
    w.seed();
    for fresh in [false, true] {
        let c = w.claimed("", "");
        let p = w.create_waitpoint(&c.handle, "wpk:a", "'60 s'");
        w.effect(&p, "a");
        let (second, more) = if fresh {
            ("wpk:b", r#",{"key":"wpk:b"}"#)
        } else {
            ("wpk:a", "")
        };
        let arguments = format!(
            r#"ff_cond_all_of(ff_cond_signal('wpk:a', 'a'), ff_cond_signal('{second}', 'b')), '[{{"use":"{}"}}{more}]'"#,
            p.id
        );
        let s = w.suspended(c, &arguments);
        assert_eq!(s.point().token, p.token);
        let last = s.points.last().expect("a waitpoint").clone();
        assert_eq!(w.effect(&last, "b"), "resume_condition_satisfied");
        let again = w.reclaimed(&s);
        assert_eq!(w.observed(&again.handle, false), ["a", "b"]);
        w.complete(&again.handle, None);
    }
}

#[test]
fn s_38_waitpoints_that_cannot_be_used() {
    let mut w = World::new();
    w.seed();
    let f = w.claimed("", "lease_ttl => '1 h'");
    let foreign = w.create_waitpoint(&f.handle, "wpk:p", "'60 s'");
    let c = w.claimed("", "lease_ttl => '1 h'");
    let p = w.create_waitpoint(&c.handle, "wpk:p", "'60 s'");
    let closed = w.create_waitpoint(&c.handle, "wpk:p", "'60 s'");
    w.rows(
        "SELECT * FROM ff_close_waitpoint($1, handle => $2)",
        &[&closed.id, &c.handle],
    );
    w.undeliverable("FF406", &closed, "");
    w.advance_ms(60_000);
    w.undeliverable("FF406", &p, "");
    let before = w.contents();
    for (id, code) in [
        (p.id, "FF411"),
        (closed.id, "FF410"),
        (foreign.id, "FF113"),
        (Uuid::from_u128(1), "FF007"),
    ] {
        let call =
            format!(r#"SELECT * FROM ff_suspend($1, ff_cond_signal(), '[{{"use":"{id}"}}]')"#);
        w.refused(code, &call, &[&c.handle]);
    }
    let taken = format!(
        r#"SELECT * FROM ff_suspend($1, {READY}, '[{{"key":"wpk:a","id":"{}"}}]')"#,
        p.id
    );
    w.refused("FF305", &taken, &[&c.handle]);
    assert_eq!(w.contents(), before);
}

#[test]
fn s_40_what_becomes_of_waitpoints_nobody_used() {
    let mut w = World::new();
    w.seed();
    let policy = r#"policy => '{"retry_policy":{"backoff":{"type":"fixed","delay_ms":0}}}'"#;
    let c = w.claimed(policy, "lease_ttl => '1 h'");
    let p = w.create_waitpoint(&c.handle, "wpk:p", "'60 s'");
    w.reconciles("pending_waitpoint", 0);
    w.advance_ms(60_000);
    w.reconciles("pending_waitpoint", 1);
    assert_eq!(w.waitpoint_state(p.id), "expired never_committed");
    assert_eq!(
        w.event_words(c.id).last().map(String::as_str),
        Some("suspension.waitpoint_expired")
    );
    w.reconciles("pending_waitpoint", 0);
    let q = w.create_waitpoint(&c.handle, "wpk:p", "'60 s'");
    w.fail(&c.handle, "x", "");
    assert_eq!(w.waitpoint_state(q.id), "closed attempt_ended");
    let second = w.claim("lease_ttl => '10 s'");
    let r = w.create_waitpoint(&second.handle, "wpk:p", "'60 s'");
    w.advance_ms(10_000);
    let third = w.claim("");
    assert_eq!(third.kind, "reclaimed");
    assert_eq!(w.waitpoint_state(r.id), "closed attempt_ended");
    let t = w.create_waitpoint(&third.handle, "wpk:p", "'60 s'");
    w.complete(&third.handle, None);
    assert_eq!(w.waitpoint_state(t.id), "closed execution_terminal");
    w.undeliverable("FF407", &t, "");
}
