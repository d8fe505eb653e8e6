//! Which signals end a suspension (§20.3).

use crate::support::waiting::READY;
use crate::support::{Cells, World};

const SATISFIED: &str = "resume_condition_satisfied";
const APPENDED: &str = "appended_to_waitpoint";
const DUPLICATE: &str = "appended_to_waitpoint_duplicate";
const FAILED: &str = "signal_ignored_matcher_failed";

#[test]
fn s_16_the_right_signal_resumes_and_a_wrong_one_is_recorded() {
    let mut w = World::new();
    let s = w.waiting(READY);
    let other = w.deliver(&s.point(), "other", "");
    assert_eq!(
        (other.text("outcome"), other.text("effect")),
        ("accepted".into(), FAILED.into())
    );
    assert!(!other.flag("resumed"));
    assert_eq!(w.state(s.id), "suspended");
    let ready = w.deliver(&s.point(), "ready", "");
    assert_eq!(
        (
            ready.text("effect"),
            ready.flag("resumed"),
            ready.text("public_state")
        ),
        (SATISFIED.into(), true, "resumable".into())
    );
    w.assert_vector(
        s.id,
        "runnable/unowned/eligible_now/waiting_for_worker/none/attempt_interrupted",
        "resumable",
    );
    let row = w.suspension(s.id);
    assert_eq!(
        (
            row.text("close_reason"),
            row.text("resume_trigger"),
            row.uuid("closer_signal_id")
        ),
        ("resumed".into(), "signal".into(), ready.uuid("signal_id"))
    );
    assert_eq!(row.json("progress")["satisfied"], true);
    assert_eq!(w.waitpoint_state(s.point().id), "closed resumed");
    let words = w.event_words(s.id);
    assert_eq!(
        words[3..],
        ["signal.ignored", "signal.satisfied", "suspension.resumed"]
    );
    let again = w.reclaimed(&s);
    w.complete(&again.handle, None);
}

#[test]
fn s_17_wildcards_alternatives_and_any_of() {
    let mut w = World::new();
    let s = w.waiting("ff_cond_signal('wpk:a')");
    assert_eq!(w.effect(&s.point(), "whatever"), SATISFIED);
    let s = w.waiting("ff_cond_signal('wpk:a', 'approved', 'rejected')");
    assert_eq!(w.effect(&s.point(), "maybe"), FAILED);
    assert_eq!(w.effect(&s.point(), "rejected"), SATISFIED);
    let s = w.waiting("ff_cond_any_of(ff_cond_signal('wpk:a', 'a'), ff_cond_signal('wpk:b', 'b'))");
    assert_eq!(w.effect(&s.points[1], "b"), SATISFIED);
    for point in &s.points {
        assert_eq!(w.waitpoint_state(point.id), "closed resumed");
    }
}

#[test]
fn s_18_two_reviewers_at_one_waitpoint() {
    let mut w = World::new();
    let s = w.waiting(
        "ff_cond_all_of(ff_cond_signal('r', 'reviewer_a'), ff_cond_signal('r', 'reviewer_b'))",
    );
    let a = w.deliver(&s.point(), "reviewer_a", "payload => '\\x01'");
    assert_eq!(a.text("effect"), APPENDED);
    assert_eq!(w.effect_from(&s.point(), "reviewer_a", "other"), DUPLICATE);
    let b = w.deliver(&s.point(), "reviewer_b", "payload => '\\x02'");
    assert_eq!(b.text("effect"), SATISFIED);
    let again = w.reclaimed(&s);
    let seen = w.rows("SELECT * FROM ff_observe_signals($1)", &[&again.handle]);
    let seen: Vec<_> = seen
        .iter()
        .map(|r| (r.text("signal_name"), r.bytes("payload"), r.flag("closer")))
        .collect();
    assert_eq!(
        seen,
        [
            ("reviewer_a".to_string(), Some(vec![1]), false),
            ("reviewer_b".to_string(), Some(vec![2]), true)
        ]
    );
}

#[test]
fn s_19_counting_sources_signals_and_waitpoints() {
    let mut w = World::new();
    let s = w.waiting("ff_cond_count(2, 'sources', '{w}')");
    let p = s.point();
    assert_eq!(w.effect_from(&p, "x", "alice"), APPENDED);
    assert_eq!(w.effect_from(&p, "x", "alice"), DUPLICATE);
    assert_eq!(w.effect_from(&p, "x", "bob"), SATISFIED);
    let s = w.waiting("ff_cond_count(2, 'signals', '{w}')");
    assert_eq!(w.effect_from(&s.point(), "x", "alice"), APPENDED);
    assert_eq!(w.effect_from(&s.point(), "x", "alice"), SATISFIED);
    let s = w.waiting("ff_cond_count(1, 'waitpoints', '{w}')");
    assert_eq!(w.effect(&s.point(), "x"), SATISFIED);
    let s = w.waiting("ff_cond_count(1, 'signals', '{w}', '{approve}')");
    assert_eq!(w.effect(&s.point(), "reject"), FAILED);
    assert_eq!(w.effect(&s.point(), "approve"), SATISFIED);
    let s = w.waiting("ff_cond_count(2, 'sources', '{w}')");
    let from =
        |kind: &str, who: &str| format!("source_type => '{kind}', source_identity => '{who}'");
    assert_eq!(
        w.deliver(&s.point(), "x", &from("a", "b:c")).text("effect"),
        APPENDED
    );
    assert_eq!(
        w.deliver(&s.point(), "x", &from("a:b", "c")).text("effect"),
        SATISFIED
    );
}

#[test]
fn s_20_two_counts_do_not_share() {
    let mut w = World::new();
    let s = w.waiting(
        "ff_cond_all_of(ff_cond_count(2, 'sources', '{wpk:a}'), ff_cond_count(2, 'sources', '{wpk:b}'))",
    );
    for (point, source) in [(0, "alice"), (0, "bob"), (1, "alice")] {
        assert_eq!(w.effect_from(&s.points[point], "x", source), APPENDED);
    }
    assert_eq!(w.state(s.id), "suspended");
    let progress = w.suspension(s.id).json("progress");
    assert_eq!(
        (
            &progress["members"][0]["have"],
            &progress["members"][1]["have"]
        ),
        (&2.into(), &1.into())
    );
}

#[test]
fn s_21_each_waitpoint_has_a_token_of_its_own() {
    let mut w = World::new();
    let s = w.waiting("ff_cond_all_waitpoints('wpk:db', 'wpk:cache', 'wpk:flag')");
    let mut crossed = s.points[0].clone();
    crossed.token = s.points[1].token.clone();
    w.undeliverable("FF108", &crossed, "");
    assert_eq!(w.effect(&s.points[0], "x"), APPENDED);
    assert_eq!(w.effect(&s.points[1], "x"), APPENDED);
    assert_eq!(w.effect(&s.points[2], "x"), SATISFIED);
}

#[test]
fn s_22_conditions_that_no_signal_meets() {
    let mut w = World::new();
    let s = w.waiting("ff_cond_operator_only()");
    assert_eq!(
        w.effect(&s.point(), "go"),
        "signal_ignored_not_in_condition"
    );
    let row = w.one("SELECT * FROM ff_resume_execution($1)", &[&s.id]);
    assert_eq!(row.text("public_state"), "resumable");
    let s = w.waiting("ff_cond_timeout_only(), timeout => '1 s'");
    assert_eq!(
        w.effect(&s.point(), "go"),
        "signal_ignored_not_in_condition"
    );
    w.advance_ms(1_000);
    w.reconciles("suspension_timeout", 1);
    assert_eq!(w.state(s.id), "failed");
}

#[test]
fn s_23_a_resume_delay() {
    let mut w = World::new();
    let s = w.waiting(&format!(
        r#"{READY}, resume_policy => '{{"resume_delay_ms":5000}}'"#
    ));
    assert_eq!(
        w.deliver(&s.point(), "ready", "").text("public_state"),
        "delayed"
    );
    w.assert_vector(
        s.id,
        "runnable/unowned/not_eligible_until_time/waiting_for_resume_delay/none/attempt_interrupted",
        "delayed",
    );
    assert!(
        w.describe(s.id)
            .text("blocking_detail")
            .starts_with("resume delay until ")
    );
    assert!(w.claims("").is_empty());
    w.advance_ms(5_000);
    w.reconciles("delayed", 1);
    assert_eq!(w.state(s.id), "resumable");
    w.reclaimed(&s);
}

/// Rows that a statement reads, by the server's own counters.
fn rows_read(w: &mut World, step: impl FnOnce(&mut World)) -> i64 {
    let read = "SELECT (sum(coalesce(seq_tup_read, 0)) + sum(coalesce(idx_tup_fetch, 0)))::bigint
                  FROM pg_stat_xact_user_tables WHERE schemaname = 'ff_engine'";
    w.run("BEGIN");
    let before: i64 = w.value(read, &[]);
    step(w);
    let after: i64 = w.value(read, &[]);
    w.run("COMMIT");
    after - before
}

#[test]
fn s_25_the_cost_of_a_signal_does_not_grow() {
    let mut w = World::new();
    for distinct in ["signals", "sources"] {
        let s = w.waiting(&format!("ff_cond_count(500, '{distinct}', '{{w}}')"));
        let p = s.point();
        let mut cost = Vec::new();
        for n in 1..=499 {
            let read = rows_read(&mut w, |w| {
                assert_eq!(w.effect_from(&p, "x", &format!("source {n}")), APPENDED);
            });
            cost.push(read);
        }
        assert!(
            cost[1] > 0 && cost[498] <= 2 * cost[1],
            "{} then {}",
            cost[1],
            cost[498]
        );
        assert_eq!(w.effect_from(&p, "x", "the last"), SATISFIED);
    }
}

#[test]
fn s_26_waitpoints_that_outlive_their_suspension() {
    let mut w = World::new();
    w.seed();
    for consume in [true, false] {
        let policy = format!(
            r#"resume_policy => '{{"close_waitpoint_on_resume":false,"consume_matched_signals":{consume}}}'"#
        );
        let s = w.waiting(&format!("{READY}, {policy}"));
        let p = s.point();
        assert_eq!(w.effect(&p, "noise"), FAILED);
        assert_eq!(w.effect(&p, "ready"), SATISFIED);
        assert_eq!(w.waitpoint_state(p.id), "pending");
        let again = w.reclaimed(&s);
        let used = format!(r#"{READY}, '[{{"use":"{}"}}]', {policy}"#, p.id);
        let row = &w.suspend(&again.handle, &used)[0];
        if !consume {
            assert_eq!(row.text("outcome"), "already_satisfied");
            assert_eq!(row.text("waitpoint_state"), "pending");
            w.complete(&again.handle, None);
            assert_eq!(w.waitpoint_state(p.id), "closed execution_terminal");
            continue;
        }
        assert_eq!(row.text("outcome"), "suspended");
        assert_eq!(row.text("waitpoint_token"), p.token);
        assert_eq!(w.effect(&p, "ready"), SATISFIED);
        let third = w.reclaimed(&s);
        assert_eq!(w.effect(&p, "ready"), "buffered_for_pending_waitpoint");
        let row = &w.suspend(&third.handle, &used)[0];
        assert_eq!(row.text("outcome"), "already_satisfied");
        assert_eq!(w.observed(&third.handle, true), ["ready"]);
        w.complete(&third.handle, None);
    }
}

#[test]
fn unmatched_signals_of_a_kept_waitpoint_stay_only_when_asked() {
    let mut w = World::new();
    for retain in [true, false] {
        let policy = format!(
            r#"resume_policy => '{{"close_waitpoint_on_resume":false,"retain_signal_buffer_until_closed":{retain}}}'"#
        );
        let s = w.waiting(&format!("{READY}, {policy}"));
        w.effect(&s.point(), "early");
        w.effect(&s.point(), "ready");
        let again = w.reclaimed(&s);
        let next = format!(
            r#"ff_cond_signal('wpk:a', 'early'), '[{{"use":"{}"}}]'"#,
            s.point().id
        );
        let outcome = w.suspend(&again.handle, &next)[0].text("outcome");
        assert_eq!(
            outcome,
            if retain {
                "already_satisfied"
            } else {
                "suspended"
            }
        );
    }
}
