//! What is refused of policies, capabilities and tags, with nothing written (§10.7–§10.9).

use serde_json::{Value, json};

use crate::support::work::create_call;
use crate::support::{Cells, World};
use crate::tags::BAD_KEYS;

#[test]
fn e_10_a_bad_policy_is_refused_with_its_path() {
    let mut w = World::new();
    w.create("");
    let before = w.contents();
    for (policy, path) in [
        ("[]", ""),
        (r#"{"retry":1}"#, "retry"),
        (
            r#"{"retry_policy":{"max_retries":-1}}"#,
            "retry_policy.max_retries",
        ),
        (
            r#"{"retry_policy":{"max_retries":1000001}}"#,
            "retry_policy.max_retries",
        ),
        (
            r#"{"retry_policy":{"max_retries":"3"}}"#,
            "retry_policy.max_retries",
        ),
        (
            r#"{"retry_policy":{"backoff":{"type":"linear"}}}"#,
            "retry_policy.backoff.type",
        ),
        (r#"{"retry_policy":{"backoff":{}}}"#, "retry_policy.backoff"),
        (
            r#"{"retry_policy":{"backoff":{"type":"fixed"}}}"#,
            "retry_policy.backoff",
        ),
        (
            r#"{"retry_policy":{"backoff":{"type":"fixed","delay_ms":-1}}}"#,
            "retry_policy.backoff.delay_ms",
        ),
        (
            r#"{"retry_policy":{"backoff":{"type":"fixed","delay_ms":1,"jitter":true}}}"#,
            "retry_policy.backoff",
        ),
        (
            r#"{"retry_policy":{"backoff":{"type":"exponential","multiplier":0.5}}}"#,
            "retry_policy.backoff.multiplier",
        ),
        (
            r#"{"retry_policy":{"retryable_categories":"transient"}}"#,
            "retry_policy.retryable_categories",
        ),
        (
            r#"{"timeout_policy":{"attempt_timeout_ms":0}}"#,
            "timeout_policy.attempt_timeout_ms",
        ),
        (
            r#"{"timeout_policy":{"execution_deadline_ms":1.5}}"#,
            "timeout_policy.execution_deadline_ms",
        ),
        (r#"{"timeout_policy":[]}"#, "timeout_policy"),
        (r#"{"max_reclaim_count":-1}"#, "max_reclaim_count"),
        (r#"{"max_replay_count":true}"#, "max_replay_count"),
        (
            r#"{"fallback_policy":{"tiers":[{"provider":"p"}]}}"#,
            "fallback_policy.tiers",
        ),
        (r#"{"budget_ids":["x"]}"#, "budget_ids"),
        (r#"{"routing_requirements":7}"#, "routing_requirements"),
        (
            r#"{"routing_requirements":{"isolation":"x"}}"#,
            "routing_requirements",
        ),
        (r#"{"dedup_window_ms":0}"#, "dedup_window_ms"),
        (r#"{"retention_ms":-2}"#, "retention_ms"),
        (
            r#"{"stream_policy":{"durability_mode":"maybe"}}"#,
            "stream_policy.durability_mode",
        ),
        (
            r#"{"max_signals_per_execution":0}"#,
            "max_signals_per_execution",
        ),
    ] {
        let call =
            "SELECT * FROM ff_create_execution('new', 'k', idempotency_key => 'key', policy => $1)";
        let value: Value = serde_json::from_str(policy).expect("JSON");
        let failure = w.refused("FF104", call, &[&value]);
        assert!(failure.detail["path"].is_string(), "{policy}: {failure:?}");
        assert!(failure.says("path").contains(path), "{policy}: {failure:?}");
    }
    assert_eq!(w.contents(), before, "no row, lane or key was written");
}

#[test]
fn e_11_a_bad_requirement_is_refused_by_its_rule() {
    let mut w = World::new();
    w.create("");
    let before = w.contents();
    let many: Vec<String> = (0..257).map(|n| format!("t{n}")).collect();
    let long: Vec<String> = long_tokens(4097);
    for (required, rule) in [
        (json!("gpu"), "not_array"),
        (json!(["gpu", null, 42]), "non_string_token"),
        (json!([""]), "empty_token"),
        (json!(["gpu,cuda"]), "comma_in_token"),
        (json!(["gpu\n"]), "control_or_whitespace"),
        (json!(["a b"]), "control_or_whitespace"),
        (json!(["a\u{2003}b"]), "control_or_whitespace"),
        (json!(["a\u{85}b"]), "control_or_whitespace"),
        (json!(many), "too_many_tokens"),
        (json!(long), "too_many_bytes"),
    ] {
        let policy = json!({"routing_requirements": {"required_capabilities": required}});
        let failure = w.refused(
            "FF103",
            "SELECT * FROM ff_create_execution('L', 'k', policy => $1)",
            &[&policy],
        );
        failure.mentions(&format!("required:{rule}"));
    }
    assert_eq!(w.contents(), before);
}

#[test]
fn e_11_sets_at_the_limits_are_accepted_and_match() {
    let mut w = World::new();
    let tokens: Vec<String> = (0..256).map(|n| format!("t{n}")).collect();
    for required in [tokens, long_tokens(4096), vec!["東京-gpu".to_string()]] {
        let policy = json!({"routing_requirements": {"required_capabilities": required}});
        let created = w.one(
            "SELECT * FROM ff_create_execution('L', 'k', policy => $1)",
            &[&policy],
        );
        let claimed = w.one(
            "SELECT * FROM ff_claim('L', 'w', capabilities => $1)",
            &[&required],
        );
        assert_eq!(claimed.uuid("execution_id"), created.uuid("execution_id"));
    }
}

#[test]
fn e_11_the_same_rules_hold_for_the_worker() {
    let mut w = World::new();
    let many: Vec<String> = (0..257).map(|n| format!("t{n}")).collect();
    let of = |token: &str| vec![Some(token.to_string())];
    for (capabilities, rule) in [
        (vec![Some("gpu".into()), None], "non_string_token"),
        (of(""), "empty_token"),
        (of("gpu,cuda"), "comma_in_token"),
        (of("gpu\n"), "control_or_whitespace"),
        (of("a b"), "control_or_whitespace"),
        (many.into_iter().map(Some).collect(), "too_many_tokens"),
        (
            long_tokens(4097).into_iter().map(Some).collect(),
            "too_many_bytes",
        ),
    ] {
        let failure = w.refused(
            "FF103",
            "SELECT * FROM ff_claim('L', 'w', capabilities => $1)",
            &[&capabilities],
        );
        failure.mentions(&format!("worker:{rule}"));
    }
}

#[test]
fn e_11_duplicate_tokens_collapse() {
    let mut w = World::new();
    let twice = vec!["gpu"; 300];
    let policy = json!({"routing_requirements": {"required_capabilities": twice}});
    w.one(
        "SELECT * FROM ff_create_execution('L', 'k', policy => $1)",
        &[&policy],
    );
    w.claim("capabilities => '{gpu,gpu}'");
}

#[test]
fn e_13_malformed_tag_keys_are_refused_at_creation() {
    let mut w = World::new();
    w.create("");
    let before = w.contents();
    for key in BAD_KEYS {
        let tags = json!({"zz.fine": "1", key: "v"});
        let failure = w.refused(
            "FF123",
            "SELECT * FROM ff_create_execution('L', 'k', tags => $1)",
            &[&tags],
        );
        let named = failure
            .detail
            .as_object()
            .expect("an object")
            .values()
            .any(|v| v == key);
        assert!(named, "the detail names {key:?}: {failure:?}");
    }
    let too_long = format!("a.{}", "x".repeat(127));
    w.refused(
        "FF123",
        "SELECT * FROM ff_create_execution('L', 'k', tags => $1)",
        &[&json!({too_long: "v"})],
    );
    assert_eq!(w.contents(), before);
}

#[test]
fn e_13_wellformed_tag_keys_are_accepted_at_creation() {
    let mut w = World::new();
    let longest = format!("a.{}", "x".repeat(126));
    let tags = json!({"app.session_id": "1", "a.b": "2", "a1_2.x": "", "app.sub.field": "3",
        "x.y_z": "4", longest: "é".repeat(2048)});
    let row = w.one(
        "SELECT * FROM ff_create_execution('L', 'k', tags => $1)",
        &[&tags],
    );
    assert_eq!(w.describe(row.uuid("execution_id")).json("tags"), tags);
}

#[test]
fn e_13_the_first_offending_key_in_byte_order_is_named() {
    let mut w = World::new();
    let tags = json!({"b": "1", "a": "1", "app.fine": "1"});
    let failure = w.refused(
        "FF123",
        "SELECT * FROM ff_create_execution('L', 'k', tags => $1)",
        &[&tags],
    );
    failure.mentions("\"a\"");
}

#[test]
fn e_13_tag_values_are_text_within_bounds() {
    let mut w = World::new();
    w.create("");
    let before = w.contents();
    let many: serde_json::Map<String, Value> =
        (0..65).map(|n| (format!("app.k{n}"), json!("v"))).collect();
    for tags in [
        json!({"app.x": 1}),
        json!({"app.x": null}),
        json!({"app.x": ["y"]}),
        json!({"app.x": "é".repeat(2048) + "x"}),
        json!([]),
        json!("app.x"),
        Value::Object(many),
    ] {
        w.refused(
            "FF101",
            "SELECT * FROM ff_create_execution('L', 'k', tags => $1)",
            &[&tags],
        );
    }
    assert_eq!(w.contents(), before);
}

#[test]
fn a_policy_reaches_the_worker_as_it_was_given() {
    let mut w = World::new();
    let policy = r#"{"retry_policy":{"max_retries":2,"backoff":{"type":"fixed","delay_ms":10}},
        "routing_requirements":{"required_capabilities":[],"preferred_locality":"eu","isolation_level":"vm"},
        "timeout_policy":{"attempt_timeout_ms":1000}}"#;
    w.run(&create_call(&format!("policy => '{policy}'")));
    let seen = w.claim("").row.json("policy");
    assert_eq!(seen["retry_policy"]["max_retries"], 2);
    assert_eq!(
        seen["retry_policy"]["backoff"],
        json!({"type": "fixed", "delay_ms": 10})
    );
    assert_eq!(seen["routing_requirements"]["preferred_locality"], "eu");
    assert_eq!(seen["timeout_policy"]["attempt_timeout_ms"], 1000);
}

/// Tokens whose sorted comma-join has exactly this many bytes.
fn long_tokens(bytes: usize) -> Vec<String> {
    let mut tokens: Vec<String> = (0..16)
        .map(|n| format!("{n:02}{}", "x".repeat(240)))
        .collect();
    let joined = tokens.join(",").len();
    tokens.push(format!("z{}", "y".repeat(bytes - joined - 2)));
    assert!(tokens.iter().all(|token| token.len() <= 256));
    assert_eq!(tokens.join(",").len(), bytes);
    tokens
}
