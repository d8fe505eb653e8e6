//! Conditions by example and at random.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use uuid::Uuid;

use super::*;
use crate::model::words::Effect;

fn rule_of(error: Error) -> (String, String) {
    let text = |key: &str| {
        let value = error.detail_value(key).unwrap();
        value.as_str().unwrap().to_owned()
    };
    assert_eq!(error.kind(), Kind::InvalidResumeCondition);
    (text("rule"), text("path"))
}

fn refused(document: Value) -> (String, String) {
    rule_of(Condition::parse(&document).unwrap_err())
}

fn leaf() -> Value {
    json!({"type": "signal", "waitpoint": "a"})
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(
        leaf(),
        |inner, _| json!({"type": "all_of", "members": [inner]}),
    )
}

#[test]
fn s_6_documents_that_break_a_rule() {
    let count = |more: Value| {
        let mut document = json!({"type": "count", "n": 2, "distinct": "signals"});
        for (key, value) in more.as_object().unwrap() {
            document[key] = value.clone();
        }
        document
    };
    let named = |name: &str| json!({"type": "signal", "match": name});
    for (document, rule) in [
        (json!([]), "not_an_object"),
        (json!(null), "not_an_object"),
        (json!({}), "unknown_type"),
        (json!({"type": "xor"}), "unknown_type"),
        (json!({"type": 1}), "wrong_type"),
        (json!({"type": "signal", "key": "a"}), "unknown_key"),
        (json!({"type": "signal", "waitpoint": 1}), "wrong_type"),
        (
            json!({"type": "signal", "match": {"one_of": []}}),
            "wrong_type",
        ),
        (
            json!({"type": "signal", "match": {"one_of": ["a", null]}}),
            "wrong_type",
        ),
        (
            json!({"type": "signal", "match": {"any": ["a"]}}),
            "unknown_key",
        ),
        (json!({"type": "signal", "v": 2}), "unsupported_version"),
        (json!({"type": "signal", "v": "1"}), "unsupported_version"),
        (json!({"type": "all_of", "members": []}), "members_empty"),
        (json!({"type": "any_of"}), "members_empty"),
        (json!({"type": "any_of", "members": {}}), "wrong_type"),
        (count(json!({"n": 0})), "count_n_zero"),
        (count(json!({"n": -1})), "count_n_zero"),
        (count(json!({"n": "2"})), "wrong_type"),
        (count(json!({"n": 99_999_999_999_i64})), "wrong_type"),
        (count(json!({"distinct": "names"})), "wrong_type"),
        (count(json!({"waitpoints": []})), "count_waitpoints_empty"),
        (
            count(json!({"n": 3, "distinct": "waitpoints", "waitpoints": ["a", "b", "a"]})),
            "count_exceeds_waitpoint_set",
        ),
        (nested(5), "depth_exceeded"),
        (named(""), "empty_signal_name"),
        (named(" x"), "bad_signal_name"),
        (named("__x"), "bad_signal_name"),
        (named("a\nb"), "bad_signal_name"),
        (named(&"x".repeat(129)), "bad_signal_name"),
        (
            json!({"type": "all_of", "members": vec![leaf(); 128]}),
            "too_large",
        ),
        (
            json!({"type": "operator_only", "members": []}),
            "unknown_key",
        ),
    ] {
        assert_eq!(refused(document.clone()).0, rule, "{document}");
    }
    let below = json!({"type": "all_of", "members": [leaf(), {"type": "any_of", "members": [leaf(), leaf(), {"type": "operator_only"}]}]});
    assert_eq!(
        refused(below),
        (
            "leaf_not_allowed_in_composite".to_owned(),
            "members[1].members[2]".to_owned()
        )
    );
    let names: Vec<String> = (0..257).map(|i| format!("n{i}")).collect();
    assert_eq!(
        refused(json!({"type": "signal", "match": {"one_of": names}})).0,
        "too_large"
    );
    assert!(Condition::parse(&nested(4)).is_ok());
    assert!(Condition::parse(&json!({"type": "all_of", "members": vec![leaf(); 127]})).is_ok());
    let many = json!({"type": "count", "n": 3, "distinct": "signals", "waitpoints": ["a", "b"]});
    assert!(Condition::parse(&many).is_ok());
}

#[test]
fn s_7_keys_and_bindings_must_fit() {
    let resolve = |document: Value, keys: &[&str]| {
        let keys: Vec<String> = keys.iter().map(|k| (*k).to_owned()).collect();
        let mut condition = Condition::parse(&document).unwrap();
        condition
            .resolve(&keys, true)
            .map(|()| condition)
            .map_err(|e| rule_of(e).0)
    };
    let any = json!({"type": "any_of", "members": [
        {"type": "signal", "waitpoint": "b"},
        {"type": "count", "n": 1, "distinct": "waitpoints", "waitpoints": ["a", "b", "a"]},
    ]});
    let parsed = Condition::parse(&any).unwrap();
    assert_eq!(parsed.keys(), ["b", "a"]);
    assert!(resolve(any.clone(), &["a", "b"]).is_ok());
    let rule = |result: std::result::Result<Condition, String>| result.unwrap_err();
    assert_eq!(
        rule(resolve(any.clone(), &["a", "b", "c"])),
        "extra_binding_not_referenced_by_condition"
    );
    assert_eq!(
        rule(resolve(any, &["a"])),
        "referenced_waitpoint_key_missing_binding"
    );
    assert_eq!(rule(resolve(leaf(), &["b"])), "waitpoint_key_mismatch");
    let open = json!({"type": "signal"});
    assert_eq!(
        rule(resolve(open.clone(), &["a", "b"])),
        "referenced_waitpoint_key_missing_binding"
    );
    let named = resolve(open, &["k"]).unwrap();
    assert_eq!(
        named.json(),
        json!({"type": "signal", "waitpoint": "k", "match": null, "v": 1})
    );
    let count = json!({"type": "count", "n": 3, "distinct": "waitpoints"});
    assert_eq!(
        rule(resolve(count.clone(), &["a", "b"])),
        "count_exceeds_waitpoint_set"
    );
    assert_eq!(
        resolve(count, &["a", "b", "c"]).unwrap().keys(),
        ["a", "b", "c"]
    );
    assert!(resolve(json!({"type": "operator_only"}), &["x"]).is_ok());
}

#[test]
fn s_46_names_that_may_help_at_a_waitpoint() {
    let of = |document: Value, key: &str| Condition::parse(&document).unwrap().required_names(key);
    let sig = |key: &str, names: Value| json!({"type": "signal", "waitpoint": key, "match": names});
    let all = json!({"type": "all_of", "members": [
        sig("a", json!("y")), sig("b", json!("z")), sig("a", json!({"one_of": ["x", "y"]})),
    ]});
    assert_eq!(of(all.clone(), "a"), ["y", "x"]);
    assert_eq!(of(all, "b"), ["z"]);
    let wild = json!({"type": "any_of", "members": [sig("a", json!("x")), sig("a", Value::Null)]});
    assert!(of(wild, "a").is_empty());
    assert_eq!(
        of(json!({"type": "operator_only"}), "a"),
        ["__operator_only__"]
    );
    assert_eq!(
        of(json!({"type": "timeout_only"}), "a"),
        ["__timeout_only__"]
    );
}

/// A signal with the source it comes from.
#[derive(Clone, Debug)]
struct Sent {
    waitpoint: u128,
    name: &'static str,
    source: u8,
}

const KEYS: [&str; 3] = ["a", "b", "c"];

/// A condition at work, with the sources a server would look up.
struct Desk {
    condition: Condition,
    progress: Progress,
    sources: BTreeSet<(usize, u8)>,
}

impl Desk {
    fn new(condition: &Condition) -> Self {
        Desk {
            condition: condition.clone(),
            progress: condition.fresh(),
            sources: BTreeSet::new(),
        }
    }

    fn deliver(&mut self, sent: &Sent) -> Effect {
        let signal = Incoming {
            waitpoint: Uuid::from_u128(sent.waitpoint),
            key: KEYS[sent.waitpoint as usize],
            name: sent.name,
        };
        let asked = self.condition.source_nodes(&signal);
        let known: Vec<usize> = asked
            .iter()
            .copied()
            .filter(|i| self.sources.contains(&(*i, sent.source)))
            .collect();
        let verdict = self.condition.record(&mut self.progress, &signal, &known);
        assert!(verdict.sources.iter().all(|i| asked.contains(i)));
        for i in &verdict.sources {
            self.sources.insert((*i, sent.source));
        }
        verdict.effect
    }

    fn holds(&self) -> bool {
        self.condition.holds(&self.progress)
    }
}

#[test]
fn s_20_counts_do_not_share_their_satisfiers() {
    let count =
        |key: &str| json!({"type": "count", "n": 2, "distinct": "sources", "waitpoints": [key]});
    let document = json!({"type": "all_of", "members": [count("a"), count("b")]});
    let mut desk = Desk::new(&Condition::parse(&document).unwrap());
    let sent = |waitpoint, source| Sent {
        waitpoint,
        name: "x",
        source,
    };
    assert_eq!(desk.deliver(&sent(0, 1)), Effect::Appended);
    assert_eq!(desk.deliver(&sent(0, 1)), Effect::AppendedDuplicate);
    assert_eq!(desk.deliver(&sent(0, 2)), Effect::Appended);
    assert_eq!(desk.deliver(&sent(1, 1)), Effect::Appended);
    assert_eq!(desk.deliver(&sent(2, 1)), Effect::NotInCondition);
    assert!(!desk.holds());
    assert_eq!(desk.deliver(&sent(1, 2)), Effect::Satisfied);
    let shown = desk.condition.shown(&desk.progress);
    assert_eq!(shown["members"][0]["have"], 2);
    assert_eq!(shown["satisfied"], true);
}

#[test]
fn s_39_what_the_open_waitpoints_can_still_do() {
    let document = |kind: &str| {
        let sig = |key: &str| json!({"type": "signal", "waitpoint": key});
        json!({"type": kind, "members": [sig("a"), sig("b")]})
    };
    let open = |keys: &[u128]| -> Vec<(Uuid, String)> {
        let key = |k: &u128| (Uuid::from_u128(*k), KEYS[*k as usize].to_owned());
        keys.iter().map(key).collect()
    };
    let mut all = Desk::new(&Condition::parse(&document("all_of")).unwrap());
    let any = Desk::new(&Condition::parse(&document("any_of")).unwrap());
    assert!(!all.condition.satisfiable(&all.progress, &open(&[1])));
    assert!(any.condition.satisfiable(&any.progress, &open(&[1])));
    all.deliver(&Sent {
        waitpoint: 0,
        name: "x",
        source: 0,
    });
    assert!(all.condition.satisfiable(&all.progress, &open(&[1])));
    let count =
        json!({"type": "count", "n": 2, "distinct": "waitpoints", "waitpoints": ["a", "b"]});
    let mut count = Desk::new(&Condition::parse(&count).unwrap());
    count.deliver(&Sent {
        waitpoint: 0,
        name: "x",
        source: 0,
    });
    assert!(!count.condition.satisfiable(&count.progress, &open(&[0])));
    assert!(count.condition.satisfiable(&count.progress, &open(&[0, 1])));
}

fn names() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!("x")),
        Just(json!({"one_of": ["x", "y"]})),
    ]
}

fn tree() -> impl Strategy<Value = Value> {
    let signal = (0usize..3, names())
        .prop_map(|(k, m)| json!({"type": "signal", "waitpoint": KEYS[k], "match": m}));
    let count = (
        1u32..4,
        prop::sample::select(vec!["waitpoints", "signals", "sources"]),
        prop::sample::subsequence(KEYS.to_vec(), 1..=3),
        names(),
    )
        .prop_map(|(n, distinct, keys, m)| {
            let n = if distinct == "waitpoints" {
                n.min(keys.len() as u32)
            } else {
                n
            };
            json!({"type": "count", "n": n, "distinct": distinct, "waitpoints": keys, "match": m})
        });
    prop_oneof![signal, count].prop_recursive(3, 24, 4, |inner| {
        (prop::bool::ANY, prop::collection::vec(inner, 1..4)).prop_map(|(all, members)| {
            json!({"type": if all { "all_of" } else { "any_of" }, "members": members})
        })
    })
}

fn signals() -> impl Strategy<Value = Vec<Sent>> {
    let sent = (0u128..3, prop::sample::select(vec!["x", "y", "z"]), 0u8..3).prop_map(
        |(waitpoint, name, source)| Sent {
            waitpoint,
            name,
            source,
        },
    );
    prop::collection::vec(sent, 0..12)
}

proptest! {
    #[test]
    fn the_order_of_signals_does_not_change_the_verdict(
        document in tree(), (sent, shuffled) in signals().prop_flat_map(|s| (Just(s.clone()), Just(s).prop_shuffle())),
    ) {
        let condition = Condition::parse(&document).unwrap();
        let (mut one, mut other) = (Desk::new(&condition), Desk::new(&condition));
        sent.iter().for_each(|s| { one.deliver(s); });
        shuffled.iter().for_each(|s| { other.deliver(s); });
        prop_assert_eq!(one.holds(), other.holds());
        prop_assert_eq!(one.sources, other.sources);
    }

    #[test]
    fn a_signal_never_takes_anything_back(document in tree(), sent in signals()) {
        let condition = Condition::parse(&document).unwrap();
        let mut desk = Desk::new(&condition);
        let open: Vec<_> = (0u128..3).map(|k| (Uuid::from_u128(k), KEYS[k as usize].to_owned())).collect();
        for s in &sent {
            let (held, before) = (desk.holds(), desk.progress.clone());
            let effect = desk.deliver(s);
            prop_assert!(!held || desk.holds());
            let gained = before != desk.progress;
            prop_assert_eq!(gained, matches!(effect, Effect::Appended | Effect::Satisfied));
            prop_assert_eq!(effect == Effect::Satisfied, gained && desk.holds());
            prop_assert!(condition.satisfiable(&desk.progress, &open));
            prop_assert_eq!(condition.satisfiable(&desk.progress, &[]), desk.holds());
        }
    }

    #[test]
    fn stored_forms_read_back(document in tree(), sent in signals()) {
        let condition = Condition::parse(&document).unwrap();
        prop_assert_eq!(&Condition::from_stored(&condition.json()).unwrap(), &condition);
        let mut desk = Desk::new(&condition);
        sent.iter().for_each(|s| { desk.deliver(s); });
        let stored = desk.progress.json();
        prop_assert_eq!(&Progress::from_stored(&stored).unwrap(), &desk.progress);
        let shown = condition.shown(&desk.progress);
        prop_assert_eq!(shown["satisfied"].as_bool(), Some(desk.holds()));
    }

    #[test]
    fn any_document_is_answered(document in "\\PC{0,80}") {
        let value = serde_json::from_str(&document).unwrap_or(Value::String(document));
        let _ = Condition::parse(&value);
    }
}
