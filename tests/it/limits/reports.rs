//! Reporting usage (§50.4).

use serde_json::{Value, json};
use uuid::Uuid;

use super::{breach, budget, ok, rep, report, status, tokens, used, worker_report};
use crate::support::{Cells, World};

#[test]
fn b_2_soft_and_hard_breach() {
    let mut w = World::new();
    for stripes in [1, 4] {
        let b = tokens(&mut w, 100, 80, &format!("stripes => {stripes}"));
        assert_eq!(rep(&mut w, b, 60), ok());
        assert_eq!(rep(&mut w, b, 25), breach("soft_breach", "tokens", 85, 80));
        assert_eq!(rep(&mut w, b, 50), breach("hard_breach", "tokens", 85, 100));
        let s = status(&mut w, b);
        assert_eq!(s.json("usage"), json!({"tokens": 85}));
        assert_eq!((s.big("breach_count"), s.big("soft_breach_count")), (1, 1));
        assert_eq!(s.text("last_breach_dim"), "tokens");
        assert!(s.maybe_instant("last_breach_at").is_some());
        assert!(s.maybe_instant("breached_at").is_some());
    }
}

#[test]
fn b_3_equality_is_no_breach() {
    let mut w = World::new();
    for stripes in [1, 4] {
        let b = tokens(&mut w, 10, 8, &format!("stripes => {stripes}"));
        assert_eq!(rep(&mut w, b, 5), ok());
        assert_eq!(rep(&mut w, b, 3), ok());
        assert_eq!(rep(&mut w, b, 2), breach("soft_breach", "tokens", 10, 8));
        assert_eq!(rep(&mut w, b, 1), breach("hard_breach", "tokens", 10, 10));
    }
}

#[test]
fn b_4_of_several_dimensions_the_first_that_breaches_rejects_all() {
    let mut w = World::new();
    for stripes in [1, 4] {
        let limits =
            format!("hard_limits => '{{\"tokens\":1000,\"cost\":50}}', stripes => {stripes}");
        let b = budget(&mut w, "'custom', ''", &limits);
        let amounts = json!({"tokens": 100, "cost": 60});
        assert_eq!(
            report(&mut w, b, &amounts, None),
            breach("hard_breach", "cost", 0, 50)
        );
        assert_eq!(used(&mut w, b), 0);
        let both = json!({"tokens": 2000, "cost": 60});
        assert_eq!(
            report(&mut w, b, &both, None),
            breach("hard_breach", "cost", 0, 50)
        );
        assert_eq!(status(&mut w, b).big("breach_count"), 2);
    }
}

#[test]
fn b_5_unlimited_dimensions_count_and_bad_ones_are_refused() {
    let mut w = World::new();
    let b = budget(&mut w, "'custom', ''", "hard_limits => '{\"zero\":0}'");
    for name in ["free", "zero"] {
        assert_eq!(report(&mut w, b, &json!({ name: 1_000_000 }), None), ok());
    }
    let before = w.contents();
    let many: serde_json::Map<String, Value> =
        (0..65).map(|i| (format!("d{i}"), json!(1))).collect();
    for (amounts, rule) in [
        (json!({"1x": 1}), "dimension_name"),
        (json!({ "x".repeat(65): 1 }), "dimension_name"),
        (json!({"tokens": -1}), "amount"),
        (json!({"tokens": 1.5}), "amount"),
        (json!({"tokens": "3"}), "amount"),
        (Value::Object(many), "too_many_dimensions"),
        (json!({"free": i64::MAX}), "overflow"),
        (json!([]), "shape"),
    ] {
        let failure = w.refused(
            "FF136",
            "SELECT * FROM ff_report_usage_admin($1, $2)",
            &[&b, &amounts],
        );
        assert_eq!(failure.says("rule"), rule, "{amounts}");
    }
    let huge = "SELECT * FROM ff_report_usage_admin($1, '{\"tokens\":9223372036854775808}')";
    assert_eq!(w.refused("FF136", huge, &[&b]).says("rule"), "amount");
    for nothing in [
        json!({}),
        json!({"tokens": 0}),
        json!({"tokens": 0, "cost": 0}),
    ] {
        assert_eq!(report(&mut w, b, &nothing, Some("k")), ok());
    }
    assert_eq!(w.contents(), before, "nothing is written");
}

#[test]
fn b_6_a_key_counts_once_per_budget() {
    let mut w = World::new();
    let (b, other) = (
        tokens(&mut w, 100, 0, ""),
        tokens(&mut w, 100, 0, "stripes => 4"),
    );
    let ten = json!({"tokens": 10});
    let again = ("already_applied".to_owned(), None, None, None);
    assert_eq!(report(&mut w, b, &ten, Some("k")), ok());
    assert_eq!(report(&mut w, b, &json!({"tokens": 99}), Some("k")), again);
    assert_eq!(used(&mut w, b), 10);
    assert_eq!(report(&mut w, other, &ten, Some("k")), ok());
    assert_eq!(report(&mut w, other, &ten, Some("k")), again);
    w.advance_ms(86_400_000);
    assert_eq!(report(&mut w, b, &ten, Some("k")), ok(), "its life is over");
    assert_eq!(used(&mut w, b), 20);
    for b in [b, other] {
        let much = json!({"tokens": 95});
        assert_eq!(report(&mut w, b, &much, Some("k2")).0, "hard_breach");
        w.one("SELECT * FROM ff_reset_budget($1)", &[&b]);
        assert_eq!(report(&mut w, b, &much, Some("k2")), ok());
    }
    for key in ["", &"x".repeat(257)] {
        w.refused(
            "FF101",
            "SELECT * FROM ff_report_usage_admin($1, '{\"tokens\":1}', $2)",
            &[&b, &key],
        );
    }
}

#[test]
fn b_8_mode_warn_rejects_nothing() {
    let mut w = World::new();
    let b = budget(
        &mut w,
        "'lane', 'L'",
        "hard_limits => '{\"tokens\":10}', enforcement_mode => 'warn'",
    );
    assert_eq!(rep(&mut w, b, 15), breach("soft_breach", "tokens", 15, 10));
    assert_eq!(used(&mut w, b), 15);
    let s = status(&mut w, b);
    assert_eq!(
        (s.big("breach_count"), s.maybe_instant("breached_at")),
        (1, None)
    );
    let id = w.create("");
    assert_eq!(w.claim("").id, id);
}

#[test]
fn b_9_unknown_budgets_and_rollbacks_leave_nothing() {
    let mut w = World::new();
    let call = "SELECT * FROM ff_report_usage_admin($1, '{\"tokens\":10}', 'k')";
    w.refused("FF004", call, &[&Uuid::new_v4()]);
    for stripes in [1, 4] {
        let b = tokens(&mut w, 100, 0, &format!("stripes => {stripes}"));
        w.run("BEGIN");
        assert_eq!(report(&mut w, b, &json!({"tokens": 10}), Some("k")), ok());
        assert_eq!(used(&mut w, b), 10, "seen by its own transaction");
        w.run("ROLLBACK");
        assert_eq!(used(&mut w, b), 0);
        assert_eq!(
            report(&mut w, b, &json!({"tokens": 10}), Some("k")),
            ok(),
            "the key is free"
        );
    }
}

#[test]
fn b_10_workers_report_by_handle_and_a_lost_lease_does_not_void_the_report() {
    let mut w = World::new();
    let b = tokens(&mut w, 100, 50, "on_hard_limit => 'fail'");
    let lost = w.claimed("", "lease_ttl => '10 s'");
    let answer = |w: &mut World, amount| {
        let mut rows = worker_report(w, &lost.handle, amount, Some(b));
        let (id, answer, enforcement, valid) = rows.remove(0);
        assert_eq!((id, rows.len()), (b, 0));
        (answer, enforcement, valid)
    };
    assert_eq!(answer(&mut w, 45), (ok(), "none".into(), Some(true)));
    let soft = breach("soft_breach", "tokens", 55, 50);
    assert_eq!(answer(&mut w, 10), (soft, "none".into(), Some(true)));
    w.advance_ms(10_000);
    let still = breach("soft_breach", "tokens", 60, 50);
    assert_eq!(answer(&mut w, 5), (still, "none".into(), Some(false)));
    let hard = breach("hard_breach", "tokens", 60, 100);
    assert_eq!(answer(&mut w, 41), (hard, "none".into(), Some(false)));
    assert_eq!(
        w.describe(lost.id).text("lifecycle_phase"),
        "active",
        "not acted upon"
    );
    let keyed = "SELECT outcome FROM ff_report_usage($1, '{\"tokens\":1}', $2, 'k')";
    assert_eq!(w.value::<String>(keyed, &[&lost.handle, &b]), "soft_breach");
    assert_eq!(
        w.value::<String>(keyed, &[&lost.handle, &b]),
        "already_applied"
    );
    w.refused("FF129", "SELECT * FROM ff_report_usage('x', '{}')", &[]);
    w.run("DELETE FROM ff_engine.execution");
    w.refused("FF001", keyed, &[&lost.handle, &b]);
    w.will_break_invariants();
}

#[test]
fn b_11_a_report_without_a_budget_charges_all_that_apply_or_none() {
    let mut w = World::new();
    let lane = budget(&mut w, "'lane', 'L'", "hard_limits => '{\"tokens\":100}'");
    let own = tokens(&mut w, 10, 0, "stripes => 4");
    let mine = w.claimed(&super::with_budget(own), "");
    let all = |w: &mut World, amount| -> Vec<(Uuid, String)> {
        let rows = worker_report(w, &mine.handle, amount, None);
        rows.into_iter()
            .map(|(id, answer, ..)| (id, answer.0))
            .collect()
    };
    let both = |first: &str, second: &str| {
        let mut rows = vec![(lane, first.to_owned()), (own, second.to_owned())];
        rows.sort();
        rows
    };
    assert_eq!(all(&mut w, 10), both("ok", "ok"));
    assert_eq!(all(&mut w, 1), both("not_applied", "hard_breach"));
    assert_eq!((used(&mut w, lane), used(&mut w, own)), (10, 10));
    w.one("SELECT ff_detach_budget($1, 'lane', 'L')", &[&lane]);
    w.one(
        "SELECT ff_detach_budget($1, 'execution', $2)",
        &[&own, &mine.id.to_string()],
    );
    assert!(worker_report(&mut w, &mine.handle, 1, None).is_empty());
}
