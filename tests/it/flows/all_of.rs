//! Groups that need every edge: release, skip, data, the kinds of edges (§40.5).

use serde_json::json;
use uuid::Uuid;

use crate::support::{Cells, World};

#[test]
fn f_15_a_chain_is_released_link_by_link() {
    let mut w = World::new();
    let flow = w.flow();
    let [a, b, c] = w.members(flow);
    w.edge(flow, a, b);
    w.edge(flow, b, c);
    assert_eq!(w.state(a), "waiting");
    w.assert_blocked(b);
    w.assert_blocked(c);
    w.run("BEGIN");
    w.ok(a);
    assert_eq!(w.state(b), "waiting", "in the same transaction");
    w.run("COMMIT");
    w.assert_blocked(c);
    w.ok(b);
    assert_eq!(w.state(c), "waiting");
    w.ok(c);
    for id in [a, b, c] {
        assert_eq!(w.state(id), "completed");
    }
    assert_eq!(w.queued("cascade"), 0);
}

#[test]
fn f_16_a_fan_out_and_a_diamond() {
    let mut w = World::new();
    let flow = w.flow();
    let [a, b, c, d] = w.members(flow);
    for (up, down) in [(a, b), (a, c), (b, d), (c, d)] {
        w.edge(flow, up, down);
    }
    w.ok(a);
    assert_eq!(
        (w.state(b), w.state(c)),
        ("waiting".into(), "waiting".into())
    );
    w.ok(b);
    w.background();
    w.assert_blocked(d);
    w.ok(c);
    assert_eq!(w.state(d), "waiting");

    let [a, b, c, d] = w.members(flow);
    for (up, down) in [(a, b), (a, c), (b, d), (c, d)] {
        w.edge(flow, up, down);
    }
    w.ok(a);
    w.fails(b);
    assert_eq!(w.state(d), "skipped");
    w.ok(c);
    assert_eq!(
        (w.state(c), w.state(d)),
        ("completed".into(), "skipped".into())
    );
    assert_eq!(w.group(d).counts, [2, 1, 1, 0]);
}

#[test]
fn f_17_what_can_never_run_is_skipped() {
    let mut w = World::new();
    let flow = w.flow();
    let [a, b, c] = w.members(flow);
    w.edge(flow, a, b);
    w.edge(flow, b, c);
    w.ok(a);
    w.fails(b);
    assert_eq!(
        w.vector(c),
        "terminal/unowned/not_applicable/none/skipped/pending_first_attempt"
    );
    let events = w.rows("SELECT * FROM ff_execution_events($1)", &[&c]);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].text("event_type"), "skipped");
    assert_eq!(events[0].maybe_uuid("flow_id"), Some(flow));
    let stray = w.create("");
    w.fails(stray);
    assert!(
        !w.event_words(stray)
            .contains(&"completion.skipped".to_owned())
    );
}

#[test]
fn f_18_one_edge_by_hand() {
    let mut w = World::new();
    w.run("SET ff_engine.inline_edge_limit = 0");
    let flow = w.flow();
    let [a, b, c] = w.members(flow);
    let edge = w.edge(flow, a, b);
    let staged = w.staged(flow, a, c);
    let resolve = "SELECT * FROM ff_resolve_dependency($1, $2)";
    assert_eq!(
        w.one(resolve, &[&flow, &edge]).text("outcome"),
        "upstream_not_terminal"
    );
    w.fails(a);
    w.assert_blocked(b);
    let row = w.one(resolve, &[&flow, &edge]);
    assert_eq!(
        (
            row.text("outcome"),
            row.text("group_state"),
            row.text("child_effect"),
            row.flag("data_injected")
        ),
        (
            "impossible".into(),
            "impossible".into(),
            "skipped".into(),
            false
        )
    );
    assert_eq!(
        w.one(resolve, &[&flow, &edge]).text("outcome"),
        "already_resolved"
    );
    assert_eq!(
        w.one(resolve, &[&flow, &staged]).text("outcome"),
        "not_applied"
    );
    w.refused("FF008", resolve, &[&flow, &Uuid::new_v4()]);
    w.refused("FF002", resolve, &[&Uuid::new_v4(), &edge]);
    assert_eq!(
        w.reconcile("cascade", ""),
        (0, 1, 0, false),
        "the entry has nothing left to do"
    );
    assert_eq!(w.queued("cascade"), 0);
}

#[test]
fn f_19_a_released_child_gets_the_result_it_asks_for() {
    let mut w = World::new();
    let flow = w.flow();
    let payload = |w: &mut World, id: Uuid| -> Option<Vec<u8>> {
        w.value("SELECT payload FROM ff_read_execution_context($1)", &[&id])
    };
    let child = |w: &mut World| w.member_with(flow, "payload => 'own', payload_encoding => 'text'");
    let result = json!({"status": "ok"}).to_string().into_bytes();

    let ([a], b) = (w.members(flow), child(&mut w));
    w.edge_with(flow, a, b, "data_passing_ref => 'result'");
    w.ok_with(a, Some(&result));
    assert_eq!(payload(&mut w, b), Some(result.clone()));
    let claim = w.take(b);
    assert_eq!(claim.row.bytes("payload"), Some(result.clone()));

    let ([a], b) = (w.members(flow), child(&mut w));
    w.edge(flow, a, b);
    w.ok_with(a, Some(&result));
    assert_eq!(payload(&mut w, b), Some(b"own".to_vec()), "no ref");

    let ([a], b) = (w.members(flow), child(&mut w));
    w.edge_with(flow, a, b, "data_passing_ref => 'result'");
    w.ok(a);
    assert_eq!(payload(&mut w, b), Some(b"own".to_vec()), "no result");

    let ([a], b) = (w.members(flow), child(&mut w));
    w.edge_with(flow, a, b, "data_passing_ref => 'result'");
    w.rows("SELECT * FROM ff_cancel_execution($1, 'enough')", &[&b]);
    w.ok_with(a, Some(&result));
    assert_eq!(payload(&mut w, b), Some(b"own".to_vec()), "not released");

    for order in [[0, 1], [1, 0]] {
        let (ups, b) = (w.members::<2>(flow), child(&mut w));
        for up in ups {
            w.edge_with(flow, up, b, "data_passing_ref => 'result'");
        }
        for i in order {
            w.ok_with(ups[i], Some(format!("of {i}").as_bytes()));
        }
        assert_eq!(
            payload(&mut w, b),
            Some(b"of 1".to_vec()),
            "the higher ordinal wins"
        );
    }

    let [a, b] = w.members(flow);
    let row = w.one(
        "SELECT * FROM ff_stage_dependency_edge($1, $2, $3, data_passing_ref => 'r')",
        &[&flow, &a, &b],
    );
    w.ok_with(a, Some(&result));
    assert_eq!(
        w.apply(flow, row.uuid("edge_id")).text("child_effect"),
        "released"
    );
    assert_eq!(
        payload(&mut w, b),
        Some(result),
        "also where there was none, and at once"
    );
}

#[test]
fn f_20_kinds_of_edges() {
    let mut w = World::new();
    let flow = w.flow();
    let [a, skipped, after, cleanup] = w.members(flow);
    w.edge(flow, a, skipped);
    w.edge_with(flow, a, after, "dependency_kind => 'any_terminal'");
    w.edge_with(flow, skipped, cleanup, "dependency_kind => 'any_terminal'");
    w.fails(a);
    assert_eq!(
        (w.state(skipped), w.state(after), w.state(cleanup)),
        ("skipped".into(), "waiting".into(), "waiting".into())
    );
    let [a, b, c, d] = w.members(flow);
    w.edge_with(flow, a, b, "dependency_kind => 'failure_only'");
    w.edge_with(flow, c, d, "dependency_kind => 'failure_only'");
    w.fails(a);
    w.ok(c);
    assert_eq!(
        (w.state(b), w.state(d)),
        ("waiting".into(), "skipped".into())
    );
}

#[test]
fn f_21_a_delay_goes_on_behind_the_group() {
    let mut w = World::new();
    let flow = w.flow();
    let [a, c] = w.members(flow);
    let delayed = |w: &mut World| {
        let at = w.now() + chrono::Duration::hours(1);
        w.member_with(flow, &format!("delay_until => '{}'", at.to_rfc3339()))
    };
    let b = delayed(&mut w);
    assert_eq!(w.edge_row(flow, a, b, "").text("child_effect"), "blocked");
    w.ok(a);
    assert_eq!(w.state(b), "delayed");
    let d = delayed(&mut w);
    w.edge(flow, c, d);
    w.advance_ms(3_600_000);
    w.reconciles("delayed", 1);
    assert_eq!(w.state(b), "waiting");
    w.assert_blocked(d);
    w.ok(c);
    assert_eq!(w.state(d), "waiting");
}

#[test]
fn f_22_work_that_has_started_is_not_killed_by_an_edge() {
    let mut w = World::new();
    let flow = w.flow();
    let [a, b, c, d] = w.members(flow);
    let claim = w.take(b);
    assert_eq!(w.edge_row(flow, a, b, "").text("child_effect"), "none");
    w.fails(a);
    assert_eq!(
        (w.state(b), w.group(b).state),
        ("active".into(), "impossible".into())
    );
    w.complete(&claim.handle, None);
    assert_eq!(w.state(b), "completed");

    let claim = w.take(d);
    w.edge(flow, c, d);
    w.fails(c);
    let (row, words) =
        w.events_by(|w| w.one("SELECT * FROM ff_wait_children($1)", &[&claim.handle]));
    assert_eq!(
        (
            row.text("outcome"),
            row.text("public_state"),
            row.int("open_dependencies")
        ),
        ("skipped".into(), "skipped".into(), 0)
    );
    assert_eq!(
        words,
        ["lease.released(waiting_children)", "completion.skipped"]
    );
    let attempt = w.attempts(d).remove(0);
    assert_eq!(
        (
            attempt.text("attempt_state"),
            attempt.text("failure_reason")
        ),
        ("ended_cancelled".into(), "dependency_impossible".into())
    );
    let again = w.one("SELECT * FROM ff_wait_children($1)", &[&claim.handle]);
    assert_eq!(
        (
            again.text("outcome"),
            again.text("public_state"),
            again.flag("replayed")
        ),
        ("skipped".into(), "skipped".into(), true)
    );
}

#[test]
fn f_75_a_hold_ends_where_the_group_says() {
    let mut w = World::new();
    let flow = w.flow();
    for (end, expected) in [
        (None, "waiting_children"),
        (Some(true), "waiting"),
        (Some(false), "skipped"),
    ] {
        let [a, b] = w.members(flow);
        w.rows(
            "SELECT * FROM ff_block_execution($1, 'paused_by_operator')",
            &[&b],
        );
        assert_eq!(w.edge_row(flow, a, b, "").text("child_effect"), "none");
        match end {
            Some(true) => w.ok(a),
            Some(false) => w.fails(a),
            None => {}
        }
        assert_eq!(w.state(b), "waiting", "held");
        let row = w.one("SELECT * FROM ff_unblock_execution($1)", &[&b]);
        assert_eq!(
            (row.text("outcome"), row.text("public_state")),
            ("unblocked".into(), expected.into())
        );
        assert_eq!(w.state(b), expected);
    }
    let a = w.member(flow);
    let at = w.now() + chrono::Duration::hours(1);
    let b = w.member_with(flow, &format!("delay_until => '{}'", at.to_rfc3339()));
    w.rows(
        "SELECT * FROM ff_block_execution($1, 'paused_by_operator')",
        &[&b],
    );
    w.edge(flow, a, b);
    w.ok(a);
    w.rows("SELECT * FROM ff_unblock_execution($1)", &[&b]);
    assert_eq!(w.state(b), "delayed");
}

#[test]
fn e_51_waiting_for_a_child_and_going_on() {
    let mut w = World::new();
    let flow = w.flow();
    let [p, c] = w.members(flow);
    let claim = w.take(c);
    w.edge(flow, p, c);
    let row = w.one("SELECT * FROM ff_wait_children($1)", &[&claim.handle]);
    assert_eq!(
        (row.text("outcome"), row.int("open_dependencies")),
        ("waiting".into(), 1)
    );
    assert_eq!(
        w.vector(c),
        "runnable/unowned/blocked_by_dependencies/waiting_for_children/none/attempt_interrupted"
    );
    w.ok(p);
    assert_eq!(w.state(c), "resumable");
    let again = w.take(c);
    assert_eq!((again.index, again.attempt_id), (0, claim.attempt_id));

    let stray = w.claimed("", "");
    let row = w.one("SELECT * FROM ff_wait_children($1)", &[&stray.handle]);
    assert_eq!(
        (row.text("outcome"), row.text("public_state")),
        ("ready".into(), "resumable".into())
    );
}

#[test]
fn e_79_a_deadline_ends_what_waits_for_upstreams() {
    let mut w = World::new();
    let flow = w.flow();
    let a = w.member(flow);
    let at = w.now() + chrono::Duration::seconds(5);
    let b = w.member_with(
        flow,
        &format!("execution_deadline => '{}'", at.to_rfc3339()),
    );
    let c = w.member(flow);
    w.edge(flow, a, b);
    w.edge(flow, b, c);
    w.advance_ms(5_000);
    w.reconciles("execution_deadline", 1);
    assert_eq!(
        (w.state(b), w.state(c)),
        ("expired".into(), "skipped".into())
    );
    assert_eq!(w.group(b).state, "cancelled", "reported, not stored");
    w.ok(a);
    assert_eq!(w.state(b), "expired");
}

#[test]
fn e_89_what_waits_for_upstreams_is_not_blocked_for_admission() {
    let mut w = World::new();
    let flow = w.flow();
    let [a, b] = w.members(flow);
    w.edge(flow, a, b);
    let row = w.one(
        "SELECT * FROM ff_block_execution($1, 'waiting_for_budget')",
        &[&b],
    );
    assert_eq!(row.text("outcome"), "rejected_not_eligible");
    w.assert_blocked(b);
}

#[test]
fn a_cancelled_child_is_left_alone_and_its_own_children_are_skipped() {
    let mut w = World::new();
    let flow = w.flow();
    let [a, b, c] = w.members(flow);
    w.edge(flow, a, b);
    w.edge(flow, b, c);
    w.rows("SELECT * FROM ff_cancel_execution($1, 'enough')", &[&b]);
    assert_eq!(
        (w.state(b), w.state(c)),
        ("cancelled".into(), "skipped".into())
    );
    w.ok(a);
    assert_eq!(w.state(b), "cancelled");
    assert_eq!(
        w.group(b).counts,
        [1, 1, 0, 0],
        "counters follow the edges all the same"
    );
}

#[test]
fn a_business_transaction_that_rolls_back_releases_nobody() {
    let mut w = World::new();
    let flow = w.flow();
    let [a, b] = w.members(flow);
    w.edge(flow, a, b);
    let claim = w.take(a);
    w.run("BEGIN");
    w.complete(&claim.handle, None);
    assert_eq!(w.state(b), "waiting");
    w.run("ROLLBACK");
    w.assert_blocked(b);
    assert_eq!(w.group(b).counts, [1, 0, 0, 0]);
    w.complete(&claim.handle, None);
    assert_eq!(w.state(b), "waiting");
}

#[test]
fn many_upstreams_that_end_in_one_call_release_their_children() {
    let mut w = World::new();
    let flow = w.flow();
    let ups = w.members::<4>(flow);
    let downs = w.members::<4>(flow);
    let last = w.member(flow);
    for (up, down) in ups.into_iter().zip(downs) {
        w.edge(flow, up, down);
        w.edge(flow, up, last);
    }
    let handles: Vec<String> = w
        .claims("max_items => 4")
        .into_iter()
        .map(|c| c.handle)
        .collect();
    w.rows("SELECT * FROM ff_complete_many($1)", &[&handles]);
    for id in downs.into_iter().chain([last]) {
        assert_eq!(w.state(id), "waiting");
    }
    assert_eq!(w.queued("cascade"), 0);
}
