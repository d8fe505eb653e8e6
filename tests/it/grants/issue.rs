//! Reserving a named execution, and what a reservation hides.

use uuid::Uuid;

use super::{RESUME, SEIZE, TAKE, granted, grants, interrupted, issue, scan, select};
use crate::support::work::requiring;
use crate::support::{Cells, Claim, Session, World};

const READY: &str = "runnable/unowned/eligible_now/waiting_for_worker/none/pending_first_attempt";

#[test]
fn e_36_a_granted_execution_is_seen_by_its_worker_alone() {
    let mut w = World::new();
    let id = w.create("");
    let (row, events) = w.events_by(|w| select(w, ""));
    assert_eq!(
        (row.text("outcome"), row.uuid("execution_id")),
        ("granted".into(), id)
    );
    assert_eq!(row.text("lane"), "L");
    assert!(row.maybe_uuid("grant_id").is_some());
    let partition: i16 = w.value("SELECT ff_partition_of($1)", &[&id]);
    assert_eq!(row.small("partition_key"), partition);
    assert!(events.is_empty(), "a grant is no transition: {events:?}");
    w.assert_vector(id, READY, "waiting");

    assert!(w.claims("").is_empty());
    assert!(scan(&mut w, "").is_empty());
    let again = select(&mut w, "");
    assert_eq!(again.text("outcome"), "no_work");
    assert_eq!(
        (
            again.maybe_uuid("execution_id"),
            again.maybe_uuid("grant_id")
        ),
        (None, None)
    );

    let before = w.contents();
    w.refused("FF205", "SELECT * FROM ff_claim_execution($1, 'x')", &[&id]);
    assert_eq!(w.contents(), before, "the grant stays");

    let (claim, events) = w.events_by(|w| Claim::of(w.one(TAKE, &[&id])));
    assert_eq!(
        (claim.id, claim.epoch, claim.index, claim.kind.as_str()),
        (id, 1, 0, "fresh")
    );
    assert_eq!(claim.attempt_type, "initial");
    assert_eq!(events, ["lease.acquired(claim)"]);
    assert_eq!(grants(&mut w), 0);
    w.assert_vector(
        id,
        "active/leased/not_applicable/none/none/running_attempt",
        "active",
    );
    assert_eq!(w.complete(&claim.handle, None).text("outcome"), "completed");
}

#[test]
fn e_36_a_grant_lasts_five_seconds_unless_said_otherwise() {
    let mut w = World::new();
    w.create_several(2, "");
    for (ttl, ms) in [("NULL", 5_000), ("'10 min'", 600_000)] {
        let before = w.now();
        let row = select(&mut w, &format!(", grant_ttl => {ttl}"));
        let (from, until) = (before, w.now());
        let length = chrono::Duration::milliseconds(ms);
        let expires = row.instant("expires_at");
        assert!((from + length..=until + length).contains(&expires));
    }
}

#[test]
fn e_36_without_a_grant_nothing_is_taken() {
    let mut w = World::new();
    let id = w.create("");
    let before = w.contents();
    w.refused("FF205", TAKE, &[&id]);
    w.refused("FF001", TAKE, &[&Uuid::new_v4()]);
    assert_eq!(w.contents(), before);
}

#[test]
fn e_36_the_grant_and_the_attempt_that_are_meant_can_be_named() {
    let mut w = World::new();
    let id = w.create("");
    let grant = granted(&mut w, id, ", 'elsewhere'");
    let take =
        "SELECT * FROM ff_claim_execution($1, 'w', grant_id => $2, expected_attempt_index => $3)";
    let before = w.contents();
    w.refused("FF205", take, &[&id, &Uuid::new_v4(), &0]);
    let failure = w.refused("FF401", take, &[&id, &grant, &1]);
    assert_eq!(failure.detail["lease_epoch"], 0);
    w.refused("FF101", take, &[&id, &grant, &-1]);
    assert_eq!(w.contents(), before);
    let claim = Claim::of(w.one(take, &[&id, &grant, &0]));
    assert_eq!(claim.index, 0);
    let instance = w.describe(id).text("worker_instance");
    assert_eq!(instance, "w", "the instance of the grant is informational");
}

#[test]
fn e_36_the_next_claim_goes_on_with_the_capabilities_and_the_namespace_of_the_grant() {
    let mut w = World::new();
    w.create(&format!("{}, namespace => 'a'", requiring(&["gpu"])));
    let other = w.create("namespace => 'b'");
    let next = w.create(&format!("{}, namespace => 'a'", requiring(&["gpu"])));
    let row = select(&mut w, ", capabilities => '{gpu}', namespace => 'a'");
    let claim = Claim::of(w.one(TAKE, &[&row.uuid("execution_id")]));
    let row = w.one("SELECT * FROM ff_complete_and_claim($1)", &[&claim.handle]);
    assert_eq!(row.uuid("execution_id"), next);
    assert_eq!(w.state(other), "waiting");
}

#[test]
fn e_37_a_lapsed_grant_is_ignored_and_then_dropped() {
    let mut w = World::new();
    let id = w.create("");
    granted(&mut w, id, ", grant_ttl => '1 min'");
    w.advance_ms(30_000);
    assert!(scan(&mut w, "").is_empty());
    w.reconciles("grant_expiry", 0);
    w.advance_ms(30_000);
    w.refused("FF206", TAKE, &[&id]);
    assert_eq!(scan(&mut w, ""), [id], "seen before anybody has dropped it");
    w.run("BEGIN");
    assert_eq!(w.claim("").id, id);
    w.run("ROLLBACK");
    let before = w.all_events().len();
    w.reconciles("grant_expiry", 1);
    assert_eq!(grants(&mut w), 0);
    assert_eq!(w.all_events().len(), before);
    w.reconciles("grant_expiry", 0);
    w.refused("FF205", TAKE, &[&id]);
    assert_eq!(w.claim("").id, id);
}

#[test]
fn e_37_a_lapsed_grant_is_replaced() {
    let mut w = World::new();
    let id = w.create("");
    let first = granted(&mut w, id, ", grant_ttl => '1 min'");
    w.advance_ms(60_000);
    let second = w.one("SELECT * FROM ff_issue_claim_grant($1, 'x')", &[&id]);
    assert_eq!(second.text("outcome"), "granted");
    assert_ne!(second.uuid("grant_id"), first);
    w.refused("FF205", TAKE, &[&id]);
    w.one("SELECT * FROM ff_claim_execution($1, 'x')", &[&id]);
}

/// Whether a worker that waits is told that there is work.
fn work(w: &mut Session, more: &str) -> bool {
    let call = format!("CALL ff_wait_for_work('L', '1 ms'{more})");
    w.value::<String>(&call, &[]) == "work"
}

#[test]
fn e_37_what_is_reserved_is_no_work_for_those_who_wait() {
    let mut w = World::new();
    let id = w.create("");
    granted(&mut w, id, ", grant_ttl => '1 min'");
    assert!(!work(&mut w, ""));
    w.advance_ms(60_000);
    assert!(work(&mut w, ""));
    w.claim("lease_ttl => '1 min'");
    assert!(!work(&mut w, ""));
    w.advance_ms(60_000);
    assert!(work(&mut w, ""), "the lease has elapsed");
    let call = "SELECT outcome FROM ff_issue_reclaim_grant($1, 'w', grant_ttl => '1 min')";
    assert_eq!(w.value::<String>(call, &[&id]), "granted");
    assert!(!work(&mut w, ""));
    w.reconcile("lease_expiry", "");
    w.advance_ms(60_000);
    assert!(!work(&mut w, ", reclaim => false"));
    assert!(work(&mut w, ""));
}

#[test]
fn e_38_an_execution_is_granted_once() {
    let mut w = World::new();
    let id = w.create("");
    let row = issue(&mut w, id, "");
    assert_eq!(row.text("outcome"), "granted");
    assert_eq!(row.get::<_, Option<Vec<String>>>("missing"), None);
    let before = w.contents();
    let again = w.one("SELECT * FROM ff_issue_claim_grant($1, 'x')", &[&id]);
    assert_eq!(again.text("outcome"), "grant_exists");
    assert_eq!(again.maybe_uuid("grant_id"), None, "it is not the asker's");
    assert_eq!(w.contents(), before);

    w.one("SELECT * FROM ff_cancel_execution($1, 'x')", &[&id]);
    assert_eq!(grants(&mut w), 0, "its end has removed the grant");
    let running = w.claimed("", "");
    let delayed = w.create("delay_until => ff_server_time() + interval '1 h'");
    let held = w.create("");
    w.one(
        "SELECT * FROM ff_block_execution($1, 'paused_by_operator')",
        &[&held],
    );
    let late = w.create("execution_deadline => ff_server_time() - interval '1 s'");
    let before = w.contents();
    for id in [id, running.id, delayed, held, late] {
        assert_eq!(issue(&mut w, id, "").text("outcome"), "not_eligible");
    }
    w.refused(
        "FF001",
        "SELECT * FROM ff_issue_claim_grant($1, 'w')",
        &[&Uuid::new_v4()],
    );
    assert_eq!(w.contents(), before);
}

#[test]
fn e_38_a_block_withdraws_the_grant() {
    let mut w = World::new();
    let id = w.create("");
    granted(&mut w, id, "");
    w.one(
        "SELECT * FROM ff_block_execution($1, 'waiting_for_quota')",
        &[&id],
    );
    assert_eq!(grants(&mut w), 0);
    let failure = w.refused("FF203", TAKE, &[&id]);
    assert_eq!(failure.says("eligibility_state"), "blocked_by_quota");
    w.one("SELECT * FROM ff_unblock_execution($1)", &[&id]);
    assert_eq!(w.claim("").id, id);
}

#[test]
fn e_39_a_worker_that_lacks_a_capability_gets_no_grant() {
    let mut w = World::new();
    let id = w.create(&requiring(&["gpu", "torch>=2.3"]));
    let now = w.now();
    let row = issue(&mut w, id, ", capabilities => '{gpu}'");
    assert_eq!(row.text("outcome"), "capability_mismatch");
    assert_eq!(row.get::<_, Vec<String>>("missing"), ["torch>=2.3"]);
    w.assert_vector(
        id,
        "runnable/unowned/blocked_by_route/waiting_for_capable_worker/none/pending_first_attempt",
        "waiting",
    );
    let facts = w.describe(id);
    assert!(facts.instant("last_capability_mismatch_at") >= now);
    assert!(facts.text("blocking_detail").contains("torch>=2.3"));
    assert_eq!(scan(&mut w, ""), [id], "a diagnosis and not a gate");
    assert_eq!(w.claim("capabilities => '{gpu,\"torch>=2.3\"}'").id, id);

    let id = w.create(&requiring(&["gpu", "cuda"]));
    let row = issue(&mut w, id, ", block_on_mismatch => false");
    assert_eq!(row.get::<_, Vec<String>>("missing"), ["cuda", "gpu"]);
    w.assert_vector(id, READY, "waiting");
    let noted = w.describe(id).maybe_instant("last_capability_mismatch_at");
    assert!(noted.is_some());
    granted(&mut w, id, ", capabilities => '{cuda,gpu,more}'");
    w.one(TAKE, &[&id]);
}

#[test]
fn a_lane_that_hands_out_nothing_grants_nothing() {
    let mut w = World::new();
    let paused = interrupted(&mut w);
    let id = w.create("");
    let reserved = w.create("");
    granted(&mut w, reserved, "");
    for state in ["paused", "disabled"] {
        w.one("SELECT * FROM ff_set_lane('L', $1)", &[&state]);
        let before = w.contents();
        assert!(scan(&mut w, "").is_empty());
        assert_eq!(select(&mut w, "").text("outcome"), "no_work");
        assert_eq!(issue(&mut w, id, "").text("outcome"), "not_eligible");
        for call in [TAKE, SEIZE] {
            let failure = w.refused("FF203", call, &[&reserved]);
            assert_eq!(failure.says("closed_lane"), state);
        }
        w.refused("FF203", RESUME, &[&paused.id]);
        assert_eq!(w.contents(), before);
    }
    w.one("SELECT * FROM ff_set_lane('L', 'draining')", &[]);
    assert_eq!(scan(&mut w, ""), [paused.id, id]);
    w.one(TAKE, &[&reserved]);
    w.one(RESUME, &[&paused.id]);
    assert_eq!(select(&mut w, "").uuid("execution_id"), id);
}
