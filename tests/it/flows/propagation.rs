//! Propagation at scale and under contention (§40.3).

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::support::{Cells, Session, World};

/// Many members in one call.
fn crowd(w: &mut Session, flow: Uuid, count: usize) -> Vec<Uuid> {
    w.run("SET ff_engine.max_claim_items = 100000");
    let item = serde_json::json!({"lane": "L", "kind": "k", "flow_id": flow.to_string()});
    let items = serde_json::Value::from(vec![item; count]);
    let rows = w.rows(
        "SELECT execution_id FROM ff_create_executions($1)",
        &[&items],
    );
    rows.iter().map(|row| row.uuid("execution_id")).collect()
}

/// An edge from each of the first to each of the second, in one statement.
fn join(w: &mut Session, flow: Uuid, pairs: &[(Uuid, Uuid)]) {
    let (ups, downs): (Vec<Uuid>, Vec<Uuid>) = pairs.iter().copied().unzip();
    w.rows(
        "SELECT s.outcome FROM unnest($2::uuid[], $3::uuid[]) AS p (up, down),
                LATERAL ff_add_dependency($1, p.up, p.down) AS s",
        &[&flow, &ups, &downs],
    );
}

fn states(w: &mut Session, flow: Uuid) -> BTreeMap<String, i64> {
    w.rows(
        "SELECT public_state, executions FROM ff_count_executions(flow_id => $1)",
        &[&flow],
    )
    .iter()
    .map(|row| (row.text("public_state"), row.big("executions")))
    .collect()
}

fn of(pairs: &[(&str, i64)]) -> BTreeMap<String, i64> {
    pairs
        .iter()
        .map(|(word, n)| ((*word).to_owned(), *n))
        .collect()
}

#[test]
fn f_37_a_narrow_fan_out_is_released_at_once_and_a_wide_one_later() {
    let mut w = World::new();
    for (width, at_once) in [(64usize, true), (65, false)] {
        let flow = w.flow();
        let root = w.member(flow);
        let children = crowd(&mut w, flow, width);
        let pairs: Vec<_> = children.iter().map(|child| (root, *child)).collect();
        join(&mut w, flow, &pairs);
        w.ok(root);
        let n = width as i64;
        if at_once {
            assert_eq!(
                states(&mut w, flow),
                of(&[("completed", 1), ("waiting", n)])
            );
            assert_eq!(w.queued("cascade"), 0);
        } else {
            assert_eq!(
                states(&mut w, flow),
                of(&[("completed", 1), ("waiting_children", n)])
            );
            assert_eq!(w.queued("cascade"), 1);
            assert_eq!(w.reconcile("cascade", ""), (1, 0, 0, false));
            assert_eq!(
                states(&mut w, flow),
                of(&[("completed", 1), ("waiting", n)])
            );
        }
    }
}

#[test]
fn f_38_part_a_wide_fan_out_is_worked_through_in_batches() {
    let mut w = World::new();
    w.run("SET ff_engine.cascade_edge_batch = 50");
    let flow = w.flow();
    let root = w.member(flow);
    let children = crowd(&mut w, flow, 420);
    let pairs: Vec<_> = children.iter().map(|child| (root, *child)).collect();
    join(&mut w, flow, &pairs);
    w.ok(root);
    assert_eq!(
        states(&mut w, flow)["waiting_children"],
        420,
        "the completing transaction touches no child"
    );
    let mut passes = 0;
    loop {
        let before = states(&mut w, flow).get("waiting").copied().unwrap_or(0);
        let (processed, _, errors, remaining) = w.reconcile("cascade", "");
        let after = states(&mut w, flow)["waiting"];
        assert!(after - before <= 50 && errors == 0 && processed == 1);
        passes += 1;
        if !remaining {
            break;
        }
        assert!(
            !w.claims("max_items => 1").is_empty(),
            "early children are handed out before late ones"
        );
    }
    assert!((9..=10).contains(&passes), "{passes}");
    let released: i64 = w.value(
        "SELECT count(*) FROM ff_engine.edge WHERE edge_state = 'satisfied' AND resolved_at IS NOT NULL",
        &[],
    );
    assert_eq!(released, 420);
}

#[test]
fn f_39_part_a_wide_fan_in_is_released_once_and_nobody_waits() {
    let mut w = World::new();
    let flow = w.flow();
    let ups = crowd(&mut w, flow, 400);
    let child = w.member(flow);
    let pairs: Vec<_> = ups.iter().map(|up| (*up, child)).collect();
    join(&mut w, flow, &pairs);
    let door = w.door();
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let door = door.clone();
            std::thread::spawn(move || {
                let mut s = door.open();
                // Whoever waits for a lock for so long fails.
                s.run("SET lock_timeout = '5s'");
                loop {
                    let claims = s.claims("max_items => 10");
                    if claims.is_empty() {
                        return;
                    }
                    for claim in claims {
                        s.complete(&claim.handle, None);
                    }
                }
            })
        })
        .collect();
    let mut cascades = door.open();
    while workers.iter().any(|worker| !worker.is_finished()) {
        cascades.reconcile("cascade", "");
    }
    for worker in workers {
        worker.join().expect("a worker");
    }
    w.background();
    let group = w.group(child);
    assert_eq!(
        (group.state.as_str(), group.counts),
        ("satisfied", [400, 400, 0, 0])
    );
    let words = w.event_words(child);
    let handed_out = words
        .iter()
        .filter(|word| word.starts_with("lease.acquired"));
    assert!(handed_out.count() <= 1, "{words:?}");
    assert_eq!(states(&mut w, flow).values().sum::<i64>(), 401);
}

#[test]
fn f_40_part_a_long_chain_runs_and_fails() {
    let mut w = World::new();
    let links = 300;
    let chain = |w: &mut World, flow: Uuid| {
        let ids = crowd(w, flow, links + 1);
        let pairs: Vec<_> = ids.windows(2).map(|p| (p[0], p[1])).collect();
        join(w, flow, &pairs);
        ids
    };
    let flow = w.flow();
    let ids = chain(&mut w, flow);
    for id in &ids {
        let claim = w.claim("");
        assert_eq!(claim.id, *id, "the next link, and nothing else");
        w.complete(&claim.handle, None);
    }
    assert_eq!(w.queued("cascade"), 0);

    let flow = w.flow();
    let ids = chain(&mut w, flow);
    w.run("SET ff_engine.cascade_edge_batch = 150");
    w.fails(ids[0]);
    assert_eq!(states(&mut w, flow)["skipped"], 64);
    assert_eq!(w.queued("cascade"), 1);
    assert!(w.reconcile("cascade", "").3);
    assert_eq!(states(&mut w, flow)["skipped"], 64 + 150);
    assert!(!w.reconcile("cascade", "").3);
    assert_eq!(
        states(&mut w, flow),
        of(&[("failed", 1), ("skipped", links as i64)])
    );
    let skips: i64 = w.value(
        "SELECT count(*) FROM ff_read_events('start', families => '{completion}', max_items => 10000) WHERE event_type = 'skipped'",
        &[],
    );
    assert_eq!(skips, links as i64);
}

#[test]
fn f_42_a_rolled_back_pass_leaves_everything_as_it_was() {
    let mut w = World::new();
    let flow = w.flow();
    let root = w.member(flow);
    let children = crowd(&mut w, flow, 100);
    let pairs: Vec<_> = children.iter().map(|child| (root, *child)).collect();
    join(&mut w, flow, &pairs);
    w.fails(root);
    let before = states(&mut w, flow);
    w.run("SET ff_engine.cascade_edge_batch = 60; BEGIN");
    assert_eq!(w.reconcile("cascade", ""), (1, 0, 0, true));
    assert_eq!(states(&mut w, flow)["skipped"], 60);
    w.run("ROLLBACK");
    assert_eq!((states(&mut w, flow), w.queued("cascade")), (before, 1));
    let counted: i64 = w.value(
        "SELECT count(*) FROM ff_engine.edge_group WHERE failed_count > 0",
        &[],
    );
    assert_eq!(counted, 0);
    w.background();
    assert_eq!(states(&mut w, flow), of(&[("failed", 1), ("skipped", 100)]));
}

#[test]
fn f_43_a_busy_child_holds_up_nobody() {
    let mut w = World::new();
    let flow = w.flow();
    let [a, b, c] = w.members(flow);
    w.edge(flow, a, b);
    w.edge(flow, a, c);
    let mut other = w.session();
    other.run("BEGIN");
    other.rows("SELECT * FROM ff_change_priority($1, 7)", &[&b]);
    w.run("SET lock_timeout = '1ms'");
    w.ok(a);
    assert_eq!(
        (w.state(b), w.state(c)),
        ("waiting_children".into(), "waiting".into())
    );
    let (_, skipped, errors, remaining) = w.reconcile("cascade", "");
    assert!(skipped >= 1 && errors == 0 && remaining);
    let row = w.one("SELECT * FROM ff_cascade_completion($1)", &[&a]);
    assert_eq!(
        (
            row.text("outcome"),
            row.int("deferred"),
            row.int("edges_remaining")
        ),
        ("advanced".into(), 1, 1)
    );
    other.run("COMMIT");
    w.background();
    assert_eq!((w.state(b), w.queued("cascade")), ("waiting".into(), 0));
}

#[test]
fn f_44_a_fixed_snapshot_leaves_propagation_to_the_queue() {
    let mut w = World::new();
    for isolation in ["REPEATABLE READ", "SERIALIZABLE"] {
        let flow = w.flow();
        let [a, b] = w.members(flow);
        w.edge(flow, a, b);
        let claim = w.take(a);
        w.run(&format!("BEGIN ISOLATION LEVEL {isolation}"));
        w.complete(&claim.handle, None);
        assert_eq!(
            (w.state(b), w.queued("cascade")),
            ("waiting_children".into(), 1)
        );
        w.run("COMMIT");
        w.background();
        assert_eq!(w.state(b), "waiting");
    }
}

#[test]
fn f_45_a_child_that_cannot_be_written_stops_no_other() {
    let mut w = World::new();
    let flow = w.flow();
    let [a, b, bad, c] = w.members(flow);
    for child in [b, bad, c] {
        w.edge(flow, a, child);
    }
    w.run(&format!(
        "ALTER TABLE ff_engine.edge_group ADD CONSTRAINT injected
         CHECK (downstream_id <> '{bad}' OR satisfied_count = 0) NOT VALID"
    ));
    w.ok(a);
    assert_eq!(w.state(a), "completed", "its own end stands");
    w.notices();
    let (_, _, errors, _) = w.reconcile("cascade", "");
    assert_eq!(errors, 1);
    let warned = w
        .notices()
        .iter()
        .any(|n| n.message().contains(&bad.to_string()));
    assert!(warned, "a warning names the child");
    assert_eq!(
        (w.state(b), w.state(c), w.state(bad)),
        (
            "waiting".into(),
            "waiting".into(),
            "waiting_children".into()
        )
    );
    assert_eq!(
        w.reconcile("cascade", ""),
        (0, 0, 0, false),
        "not due again yet"
    );
    w.run("ALTER TABLE ff_engine.edge_group DROP CONSTRAINT injected");
    w.advance_ms(1_000);
    assert_eq!(w.reconcile("cascade", "").0, 0);
    w.advance_ms(1_000);
    assert_eq!(w.reconcile("cascade", ""), (1, 0, 0, false));
    assert_eq!(w.state(bad), "waiting");
}

#[test]
fn f_46_what_was_lost_is_found() {
    let mut w = World::new();
    w.run("SET ff_engine.inline_edge_limit = 0");
    let flow = w
        .one("SELECT * FROM ff_create_flow(namespace => 'a')", &[])
        .uuid("flow_id");
    let [a, b, c] = w.members(flow);
    w.edge(flow, a, b);
    w.edge(flow, b, c);
    w.ok(a);
    w.run("DELETE FROM ff_engine.cascade");
    let ended = w.offset_ms();
    w.set_offset_ms(ended - 600_000);
    let early = w.reconcile("dependency", "");
    assert_eq!(early, (0, 0, 0, false), "within a second it may still come");
    w.set_offset_ms(ended + 1_001);
    assert_eq!(w.reconcile("dependency", "namespace => 'b'").0, 0);
    assert_eq!(
        w.reconcile("dependency", "namespace => 'default'").0,
        0,
        "the flow's namespace counts"
    );
    assert_eq!(w.reconcile("dependency", ""), (1, 0, 0, false));
    assert_eq!(w.reconcile("dependency", ""), (0, 0, 0, false));
    w.background();
    assert_eq!(w.state(b), "waiting");

    w.run("UPDATE ff_engine.edge_group SET satisfied_count = 0, failed_count = 1");
    assert_eq!(w.reconcile("dependency", ""), (2, 0, 0, false));
    assert_eq!(
        (w.group(b).counts, w.group(c).counts),
        ([1, 1, 0, 0], [1, 0, 0, 0])
    );
    assert_eq!(w.reconcile("dependency", ""), (0, 0, 0, false));

    w.run(&format!(
        "UPDATE ff_engine.edge_group SET group_state = 'satisfied' WHERE downstream_id = '{c}'"
    ));
    assert_eq!(
        w.reconcile("dependency", ""),
        (1, 0, 0, false),
        "waits with a fired group"
    );
    assert_eq!(w.state(c), "waiting");
}

#[test]
fn one_child_is_promoted_by_hand() {
    let mut w = World::new();
    w.run("SET ff_engine.inline_edge_limit = 0");
    let flow = w.flow();
    let [a, b] = w.members(flow);
    let promote = |w: &mut World, id: Uuid| -> String {
        w.value("SELECT ff_promote_blocked_to_eligible($1)", &[&id])
    };
    assert_eq!(promote(&mut w, Uuid::new_v4()), "not_found");
    assert_eq!(promote(&mut w, a), "not_blocked_by_deps");
    w.edge(flow, a, b);
    assert_eq!(promote(&mut w, b), "deps_not_satisfied");
    w.ok(a);
    assert_eq!(promote(&mut w, a), "not_runnable");
    w.run("UPDATE ff_engine.edge_group SET group_state = 'satisfied', satisfied_count = 1, satisfied_at = now()");
    w.run("UPDATE ff_engine.edge SET edge_state = 'satisfied', consumed_life = 0, resolved_outcome = 'success'");
    assert_eq!(promote(&mut w, b), "promoted");
    assert_eq!(w.state(b), "waiting");
}
