//! Completing, failing for good, cancelling by the worker (§10.14.4–§10.14.6).

use crate::support::handle::Bytes;
use crate::support::{Cells, World};

#[test]
fn e_52_a_completed_execution_keeps_its_result_byte_for_byte() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    assert_eq!(w.result(claim.id), None, "no row before the end");
    let (row, events) = w.events_by(|w| {
        w.one(
            "SELECT * FROM ff_complete($1, '\\x00ff10', 'raw')",
            &[&claim.handle],
        )
    });
    assert_eq!(
        (
            row.text("outcome"),
            row.text("public_state"),
            row.flag("replayed")
        ),
        ("completed".into(), "completed".into(), false)
    );
    assert_eq!(row.uuid("execution_id"), claim.id);
    assert_eq!(events, ["lease.released(completed)", "completion.success"]);
    w.assert_vector(
        claim.id,
        "terminal/unowned/not_applicable/none/success/attempt_terminal",
        "completed",
    );
    assert_eq!(w.attempt_words(claim.id), ["0 initial ended_success"]);
    let result = w.one("SELECT * FROM ff_get_execution_result($1)", &[&claim.id]);
    assert_eq!(
        (result.bytes("result"), result.text("result_encoding")),
        (Some(vec![0, 0xff, 0x10]), "raw".into())
    );
    assert_eq!(result.instant("completed_at"), row.instant("completed_at"));
}

#[test]
fn e_52_no_result_and_an_empty_result_differ() {
    let mut w = World::new();
    let none = w.claimed("", "");
    w.complete(&none.handle, None);
    let empty = w.claimed("", "");
    w.complete(&empty.handle, Some(b""));
    assert_eq!(w.result(none.id), Some(None));
    assert_eq!(w.result(empty.id), Some(Some(Vec::new())));
}

#[test]
fn e_53_the_first_completion_stands() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    let first = w.complete(&claim.handle, Some(b"one"));
    let before = w.contents();
    let again = w.complete(&claim.handle, Some(b"two"));
    assert!(again.flag("replayed"));
    assert_eq!(again.instant("completed_at"), first.instant("completed_at"));
    assert_eq!(
        (again.text("outcome"), again.text("public_state")),
        ("completed".into(), "completed".into())
    );
    assert_eq!(w.result(claim.id), Some(Some(b"one".to_vec())));
    w.refused("FF210", "SELECT * FROM ff_fail($1, 'x')", &[&claim.handle]);
    w.refused(
        "FF210",
        "SELECT * FROM ff_cancel($1, 'x')",
        &[&claim.handle],
    );
    assert_eq!(w.contents(), before, "a replay writes nothing");
}

#[test]
fn e_54_a_batch_completes_wholly_or_reports() {
    let mut w = World::new();
    let stale = w.claimed("", "lease_ttl => '1 s'");
    w.advance_ms(1_000);
    w.claim("worker => 'thief'");
    w.create_several(4, "");
    let claims = w.claims("max_items => 4");
    let mut handles: Vec<_> = claims.iter().map(|claim| claim.handle.clone()).collect();
    handles.insert(2, stale.handle.clone());

    let before = w.contents();
    let failure = w.refused("FF401", "SELECT * FROM ff_complete_many($1)", &[&handles]);
    assert_eq!(failure.detail["item"], 2);
    assert_eq!(w.contents(), before, "none is completed");

    let results: Vec<Option<&[u8]>> = vec![Some(b"0"), Some(b"1"), Some(b"x"), None, Some(b"4")];
    let report = "SELECT * FROM ff_complete_many($1, $2, on_error => 'report')";
    let rows = w.rows(report, &[&handles, &results]);
    let said: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row.int("ordinal"),
                row.text("outcome"),
                row.maybe_text("error_code"),
            )
        })
        .collect();
    let done = |n| (n, "completed".to_string(), None);
    assert_eq!(
        said,
        [
            done(0),
            done(1),
            (2, "rejected".into(), Some("FF401".into())),
            done(3),
            done(4)
        ]
    );
    assert_eq!(
        w.result(claims[3].id),
        Some(Some(b"4".to_vec())),
        "results go with their handles"
    );
    assert_eq!(w.result(claims[2].id), Some(None));
}

#[test]
fn e_54_the_same_handle_twice_is_a_replay() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    let twice = vec![claim.handle.clone(), claim.handle.clone()];
    let (rows, events) = w.events_by(|w| w.rows("SELECT * FROM ff_complete_many($1)", &[&twice]));
    let replayed: Vec<_> = rows
        .iter()
        .map(|row| (row.text("outcome"), row.flag("replayed")))
        .collect();
    assert_eq!(
        replayed,
        [("completed".into(), false), ("completed".into(), true)]
    );
    assert_eq!(
        rows[0].instant("completed_at"),
        rows[1].instant("completed_at")
    );
    assert_eq!(events.len(), 2);
}

#[test]
fn e_54_completed_before_in_a_batch_is_a_replay() {
    let mut w = World::new();
    let first = w.claimed("", "");
    let second = w.claimed("", "");
    w.complete(&first.handle, None);
    let both = vec![first.handle.clone(), second.handle.clone()];
    let rows = w.rows("SELECT * FROM ff_complete_many($1)", &[&both]);
    assert_eq!(
        rows.iter()
            .map(|row| row.flag("replayed"))
            .collect::<Vec<_>>(),
        [true, false]
    );
}

#[test]
fn e_55_without_a_retry_policy_the_first_failure_is_final() {
    for policy in ["{}", r#"{"retry_policy":{"max_retries":0}}"#] {
        let mut w = World::new();
        let claim = w.claimed(&format!("policy => '{policy}'"), "");
        let (row, events) =
            w.events_by(|w| w.fail(&claim.handle, "boom", "'transient', 'io', '\\x01'"));
        assert_eq!(
            (row.text("outcome"), row.text("public_state")),
            ("terminal_failed".into(), "failed".into())
        );
        assert_eq!(
            (
                row.maybe_instant("delay_until"),
                row.maybe_int("next_attempt_index")
            ),
            (None, None)
        );
        assert_eq!((row.int("retry_count"), row.flag("replayed")), (0, false));
        assert_eq!(events[0], "lease.released(failed_terminal)");
        assert!(
            events.len() == 2 && events[1].starts_with("completion.failed"),
            "{events:?}"
        );
        w.assert_vector(
            claim.id,
            "terminal/unowned/not_applicable/none/failed/attempt_terminal",
            "failed",
        );
        let facts = w.describe(claim.id);
        assert_eq!(
            (facts.text("failure_reason"), facts.text("failure_category")),
            ("boom".into(), "io".into())
        );
        let attempt = w.attempts(claim.id).pop().expect("an attempt");
        assert_eq!(attempt.text("attempt_state"), "ended_failure");
        assert_eq!(
            (
                attempt.text("failure_reason"),
                attempt.text("failure_category")
            ),
            ("boom".into(), "io".into())
        );
        assert_eq!(
            (
                attempt.text("failure_class"),
                attempt.bytes("failure_detail")
            ),
            ("transient".into(), Some(vec![1]))
        );
        assert_eq!(w.result(claim.id), None);
    }
}

#[test]
fn e_62_the_worker_cancels_what_it_holds() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    let (row, events) = w.events_by(|w| {
        w.one(
            "SELECT * FROM ff_cancel($1, 'not needed')",
            &[&claim.handle],
        )
    });
    assert_eq!(
        (
            row.text("outcome"),
            row.text("public_state"),
            row.flag("replayed")
        ),
        ("cancelled".into(), "cancelled".into(), false)
    );
    assert_eq!(events[0], "lease.released(cancelled)");
    assert!(
        events.len() == 2 && events[1].starts_with("completion.cancelled"),
        "{events:?}"
    );
    w.assert_vector(
        claim.id,
        "terminal/unowned/not_applicable/none/cancelled/attempt_terminal",
        "cancelled",
    );
    let facts = w.describe(claim.id);
    assert_eq!(
        (
            facts.text("cancelled_by"),
            facts.text("cancellation_reason")
        ),
        ("lease_holder".into(), "not needed".into())
    );
    let attempt = w.attempts(claim.id).pop().expect("an attempt");
    assert_eq!(attempt.text("attempt_state"), "ended_cancelled");
    assert_eq!(attempt.text("failure_reason"), "cancelled: not needed");
    let event = w.events_of(claim.id).pop().expect("a completion");
    assert_eq!(
        (
            event.details["source"].as_str(),
            event.details["cancellation_reason"].as_str()
        ),
        (Some("lease_holder"), Some("not needed"))
    );

    let before = w.contents();
    let again = w.one("SELECT * FROM ff_cancel($1, 'other')", &[&claim.handle]);
    assert!(again.flag("replayed"));
    assert_eq!(again.instant("completed_at"), row.instant("completed_at"));
    assert_eq!(w.contents(), before);
}

#[test]
fn e_62_an_elapsed_lease_cannot_cancel() {
    let mut w = World::new();
    let claim = w.claimed("", "lease_ttl => '1 s'");
    w.advance_ms(1_000);
    w.refused(
        "FF402",
        "SELECT * FROM ff_cancel($1, 'x')",
        &[&claim.handle],
    );
}

#[test]
fn a_replay_survives_later_attempts() {
    let mut w = World::new();
    let first = w.claimed(r#"policy => '{"retry_policy":{}}'"#, "");
    w.fail(&first.handle, "one", "retry_after => '0'");
    let second = w.claim("");
    w.complete(&second.handle, None);
    let replay = w.fail(&first.handle, "other", "");
    assert_eq!(
        (replay.text("outcome"), replay.flag("replayed")),
        ("retry_scheduled".into(), true)
    );
    let other_operation = Bytes::of(&first.handle).text();
    w.refused(
        "FF210",
        "SELECT * FROM ff_complete($1)",
        &[&other_operation],
    );
}
