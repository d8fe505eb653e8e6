//! Budgets and quotas of flows and of their members (§50.2). Without a background worker, which would unblock by itself.

use serde_json::json;
use uuid::Uuid;

use super::{
    OVER_BUDGET, READY, active, budget, quota, rep, tokens, used, with_budget, with_quota,
    worker_report,
};
use crate::support::{Cells, Claim, World};

/// A flow with a budget of ten tokens.
fn flow_under_budget(w: &mut World, more: &str) -> (Uuid, Uuid) {
    let flow = w.flow();
    let limits = format!("hard_limits => '{{\"tokens\":10}}'{more}");
    let b = budget(w, &format!("'flow', '{flow}'"), &limits);
    (flow, b)
}

/// What a policy is attached to.
fn targets(w: &mut World, policy: Uuid) -> Vec<String> {
    let call = "SELECT target_type || ' ' || target_id AS target FROM ff_engine.attachment
                 WHERE policy_id = $1 ORDER BY 1";
    let rows = w.rows(call, &[&policy]);
    rows.iter().map(|r| r.text("target")).collect()
}

#[test]
fn b_11_a_report_charges_the_budget_of_the_flow_too_or_none() {
    let mut w = World::without_preload();
    let (flow, of_flow) = flow_under_budget(&mut w, "");
    let of_lane = budget(&mut w, "'lane', 'L'", "hard_limits => '{\"tokens\":100}'");
    let member = w.member(flow);
    let mine = w.claim("");
    assert_eq!(mine.id, member);
    let all = |w: &mut World, amount| -> Vec<(Uuid, String)> {
        let rows = worker_report(w, &mine.handle, amount, None);
        rows.into_iter()
            .map(|(id, answer, ..)| (id, answer.0))
            .collect()
    };
    let both = |lane: &str, flow: &str| {
        let mut rows = vec![(of_lane, lane.to_owned()), (of_flow, flow.to_owned())];
        rows.sort();
        rows
    };
    assert_eq!(all(&mut w, 10), both("ok", "ok"));
    assert_eq!(all(&mut w, 1), both("not_applied", "hard_breach"));
    assert_eq!((used(&mut w, of_lane), used(&mut w, of_flow)), (10, 10));
    w.one("SELECT ff_detach_budget($1, 'lane', 'L')", &[&of_lane]);
    let id = flow.to_string();
    w.one("SELECT ff_detach_budget($1, 'flow', $2)", &[&of_flow, &id]);
    assert!(worker_report(&mut w, &mine.handle, 1, None).is_empty());
}

#[test]
fn b_22_a_member_that_a_breach_fails_takes_its_children_with_it() {
    let mut w = World::without_preload();
    let (flow, b) = flow_under_budget(&mut w, ", on_hard_limit => 'fail'");
    let [up, down]: [Uuid; 2] = w.members(flow);
    w.edge(flow, up, down);
    let mine = w.claim("");
    rep(&mut w, b, 10);
    let done = worker_report(&mut w, &mine.handle, 1, Some(b)).remove(0);
    assert_eq!(
        (done.1.0.as_str(), done.2.as_str()),
        ("hard_breach", "failed")
    );
    assert_eq!(w.describe(up).text("failure_category"), "budget_exceeded");
    assert_eq!(w.state(down), "skipped");
}

#[test]
fn b_23_cancel_reaches_the_members_of_the_flow_and_nobody_else() {
    let mut w = World::without_preload();
    let (flow, b) = flow_under_budget(&mut w, ", on_hard_limit => 'cancel'");
    let stranger = w.create("");
    let [reporter, running, waiting, busy, down]: [Uuid; 5] = w.members(flow);
    w.edge(flow, waiting, down);
    let mine = w.take(reporter);
    w.take(running);
    rep(&mut w, b, 10);
    let row = worker_report(&mut w, &mine.handle, 1, Some(b)).remove(0);
    assert_eq!(
        (row.1.0.as_str(), row.2.as_str()),
        ("hard_breach", "cancelled")
    );
    let why = ("budget_exceeded".to_owned(), "budget".to_owned());
    assert_eq!(w.cancellation(reporter), why);
    let call = "SELECT enforcement FROM ff_report_usage_admin($1, '{\"tokens\":1}')";
    assert_eq!(w.value::<String>(call, &[&b]), "scheduled");
    let mut other = w.session();
    other.run("BEGIN");
    let tag = "SELECT * FROM ff_set_execution_tags($1, '{\"app.x\":\"1\"}')";
    other.one(tag, &[&busy]);
    w.reconcile("budget_enforce", "");
    for id in [running, waiting] {
        assert_eq!(w.cancellation(id), why);
    }
    assert!(["skipped", "cancelled"].contains(&w.state(down).as_str()));
    assert_eq!(w.state(busy), "waiting");
    other.run("COMMIT");
    w.reconciles("budget_enforce", 1);
    assert_eq!(w.cancellation(busy), why);
    assert_eq!(w.state(stranger), "waiting");
    w.reconciles("budget_enforce", 0);
}

#[test]
fn b_28_limits_that_nobody_has_defined_are_refused_and_those_of_a_flow_are_shown() {
    let mut w = World::without_preload();
    let before = w.contents();
    let nobody = Uuid::new_v4();
    for (argument, code) in [
        (with_budget(nobody), "FF004"),
        (with_quota(nobody), "FF005"),
    ] {
        let call = format!("SELECT * FROM ff_create_execution('L', 'k', {argument})");
        w.refused(code, &call, &[]);
    }
    let document = json!({
        "budgets": [nobody.to_string()], "quotas": [nobody.to_string()],
        "nodes": {"a": {"lane": "L", "kind": "k", "policy": {"quota_policy_id": nobody.to_string()}}}
    });
    let call = "SELECT path FROM ff_validate_flow_document($1)";
    let faults = w.rows(call, &[&document]);
    let faults: Vec<String> = faults.iter().map(|r| r.text("path")).collect();
    let expected = ["/budgets/0", "/quotas/0", "/nodes/a/policy/quota_policy_id"];
    assert_eq!(faults, expected);
    w.refused(
        "FF101",
        "SELECT * FROM ff_create_flow_graph($1)",
        &[&document],
    );
    assert_eq!(w.contents(), before);

    let (flow, b) = flow_under_budget(&mut w, "");
    let q = quota(&mut w, 0, "0", 1, "");
    let id = flow.to_string();
    let attach = "SELECT ff_attach_quota($1, 'flow', $2)";
    for answer in ["attached", "already_attached"] {
        assert_eq!(w.value::<String>(attach, &[&q, &id]), answer);
    }
    let (first, second) = (w.member(flow), w.member(flow));
    let other = w.create("");
    let shown = |w: &mut World, id: Uuid| -> Vec<(String, Uuid, String, bool)> {
        let rows = w.rows("SELECT * FROM ff_effective_limits($1)", &[&id]);
        let row = |r: &postgres::Row| {
            let (kind, via) = (r.text("kind"), r.text("via"));
            (kind, r.uuid("id"), via, r.flag("admits"))
        };
        rows.iter().map(row).collect()
    };
    let via_flow = |budget, quota| {
        vec![
            ("budget".to_owned(), b, "flow".to_owned(), budget),
            ("quota".to_owned(), q, "flow".to_owned(), quota),
        ]
    };
    assert_eq!(shown(&mut w, first), via_flow(true, true));
    let running = w.claim("");
    assert_eq!((running.id, active(&mut w, q)), (first, 1));
    assert_eq!(shown(&mut w, second), via_flow(true, false));
    rep(&mut w, b, 10);
    assert_eq!(shown(&mut w, second), via_flow(false, false));
    assert!(shown(&mut w, other).is_empty());
    for (function, policy) in [("budget", b), ("quota", q)] {
        let nobody = nobody.to_string();
        let call = format!("SELECT ff_attach_{function}($1, 'flow', $2)");
        w.refused("FF002", &call, &[&policy, &nobody]);
        let call = format!("SELECT ff_detach_{function}($1, 'flow', $2)");
        assert_eq!(
            w.value::<String>(&call, &[&policy, &nobody]),
            "not_attached"
        );
    }
}

#[test]
fn b_38_a_lost_lease_waits_for_the_budget_of_its_flow() {
    let mut w = World::without_preload();
    let (flow, b) = flow_under_budget(&mut w, "");
    w.member(flow);
    let lost = w.claim("lease_ttl => '10 s'");
    rep(&mut w, b, 10);
    w.advance_ms(10_000);
    w.reconciles("lease_expiry", 1);
    let before = w.contents();
    assert!(w.claims("").is_empty());
    assert_eq!(w.contents(), before);
    let fresh = w.create("");
    assert_eq!(w.claim("max_items => 2").id, fresh);
    w.one("SELECT * FROM ff_reset_budget($1)", &[&b]);
    let again = w.claim("");
    assert_eq!((again.id, again.kind.as_str()), (lost.id, "reclaimed"));
}

#[test]
fn every_session_learns_of_the_first_limit_of_a_flow() {
    let mut w = World::new();
    let flow = w.flow();
    let mut worker = w.session();
    w.member(flow);
    worker.claim("");
    let (first, second) = (w.member(flow), w.member(flow));
    let b = tokens(&mut w, 10, 0, "");
    rep(&mut w, b, 10);
    let id = flow.to_string();
    w.one("SELECT ff_attach_budget($1, 'flow', $2)", &[&b, &id]);
    assert!(worker.claims("max_items => 2").is_empty());
    for id in [first, second] {
        w.assert_vector(id, OVER_BUDGET, "rate_limited");
    }
    w.one("SELECT ff_detach_budget($1, 'flow', $2)", &[&b, &id]);
    w.reconcile("unblock", "");
    assert_eq!(worker.claims("max_items => 2").len(), 2);
}

#[test]
fn an_edge_takes_the_place_of_what_a_limit_holds_back() {
    let mut w = World::without_preload();
    let flow = w.flow();
    let b = tokens(&mut w, 10, 0, "reset_interval => '1 h'");
    let q = quota(&mut w, 1, "1 h", 0, "");
    rep(&mut w, b, 10);
    let started = w.claimed(&with_quota(q), "");
    w.complete(&started.handle, None);
    for limit in [with_budget(b), with_quota(q)] {
        let down = w.member_with(flow, &limit);
        assert!(w.claims("").is_empty());
        assert!(w.describe(down).maybe_instant("recheck_at").is_some());
        let up = w.member(flow);
        w.edge(flow, up, down);
        w.assert_blocked(down);
        let e = w.describe(down);
        assert_eq!(e.get::<_, Option<Uuid>>("blocked_by_policy"), None);
        assert_eq!(e.maybe_instant("recheck_at"), None);
        assert_eq!(w.queued("denied"), 0);
        w.ok(up);
        w.assert_vector(down, READY, "waiting");
        assert!(w.claims("").is_empty(), "the limit holds as before");
        assert_eq!(w.state(down), "rate_limited");
        w.one("SELECT * FROM ff_cancel_execution($1, 'x')", &[&down]);
    }
}

#[test]
fn an_edge_gives_the_slot_of_a_reservation_back() {
    let mut w = World::without_preload();
    let flow = w.flow();
    let q = quota(&mut w, 0, "0", 1, "");
    let down = w.member_with(flow, &with_quota(q));
    let row = w.one("SELECT * FROM ff_claim_for_worker('L', 'w', 'w-1')", &[]);
    assert_eq!(row.text("outcome"), "granted");
    assert_eq!(active(&mut w, q), 1);
    let up = w.member(flow);
    w.edge(flow, up, down);
    w.assert_blocked(down);
    assert_eq!(active(&mut w, q), 0);
    let call = "SELECT * FROM ff_claim_execution($1, 'w', 'w-1')";
    w.failure(call, &[&down]);
    w.ok(up);
    assert_eq!((w.claim("").id, active(&mut w, q)), (down, 1));
}

#[test]
fn room_lets_no_member_go_that_waits_for_its_upstreams() {
    let mut w = World::without_preload();
    for fails in [false, true] {
        let (flow, b) = flow_under_budget(&mut w, "");
        rep(&mut w, b, 10);
        let down = w.member(flow);
        // A hold by an operator outlasts the edge; what takes its place knows nothing of that.
        w.one(
            "SELECT * FROM ff_block_execution($1, 'paused_by_operator')",
            &[&down],
        );
        let up = w.member(flow);
        w.edge(flow, up, down);
        w.one(
            "SELECT * FROM ff_block_execution($1, 'waiting_for_budget')",
            &[&down],
        );
        assert_eq!(w.state(down), "rate_limited");
        w.reconciles("unblock", 0);
        w.one("SELECT * FROM ff_reset_budget($1)", &[&b]);
        if fails {
            w.fails(up);
            w.reconciles("unblock", 1);
            assert_eq!(w.state(down), "skipped");
        } else {
            w.reconciles("unblock", 1);
            w.assert_blocked(down);
            w.ok(up);
            w.assert_vector(down, READY, "waiting");
            assert_eq!(w.claim("").id, down);
        }
    }
}

#[test]
fn a_document_attaches_its_limits_to_the_flow_and_to_members() {
    let mut w = World::without_preload();
    let (of_flow, own) = (tokens(&mut w, 10, 0, ""), tokens(&mut w, 10, 0, ""));
    let (cap, alone) = (quota(&mut w, 0, "0", 1, ""), quota(&mut w, 0, "0", 1, ""));
    let policy = json!({"budget_ids": [own.to_string()], "quota_policy_id": alone.to_string()});
    let document = json!({
        "defaults": {"lane": "L", "kind": "k", "retention_ms": 1000},
        "budgets": [of_flow.to_string()], "quotas": [cap.to_string()],
        "nodes": {"a": {"priority": 2}, "b": {"priority": 1, "policy": policy}}
    });
    let made = w.graph(&document, None);
    let (a, b) = (made.node("a"), made.node("b"));
    let (the_flow, the_member) = (format!("flow {}", made.flow), format!("execution {b}"));
    for (policy, target) in [
        (of_flow, &the_flow),
        (cap, &the_flow),
        (own, &the_member),
        (alone, &the_member),
    ] {
        assert_eq!(targets(&mut w, policy), std::slice::from_ref(target));
    }
    let first = w.claims("max_items => 2");
    assert_eq!((first.len(), first[0].id), (1, a), "one at once");
    rep(&mut w, own, 10);
    let finish = |w: &mut World, c: &Claim| {
        w.complete(&c.handle, None);
        w.reconcile("unblock", "");
    };
    finish(&mut w, &first[0]);
    assert!(w.claims("").is_empty(), "its own budget is full");
    w.one("SELECT * FROM ff_reset_budget($1)", &[&own]);
    rep(&mut w, of_flow, 10);
    w.reconcile("unblock", "");
    assert!(w.claims("").is_empty(), "that of the flow is full");
    w.one("SELECT * FROM ff_reset_budget($1)", &[&of_flow]);
    w.reconcile("unblock", "");
    let second = w.claim("");
    assert_eq!((second.id, active(&mut w, alone)), (b, 1));
    finish(&mut w, &second);
    w.advance_ms(2_000);
    for reconciler in ["flow_summary", "retention", "flow_retention"] {
        w.reconcile(reconciler, "");
    }
    assert_eq!((w.queued("flow"), w.queued("execution")), (0, 0));
    assert_eq!(w.queued("attachment"), 0, "they go with what they apply to");
}
