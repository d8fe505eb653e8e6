//! Sessions that deliver, resume and rotate at the same time (§20.19).

use std::collections::BTreeMap;

use crate::support::pace::{apart, busy};
use crate::support::waiting::{Point, READY};
use crate::support::{Cells, World};

/// Every session delivers its share; returns how often each answer came, effects and errors alike.
fn crowd(
    w: &World,
    sessions: usize,
    each: usize,
    point: impl Fn(usize) -> Point,
) -> BTreeMap<String, usize> {
    let senders: Vec<_> = (0..sessions)
        .map(|n| {
            let (door, points) = (w.door(), (0..each).map(|i| point(n * each + i)).collect::<Vec<_>>());
            apart(move || {
                let mut session = door.open();
                let mut answers = Vec::new();
                for (i, p) in points.iter().enumerate() {
                    let who = format!("{}", n * each + i);
                    let sent = session.query(
                        "SELECT effect FROM ff_deliver_signal($1, $2, 'ready', source_identity => $3, idempotency_key => $3)",
                        &[&p.id, &p.token, &who],
                    );
                    answers.push(match sent {
                        Ok(rows) => rows[0].text("effect"),
                        Err(e) => e.code().expect("a code").code().to_string(),
                    });
                }
                answers
            })
        })
        .collect();
    let mut tally = BTreeMap::new();
    for sender in senders {
        for answer in sender.outcome() {
            *tally.entry(answer).or_default() += 1;
        }
    }
    tally
}

#[test]
fn s_24_of_fifty_senders_one_resumes() {
    let _machine = busy();
    let mut w = World::on(crate::support::cluster::Cluster::roomy());
    let s = w.waiting(READY);
    let point = s.point();
    let tally = crowd(&w, 50, 1, |_| point.clone());
    assert_eq!(tally["resume_condition_satisfied"], 1);
    assert_eq!(
        tally.get("FF406").copied().unwrap_or_default(),
        49,
        "{tally:?}"
    );
    assert_eq!(w.count("signal"), 1);
    let resumed = w.event_words(s.id);
    assert_eq!(
        resumed
            .iter()
            .filter(|e| *e == "suspension.resumed")
            .count(),
        1
    );
}

#[test]
fn a_thousand_signals_from_sixteen_sessions_resume_once() {
    let _machine = busy();
    let mut w = World::on(crate::support::cluster::Cluster::roomy());
    let s = w.waiting(
        "ff_cond_all_of(ff_cond_count(250, 'sources', '{a}'), ff_cond_count(240, 'signals', '{b}'),
                        ff_cond_any_of(ff_cond_signal('c'), ff_cond_signal('d', 'never')))",
    );
    let points = s.points.clone();
    // Waitpoint d comes last in every share, so that the condition holds only near the end.
    let tally = crowd(&w, 16, 63, |n| points[[0, 1, 2, 0, 1, 2, 3][n % 7]].clone());
    let resumed = tally.get("resume_condition_satisfied").copied();
    assert_eq!(resumed, Some(1), "{tally:?}");
    assert_eq!(tally.values().sum::<usize>(), 16 * 63);
    let accepted: usize = tally
        .iter()
        .filter(|(answer, _)| !answer.starts_with("FF"))
        .map(|(_, n)| n)
        .sum();
    assert_eq!(w.count("signal"), accepted as i64);
    let events = w.event_words(s.id);
    assert_eq!(
        events.iter().filter(|e| *e == "suspension.resumed").count(),
        1
    );
    let progress = w.suspension(s.id).json("progress");
    assert_eq!(progress["satisfied"], true);
    assert!(progress["members"][0]["have"].as_i64() >= Some(250));
}

#[test]
fn s_30_a_repeat_waits_for_the_first() {
    let mut w = World::new();
    for commit in [true, false] {
        let s = w.waiting("ff_cond_count(9, 'signals', '{w}')");
        let p = s.point();
        let mut first = w.session();
        first.run("BEGIN");
        let one = first.deliver(&p, "x", "idempotency_key => 'same'");
        let (mut second, q) = (w.session(), p.clone());
        let pid = second.pid();
        let waiting = apart(move || {
            let row = second.deliver(&q, "x", "idempotency_key => 'same'");
            (row.text("outcome"), row.uuid("signal_id"))
        });
        w.waits_until_blocked(pid);
        first.run(if commit { "COMMIT" } else { "ROLLBACK" });
        let (outcome, id) = waiting.outcome();
        if commit {
            assert_eq!((outcome.as_str(), id), ("duplicate", one.uuid("signal_id")));
        } else {
            assert_eq!(outcome, "accepted");
            assert_ne!(id, one.uuid("signal_id"));
        }
    }
}

#[test]
fn a_signal_waits_for_the_suspend_that_uses_its_waitpoint() {
    let mut w = World::new();
    w.seed();
    let c = w.claimed("", "");
    let p = w.create_waitpoint(&c.handle, "wpk:a", "'1 min'");
    let mut suspender = w.session();
    suspender.run("BEGIN");
    suspender.suspend(&c.handle, &format!(r#"{READY}, '[{{"use":"{}"}}]'"#, p.id));
    let (mut sender, point) = (w.session(), p.clone());
    let pid = sender.pid();
    let sending = apart(move || sender.effect(&point, "ready"));
    w.waits_until_blocked(pid);
    suspender.run("COMMIT");
    assert_eq!(sending.outcome(), "resume_condition_satisfied");
}

#[test]
fn under_a_fixed_snapshot_the_later_signal_gives_up() {
    let mut w = World::new();
    let s = w.waiting("ff_cond_all_waitpoints('a', 'b', 'c')");
    let mut rival = w.session();
    rival.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    rival.state(s.id);
    w.effect(&s.points[0], "x");
    rival.undeliverable("40001", &s.points[1], "");
    rival.run("ROLLBACK");
    assert_eq!(w.effect(&s.points[1], "x"), "appended_to_waitpoint");
}
