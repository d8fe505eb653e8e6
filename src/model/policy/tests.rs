//! What the policy document accepts, refuses and stores.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{Backoff, Policy, RetryPolicy, TimeoutBehavior};
use proptest::prelude::*;
use serde_json::{Value, json};

const KEYS: [&str; 15] = [
    "priority",
    "delay_until",
    "retry_policy",
    "timeout_policy",
    "max_reclaim_count",
    "max_replay_count",
    "suspension_policy",
    "fallback_policy",
    "budget_ids",
    "quota_policy_id",
    "routing_requirements",
    "dedup_window_ms",
    "stream_policy",
    "max_signals_per_execution",
    "retention_ms",
];

const ID: &str = "018f3c7e-0000-8a07-8000-0123456789ab";

/// Asserts that the document is refused at the path by the rule.
fn refused(value: Value, path: &str, rule: &str) {
    let error = Policy::parse(&value).unwrap_err();
    assert_eq!(error.kind().sqlstate(), "FF104", "{value}");
    let expected = json!({"kind": "invalid_policy", "path": path, "rule": rule});
    assert_eq!(error.detail(), expected.to_string(), "{value}");
}

/// A document with every member in use.
fn full() -> Value {
    json!({
        "priority": -5,
        "delay_until": 1_795_264_496_123i64,
        "retry_policy": {
            "max_retries": 1_000_000,
            "backoff": {
                "type": "exponential", "initial_delay_ms": 0, "max_delay_ms": 5,
                "multiplier": 1.5, "jitter": true,
            },
            "retryable_categories": ["io"],
        },
        "timeout_policy": {
            "attempt_timeout_ms": 1, "execution_deadline_ms": 2, "max_reclaim_count": 0,
        },
        "max_reclaim_count": 7,
        "max_replay_count": 0,
        "suspension_policy": {"default_timeout_ms": 1, "timeout_behavior": "escalate"},
        "fallback_policy": {"tiers": [
            {"provider": "p", "model": "m", "timeout_ms": 3}, {"provider": "q", "model": "n"},
        ]},
        "budget_ids": [ID],
        "quota_policy_id": ID,
        "routing_requirements": {
            "required_capabilities": ["cuda", "gpu"], "preferred_locality": "eu",
            "isolation_level": "vm",
        },
        "dedup_window_ms": 1,
        "stream_policy": {
            "retention_maxlen": 1, "retention_ttl_ms": 2, "durability_mode": "durable",
        },
        "max_signals_per_execution": 1,
        "retention_ms": -1,
    })
}

#[test]
fn e_10_invalid_documents_name_the_path() {
    refused(json!([]), "$", "wrong_type");
    refused(json!({"retry": 1}), "retry", "unknown_key");
    refused(
        json!({"retry_policy": {"max_retries": -1}}),
        "retry_policy.max_retries",
        "out_of_range",
    );
    refused(
        json!({"retry_policy": {"backoff": {"type": "linear"}}}),
        "retry_policy.backoff.type",
        "unknown_word",
    );
    refused(
        json!({"routing_requirements": 7}),
        "routing_requirements",
        "wrong_type",
    );
}

#[test]
fn e_10_types_and_ranges_of_every_member() {
    for text in ["true", "7", "\"x\"", "[]"] {
        refused(serde_json::from_str(text).unwrap(), "$", "wrong_type");
    }
    for key in KEYS {
        refused(json!({key: true}), key, "wrong_type");
    }
    let ints = [
        ("retry_policy.max_retries", -1),
        ("retry_policy.max_retries", 1_000_001),
        ("timeout_policy.attempt_timeout_ms", 0),
        ("timeout_policy.execution_deadline_ms", 0),
        ("timeout_policy.max_reclaim_count", -1),
        ("max_reclaim_count", -1),
        ("max_replay_count", -1),
        ("suspension_policy.default_timeout_ms", 0),
        ("dedup_window_ms", 0),
        ("stream_policy.retention_maxlen", 0),
        ("stream_policy.retention_ttl_ms", 0),
        ("max_signals_per_execution", 0),
        ("retention_ms", -2),
    ];
    for (path, value) in ints {
        refused(nested(path, json!(value)), path, "out_of_range");
        refused(nested(path, json!("1")), path, "wrong_type");
        for text in ["1.5", "1.0", "1e3"] {
            refused(
                nested(path, serde_json::from_str(text).unwrap()),
                path,
                "wrong_type",
            );
        }
        let huge = serde_json::from_str("100000000000000000000").unwrap();
        refused(nested(path, huge), path, "out_of_range");
    }
    for (path, value, rule) in [
        (
            "suspension_policy.timeout_behavior",
            json!("explode"),
            "unknown_word",
        ),
        (
            "stream_policy.durability_mode",
            json!("best_effort"),
            "unknown_word",
        ),
        ("stream_policy.other", json!(1), "unknown_key"),
        ("quota_policy_id", json!("x"), "bad_uuid"),
        (
            "routing_requirements.isolation_level",
            json!(1),
            "wrong_type",
        ),
        ("retry_policy.backoff", json!([]), "wrong_type"),
    ] {
        refused(nested(path, value), path, rule);
    }
}

#[test]
fn backoff_members_belong_to_their_type() {
    let backoff = |value: Value, key: &str, rule: &str| {
        let path = format!("retry_policy.backoff.{key}");
        refused(nested("retry_policy.backoff", value), &path, rule);
    };
    backoff(json!({}), "type", "required");
    backoff(json!({"type": null}), "type", "required");
    backoff(json!({"type": "fixed"}), "delay_ms", "required");
    backoff(
        json!({"type": "fixed", "delay_ms": -1}),
        "delay_ms",
        "out_of_range",
    );
    backoff(
        json!({"type": "fixed", "delay_ms": 1, "jitter": false}),
        "jitter",
        "not_allowed",
    );
    backoff(
        json!({"type": "exponential", "delay_ms": 1}),
        "delay_ms",
        "not_allowed",
    );
    backoff(
        json!({"type": "exponential", "jitter": 1}),
        "jitter",
        "wrong_type",
    );
    for multiplier in [json!(0.999), json!(0), json!(1000.001), json!(-2)] {
        let value = json!({"type": "exponential", "multiplier": multiplier});
        backoff(value, "multiplier", "out_of_range");
    }
    let fixed = nested(
        "retry_policy.backoff",
        json!({"type": "fixed", "delay_ms": 0, "jitter": null}),
    );
    let found = Policy::parse(&fixed).unwrap().retry.unwrap().backoff;
    assert_eq!(found, Some(Backoff::Fixed { delay_ms: 0 }));
}

#[test]
fn list_elements_are_named_by_index() {
    let other = ID.replace("ab", "ac");
    refused(
        json!({"budget_ids": [ID, ID.to_uppercase()]}),
        "budget_ids[1]",
        "not_distinct",
    );
    refused(
        json!({"budget_ids": [ID, 5]}),
        "budget_ids[1]",
        "wrong_type",
    );
    refused(
        json!({"budget_ids": [ID, other, "x"]}),
        "budget_ids[2]",
        "bad_uuid",
    );
    refused(
        json!({"budget_ids": vec![ID; 65]}),
        "budget_ids",
        "too_many",
    );
    let categories = json!({"retry_policy": {"retryable_categories": ["a", null]}});
    refused(
        categories,
        "retry_policy.retryable_categories[1]",
        "wrong_type",
    );
    let tier = |value: Value, path: &str, rule: &str| {
        let tiers = json!([{"provider": "p", "model": "m"}, value]);
        refused(json!({"fallback_policy": {"tiers": tiers}}), path, rule);
    };
    tier(json!(null), "fallback_policy.tiers[1]", "wrong_type");
    tier(
        json!({"provider": "p"}),
        "fallback_policy.tiers[1].model",
        "required",
    );
    tier(
        json!({"model": "p"}),
        "fallback_policy.tiers[1].provider",
        "required",
    );
    tier(json!({"x": 1}), "fallback_policy.tiers[1].x", "unknown_key");
    let timeout = json!({"provider": "p", "model": "m", "timeout_ms": 0});
    tier(
        timeout,
        "fallback_policy.tiers[1].timeout_ms",
        "out_of_range",
    );
}

#[test]
fn e_11_capabilities_keep_their_own_error() {
    let value = json!({"routing_requirements": {"required_capabilities": ["gpu", null, 42]}});
    let error = Policy::parse(&value).unwrap_err();
    assert_eq!(error.kind().sqlstate(), "FF103");
    assert_eq!(
        error.detail_value("rule").unwrap(),
        "required:non_string_token"
    );
    assert_eq!(
        error.detail_value("path").unwrap(),
        "routing_requirements.required_capabilities"
    );
}

#[test]
fn e_12_empty_and_null_documents_are_stored_equal() {
    let nulls: Value = KEYS
        .iter()
        .map(|key| ((*key).to_owned(), Value::Null))
        .collect();
    let hollow = json!({
        "timeout_policy": {"attempt_timeout_ms": null}, "suspension_policy": {},
        "fallback_policy": {"tiers": []}, "budget_ids": [], "stream_policy": {},
        "routing_requirements": {"required_capabilities": null},
    });
    for value in [json!({}), json!(null), nulls, hollow] {
        let policy = Policy::parse(&value).unwrap();
        assert_eq!(policy.normalised(), None);
        assert_eq!(policy, Policy::default());
    }
}

#[test]
fn e_12_defaults() {
    let policy = Policy::default();
    assert_eq!(policy.retry, None);
    assert_eq!(
        (policy.reclaim_limit(100), policy.replay_limit(10)),
        (100, 10)
    );
    let policy = Policy::parse(&json!({"retry_policy": {}})).unwrap();
    assert_eq!(policy.retry, Some(RetryPolicy::default()));
    assert_eq!(policy.normalised(), Some(json!({"retry_policy": {}})));
    assert_eq!(policy.retry.unwrap().retries_allowed(), 3);
}

#[test]
fn a_full_document_is_stored_as_it_is() {
    let policy = Policy::parse(&full()).unwrap();
    assert_eq!(policy.normalised(), Some(full()));
    assert_eq!(policy.reclaim_limit(100), 7);
    assert_eq!(
        policy.suspension.timeout_behavior,
        Some(TimeoutBehavior::Escalate)
    );
    let fallback = nested("timeout_policy.max_reclaim_count", json!(3));
    assert_eq!(Policy::parse(&fallback).unwrap().reclaim_limit(100), 3);
}

#[test]
fn spelling_is_normalised() {
    let value = json!({
        "routing_requirements": {"required_capabilities": ["gpu", "cuda", "gpu"]},
        "budget_ids": [ID.to_uppercase()],
        "retry_policy": {"backoff": {"multiplier": 2, "type": "exponential"}},
    });
    let text = Policy::parse(&value)
        .unwrap()
        .normalised()
        .unwrap()
        .to_string();
    assert_eq!(
        text,
        format!(
            r#"{{"retry_policy":{{"backoff":{{"type":"exponential","multiplier":2.0}}}},"budget_ids":["{ID}"],"routing_requirements":{{"required_capabilities":["cuda","gpu"]}}}}"#
        )
    );
}

#[test]
fn damaged_stored_documents_are_corruption() {
    assert_eq!(
        Policy::from_stored(&full().to_string()).unwrap(),
        Policy::parse(&full()).unwrap()
    );
    for text in ["", "{", "[]", r#"{"retry":1}"#, r#"{"priority":"x"}"#] {
        let error = Policy::from_stored(text).unwrap_err();
        assert_eq!(error.kind().sqlstate(), "FF125", "{text}");
    }
}

/// The document that has `value` at a dotted path and nothing else.
fn nested(path: &str, value: Value) -> Value {
    path.rsplit('.')
        .fold(value, |inner, key| json!({key: inner}))
}

/// Members of a document, mostly sound and sometimes not.
fn any_policy() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => any::<i64>().prop_map(Value::from),
        4 => (1i64..100).prop_map(Value::from),
        1 => (1.0f64..1000.0).prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => prop_oneof![Just("fail"), Just("durable"), Just(ID), Just("x")].prop_map(Value::from),
        1 => proptest::collection::vec("[a-c]", 0..4).prop_map(Value::from),
        1 => Just(json!([{"provider": "p", "model": "m"}])),
        2 => (1.0f64..1000.0, any::<bool>()).prop_map(
            |(m, jitter)| json!({"type": "exponential", "multiplier": m, "jitter": jitter})),
    ];
    let paths = [
        "priority",
        "delay_until",
        "retry_policy.max_retries",
        "retry_policy.backoff",
        "retry_policy.retryable_categories",
        "timeout_policy.attempt_timeout_ms",
        "timeout_policy.execution_deadline_ms",
        "max_reclaim_count",
        "suspension_policy.timeout_behavior",
        "fallback_policy.tiers",
        "budget_ids",
        "quota_policy_id",
        "routing_requirements.required_capabilities",
        "routing_requirements.preferred_locality",
        "stream_policy.durability_mode",
        "retention_ms",
    ];
    let member = (proptest::sample::select(paths.to_vec()), leaf);
    proptest::collection::vec(member, 0..3).prop_map(|members| {
        let mut document = json!({});
        for (path, value) in members {
            let pointer = format!("/{}", path.replace('.', "/"));
            let parent = path.split_once('.').map(|(parent, _)| parent);
            if let Some(parent) = parent.filter(|p| document.get(*p).is_none()) {
                document[parent] = json!({});
            }
            let (at, key) = pointer.rsplit_once('/').unwrap();
            document.pointer_mut(at).unwrap()[key] = value;
        }
        document
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn normalising_is_idempotent(document in any_policy()) {
        if let Ok(policy) = Policy::parse(&document) {
            let stored = policy.normalised().unwrap_or(json!({}));
            let again = Policy::parse(&stored).unwrap();
            prop_assert_eq!(&again, &policy);
            prop_assert_eq!(again.normalised().unwrap_or(json!({})), stored.clone());
            prop_assert_eq!(Policy::from_stored(&stored.to_string()).unwrap(), policy);
        }
    }
}
