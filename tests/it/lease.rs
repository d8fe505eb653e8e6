//! Renewing, losing and taking over a lease (§10.14.1, §10.16, §10.12 reclaim limit).

use chrono::Duration;

use crate::support::{Cells, World};

#[test]
fn e_47_a_renewal_moves_the_expiry_and_nothing_else() {
    let mut w = World::new();
    let claim = w.claimed("", "lease_ttl => '30 s'");
    w.advance_ms(10_000);
    let (row, events) = w.events_by(|w| w.one("SELECT * FROM ff_renew($1)", &[&claim.handle]));
    let expires = row.instant("lease_expires_at");
    let moved = (expires - claim.row.instant("lease_expires_at")).num_milliseconds();
    assert!(
        (10_000..12_000).contains(&moved),
        "now + ttl, not expiry + ttl: {moved}"
    );
    assert_eq!(row.big("lease_epoch"), 1);
    assert_eq!(expires - row.instant("renew_before"), Duration::seconds(10));
    assert_eq!(events, ["lease.renewed"]);
    let facts = w.describe(claim.id);
    assert_eq!(
        (facts.uuid("lease_id"), facts.big("lease_epoch")),
        (claim.lease_id, 1)
    );
    assert_eq!(facts.instant("lease_expires_at"), expires);
    assert!(facts.maybe_instant("lease_last_renewed_at").is_some());
}

#[test]
fn e_47_a_new_ttl_holds_for_later_renewals_and_may_shorten() {
    let mut w = World::new();
    let claim = w.claimed("", "lease_ttl => '30 s'");
    let left = |w: &mut World, call: &str| {
        let row = w.one(call, &[&claim.handle]);
        let now = w.now();
        (row.instant("lease_expires_at") - now).num_seconds()
    };
    assert!((295..=300).contains(&left(&mut w, "SELECT * FROM ff_renew($1, '5 min')")));
    assert!((295..=300).contains(&left(&mut w, "SELECT * FROM ff_renew($1)")));
    assert!((5..=10).contains(&left(&mut w, "SELECT * FROM ff_renew($1, '10 s')")));
}

#[test]
fn e_47_renewals_can_be_left_out_of_the_log() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    w.run("SET ff_engine.emit_lease_renewed = off");
    let (_, events) = w.events_by(|w| w.one("SELECT * FROM ff_renew($1)", &[&claim.handle]));
    assert_eq!(events, [""; 0]);
}

#[test]
fn e_47_calling_twice_renews_twice() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    let (_, events) = w.events_by(|w| {
        for _ in 0..2 {
            w.one("SELECT * FROM ff_renew($1)", &[&claim.handle]);
        }
    });
    assert_eq!(events, ["lease.renewed", "lease.renewed"]);
}

#[test]
fn e_48_one_call_renews_all_that_can_be_renewed() {
    let mut w = World::new();
    let expired = w.claimed("", "lease_ttl => '1 s'");
    let live = w.claimed("", "lease_ttl => '30 s'");
    w.advance_ms(1_000);
    let handles = vec![
        live.handle.clone(),
        expired.handle.clone(),
        "ffh1.nothing".to_string(),
    ];
    let rows = w.rows("SELECT * FROM ff_renew_many($1)", &[&handles]);
    let said: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row.int("ordinal"),
                row.text("outcome"),
                row.maybe_text("error_code"),
            )
        })
        .collect();
    assert_eq!(
        said,
        [
            (0, "renewed".into(), None),
            (1, "rejected".into(), Some("FF402".into())),
            (2, "rejected".into(), Some("FF129".into())),
        ]
    );
    assert_eq!(rows[0].maybe_uuid("execution_id"), Some(live.id));
    assert!(rows[0].maybe_instant("lease_expires_at") > Some(live.row.instant("lease_expires_at")));
    assert_eq!(
        w.event_words(live.id),
        ["lease.acquired(claim)", "lease.renewed"]
    );
    assert_eq!(w.event_words(expired.id), ["lease.acquired(claim)"]);
}

#[test]
fn e_67_an_elapsed_lease_is_marked_once() {
    let mut w = World::new();
    let claim = w.claimed("", "lease_ttl => '10 s'");
    w.reconciles("lease_expiry", 0);
    w.advance_ms(10_000);
    let (_, events) = w.events_by(|w| w.reconciles("lease_expiry", 1));
    assert_eq!(events, ["lease.expired"]);
    w.assert_vector(
        claim.id,
        "active/lease_expired_reclaimable/not_applicable/waiting_for_worker/none/attempt_interrupted",
        "active",
    );
    let facts = w.describe(claim.id);
    assert!(facts.maybe_instant("lease_expired_at").is_some());
    assert_eq!(
        facts.text("blocking_detail"),
        "lease expired, awaiting reclaim"
    );
    assert_eq!(
        facts.text("worker_instance"),
        "w-1",
        "the last owner stays visible"
    );
    assert_eq!(w.attempt_words(claim.id), ["0 initial started"]);
    let (_, events) = w.events_by(|w| w.reconciles("lease_expiry", 0));
    assert!(events.is_empty());
}

#[test]
fn e_67_a_lease_renewed_meanwhile_is_not_marked() {
    let mut w = World::new();
    let claim = w.claimed("", "lease_ttl => '10 s'");
    let mut behind = w.session();
    w.advance_ms(10_000);
    behind.run("BEGIN");
    behind.one("SELECT * FROM ff_renew($1, '1 min')", &[&claim.handle]);
    let (processed, _, errors, _) = w.reconcile("lease_expiry", "");
    assert_eq!(
        (processed, errors),
        (0, 0),
        "the row is locked by its renewal"
    );
    behind.run("COMMIT");
    let (processed, _, errors, remaining) = w.reconcile("lease_expiry", "");
    assert_eq!(
        (processed, errors, remaining),
        (0, 0, false),
        "the renewed row is not due"
    );
    assert_eq!(
        w.event_words(claim.id),
        ["lease.acquired(claim)", "lease.renewed"]
    );
}

#[test]
fn e_68_a_lost_execution_is_taken_over_by_a_new_attempt() {
    let mut w = World::new();
    let lost = w.claimed("", "lease_ttl => '100 ms'");
    w.advance_ms(200);
    w.reconciles("lease_expiry", 1);
    let (claim, events) = w.events_by(|w| w.claim("worker => 'w2'"));
    assert_eq!(events, ["lease.reclaimed(lease_expired)"]);
    assert_eq!((claim.id, claim.index, claim.epoch), (lost.id, 1, 2));
    assert_eq!(
        (claim.attempt_type.as_str(), claim.kind.as_str()),
        ("reclaim", "reclaimed")
    );
    assert_eq!(
        (
            claim.row.int("reclaim_count"),
            claim.row.int("total_attempt_count")
        ),
        (1, 2)
    );
    assert_eq!(claim.row.maybe_int("previous_attempt_index"), Some(0));
    assert_eq!(
        w.attempt_words(lost.id),
        ["0 initial interrupted_reclaimed", "1 reclaim started"]
    );
    let attempts = w.attempts(lost.id);
    assert!(attempts[0].maybe_instant("ended_at").is_some());
    assert_eq!(
        attempts[0].maybe_text("reason").as_deref(),
        Some("lease_expired")
    );
    let held = |w: &mut World, worker: &str, instance: &str| {
        w.rows(
            "SELECT * FROM ff_recover_leases($1, $2)",
            &[&worker, &instance],
        )
        .len()
    };
    assert_eq!((held(&mut w, "w", "w-1"), held(&mut w, "w2", "w2")), (0, 1));
    let reclaimed = w.events_of(lost.id).pop().expect("an event");
    assert_eq!(
        reclaimed.details["previous_lease_id"],
        lost.lease_id.to_string()
    );
    assert_eq!(reclaimed.details["previous_lease_epoch"], 1);
    assert_eq!(reclaimed.details["previous_worker_instance"], "w-1");
    assert_eq!(reclaimed.details["lease_id"], claim.lease_id.to_string());
}

#[test]
fn e_69_epochs_and_indexes_only_ascend() {
    let mut w = World::new();
    let id = w.create("");
    for n in 0..6 {
        let claim = w.claim("lease_ttl => '1 s'");
        assert_eq!(
            (claim.id, claim.index, claim.epoch),
            (id, n, i64::from(n) + 1)
        );
        w.advance_ms(1_000);
        if n % 2 == 0 {
            w.reconciles("lease_expiry", 1);
        }
    }
    assert_eq!(w.attempts(id).len(), 6);
}

const LIMIT_1: &str = r#"policy => '{"max_reclaim_count":1}'"#;

#[test]
fn e_70_the_claim_after_the_last_allowed_reclaim_ends_the_execution() {
    let mut w = World::new();
    let id = w.create(LIMIT_1);
    w.claim("lease_ttl => '1 s'");
    w.advance_ms(1_000);
    assert_eq!(w.claim("lease_ttl => '1 s'").row.int("reclaim_count"), 1);
    w.advance_ms(1_000);
    let (claims, events) = w.events_by(|w| w.claims(""));
    assert!(claims.is_empty());
    assert_reclaim_limit_reached(&mut w, id, &events);
    assert_eq!(
        w.describe(id).int("lease_reclaim_count"),
        1,
        "the end does not count as a reclaim"
    );
}

#[test]
fn e_70_the_reconciler_ends_it_as_well() {
    let mut w = World::new();
    let id = w.create(LIMIT_1);
    for _ in 0..2 {
        w.claim("lease_ttl => '1 s'");
        w.advance_ms(1_000);
    }
    let (_, events) = w.events_by(|w| w.reconciles("lease_expiry", 1));
    assert_reclaim_limit_reached(&mut w, id, &events);
}

#[test]
fn e_70_with_limit_zero_the_first_lost_lease_is_fatal() {
    let mut w = World::new();
    let id = w.create(r#"policy => '{"max_reclaim_count":0}'"#);
    w.claim("lease_ttl => '1 s'");
    w.advance_ms(1_000);
    let (_, events) = w.events_by(|w| w.reconciles("lease_expiry", 1));
    assert_reclaim_limit_reached(&mut w, id, &events);
}

#[test]
fn e_70_the_limit_may_stand_under_the_timeouts() {
    let mut w = World::new();
    let id = w.create(r#"policy => '{"timeout_policy":{"max_reclaim_count":2}}'"#);
    w.claim("lease_ttl => '1 s'");
    for n in 1..=2 {
        w.advance_ms(1_000);
        assert_eq!(w.claim("lease_ttl => '1 s'").row.int("reclaim_count"), n);
    }
    w.advance_ms(1_000);
    assert!(w.claims("").is_empty());
    assert_eq!(w.state(id), "failed");

    let above =
        w.create(r#"policy => '{"max_reclaim_count":1,"timeout_policy":{"max_reclaim_count":0}}'"#);
    w.claim("lease_ttl => '1 s'");
    w.advance_ms(1_000);
    assert_eq!(w.claim("").id, above, "the top-level key comes first");
}

#[track_caller]
fn assert_reclaim_limit_reached(w: &mut World, id: uuid::Uuid, events: &[String]) {
    w.assert_vector(
        id,
        "terminal/unowned/not_applicable/none/failed/attempt_terminal",
        "failed",
    );
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!(events[0], "lease.released(max_reclaims_exceeded)");
    assert!(events[1].starts_with("completion.failed"), "{events:?}");
    let facts = w.describe(id);
    assert_eq!(facts.text("failure_reason"), "max_reclaims_exceeded");
    let last = w.attempts(id).pop().expect("an attempt");
    assert_eq!(last.text("attempt_state"), "ended_failure");
    assert_eq!(last.text("failure_reason"), "max_reclaims_exceeded");
    assert_eq!(facts.maybe_uuid("lease_id"), None);
}

#[test]
fn e_75_the_lease_history_lists_the_life_of_the_leases() {
    let mut w = World::new();
    let claim = w.claimed("retention => '0'", "lease_ttl => '1 s'");
    w.one("SELECT * FROM ff_renew($1)", &[&claim.handle]);
    w.advance_ms(1_000);
    w.reconciles("lease_expiry", 1);
    let second = w.claim("worker => 'w2'");
    w.complete(&second.handle, None);

    let history = w.rows("SELECT * FROM ff_lease_history($1)", &[&claim.id]);
    let read: Vec<_> = history
        .iter()
        .map(|row| (row.text("event"), row.big("lease_epoch")))
        .collect();
    let expected = [
        ("acquired", 1),
        ("renewed", 1),
        ("expired", 1),
        ("reclaimed", 2),
        ("released", 2),
    ];
    assert_eq!(
        read,
        expected.map(|(event, epoch)| (event.to_string(), epoch))
    );
    assert_eq!(history[3].maybe_text("worker").as_deref(), Some("w2"));
    assert_eq!(
        history[3].get::<_, Option<i64>>("previous_lease_epoch"),
        Some(1)
    );
    let ids: Vec<i64> = history.iter().map(|row| row.big("event_id")).collect();
    let logged: Vec<i64> = w
        .rows(
            "SELECT * FROM ff_execution_events($1, families => '{lease}')",
            &[&claim.id],
        )
        .iter()
        .map(|row| row.big("event_id"))
        .collect();
    assert_eq!(ids, logged, "a read over the event log");

    let mut paged = Vec::new();
    let mut after: Option<i64> = None;
    loop {
        let page = w.rows(
            "SELECT * FROM ff_lease_history($1, $2, 2)",
            &[&claim.id, &after],
        );
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        after = Some(last.big("event_id"));
        paged.extend(page.iter().map(|row| row.big("event_id")));
    }
    assert_eq!(paged, ids);

    w.reconciles("retention", 1);
    assert!(!w.exists(claim.id));
    assert_eq!(
        w.rows("SELECT * FROM ff_lease_history($1)", &[&claim.id])
            .len(),
        5,
        "kept beyond the purge"
    );
}
