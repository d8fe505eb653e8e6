//! Members that run again (§40.9).

use uuid::Uuid;

use crate::support::{Cells, World};

/// The latest `operator.replayed` of an execution: branch and edges reset.
fn branch(w: &mut World, id: Uuid) -> (String, i64) {
    let events = w.events_of(id);
    let event = events
        .iter()
        .rev()
        .find(|e| e.event_type == "replayed")
        .expect("a replay");
    let branch = event.details["branch"]
        .as_str()
        .expect("a branch")
        .to_owned();
    (
        branch,
        event.details["edges_reset"].as_i64().expect("a number"),
    )
}

/// A failed member and one that was skipped because of it.
fn failed_pair(w: &mut World) -> (Uuid, Uuid, Uuid) {
    let flow = w.flow();
    let [a, b]: [Uuid; 2] = w.members(flow);
    w.edge(flow, a, b);
    w.fails(a);
    assert_eq!(w.state(b), "skipped");
    (flow, a, b)
}

fn completions(w: &mut World, id: Uuid, word: &str) -> usize {
    w.event_words(id).iter().filter(|w| *w == word).count()
}

#[test]
fn f_65_replay_without_group_and_in_wrong_states() {
    let mut w = World::new();
    let flow = w.flow();
    let [failed, active]: [Uuid; 2] = w.members(flow);
    w.fails(failed);
    w.take(active);
    let row = w.replay(failed);
    assert_eq!(
        (row.text("public_state"), row.int("open_dependencies")),
        ("waiting".into(), 0)
    );
    assert_eq!(branch(&mut w, failed), ("normal".into(), 0));
    w.refused("FF413", "SELECT * FROM ff_replay_execution($1)", &[&active]);
    w.fails(failed);
    w.cancel_flow(flow, "policy => 'cancel_flow_only'");
    w.refused("FF419", "SELECT * FROM ff_replay_execution($1)", &[&failed]);
    w.refused("FF419", "SELECT * FROM ff_replay_flow($1)", &[&flow]);
}

#[test]
fn f_66_a_quorum_child_gets_its_impossible_edges_back() {
    let mut w = World::new();
    let flow = w.flow();
    let root = w.member(flow);
    let ups: [Uuid; 4] = w.members(flow);
    let child = w.member(flow);
    w.edge(flow, root, ups[3]);
    w.group_policy(
        flow,
        child,
        r#"{"kind": "quorum", "k": 3, "on_satisfied": "let_run"}"#,
    );
    for up in ups {
        w.edge(flow, up, child);
    }
    w.ok(ups[0]);
    w.ok(ups[1]);
    w.fails(ups[2]);
    w.fails(root);
    assert_eq!(
        (w.state(child), w.group(child).counts),
        ("skipped".into(), [4, 2, 1, 1])
    );
    let row = w.replay(child);
    assert_eq!(
        (row.text("public_state"), row.int("open_dependencies")),
        ("waiting_children".into(), 2)
    );
    let group = w.group(child);
    assert_eq!(
        (group.state.as_str(), group.counts),
        ("pending", [4, 2, 0, 0])
    );
    w.assert_blocked(child);
    assert_eq!(
        w.describe(child).text("blocking_detail"),
        "2 dependencies unsatisfied after replay"
    );
    assert_eq!(branch(&mut w, child), ("skipped_flow_member".into(), 2));
    w.replay(ups[2]);
    w.ok(ups[2]);
    assert_eq!(
        (w.state(child), w.group(child).counts),
        ("waiting".into(), [4, 3, 0, 0])
    );
}

#[test]
fn e_86_f_67_old_news_do_not_skip_again() {
    let mut w = World::new();
    let (flow, a, b) = failed_pair(&mut w);
    let row = w.replay(b);
    assert_eq!(
        (row.int("replay_count"), row.int("open_dependencies")),
        (1, 1)
    );
    assert_eq!(
        w.vector(b),
        "runnable/unowned/blocked_by_dependencies/waiting_for_children/none/pending_replay_attempt"
    );
    let edge: Uuid = w.value("SELECT edge_id FROM ff_list_edges($1)", &[&flow]);
    assert_eq!(w.edge_state(flow, edge), "unsatisfied");
    assert_eq!(branch(&mut w, b), ("skipped_flow_member".into(), 1));
    w.advance_ms(20_000);
    w.reconciles("dependency", 0);
    w.reconcile("cascade", "");
    w.assert_blocked(b);
    w.replay(a);
    w.ok(a);
    assert_eq!(w.state(b), "waiting");
    let claim = w.take(b);
    assert_eq!(claim.attempt_type, "replay");
    w.complete(&claim.handle, None);

    let (_, a, b) = failed_pair(&mut w);
    w.replay(b);
    w.replay(a);
    w.fails(a);
    assert_eq!(w.state(b), "skipped", "the next end counts");
    assert_eq!(completions(&mut w, b, "completion.skipped"), 2);

    let (_, a, b) = failed_pair(&mut w);
    w.replay(a);
    w.ok(a);
    assert_eq!(
        w.state(b),
        "skipped",
        "a skipped child runs again only when replayed too"
    );
    let row = w.replay(b);
    assert_eq!(
        (row.text("public_state"), row.int("open_dependencies")),
        ("waiting".into(), 0)
    );
    w.ok(b);
}

#[test]
fn f_74_a_replay_that_is_skipped_again_at_once() {
    let mut w = World::new();
    let (flow, a, b) = failed_pair(&mut w);
    let c = w.member(flow);
    w.edge(flow, b, c);
    w.settles();
    assert_eq!(w.state(c), "skipped");
    w.replay(c);
    w.replay(a);
    w.fails(a);
    assert_eq!(w.state(b), "skipped");
    let row = w.replay(b);
    assert_eq!(
        (
            row.text("public_state"),
            row.int("replay_count"),
            row.int("open_dependencies")
        ),
        ("skipped".into(), 1, 0)
    );
    assert_eq!(completions(&mut w, b, "completion.skipped"), 2);
    assert_eq!(
        w.state(c),
        "skipped",
        "its children learn of it in the same call"
    );
    assert_eq!(completions(&mut w, c, "completion.skipped"), 2);
}

#[test]
fn e_87_f_68_members_cancelled_while_blocked_and_whole_flows() {
    let mut w = World::new();
    let flow = w.flow();
    let [a, b]: [Uuid; 2] = w.members(flow);
    w.edge(flow, a, b);
    w.rows("SELECT * FROM ff_cancel_execution($1, 'not now')", &[&b]);
    let row = w.replay(b);
    assert_eq!(
        (row.text("public_state"), row.int("open_dependencies")),
        ("waiting_children".into(), 1)
    );
    assert_eq!(branch(&mut w, b), ("normal".into(), 0));
    w.ok(a);
    assert_eq!(w.state(b), "waiting");

    let flow = w.flow();
    let mut chain: [Uuid; 3] = w.members(flow);
    // The order of replaying is that of the edges, not of the ids.
    chain.sort();
    chain.reverse();
    let [a, b, c] = chain;
    w.edge(flow, a, b);
    w.edge(flow, b, c);
    w.rows("SELECT * FROM ff_seal_flow($1)", &[&flow]);
    w.fails(a);
    w.rows("SELECT ff_project_flow_summary($1)", &[&flow]);
    assert_eq!(w.flow_fact(flow, "public_flow_state"), "failed");
    let one = w.one(
        "SELECT * FROM ff_replay_flow($1, '{expired,skipped}', max_items => 1)",
        &[&flow],
    );
    assert_eq!((one.uuid("execution_id"), one.flag("has_more")), (b, true));
    w.rows("SELECT * FROM ff_cancel_execution($1, 'again')", &[&b]);
    let rows = w.rows(
        "SELECT * FROM ff_replay_flow($1, '{failed,expired,skipped,cancelled}', reason => 'once more')",
        &[&flow],
    );
    let seen: Vec<(Uuid, String, String)> = rows
        .iter()
        .map(|row| {
            (
                row.uuid("execution_id"),
                row.text("outcome"),
                row.text("public_state"),
            )
        })
        .collect();
    let row = |id, state: &str| (id, "replayed".to_owned(), state.to_owned());
    assert_eq!(
        seen,
        [
            row(a, "waiting"),
            row(b, "waiting_children"),
            row(c, "waiting_children")
        ]
    );
    assert_eq!(
        w.flow_fact(flow, "public_flow_state || coalesce(terminal_at::text, '')"),
        "open"
    );
    assert!(w.flow_words(flow).contains(&"flow_reopened".to_owned()));
    for id in chain {
        w.ok(id);
    }
    assert_eq!(w.state(c), "completed");
    w.refused(
        "FF101",
        "SELECT * FROM ff_replay_flow($1, '{some}')",
        &[&flow],
    );
    w.refused("FF002", "SELECT * FROM ff_replay_flow($1)", &[&a]);
    assert!(
        w.rows("SELECT * FROM ff_replay_flow($1)", &[&flow])
            .is_empty()
    );
}

#[test]
fn a_member_that_refuses_does_not_stop_the_others() {
    let mut w = World::new();
    let flow = w.flow();
    let tired = w.member_with(flow, r#"policy => '{"max_replay_count": 0}'"#);
    let fresh = w.member(flow);
    w.fails(tired);
    w.fails(fresh);
    let mut rows: Vec<(Uuid, String)> = w
        .rows("SELECT * FROM ff_replay_flow($1)", &[&flow])
        .iter()
        .map(|row| (row.uuid("execution_id"), row.text("outcome")))
        .collect();
    rows.sort_by_key(|(id, _)| *id != tired);
    assert_eq!(
        rows,
        [
            (tired, "max_replays_exhausted".to_owned()),
            (fresh, "replayed".to_owned())
        ]
    );
    assert_eq!(
        (w.state(tired), w.state(fresh)),
        ("failed".into(), "waiting".into())
    );
}

#[test]
fn e_87_members_of_a_cancelled_flow_stay_ended() {
    let mut w = World::new();
    let flow = w.flow();
    let [a, b]: [Uuid; 2] = w.members(flow);
    w.edge(flow, a, b);
    w.cancel_flow(flow, "");
    for id in [a, b] {
        w.refused("FF419", "SELECT * FROM ff_replay_execution($1)", &[&id]);
        assert_eq!(w.state(id), "cancelled");
    }
}
