//! Attributed spend, and taking it back (§50.4).

use postgres::Row;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{answer, breach, budget, ok, report, status, tokens, used};
use crate::support::{Cells, World};

fn spend(w: &mut World, b: Uuid, e: Uuid, amounts: &Value, key: Option<&str>) -> super::Answer {
    let call = "SELECT * FROM ff_record_spend($1, $2, $3, $4)";
    answer(&w.one(call, &[&b, &e, amounts, &key]))
}

/// The ledger of an execution: dimension and amount.
fn ledger(w: &mut World, b: Uuid, e: Uuid) -> Vec<(String, i64)> {
    w.rows(
        "SELECT * FROM ff_engine.budget_ledger WHERE budget_id = $1 AND execution_id = $2 ORDER BY dimension",
        &[&b, &e],
    )
    .iter()
    .map(|row| (row.text("dimension"), row.big("amount")))
    .collect()
}

fn release(w: &mut World, b: Uuid, e: Uuid) -> (String, Value) {
    let row: Row = w.one("SELECT * FROM ff_release_budget($1, $2)", &[&b, &e]);
    (row.text("outcome"), row.json("released"))
}

#[test]
fn b_19_spend_is_attributed_when_it_is_applied() {
    let mut w = World::new();
    let e = w.create("");
    for stripes in [1, 4] {
        let b = budget(&mut w, "'custom', ''", &format!("stripes => {stripes}"));
        let amounts = json!({"tokens": 10, "cost": 20});
        assert_eq!(spend(&mut w, b, e, &amounts, Some("k")), ok());
        let both = [("cost".to_owned(), 20), ("tokens".to_owned(), 10)];
        assert_eq!(ledger(&mut w, b, e), both);
        assert_eq!(
            spend(&mut w, b, e, &amounts, Some("k")).0,
            "already_applied"
        );
        assert_eq!(ledger(&mut w, b, e), both);
        let soft = tokens(&mut w, 100, 50, &format!("stripes => {stripes}"));
        let sixty = json!({"tokens": 60});
        assert_eq!(
            spend(&mut w, soft, e, &sixty, None),
            breach("soft_breach", "tokens", 60, 50)
        );
        assert_eq!(ledger(&mut w, soft, e), [("tokens".to_owned(), 60)]);
        let hard = tokens(&mut w, 100, 0, &format!("stripes => {stripes}"));
        assert_eq!(spend(&mut w, hard, e, &json!({"tokens": 40}), None), ok());
        let eighty = json!({"tokens": 80});
        assert_eq!(
            spend(&mut w, hard, e, &eighty, None),
            breach("hard_breach", "tokens", 40, 100)
        );
        assert_eq!(ledger(&mut w, hard, e), [("tokens".to_owned(), 40)]);
    }
    let b = tokens(&mut w, 1, 0, "");
    w.refused(
        "FF001",
        "SELECT * FROM ff_record_spend($1, $2, '{}')",
        &[&b, &Uuid::new_v4()],
    );
    w.refused(
        "FF004",
        "SELECT * FROM ff_record_spend($1, $2, '{}')",
        &[&Uuid::new_v4(), &e],
    );
    w.refused(
        "FF101",
        "SELECT * FROM ff_record_spend($1, $2, NULL)",
        &[&b, &e],
    );
}

#[test]
fn b_20_release_takes_back_exactly_what_the_execution_spent() {
    let mut w = World::new();
    let (e1, e2) = (w.create(""), w.create(""));
    for stripes in [1, 16] {
        let b = tokens(&mut w, 20, 0, &format!("stripes => {stripes}"));
        for n in [3, 7, 2] {
            assert_eq!(spend(&mut w, b, e1, &json!({ "tokens": n }), None), ok());
        }
        assert_eq!(spend(&mut w, b, e2, &json!({"tokens": 8}), None), ok());
        assert_eq!(
            report(&mut w, b, &json!({"tokens": 1}), None).0,
            "hard_breach"
        );
        assert!(status(&mut w, b).maybe_instant("breached_at").is_some());
        assert_eq!(
            release(&mut w, b, e1),
            ("released".into(), json!({"tokens": 12}))
        );
        assert_eq!(used(&mut w, b), 8);
        assert_eq!(status(&mut w, b).maybe_instant("breached_at"), None);
        assert_eq!(ledger(&mut w, b, e2), [("tokens".to_owned(), 8)]);
        let nothing = ("nothing_to_release".to_owned(), json!({}));
        assert_eq!(release(&mut w, b, e1), nothing);
        assert_eq!(release(&mut w, b, Uuid::new_v4()), nothing);
        assert_eq!(
            spend(&mut w, b, e1, &json!({"tokens": 12}), None),
            ok(),
            "there is room again"
        );
        assert_eq!(
            spend(&mut w, b, e1, &json!({"tokens": 1}), None).0,
            "hard_breach"
        );
        w.one("SELECT * FROM ff_reset_budget($1)", &[&b]);
        report(&mut w, b, &json!({"tokens": 4}), None);
        assert_eq!(release(&mut w, b, e2), ("released".into(), json!({})));
        assert_eq!(used(&mut w, b), 4, "the reset has zeroed it already");
        assert!(ledger(&mut w, b, e2).is_empty());
    }
    w.refused(
        "FF004",
        "SELECT * FROM ff_release_budget($1, $2)",
        &[&Uuid::new_v4(), &e1],
    );
}

#[test]
fn what_belongs_to_an_execution_goes_with_it() {
    let mut w = World::without_preload();
    let b = tokens(&mut w, 20, 0, "");
    let c = w.claimed(&format!("{}, retention => '0'", super::with_budget(b)), "");
    spend(&mut w, b, c.id, &json!({"tokens": 3}), None);
    w.complete(&c.handle, None);
    w.reconciles("retention", 1);
    assert!(ledger(&mut w, b, c.id).is_empty());
    assert_eq!(
        w.value::<i64>("SELECT count(*) FROM ff_engine.attachment", &[]),
        0
    );
    assert_eq!(used(&mut w, b), 3, "what was used stays used");
}
