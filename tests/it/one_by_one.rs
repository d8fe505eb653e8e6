//! What the reconcilers do, for one named execution (§10.21).

use uuid::Uuid;

use crate::support::{Cells, Session, World};

const RETRY: &str = r#"policy => '{"timeout_policy":{"attempt_timeout_ms":1000},"retry_policy":{"max_retries":1,"backoff":{"type":"fixed","delay_ms":1000}}}'"#;

fn mark(w: &mut Session, id: Uuid) -> String {
    w.value("SELECT ff_mark_lease_expired_if_due($1)", &[&id])
}

fn promote(w: &mut Session, id: Uuid) -> String {
    w.value("SELECT ff_promote_delayed($1)", &[&id])
}

fn expire(w: &mut Session, id: Uuid, phase: &str) -> String {
    w.value("SELECT ff_expire_execution($1, $2)", &[&id, &phase])
}

#[test]
fn e_113_a_lease_is_marked_when_it_is_due() {
    let mut w = World::new();
    let claim = w.claimed("", "lease_ttl => '1 s'");
    assert_eq!(mark(&mut w, claim.id), "not_due");
    w.advance_ms(1_000);
    let (word, events) = w.events_by(|w| mark(w, claim.id));
    assert_eq!(word, "marked_expired");
    assert_eq!(events, ["lease.expired"]);
    assert_eq!(mark(&mut w, claim.id), "already_expired");
    w.assert_vector(
        claim.id,
        "active/lease_expired_reclaimable/not_applicable/waiting_for_worker/none/attempt_interrupted",
        "active",
    );
    w.reconciles("lease_expiry", 0);

    let revoked = w.claimed("priority => 1", "");
    w.one("SELECT * FROM ff_revoke_lease($1)", &[&revoked.id]);
    assert_eq!(mark(&mut w, revoked.id), "already_revoked");
    let waiting = w.create("");
    assert_eq!(mark(&mut w, waiting), "not_active");
    w.one("SELECT * FROM ff_cancel_execution($1, 'x')", &[&waiting]);
    assert_eq!(mark(&mut w, waiting), "already_terminal");
    assert_eq!(mark(&mut w, Uuid::new_v4()), "not_found");
    w.refused("FF101", "SELECT ff_mark_lease_expired_if_due(NULL)", &[]);
}

#[test]
fn e_113_at_the_reclaim_limit_the_mark_is_the_end() {
    let mut w = World::new();
    let claim = w.claimed(
        r#"policy => '{"max_reclaim_count":0}'"#,
        "lease_ttl => '1 s'",
    );
    w.advance_ms(1_000);
    assert_eq!(mark(&mut w, claim.id), "reclaim_cap_exceeded");
    assert_eq!(w.state(claim.id), "failed");
}

#[test]
fn e_113_a_delay_is_over_when_it_is_due() {
    let mut w = World::new();
    let id = w.create("delay_until => ff_server_time() + interval '1 s'");
    assert_eq!(promote(&mut w, id), "not_due");
    w.advance_ms(1_000);
    assert_eq!(promote(&mut w, id), "promoted");
    assert_eq!(w.state(id), "waiting");
    assert_eq!(promote(&mut w, id), "not_delayed");
    let claim = w.claim("");
    assert_eq!(promote(&mut w, id), "not_delayed");
    w.complete(&claim.handle, None);
    assert_eq!(promote(&mut w, id), "already_terminal");
    assert_eq!(promote(&mut w, Uuid::new_v4()), "not_found");
}

#[test]
fn e_113_an_attempt_or_an_execution_expires_when_it_is_due() {
    let mut w = World::new();
    let claim = w.claimed(RETRY, "lease_ttl => '1 min'");
    let id = claim.id;
    assert_eq!(expire(&mut w, id, "attempt_timeout"), "not_due");
    assert_eq!(expire(&mut w, id, "execution_deadline"), "not_due");
    w.advance_ms(1_000);
    assert_eq!(expire(&mut w, id, "attempt_timeout"), "retry_scheduled");
    assert_eq!(w.state(id), "delayed");
    assert_eq!(expire(&mut w, id, "attempt_timeout"), "not_active");
    w.advance_ms(1_000);
    w.claim("lease_ttl => '1 min'");
    w.advance_ms(1_000);
    assert_eq!(expire(&mut w, id, "attempt_timeout"), "expired");
    assert_eq!(w.describe(id).text("failure_reason"), "attempt_timeout");
    assert_eq!(expire(&mut w, id, "attempt_timeout"), "already_terminal");
    assert_eq!(expire(&mut w, id, "execution_deadline"), "already_terminal");

    let late = w.create("execution_deadline => ff_server_time() + interval '1 s'");
    w.advance_ms(1_000);
    let (word, events) = w.events_by(|w| expire(w, late, "execution_deadline"));
    assert_eq!(word, "expired");
    assert_eq!(events, ["completion.expired"]);
    assert_eq!(
        expire(&mut w, Uuid::new_v4(), "execution_deadline"),
        "not_found"
    );
    for phase in ["", "deadline", "ATTEMPT_TIMEOUT"] {
        w.refused(
            "FF101",
            "SELECT ff_expire_execution($1, $2)",
            &[&late, &phase],
        );
    }
    w.refused("FF101", "SELECT ff_expire_execution($1, NULL)", &[&late]);
}

#[test]
fn e_113_a_deadline_comes_before_everything_else() {
    let mut w = World::new();
    let claim = w.claimed(
        "execution_deadline => ff_server_time() + interval '1 s'",
        "lease_ttl => '1 s'",
    );
    w.advance_ms(1_000);
    assert_eq!(mark(&mut w, claim.id), "not_due");
    assert_eq!(expire(&mut w, claim.id, "execution_deadline"), "expired");
}

#[test]
fn e_113_a_lost_lease_has_no_timeout() {
    let mut w = World::new();
    let claim = w.claimed(RETRY, "lease_ttl => '500 ms'");
    w.advance_ms(500);
    mark(&mut w, claim.id);
    assert_eq!(
        expire(&mut w, claim.id, "attempt_timeout"),
        "already_expired"
    );
    let revoked = w.claimed(&format!("{RETRY}, priority => 1"), "");
    w.one("SELECT * FROM ff_revoke_lease($1)", &[&revoked.id]);
    assert_eq!(
        expire(&mut w, revoked.id, "attempt_timeout"),
        "already_revoked"
    );
}
