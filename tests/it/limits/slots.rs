//! How long an execution holds its slot (§50.8). Without a background worker.

use uuid::Uuid;

use super::{active, quota, window_used, with_quota};
use crate::support::{Cells, Claim, World};

/// An execution under a cap of one, claimed.
fn running(w: &mut World, q: Uuid, policy: &str, claim: &str) -> Claim {
    let retry = format!("policy => '{{\"quota_policy_id\":\"{q}\"{policy}}}'");
    let claim = w.claimed(&retry, claim);
    assert_eq!(active(w, q), 1);
    claim
}

#[test]
fn b_34_a_slot_falls_free_with_the_end_of_the_run() {
    let mut w = World::without_preload();
    w.seed();
    let q = quota(&mut w, 0, "0", 1, "");
    let c = running(&mut w, q, "", "");
    w.complete(&c.handle, None);
    assert_eq!(active(&mut w, q), 0, "complete");

    let c = running(&mut w, q, "", "");
    w.fail(&c.handle, "x", "classification => 'permanent'");
    assert_eq!(active(&mut w, q), 0, "fail");

    let c = running(&mut w, q, ",\"retry_policy\":{}", "");
    w.fail(&c.handle, "x", "retry_after => '1 d'");
    assert_eq!(active(&mut w, q), 0, "retry");
    w.one("SELECT * FROM ff_cancel_execution($1, 'x')", &[&c.id]);

    let c = running(&mut w, q, "", "");
    w.one("SELECT * FROM ff_cancel($1, 'x')", &[&c.handle]);
    assert_eq!(active(&mut w, q), 0, "cancel");

    let c = running(&mut w, q, "", "");
    w.one(
        "SELECT * FROM ff_suspend($1, ff_cond_operator_only())",
        &[&c.handle],
    );
    assert_eq!(active(&mut w, q), 0, "suspend");
    w.one("SELECT * FROM ff_cancel_execution($1, 'x')", &[&c.id]);

    let c = running(&mut w, q, "", "");
    w.one(
        "SELECT * FROM ff_delay($1, ff_server_time() + interval '1 d')",
        &[&c.handle],
    );
    assert_eq!(active(&mut w, q), 0, "delay");
    w.one("SELECT * FROM ff_cancel_execution($1, 'x')", &[&c.id]);

    let c = running(&mut w, q, "", "");
    w.one("SELECT * FROM ff_wait_children($1)", &[&c.handle]);
    assert_eq!(active(&mut w, q), 0, "wait for children");
    let again = w.claim("");
    assert_eq!(
        (again.id, active(&mut w, q)),
        (c.id, 1),
        "going on admits anew"
    );
    w.complete(&again.handle, None);

    let c = running(
        &mut w,
        q,
        ",\"timeout_policy\":{\"execution_deadline_ms\":1000}",
        "",
    );
    w.advance_ms(1_000);
    w.reconciles("execution_deadline", 1);
    assert_eq!(active(&mut w, q), 0, "deadline");
    assert_eq!(w.describe(c.id).text("public_state"), "expired");

    running(&mut w, q, ",\"max_reclaim_count\":0", "lease_ttl => '1 s'");
    w.advance_ms(1_000);
    w.reconciles("lease_expiry", 1);
    assert_eq!(active(&mut w, q), 0, "reclaim limit");
}

#[test]
fn b_34_a_slot_is_kept_by_a_lost_lease_and_by_a_long_run() {
    let mut w = World::without_preload();
    let q = quota(&mut w, 5, "10 s", 1, "");
    let c = running(&mut w, q, "", "lease_ttl => '1 d'");
    w.advance_ms(30_000);
    assert_eq!(
        (active(&mut w, q), window_used(&mut w, q)),
        (1, 0),
        "three windows long"
    );
    let waiting = w.create(&with_quota(q));
    assert!(w.claims("").is_empty());
    w.one("SELECT * FROM ff_revoke_lease($1)", &[&c.id]);
    assert_eq!(active(&mut w, q), 1, "kept until it is taken over");
    w.reconcile("unblock", "");
    let again = w.claim("lease_ttl => '1 s'");
    assert_eq!((again.id, active(&mut w, q)), (c.id, 1));
    w.advance_ms(1_000);
    w.reconciles("lease_expiry", 1);
    assert_eq!(active(&mut w, q), 1);
    let again = w.claim("");
    assert_eq!((again.id, again.kind.as_str()), (c.id, "reclaimed"));
    w.complete(&again.handle, None);
    w.reconcile("unblock", "");
    assert_eq!(w.claim("").id, waiting);
}

#[test]
fn e_37_b_34_a_lapsed_grant_gives_its_slot_back() {
    let mut w = World::without_preload();
    let q = quota(&mut w, 0, "0", 1, "");
    let id = w.create(&with_quota(q));
    let select = "SELECT * FROM ff_claim_for_worker('L', 'w', 'w-1', grant_ttl => '1 s')";
    assert_eq!(w.one(select, &[]).text("outcome"), "granted");
    assert_eq!(active(&mut w, q), 1);
    w.advance_ms(1_000);
    w.refused(
        "FF206",
        "SELECT * FROM ff_claim_execution($1, 'w', 'w-1')",
        &[&id],
    );
    w.reconciles("grant_expiry", 1);
    assert_eq!(active(&mut w, q), 0);
    let row = w.one(select, &[]);
    assert_eq!(
        (row.text("outcome"), active(&mut w, q)),
        ("granted".into(), 1)
    );
    let claim = Claim::of(w.one("SELECT * FROM ff_claim_execution($1, 'w', 'w-1')", &[&id]));
    assert_eq!(
        active(&mut w, q),
        1,
        "the run goes on with the grant's slot"
    );
    w.complete(&claim.handle, None);
    assert_eq!(active(&mut w, q), 0);
    let id = w.create(&with_quota(q));
    let taken = Claim::of(w.one(
        "SELECT * FROM ff_issue_grant_and_claim($1, '1 min')",
        &[&id],
    ));
    assert_eq!(active(&mut w, q), 0, "an operator asks nobody");
    w.complete(&taken.handle, None);
}

#[test]
fn b_36_a_lowered_cap_waits_for_slots_to_fall_free() {
    let mut w = World::without_preload();
    let q = quota(&mut w, 0, "0", 5, "");
    w.create_several(4, &with_quota(q));
    let running = w.claims("max_items => 4");
    assert_eq!(running.len(), 4);
    w.one("SELECT ff_set_quota_limits($1, 0, '0', 2)", &[&q]);
    let waiting = w.create_several(2, &with_quota(q));
    for (left, c) in running.iter().enumerate().take(3) {
        assert!(w.claims("").is_empty(), "{} run", 4 - left);
        w.complete(&c.handle, None);
        w.reconcile("unblock", "");
    }
    assert_eq!(active(&mut w, q), 1);
    assert_eq!(w.claim("").id, waiting[0]);
    assert!(w.claims("").is_empty());
    assert_eq!(
        w.describe(running[3].id).text("public_state"),
        "active",
        "nothing is interrupted"
    );
    w.one("SELECT ff_set_quota_limits($1, 0, '0', 4)", &[&q]);
    w.reconcile("unblock", "");
    assert_eq!(w.claim("").id, waiting[1]);
}
