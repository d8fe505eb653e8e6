//! What becomes of the upstreams that a fired group needs no more (§40.7).

use uuid::Uuid;

use crate::support::{Cells, World};

fn any(then: &str) -> String {
    format!(r#"{{"kind": "any_of", "on_satisfied": "{then}"}}"#)
}

fn quorum(k: i32, then: &str) -> String {
    format!(r#"{{"kind": "quorum", "k": {k}, "on_satisfied": "{then}"}}"#)
}

/// A child with these upstreams under a policy.
fn child_of(w: &mut World, flow: Uuid, ups: &[Uuid], policy: &str) -> Uuid {
    let child = w.member(flow);
    assert_eq!(w.group_policy(flow, child, policy), "set");
    for up in ups {
        w.edge(flow, *up, child);
    }
    child
}

fn cancelled_by_siblings(w: &mut World, id: Uuid, reason: &str) {
    let expected = (reason.to_owned(), "sibling_quorum".to_owned());
    assert_eq!(w.cancellation(id), expected);
}

#[test]
fn f_23_the_others_are_cancelled_afterwards() {
    let mut w = World::new();
    let flow = w.flow();
    let ups: [Uuid; 3] = w.members(flow);
    let child = child_of(&mut w, flow, &ups, &any("cancel_remaining"));
    w.ok(ups[1]);
    assert_eq!(w.state(child), "waiting");
    let group = w.group(child);
    assert_eq!(
        (group.state.as_str(), group.cancel_pending),
        ("satisfied", true)
    );
    for up in [ups[0], ups[2]] {
        assert_eq!(w.state(up), "waiting", "untouched in that transaction");
    }
    w.settles();
    for up in [ups[0], ups[2]] {
        cancelled_by_siblings(&mut w, up, "sibling_quorum_satisfied");
    }
    let group = w.group(child);
    assert_eq!((group.cancel_pending, group.counts), (false, [3, 1, 2, 0]));
    assert_eq!(w.queued("sibling_cancel"), 0);
    assert_eq!(w.state(child), "waiting");
}

#[test]
fn f_25_stragglers_of_a_quorum_are_cancelled_or_live() {
    let mut w = World::new();
    let flow = w.flow();
    let ups: [Uuid; 5] = w.members(flow);
    let child = child_of(&mut w, flow, &ups, &quorum(3, "cancel_remaining"));
    let others: [Uuid; 5] = w.members(flow);
    let easy = child_of(&mut w, flow, &others, &quorum(3, "let_run"));
    for (up, other) in ups.iter().zip(&others).take(3) {
        assert_eq!(
            (w.group(child).state, w.group(easy).state),
            ("pending".into(), "pending".into())
        );
        w.ok(*up);
        w.ok(*other);
    }
    assert_eq!(
        (w.state(child), w.state(easy)),
        ("waiting".into(), "waiting".into())
    );
    let fired = w.group(easy);
    w.settles();
    for (up, other) in ups.iter().zip(&others).skip(3) {
        cancelled_by_siblings(&mut w, *up, "sibling_quorum_satisfied");
        assert_eq!(w.state(*other), "waiting");
    }
    w.ok(others[3]);
    let after = w.group(easy);
    assert_eq!(after.counts, [5, 4, 0, 0]);
    assert_eq!(
        (after.state, after.satisfied_at),
        (fired.state, fired.satisfied_at)
    );
}

#[test]
fn f_26_survivors_of_an_impossible_quorum() {
    for (then, cancelled) in [("cancel_remaining", true), ("let_run", false)] {
        let mut w = World::new();
        let flow = w.flow();
        let ups: [Uuid; 5] = w.members(flow);
        let child = child_of(&mut w, flow, &ups, &quorum(3, then));
        for up in &ups[..3] {
            w.fails(*up);
        }
        assert_eq!(w.state(child), "skipped");
        let group = w.group(child);
        assert_eq!(
            (group.state.as_str(), group.cancel_pending),
            ("impossible", cancelled)
        );
        w.settles();
        for up in &ups[3..] {
            if cancelled {
                cancelled_by_siblings(&mut w, *up, "sibling_quorum_impossible");
            } else {
                assert_eq!(w.state(*up), "waiting");
            }
        }
        assert_eq!(w.queued("sibling_cancel"), 0);
    }
}

#[test]
fn f_32_a_sibling_that_another_child_waits_for_is_kept() {
    let mut w = World::new();
    let flow = w.flow();
    let [first, shared, other]: [Uuid; 3] = w.members(flow);
    let one = child_of(&mut w, flow, &[first, shared], &any("cancel_remaining"));
    let two = child_of(&mut w, flow, &[shared], r#"{"kind": "all_of"}"#);
    w.ok(first);
    assert_eq!(
        w.cancel_siblings(flow, one),
        [(shared, "kept_shared".to_owned())]
    );
    assert_eq!(w.queued("sibling_cancel"), 0, "nobody is left to cancel");
    w.ok(shared);
    assert_eq!(w.state(two), "waiting");
    w.settles();
    assert_eq!(w.group(one).counts, [2, 2, 0, 0]);

    // An edge that is only staged keeps its upstream too; a child that has ended or been satisfied does not.
    let [first, shared]: [Uuid; 2] = w.members(flow);
    let one = child_of(&mut w, flow, &[first, shared], &any("cancel_remaining"));
    let staged = w.member(flow);
    w.staged(flow, shared, staged);
    let satisfied = child_of(&mut w, flow, &[other, shared], &any("let_run"));
    w.ok(other);
    assert_eq!(w.group(satisfied).state, "satisfied");
    w.ok(first);
    w.rows(
        "SELECT * FROM ff_cancel_execution($1, 'not needed')",
        &[&staged],
    );
    assert_eq!(
        w.cancel_siblings(flow, one),
        [(shared, "cancelled".to_owned())]
    );
    cancelled_by_siblings(&mut w, shared, "sibling_quorum_satisfied");
    w.settles();
}

#[test]
fn f_33_many_siblings_and_many_groups() {
    let mut w = World::new();
    let flow = w.flow();
    let ups: [Uuid; 50] = w.members(flow);
    let child = child_of(&mut w, flow, &ups, &quorum(1, "cancel_remaining"));
    w.run("SET ff_engine.sibling_cancel_batch = 20");
    w.ok(ups[0]);
    w.settles();
    assert_eq!(
        (w.executions_in("cancelled"), w.group(child).counts),
        (49, [50, 1, 49, 0])
    );
    assert_eq!(w.queued("sibling_cancel"), 0);

    let mut children = Vec::new();
    for _ in 0..8 {
        let ups: [Uuid; 4] = w.members(flow);
        children.push((ups, child_of(&mut w, flow, &ups, &any("cancel_remaining"))));
    }
    w.run("BEGIN");
    for (ups, _) in &children {
        w.ok(ups[0]);
    }
    w.run("COMMIT");
    w.settles();
    assert_eq!(w.queued("sibling_cancel"), 0);
    for (ups, child) in &children {
        assert_eq!(w.state(*child), "waiting");
        for up in &ups[1..] {
            assert_eq!(w.event_words(*up), ["completion.cancelled"], "once");
        }
    }
}

#[test]
fn f_34_two_sessions_on_one_group_and_a_group_that_is_gone() {
    let mut w = World::new();
    let flow = w.flow();
    let ups: [Uuid; 3] = w.members(flow);
    let child = child_of(&mut w, flow, &ups, &any("cancel_remaining"));
    w.ok(ups[0]);
    let mut other = w.session();
    other.run("BEGIN");
    let mut handled = other.cancel_siblings(flow, child);
    handled.sort();
    let mut expected: Vec<_> = ups[1..]
        .iter()
        .map(|up| (*up, "cancelled".to_owned()))
        .collect();
    expected.sort();
    assert_eq!(handled, expected);
    assert_eq!(w.cancel_siblings(flow, child), [], "somebody else is at it");
    other.run("COMMIT");
    assert_eq!(w.cancel_siblings(flow, child), [], "nothing is queued");
    w.settles();
    for up in &ups[1..] {
        assert_eq!(w.event_words(*up), ["completion.cancelled"]);
    }
    let stranger = Uuid::from_u128(5);
    w.rows(
        "INSERT INTO ff_engine.sibling_cancel VALUES ($1, $2, ff_server_time())",
        &[&stranger, &flow],
    );
    w.reconciles("sibling_cancel", 1);
    assert_eq!(w.queued("sibling_cancel"), 0);
}

fn repair(w: &mut World, flow: Uuid, child: Uuid) -> (String, String) {
    let row = w.one(
        "SELECT * FROM ff_reconcile_sibling_cancel_group($1, $2)",
        &[&flow, &child],
    );
    (row.text("action"), row.text("detail"))
}

#[test]
fn f_35_repairs_cancel_nobody() {
    let mut w = World::new();
    w.will_break_invariants();
    let flow = w.flow();
    let ups: [Uuid; 2] = w.members(flow);
    let child = child_of(&mut w, flow, &ups, &any("cancel_remaining"));
    let word = |action: &str, detail: &str| (action.to_owned(), detail.to_owned());
    assert_eq!(repair(&mut w, flow, child), word("no_op", "not_queued"));
    w.ok(ups[0]);
    assert_eq!(
        repair(&mut w, flow, child),
        word("no_op", "siblings_running")
    );
    assert_eq!(
        (w.queued("sibling_cancel"), w.group(child).cancel_pending),
        (1, true)
    );
    let mut other = w.session();
    other.run("BEGIN");
    other.cancel_siblings(flow, child);
    assert_eq!(repair(&mut w, flow, child), word("no_op", "locked"));
    other.run("ROLLBACK");

    let set =
        "UPDATE ff_engine.edge_group SET cancel_siblings_pending = $2 WHERE downstream_id = $1";
    w.rows(set, &[&child, &false]);
    assert_eq!(
        repair(&mut w, flow, child),
        word("removed_stale", "flag_cleared")
    );
    assert_eq!(
        (w.queued("sibling_cancel"), w.state(ups[1])),
        (0, "waiting".into())
    );

    let queue =
        "INSERT INTO ff_engine.sibling_cancel VALUES ($1, $2, ff_server_time() - interval '11 s')";
    w.rows(set, &[&child, &true]);
    w.rows(queue, &[&child, &flow]);
    assert_eq!(
        w.reconcile("sibling_cancel_repair", "").0,
        0,
        "it still runs"
    );
    w.rows(
        "SELECT * FROM ff_cancel_execution($1, 'by hand')",
        &[&ups[1]],
    );
    w.reconciles("sibling_cancel_repair", 1);
    assert_eq!(
        (w.queued("sibling_cancel"), w.group(child).cancel_pending),
        (0, false)
    );
    w.rows(set, &[&child, &true]);
    w.rows(queue, &[&child, &flow]);
    let done = repair(&mut w, flow, child);
    assert_eq!(done.0, "completed_drain");
    assert_eq!(
        (w.queued("sibling_cancel"), w.group(child).cancel_pending),
        (0, false)
    );
    w.rows(queue, &[&Uuid::from_u128(9), &flow]);
    let gone = repair(&mut w, flow, Uuid::from_u128(9));
    assert_eq!(gone, word("removed_stale", "missing_group"));
}

#[test]
fn f_36_a_request_is_forgotten_and_a_busy_sibling_waits() {
    let mut w = World::new();
    let flow = w.flow();
    let drain = "SELECT ff_drain_sibling_cancel_group($1, $2)";
    let ups: [Uuid; 2] = w.members(flow);
    let child = child_of(&mut w, flow, &ups, &any("cancel_remaining"));
    w.ok(ups[0]);
    let outcome: String = w.value(drain, &[&flow, &child]);
    assert_eq!(outcome, "drained");
    assert_eq!(
        (w.queued("sibling_cancel"), w.group(child).cancel_pending),
        (0, false)
    );
    let outcome: String = w.value(drain, &[&flow, &child]);
    assert_eq!(outcome, "already_drained");
    w.settles();
    assert_eq!(w.state(ups[1]), "waiting");
    let gone = Uuid::from_u128(9);
    w.rows(
        "INSERT INTO ff_engine.sibling_cancel VALUES ($1, $2, ff_server_time())",
        &[&gone, &flow],
    );
    let outcome: String = w.value(drain, &[&flow, &gone]);
    assert_eq!(outcome, "drained_without_group");

    let ups: [Uuid; 3] = w.members(flow);
    let child = child_of(&mut w, flow, &ups, &any("cancel_remaining"));
    w.ok(ups[0]);
    let mut other = w.session();
    other.run("BEGIN");
    other.rows("SELECT * FROM ff_change_priority($1, 7)", &[&ups[1]]);
    let mut handled = w.cancel_siblings(flow, child);
    handled.sort_by_key(|(id, _)| *id != ups[1]);
    assert_eq!(
        handled,
        [
            (ups[1], "deferred".to_owned()),
            (ups[2], "cancelled".to_owned())
        ]
    );
    assert_eq!(
        (w.queued("sibling_cancel"), w.group(child).cancel_pending),
        (1, true)
    );
    other.run("COMMIT");
    w.settles();
    cancelled_by_siblings(&mut w, ups[1], "sibling_quorum_satisfied");
    assert_eq!(
        (w.queued("sibling_cancel"), w.group(child).cancel_pending),
        (0, false)
    );
}
