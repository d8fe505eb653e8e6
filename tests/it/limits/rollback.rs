//! A rollback undoes every function of the chapter. Without a background worker.

use serde_json::json;

use super::{ask, budget, quota, rep, report, tokens, with_budget};
use crate::rollback::assert_undone;
use crate::support::World;

#[test]
fn a_rollback_leaves_everything_as_before() {
    let mut w = World::without_preload();
    let claim = w.claimed("", "lease_ttl => '1 d'");
    let b = tokens(&mut w, 10, 5, "");
    let spread = tokens(&mut w, 10, 5, "stripes => 4");
    let attached = budget(&mut w, "'lane', 'M'", "");
    let waiting = w.create(&with_budget(b));
    w.one(
        "SELECT * FROM ff_record_spend($1, $2, '{\"tokens\":1}')",
        &[&spread, &waiting],
    );
    report(&mut w, b, &json!({"tokens": 1}), Some("k"));
    w.advance_ms(86_400_000 + 60_000);
    let full = budget(
        &mut w,
        &format!("'execution', '{waiting}'"),
        "hard_limits => '{\"tokens\":1}', on_hard_limit => 'cancel', reset_interval => '1 s'",
    );
    assert_eq!(rep(&mut w, full, 2).0, "hard_breach");
    let q = quota(&mut w, 5, "1 h", 5, "");
    w.one("SELECT ff_attach_quota($1, 'lane', 'M')", &[&q]);
    assert_eq!(ask(&mut w, q, waiting), "admitted");
    w.advance_ms(60_000);
    let handle = &claim.handle;
    let steps = [
        "ff_create_budget('lane', 'L', '{\"tokens\":5}', stripes => 4)".to_owned(),
        format!("ff_set_budget_limits('{spread}', '{{\"tokens\":20,\"a\":1}}', '{{}}')"),
        format!("ff_attach_budget('{b}', 'execution', '{}')", claim.id),
        format!("ff_detach_budget('{attached}', 'lane', 'M')"),
        format!("ff_report_usage('{handle}', '{{\"tokens\":7}}', '{spread}', 'k2')"),
        format!("ff_report_usage('{handle}', '{{\"tokens\":70}}', '{spread}', 'k2')"),
        format!("ff_report_usage_admin('{b}', '{{\"tokens\":7}}')"),
        format!("ff_record_spend('{b}', '{waiting}', '{{\"tokens\":2}}')"),
        format!("ff_release_budget('{spread}', '{waiting}')"),
        format!("ff_enforce_budget('{b}', 'cancel')"),
        format!("ff_reset_budget('{b}')"),
        "ff_create_quota_policy(3, '1 s', 3)".to_owned(),
        format!("ff_set_quota_limits('{q}', 2, '1 h', 7)"),
        format!("ff_attach_quota('{q}', 'execution', '{waiting}')"),
        format!("ff_detach_quota('{q}', 'lane', 'M')"),
        format!("ff_check_admission('{q}', '{}')", claim.id),
        format!("ff_release_admission('{q}', '{waiting}')"),
        "ff_reconcile_budget_reset()".to_owned(),
        "ff_reconcile_budget_enforce()".to_owned(),
        "ff_reconcile_budget_counters()".to_owned(),
        "ff_reconcile_quota_counters()".to_owned(),
    ];
    assert_undone(&mut w, "50", &steps, &[]);
}
