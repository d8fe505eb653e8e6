//! Budgets in the claim path (§50.9). Without a background worker, which would unblock by itself.

use serde_json::json;
use uuid::Uuid;

use super::{
    OVER_BUDGET, READY, active, budget, ok, quota, rep, status, tokens, used, window_used,
    with_budget, with_quota,
};
use crate::support::{Cells, World};

fn unblock(w: &mut World, processed: i32) {
    w.reconciles("unblock", processed);
}

fn ids(w: &mut World, arguments: &str) -> Vec<Uuid> {
    w.claims(arguments).iter().map(|c| c.id).collect()
}

#[test]
fn e_25_a_full_budget_blocks_one_candidate_and_the_next_is_claimed() {
    let mut w = World::without_preload();
    let b = tokens(&mut w, 10, 0, "");
    let spent = w.create("");
    let call = "SELECT * FROM ff_record_spend($1, $2, '{\"tokens\":10}')";
    w.one(call, &[&b, &spent]);
    w.one("SELECT * FROM ff_cancel_execution($1, 'x')", &[&spent]);
    let first = w.create(&with_budget(b));
    let second = w.create("");
    assert_eq!(w.claim("").id, second);
    w.assert_vector(first, OVER_BUDGET, "rate_limited");
    w.one("SELECT * FROM ff_release_budget($1, $2)", &[&b, &spent]);
    unblock(&mut w, 1);
    w.assert_vector(first, READY, "waiting");
    unblock(&mut w, 0);
    assert_eq!(w.claim("").id, first);
}

#[test]
fn b_25_a_budget_with_room_for_one_admits_and_a_full_one_blocks() {
    let mut w = World::without_preload();
    let b = tokens(&mut w, 100, 0, "reset_interval => '1 h'");
    rep(&mut w, b, 99);
    let first = w.create(&with_budget(b));
    assert_eq!(w.claim("").id, first);
    rep(&mut w, b, 1);
    let blocked = w.create(&with_budget(b));
    let next = w.create("");
    assert_eq!(ids(&mut w, "max_items => 5"), [next]);
    let e = w.describe(blocked);
    w.assert_vector(blocked, OVER_BUDGET, "rate_limited");
    assert_eq!(
        e.text("blocking_detail"),
        format!("budget {b}: tokens 100/100")
    );
    assert_eq!(
        e.maybe_instant("recheck_at"),
        status(&mut w, b).maybe_instant("next_reset_at")
    );
    assert_eq!(e.uuid("blocked_by_policy"), b);
}

#[test]
fn b_26_what_makes_room_makes_eligible_again() {
    let mut w = World::without_preload();
    for change in ["reset", "limit", "release", "detach"] {
        let b = tokens(&mut w, 10, 0, "reset_interval => '1 h'");
        let cause = w.create("namespace => 'other'");
        w.one(
            "SELECT * FROM ff_record_spend($1, $2, '{\"tokens\":10}')",
            &[&b, &cause],
        );
        let other = tokens(&mut w, 10, 0, "");
        let id = w.create(&with_budget(b));
        assert!(w.claims("namespace => 'default'").is_empty());
        w.assert_vector(id, OVER_BUDGET, "rate_limited");
        w.one("SELECT * FROM ff_reset_budget($1)", &[&other]);
        unblock(&mut w, 0);
        match change {
            "reset" => w.one("SELECT ff_reset_budget($1)", &[&b]),
            "limit" => w.one(
                "SELECT ff_set_budget_limits($1, '{\"tokens\":11}', '{}')",
                &[&b],
            ),
            "release" => w.one("SELECT ff_release_budget($1, $2)", &[&b, &cause]),
            _ => w.one(
                "SELECT ff_detach_budget($1, 'execution', $2)",
                &[&b, &id.to_string()],
            ),
        };
        unblock(&mut w, 1);
        w.assert_vector(id, READY, "waiting");
        assert_eq!(ids(&mut w, "namespace => 'default'"), [id], "{change}");
        unblock(&mut w, 0);
    }
}

#[test]
fn b_26_a_delayed_execution_returns_to_its_delay() {
    let mut w = World::without_preload();
    let b = tokens(&mut w, 10, 0, "");
    rep(&mut w, b, 10);
    let delay = "delay_until => ff_server_time() + interval '1 min'";
    let id = w.create(&format!("{}, {delay}", with_budget(b)));
    for reason in ["paused_by_operator", "waiting_for_budget"] {
        w.one("SELECT * FROM ff_block_execution($1, $2)", &[&id, &reason]);
    }
    unblock(&mut w, 0);
    w.one("SELECT * FROM ff_reset_budget($1)", &[&b]);
    unblock(&mut w, 1);
    assert_eq!(w.describe(id).text("public_state"), "delayed");
}

#[test]
fn b_27_a_full_lane_budget_touches_no_candidate() {
    let mut w = World::without_preload();
    let b = budget(&mut w, "'lane', 'L'", "hard_limits => '{\"tokens\":10}'");
    w.rows(
        "SELECT ff_create_many('L', 'k', array_fill(NULL::bytea, '{1000}'))",
        &[],
    );
    rep(&mut w, b, 10);
    let before = w.contents();
    assert!(w.claims("max_items => 10").is_empty());
    assert!(
        w.rows(
            "SELECT * FROM ff_claim_for_worker('L', 'w') WHERE outcome = 'granted'",
            &[]
        )
        .is_empty()
    );
    assert_eq!(w.contents(), before);
    let other = w.one("SELECT * FROM ff_create_execution('M', 'k')", &[]);
    let claimed = w.one("SELECT * FROM ff_claim('M', 'w')", &[]);
    assert_eq!(claimed.uuid("execution_id"), other.uuid("execution_id"));
    w.one("SELECT * FROM ff_reset_budget($1)", &[&b]);
    assert_eq!(w.claims("max_items => 10").len(), 10);
}

#[test]
fn e_27_b_27_an_error_inside_admission_fails_closed() {
    let mut w = World::without_preload();
    let b = tokens(&mut w, 10, 0, "");
    w.create("");
    w.create(&with_budget(b));
    w.run("UPDATE ff_engine.budget SET hard_limits = '{\"tokens\":\"x\"}'");
    let before = w.contents();
    w.failure("SELECT * FROM ff_claim('L', 'w', max_items => 2)", &[]);
    assert_eq!(w.contents(), before, "nothing is leased");
    w.run("DELETE FROM ff_engine.budget");
    w.refused(
        "FF902",
        "SELECT * FROM ff_claim('L', 'w', max_items => 2)",
        &[],
    );
    w.will_break_invariants();
}

#[test]
fn b_28_unknown_policies_are_refused_and_effective_limits_are_shown() {
    let mut w = World::without_preload();
    let nobody = Uuid::new_v4();
    let before = w.contents();
    for (argument, code) in [
        (with_budget(nobody), "FF004"),
        (with_quota(nobody), "FF005"),
    ] {
        w.refused(
            code,
            &format!("SELECT * FROM ff_create_execution('L', 'k', {argument})"),
            &[],
        );
    }
    assert_eq!(
        w.value::<i64>("SELECT count(*) FROM ff_engine.execution", &[]),
        0
    );
    drop(before);
    let own = tokens(&mut w, 10, 0, "");
    let lane = budget(&mut w, "'lane', 'L'", "hard_limits => '{\"tokens\":10}'");
    let namespace = budget(&mut w, "'namespace', 'default'", "");
    let global = quota(&mut w, 0, "0", 1, "");
    w.one("SELECT ff_attach_quota($1, 'global', '')", &[&global]);
    let foreign = budget(&mut w, "'lane', 'M'", "");
    let id = w.create(&with_budget(own));
    rep(&mut w, lane, 10);
    let rows = w.rows("SELECT * FROM ff_effective_limits($1)", &[&id]);
    let shown: Vec<(String, Uuid, String, bool)> = rows
        .iter()
        .map(|r| {
            (
                r.text("kind"),
                r.uuid("id"),
                r.text("via"),
                r.flag("admits"),
            )
        })
        .collect();
    let mut expected = vec![
        ("budget".to_owned(), own, "execution".to_owned(), true),
        ("budget".to_owned(), lane, "lane".to_owned(), false),
        ("budget".to_owned(), namespace, "namespace".to_owned(), true),
    ];
    expected.sort_by_key(|row| row.1);
    expected.push(("quota".to_owned(), global, "global".to_owned(), true));
    assert_eq!(shown, expected);
    assert!(!shown.iter().any(|row| row.1 == foreign));
    let full = rows.iter().find(|r| !r.flag("admits")).expect("the lane's");
    assert_eq!(full.text("detail"), format!("budget {lane}: tokens 10/10"));
    w.one("SELECT * FROM ff_reset_budget($1)", &[&lane]);
    w.claim("");
    let other = w.create("");
    let rows = w.rows(
        "SELECT * FROM ff_effective_limits($1) WHERE NOT admits",
        &[&other],
    );
    assert_eq!(
        (rows.len(), rows[0].text("detail")),
        (1, format!("quota {global}: concurrency 1"))
    );
    assert!(
        w.rows("SELECT * FROM ff_effective_limits($1)", &[&nobody])
            .is_empty()
    );
}

#[test]
fn e_124_a_waiting_claim_that_blocked_executions_returns_at_once() {
    let mut w = World::without_preload();
    let b = tokens(&mut w, 10, 0, "");
    rep(&mut w, b, 10);
    let blocked = w.create_several(3, &with_budget(b));
    let started = std::time::Instant::now();
    assert!(w.claims("wait => '5 s'").is_empty());
    assert!(started.elapsed().as_millis() < 4_500, "it did not wait");
    let mut other = w.session();
    other.run("SET lock_timeout = '1 ms'");
    for id in blocked {
        assert_eq!(other.describe(id).text("public_state"), "rate_limited");
        other.one(
            "SELECT * FROM ff_cancel_execution($1, 'no lock is held')",
            &[&id],
        );
    }
}

#[test]
fn e_125_a_lost_lease_under_a_full_budget_stays_until_there_is_room() {
    let mut w = World::without_preload();
    let b = tokens(&mut w, 10, 0, "");
    let q = quota(&mut w, 5, "1 h", 1, "");
    let policy = json!({"budget_ids": [b.to_string()], "quota_policy_id": q.to_string()});
    let first = w.claimed(&super::policy(&policy), "lease_ttl => '10 s'");
    rep(&mut w, b, 10);
    w.advance_ms(10_000);
    w.reconciles("lease_expiry", 1);
    let before = w.contents();
    assert!(w.claims("max_items => 3").is_empty());
    assert_eq!(w.contents(), before);
    w.one(
        "SELECT ff_set_budget_limits($1, '{\"tokens\":11}', '{}')",
        &[&b],
    );
    let again = w.claim("");
    assert_eq!((again.id, again.kind.as_str()), (first.id, "reclaimed"));
    assert_eq!(
        (active(&mut w, q), window_used(&mut w, q)),
        (1, 1),
        "no second slot or start"
    );
}

#[test]
fn b_38_claims_pass_over_lost_leases_without_room_and_keep_their_slots() {
    let mut w = World::without_preload();
    let b = budget(
        &mut w,
        "'namespace', 'n'",
        "hard_limits => '{\"tokens\":10}'",
    );
    let lost = w.claimed("namespace => 'n'", "lease_ttl => '10 s'");
    rep(&mut w, b, 10);
    w.advance_ms(10_000);
    w.reconciles("lease_expiry", 1);
    let fresh = w.create("");
    assert_eq!(ids(&mut w, "max_items => 2"), [fresh]);
    w.one("SELECT * FROM ff_reset_budget($1)", &[&b]);
    let again = w.claim("");
    assert_eq!((again.id, again.kind.as_str()), (lost.id, "reclaimed"));
    w.complete(&again.handle, None);
    for target in ["execution", "lane"] {
        let q = quota(&mut w, 0, "0", 1, "");
        let id = if target == "lane" {
            w.one("SELECT ff_attach_quota($1, 'lane', 'L')", &[&q]);
            w.create("")
        } else {
            w.create(&with_quota(q))
        };
        let held = w.claim("lease_ttl => '10 s'");
        assert_eq!((held.id, active(&mut w, q)), (id, 1));
        w.advance_ms(10_000);
        let waiting = w.create(&with_quota(q));
        let again = w.claims("max_items => 5");
        assert_eq!(again.len(), 1, "{target}: only what was lost is handed out");
        assert_eq!((again[0].id, again[0].kind.as_str()), (id, "reclaimed"));
        assert_eq!(active(&mut w, q), 1);
        w.complete(&again[0].handle, None);
        w.reconcile("unblock", "");
        let last = w.claim("");
        assert_eq!(last.id, waiting);
        w.complete(&last.handle, None);
        w.one("SELECT ff_detach_quota($1, 'lane', 'L')", &[&q]);
    }
}

#[test]
fn a_claim_gives_up_after_so_many_denials_and_the_next_goes_on() {
    let mut w = World::without_preload();
    let b = tokens(&mut w, 10, 0, "");
    rep(&mut w, b, 10);
    w.create_several(5, &with_budget(b));
    let free = w.create("");
    w.run("SET ff_engine.claim_deny_limit = 3");
    assert!(w.claims("").is_empty());
    let blocked = "SELECT count(*) FROM ff_executions WHERE public_state = 'rate_limited'";
    assert_eq!(w.value::<i64>(blocked, &[]), 3);
    assert_eq!(w.claim("").id, free);
    assert_eq!(w.value::<i64>(blocked, &[]), 5);
}

#[test]
fn what_a_caller_blocked_is_lifted_when_all_that_applies_has_room() {
    let mut w = World::without_preload();
    let (a, b) = (tokens(&mut w, 10, 0, ""), tokens(&mut w, 10, 0, ""));
    let id = w.create(&super::policy(
        &json!({"budget_ids": [a.to_string(), b.to_string()]}),
    ));
    let foreign = w.create("");
    rep(&mut w, b, 10);
    for id in [id, foreign] {
        w.one(
            "SELECT * FROM ff_block_execution($1, 'waiting_for_budget')",
            &[&id],
        );
    }
    unblock(&mut w, 0);
    w.one("SELECT * FROM ff_reset_budget($1)", &[&b]);
    unblock(&mut w, 1);
    assert_eq!(w.claim("").id, id);
    assert_eq!(
        w.describe(foreign).text("public_state"),
        "rate_limited",
        "the engine knows of nothing"
    );
    assert_eq!(used(&mut w, a), 0);
    assert_eq!(rep(&mut w, a, 1), ok());
}

#[test]
fn o_12_the_explanation_names_budgets_and_quotas() {
    let mut w = World::without_preload();
    let b = tokens(&mut w, 10, 0, "");
    let q = quota(&mut w, 1, "1 h", 0, "");
    rep(&mut w, b, 10);
    let started = w.claimed(&with_quota(q), "");
    w.complete(&started.handle, None);
    let reasons = |w: &mut World, id: Uuid| -> Vec<String> {
        let rows = w.rows("SELECT * FROM ff_explain_execution($1)", &[&id]);
        rows.iter().map(|r| r.text("reason")).collect()
    };
    for (argument, reason) in [
        (with_budget(b), "budget_denied"),
        (with_quota(q), "quota_denied"),
    ] {
        let id = w.create(&argument);
        assert_eq!(reasons(&mut w, id), [reason], "before a claim has met it");
        assert!(w.claims("").is_empty());
        assert_eq!(reasons(&mut w, id), [reason]);
    }
}

#[test]
fn a_batch_blocks_no_more_than_the_limit_of_denials() {
    let mut w = World::without_preload();
    let b = tokens(&mut w, 10, 0, "");
    rep(&mut w, b, 10);
    w.create_several(5, &with_budget(b));
    w.run("SET ff_engine.claim_deny_limit = 3");
    assert!(w.claims("max_items => 5").is_empty());
    let blocked = "SELECT count(*) FROM ff_executions WHERE public_state = 'rate_limited'";
    assert_eq!(w.value::<i64>(blocked, &[]), 3);
}
