//! Sessions that append, close and tail at the same time (§30.1, §30.8).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};

use crate::rollback::assert_each_undone;
use crate::support::pace::{apart, busy};
use crate::support::stream::{ascend, best, ids};
use crate::support::{Cells, World};

#[test]
fn v_11_a_tailer_gets_every_frame_of_two_appenders() {
    let _machine = busy();
    let mut w = World::new();
    let claim = w.claimed("", "lease_ttl => '1 h'");
    let appenders: Vec<_> = (0..2)
        .map(|_| {
            let (door, handle) = (w.door(), claim.handle.clone());
            apart(move || {
                let mut session = door.open();
                let append = |_| session.frame(&handle, b"x", "");
                (0..500).map(append).collect::<Vec<String>>()
            })
        })
        .collect();
    let over = Arc::new(AtomicBool::new(false));
    let (door, id, done) = (w.door(), claim.id, over.clone());
    let tailer = apart(move || {
        let mut session = door.open();
        let mut seen = vec!["0-0".to_string()];
        loop {
            let last_look = done.load(Ordering::SeqCst);
            let after = seen.last().expect("a position").clone();
            let page = ids(&session.tail_stream(
                id,
                &format!("after_id => '{after}', wait => '200 ms', max_items => 17"),
            ));
            if page.is_empty() && last_look {
                return seen.split_off(1);
            }
            seen.extend(page);
        }
    });
    let appended: Vec<Vec<String>> = appenders.into_iter().map(|a| a.outcome()).collect();
    over.store(true, Ordering::SeqCst);
    let seen = tailer.outcome();
    assert!(appended.iter().all(|own| ascend(own)));
    assert!(ascend(&seen), "in ascending order, none twice");
    let appended: BTreeSet<&String> = appended.iter().flatten().collect();
    assert_eq!(appended.len(), 1000, "distinct ids");
    assert_eq!(seen.iter().collect::<BTreeSet<_>>(), appended);
    assert_eq!(w.stream_status(claim.id).big("frame_count"), 1000);
}

#[test]
fn v_14_what_is_rolled_back_was_never_appended() {
    let mut w = World::new();
    let claim = w.claimed("", "lease_ttl => '1 h'");
    w.frame(&claim.handle, b"before", "");
    let before = w.contents();
    let mut other = w.session();
    let (pid, id) = (other.pid(), claim.id);
    let last = w.stream_status(claim.id).text("last_frame_id");
    let tailer = apart(move || {
        other
            .tail_stream(id, &format!("after_id => '{last}', wait => '1 s'"))
            .len()
    });
    w.waits_in_its_statement(pid);
    for arguments in ["", "mode => 'durable_summary'", &best("1 min")] {
        w.run("BEGIN");
        w.frame(&claim.handle, b"{}", arguments);
        w.run("SAVEPOINT s");
        w.frame(&claim.handle, b"{}", arguments);
        w.run("ROLLBACK TO s");
        assert_eq!(w.output(claim.id, "").len(), 2);
        w.run("ROLLBACK");
    }
    assert_eq!(w.contents(), before);
    assert_eq!(tailer.outcome(), 0, "nobody is told");
}

#[test]
fn v_14_appending_and_cancelling_never_deadlock() {
    let _machine = busy();
    let mut w = World::new();
    let rounds = 1000;
    w.rows(
        "SELECT count(*) FROM ff_create_many('L', 'k', array_fill(NULL::bytea, ARRAY[1000]))",
        &[],
    );
    let claims = w.claims("max_items => 1000, lease_ttl => '1 h'");
    assert_eq!(claims.len(), rounds);
    let starts = Arc::new(Barrier::new(2));
    let work: Vec<(uuid::Uuid, String)> = claims.iter().map(|c| (c.id, c.handle.clone())).collect();
    let (door, start, mine) = (w.door(), starts.clone(), work.clone());
    let worker = apart(move || {
        let mut session = door.open();
        let mut completed = 0;
        for (n, (_, handle)) in mine.iter().enumerate() {
            start.wait();
            let mut transaction = session.transaction().expect("a transaction");
            let appended = transaction.query("SELECT * FROM ff_append_frame($1, 'x')", &[handle]);
            let done = appended
                .and_then(|_| transaction.query("SELECT * FROM ff_complete($1)", &[handle]));
            match done {
                Ok(_) => {
                    transaction.commit().expect("a commit");
                    completed += 1;
                }
                Err(e) => {
                    let code = e.code().expect("a code").code().to_string();
                    assert!(
                        ["FF415", "FF210"].contains(&code.as_str()),
                        "round {n}: {code}"
                    );
                }
            }
        }
        completed
    });
    let door = w.door();
    let operator = apart(move || {
        let mut session = door.open();
        let mut cancelled = 0;
        for (n, (id, _)) in work.iter().enumerate() {
            starts.wait();
            let cancel = "SELECT * FROM ff_cancel_execution($1, 'no', 'operator_override')";
            match session.query(cancel, &[id]) {
                Ok(_) => cancelled += 1,
                Err(e) => assert_eq!(e.code().expect("a code").code(), "FF210", "round {n}"),
            }
        }
        cancelled
    });
    assert_eq!(worker.outcome() + operator.outcome(), rounds);
    for claim in &claims {
        let expected: &[&str] = match w.closed(claim.id, 0).as_deref() {
            Some("attempt_success") => &["x", ". attempt_success"],
            _ => &[". attempt_cancelled"],
        };
        assert_eq!(w.output(claim.id, ""), expected);
    }
}

const CANCEL: &str = "SELECT * FROM ff_cancel_execution($1, 'no', 'operator_override')";

#[test]
fn v_15_what_is_committed_after_the_end_is_never_shown() {
    let mut w = World::new();
    for (first, arguments) in [
        (true, ""),
        (false, ""),
        (true, "mode => 'durable_summary'"),
        (false, "mode => 'durable_summary'"),
    ] {
        let claim = w.claimed("", "lease_ttl => '1 h'");
        if first {
            w.frame(&claim.handle, b"first", "");
        }
        let mut worker = w.session();
        worker.run("BEGIN");
        worker.frame(&claim.handle, b"{}", arguments);
        w.one(CANCEL, &[&claim.id]);
        let (processed, _, _, _) = w.reconcile("stream_gc", "");
        assert_eq!(processed, 0, "what is not committed is nobody's yet");
        worker.run("COMMIT");
        let expected: &[&str] = if first {
            &["first", ". attempt_cancelled"]
        } else {
            &[". attempt_cancelled"]
        };
        assert_eq!(w.output(claim.id, ""), expected);
        assert_eq!(
            crate::support::stream::said(&w.tail_stream(claim.id, "")),
            expected
        );
        let status = w.stream_status(claim.id);
        assert_eq!(status.big("frame_count"), i64::from(first));
        let late = "SELECT count(*) FROM ff_engine.frame WHERE execution_id = $1";
        assert_eq!(w.value::<i64>(late, &[&claim.id]), 1 + i64::from(first));
        w.advance_ms(1_000);
        let (processed, _, errors, remaining) = w.reconcile("stream_gc", "");
        assert!(processed > 0 && errors == 0 && !remaining);
        assert_eq!(w.value::<i64>(late, &[&claim.id]), i64::from(first));
        assert_eq!(w.output(claim.id, ""), expected);
        w.reconciles("stream_gc", 0);
    }
}

#[test]
fn under_repeatable_read_one_of_two_appenders_gives_up() {
    let mut w = World::new();
    for arguments in [
        "".to_string(),
        "mode => 'durable_summary'".into(),
        best("1 min"),
    ] {
        for started in [false, true] {
            let claim = w.claimed("", "lease_ttl => '1 h'");
            if started {
                w.frame(&claim.handle, b"{}", &arguments);
            }
            let mut rival = w.session();
            rival.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
            rival.output(claim.id, "");
            w.frame(&claim.handle, b"{}", &arguments);
            rival.unappendable("40001", &claim.handle, b"{}", &arguments);
            rival.run("ROLLBACK");
            assert_eq!(w.output(claim.id, "").len(), 1 + usize::from(started));
        }
    }
}

#[test]
fn a_rollback_undoes_what_every_function_about_streams_has_done() {
    let mut w = World::without_preload();
    let claim = w.claimed("", "lease_ttl => '1 h'");
    let other = w.claimed("", "lease_ttl => '1 h'");
    for arguments in ["", "mode => 'durable_summary'", &best("1 s")] {
        w.frame(&claim.handle, b"{}", arguments);
    }
    w.advance_ms(120_000);
    let (begun, new) = (&claim.handle, &other.handle);
    let mut steps = Vec::new();
    for handle in [begun, new] {
        for mode in [
            "durable'",
            "durable_summary'",
            "best_effort_live', ttl => '1 min'",
        ] {
            steps.push(format!(
                "ff_append_frame('{handle}', '{{}}', mode => '{mode})"
            ));
            steps.push(format!(
                "ff_append_frames('{handle}', '{{\"{{}}\",\"{{}}\"}}', mode => '{mode})"
            ));
        }
        steps.push(format!("ff_complete('{handle}')"));
        steps.push(format!("ff_fail('{handle}', 'x')"));
    }
    steps.push(format!(
        "ff_cancel_execution('{}', 'no', 'operator_override')",
        claim.id
    ));
    steps.push("ff_reconcile_stream_gc()".to_owned());
    assert_each_undone(&mut w, &steps);
}

#[test]
fn frames_that_are_being_cleared_away_hold_up_nobody_and_are_not_left_behind() {
    let mut w = World::new();
    let claim = w.claimed("", "lease_ttl => '1 h'");
    w.append_many(&claim.handle, 100, &best("1 s"));
    w.advance_ms(61_000);
    for over in ["COMMIT", "ROLLBACK"] {
        let mut gc = w.session();
        gc.run("BEGIN");
        assert!(gc.reconcile("stream_gc", "").0 > 0, "frames are deleted");
        // Appends push the same frames out.
        w.run("SET lock_timeout = '5 s'");
        w.append_many(&claim.handle, 100, &best("1 s"));
        gc.run(over);
        let seen = w.output(claim.id, "").len() as i64;
        let status = w.stream_status(claim.id);
        assert_eq!(
            (seen, seen <= 100),
            (status.big("retained_best_effort"), true)
        );
        w.advance_ms(61_000);
    }
    w.reconcile("stream_gc", "");
    assert_eq!(
        w.value::<i64>("SELECT count(*) FROM ff_engine.frame_live", &[]),
        0
    );
}
