//! Defining budgets and reading them (§50.3, §50.7).

use serde_json::json;
use uuid::Uuid;

use super::{budget, rep, status, tokens};
use crate::support::{Cells, World};

#[test]
fn b_1_create_and_read_a_budget() {
    let mut w = World::new();
    let id = Uuid::new_v4();
    let call = "SELECT * FROM ff_create_budget('lane', 'L', $1, $2, budget_id => $3)";
    let (hard, soft) = (json!({"tokens": 100, "cost": 0}), json!({"tokens": 80}));
    let row = w.one(call, &[&hard, &soft, &id]);
    assert_eq!(
        (row.text("outcome"), row.uuid("budget_id")),
        ("created".into(), id)
    );
    assert_eq!(row.maybe_instant("next_reset_at"), None);
    let row = w.one(call, &[&json!({"tokens": 5}), &json!({}), &id]);
    assert_eq!(row.text("outcome"), "already_satisfied");
    let s = status(&mut w, id);
    assert_eq!(
        (s.text("scope_type"), s.text("scope_id")),
        ("lane".into(), "L".into())
    );
    assert_eq!(s.text("enforcement_mode"), "strict");
    assert_eq!(
        s.json("hard_limits"),
        json!({"tokens": 100}),
        "unchanged, and zero is no limit"
    );
    assert_eq!(s.json("soft_limits"), json!({"tokens": 80}));
    assert_eq!((s.big("breach_count"), s.big("soft_breach_count")), (0, 0));
    assert_eq!(s.json("usage"), json!({}));
    assert_eq!(s.maybe_instant("next_reset_at"), None);
    assert_eq!((s.big("period"), s.big("reset_count")), (1, 0));
    let spread = tokens(&mut w, 100, 0, "stripes => 16");
    assert_eq!(
        status(&mut w, spread).json("usage"),
        json!({}),
        "nothing is reported yet"
    );
    w.refused(
        "FF004",
        "SELECT * FROM ff_get_budget_status($1)",
        &[&Uuid::new_v4()],
    );
}

#[test]
fn b_1_a_definition_that_says_nothing_sensible_is_refused() {
    let mut w = World::new();
    let before = w.contents();
    let nobody = Uuid::new_v4();
    for scope in [
        format!("'flow', '{nobody}'"),
        format!("'execution', '{nobody}'"),
        "'execution', 'x'".into(),
        "'lane', ''".into(),
        "'namespace', ''".into(),
        "'global', 'x'".into(),
        "'everything', ''".into(),
    ] {
        w.refused(
            "FF117",
            &format!("SELECT * FROM ff_create_budget({scope})"),
            &[],
        );
    }
    for (more, rule) in [
        ("enforcement_mode => 'x'", "word"),
        ("on_hard_limit => 'x'", "word"),
        ("on_soft_limit => 'x'", "word"),
        ("hard_limits => '{\"tokens\":-1}'", "amount"),
        ("soft_limits => '[]'", "shape"),
        ("stripes => 0", "stripes"),
        ("stripes => 65", "stripes"),
        ("reset_interval => '0'", "interval"),
        ("reset_interval => '-1 day'", "interval"),
        ("reset_anchor => 'infinity'", "reset_anchor"),
    ] {
        let call = format!("SELECT * FROM ff_create_budget('custom', '', {more})");
        assert_eq!(w.refused("FF136", &call, &[]).says("rule"), rule, "{more}");
    }
    assert_eq!(w.contents(), before);
}

#[test]
fn b_21_usage_and_limits_are_read_per_dimension() {
    let mut w = World::new();
    let b = budget(
        &mut w,
        "'custom', 'mine'",
        "hard_limits => '{\"tokens\":10,\"b\":5}', soft_limits => '{\"Z\":3}'",
    );
    rep(&mut w, b, 4);
    super::report(&mut w, b, &json!({"free": 7}), None);
    let rows: Vec<(String, i64, Option<i64>, Option<i64>)> = w
        .rows("SELECT * FROM ff_read_budget_usage_and_limits($1)", &[&b])
        .iter()
        .map(|r| {
            (
                r.text("dimension"),
                r.big("used"),
                r.get("hard_limit"),
                r.get("soft_limit"),
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            ("Z".into(), 0, None, Some(3)),
            ("b".into(), 0, Some(5), None),
            ("free".into(), 7, None, None),
            ("tokens".into(), 4, Some(10), None),
        ]
    );
    let nobody = Uuid::new_v4();
    assert!(
        w.rows(
            "SELECT * FROM ff_read_budget_usage_and_limits($1)",
            &[&nobody]
        )
        .is_empty()
    );
    assert!(
        w.rows("SELECT * FROM ff_list_budget_attachments($1)", &[&nobody])
            .is_empty()
    );
}

#[test]
fn budgets_are_listed_page_by_page_and_by_scope() {
    let mut w = World::new();
    let mut all: Vec<Uuid> = (0..3).map(|_| tokens(&mut w, 1, 0, "")).collect();
    let lane = budget(&mut w, "'lane', 'L'", "");
    all.push(lane);
    rep(&mut w, all[0], 2);
    let list = |w: &mut World, arguments: &str| -> (Vec<Uuid>, bool) {
        let rows = w.rows(&format!("SELECT * FROM ff_list_budgets({arguments})"), &[]);
        let more = rows.first().is_some_and(|r| r.flag("has_more"));
        (rows.iter().map(|r| r.uuid("budget_id")).collect(), more)
    };
    assert_eq!(list(&mut w, ""), (all.clone(), false));
    assert_eq!(list(&mut w, "max_items => 2"), (all[..2].to_vec(), true));
    let after = format!("after => '{}', max_items => 2", all[1]);
    assert_eq!(list(&mut w, &after), (all[2..].to_vec(), false));
    assert_eq!(
        list(&mut w, "scope_type => 'lane', scope_id => 'L'").0,
        [lane]
    );
    assert_eq!(list(&mut w, "breached => true").0, [all[0]]);
    assert_eq!(list(&mut w, "max_items => 0").0, [] as [Uuid; 0]);
    w.refused(
        "FF101",
        "SELECT * FROM ff_list_budgets(max_items => -1)",
        &[],
    );
}

#[test]
fn attaching_and_detaching_answer_in_words() {
    let mut w = World::new();
    let b = tokens(&mut w, 1, 0, "");
    let e = w.create("");
    let call = |verb: &str, kind: &str, id: &str| {
        format!("SELECT ff_{verb}_budget('{b}', '{kind}', '{id}')")
    };
    for (kind, id) in [
        ("execution", e.to_string().to_uppercase()),
        ("lane", "L".into()),
        ("namespace", "default".into()),
        ("global", String::new()),
    ] {
        for (verb, word) in [
            ("attach", "attached"),
            ("attach", "already_attached"),
            ("detach", "detached"),
            ("detach", "not_attached"),
            ("attach", "attached"),
        ] {
            let said: String = w.value(&call(verb, kind, &id), &[]);
            assert_eq!(said, word, "{verb} {kind}");
        }
    }
    let attached = w.rows("SELECT * FROM ff_list_budget_attachments($1)", &[&b]);
    let kinds: Vec<String> = attached.iter().map(|r| r.text("target_type")).collect();
    assert_eq!(kinds, ["execution", "global", "lane", "namespace"]);
    assert_eq!(attached[0].text("target_id"), e.to_string());
    let nobody = Uuid::new_v4();
    w.refused(
        "FF001",
        &call("attach", "execution", &nobody.to_string()),
        &[],
    );
    w.refused("FF117", &call("attach", "custom", "x"), &[]);
    w.refused(
        "FF004",
        "SELECT ff_attach_budget($1, 'global', '')",
        &[&nobody],
    );
    w.refused(
        "FF004",
        "SELECT ff_set_budget_limits($1, '{}', '{}')",
        &[&nobody],
    );
    w.refused("FF101", "SELECT ff_attach_budget($1, NULL, '')", &[&b]);
}
