//! Work that no registered worker can run (§10.9, §10.10): what is missing, and how it is let go.
//!
//! Without a background worker, which would unblock by itself.

use uuid::Uuid;

use crate::support::work::requiring;
use crate::support::{Cells, Session, World};

const ROUTE: &str =
    "runnable/unowned/blocked_by_route/waiting_for_capable_worker/none/pending_first_attempt";
const READY: &str = "runnable/unowned/eligible_now/waiting_for_worker/none/pending_first_attempt";

/// Registers an instance of its own name for lane `L`.
fn register(s: &mut Session, instance: &str, capabilities: &str, arguments: &str) {
    let lanes = if arguments.contains("lanes =>") {
        ""
    } else {
        ", lanes => '{L}'"
    };
    s.rows(
        &format!(
            "SELECT * FROM ff_register_worker('w', '{instance}', capabilities => '{capabilities}'{lanes}{arguments})"
        ),
        &[],
    );
}

fn block_route(s: &mut Session, id: Uuid) {
    let row = s.one("SELECT * FROM ff_block_route($1, 'nobody can')", &[&id]);
    assert_eq!(row.text("outcome"), "blocked");
}

/// `missing` of every unroutable execution, by id.
fn unroutable(s: &mut Session, arguments: &str) -> Vec<(Uuid, Vec<String>)> {
    s.rows(
        &format!("SELECT * FROM ff_list_unroutable({arguments})"),
        &[],
    )
    .iter()
    .map(|row| (row.uuid("execution_id"), row.get("missing")))
    .collect()
}

fn words(tokens: &[&str]) -> Vec<String> {
    tokens.iter().map(|t| (*t).to_owned()).collect()
}

#[test]
fn work_that_no_single_live_worker_covers_is_listed_with_the_smallest_shortfall() {
    let mut w = World::without_preload();
    let both = w.create(&requiring(&["gpu", "torch>=2.3", "big"]));
    let gpu = w.create(&requiring(&["gpu"]));
    let plain = w.create("");
    assert_eq!(
        unroutable(&mut w, ""),
        [
            (both, words(&["big", "gpu", "torch>=2.3"])),
            (gpu, words(&["gpu"])),
            (plain, words(&[]))
        ],
        "with nobody registered nobody can run anything"
    );
    register(&mut w, "w-1", "{gpu}", "");
    register(&mut w, "w-2", "{torch>=2.3,big}", "");
    // Two workers that cover it together are no worker that covers it.
    assert_eq!(unroutable(&mut w, ""), [(both, words(&["gpu"]))]);
    let row = w.one("SELECT * FROM ff_list_unroutable()", &[]);
    assert_eq!(
        row.get::<_, Vec<String>>("required_capabilities"),
        ["big", "gpu", "torch>=2.3"]
    );
    assert_eq!(
        (row.text("lane"), row.text("namespace")),
        ("L".into(), "default".into())
    );
    let since = row.instant("waiting_since");
    assert_eq!(since, w.describe(both).instant("last_transition_at"));

    // Of another namespace, of another lane, or lapsed: not there.
    register(&mut w, "w-3", "{gpu,torch>=2.3,big}", ", namespace => 'n'");
    register(&mut w, "w-4", "{gpu,torch>=2.3,big}", ", lanes => '{M}'");
    register(
        &mut w,
        "w-5",
        "{gpu,torch>=2.3,big}",
        ", liveness_ttl => '1 s'",
    );
    assert!(unroutable(&mut w, "").is_empty());
    w.advance_ms(1_000);
    assert_eq!(unroutable(&mut w, ""), [(both, words(&["gpu"]))]);
    register(&mut w, "w-6", "{big,gpu,other,torch>=2.3}", "");
    assert!(unroutable(&mut w, "").is_empty());
}

#[test]
fn only_claimable_work_is_unroutable() {
    let mut w = World::without_preload();
    let gpu = requiring(&["gpu"]);
    let late = w.create(&format!("{gpu}, priority => 1"));
    let first = w.create(&format!("{gpu}, priority => 9"));
    let other = w.create(&format!("{gpu}, namespace => 'n'"));
    w.create(&format!(
        "{gpu}, delay_until => ff_server_time() + interval '1 h'"
    ));
    let held = w.create(&gpu);
    w.rows(
        "SELECT * FROM ff_block_execution($1, 'paused_by_operator')",
        &[&held],
    );
    let expired = w.create(&format!("{gpu}, execution_deadline => ff_server_time()"));
    let noted = w.create(&gpu);
    block_route(&mut w, noted);
    w.rows("SELECT * FROM ff_create_execution('M', 'k')", &[]);
    w.rows("SELECT * FROM ff_set_lane('M', 'paused')", &[]);
    let ids = |s: &mut Session, arguments: &str| -> Vec<Uuid> {
        unroutable(s, arguments)
            .into_iter()
            .map(|(id, _)| id)
            .collect()
    };
    let all = ids(&mut w, "");
    assert_eq!(all, [first, late, other, noted], "in claim order");
    assert!(!all.contains(&expired));
    assert_eq!(ids(&mut w, "namespace => 'n'"), [other]);
    assert_eq!(ids(&mut w, "max_items => 2"), [first, late]);
    assert!(ids(&mut w, "lane => 'M'").is_empty());
    assert!(ids(&mut w, "max_items => 0").is_empty());
    w.refused(
        "FF101",
        "SELECT * FROM ff_list_unroutable(max_items => -1)",
        &[],
    );
    w.rows("SELECT * FROM ff_set_lane('L', 'draining')", &[]);
    assert_eq!(ids(&mut w, "").len(), 4);
    let claims = w.claims("max_items => 9, capabilities => '{gpu}'");
    assert_eq!(claims.len(), 4);
    assert!(ids(&mut w, "").is_empty());
}

#[test]
fn e_39_unblocking_needs_one_live_worker_that_covers_the_requirement() {
    let mut w = World::without_preload();
    let id = w.create(&requiring(&["gpu", "torch>=2.3"]));
    block_route(&mut w, id);
    w.reconciles("unblock", 0);
    register(&mut w, "w-1", "{gpu,torch>=2.3}", ", namespace => 'n'");
    register(&mut w, "w-2", "{gpu,torch>=2.3}", ", lanes => '{M}'");
    register(&mut w, "w-3", "{gpu}", "");
    register(&mut w, "w-4", "{torch>=2.3}", "");
    w.reconciles("unblock", 0);
    w.assert_vector(id, ROUTE, "waiting");
    register(&mut w, "w-5", "{gpu,torch>=2.3,x}", "");
    let ((), events) = w.events_by(|w| w.reconciles("unblock", 1));
    assert!(events.is_empty(), "unblocking is no event");
    w.assert_vector(id, READY, "waiting");
    assert_eq!(w.describe(id).maybe_text("blocking_detail"), None);
    w.reconciles("unblock", 0);
    // A diagnosis is no gate: a capable claim takes it either way.
    block_route(&mut w, id);
    assert_eq!(w.claim("capabilities => '{gpu,torch>=2.3}'").id, id);
    w.reconciles("unblock", 0);
}

#[test]
fn e_90_the_unblock_reconciler_clears_routes_and_no_holds() {
    let mut w = World::without_preload();
    register(&mut w, "w-1", "{}", "");
    let held: Vec<(Uuid, &str)> = ["paused_by_operator", "paused_by_policy"]
        .into_iter()
        .map(|reason| {
            let id = w.create("");
            w.rows("SELECT * FROM ff_block_execution($1, $2)", &[&id, &reason]);
            (id, reason)
        })
        .collect();
    let located = w.create("");
    w.rows(
        "SELECT * FROM ff_block_execution($1, 'waiting_for_locality_match')",
        &[&located],
    );
    // One whose attempt was interrupted goes on where it was.
    let paused = w.claimed("priority => 9", "");
    w.rows(
        "SELECT * FROM ff_delay($1, ff_server_time())",
        &[&paused.handle],
    );
    block_route(&mut w, paused.id);
    // A route noted on top of a hold, and a hold on top of a route.
    let turned = w.create("");
    block_route(&mut w, turned);
    w.rows(
        "SELECT * FROM ff_block_execution($1, 'paused_by_operator')",
        &[&turned],
    );
    w.reconciles("unblock", 2);
    assert_eq!(w.vector(located), READY);
    assert_eq!(w.state(paused.id), "resumable");
    for (id, reason) in held.into_iter().chain([(turned, "paused_by_operator")]) {
        assert!(w.vector(id).contains(reason), "{reason}");
    }
    assert_eq!(w.claim("max_items => 1").kind, "resumed");
}

#[test]
fn unblocking_waits_for_its_instant_and_keeps_to_its_limits() {
    let mut w = World::without_preload();
    let later = w.create(&requiring(&["a"]));
    w.rows(
        "SELECT * FROM ff_block_execution($1, 'waiting_for_capable_worker', recheck_at => ff_server_time() + interval '10 s')",
        &[&later],
    );
    let mut ids = Vec::new();
    for n in 0..6 {
        let capability = ["a", "b"][n % 2];
        let namespace = ["default", "n"][n / 3];
        let id = w.create(&format!(
            "{}, priority => {n}, namespace => '{namespace}', tags => '{{\"app.n\":\"{n}\"}}', execution_id => ff_new_id({n})",
            requiring(&[capability])
        ));
        block_route(&mut w, id);
        ids.push(id);
    }
    register(&mut w, "w-1", "{a,b}", "");
    register(&mut w, "w-2", "{a,b}", ", namespace => 'n'");
    assert_eq!(w.reconcile("unblock", "max_items => 0"), (0, 0, 0, false));
    assert_eq!(
        w.reconcile("unblock", r#"tags => '{"app.n":"4"}'"#),
        (1, 0, 0, false)
    );
    assert_eq!(w.state(ids[4]), "waiting");
    assert_eq!(
        w.reconcile("unblock", "partitions => '[5,5]'"),
        (1, 0, 0, false)
    );
    assert_eq!(
        w.reconcile("unblock", "namespace => 'n', max_items => 1"),
        (1, 0, 0, false)
    );
    assert_eq!(w.reconcile("unblock", "max_items => 2"), (2, 0, 0, true));
    w.reconciles("unblock", 1);
    for id in ids {
        assert_eq!(w.vector(id), READY);
    }
    assert_eq!(w.vector(later), ROUTE);
    w.advance_ms(10_000);
    w.reconciles("unblock", 1);
    assert_eq!(w.vector(later), READY);
}

#[test]
fn what_is_noted_follows_priority_and_end() {
    let mut w = World::without_preload();
    let ids = w.create_several(3, &requiring(&["a"]));
    for id in &ids {
        block_route(&mut w, *id);
    }
    w.rows("SELECT * FROM ff_change_priority($1, 7)", &[&ids[2]]);
    w.rows(
        "SELECT * FROM ff_cancel_execution($1, 'enough')",
        &[&ids[0]],
    );
    crate::support::world::assert_invariants(&mut w);
    register(&mut w, "w-1", "{a}", "");
    assert_eq!(w.reconcile("unblock", "max_items => 1"), (1, 0, 0, true));
    assert_eq!(
        w.vector(ids[2]),
        READY,
        "the more important one comes first"
    );
    w.reconciles("unblock", 1);
}

#[test]
fn the_checker_finds_a_lost_and_a_stray_note() {
    let mut w = World::without_preload();
    let ids = w.create_several(2, "");
    block_route(&mut w, ids[0]);
    w.run("UPDATE ff_engine.unrouted SET execution_id = gen_random_uuid()");
    let found: i64 = w.value(
        "SELECT count(*) FROM ff_check_invariants() WHERE invariant = 'unrouted'",
        &[],
    );
    assert_eq!(found, 2);
    w.will_break_invariants();
}
