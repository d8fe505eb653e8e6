//! Running an ended execution again (§10.18.3).

use uuid::Uuid;

use crate::support::{Cells, World};

const REPLAY: &str = "SELECT * FROM ff_replay_execution($1, 'again', requested_by => 'me')";

fn cancel(w: &mut World, id: Uuid) {
    w.one(
        "SELECT * FROM ff_cancel_execution($1, 'not needed')",
        &[&id],
    );
}

/// An execution that has failed for good after one retry.
fn failed_after_a_retry(w: &mut World) -> Uuid {
    let id = w.create(
        r#"policy => '{"retry_policy":{"max_retries":1,"backoff":{"type":"fixed","delay_ms":0}}}'"#,
    );
    for _ in 0..2 {
        let claim = w.claim("");
        w.fail(&claim.handle, "x", "");
    }
    assert_eq!(w.state(id), "failed");
    id
}

#[test]
fn e_84_a_failed_execution_runs_again_with_its_full_allowance() {
    let mut w = World::new();
    let id = failed_after_a_retry(&mut w);
    let started = w.describe(id).maybe_instant("started_at");
    let (row, events) = w.events_by(|w| w.one(REPLAY, &[&id]));
    assert_eq!(
        (row.text("outcome"), row.text("public_state")),
        ("replayed".into(), "waiting".into())
    );
    assert_eq!(row.int("replay_count"), 1);
    assert!(
        events.len() == 1 && events[0].starts_with("operator.replayed"),
        "{events:?}"
    );
    let event = w.events_of(id).pop().expect("an event");
    assert_eq!(
        (&event.details["branch"], &event.details["replay_count"]),
        (&"normal".into(), &1.into())
    );
    w.assert_vector(
        id,
        "runnable/unowned/eligible_now/waiting_for_worker/none/pending_replay_attempt",
        "waiting",
    );
    let facts = w.describe(id);
    assert_eq!(
        (
            facts.maybe_instant("completed_at"),
            facts.maybe_text("failure_reason")
        ),
        (None, None)
    );
    assert_eq!(
        (
            facts.int("retry_count"),
            facts.int("replay_count"),
            facts.int("total_attempt_count")
        ),
        (0, 1, 2)
    );
    assert_eq!(
        (w.result(id), facts.maybe_instant("started_at")),
        (None, started)
    );
    assert_eq!(
        w.attempt_words(id),
        ["0 initial ended_failure", "1 retry ended_failure"]
    );

    let claim = w.claim("");
    assert_eq!(
        (
            claim.index,
            claim.attempt_type.as_str(),
            claim.kind.as_str(),
            claim.epoch
        ),
        (2, "replay", "fresh", 3)
    );
    assert_eq!(claim.row.maybe_int("previous_attempt_index"), Some(1));
    assert_eq!(
        w.fail(&claim.handle, "x", "").text("outcome"),
        "retry_scheduled",
        "once more"
    );
    let claim = w.claim("");
    assert_eq!(
        w.fail(&claim.handle, "x", "").text("outcome"),
        "terminal_failed"
    );
    let completions = w
        .events_of(id)
        .iter()
        .filter(|e| e.family == "completion")
        .count();
    assert_eq!(completions, 2, "one per life");
}

#[test]
fn e_85_any_ended_execution_can_run_again() {
    let mut w = World::new();
    let cancelled = w.create("");
    cancel(&mut w, cancelled);
    w.one(REPLAY, &[&cancelled]);
    let claim = w.claim("");
    w.refused("FF413", REPLAY, &[&cancelled]);
    w.complete(&claim.handle, Some(b"r"));
    w.one(REPLAY, &[&cancelled]);
    assert_eq!(w.result(cancelled), None, "the result is cleared");
    w.refused("FF413", REPLAY, &[&cancelled]);
    w.refused("FF001", REPLAY, &[&Uuid::new_v4()]);
}

#[test]
fn e_85_the_number_of_replays_is_limited() {
    let mut w = World::new();
    let id = w.create("");
    for _ in 0..10 {
        cancel(&mut w, id);
        w.one(REPLAY, &[&id]);
    }
    cancel(&mut w, id);
    w.refused("FF414", REPLAY, &[&id]);
    let never = w.create(r#"policy => '{"max_replay_count":0}'"#);
    cancel(&mut w, never);
    w.refused("FF414", REPLAY, &[&never]);
}

#[test]
fn e_85_a_replay_drops_the_old_deadline() {
    let mut w = World::new();
    let id = w.create("execution_deadline => ff_server_time() + interval '1 s'");
    w.advance_ms(1_000);
    w.reconciles("execution_deadline", 1);
    w.one(REPLAY, &[&id]);
    assert_eq!(w.describe(id).maybe_instant("execution_deadline"), None);
    assert_eq!(w.claim("").id, id);
}

#[test]
fn e_85_a_replayed_execution_outlives_the_retention_of_its_first_life() {
    let mut w = World::new();
    let claim = w.claimed("retention => '10 s'", "");
    w.complete(&claim.handle, None);
    w.advance_ms(5_000);
    w.one(REPLAY, &[&claim.id]);
    w.advance_ms(10_000);
    w.rows("SELECT * FROM ff_tick()", &[]);
    assert_eq!(w.state(claim.id), "waiting");
    let again = w.claim("");
    w.complete(&again.handle, None);
    w.advance_ms(10_000);
    w.reconciles("retention", 1);
}
