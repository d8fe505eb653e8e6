//! Who may append, and what closes a stream with which reason (§30.3, §30.8).

use uuid::Uuid;

use crate::support::waiting::READY;
use crate::support::{Cells, Claim, World};

const REVOKE: &str = "SELECT * FROM ff_revoke_lease($1, 'too slow')";

#[test]
fn v_7_only_the_holder_appends() {
    let mut w = World::new();
    let elapsed = w.claimed("", "lease_ttl => '1 s'");
    w.frame(&elapsed.handle, b"x", "");
    w.advance_ms(1_000);
    w.unappendable("FF416", &elapsed.handle, b"x", "");
    w.reconciles("lease_expiry", 1);
    w.unappendable("FF415", &elapsed.handle, b"x", "");
    let taken = w.claim("lease_ttl => '1 h'");
    assert_eq!((taken.id, taken.index), (elapsed.id, 1));
    w.unappendable("FF415", &elapsed.handle, b"x", "");
    w.frame(&taken.handle, b"y", "");

    w.one(REVOKE, &[&taken.id]);
    w.unappendable("FF415", &taken.handle, b"x", "");
    assert_eq!(w.claim("lease_ttl => '1 h'").index, 2);

    let unmarked = w.claimed("", "lease_ttl => '1 s'");
    w.advance_ms(1_000);
    assert_eq!(w.claim("lease_ttl => '1 h'").id, unmarked.id);
    w.unappendable("FF415", &unmarked.handle, b"x", "");

    let waiting = w.waiting(READY);
    w.unappendable("FF416", &waiting.handle, b"x", "");
    w.unappendable("FF416", &waiting.claim.handle, b"x", "");
    w.effect(&waiting.point(), "ready");
    w.unappendable("FF416", &waiting.handle, b"x", "");
    let again = w.reclaimed(&waiting);
    w.unappendable("FF416", &waiting.claim.handle, b"x", "");
    w.frame(&again.handle, b"on", "");
    let unknown =
        "UPDATE ff_engine.execution SET execution_id = gen_random_uuid() WHERE execution_id = $1";
    w.run("BEGIN");
    w.rows(unknown, &[&again.id]);
    w.unappendable("FF001", &again.handle, b"x", "");
    w.run("ROLLBACK");
}

#[test]
fn v_7_the_stream_goes_on_after_a_pause() {
    let mut w = World::new();
    w.seed();
    let claim = w.claimed("", "");
    let before = w.frame(&claim.handle, b"before", "");
    let waiting = w.suspended(claim, READY);
    assert_eq!(w.closed(waiting.id, 0), None);
    w.effect(&waiting.point(), "ready");
    let again = w.reclaimed(&waiting);
    let row = w.append(&again.handle, b"after", "");
    assert_eq!(row.big("frame_count"), 2);
    assert!(crate::support::stream::ascend(&[
        before,
        row.text("frame_id")
    ]));
    w.complete(&again.handle, None);
    assert_eq!(
        w.output(again.id, ""),
        ["before", "after", ". attempt_success"]
    );
}

#[test]
fn v_8_every_attempt_has_a_stream_of_its_own() {
    let mut w = World::new();
    let lost = w.claimed("", "lease_ttl => '200 ms'");
    w.frame(&lost.handle, b"zero", "");
    w.advance_ms(200);
    w.reconciles("lease_expiry", 1);
    assert_eq!(w.output(lost.id, ""), ["zero", ". lease_expired"]);
    let taken = w.claim("");
    assert_eq!(
        w.output(lost.id, "attempt_index => 0"),
        ["zero", ". reclaimed"]
    );
    assert!(w.output(lost.id, "").is_empty(), "the current attempt's");
    w.frame(&taken.handle, b"one", "");
    assert_eq!(w.output(lost.id, ""), ["one"]);
    assert_eq!(
        w.output(lost.id, "attempt_index => 0"),
        ["zero", ". reclaimed"]
    );
    let status = w.stream_status(lost.id);
    assert_eq!(
        (status.int("attempt_index"), status.big("frame_count")),
        (1, 1)
    );
}

/// With and without frames, the same is said of the end.
fn both(w: &mut World, create: &str, claim: &str) -> [Claim; 2] {
    let silent = w.claimed(create, claim);
    let loud = w.claimed(create, claim);
    w.frame(&loud.handle, b"x", "");
    [silent, loud]
}

fn assert_closed(w: &mut World, claims: &[Claim], reason: &str) {
    for claim in claims {
        assert_eq!(w.closed(claim.id, claim.index).as_deref(), Some(reason));
    }
}

#[test]
fn v_9_part_what_ends_an_attempt_closes_its_stream() {
    let mut w = World::new();
    let retry =
        r#"policy => '{"retry_policy":{"max_retries":1,"backoff":{"type":"fixed","delay_ms":0}}}'"#;
    let hour = "lease_ttl => '1 h'";
    for (call, reason) in [
        ("ff_complete($1)", "attempt_success"),
        (
            "ff_fail($1, 'suspension_timeout:fail', 'permanent')",
            "attempt_failure",
        ),
        ("ff_cancel($1, 'x')", "attempt_cancelled"),
    ] {
        let claims = both(&mut w, "", hour);
        for claim in &claims {
            w.rows(&format!("SELECT * FROM {call}"), &[&claim.handle]);
        }
        assert_closed(&mut w, &claims, reason);
    }
    let failed = w.claimed(retry, hour);
    w.frame(&failed.handle, b"first try", "");
    assert_eq!(
        w.fail(&failed.handle, "attempt_timeout", "'timeout'")
            .text("outcome"),
        "retry_scheduled"
    );
    assert_eq!(w.output(failed.id, ""), ["first try", ". attempt_failure"]);
    let second = w.claim(hour);
    assert_eq!(
        w.output(failed.id, "attempt_index => 0"),
        ["first try", ". attempt_failure"]
    );
    assert_eq!(w.closed(failed.id, 1), None);
    w.complete(&second.handle, None);
    w.one("SELECT * FROM ff_replay_execution($1)", &[&failed.id]);
    assert_eq!(w.closed(failed.id, 1).as_deref(), Some("attempt_success"));
    w.claim(hour);
    assert_eq!(w.closed(failed.id, 1).as_deref(), Some("attempt_success"));
    assert_eq!(w.closed(failed.id, 2), None);
}

#[test]
fn v_9_part_an_operator_closes_streams_in_every_phase() {
    let mut w = World::new();
    w.seed();
    let cancel = "SELECT * FROM ff_cancel_execution($1, 'no', 'operator_override')";
    let claims = both(&mut w, "", "lease_ttl => '1 h'");
    for claim in &claims {
        w.one(REVOKE, &[&claim.id]);
    }
    assert_closed(&mut w, &claims, "lease_revoked");
    for claim in &claims {
        w.one(cancel, &[&claim.id]);
    }
    assert_closed(&mut w, &claims, "lease_revoked");
    let claims = both(&mut w, "", "lease_ttl => '1 h'");
    w.one(cancel, &[&claims[0].id]);
    w.one(
        "SELECT * FROM ff_delay($1, ff_server_time() + interval '1 h')",
        &[&claims[1].handle],
    );
    assert_eq!(w.closed(claims[1].id, 0), None, "a delay leaves it open");
    w.one(cancel, &[&claims[1].id]);
    assert_closed(&mut w, &claims, "attempt_cancelled");
    for claim in both(&mut w, "", "lease_ttl => '1 h'") {
        let s = w.suspended(claim, READY);
        assert_eq!(w.closed(s.id, 0), None, "a suspension leaves it open");
        w.one(cancel, &[&s.id]);
        assert_closed(&mut w, &[s.claim], "attempt_cancelled");
    }
    let parent = w.claimed("", "lease_ttl => '1 h'");
    w.one("SELECT * FROM ff_wait_children($1)", &[&parent.handle]);
    assert_eq!(
        w.closed(parent.id, 0),
        None,
        "waiting for children leaves it open"
    );
}

#[test]
fn v_9_part_time_closes_streams() {
    let mut w = World::new();
    w.seed();
    let timeout = |retries: i32| {
        format!(
            r#"policy => '{{"timeout_policy":{{"attempt_timeout_ms":1000}},"retry_policy":{{"max_retries":{retries}}}}}'"#
        )
    };
    for retries in [0, 1] {
        let claims = both(&mut w, &timeout(retries), "lease_ttl => '1 h'");
        w.advance_ms(1_000);
        w.reconciles("attempt_timeout", 2);
        assert_closed(&mut w, &claims, "expired");
    }
    w.advance_ms(3_600_000);
    w.rows("SELECT * FROM ff_tick()", &[]);
    for claim in w.claims("max_items => 100, lease_ttl => '1 h'") {
        assert_eq!(
            w.closed(claim.id, 0).as_deref(),
            Some("expired"),
            "as a superseded attempt too"
        );
        w.complete(&claim.handle, None);
    }
    let deadline = "execution_deadline => ff_server_time() + interval '10 s'";
    let claims = both(&mut w, deadline, "lease_ttl => '1 h'");
    let lost = w.claimed(deadline, "lease_ttl => '1 s'");
    w.advance_ms(1_000);
    w.reconciles("lease_expiry", 1);
    w.advance_ms(9_000);
    w.reconciles("execution_deadline", 3);
    assert_closed(&mut w, &claims, "expired");
    assert_closed(&mut w, &[lost], "lease_expired");

    let limit = r#"policy => '{"max_reclaim_count":0}'"#;
    let unmarked = both(&mut w, limit, "lease_ttl => '1 s'");
    w.advance_ms(1_000);
    w.reconciles("lease_expiry", 2);
    assert_closed(&mut w, &unmarked, "lease_expired");
    let revoked = w.claimed(limit, "lease_ttl => '1 h'");
    w.frame(&revoked.handle, b"x", "");
    w.one(REVOKE, &[&revoked.id]);
    assert!(w.claims("").is_empty());
    assert_eq!(w.state(revoked.id), "failed");
    assert_closed(&mut w, &[revoked], "lease_revoked");

    for behavior in ["fail", "cancel", "expire", "auto_resume"] {
        for claim in both(&mut w, "", "lease_ttl => '1 h'") {
            let s = w.suspended(
                claim,
                &format!("{READY}, timeout => '1 s', timeout_behavior => '{behavior}'"),
            );
            w.advance_ms(1_000);
            w.reconciles("suspension_timeout", 1);
            let reason = (behavior != "auto_resume").then_some("suspension_timeout");
            assert_eq!(w.closed(s.id, 0).as_deref(), reason);
            w.claims("lease_ttl => '1 h'");
        }
    }
}

#[test]
fn a_stream_keeps_the_instant_of_its_first_end() {
    let mut w = World::new();
    let claim = w.claimed("", "lease_ttl => '1 s'");
    w.frame(&claim.handle, b"x", "");
    w.advance_ms(1_000);
    w.reconciles("lease_expiry", 1);
    let at = |w: &mut World, id: Uuid| {
        w.one("SELECT * FROM ff_stream_status($1, 0)", &[&id])
            .instant("closed_at")
    };
    let marked = at(&mut w, claim.id);
    w.advance_ms(5_000);
    w.one(
        "SELECT * FROM ff_cancel_execution($1, 'no', 'operator_override')",
        &[&claim.id],
    );
    assert_eq!(at(&mut w, claim.id), marked);
    w.one("SELECT * FROM ff_replay_execution($1)", &[&claim.id]);
    w.claim("");
    assert_eq!(at(&mut w, claim.id), marked, "in the archive too");
    assert_eq!(w.closed(claim.id, 0).as_deref(), Some("lease_expired"));
}
