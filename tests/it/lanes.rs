//! Lanes: names, registration, states (§10.5).

use std::time::{Duration, Instant};

use crate::support::pace::{apart, quiet};
use crate::support::{Cells, World};

#[test]
fn e_17_lane_name_limits() {
    let mut w = World::new();
    w.create("");
    let before = w.contents();
    let long = "x".repeat(65);
    for (lane, rule) in [
        ("", "empty"),
        (long.as_str(), "too_long:65"),
        ("é", "non_printable:0"),
        ("ab\u{7f}", "non_printable:2"),
        ("a\tb", "non_printable:1"),
    ] {
        let failure = w.refused(
            "FF133",
            "SELECT * FROM ff_create_execution($1, 'k')",
            &[&lane],
        );
        failure.mentions(rule);
        w.refused("FF133", "SELECT * FROM ff_claim($1, 'w')", &[&lane])
            .mentions(rule);
        w.refused(
            "FF133",
            "SELECT * FROM ff_create_many($1, 'k', '{NULL}')",
            &[&lane],
        )
        .mentions(rule);
        w.refused("FF133", "SELECT * FROM ff_set_lane($1)", &[&lane])
            .mentions(rule);
    }
    assert_eq!(w.contents(), before);
    for lane in ["x".repeat(64), " ~!\"#$%&'()".into()] {
        let row = w.one("SELECT * FROM ff_create_execution($1, 'k')", &[&lane]);
        let claimed = w.one("SELECT * FROM ff_claim($1, 'w')", &[&lane]);
        assert_eq!(claimed.uuid("execution_id"), row.uuid("execution_id"));
    }
}

#[test]
fn e_18_lanes_are_listed_in_byte_order_page_by_page() {
    let mut w = World::new();
    assert!(
        w.rows("SELECT * FROM ff_list_lanes()", &[]).is_empty(),
        "an empty registry"
    );
    for lane in ["delta", "alpha", "echo", "charlie", "bravo"] {
        w.one("SELECT * FROM ff_create_execution($1, 'k')", &[&lane]);
    }
    let mut page = |after: Option<&str>, max_items: i32| -> Vec<(String, bool)> {
        w.rows("SELECT * FROM ff_list_lanes($1, $2)", &[&after, &max_items])
            .iter()
            .map(|row| (row.text("lane"), row.flag("has_more")))
            .collect()
    };
    let expected = |rows: &[(&str, bool)]| -> Vec<(String, bool)> {
        rows.iter()
            .map(|(lane, more)| (lane.to_string(), *more))
            .collect()
    };
    assert_eq!(page(None, 2), expected(&[("alpha", true), ("bravo", true)]));
    assert_eq!(
        page(Some("bravo"), 2),
        expected(&[("charlie", true), ("delta", true)])
    );
    assert_eq!(page(Some("delta"), 2), expected(&[("echo", false)]));
    assert_eq!(page(Some("bz"), 1), expected(&[("charlie", true)]));
    assert_eq!(page(None, 0), []);
    assert_eq!(page(None, 5000).len(), 5);
    w.refused("FF101", "SELECT * FROM ff_list_lanes(max_items => -1)", &[]);
}

#[test]
fn e_19_a_paused_lane_takes_work_and_hands_none_out() {
    let mut w = World::new();
    let running = w.claimed("", "");
    let lost = w.claimed("", "lease_ttl => '1 s'");
    set_lane(&mut w, "paused", "changed");
    let waiting = w.create("");
    w.advance_ms(1000);
    assert!(
        w.claims("max_items => 10").is_empty(),
        "neither new nor lost work is handed out"
    );
    let select = "SELECT outcome FROM ff_claim_for_worker('L', 'w')";
    assert_eq!(w.value::<String>(select, &[]), "no_work");
    w.one("SELECT * FROM ff_renew($1)", &[&running.handle]);
    assert_eq!(
        w.complete(&running.handle, None).text("outcome"),
        "completed"
    );

    set_lane(&mut w, "active", "changed");
    let ids: Vec<_> = w
        .claims("max_items => 10")
        .iter()
        .map(|claim| claim.id)
        .collect();
    assert_eq!(ids, [lost.id, waiting]);
}

#[test]
fn e_19_a_waiting_claim_returns_when_its_lane_becomes_active() {
    let _machine = quiet();
    let mut w = World::new();
    w.create("");
    set_lane(&mut w, "paused", "changed");
    let mut waiter = w.session();
    let pid = waiter.pid();
    let waiting = apart(move || (waiter.claims("wait => '5 s'").len(), Instant::now()));
    w.waits_in_its_statement(pid);
    assert!(!waiting.is_finished());
    set_lane(&mut w, "active", "changed");
    let activated = Instant::now();
    let (claimed, returned) = waiting.outcome();
    assert_eq!(claimed, 1);
    assert!(returned.saturating_duration_since(activated) < Duration::from_secs(1));
}

#[test]
fn e_19_a_draining_lane_hands_out_but_takes_only_known_work() {
    let mut w = World::new();
    let id = w.create("idempotency_key => 'a'");
    set_lane(&mut w, "draining", "changed");
    let before = w.contents();
    w.refused("FF434", "SELECT * FROM ff_create_execution('L', 'k')", &[]);
    w.refused(
        "FF434",
        "SELECT * FROM ff_create_execution('L', 'k', idempotency_key => 'b')",
        &[],
    );
    assert_eq!(w.contents(), before);
    let duplicate = w.create_row("idempotency_key => 'a'");
    assert_eq!(
        (duplicate.text("outcome"), duplicate.uuid("execution_id")),
        ("duplicate".into(), id)
    );
    assert_eq!(w.claim("").id, id);
}

#[test]
fn e_19_a_disabled_lane_neither_takes_nor_hands_out() {
    let mut w = World::new();
    let running = w.claimed("", "");
    let id = w.create("");
    set_lane(&mut w, "disabled", "changed");
    w.refused("FF434", "SELECT * FROM ff_create_execution('L', 'k')", &[]);
    assert!(w.claims("").is_empty());
    let select = "SELECT outcome FROM ff_claim_for_worker('L', 'w')";
    assert_eq!(w.value::<String>(select, &[]), "no_work");
    w.complete(&running.handle, None);
    assert_eq!(w.state(id), "waiting");
}

#[test]
fn a_lane_is_registered_changed_and_left_unchanged() {
    let mut w = World::new();
    set_lane(&mut w, "active", "registered");
    let (_, events) = w.events_by(|w| {
        set_lane(w, "active", "unchanged");
        set_lane(w, "paused", "changed");
        set_lane(w, "paused", "unchanged");
        assert!(w.claims("").is_empty());
    });
    assert_eq!(events.len(), 1, "only the change is an event: {events:?}");
    assert!(events[0].starts_with("operator.lane_state_changed"));
    w.refused("FF101", "SELECT * FROM ff_set_lane('L', 'closed')", &[]);

    w.one(
        "SELECT * FROM ff_set_lane('L', 'active', retention => '2 h')",
        &[],
    );
    w.one("SELECT * FROM ff_set_lane('L', 'active')", &[]);
    let kept: String = w.value("SELECT retention::text FROM ff_list_lanes()", &[]);
    assert_eq!(kept, "02:00:00", "a NULL retention leaves the lane's");
}

fn set_lane(session: &mut crate::support::Session, state: &str, outcome: &str) {
    let row = session.one("SELECT * FROM ff_set_lane('L', $1)", &[&state]);
    assert_eq!(row.text("outcome"), outcome);
    assert_eq!(
        (row.text("lane"), row.text("state")),
        ("L".into(), state.into())
    );
}
