//! Ended executions stand in lots until they are purged: what is in a lot goes one by one all the same.

use uuid::Uuid;

use crate::support::world::assert_invariants;
use crate::support::{Cells, Session, World};

/// Ends 250 executions at one instant, which may be purged ten seconds later, and lets the timers of their leases pass.
fn ended(w: &mut World) -> Vec<Uuid> {
    w.rows(
        r#"SELECT * FROM ff_create_many('L', 'k', array_fill(''::bytea, ARRAY[250]), policy => '{"retention_ms":100000}')"#,
        &[],
    );
    let claims = w.claims("max_items => 250");
    let handles: Vec<_> = claims.iter().map(|c| c.handle.clone()).collect();
    w.rows("SELECT * FROM ff_complete_many($1)", &[&handles]);
    w.advance_ms(60_000);
    w.reconciles("retention", 0);
    claims.iter().map(|c| c.id).collect()
}

fn lots(s: &mut Session) -> i64 {
    s.value("SELECT count(*) FROM ff_engine.purge", &[])
}

fn purges(w: &mut World, arguments: &str) -> (i32, bool) {
    let (processed, _, errors, remaining) = w.reconcile("retention", arguments);
    assert_eq!(errors, 0);
    (processed, remaining)
}

#[test]
fn e_111_a_pass_takes_as_many_of_a_lot_as_it_may() {
    let mut w = World::new();
    ended(&mut w);
    assert_eq!(lots(&mut w), 3);
    assert_invariants(&mut w);
    w.advance_ms(39_000);
    assert_eq!(purges(&mut w, ""), (0, false));
    w.advance_ms(1_000);
    assert_eq!(purges(&mut w, "max_items => 10"), (10, true));
    assert_eq!(purges(&mut w, "max_items => 145"), (145, true));
    assert_eq!(w.executions(), 95);
    assert_invariants(&mut w);
    assert_eq!(purges(&mut w, ""), (95, false));
    assert_eq!((w.executions(), lots(&mut w)), (0, 0));
}

#[test]
fn e_111_what_is_held_or_lives_again_stays() {
    let mut w = World::new();
    let ids = ended(&mut w);
    w.rows("SELECT * FROM ff_replay_execution($1)", &[&ids[7]]);
    w.advance_ms(40_000);
    let mut other = w.session();
    other.run("BEGIN");
    other.rows(
        "SELECT ff_set_execution_tag($1, 'app.kept', 'yes')",
        &[&ids[120]],
    );
    assert_eq!(purges(&mut w, ""), (248, false));
    assert_eq!(w.executions(), 2);
    assert_eq!(lots(&mut w), 1, "the lot of the one that is held");
    other.run("COMMIT");
    assert_eq!(purges(&mut w, ""), (1, false));
    assert_eq!(lots(&mut w), 0);
    assert!(w.exists(ids[7]) && !w.exists(ids[120]));
    assert_invariants(&mut w);
}

#[test]
fn e_110_a_lot_is_shared_by_namespaces_that_are_purged_apart() {
    let mut w = World::new();
    for namespace in ["a", "b", "a"] {
        let claim = w.claimed(&format!("namespace => '{namespace}', retention => '0'"), "");
        w.complete(&claim.handle, None);
    }
    w.advance_ms(60_000);
    let known = w.executions();
    assert_eq!(purges(&mut w, "namespace => 'a'"), (2, false));
    assert_eq!(w.executions(), known - 2);
    assert_eq!(purges(&mut w, "namespace => 'a'"), (0, false));
    assert_eq!(purges(&mut w, ""), (1, false));
    assert_eq!(lots(&mut w), 0);
}

#[test]
fn e_111_a_lot_that_another_pass_is_at_is_not_waited_for() {
    let mut w = World::new();
    ended(&mut w);
    w.advance_ms(40_000);
    let mut other = w.session();
    other.set_offset_ms(w.offset_ms());
    other.run("BEGIN");
    other.rows("SELECT * FROM ff_reconcile_retention(max_items => 30)", &[]);
    assert_eq!(purges(&mut w, ""), (150, false));
    other.run("ROLLBACK");
    assert_eq!(purges(&mut w, ""), (100, false));
    assert_eq!((w.executions(), lots(&mut w)), (0, 0));
}

#[test]
fn e_111_members_of_a_flow_that_goes_on_are_looked_at_less_and_less() {
    let mut w = World::new();
    let flow = w.flow();
    let ids: Vec<Uuid> = (0..3)
        .map(|_| w.member_with(flow, "retention => '10 s'"))
        .collect();
    let handles: Vec<String> = ids.iter().map(|id| w.take(*id).handle).collect();
    w.rows("SELECT * FROM ff_complete_many($1)", &[&handles]);
    w.advance_ms(60_000);
    w.reconciles("retention", 0);
    let next = |w: &mut World| {
        let last = w.one("SELECT max(due_at) AS at FROM ff_engine.purge", &[]);
        last.instant("at")
    };
    let mut rests = Vec::new();
    for _ in 0..10 {
        let at = next(&mut w);
        w.reconciles("retention", 0);
        assert_eq!(next(&mut w), at, "an early look changes nothing");
        let rest = (at - w.now()).num_seconds();
        rests.push(rest / 60);
        w.advance_ms((rest + 2) * 1_000);
        w.reconciles("retention", 0);
    }
    assert!(rests.is_sorted() && rests[9] >= 59, "{rests:?}");
    assert!(ids.iter().all(|id| w.exists(*id)));
    w.rows("SELECT * FROM ff_seal_flow($1)", &[&flow]);
    w.reconcile("flow_summary", "");
    w.advance_ms(3_601_000);
    w.reconciles("retention", 3);
    assert_eq!(lots(&mut w), 0);
}
