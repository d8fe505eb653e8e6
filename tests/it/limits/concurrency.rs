//! Counters, keys and quotas with many sessions at once (§50.5, §50.8).

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use uuid::Uuid;

use super::{active, ask, ok, quota, rep, report, status, tokens, used, window_used, with_quota};
use crate::support::cluster::Cluster;
use crate::support::{Cells, Session, World};

/// Runs a body in so many sessions that begin together; what each returned.
fn crowd<T: Send + 'static>(
    w: &World,
    sessions: usize,
    body: impl Fn(&mut Session, usize) -> T + Send + Sync + 'static,
) -> Vec<T> {
    let (body, barrier) = (Arc::new(body), Arc::new(Barrier::new(sessions)));
    let threads: Vec<_> = (0..sessions)
        .map(|n| {
            let (body, barrier, door) = (body.clone(), barrier.clone(), w.door());
            thread::spawn(move || {
                let mut session = door.open();
                barrier.wait();
                body(&mut session, n)
            })
        })
        .collect();
    threads
        .into_iter()
        .map(|t| t.join().expect("no session fails"))
        .collect()
}

/// Numbers that differ from call to call and from session to session.
fn noise(seed: usize, step: usize) -> usize {
    let mixed = (seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ (step as u64).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((mixed ^ (mixed >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 33) as usize
}

#[test]
fn b_7_two_sessions_with_one_key() {
    let mut w = World::new();
    for stripes in [1, 4] {
        for commits in [true, false] {
            let b = tokens(&mut w, 100, 0, &format!("stripes => {stripes}"));
            let mut first = w.session();
            first.run("BEGIN");
            assert_eq!(
                report(&mut first, b, &json!({"tokens": 3}), Some("k")),
                ok()
            );
            let door = w.door();
            let second = thread::spawn(move || {
                let mut s = door.open();
                s.run("SET application_name = 'second'");
                report(&mut s, b, &json!({"tokens": 3}), Some("k")).0
            });
            let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
            while w.value::<i64>(waits, &[]) == 0 {
                thread::sleep(Duration::from_millis(5));
            }
            first.run(if commits { "COMMIT" } else { "ROLLBACK" });
            let outcome = second.join().expect("an answer");
            assert_eq!(outcome, if commits { "already_applied" } else { "ok" });
            assert_eq!(used(&mut w, b), 3);
        }
    }
}

#[test]
fn b_12_a_hard_limit_holds_whatever_the_concurrency() {
    let mut w = World::on(Cluster::roomy());
    for stripes in [1, 16, 64] {
        let b = tokens(&mut w, 100, 0, &format!("stripes => {stripes}"));
        let outcomes = crowd(&w, 100, move |s, _| [rep(s, b, 1).0, rep(s, b, 1).0]);
        let outcomes: Vec<String> = outcomes.into_iter().flatten().collect();
        let count = |word: &str| outcomes.iter().filter(|o| *o == word).count();
        assert_eq!(
            (count("ok"), count("hard_breach")),
            (100, 100),
            "{stripes} stripes"
        );
        assert_eq!(used(&mut w, b), 100);
        assert_eq!(status(&mut w, b).big("breach_count"), 100);

        let b = tokens(&mut w, 500, 0, &format!("stripes => {stripes}"));
        let accepted = crowd(&w, 16, move |s, n| {
            let mut accepted = 0;
            for step in 0..30 {
                let delta = 1 + (noise(n, step) % 7) as i64;
                s.run("BEGIN");
                let applied = rep(s, b, delta) == ok();
                let commits = !noise(n, step + 1000).is_multiple_of(4);
                s.run(if commits { "COMMIT" } else { "ROLLBACK" });
                accepted += if applied && commits { delta } else { 0 };
            }
            accepted
        });
        let total: i64 = accepted.into_iter().sum();
        assert_eq!(used(&mut w, b), total);
        assert!(total <= 500);
        if total < 500 {
            assert_eq!(rep(&mut w, b, 500 - total), ok(), "exactly what is left");
        }
        assert_eq!(rep(&mut w, b, 1).0, "hard_breach");
    }
}

#[test]
fn b_13_no_increment_is_lost() {
    let mut w = World::new();
    for stripes in [1, 16] {
        let b = tokens(&mut w, 0, 0, &format!("stripes => {stripes}"));
        let committed = crowd(&w, 8, move |s, n| {
            let mut committed = 0;
            for step in 0..75 {
                let commits = !noise(n, step).is_multiple_of(5);
                s.run("BEGIN");
                assert_eq!(rep(s, b, 1), ok());
                s.run(if commits { "COMMIT" } else { "ROLLBACK" });
                committed += i64::from(commits);
            }
            committed
        });
        assert_eq!(used(&mut w, b), committed.into_iter().sum::<i64>());
    }
}

#[test]
fn b_14_reporters_on_different_stripes_never_meet() {
    let mut w = World::new();
    for (hard, stripes, waits) in [(0, 16, false), (1000, 16, false), (1000, 1, true)] {
        let b = tokens(&mut w, hard, 0, &format!("stripes => {stripes}"));
        rep(&mut w, b, 1);
        let mut open = w.session();
        open.run("BEGIN");
        assert_eq!(rep(&mut open, b, 1), ok());
        w.run("SET lock_timeout = '300 ms'");
        if waits {
            w.refused(
                "55P03",
                "SELECT * FROM ff_report_usage_admin($1, '{\"tokens\":1}')",
                &[&b],
            );
        } else {
            for _ in 0..20 {
                assert_eq!(rep(&mut w, b, 1), ok());
            }
        }
        open.run("COMMIT");
        assert_eq!(rep(&mut w, b, 1), ok());
    }
}

/// While a report is open its stripe is taken, so what a budget carries is as many reports at once as it has stripes,
/// whatever the machine.
#[test]
fn b_14_sixteen_stripes_carry_sixteen_open_reports_where_one_carries_one() {
    let mut w = World::new();
    for stripes in [1, 16] {
        let b = tokens(&mut w, 200, 0, &format!("stripes => {stripes}"));
        assert_eq!(rep(&mut w, b, 1), ok(), "what it may use is dealt out");
        let mut reporters: Vec<Session> = Vec::new();
        for _ in 0..stripes {
            let mut s = w.session();
            s.run("SET lock_timeout = '10 s'; BEGIN");
            assert_eq!(rep(&mut s, b, 1), ok());
            reporters.push(s);
        }
        let mut late = w.session();
        late.run("SET lock_timeout = '100 ms'");
        let call = "SELECT * FROM ff_report_usage_admin($1, '{\"tokens\":1}')";
        late.refused("55P03", call, &[&b]);
        reporters.iter_mut().for_each(|s| s.run("COMMIT"));
        let mut total = i64::from(stripes) + 1;
        while rep(&mut w, b, 1) == ok() {
            total += 1;
        }
        assert_eq!((total, used(&mut w, b)), (200, 200));
    }
}

#[test]
fn b_14_several_dimensions_in_any_order_do_not_deadlock() {
    let mut w = World::new();
    for stripes in [1, 4] {
        let limits = "hard_limits => '{\"a\":400,\"b\":400,\"c\":400}'";
        let b = super::budget(
            &mut w,
            "'custom', ''",
            &format!("{limits}, stripes => {stripes}"),
        );
        crowd(&w, 8, move |s, n| {
            for step in 0..40 {
                let amount = |d: usize| noise(n + 100 * d, step) % 4;
                let amounts = json!({"c": amount(0), "a": amount(1), "b": amount(2)});
                report(s, b, &amounts, None);
            }
        });
        for row in w.rows("SELECT * FROM ff_read_budget_usage_and_limits($1)", &[&b]) {
            assert!(row.big("used") <= 400);
        }
    }
}

#[test]
fn b_15_limits_that_change_under_load_keep_their_balance() {
    let mut w = World::new();
    for stripes in [1, 8] {
        let b = tokens(&mut w, 100, 0, &format!("stripes => {stripes}"));
        let running = Arc::new(AtomicI64::new(4));
        let ends = running.clone();
        let door = w.door();
        let watcher = thread::spawn(move || {
            let mut s = door.open();
            let mut step = 0;
            while running.load(Ordering::Relaxed) > 0 {
                let limit = 100 + (noise(9, step) % 400) as i64;
                step += 1;
                s.one(
                    "SELECT ff_set_budget_limits($1, $2, '{}')",
                    &[&b, &json!({"tokens": limit})],
                );
                let broken =
                    "SELECT count(*) FROM ff_check_invariants() WHERE invariant = 'escrow'";
                assert_eq!(s.value::<i64>(broken, &[]), 0);
            }
        });
        crowd(&w, 4, move |s, _| {
            for _ in 0..60 {
                rep(s, b, 2);
            }
            ends.fetch_sub(1, Ordering::Relaxed);
        });
        watcher.join().expect("the balance holds");
        let spent = used(&mut w, b);
        w.one(
            "SELECT ff_set_budget_limits($1, $2, '{}')",
            &[&b, &json!({"tokens": spent + 80})],
        );
        assert_eq!(rep(&mut w, b, 80), ok());
        w.one(
            "SELECT ff_set_budget_limits($1, $2, '{}')",
            &[&b, &json!({"tokens": 50})],
        );
        assert_eq!(
            rep(&mut w, b, 1),
            super::breach("hard_breach", "tokens", spent + 80, 50)
        );
    }
}

#[test]
fn b_32_quotas_hold_whatever_the_concurrency() {
    let mut w = World::on(Cluster::roomy());
    let q = quota(&mut w, 10, "1 h", 0, "");
    let outcomes = crowd(&w, 100, move |s, _| ask(s, q, Uuid::new_v4()));
    assert_eq!(outcomes.iter().filter(|o| *o == "admitted").count(), 10);
    assert_eq!(window_used(&mut w, q), 10);

    let q = quota(&mut w, 1, "1 h", 1, "");
    let e = w.create("");
    w.run("BEGIN");
    assert_eq!(ask(&mut w, q, e), "admitted");
    w.run("ROLLBACK");
    assert_eq!((active(&mut w, q), window_used(&mut w, q)), (0, 0));
    assert_eq!(ask(&mut w, q, e), "admitted");

    let q = quota(&mut w, 0, "0", 10, "");
    let running = Arc::new(AtomicI64::new(0));
    w.create_several(200, &with_quota(q));
    crowd(&w, 16, move |s, _| {
        for _ in 0..15 {
            for c in s.claims("max_items => 2") {
                let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                assert!(now <= 10, "{now} at once");
                // Counted as gone before it is, so that the count never exceeds the truth.
                running.fetch_sub(1, Ordering::SeqCst);
                s.complete(&c.handle, None);
            }
            s.reconcile("unblock", "");
        }
    });
    assert_eq!(active(&mut w, q), 0);
}

#[test]
fn b_32_no_interval_of_a_window_holds_more_starts() {
    let mut w = World::new();
    let q = quota(&mut w, 20, "200 ms", 0, "");
    let starts = crowd(&w, 8, move |s, _| {
        let mut starts = Vec::new();
        let until = Instant::now() + Duration::from_millis(1_200);
        while Instant::now() < until {
            let before = s.now();
            if ask(s, q, Uuid::new_v4()) == "admitted" {
                starts.push((before, s.now()));
            }
        }
        starts
    });
    let mut starts: Vec<_> = starts.into_iter().flatten().collect();
    starts.sort();
    assert!(starts.len() >= 40, "the window moves on: {}", starts.len());
    for (i, (_, first)) in starts.iter().enumerate() {
        // Only starts that certainly lie within the window count.
        let window = *first + chrono::TimeDelta::milliseconds(200);
        let within = starts[i..].iter().filter(|(from, to)| {
            from >= &starts[i].0
                && *to < starts[i].0 + chrono::TimeDelta::milliseconds(200)
                && *from < window
        });
        assert!(within.count() <= 20);
    }
}
