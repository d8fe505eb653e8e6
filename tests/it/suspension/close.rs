//! Closing a waitpoint early (§20.17).

use uuid::Uuid;

use crate::support::{Cells, World};

#[test]
fn s_39_closing_a_waitpoint_before_its_time() {
    let mut w = World::new();
    w.seed();
    let c = w.claimed("", "");
    let p = w.create_waitpoint(&c.handle, "wpk:p", "'60 s'");
    let close = "SELECT * FROM ff_close_waitpoint($1, handle => $2)";
    assert_eq!(w.one(close, &[&p.id, &c.handle]).text("outcome"), "closed");
    assert_eq!(w.waitpoint_state(p.id), "closed proactive_close");
    assert_eq!(
        w.one(close, &[&p.id, &c.handle]).text("outcome"),
        "already_closed"
    );
    w.refused("FF007", close, &[&Uuid::from_u128(1), &c.handle]);
    w.refused(
        "FF007",
        "SELECT * FROM ff_close_waitpoint($1)",
        &[&Uuid::from_u128(1)],
    );
    let other = w.claimed("", "");
    let foreign = w.create_waitpoint(&other.handle, "wpk:p", "'60 s'");
    w.refused("FF113", close, &[&foreign.id, &c.handle]);
    let forced = "SELECT * FROM ff_close_waitpoint($1, handle => $2, force => true)";
    w.refused("FF116", forced, &[&foreign.id, &other.handle]);
    let own_word = "SELECT * FROM ff_close_waitpoint($1, reason => 'not needed')";
    w.one(own_word, &[&foreign.id]);
    assert_eq!(w.waitpoint_state(foreign.id), "closed not needed");
    assert_eq!(
        w.event_words(other.id).last().map(String::as_str),
        Some("suspension.waitpoint_closed")
    );

    for (kind, satisfiable) in [("all_of", false), ("any_of", true)] {
        let s = w.waiting(&format!(
            "ff_cond_{kind}(ff_cond_signal('wpk:a'), ff_cond_signal('wpk:b'))"
        ));
        let point = &s.points[0];
        let plain = "SELECT * FROM ff_close_waitpoint($1)";
        w.refused("FF410", plain, &[&point.id]);
        let row = w.one(
            "SELECT * FROM ff_close_waitpoint($1, force => true)",
            &[&point.id],
        );
        assert_eq!(
            (row.text("outcome"), row.maybe_flag("still_satisfiable")),
            ("closed".into(), Some(satisfiable))
        );
        assert_eq!(w.state(s.id), "suspended");
        w.undeliverable("FF406", point, "");
        assert_eq!(
            w.event_words(s.id)[3..],
            ["suspension.waitpoint_closed", "operator.waitpoint_closed"]
        );
        let effect = w.effect(&s.points[1], "x");
        assert_eq!(effect == "resume_condition_satisfied", satisfiable);
    }
}
