//! Holding an execution back and letting it go (§10.10).

use uuid::Uuid;

use crate::support::waiting;
use crate::support::work::requiring;
use crate::support::{Cells, World};

fn block(w: &mut World, id: Uuid, reason: &str) -> String {
    w.one(
        "SELECT * FROM ff_block_execution($1, $2, 'why')",
        &[&id, &reason],
    )
    .text("outcome")
}

fn unblock(w: &mut World, id: Uuid, more: &str) -> String {
    w.one(
        &format!("SELECT * FROM ff_unblock_execution($1{more})"),
        &[&id],
    )
    .text("outcome")
}

const READY: &str = "runnable/unowned/eligible_now/waiting_for_worker/none/pending_first_attempt";

#[test]
fn e_88_each_reason_has_its_state() {
    let mut w = World::new();
    for (reason, eligibility, public_state, held) in [
        (
            "waiting_for_budget",
            "blocked_by_budget",
            "rate_limited",
            true,
        ),
        (
            "waiting_for_quota",
            "blocked_by_quota",
            "rate_limited",
            true,
        ),
        (
            "waiting_for_capable_worker",
            "blocked_by_route",
            "waiting",
            false,
        ),
        (
            "waiting_for_locality_match",
            "blocked_by_route",
            "waiting",
            false,
        ),
        ("paused_by_operator", "blocked_by_operator", "waiting", true),
        ("paused_by_policy", "blocked_by_lane_state", "waiting", true),
    ] {
        let id = w.create("");
        let (row, events) = w.events_by(|w| {
            w.one(
                "SELECT * FROM ff_block_execution($1, $2, 'why')",
                &[&id, &reason],
            )
        });
        assert_eq!(
            (row.text("outcome"), row.text("eligibility_state")),
            ("blocked".into(), eligibility.into())
        );
        assert_eq!(row.text("public_state"), public_state);
        assert!(events.is_empty());
        w.assert_vector(
            id,
            &format!("runnable/unowned/{eligibility}/{reason}/none/pending_first_attempt"),
            public_state,
        );
        assert_eq!(w.describe(id).text("blocking_detail"), "why");
        if held {
            assert!(w.claims("").is_empty(), "{reason}");
            assert_eq!(unblock(&mut w, id, &format!(", '{reason}'")), "unblocked");
            w.assert_vector(id, READY, "waiting");
        }
        assert_eq!(
            w.claim("").id,
            id,
            "{reason}: claimable in the end, a route block even at once"
        );
    }
    let id = w.create("");
    for reason in [
        "x",
        "paused_by_flow_cancel",
        "waiting_for_worker",
        "none",
        "",
    ] {
        w.refused(
            "FF114",
            "SELECT * FROM ff_block_execution($1, $2)",
            &[&id, &reason],
        );
    }
    w.refused(
        "FF001",
        "SELECT * FROM ff_block_execution($1, 'waiting_for_quota')",
        &[&Uuid::new_v4()],
    );
}

#[test]
fn e_88_a_second_block_replaces_reason_and_detail() {
    let mut w = World::new();
    let id = w.create("");
    block(&mut w, id, "waiting_for_budget");
    w.one(
        "SELECT * FROM ff_block_execution($1, 'paused_by_operator', 'other')",
        &[&id],
    );
    w.assert_vector(
        id,
        "runnable/unowned/blocked_by_operator/paused_by_operator/none/pending_first_attempt",
        "waiting",
    );
    assert_eq!(w.describe(id).text("blocking_detail"), "other");
    let demanding = w.create(&requiring(&["gpu"]));
    let routed = w.one(
        "SELECT * FROM ff_block_route($1, 'nobody can')",
        &[&demanding],
    );
    assert_eq!(routed.text("eligibility_state"), "blocked_by_route");
}

#[test]
fn e_89_what_does_not_wait_cannot_be_held_back() {
    let mut w = World::new();
    let active = w.claimed("", "");
    let done = w.claimed("", "");
    w.complete(&done.handle, None);
    let delayed = w.create("delay_until => ff_server_time() + interval '10 s'");
    let suspended = w.waiting(waiting::READY);
    let before = w.contents();
    assert_eq!(
        block(&mut w, active.id, "paused_by_operator"),
        "rejected_not_eligible"
    );
    assert_eq!(
        block(&mut w, suspended.id, "paused_by_operator"),
        "rejected_not_eligible"
    );
    assert_eq!(
        block(&mut w, done.id, "paused_by_operator"),
        "rejected_terminal"
    );
    assert_eq!(
        block(&mut w, delayed, "waiting_for_quota"),
        "rejected_not_eligible"
    );
    assert_eq!(w.contents(), before, "nothing changed");
}

#[test]
fn e_89_a_held_delay_goes_on_or_is_over_when_let_go() {
    let mut w = World::new();
    for (advance, vector, public_state) in [
        (
            0,
            "runnable/unowned/not_eligible_until_time/waiting_for_delay/none/pending_first_attempt",
            "delayed",
        ),
        (10_000, READY, "waiting"),
    ] {
        let id = w.create("delay_until => ff_server_time() + interval '10 s'");
        assert_eq!(block(&mut w, id, "paused_by_operator"), "blocked");
        assert_eq!(w.state(id), "waiting");
        assert!(
            w.describe(id).maybe_instant("delay_until").is_some(),
            "kept"
        );
        w.advance_ms(advance);
        w.rows("SELECT * FROM ff_tick()", &[]);
        assert!(w.claims("").is_empty(), "held");
        assert_eq!(unblock(&mut w, id, ""), "unblocked");
        w.assert_vector(id, vector, public_state);
        w.advance_ms(10_000);
        assert_eq!(w.claim("").id, id);
    }
}

#[test]
fn e_90_letting_go_says_when_there_is_nothing_to_let_go() {
    let mut w = World::new();
    let id = w.create("");
    assert_eq!(unblock(&mut w, id, ""), "rejected_not_blocked");
    block(&mut w, id, "paused_by_operator");
    let before = w.contents();
    assert_eq!(
        unblock(&mut w, id, ", 'waiting_for_quota'"),
        "rejected_reason_changed"
    );
    assert_eq!(w.contents(), before);
    assert_eq!(unblock(&mut w, id, ", 'paused_by_operator'"), "unblocked");
    let active = w.claim("");
    assert_eq!(unblock(&mut w, active.id, ""), "rejected_not_blocked");
    w.refused(
        "FF001",
        "SELECT * FROM ff_unblock_execution($1)",
        &[&Uuid::new_v4()],
    );
}

#[test]
fn e_90_an_interrupted_attempt_stays_interrupted() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    w.one(
        "SELECT * FROM ff_delay($1, ff_server_time())",
        &[&claim.handle],
    );
    assert_eq!(w.state(claim.id), "resumable");
    block(&mut w, claim.id, "waiting_for_quota");
    assert_eq!(w.state(claim.id), "rate_limited");
    unblock(&mut w, claim.id, "");
    assert_eq!(w.state(claim.id), "resumable");
    assert_eq!(w.claim("").kind, "resumed");
}

#[test]
fn e_90_a_tick_never_clears_what_an_operator_holds() {
    let mut w = World::new();
    let held = w.create("");
    block(&mut w, held, "paused_by_operator");
    let paused = w.create("");
    block(&mut w, paused, "paused_by_policy");
    w.advance_ms(3_600_000);
    w.rows("SELECT * FROM ff_tick()", &[]);
    assert!(w.vector(held).contains("blocked_by_operator"));
    assert!(w.vector(paused).contains("blocked_by_lane_state"));
}

#[test]
fn a_deadline_ends_what_is_held_back() {
    let mut w = World::new();
    let id = w.create("execution_deadline => ff_server_time() + interval '1 s'");
    block(&mut w, id, "paused_by_operator");
    w.advance_ms(1_000);
    w.reconciles("execution_deadline", 1);
    w.assert_vector(
        id,
        "terminal/unowned/not_applicable/none/expired/pending_first_attempt",
        "expired",
    );
}
