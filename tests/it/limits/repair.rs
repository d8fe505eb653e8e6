//! Repair of counters and slots (§50.10). Without a background worker, which would repair by itself.

use std::collections::BTreeSet;

use serde_json::json;
use uuid::Uuid;

use super::{active, ask, ok, quota, rep, report, status, tokens, used};
use crate::support::{Cells, World};

#[test]
fn b_35_orphaned_slots_are_freed_and_missing_rows_restored() {
    let mut w = World::without_preload();
    let q = quota(&mut w, 3, "1 h", 3, "");
    let ids = w.create_several(3, "");
    for id in &ids {
        assert_eq!(ask(&mut w, q, *id), "admitted");
    }
    w.reconciles("quota_counters", 0);
    w.run(&format!(
        "DELETE FROM ff_engine.ready WHERE execution_id = '{}'",
        ids[0]
    ));
    w.run(&format!(
        "DELETE FROM ff_engine.execution WHERE execution_id = '{}'",
        ids[0]
    ));
    w.one("SELECT * FROM ff_cancel_execution($1, 'x')", &[&ids[1]]);
    w.advance_ms(60_000);
    w.reconciles("quota_counters", 3);
    assert_eq!(active(&mut w, q), 0);
    w.reconciles("quota_counters", 0);
    let kept = w.create("");
    w.one("SELECT ff_set_quota_limits($1, 5, '1 h', 5)", &[&q]);
    assert_eq!(ask(&mut w, q, kept), "admitted");
    let other = quota(&mut w, 2, "1 h", 2, "");
    w.run(&format!(
        "DELETE FROM ff_engine.quota_slot WHERE quota_policy_id = '{q}' AND execution_id IS NULL AND number > 3;
         DELETE FROM ff_engine.quota_token WHERE quota_policy_id = '{q}' AND execution_id IS NULL;
         INSERT INTO ff_engine.quota_slot VALUES ('{other}', 7)"
    ));
    w.reconciles("quota_counters", 2);
    let rows = |w: &mut World, table: &str, id: Uuid| -> i64 {
        w.value(
            &format!("SELECT count(*) FROM ff_engine.{table} WHERE quota_policy_id = $1"),
            &[&id],
        )
    };
    assert_eq!(
        (
            rows(&mut w, "quota_slot", q),
            rows(&mut w, "quota_token", q)
        ),
        (5, 5)
    );
    assert_eq!(rows(&mut w, "quota_slot", other), 2);
    assert_eq!(
        (active(&mut w, q), ask(&mut w, q, kept)),
        (1, "already_admitted".into())
    );
    w.reconciles("quota_counters", 0);
    w.will_break_invariants();
}

#[test]
fn b_35_one_policy_that_fails_does_not_stop_the_others() {
    let mut w = World::without_preload();
    let bad = quota(&mut w, 0, "0", 2, "");
    let good = quota(&mut w, 0, "0", 2, "");
    w.run("CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'broken'; END $$");
    w.run(&format!(
        "DELETE FROM ff_engine.quota_slot WHERE number = 2;
         CREATE TRIGGER refuse BEFORE INSERT ON ff_engine.quota_slot FOR EACH ROW
            WHEN (NEW.quota_policy_id = '{bad}') EXECUTE FUNCTION public.refuse()"
    ));
    assert_eq!(w.reconcile("quota_counters", ""), (1, 0, 1, false));
    let slots = "SELECT count(*) FROM ff_engine.quota_slot WHERE quota_policy_id = $1";
    assert_eq!(w.value::<i64>(slots, &[&good]), 2);
    assert_eq!(w.value::<i64>(slots, &[&bad]), 1, "left as it is");
}

#[test]
fn a_spread_limit_is_dealt_out_anew_when_its_parts_contradict_it() {
    let mut w = World::without_preload();
    let b = tokens(&mut w, 100, 0, "stripes => 4");
    rep(&mut w, b, 30);
    w.reconciles("budget_counters", 0);
    w.run("UPDATE ff_engine.budget_pool SET unallotted = unallotted + 50");
    w.reconciles("budget_counters", 1);
    w.reconciles("budget_counters", 0);
    assert_eq!(used(&mut w, b), 30);
    assert_eq!(rep(&mut w, b, 71).0, "hard_breach");
    assert_eq!(rep(&mut w, b, 70), ok());
}

#[test]
fn marks_follow_the_counters_and_lapsed_keys_go() {
    let mut w = World::without_preload();
    let b = tokens(&mut w, 10, 0, "");
    rep(&mut w, b, 8);
    w.run("UPDATE ff_engine.budget_usage SET used = 12");
    w.reconciles("budget_counters", 1);
    assert!(status(&mut w, b).maybe_instant("breached_at").is_some());
    w.run("UPDATE ff_engine.budget_usage SET used = 9");
    w.reconciles("budget_counters", 1);
    assert_eq!(status(&mut w, b).maybe_instant("breached_at"), None);
    report(&mut w, b, &json!({"tokens": 1}), Some("k"));
    w.advance_ms(86_400_000);
    w.reconciles("budget_counters", 1);
    assert_eq!(
        w.value::<i64>("SELECT count(*) FROM ff_engine.budget_dedup", &[]),
        0
    );
    let bad = tokens(&mut w, 10, 0, "stripes => 2");
    w.run(&format!(
        "UPDATE ff_engine.budget SET hard_limits = '{{\"tokens\":\"x\"}}' WHERE budget_id = '{bad}'"
    ));
    w.run(&format!(
        "UPDATE ff_engine.budget_usage SET used = 12 WHERE budget_id = '{b}'"
    ));
    assert_eq!(w.reconcile("budget_counters", ""), (1, 0, 1, false));
    let limits: BTreeSet<String> = w
        .rows("SELECT hard_limits::text AS l FROM ff_engine.budget", &[])
        .iter()
        .map(|r| r.text("l"))
        .collect();
    assert!(
        limits.contains("{\"tokens\": \"x\"}"),
        "left exactly as it is"
    );
    w.will_break_invariants();
}
