//! Periods (§50.7). Without a background worker, which would reset by itself.

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use serde_json::json;
use uuid::Uuid;

use super::{budget, ok, rep, status, tokens, used};
use crate::support::{Cells, Session, World};

fn reset(w: &mut Session, b: Uuid) -> Option<DateTime<Utc>> {
    let row = w.one("SELECT * FROM ff_reset_budget($1)", &[&b]);
    assert_eq!(row.text("outcome"), "reset");
    row.maybe_instant("next_reset_at")
}

#[test]
fn b_16_a_reset_begins_a_new_period() {
    let mut w = World::without_preload();
    for stripes in [1, 4] {
        let b = tokens(
            &mut w,
            50,
            0,
            &format!("reset_interval => '1 h', stripes => {stripes}"),
        );
        rep(&mut w, b, 40);
        rep(&mut w, b, 20);
        let before = w.now();
        let next = reset(&mut w, b).expect("an instant");
        assert!(next >= before + TimeDelta::hours(1));
        let s = status(&mut w, b);
        assert_eq!(s.json("usage"), json!({"tokens": 0}));
        assert_eq!(
            (
                s.maybe_instant("last_breach_at"),
                s.maybe_text("last_breach_dim")
            ),
            (None, None)
        );
        assert_eq!(s.maybe_instant("breached_at"), None);
        assert_eq!(
            (s.big("breach_count"), s.big("reset_count"), s.big("period")),
            (1, 1, 2)
        );
        assert_eq!(s.maybe_instant("next_reset_at"), Some(next));
        assert!(s.maybe_instant("last_reset_at").is_some());
        assert_eq!(rep(&mut w, b, 5), ok());
        assert_eq!(used(&mut w, b), 5);
        assert_eq!(rep(&mut w, b, 45), ok(), "the whole limit is there again");
        assert_eq!(rep(&mut w, b, 1).0, "hard_breach");
    }
    let b = tokens(&mut w, 50, 0, "");
    let (next, words) = w.events_by(|w| w.one("SELECT * FROM ff_reset_budget($1)", &[&b]));
    assert_eq!(next.maybe_instant("next_reset_at"), None);
    assert_eq!(words, ["operator.budget_reset"]);
    w.refused(
        "FF004",
        "SELECT * FROM ff_reset_budget($1)",
        &[&Uuid::new_v4()],
    );
}

#[test]
fn b_17_missed_periods_collapse_into_one() {
    let mut w = World::without_preload();
    let b = tokens(&mut w, 50, 0, "reset_interval => '1 h'");
    let first = status(&mut w, b).instant("next_reset_at");
    rep(&mut w, b, 40);
    w.reconciles("budget_reset", 0);
    w.advance_ms(3 * 3_600_000 + 1_800_000);
    w.reconciles("budget_reset", 1);
    let s = status(&mut w, b);
    assert_eq!(s.json("usage"), json!({"tokens": 0}));
    assert_eq!(
        s.instant("next_reset_at"),
        first + TimeDelta::hours(3),
        "no drift"
    );
    assert_eq!(s.big("reset_count"), 1);
    w.reconciles("budget_reset", 0);
    let events = w.all_events();
    let last = events.last().expect("an event");
    assert_eq!(
        (last.word(), last.details["reset"].as_str()),
        ("operator.budget_reset".into(), Some("scheduled"))
    );
}

#[test]
fn b_17_a_month_anchored_on_the_31st_stays_on_month_ends() {
    let mut w = World::without_preload();
    let b = budget(
        &mut w,
        "'custom', ''",
        "reset_interval => '1 mon', reset_anchor => '2020-01-31 00:00+00'",
    );
    let next = status(&mut w, b).instant("next_reset_at");
    let tomorrow = next + TimeDelta::days(1);
    assert!(tomorrow.day() == 1 || next.day() == 31, "{next}");
    assert!(next > w.now());
    let length: String = w.value(
        "SELECT reset_interval::text FROM ff_get_budget_status($1)",
        &[&b],
    );
    assert_eq!(length, "1 mon");
}

#[test]
fn b_18_a_reset_and_an_open_report_wait_for_neither() {
    let mut w = World::without_preload();
    for stripes in [1, 4] {
        let b = tokens(&mut w, 100, 0, &format!("stripes => {stripes}"));
        rep(&mut w, b, 10);
        let mut other = w.session();
        other.run("BEGIN");
        assert_eq!(rep(&mut other, b, 40), ok());
        w.run("SET lock_timeout = '5 s'");
        reset(&mut w, b);
        other.run("COMMIT");
        assert_eq!(used(&mut w, b), 0, "it belongs to the period before");
        assert_eq!(rep(&mut w, b, 100), ok());
        other.run("BEGIN ISOLATION LEVEL READ COMMITTED");
        reset(&mut other, b);
        w.run("SET lock_timeout = '5 s'");
        assert_eq!(
            rep(&mut w, b, 1).0,
            "hard_breach",
            "the reset is not committed"
        );
        other.run("COMMIT");
        assert_eq!(rep(&mut w, b, 100), ok());
    }
}
