//! Quota policies by themselves and in the claim path (§50.8, §50.9). Without a background worker.

use uuid::Uuid;

use super::{OVER_QUOTA, READY, active, ask, quota, rep, window_used, with_quota};
use crate::support::{Cells, World};

#[test]
fn b_29_define_a_quota() {
    let mut w = World::without_preload();
    let id = Uuid::new_v4();
    let call = "SELECT * FROM ff_create_quota_policy(5, '1 s', 3, '200 ms', $1)";
    assert_eq!(w.one(call, &[&id]).text("outcome"), "created");
    let row = w.one(
        "SELECT * FROM ff_create_quota_policy(7, '1 s', 3, '0', $1)",
        &[&id],
    );
    assert_eq!(
        (row.text("outcome"), row.uuid("quota_policy_id")),
        ("already_satisfied".into(), id)
    );
    let limits = "SELECT max_requests_per_window, window_length::text, max_concurrent, jitter::text, is_unlimited
                    FROM ff_read_quota_policy_limits($1)";
    let row = w.one(limits, &[&id]);
    assert_eq!(
        (
            row.big("max_requests_per_window"),
            row.int("max_concurrent")
        ),
        (5, 3)
    );
    assert_eq!(
        (row.text("window_length"), row.text("jitter")),
        ("00:00:01".into(), "00:00:00.2".into())
    );
    assert!(!row.flag("is_unlimited"));
    let free = quota(&mut w, 0, "0", 0, "");
    assert!(w.one(limits, &[&free]).flag("is_unlimited"));
    assert!(w.rows(limits, &[&Uuid::new_v4()]).is_empty());
    let before = w.contents();
    for bad in [
        "5, '0', 0",
        "-1, '1 s', 0",
        "100001, '1 s', 0",
        "1, '1 s', 10001",
        "1, '1 s', -1",
        "1, '1 s', 0, '2 s'",
        "1, '1 s', 0, '-1 s'",
        "1, '1 mon', 0",
    ] {
        w.refused(
            "FF119",
            &format!("SELECT * FROM ff_create_quota_policy({bad})"),
            &[],
        );
        let (numbers, nobody) = (bad, Uuid::new_v4());
        w.refused(
            "FF119",
            &format!("SELECT ff_set_quota_limits('{nobody}', {numbers})"),
            &[],
        );
    }
    w.refused(
        "FF101",
        "SELECT * FROM ff_create_quota_policy(NULL, '1 s', 0)",
        &[],
    );
    w.refused(
        "FF005",
        "SELECT ff_set_quota_limits($1, 1, '1 s', 0)",
        &[&Uuid::new_v4()],
    );
    assert_eq!(w.contents(), before);
}

#[test]
fn b_30_the_window_slides() {
    let mut w = World::without_preload();
    let q = quota(&mut w, 2, "1 s", 0, "");
    let e: Vec<Uuid> = w.create_several(3, "");
    assert_eq!(ask(&mut w, q, e[0]), "admitted");
    assert_eq!(ask(&mut w, q, e[1]), "admitted");
    assert_eq!(ask(&mut w, q, e[0]), "already_admitted");
    let wait = "SELECT outcome, extract(epoch FROM retry_after)::float8 AS seconds FROM ff_check_admission($1, $2)";
    let row = w.one(wait, &[&q, &e[2]]);
    let seconds: f64 = row.get("seconds");
    assert_eq!(row.text("outcome"), "rate_exceeded");
    assert!(0.0 < seconds && seconds <= 1.0, "{seconds}");
    let dimension: String = w.value(
        "SELECT outcome FROM ff_check_admission($1, $2, 'other')",
        &[&q, &e[2]],
    );
    assert_eq!(
        dimension, "admitted",
        "each dimension has a ring of its own"
    );
    w.advance_ms(1_000);
    assert_eq!(ask(&mut w, q, e[2]), "admitted");
    let jittery = quota(&mut w, 1, "1 h", 0, "jitter => '200 ms'");
    ask(&mut w, jittery, e[0]);
    let next: f64 = w.value(
        "SELECT extract(epoch FROM next_available_at)::float8 FROM ff_get_quota_status($1)",
        &[&jittery],
    );
    let mut waits = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let now: f64 = w.value("SELECT extract(epoch FROM ff_server_time())::float8", &[]);
        let row = w.one(wait, &[&jittery, &e[1]]);
        let later: f64 = w.value("SELECT extract(epoch FROM ff_server_time())::float8", &[]);
        let seconds: f64 = row.get("seconds");
        assert!(
            next - later - 0.001 <= seconds && seconds <= next - now + 0.201,
            "{seconds}"
        );
        waits.insert(((seconds - (next - now)) * 1000.0) as i64);
    }
    assert!(waits.len() > 1, "not constant: {waits:?}");
    w.refused(
        "FF005",
        "SELECT * FROM ff_check_admission($1, $2)",
        &[&Uuid::new_v4(), &e[0]],
    );
    w.refused(
        "FF101",
        "SELECT * FROM ff_check_admission($1, $2, '')",
        &[&q, &e[0]],
    );
    let free = quota(&mut w, 0, "0", 0, "");
    assert_eq!(ask(&mut w, free, e[0]), "admitted");
}

#[test]
fn b_31_a_cap_holds_until_a_slot_is_given_back() {
    let mut w = World::without_preload();
    let q = quota(&mut w, 10, "1 h", 2, "");
    let e: Vec<Uuid> = w.create_several(3, "");
    assert_eq!(ask(&mut w, q, e[0]), "admitted");
    assert_eq!(ask(&mut w, q, e[1]), "admitted");
    assert_eq!(ask(&mut w, q, e[2]), "concurrency_exceeded");
    assert_eq!(window_used(&mut w, q), 2, "a denial takes nothing");
    let release = |w: &mut World, id: Uuid| -> String {
        w.value("SELECT ff_release_admission($1, $2)", &[&q, &id])
    };
    assert_eq!(release(&mut w, e[0]), "released");
    assert_eq!(ask(&mut w, q, e[2]), "admitted");
    assert_eq!(release(&mut w, e[0]), "not_held");
    assert_eq!(
        (active(&mut w, q), ask(&mut w, q, e[2])),
        (2, "already_admitted".into())
    );
    assert_eq!(release(&mut w, e[2]), "released");
    assert_eq!(ask(&mut w, q, e[2]), "admitted");
    assert_eq!(
        window_used(&mut w, q),
        3,
        "its start still counts, so only a slot was taken"
    );
    w.refused(
        "FF005",
        "SELECT ff_release_admission($1, $2)",
        &[&Uuid::new_v4(), &e[0]],
    );
}

#[test]
fn e_26_a_cap_in_use_blocks_and_one_freed_slot_lets_one_go() {
    let mut w = World::without_preload();
    let q = quota(&mut w, 0, "0", 1, "");
    let first = w.claimed(&with_quota(q), "");
    let waiting = w.create_several(3, &with_quota(q));
    assert!(w.claims("max_items => 10").is_empty());
    for id in &waiting {
        w.assert_vector(*id, OVER_QUOTA, "rate_limited");
        assert_eq!(
            w.describe(*id).text("blocking_detail"),
            format!("quota {q}: concurrency 1")
        );
        assert_eq!(w.describe(*id).maybe_instant("recheck_at"), None);
    }
    w.reconciles("unblock", 0);
    w.complete(&first.handle, None);
    w.reconcile("unblock", "");
    w.assert_vector(waiting[0], READY, "waiting");
    for id in &waiting[1..] {
        w.assert_vector(*id, OVER_QUOTA, "rate_limited");
    }
    assert_eq!(
        w.reconcile("unblock", "").0,
        0,
        "the free slot is spoken for"
    );
    assert_eq!(w.claim("").id, waiting[0]);
}

#[test]
fn b_33_several_quotas_and_room_for_some() {
    let mut w = World::without_preload();
    let (roomy, full) = (
        quota(&mut w, 5, "1 h", 5, ""),
        quota(&mut w, 1, "10 s", 0, ""),
    );
    let other = w.create("");
    ask(&mut w, full, other);
    w.one("SELECT * FROM ff_cancel_execution($1, 'x')", &[&other]);
    let id = w.create("");
    for q in [roomy, full] {
        w.one(
            "SELECT ff_attach_quota($1, 'execution', $2)",
            &[&q, &id.to_string()],
        );
    }
    assert!(w.claims("").is_empty());
    let e = w.describe(id);
    assert_eq!(e.uuid("blocked_by_policy"), full);
    assert_eq!(
        e.text("blocking_detail"),
        format!("quota {full}: rate 1 per 00:00:10")
    );
    assert_eq!((active(&mut w, roomy), window_used(&mut w, roomy)), (0, 0));
    let recheck = e.maybe_instant("recheck_at").expect("an instant");
    w.reconciles("unblock", 0);
    let wait = (recheck - w.now()).num_milliseconds();
    assert!(wait <= 10_000);
    w.advance_ms(wait + 1);
    w.reconciles("unblock", 1);
    assert_eq!(w.claim("").id, id);
    assert_eq!((active(&mut w, roomy), window_used(&mut w, full)), (1, 1));

    let q = quota(&mut w, 0, "0", 3, "");
    w.create_several(23, &with_quota(q));
    let running = w.claims("max_items => 30");
    assert_eq!(running.len(), 3);
    for c in &running {
        w.complete(&c.handle, None);
    }
    assert_eq!(w.reconcile("unblock", "").0, 3);
    assert_eq!(w.claims("max_items => 30").len(), 3);
}

#[test]
fn b_37_a_lane_quota_that_runs_out_blocks_nobody() {
    let mut w = World::without_preload();
    let q = quota(&mut w, 5, "10 s", 0, "");
    w.one("SELECT ff_attach_quota($1, 'lane', 'L')", &[&q]);
    let ids = w.create_several(12, "");
    assert_eq!(w.claims("max_items => 2").len(), 2);
    let got: Vec<Uuid> = w.claims("max_items => 10").iter().map(|c| c.id).collect();
    assert_eq!(got, ids[2..5]);
    for id in &ids[5..] {
        w.assert_vector(*id, READY, "waiting");
    }
    let before = w.contents();
    assert!(w.claims("max_items => 10").is_empty());
    assert_eq!(w.contents(), before);
    w.advance_ms(10_000);
    let got: Vec<Uuid> = w.claims("max_items => 3").iter().map(|c| c.id).collect();
    assert_eq!(got, ids[5..8]);
    let b = super::budget(&mut w, "'global', ''", "hard_limits => '{\"tokens\":1}'");
    rep(&mut w, b, 1);
    w.one("SELECT * FROM ff_create_execution('M', 'k')", &[]);
    for lane in ["L", "M"] {
        assert!(
            w.rows("SELECT * FROM ff_claim($1, 'w')", &[&lane])
                .is_empty()
        );
    }
    let blocked = "SELECT count(*) FROM ff_executions WHERE public_state = 'rate_limited'";
    assert_eq!(w.value::<i64>(blocked, &[]), 0);
}

#[test]
fn e_122_waiting_for_work_asks_the_quota_of_the_lane() {
    let mut w = World::without_preload();
    let q = quota(&mut w, 1, "1 h", 0, "");
    w.one("SELECT ff_attach_quota($1, 'lane', 'L')", &[&q]);
    w.create_several(2, "");
    let look = |w: &mut World| {
        w.one("CALL ff_wait_for_work('L', '1 ms')", &[])
            .text("outcome")
    };
    assert_eq!(look(&mut w), "work");
    let lost = w.claim("lease_ttl => '1 min'");
    assert_eq!(look(&mut w), "timeout");
    w.advance_ms(60_000);
    assert_eq!(look(&mut w), "work", "a lost lease holds its start already");
    assert_eq!(w.claim("lease_ttl => '1 d'").id, lost.id);
    assert_eq!(look(&mut w), "timeout");
    w.advance_ms(3_600_000);
    assert_eq!(look(&mut w), "work", "the window has moved on");
    let b = super::budget(&mut w, "'lane', 'L'", "hard_limits => '{\"tokens\":1}'");
    rep(&mut w, b, 1);
    assert_eq!(look(&mut w), "timeout");
}
