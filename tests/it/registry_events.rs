//! What the registry of workers tells (§10.19): its events, and the sweep of what has lapsed.

use std::time::Duration;

use crate::registry::{heartbeat, listed, mark_dead, register, worker_events};
use crate::support::cluster::Cluster;
use crate::support::pace::eventually;
use crate::support::{Cells, World};

#[test]
fn e_94_the_sweep_deletes_what_has_lapsed_once() {
    let mut w = World::new();
    for (instance, ttl) in [("w-1", "1 s"), ("w-2", "2 s"), ("w-3", "60 s")] {
        register(&mut w, instance, &format!("liveness_ttl => '{ttl}'"));
    }
    register(&mut w, "w-4", "liveness_ttl => '1 s', namespace => 'n'");
    w.reconciles("worker_ttl", 0);
    w.advance_ms(2_000);
    assert_eq!(
        w.reconcile("worker_ttl", "namespace => 'nobody'"),
        (0, 0, 0, false)
    );
    assert_eq!(
        w.reconcile("worker_ttl", "namespace => 'n'"),
        (1, 0, 0, false)
    );
    assert_eq!(
        w.reconcile("worker_ttl", "max_items => 0"),
        (0, 0, 0, false)
    );
    assert_eq!(w.reconcile("worker_ttl", "max_items => 1"), (1, 0, 0, true));
    w.reconciles("worker_ttl", 1);
    w.reconciles("worker_ttl", 0);
    assert_eq!(listed(&mut w, ""), ["default/w-3"]);
    let swept = worker_events(&mut w, "");
    assert_eq!(swept.iter().filter(|e| *e == "ttl_swept").count(), 3);
    assert_eq!(
        worker_events(&mut w, "worker_instance => 'w-1'"),
        ["registered", "ttl_swept"]
    );
}

#[test]
fn e_94_worker_events_are_a_read_over_the_log() {
    let mut w = World::new();
    register(&mut w, "w-2", "");
    register(&mut w, "w-1", "");
    register(&mut w, "w-1", "worker => 'w'");
    heartbeat(&mut w, "w-1");
    mark_dead(&mut w, "w-1", "");
    w.create("");
    let rows = w.rows(
        "SELECT * FROM ff_list_worker_events(worker_instance => 'w-1')",
        &[],
    );
    let told: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row.text("event"),
                row.text("worker"),
                row.maybe_text("reason"),
                row.flag("has_more"),
            )
        })
        .collect();
    let event = |word: &str, reason: Option<&str>| {
        (
            word.to_owned(),
            "w".to_owned(),
            reason.map(str::to_owned),
            false,
        )
    };
    assert_eq!(
        told,
        [
            event("registered", None),
            event("refreshed", None),
            event("marked_dead", Some("gone"))
        ]
    );
    let mut paged = Vec::new();
    let mut after = 0;
    loop {
        let page = w.rows(
            "SELECT * FROM ff_list_worker_events(after_id => $1, max_items => 3)",
            &[&after],
        );
        let Some(last) = page.last() else { break };
        after = last.big("event_id");
        assert_eq!(last.flag("has_more"), paged.is_empty() && page.len() == 3);
        paged.extend(page.iter().map(|row| row.big("event_id")));
    }
    let family: Vec<i64> = w
        .rows(
            "SELECT event_id FROM ff_read_events('start', families => '{worker}') ORDER BY 1",
            &[],
        )
        .iter()
        .map(|row| row.big("event_id"))
        .collect();
    assert_eq!(paged, family);
    assert_eq!(paged.len(), 4);
    let details = w.rows(
        "SELECT e.details, e.execution_id IS NULL AND e.partition_key IS NULL AND e.lane IS NULL AS bare, e.namespace
           FROM ff_read_events('start', families => '{worker}') AS e WHERE e.event_type = 'marked_dead'",
        &[],
    );
    assert_eq!(
        details[0].json("details"),
        serde_json::json!({"worker": "w", "worker_instance": "w-1", "reason": "gone"})
    );
    assert!(details[0].flag("bare"));
    assert_eq!(details[0].text("namespace"), "default");
    assert!(worker_events(&mut w, "namespace => 'n'").is_empty());
    assert!(worker_events(&mut w, "max_items => 0").is_empty());
}

#[test]
fn e_94_a_row_that_cannot_be_swept_stops_no_other() {
    let mut w = World::new();
    for instance in ["w-1", "bad", "w-2"] {
        register(&mut w, instance, "liveness_ttl => '1 s'");
    }
    w.run(
        "CREATE FUNCTION ff_engine.stumble() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN IF OLD.worker_instance = 'bad' THEN RAISE 'stumbled'; END IF; RETURN OLD; END $$;
         CREATE TRIGGER stumble BEFORE DELETE ON ff_engine.worker FOR EACH ROW EXECUTE FUNCTION ff_engine.stumble()",
    );
    w.advance_ms(1_000);
    assert_eq!(w.reconcile("worker_ttl", ""), (2, 0, 1, false));
    let warned = w.notices().iter().any(|n| n.message().contains("bad"));
    assert!(warned, "a warning names it");
    w.run("DROP TRIGGER stumble ON ff_engine.worker");
    w.reconciles("worker_ttl", 1);
}

#[test]
fn e_94_the_background_worker_sweeps_by_itself() {
    let mut w = World::on_wall_clock(Cluster::home());
    register(&mut w, "w-1", "liveness_ttl => '1 ms'");
    let swept = eventually(Duration::from_secs(60), || {
        worker_events(&mut w, "").contains(&"ttl_swept".to_owned())
    });
    assert!(swept);
}
