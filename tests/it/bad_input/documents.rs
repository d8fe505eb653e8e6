//! JSON of the wrong shape, with unknown keys, and malformed handles in batches.

use serde_json::{Value, json};

use super::Inhabited;

const CREATE: &str = "SELECT * FROM ff_create_executions($1)";

#[test]
fn items_are_objects_with_known_keys_of_the_right_type() {
    let mut inhabited = Inhabited::new();
    let before = inhabited.world.contents();
    let good = json!({"lane": "new", "kind": "k", "idempotency_key": "new"});
    let with = |key: &str, value: Value| {
        let mut item = good.clone();
        item[key] = value;
        json!([good, item])
    };
    for (code, items) in [
        ("FF101", json!({})),
        ("FF101", json!("x")),
        ("FF101", json!(null)),
        ("FF101", json!([1])),
        ("FF101", json!([null])),
        ("FF101", json!([[]])),
        ("FF101", json!([{"lane": "L"}])),
        ("FF101", json!([{"kind": "k"}])),
        ("FF101", with("kind", json!(5))),
        ("FF101", with("payload", json!("x"))),
        ("FF101", with("odd", json!(1))),
        ("FF101", with("payload_base64", json!("***"))),
        ("FF101", with("payload_base64", json!(7))),
        ("FF101", with("payload_text", json!(7))),
        ("FF101", with("priority", json!("high"))),
        ("FF101", with("priority", json!(1.5))),
        ("FF101", with("delay_until", json!("tomorrow"))),
        ("FF101", with("delay_until", json!(17))),
        ("FF101", with("execution_deadline", json!("infinity"))),
        ("FF101", with("dedup_window_ms", json!("1 s"))),
        ("FF101", with("dedup_window_ms", json!(0))),
        ("FF101", with("execution_id", json!("no-uuid"))),
        ("FF101", with("namespace", json!(""))),
        ("FF101", with("tags", json!([]))),
        ("FF123", with("tags", json!({"Bad": "x"}))),
        ("FF104", with("policy", json!([]))),
        ("FF104", with("policy", json!({"odd": 1}))),
        (
            "FF103",
            with(
                "policy",
                json!({"routing_requirements": {"required_capabilities": [""]}}),
            ),
        ),
        ("FF133", with("lane", json!("é"))),
    ] {
        let failure = inhabited.world.refused(code, CREATE, &[&items]);
        if items.as_array().is_some_and(|items| items.len() == 2) {
            assert_eq!(failure.detail["item"], 1, "{items}: {failure:?}");
        }
    }
    assert_eq!(inhabited.world.contents(), before);
}

#[test]
fn two_payload_forms_contradict_each_other() {
    let mut inhabited = Inhabited::new();
    for (one, other) in [
        ("payload_text", "payload_base64"),
        ("payload_json", "payload_text"),
        ("payload_base64", "payload_json"),
    ] {
        let item = json!([{"lane": "L", "kind": "k", one: "", other: ""}]);
        inhabited.world.refused("FF101", CREATE, &[&item]);
    }
}

#[test]
fn numbers_and_texts_that_postgres_cannot_hold_are_refused_properly() {
    let mut inhabited = Inhabited::new();
    for policy in [
        r#"{"priority": 1e999}"#,
        r#"{"priority": 99999999999999999999999999}"#,
        r#"{"retention_ms": 99999999999999999999999999}"#,
        r#"{"retry_policy": {"max_retries": 1e30}}"#,
    ] {
        let call = with_policy(policy);
        inhabited.world.refused("FF104", &call, &[]);
    }
}

/// The largest durations are either refused or mean "practically never"; they break nothing later.
#[test]
fn durations_beyond_the_calendar_are_refused_or_saturate() {
    for key in ["retention_ms", "delay_until", "dedup_window_ms"] {
        survives(&format!(r#"{{"{key}": 9223372036854775807}}"#));
    }
    for key in ["execution_deadline_ms", "attempt_timeout_ms"] {
        survives(&format!(
            r#"{{"timeout_policy": {{"{key}": 9223372036854775807}}}}"#
        ));
    }
    for key in ["initial_delay_ms", "max_delay_ms"] {
        survives(&format!(
            r#"{{"retry_policy": {{"backoff": {{"type": "exponential", "{key}": 9223372036854775807}}}}}}"#
        ));
    }
}

fn with_policy(policy: &str) -> String {
    format!(
        "SELECT * FROM ff_create_execution('M', 'k', idempotency_key => 'big', policy => '{policy}')"
    )
}

fn survives(policy: &str) {
    let mut w = crate::support::World::new();
    if let Err(e) = w.query(&with_policy(policy), &[]) {
        let failure = crate::support::failure::Failure::of(&e);
        assert_eq!(failure.sqlstate, "FF104", "{policy}: {failure:?}");
        return;
    }
    for end in [
        "ff_fail($1, 'x')",
        "ff_delay($1, ff_server_time())",
        "ff_complete($1)",
    ] {
        let claims = w.rows(
            "SELECT handle FROM ff_claim('M', 'w', lease_ttl => '24 h')",
            &[],
        );
        for claim in claims {
            let handle: String = claim.get(0);
            w.rows(&format!("SELECT * FROM {end}"), &[&handle]);
        }
        w.rows("SELECT * FROM ff_tick()", &[]);
    }
}
#[test]
fn an_error_in_a_batch_of_handles_names_the_item() {
    let mut inhabited = Inhabited::new();
    let handles = vec![inhabited.held.handle.clone(), "ffh1.x".to_string()];
    let before = inhabited.world.contents();
    for call in [
        "SELECT * FROM ff_complete_many($1)",
        "SELECT * FROM ff_complete_many_and_claim($1)",
    ] {
        let failure = inhabited.world.refused("FF129", call, &[&handles]);
        assert_eq!(failure.detail["item"], 1, "{call}");
    }
    let absent: Vec<Option<String>> = vec![Some(inhabited.held.handle.clone()), None];
    for call in [
        "SELECT * FROM ff_complete_many($1)",
        "SELECT * FROM ff_complete_many_and_claim($1)",
    ] {
        let failure = inhabited.world.failure(call, &[&absent]);
        assert!(
            ["FF101", "FF129"].contains(&failure.sqlstate.as_str()),
            "{call}: {failure:?}"
        );
    }
    assert_eq!(inhabited.world.contents(), before);
}
