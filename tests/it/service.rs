//! Operations by explicit fence or by override, for services that keep a run record instead of a handle (§10.15).

use uuid::Uuid;

use crate::support::{Cells, Claim, World};

/// The twins that end or pause an attempt: arguments beside execution and fence, and the outcome.
const TWINS: [(&str, &str, &str); 4] = [
    ("ff_complete_execution", "", "completed"),
    (
        "ff_fail_execution",
        ", reason => 'x', classification => 'permanent'",
        "terminal_failed",
    ),
    (
        "ff_delay_execution",
        ", delay_until => ff_server_time() + interval '1 h'",
        "delayed",
    ),
    ("ff_wait_children_execution", "", "ready"),
];

fn bare(twin: &str, id: Uuid, more: &str) -> String {
    format!("SELECT * FROM {twin}('{id}'{more})")
}

fn overriding(twin: &str, id: Uuid, more: &str) -> String {
    bare(twin, id, &format!(", source => 'operator_override'{more}"))
}

/// Lease, epoch and attempt, as a run record keeps them.
#[derive(Clone, Copy)]
struct Record {
    id: Uuid,
    lease: Uuid,
    epoch: i64,
    attempt: Uuid,
}

impl Record {
    fn of(claim: &Claim) -> Self {
        Self {
            id: claim.id,
            lease: claim.lease_id,
            epoch: claim.epoch,
            attempt: claim.attempt_id,
        }
    }

    fn call(&self, twin: &str, more: &str) -> String {
        let Self {
            id,
            lease,
            epoch,
            attempt,
        } = self;
        format!(
            "SELECT * FROM {twin}('{id}', lease_id => '{lease}', lease_epoch => {epoch}, attempt_id => '{attempt}'{more})"
        )
    }
}

#[test]
fn e_63_e_65_a_service_shows_its_fence_or_says_that_it_overrides() {
    for (twin, more, outcome) in TWINS {
        let mut w = World::new();
        let claim = w.claimed("", "");
        let before = w.contents();
        for source in ["", ", source => 'lease_holder'", ", source => 'budget'"] {
            let call = bare(twin, claim.id, &format!("{source}{more}"));
            w.refused("FF127", &call, &[]);
        }
        for part in [
            "lease_epoch => 1".to_string(),
            format!("lease_id => '{}'", claim.lease_id),
            format!("attempt_id => '{}', lease_epoch => 1", claim.attempt_id),
        ] {
            for source in ["", ", source => 'operator_override'"] {
                let call = bare(twin, claim.id, &format!(", {part}{source}{more}"));
                w.refused("FF128", &call, &[]);
            }
        }
        let call = bare(twin, claim.id, &format!(", source => 'Operator'{more}"));
        w.refused("FF101", &call, &[]);
        assert_eq!(w.contents(), before);

        let call = overriding(twin, claim.id, more);
        let (row, events) = w.events_by(|w| w.one(&call, &[]));
        assert_eq!(
            (row.text("outcome").as_str(), row.flag("replayed")),
            (outcome, false)
        );
        assert!(events[0].starts_with("lease.released"), "{events:?}");
        let before = w.contents();
        let row = w.one(&call, &[]);
        assert_eq!(
            (row.text("outcome").as_str(), row.flag("replayed")),
            (outcome, true),
            "{twin} repeats for the latest lease"
        );
        assert_eq!(w.contents(), before);
    }
}

#[test]
fn e_63_e_65_an_override_respects_an_end_and_a_lost_lease() {
    let mut w = World::new();
    let expired = w.claimed("", "lease_ttl => '1 s'");
    w.advance_ms(1_000);
    let revoked = w.claimed("", "reclaim => false");
    w.one("SELECT * FROM ff_revoke_lease($1)", &[&revoked.id]);
    let ended = w.claimed("", "reclaim => false");
    w.one("SELECT * FROM ff_cancel($1, 'over')", &[&ended.handle]);
    let waiting = w.create("");
    let marked = w.describe(expired.id).maybe_instant("lease_expired_at");
    assert!(marked.is_some(), "the later claims have marked it");
    let before = w.contents();
    for (twin, more, _) in TWINS {
        for (code, id) in [
            ("FF402", expired.id),
            ("FF403", revoked.id),
            ("FF210", ended.id),
            ("FF210", waiting),
            ("FF001", Uuid::new_v4()),
        ] {
            w.refused(code, &overriding(twin, id, more), &[]);
        }
    }
    assert_eq!(w.contents(), before);
}

#[test]
fn e_63_a_failed_execution_is_not_completed_by_override() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    w.fail(&claim.handle, "x", "'permanent'");
    let failure = w.refused(
        "FF210",
        &overriding("ff_complete_execution", claim.id, ""),
        &[],
    );
    assert_eq!(failure.says("terminal_outcome"), "failed");
}

#[test]
fn e_64_e_65_a_record_is_judged_as_a_handle_is() {
    for (twin, more, outcome) in TWINS {
        let mut w = World::new();
        let claim = w.claimed("", "");
        let right = Record::of(&claim);
        let other = Uuid::new_v4();
        let before = w.contents();
        for stale in [
            Record { epoch: 2, ..right }.call(twin, more),
            Record {
                lease: other,
                ..right
            }
            .call(twin, more),
            Record {
                attempt: other,
                ..right
            }
            .call(twin, more),
            right.call(twin, &format!(", attempt_index => 1{more}")),
            // Who overrides stands in for the latest lease, but may still name the attempt it means.
            overriding(twin, claim.id, &format!(", attempt_index => 1{more}")),
        ] {
            let failure = w.refused("FF401", &stale, &[]);
            assert_eq!(failure.detail["lease_epoch"], 1, "{stale}");
        }
        assert_eq!(w.contents(), before);

        let call = right.call(twin, &format!(", attempt_index => 0{more}"));
        let row = w.one(&call, &[]);
        assert_eq!(
            (row.text("outcome").as_str(), row.flag("replayed")),
            (outcome, false)
        );
        assert!(w.one(&call, &[]).flag("replayed"));
        if outcome == "delayed" || outcome == "ready" {
            w.one(
                "SELECT * FROM ff_cancel_execution($1, 'over')",
                &[&claim.id],
            );
        }
        // Another operation than the one that ended it is no repetition.
        let other = match outcome {
            "completed" => "ff_fail_execution",
            _ => "ff_complete_execution",
        };
        let failure = w.refused("FF210", &right.call(other, ""), &[]);
        assert_eq!(failure.says("lifecycle_phase"), "terminal");
    }
}

#[test]
fn e_64_the_handle_and_the_record_of_a_lease_are_one_caller() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    let first = w.complete(&claim.handle, Some(b"by handle"));
    let row = w.one(
        &Record::of(&claim).call("ff_complete_execution", ", result => 'by record'"),
        &[],
    );
    assert!(row.flag("replayed"));
    assert_eq!(row.instant("completed_at"), first.instant("completed_at"));
    assert_eq!(w.result(claim.id), Some(Some(b"by handle".to_vec())));
}

#[test]
fn e_65_a_failure_by_record_is_retried_like_one_by_handle() {
    let mut w = World::new();
    let policy = r#"policy => '{"retry_policy":{"max_retries":3,"backoff":{"type":"fixed","delay_ms":10}}}'"#;
    let claim = w.claimed(policy, "");
    let call = Record::of(&claim).call("ff_fail_execution", ", reason => 'io', category => 'disk'");
    let (row, events) = w.events_by(|w| w.one(&call, &[]));
    assert_eq!(row.text("outcome"), "retry_scheduled");
    assert_eq!(
        (row.maybe_int("next_attempt_index"), row.int("retry_count")),
        (Some(1), 1)
    );
    assert_eq!(events, ["lease.released(failed_retry_scheduled)"]);
    w.assert_vector(
        claim.id,
        "runnable/unowned/not_eligible_until_time/waiting_for_retry_backoff/none/pending_retry_attempt",
        "delayed",
    );
    w.advance_ms(10);
    let retry = w.claim("");
    assert_eq!((retry.index, retry.epoch), (1, 2));
    assert_eq!(retry.row.text("previous_failure"), "io");
    let again = w.one(&call, &[]);
    assert!(again.flag("replayed"), "the recorded answer, even now");
    assert_eq!(
        again.instant("delay_until"),
        row.instant("delay_until"),
        "with the recorded instant"
    );
}

#[test]
fn e_65_the_twin_of_fail_takes_no_reason_and_refuses_an_unknown_class() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    w.refused(
        "FF101",
        &Record::of(&claim).call("ff_fail_execution", ", classification => 'odd'"),
        &[],
    );
    let row = w.one(&Record::of(&claim).call("ff_fail_execution", ""), &[]);
    assert_eq!(row.text("outcome"), "terminal_failed");
    let attempt = w.attempts(claim.id).remove(0);
    assert_eq!(attempt.maybe_text("failure_reason"), Some(String::new()));
}

#[test]
fn e_65_a_lease_is_renewed_by_its_record_and_by_nobody_else() {
    let mut w = World::new();
    let claim = w.claimed("", "lease_ttl => '30 s'");
    let record = Record::of(&claim);
    w.advance_ms(10_000);
    let row = w.one(
        &record.call(
            "ff_renew_lease",
            ", lease_ttl => '1 min', attempt_index => 0",
        ),
        &[],
    );
    let now = w.now();
    let expires = row.instant("lease_expires_at");
    assert!((expires - now).num_milliseconds() > 59_000, "{expires}");
    assert_eq!(row.big("lease_epoch"), 1);
    assert_eq!(
        (expires - row.instant("renew_before")).num_milliseconds(),
        20_000
    );
    assert_eq!(w.describe(claim.id).instant("lease_expires_at"), expires);

    let before = w.contents();
    w.refused(
        "FF127",
        "SELECT * FROM ff_renew_lease($1, NULL, NULL, NULL)",
        &[&claim.id],
    );
    w.refused(
        "FF127",
        "SELECT * FROM ff_renew_lease($1, NULL, 1, NULL)",
        &[&claim.id],
    );
    for stale in [
        Record { epoch: 2, ..record }.call("ff_renew_lease", ""),
        record.call("ff_renew_lease", ", attempt_index => 1"),
    ] {
        w.refused("FF401", &stale, &[]);
    }
    let absent = Record {
        id: Uuid::new_v4(),
        ..record
    };
    w.refused("FF001", &absent.call("ff_renew_lease", ""), &[]);
    w.refused(
        "FF101",
        &record.call("ff_renew_lease", ", lease_ttl => '2 days'"),
        &[],
    );
    w.advance_ms(60_000);
    w.refused("FF402", &record.call("ff_renew_lease", ""), &[]);
    assert_eq!(w.contents(), before);
    w.one("SELECT * FROM ff_cancel_execution($1, 'x')", &[&claim.id]);
    w.refused("FF210", &record.call("ff_renew_lease", ""), &[]);
}
