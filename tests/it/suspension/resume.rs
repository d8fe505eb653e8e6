//! Resuming without a signal (§20.15).

use uuid::Uuid;

use crate::support::waiting::READY;
use crate::support::{Cells, World};

const RESUME: &str = "SELECT * FROM ff_resume_execution($1)";

#[test]
fn s_50_and_e_66_an_operator_resumes() {
    let mut w = World::new();
    let s = w.waiting(&format!(
        "{READY}, continuation => 'step 3', timeout => '1 h'"
    ));
    let row = w.one(RESUME, &[&s.id]);
    assert_eq!(
        (
            row.text("outcome"),
            row.text("public_state"),
            row.maybe_instant("delay_until")
        ),
        ("resumed".into(), "resumable".into(), None)
    );
    assert_eq!(w.suspension(s.id).text("close_reason"), "resumed");
    w.undeliverable("FF406", &s.point(), "");
    assert_eq!(
        w.event_words(s.id)[3..],
        ["suspension.resumed", "operator.suspension_resumed"]
    );
    w.refused("FF404", RESUME, &[&s.id]);
    let again = w.reclaimed(&s);
    let context = w.one("SELECT * FROM ff_resume_context($1)", &[&again.handle]);
    assert_eq!(
        (
            context.text("resume_trigger"),
            context.maybe_text("continuation"),
            context.flag("timed_out")
        ),
        ("operator".into(), Some("step 3".into()), false)
    );
    w.refused("FF404", RESUME, &[&s.id]);
    w.refused("FF001", RESUME, &[&Uuid::nil()]);
    let s = w.waiting(&format!(
        r#"{READY}, resume_policy => '{{"close_waitpoint_on_resume":false}}'"#
    ));
    w.refused(
        "FF101",
        "SELECT * FROM ff_resume_execution($1, 'x')",
        &[&s.id],
    );
    let now = w.now();
    let row = w.one(
        "SELECT * FROM ff_resume_execution($1, 'auto_resume', '10 s')",
        &[&s.id],
    );
    assert_eq!(row.text("public_state"), "delayed");
    let delay = row.instant("delay_until") - now;
    assert!((10_000..11_000).contains(&delay.num_milliseconds()));
    assert_eq!(
        w.describe(s.id).text("blocking_reason"),
        "waiting_for_resume_delay"
    );
    assert_eq!(w.waitpoint_state(s.point().id), "closed resumed");
    assert_eq!(w.event_words(s.id)[3..], ["suspension.resumed"]);
    w.advance_ms(10_000);
    w.reconciles("delayed", 1);
    w.reclaimed(&s);
}

#[test]
fn a_resumed_claim_continues_its_attempt() {
    let mut w = World::new();
    let s = w.waiting(READY);
    let started = w.describe(s.id).instant("started_at");
    w.effect(&s.point(), "ready");
    let again = w.reclaimed(&s);
    assert_eq!(
        (again.index, again.attempt_id, again.epoch),
        (0, s.claim.attempt_id, 2)
    );
    assert_ne!(again.lease_id, s.claim.lease_id);
    assert_eq!(w.describe(s.id).instant("started_at"), started);
    let attempt = &w.attempts(s.id)[0];
    assert_eq!(attempt.text("attempt_state"), "started");
    assert_eq!(attempt.maybe_text("pause_kind"), None);
    assert_eq!(
        w.event_words(s.id).last().map(String::as_str),
        Some("lease.acquired(claim_resumed)")
    );
}

#[test]
fn s_51_and_e_40_and_e_41_one_resumed_execution_by_its_id() {
    let mut w = World::new();
    let resume = "SELECT * FROM ff_claim_resumed_execution($1, 'w', 'w-1')";
    let s = w.waiting(READY);
    w.refused("FF202", resume, &[&s.id]);
    w.refused(
        "FF203",
        "SELECT * FROM ff_claim_execution($1, 'w')",
        &[&s.id],
    );
    let started = w.describe(s.id).instant("started_at");
    w.effect(&s.point(), "ready");
    let claim = crate::support::Claim::of(w.one(resume, &[&s.id]));
    assert_eq!(
        (
            claim.index,
            claim.attempt_id,
            claim.epoch,
            claim.kind.as_str()
        ),
        (0, s.claim.attempt_id, 2, "resumed")
    );
    assert_eq!(w.state(s.id), "active");
    assert_eq!(w.describe(s.id).instant("started_at"), started);
    w.refused("FF204", resume, &[&s.id]);
    let fresh = w.create("");
    w.refused("FF202", resume, &[&fresh]);

    let s = w.waiting(READY);
    w.effect(&s.point(), "ready");
    let grant = |w: &mut World| {
        let issue = "SELECT * FROM ff_issue_claim_grant($1, 'w', grant_ttl => '10 s')";
        w.one(issue, &[&s.id]).uuid("grant_id")
    };
    let named = "SELECT * FROM ff_claim_resumed_execution($1, $2, grant_id => $3)";
    let id = grant(&mut w);
    w.refused("FF205", named, &[&s.id, &"x", &id]);
    w.advance_ms(10_000);
    w.refused("FF206", named, &[&s.id, &"w", &id]);
    let id = grant(&mut w);
    w.refused("FF205", named, &[&s.id, &"w", &Uuid::nil()]);
    w.one(named, &[&s.id, &"w", &id]);
    w.refused("FF204", named, &[&s.id, &"w", &id]);

    let delayed = w.waiting(&format!(
        r#"{READY}, resume_policy => '{{"resume_delay_ms":60000}}'"#
    ));
    w.effect(&delayed.point(), "ready");
    w.refused("FF203", resume, &[&delayed.id]);
    w.complete(&claim.handle, None);
    w.refused("FF203", resume, &[&claim.id]);

    let s = w.waiting(READY);
    w.effect(&s.point(), "ready");
    let taken = w.one(
        "SELECT * FROM ff_issue_grant_and_claim($1, '1 min')",
        &[&s.id],
    );
    assert_eq!(
        (taken.int("attempt_index"), taken.big("lease_epoch")),
        (0, 2)
    );
}
