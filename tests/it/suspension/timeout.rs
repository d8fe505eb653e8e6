//! What the timeout of a suspension does (§20.16, §20.18).

use uuid::Uuid;

use crate::support::waiting::READY;
use crate::support::{Cells, World};

const EXPIRE: &str = "SELECT * FROM ff_expire_suspension($1)";

fn timing(behavior: &str) -> String {
    format!(
        "ff_cond_all_waitpoints('wpk:a', 'wpk:b'), timeout => '10 s', timeout_behavior => '{behavior}'"
    )
}

#[test]
fn s_52_timeouts_that_end_the_execution() {
    let mut w = World::new();
    for (behavior, state, closed, attempt) in [
        ("fail", "failed", "timed_out_fail", "ended_failure"),
        ("cancel", "cancelled", "timed_out_cancel", "ended_cancelled"),
        ("expire", "expired", "timed_out_expire", "ended_failure"),
    ] {
        let policy = r#"policy => '{"retry_policy":{}}'"#;
        let s = w.waiting_with(policy, &timing(behavior));
        w.advance_ms(10_000);
        w.reconciles("suspension_timeout", 1);
        w.assert_vector(
            s.id,
            &format!("terminal/unowned/not_applicable/none/{state}/attempt_terminal"),
            state,
        );
        let e = w.describe(s.id);
        if behavior == "cancel" {
            assert_eq!(
                (e.text("cancellation_reason"), e.text("cancelled_by")),
                ("suspension_timeout".into(), "system_timeout".into())
            );
        } else {
            assert_eq!(
                e.text("failure_reason"),
                format!("suspension_timeout:{behavior}")
            );
        }
        assert!(
            e.maybe_instant("completed_at").is_some()
                && e.maybe_uuid("current_suspension_id").is_none()
        );
        assert_eq!(w.attempt_words(s.id), [format!("0 initial {attempt}")]);
        assert_eq!(
            w.attempts(s.id)[0].text("failure_reason"),
            format!("suspension_timeout:{behavior}")
        );
        assert_eq!(
            w.closed(s.id, 0).as_deref(),
            Some("suspension_timeout"),
            "the stream"
        );
        assert_eq!(w.suspension(s.id).text("close_reason"), closed);
        for point in &s.points {
            assert_eq!(w.waitpoint_state(point.id), format!("closed {closed}"));
        }
        assert_eq!(
            w.event_words(s.id)[3..],
            [
                "suspension.closed".to_string(),
                format!("completion.{state}")
            ]
        );
        w.reconciles("suspension_timeout", 0);
    }
}

#[test]
fn s_52_the_end_of_a_member_resolves_its_edges() {
    let mut w = World::new();
    for behavior in ["fail", "cancel", "expire"] {
        let flow = w.flow();
        let s = w.waiting_with(&format!("flow_id => '{flow}'"), &timing(behavior));
        let [next, always] = w.members(flow);
        let edge = w.edge(flow, s.id, next);
        w.edge_with(flow, s.id, always, "dependency_kind => 'any_terminal'");
        w.assert_blocked(next);
        w.advance_ms(10_000);
        w.reconciles("suspension_timeout", 1);
        assert_eq!(w.edge_state(flow, edge), "impossible");
        assert_eq!(w.describe(next).text("public_state"), "skipped");
        assert_eq!(w.describe(always).text("public_state"), "waiting");
    }
}

#[test]
fn s_53_timeouts_that_resume() {
    let mut w = World::new();
    for (behavior, signals) in [("auto_resume", 0), ("auto_resume_with_timeout_signal", 1)] {
        let s = w.waiting(&timing(behavior));
        w.advance_ms(10_000);
        w.reconciles("suspension_timeout", 1);
        assert_eq!(w.state(s.id), "resumable");
        let row = w.suspension(s.id);
        assert_eq!(
            (row.text("close_reason"), row.text("resume_trigger")),
            ("timed_out_auto_resume".into(), "timeout".into())
        );
        let again = w.reclaimed(&s);
        let seen = w.rows("SELECT * FROM ff_observe_signals($1)", &[&again.handle]);
        assert_eq!(seen.len(), signals);
        for signal in seen {
            assert_eq!(
                (
                    signal.text("signal_name"),
                    signal.text("signal_category"),
                    signal.text("source_type")
                ),
                ("timeout".into(), "system".into(), "engine".into())
            );
            assert_eq!(signal.uuid("waitpoint_id"), s.point().id);
        }
        assert!(
            w.one("SELECT * FROM ff_resume_context($1)", &[&again.handle])
                .flag("timed_out")
        );
        let words = w.event_words(s.id);
        let expected: &[&str] = match signals {
            0 => &["suspension.resumed"],
            _ => &["signal.timeout", "suspension.resumed"],
        };
        assert_eq!(words[3..words.len() - 1], *expected);
    }
}

#[test]
fn s_54_a_timeout_that_asks_an_operator() {
    let mut w = World::new();
    let s = w.waiting(&format!(
        "{READY}, timeout => '10 s', timeout_behavior => 'escalate'"
    ));
    w.advance_ms(10_000);
    w.reconciles("suspension_timeout", 1);
    let e = w.describe(s.id);
    assert_eq!(
        (e.text("public_state"), e.text("blocking_reason")),
        ("suspended".into(), "paused_by_operator".into())
    );
    assert!(
        e.text("blocking_detail")
            .starts_with("suspension escalated: timeout at ")
    );
    let row = w.suspension(s.id);
    assert_eq!(row.text("reason"), "waiting_for_operator_review");
    assert!(
        row.maybe_instant("timeout_at").is_none() && row.maybe_instant("escalated_at").is_some()
    );
    let open = w.one("SELECT * FROM ff_list_pending_waitpoints($1)", &[&s.id]);
    assert!(open.maybe_instant("expires_at").is_none());
    w.reconciles("suspension_timeout", 0);
    assert_eq!(w.one(EXPIRE, &[&s.id]).text("outcome"), "not_due");
    assert_eq!(
        w.event_words(s.id)[3..],
        ["suspension.escalated(waiting_for_operator_review)"]
    );
    assert_eq!(w.effect(&s.point(), "ready"), "resume_condition_satisfied");
}

#[test]
fn s_55_one_execution_by_hand() {
    let mut w = World::new();
    let s = w.waiting(&format!("{READY}, timeout => '10 s'"));
    let outcome = |w: &mut World, id: Uuid| w.one(EXPIRE, &[&id]).text("outcome");
    assert_eq!(outcome(&mut w, s.id), "not_due");
    assert_eq!(outcome(&mut w, Uuid::nil()), "not_found");
    let endless = w.waiting(READY);
    assert_eq!(outcome(&mut w, endless.id), "not_due");
    w.advance_ms(10_000);
    let mut other = w.session();
    other.run("BEGIN");
    assert_eq!(
        other.effect(&s.point(), "ready"),
        "resume_condition_satisfied"
    );
    let (processed, _, errors, _) = w.reconcile("suspension_timeout", "");
    assert_eq!(
        (processed, errors),
        (0, 0),
        "what is being delivered to is left alone"
    );
    other.run("COMMIT");
    assert_eq!(outcome(&mut w, s.id), "not_suspended");
    assert_eq!(w.state(s.id), "resumable");
    let due = w.waiting(&format!(
        "{READY}, timeout => '1 s', timeout_behavior => 'auto_resume'"
    ));
    w.advance_ms(1_000);
    let row = w.one(EXPIRE, &[&due.id]);
    assert_eq!(
        (
            row.text("outcome"),
            row.text("behavior"),
            row.text("public_state")
        ),
        ("applied".into(), "auto_resume".into(), "resumable".into())
    );
    let late = w.waiting(&format!("{READY}, timeout => '1 s'"));
    w.advance_ms(5_000);
    assert_eq!(
        w.effect(&late.point(), "ready"),
        "resume_condition_satisfied",
        "due and not yet applied"
    );
}

#[test]
fn s_56_a_filter_and_a_damaged_row() {
    let mut w = World::new();
    let due = format!("{READY}, timeout => '10 s'");
    let a = w.waiting_with("namespace => 'a'", &due);
    let b = w.waiting_with("namespace => 'b'", &due);
    w.advance_ms(10_000);
    assert_eq!(w.reconcile("suspension_timeout", "namespace => 'a'").0, 1);
    assert_eq!(
        (w.state(a.id), w.state(b.id)),
        ("failed".into(), "suspended".into())
    );
    let damaged = w.waiting(&due);
    let healthy = w.waiting(&due);
    w.will_break_invariants();
    w.run(&format!(
        "UPDATE ff_engine.suspension SET condition = '{{\"type\":\"xor\"}}' WHERE suspension_id = '{}'",
        damaged.suspension
    ));
    w.advance_ms(10_000);
    w.notices();
    let (processed, _, errors, _) = w.reconcile("suspension_timeout", "");
    assert_eq!((processed, errors), (2, 1));
    let warnings: Vec<String> = w
        .notices()
        .iter()
        .map(|n| n.message().to_string())
        .collect();
    assert!(
        warnings
            .iter()
            .any(|text| text.contains("corruption") && text.contains(&damaged.id.to_string())),
        "{warnings:?}"
    );
    assert_eq!(
        (w.state(b.id), w.state(healthy.id)),
        ("failed".into(), "failed".into())
    );
    assert_eq!(w.state(damaged.id), "suspended");
}
