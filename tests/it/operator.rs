//! What operators may do to a living execution: cancel, revoke, re-prioritise (§10.16, §10.18).

use postgres::Row;
use uuid::Uuid;

use crate::support::pace::apart;
use crate::support::{Cells, Session, World};

const CANCEL: &str = "SELECT * FROM ff_cancel_execution($1, 'not needed')";
const REVOKE: &str = "SELECT * FROM ff_revoke_lease($1, 'too slow')";

fn cancel(s: &mut Session, id: Uuid) -> Row {
    s.one(CANCEL, &[&id])
}

#[test]
fn e_80_a_waiting_execution_is_cancelled() {
    let mut w = World::new();
    let id = w.create("");
    let (row, events) = w.events_by(|w| cancel(w, id));
    assert_eq!(
        (row.text("outcome"), row.text("public_state")),
        ("cancelled".into(), "cancelled".into())
    );
    assert_eq!(
        (row.text("cancelled_from"), row.flag("replayed")),
        ("runnable".into(), false)
    );
    assert!(
        events.len() == 1 && events[0].starts_with("completion.cancelled"),
        "{events:?}"
    );
    w.assert_vector(
        id,
        "terminal/unowned/not_applicable/none/cancelled/pending_first_attempt",
        "cancelled",
    );
    let facts = w.describe(id);
    assert_eq!(facts.text("cancelled_by"), "operator_override");
    assert_eq!(facts.text("cancellation_reason"), "not needed");
    assert!(facts.maybe_instant("completed_at").is_some());
    assert!(w.claims("").is_empty());
    let event = w.events_of(id).pop().expect("a completion");
    assert_eq!(event.details["source"], "operator_override");
}

#[test]
fn e_80_a_running_execution_is_cancelled_under_its_worker() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    let (row, events) = w.events_by(|w| cancel(w, claim.id));
    assert_eq!(row.text("cancelled_from"), "active");
    assert_eq!(events[0], "lease.released(cancelled)");
    assert_eq!(events.len(), 2);
    w.assert_vector(
        claim.id,
        "terminal/unowned/not_applicable/none/cancelled/attempt_terminal",
        "cancelled",
    );
    assert_eq!(w.attempt_words(claim.id), ["0 initial ended_cancelled"]);
    w.refused("FF210", "SELECT * FROM ff_complete($1)", &[&claim.handle]);
}

#[test]
fn e_80_a_lost_a_paused_and_a_retrying_execution_are_cancelled() {
    let mut w = World::new();
    let lost = w.claimed("", "lease_ttl => '1 s'");
    w.advance_ms(1_000);
    w.reconciles("lease_expiry", 1);
    let (_, events) = w.events_by(|w| cancel(w, lost.id));
    assert_eq!(events.len(), 1, "no lease is left to release: {events:?}");

    let paused = w.claimed("", "");
    w.one(
        "SELECT * FROM ff_delay($1, ff_server_time() + interval '1 h')",
        &[&paused.handle],
    );
    cancel(&mut w, paused.id);
    assert_eq!(w.attempt_words(paused.id), ["0 initial ended_cancelled"]);
    assert_eq!(w.describe(paused.id).maybe_instant("delay_until"), None);

    let retrying = w.claimed(r#"policy => '{"retry_policy":{}}'"#, "");
    w.fail(&retrying.handle, "x", "");
    cancel(&mut w, retrying.id);
    assert_eq!(
        w.attempt_words(retrying.id),
        ["0 initial ended_failure"],
        "not touched"
    );
    w.assert_vector(
        retrying.id,
        "terminal/unowned/not_applicable/none/cancelled/attempt_terminal",
        "cancelled",
    );
}

#[test]
fn e_81_cancelling_again_answers_and_changes_nothing() {
    let mut w = World::new();
    let id = w.create("");
    cancel(&mut w, id);
    let before = w.contents();
    let again = w.one("SELECT * FROM ff_cancel_execution($1, 'other')", &[&id]);
    assert_eq!(
        (again.text("outcome"), again.flag("replayed")),
        ("cancelled".into(), true)
    );
    assert_eq!(w.contents(), before);

    let done = w.claimed("", "");
    w.complete(&done.handle, None);
    let failure = w.refused("FF210", CANCEL, &[&done.id]);
    assert_eq!(failure.says("terminal_outcome"), "success");
    w.refused("FF001", CANCEL, &[&Uuid::new_v4()]);
    for reason in ["".to_string(), "x".repeat(1025), "a\nb".into()] {
        w.refused(
            "FF101",
            "SELECT * FROM ff_cancel_execution($1, $2)",
            &[&done.id, &reason],
        );
    }
}

#[test]
fn e_81_of_two_cancels_at_once_one_acts() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    w.run("BEGIN");
    let first = cancel(&mut w, claim.id);
    let mut rival = w.session();
    let (pid, id) = (rival.pid(), claim.id);
    let waiting = apart(move || {
        let row = cancel(&mut rival, id);
        (row.text("outcome"), row.flag("replayed"))
    });
    let mut onlooker = w.session();
    onlooker.waits_until_blocked(pid);
    w.run("COMMIT");
    assert_eq!(
        (first.text("outcome"), first.flag("replayed")),
        ("cancelled".into(), false)
    );
    assert_eq!(waiting.outcome(), ("cancelled".into(), true));
    let releases = w
        .event_words(claim.id)
        .iter()
        .filter(|word| word.starts_with("lease.released"))
        .count();
    assert_eq!(releases, 1);
}

#[test]
fn e_82_who_is_no_operator_shows_the_fence_of_a_running_execution() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    let call = |more: &str| {
        format!("SELECT * FROM ff_cancel_execution($1, 'x', source => 'lease_holder'{more})")
    };
    w.refused("FF127", &call(""), &[&claim.id]);
    w.refused("FF128", &call(", lease_epoch => 1"), &[&claim.id]);
    let fence = |epoch: i64| {
        format!(
            ", lease_id => '{}', lease_epoch => {epoch}, attempt_id => '{}'",
            claim.lease_id, claim.attempt_id
        )
    };
    w.refused("FF401", &call(&fence(2)), &[&claim.id]);
    assert_eq!(w.state(claim.id), "active");
    assert_eq!(
        w.one(&call(&fence(1)), &[&claim.id]).text("outcome"),
        "cancelled"
    );
    assert_eq!(w.describe(claim.id).text("cancelled_by"), "lease_holder");
    let waiting = w.create("");
    assert_eq!(w.one(&call(""), &[&waiting]).text("outcome"), "cancelled");
    let other = w.create("");
    let sourced =
        |source: &str| format!("SELECT * FROM ff_cancel_execution($1, 'x', source => '{source}')");
    w.refused("FF101", &sourced("Odd Word"), &[&other]);
    w.one(&sourced("my_source_2"), &[&other]);
}

#[test]
fn e_83_a_higher_priority_comes_first_at_the_next_claim() {
    let mut w = World::new();
    let older = w.create("priority => 5");
    let raised = w.create("");
    let change = |w: &mut World, id: Uuid, to: i32| {
        let row = w.one("SELECT * FROM ff_change_priority($1, $2)", &[&id, &to]);
        (
            row.text("outcome"),
            row.int("old_priority"),
            row.int("new_priority"),
        )
    };
    let (said, events) =
        w.events_by(|w| w.one("SELECT * FROM ff_change_priority($1, 10)", &[&raised]));
    assert_eq!(
        (
            said.text("outcome"),
            said.int("old_priority"),
            said.int("new_priority")
        ),
        ("changed".into(), 0, 10)
    );
    assert_eq!(events, ["operator.priority_changed"]);
    let event = w.events_of(raised).pop().expect("an event");
    assert!(
        event.details.to_string().contains("10") && event.details.to_string().contains('0'),
        "{event:?}"
    );
    let (said, events) =
        w.events_by(|w| w.one("SELECT outcome FROM ff_change_priority($1, 10)", &[&raised]));
    assert_eq!(
        (said.text("outcome"), events.len()),
        ("unchanged".into(), 0)
    );
    assert_eq!(change(&mut w, raised, 99_999), ("changed".into(), 10, 9000));
    assert_eq!(
        w.claims("max_items => 2")
            .iter()
            .map(|c| c.id)
            .collect::<Vec<_>>(),
        [raised, older]
    );

    let delayed = w.create("delay_until => ff_server_time() + interval '10 s'");
    let plain = w.create("priority => 3");
    assert_eq!(change(&mut w, delayed, 4), ("changed".into(), 0, 4));
    w.advance_ms(10_000);
    assert_eq!(
        w.claims("max_items => 2")
            .iter()
            .map(|c| c.id)
            .collect::<Vec<_>>(),
        [delayed, plain]
    );
    let done = w.claimed("", "");
    w.complete(&done.handle, None);
    w.refused(
        "FF211",
        "SELECT * FROM ff_change_priority($1, 1)",
        &[&done.id],
    );
    w.refused(
        "FF001",
        "SELECT * FROM ff_change_priority($1, 1)",
        &[&Uuid::new_v4()],
    );
}

#[test]
fn e_73_a_revoked_lease_is_worthless_and_the_work_is_taken_over() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    let (row, events) = w.events_by(|w| w.one(REVOKE, &[&claim.id]));
    assert_eq!(
        (
            row.text("outcome"),
            row.uuid("lease_id"),
            row.big("lease_epoch")
        ),
        ("revoked".into(), claim.lease_id, 1)
    );
    assert_eq!(row.text("worker_instance"), "w-1");
    assert_eq!(events, ["lease.revoked(too slow)"]);
    w.assert_vector(
        claim.id,
        "active/lease_revoked/not_applicable/waiting_for_worker/none/attempt_interrupted",
        "active",
    );
    let facts = w.describe(claim.id);
    assert_eq!(
        (
            facts.text("lease_revoke_reason"),
            facts.text("blocking_detail")
        ),
        ("too slow".into(), "lease revoked: too slow".into())
    );
    assert_eq!(w.closed(claim.id, 0).as_deref(), Some("lease_revoked"));
    w.unappendable("FF415", &claim.handle, b"x", "");
    for call in crate::fence::WORKER_CALLS {
        w.refused("FF403", call, &[&claim.handle]);
    }
    let (again, events) = w.events_by(|w| w.one(REVOKE, &[&claim.id]));
    assert_eq!(
        (again.text("outcome"), again.text("reason")),
        ("already_satisfied".into(), "already_revoked".into())
    );
    assert!(events.is_empty());
    let (taken, events) = w.events_by(|w| w.claim("worker => 'w2'"));
    assert_eq!(events, ["lease.reclaimed(lease_revoked)"]);
    assert_eq!((taken.index, taken.kind.as_str()), (1, "reclaimed"));
    assert_eq!(
        w.attempts(claim.id)[0].maybe_text("reason").as_deref(),
        Some("lease_revoked")
    );
    w.refused("FF401", "SELECT * FROM ff_renew($1)", &[&claim.handle]);
}

#[test]
fn e_74_where_nothing_can_be_revoked_the_call_says_why() {
    let mut w = World::new();
    let never = w.create("");
    let said = |w: &mut World, call: &str, id: Uuid| {
        let before = w.contents();
        let row = w.one(call, &[&id]);
        assert_eq!(w.contents(), before);
        (row.text("outcome"), row.text("reason"))
    };
    let satisfied = |reason: &str| ("already_satisfied".to_string(), reason.to_string());
    assert_eq!(said(&mut w, REVOKE, never), satisfied("no_active_lease"));
    let claim = w.claim("lease_ttl => '10 s'");
    let wrong_lease = "SELECT * FROM ff_revoke_lease($1, expected_lease_id => gen_random_uuid())";
    assert_eq!(
        said(&mut w, wrong_lease, claim.id),
        satisfied("lease_id_mismatch")
    );
    let wrong_instance = "SELECT * FROM ff_revoke_lease($1, expected_worker_instance => 'x')";
    assert_eq!(
        said(&mut w, wrong_instance, claim.id),
        satisfied("different_worker_instance")
    );
    w.one("SELECT * FROM ff_renew($1)", &[&claim.handle]);
    w.advance_ms(10_000);
    w.reconciles("lease_expiry", 1);
    assert_eq!(said(&mut w, REVOKE, claim.id), satisfied("already_expired"));
    let taken = w.claim("");
    w.complete(&taken.handle, None);
    assert_eq!(said(&mut w, REVOKE, claim.id), satisfied("no_active_lease"));
    w.refused("FF001", REVOKE, &[&Uuid::new_v4()]);
}

#[test]
fn e_74_even_an_elapsed_unmarked_lease_is_revoked() {
    let mut w = World::new();
    let claim = w.claimed("", "lease_ttl => '1 s'");
    w.advance_ms(1_000);
    let exact = format!(
        "SELECT * FROM ff_revoke_lease($1, expected_lease_id => '{}', expected_worker_instance => 'w-1')",
        claim.lease_id
    );
    assert_eq!(w.one(&exact, &[&claim.id]).text("outcome"), "revoked");
    w.reconciles("lease_expiry", 0);
    assert_eq!(w.claim("").kind, "reclaimed");
}

#[test]
fn e_44_a_revoked_lease_is_worthless() {
    let mut w = World::new();
    let claim = w.claimed("", "lease_ttl => '10 s'");
    w.one(REVOKE, &[&claim.id]);
    let before = w.contents();
    for call in crate::fence::WORKER_CALLS {
        w.refused("FF403", call, &[&claim.handle]);
    }
    w.advance_ms(10_000);
    w.refused("FF403", "SELECT * FROM ff_renew($1)", &[&claim.handle]);
    assert_eq!(w.contents(), before);
}
