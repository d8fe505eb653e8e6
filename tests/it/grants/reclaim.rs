//! Reclaim grants: handing a lost execution to a named worker (§10.12).

use postgres::Row;
use uuid::Uuid;

use super::grants;
use crate::support::work::requiring;
use crate::support::{Cells, Claim, Session, World};

const RECLAIM: &str = "SELECT * FROM ff_reclaim_execution($1, 'w', 'w-2')";

#[track_caller]
fn issue(w: &mut Session, id: Uuid, more: &str) -> Row {
    // A grant lapses when the test says so, and not because the machine is slow.
    let call = format!("SELECT * FROM ff_issue_reclaim_grant($1, 'w'{more}, grant_ttl => '1 min')");
    let row = w.one(&call, &[&id]);
    assert_eq!(row.uuid("execution_id"), id);
    row
}

fn lost(w: &mut World, create: &str) -> Claim {
    let claim = w.claimed(create, "lease_ttl => '1 s'");
    w.advance_ms(1_000);
    claim
}

#[test]
fn e_71_a_lost_execution_is_reserved_marked_or_not() {
    let mut w = World::new();
    let unmarked = lost(&mut w, "");
    let (row, events) = w.events_by(|w| issue(w, unmarked.id, ""));
    assert_eq!(row.text("outcome"), "granted");
    assert!(row.maybe_uuid("grant_id").is_some());
    assert_eq!(row.int("reclaim_count"), 0);
    assert_eq!(row.maybe_text("detail"), None);
    assert!(events.is_empty());
    assert!(w.claims("").is_empty(), "reserved, though it is past due");
    assert_eq!(
        issue(&mut w, unmarked.id, "").text("outcome"),
        "grant_exists"
    );
    w.reconcile("lease_expiry", "");
    assert!(w.claims("").is_empty(), "and after somebody has marked it");
    assert_eq!(grants(&mut w), 1);
    w.one(
        "SELECT * FROM ff_cancel_execution($1, 'x')",
        &[&unmarked.id],
    );

    let marked = lost(&mut w, "");
    w.reconciles("lease_expiry", 1);
    assert_eq!(issue(&mut w, marked.id, "").text("outcome"), "granted");
    let revoked = w.claimed("", "");
    w.one("SELECT * FROM ff_revoke_lease($1)", &[&revoked.id]);
    assert_eq!(issue(&mut w, revoked.id, "").text("outcome"), "granted");
}

#[test]
fn e_71_what_has_not_lost_its_lease_is_not_reclaimable() {
    let mut w = World::new();
    let done = w.claimed("", "");
    w.complete(&done.handle, None);
    let live = w.claimed("", "lease_ttl => '1 h'");
    let waiting = w.create("");
    let late = w.claimed(
        "priority => 9, execution_deadline => ff_server_time() + interval '1 s'",
        "lease_ttl => '1 s'",
    );
    w.advance_ms(1_000);
    let before = w.contents();
    for (id, words) in [
        (waiting, ["runnable", "unowned"]),
        (live.id, ["active", "leased"]),
        (done.id, ["terminal", "unowned"]),
        (late.id, ["active", "deadline"]),
    ] {
        let row = issue(&mut w, id, "");
        assert_eq!(row.text("outcome"), "not_reclaimable");
        let detail = row.text("detail");
        assert!(words.iter().all(|word| detail.contains(word)), "{detail}");
        assert_eq!(row.maybe_uuid("grant_id"), None);
        let row = w.one(RECLAIM, &[&id]);
        assert_eq!(
            (row.text("outcome"), row.text("detail")),
            ("not_reclaimable".into(), detail)
        );
    }
    for call in ["SELECT * FROM ff_issue_reclaim_grant($1, 'w')", RECLAIM] {
        w.refused("FF001", call, &[&Uuid::new_v4()]);
    }
    assert_eq!(w.contents(), before);
}

#[test]
fn e_71_a_worker_that_lacks_a_capability_gets_no_reclaim_grant() {
    let mut w = World::new();
    w.create(&requiring(&["cuda", "gpu"]));
    let claim = w.claim("capabilities => '{cuda,gpu}', lease_ttl => '1 s'");
    w.advance_ms(1_000);
    w.reconciles("lease_expiry", 1);
    let vector = w.vector(claim.id);
    let row = issue(&mut w, claim.id, ", capabilities => '{gpu}'");
    assert_eq!(row.text("outcome"), "capability_mismatch");
    assert_eq!(row.get::<_, Vec<String>>("missing"), ["cuda"]);
    assert_eq!(w.vector(claim.id), vector, "nothing but the stamp");
    let noted = w
        .describe(claim.id)
        .maybe_instant("last_capability_mismatch_at");
    assert!(noted.is_some());
    w.refused(
        "FF103",
        "SELECT * FROM ff_issue_reclaim_grant($1, 'w', capabilities => '{a b}')",
        &[&claim.id],
    );
    let row = issue(&mut w, claim.id, ", capabilities => '{cuda,gpu}'");
    assert_eq!(row.text("outcome"), "granted");
}

#[test]
fn e_71_at_the_limit_the_execution_ends() {
    let mut w = World::new();
    let claim = lost(&mut w, r#"policy => '{"max_reclaim_count":1}'"#);
    assert_eq!(issue(&mut w, claim.id, "").text("outcome"), "granted");
    let row = w.one(
        "SELECT * FROM ff_reclaim_execution($1, 'w', lease_ttl => '1 s')",
        &[&claim.id],
    );
    assert_eq!(row.text("outcome"), "claimed");
    w.advance_ms(1_000);
    let (row, events) = w.events_by(|w| issue(w, claim.id, ""));
    assert_eq!(
        (row.text("outcome"), row.int("reclaim_count")),
        ("reclaim_cap_exceeded".into(), 1)
    );
    ended(&mut w, claim.id, &events);
}

#[track_caller]
fn ended(w: &mut World, id: Uuid, events: &[String]) {
    w.assert_vector(
        id,
        "terminal/unowned/not_applicable/none/failed/attempt_terminal",
        "failed",
    );
    assert_eq!(
        events,
        ["lease.released(max_reclaims_exceeded)", "completion.failed"]
    );
    let facts = w.describe(id);
    assert_eq!(facts.text("failure_reason"), "max_reclaims_exceeded");
    assert_eq!(grants(w), 0);
    assert_eq!(w.one(RECLAIM, &[&id]).text("outcome"), "not_reclaimable");
}

#[test]
fn e_72_the_granted_worker_takes_the_execution_over() {
    let mut w = World::new();
    let claim = lost(&mut w, "");
    let row = issue(&mut w, claim.id, ", 'w-9'");
    let grant = row.uuid("grant_id");
    let before = w.contents();
    w.refused(
        "FF205",
        "SELECT * FROM ff_reclaim_execution($1, 'x')",
        &[&claim.id],
    );
    let named = "SELECT * FROM ff_reclaim_execution($1, 'w', grant_id => $2)";
    assert_eq!(
        w.one(named, &[&claim.id, &Uuid::new_v4()]).text("outcome"),
        "grant_not_found"
    );
    w.refused(
        "FF204",
        "SELECT * FROM ff_claim_execution($1, 'w')",
        &[&claim.id],
    );
    assert_eq!(w.contents(), before);

    let (row, events) = w.events_by(|w| w.one(named, &[&claim.id, &grant]));
    assert_eq!(
        (row.text("outcome"), row.maybe_text("detail")),
        ("claimed".into(), None)
    );
    assert_eq!(row.int("reclaim_count"), 1);
    let taken = Claim::of(row);
    assert_eq!(
        (
            taken.index,
            taken.epoch,
            taken.kind.as_str(),
            taken.attempt_type.as_str()
        ),
        (1, 2, "reclaimed", "reclaim")
    );
    assert_eq!(events, ["lease.reclaimed(lease_expired)"]);
    assert_eq!(
        w.attempt_words(claim.id),
        ["0 initial interrupted_reclaimed", "1 reclaim started"]
    );
    assert_eq!(grants(&mut w), 0);
    w.refused("FF401", "SELECT * FROM ff_renew($1)", &[&claim.handle]);
    assert_eq!(w.complete(&taken.handle, None).text("outcome"), "completed");
}

#[test]
fn e_72_a_lapsed_grant_is_no_grant() {
    let mut w = World::new();
    let claim = lost(&mut w, "");
    assert_eq!(
        w.one(RECLAIM, &[&claim.id]).text("outcome"),
        "grant_not_found"
    );
    issue(&mut w, claim.id, "");
    w.advance_ms(60_000);
    let before = w.contents();
    let row = w.one(RECLAIM, &[&claim.id]);
    assert_eq!(row.text("outcome"), "grant_not_found");
    assert_eq!(row.maybe_uuid("execution_id"), None);
    let other = "SELECT * FROM ff_reclaim_execution($1, 'x')";
    assert_eq!(
        w.one(other, &[&claim.id]).text("outcome"),
        "grant_not_found"
    );
    assert_eq!(w.contents(), before);
    assert_eq!(w.claim("").id, claim.id, "a claim sees it again");
}

#[test]
fn e_72_a_lapsed_reclaim_grant_is_dropped_and_the_execution_is_handed_out() {
    let mut w = World::new();
    let claim = lost(&mut w, "");
    w.reconciles("lease_expiry", 1);
    issue(&mut w, claim.id, "");
    w.advance_ms(60_000);
    w.reconciles("grant_expiry", 1);
    assert_eq!(w.claim("").id, claim.id);
}

#[test]
fn e_72_an_execution_cancelled_meanwhile_is_not_reclaimable() {
    let mut w = World::new();
    let claim = lost(&mut w, "");
    issue(&mut w, claim.id, "");
    w.one("SELECT * FROM ff_cancel_execution($1, 'x')", &[&claim.id]);
    let before = w.contents();
    let row = w.one(RECLAIM, &[&claim.id]);
    assert_eq!(row.text("outcome"), "not_reclaimable");
    assert!(row.text("detail").contains("terminal"));
    assert_eq!(w.contents(), before);
}

#[test]
fn e_72_the_limit_comes_from_the_policy_and_else_from_the_caller() {
    let mut w = World::new();
    let own = lost(
        &mut w,
        r#"policy => '{"timeout_policy":{"max_reclaim_count":1}}'"#,
    );
    issue(&mut w, own.id, "");
    let limited = "SELECT * FROM ff_reclaim_execution($1, 'w', max_reclaim_count => $2)";
    assert_eq!(
        w.one(limited, &[&own.id, &0]).text("outcome"),
        "claimed",
        "the policy comes first"
    );
    let free = lost(&mut w, "");
    issue(&mut w, free.id, "");
    w.refused("FF101", limited, &[&free.id, &-1]);
    let (row, events) = w.events_by(|w| w.one(limited, &[&free.id, &0]));
    assert_eq!(
        (row.text("outcome"), row.int("reclaim_count")),
        ("reclaim_cap_exceeded".into(), 0)
    );
    assert_eq!(row.maybe_uuid("execution_id"), None);
    assert_eq!(row.maybe_text("handle"), None);
    ended(&mut w, free.id, &events);
}

#[test]
fn a_closed_lane_has_nothing_to_reclaim() {
    let mut w = World::new();
    let claim = lost(&mut w, "");
    issue(&mut w, claim.id, "");
    let other = lost(&mut w, "");
    w.one("SELECT * FROM ff_set_lane('L', 'paused')", &[]);
    let row = issue(&mut w, other.id, "");
    assert_eq!(row.text("outcome"), "not_reclaimable");
    assert!(row.text("detail").contains("paused"));
    assert_eq!(
        w.one(RECLAIM, &[&claim.id]).text("outcome"),
        "not_reclaimable"
    );
    w.one("SELECT * FROM ff_set_lane('L', 'active')", &[]);
    assert_eq!(w.one(RECLAIM, &[&claim.id]).text("outcome"), "claimed");
}
