//! Taking up one named execution: by its grant, as an interrupted attempt, or as an operator.

use uuid::Uuid;

use super::{RESUME, SEIZE, TAKE, granted, grants, interrupted, scan};
use crate::support::work::requiring;
use crate::support::{Cells, Claim, World};

#[test]
fn e_40_what_is_not_claimable_is_not_taken() {
    let mut w = World::new();
    let done = w.claimed("", "");
    w.complete(&done.handle, None);
    let active = w.claimed("", "");
    let lost = w.claimed("", "lease_ttl => '1 s'");
    let delayed = w.create("delay_until => ff_server_time() + interval '1 h'");
    w.advance_ms(1_000);
    let before = w.contents();
    for (code, id) in [
        ("FF203", done.id),
        ("FF204", active.id),
        ("FF204", lost.id),
        ("FF203", delayed),
    ] {
        w.refused(code, TAKE, &[&id]);
        w.refused(code, SEIZE, &[&id]);
    }
    let failure = w.refused("FF203", TAKE, &[&delayed]);
    assert_eq!(
        (
            failure.says("lifecycle_phase"),
            failure.says("terminal_outcome"),
            failure.says("eligibility_state")
        ),
        ("runnable", "none", "not_eligible_until_time")
    );
    for (code, id) in [
        ("FF203", done.id),
        ("FF204", active.id),
        ("FF202", delayed),
        ("FF001", Uuid::new_v4()),
    ] {
        w.refused(code, RESUME, &[&id]);
    }
    assert_eq!(w.contents(), before);
}

#[test]
fn e_40_an_elapsed_delay_or_deadline_counts_before_it_is_noticed() {
    let mut w = World::new();
    let id = w.create("delay_until => ff_server_time() + interval '1 s'");
    let late = w.create("execution_deadline => ff_server_time() + interval '1 s'");
    granted(&mut w, late, "");
    w.advance_ms(1_000);
    w.refused("FF203", TAKE, &[&late]);
    assert_eq!(scan(&mut w, ""), [id]);
    granted(&mut w, id, "");
    assert_eq!(w.state(id), "waiting");
    w.one(TAKE, &[&id]);
    w.reconciles("execution_deadline", 1);
    assert_eq!(grants(&mut w), 0);
}

#[test]
fn e_40_an_interrupted_attempt_goes_on() {
    let mut w = World::new();
    let paused = interrupted(&mut w);
    granted(&mut w, paused.id, "");
    let (claim, events) = w.events_by(|w| Claim::of(w.one(TAKE, &[&paused.id])));
    assert_eq!(
        (claim.index, claim.epoch, claim.kind.as_str()),
        (0, 2, "resumed")
    );
    assert_eq!(claim.attempt_id, paused.attempt_id);
    assert_eq!(events, ["lease.acquired(claim_resumed)"]);
    w.refused("FF204", TAKE, &[&paused.id]);
}

#[test]
fn e_40_a_resumption_needs_no_grant_but_respects_one() {
    let mut w = World::new();
    let fresh = w.create("");
    w.refused("FF202", RESUME, &[&fresh]);
    w.one("SELECT * FROM ff_cancel_execution($1, 'x')", &[&fresh]);

    let paused = interrupted(&mut w);
    let claim = Claim::of(w.one(RESUME, &[&paused.id]));
    assert_eq!((claim.index, claim.epoch), (0, 2));
    w.refused("FF204", RESUME, &[&paused.id]);
    w.one(
        "SELECT * FROM ff_delay($1, ff_server_time() + interval '1 h')",
        &[&claim.handle],
    );
    let failure = w.refused("FF203", RESUME, &[&paused.id]);
    assert_eq!(failure.says("eligibility_state"), "not_eligible_until_time");
    w.advance_ms(3_600_000);

    let named = "SELECT * FROM ff_claim_resumed_execution($1, $2, grant_id => $3)";
    let nobody = Uuid::new_v4();
    w.refused("FF205", named, &[&paused.id, &"w", &nobody]);
    let grant = granted(&mut w, paused.id, ", grant_ttl => '1 min'");
    let before = w.contents();
    w.refused(
        "FF205",
        "SELECT * FROM ff_claim_resumed_execution($1, 'x')",
        &[&paused.id],
    );
    w.refused("FF205", named, &[&paused.id, &"x", &grant]);
    w.refused("FF205", named, &[&paused.id, &"w", &nobody]);
    w.refused(
        "FF401",
        "SELECT * FROM ff_claim_resumed_execution($1, 'w', expected_attempt_index => 1)",
        &[&paused.id],
    );
    assert_eq!(w.contents(), before, "a refused call consumes nothing");
    w.advance_ms(60_000);
    w.refused("FF206", named, &[&paused.id, &"w", &grant]);
    let claim = Claim::of(w.one(
        "SELECT * FROM ff_claim_resumed_execution($1, 'x', expected_attempt_index => 0)",
        &[&paused.id],
    ));
    assert_eq!(
        (claim.index, claim.epoch),
        (0, 3),
        "a lapsed grant binds nobody"
    );
    assert_eq!(grants(&mut w), 0);
}

#[test]
fn e_40_a_resume_grant_is_consumed_once() {
    let mut w = World::new();
    let paused = interrupted(&mut w);
    let grant = granted(&mut w, paused.id, "");
    let take = "SELECT * FROM ff_claim_resumed_execution($1, 'w', grant_id => $2)";
    let claim = Claim::of(w.one(take, &[&paused.id, &grant]));
    assert_eq!(claim.attempt_id, paused.attempt_id);
    w.refused("FF204", take, &[&paused.id, &grant]);
}

#[test]
fn e_41_an_operator_takes_over_in_one_step() {
    let mut w = World::new();
    let id = w.create(&requiring(&["gpu"]));
    let (claim, events) = w.events_by(|w| Claim::of(w.one(SEIZE, &[&id])));
    assert_eq!((claim.id, claim.epoch, claim.index), (id, 1, 0));
    assert_eq!(events, ["lease.acquired(issue_grant_and_claim)"]);
    let facts = w.describe(id);
    assert_eq!(
        (facts.text("worker"), facts.text("worker_instance")),
        ("operator".into(), "operator".into())
    );
    assert_eq!(grants(&mut w), 0);
    let history = w.one("SELECT * FROM ff_lease_history($1)", &[&id]);
    assert_eq!(
        (history.text("event"), history.text("reason")),
        ("acquired".into(), "issue_grant_and_claim".into())
    );
    w.refused("FF204", SEIZE, &[&id]);
    w.refused("FF001", SEIZE, &[&Uuid::new_v4()]);

    let reserved = w.create("");
    granted(&mut w, reserved, ", grant_ttl => '1 min'");
    let before = w.contents();
    w.refused("FF417", SEIZE, &[&reserved]);
    let call = "SELECT * FROM ff_issue_grant_and_claim($1, '30 s', lane => $2)";
    w.refused("FF101", call, &[&reserved, &"M"]);
    w.refused("FF133", call, &[&reserved, &""]);
    w.refused(
        "FF101",
        "SELECT * FROM ff_issue_grant_and_claim($1, NULL)",
        &[&reserved],
    );
    assert_eq!(w.contents(), before);
    assert_eq!(
        grants(&mut w),
        1,
        "a failure leaves the grants as they were"
    );
    w.advance_ms(60_000);
    w.one(call, &[&reserved, &"L"]);
    assert_eq!(grants(&mut w), 0);
}

#[test]
fn e_41_an_operator_continues_an_interrupted_attempt_and_uses_a_grant_of_its_own() {
    let mut w = World::new();
    let paused = interrupted(&mut w);
    granted(&mut w, paused.id, "");
    let row = w.one(
        "SELECT * FROM ff_issue_grant_and_claim($1, '30 s', worker => 'w')",
        &[&paused.id],
    );
    let claim = Claim::of(row);
    assert_eq!(
        (claim.index, claim.epoch, claim.kind.as_str()),
        (0, 2, "resumed")
    );
    assert_eq!(claim.attempt_id, paused.attempt_id);
    assert_eq!(grants(&mut w), 0);
}
