//! Creating executions: defaults, delays, priorities, ids, batches (§10.6).

use chrono::{DateTime, Duration, Utc};
use serde_json::json;
use uuid::Uuid;

use crate::support::work::create_call;
use crate::support::{Cells, World};

const WAITING: &str = "runnable/unowned/eligible_now/waiting_for_worker/none/pending_first_attempt";
const DELAYED: &str =
    "runnable/unowned/not_eligible_until_time/waiting_for_delay/none/pending_first_attempt";

#[test]
fn e_3_a_new_execution_waits_with_every_counter_at_zero() {
    let mut w = World::new();
    let row = w.one(
        r#"SELECT * FROM ff_create_execution('L', 'send', '\x6869', tags => '{"app.task_id":"abc"}')"#,
        &[],
    );
    assert_eq!(row.text("outcome"), "created");
    assert_eq!(row.text("public_state"), "waiting");
    assert_eq!(row.maybe_flag("request_matches"), None);
    let id = row.uuid("execution_id");
    w.assert_vector(id, WAITING, "waiting");

    let facts = w.describe(id);
    for counter in [
        "total_attempt_count",
        "retry_count",
        "replay_count",
        "lease_reclaim_count",
    ] {
        assert_eq!(facts.int(counter), 0, "{counter}");
    }
    assert_eq!(facts.big("lease_epoch"), 0);
    assert_eq!(facts.maybe_int("current_attempt_index"), None);
    assert_eq!(facts.maybe_uuid("current_attempt_id"), None);
    assert_eq!(facts.json("tags"), json!({"app.task_id": "abc"}));
    assert_eq!(
        (
            facts.text("namespace"),
            facts.text("lane"),
            facts.text("kind"),
            facts.int("priority")
        ),
        ("default".into(), "L".into(), "send".into(), 0)
    );
    assert_eq!(
        facts.text("creator"),
        w.value::<String>("SELECT session_user::text", &[])
    );
    let lanes = w.rows("SELECT lane, state FROM ff_list_lanes()", &[]);
    assert_eq!(
        (lanes[0].text("lane"), lanes[0].text("state")),
        ("L".into(), "active".into())
    );

    let stranger = Uuid::new_v4();
    assert!(
        w.rows("SELECT * FROM ff_describe_execution($1)", &[&stranger])
            .is_empty()
    );
    assert_eq!(w.all_events().len(), 0, "creation appends no event");
}

#[test]
fn e_4_only_a_delay_into_the_future_delays() {
    let mut w = World::new();
    let id = w.create("delay_until => ff_server_time() + interval '60 s'");
    w.assert_vector(id, DELAYED, "delayed");
    let facts = w.describe(id);
    let until = facts
        .maybe_instant("delay_until")
        .expect("a delay has an instant");
    let off = until - w.now() - Duration::seconds(60);
    assert!(off.num_seconds().abs() < 5, "delayed by {off} too much");
    assert!(facts.text("blocking_detail").starts_with("delayed until "));

    let past = w.create("delay_until => ff_server_time() - interval '1 s'");
    w.assert_vector(past, WAITING, "waiting");
    assert_eq!(w.describe(past).maybe_instant("delay_until"), None);
}

#[test]
fn e_4_a_delay_may_stand_in_the_policy() {
    let mut w = World::new();
    let at = (w.now() + Duration::seconds(60)).timestamp_millis();
    let id = w.create(&format!(r#"policy => '{{"delay_until": {at}}}'"#));
    w.assert_vector(id, DELAYED, "delayed");
    let until = w.describe(id).maybe_instant("delay_until");
    assert_eq!(until.map(|i| i.timestamp_millis()), Some(at));
}

#[test]
fn e_5_priorities_are_clamped_and_fall_back_to_the_policy() {
    let mut w = World::new();
    for (arguments, stored) in [
        ("priority => 10000", 9000),
        ("priority => -5", 0),
        ("priority => 50", 50),
        (r#"priority => NULL, policy => '{"priority": 7}'"#, 7),
        (r#"priority => 3, policy => '{"priority": 7}'"#, 3),
        ("", 0),
    ] {
        let id = w.create(arguments);
        assert_eq!(w.describe(id).int("priority"), stored, "{arguments}");
    }
}

#[test]
fn e_9_an_explicit_id_makes_a_create_repeatable() {
    let mut w = World::new();
    let id = Uuid::new_v4();
    let call = create_call(&format!("execution_id => '{id}'"));
    let first = w.one(&call, &[]);
    assert_eq!(
        (first.text("outcome"), first.uuid("execution_id")),
        ("created".into(), id)
    );
    let before = w.contents();
    let second = w.one(&call, &[]);
    assert_eq!(
        (second.text("outcome"), second.uuid("execution_id")),
        ("duplicate".into(), id)
    );
    assert_eq!(second.text("public_state"), "waiting");
    assert_eq!(second.maybe_flag("request_matches"), None);
    assert_eq!(w.contents(), before, "a duplicate changes nothing");
}

#[test]
fn e_12_an_empty_policy_equals_one_whose_every_key_is_null() {
    let mut w = World::new();
    let nulls = r#"{"priority":null,"delay_until":null,"retry_policy":null,"timeout_policy":null,
        "max_reclaim_count":null,"max_replay_count":null,"suspension_policy":null,
        "fallback_policy":null,"budget_ids":null,"quota_policy_id":null,"routing_requirements":null,
        "dedup_window_ms":null,"stream_policy":null,"max_signals_per_execution":null,"retention_ms":null}"#;
    w.create("");
    w.create(&format!("policy => '{nulls}'"));
    let claims = w.claims("max_items => 2");
    assert_eq!(claims.len(), 2);
    assert_eq!(claims[0].row.json("policy"), claims[1].row.json("policy"));

    let failed = w.fail(&claims[1].handle, "no retries by default", "");
    assert_eq!(failed.text("outcome"), "terminal_failed");
}

#[test]
fn e_12_an_empty_retry_policy_means_three_retries_doubling_from_one_second() {
    let mut w = World::new();
    w.create(r#"policy => '{"retry_policy":{}}'"#);
    for delay_s in [1, 2, 4] {
        let claim = w.claim("");
        let failed_at = w.now();
        let row = w.fail(&claim.handle, "again", "");
        assert_eq!(row.text("outcome"), "retry_scheduled");
        let wait = row
            .maybe_instant("delay_until")
            .expect("a retry has an instant")
            - failed_at;
        let off = (wait - Duration::seconds(delay_s)).num_milliseconds();
        assert!(
            (0..1000).contains(&off),
            "backoff of {wait} instead of {delay_s} s"
        );
        w.advance_ms(delay_s * 1000 + 1000);
    }
    let last = w.claim("");
    assert_eq!(
        w.fail(&last.handle, "enough", "").text("outcome"),
        "terminal_failed"
    );
}

#[test]
fn e_12_the_hundredth_reclaim_works_and_the_next_ends_the_execution() {
    let mut w = World::new();
    let id = w.create("");
    w.claim("lease_ttl => '1 s'");
    for n in 1..=100 {
        w.advance_ms(1000);
        let claim = w.claim("lease_ttl => '1 s'");
        assert_eq!(claim.row.int("reclaim_count"), n);
    }
    w.advance_ms(1000);
    assert!(w.claims("").is_empty());
    assert_eq!(w.state(id), "failed");
}

#[test]
fn e_16_one_bad_item_leaves_nothing_of_the_batch() {
    let mut w = World::new();
    w.create("");
    let before = w.contents();
    let items = json!([
        {"lane": "a", "kind": "k", "idempotency_key": "one"},
        {"lane": "é", "kind": "k"},
        {"lane": "b", "kind": "k"},
    ]);
    let failure = w.refused("FF133", "SELECT * FROM ff_create_executions($1)", &[&items]);
    assert_eq!(failure.detail["item"], 1);
    assert_eq!(w.contents(), before);
}

#[test]
fn e_16_a_batch_of_500_answers_in_order() {
    let mut w = World::new();
    let items: Vec<_> = (0..500)
        .map(|n| json!({"lane": "L", "kind": format!("k{n}"), "payload_text": n.to_string()}))
        .collect();
    let rows = w.rows("SELECT * FROM ff_create_executions($1)", &[&json!(items)]);
    let ordinals: Vec<i32> = rows.iter().map(|row| row.int("ordinal")).collect();
    assert_eq!(ordinals, (0..500).collect::<Vec<_>>());
    assert!(rows.iter().all(|row| row.text("outcome") == "created"));
    for n in [0usize, 250, 499] {
        assert_eq!(
            w.describe(rows[n].uuid("execution_id")).text("kind"),
            format!("k{n}")
        );
    }
    let mut payloads: Vec<u32> = w
        .claims("max_items => 500")
        .iter()
        .map(|claim| String::from_utf8(claim.row.bytes("payload").expect("bytes")).expect("text"))
        .map(|text| text.parse().expect("a number"))
        .collect();
    payloads.sort();
    assert_eq!(payloads, (0..500).collect::<Vec<_>>());
}

#[test]
fn e_16_two_items_with_one_key_are_one_execution() {
    let mut w = World::new();
    let items = json!([
        {"lane": "L", "kind": "k", "idempotency_key": "same"},
        {"lane": "L", "kind": "k", "idempotency_key": "same"},
    ]);
    let rows = w.rows("SELECT * FROM ff_create_executions($1)", &[&items]);
    assert_eq!(rows[0].text("outcome"), "created");
    assert_eq!(rows[1].text("outcome"), "duplicate");
    assert_eq!(rows[0].uuid("execution_id"), rows[1].uuid("execution_id"));
    assert_eq!(rows[1].maybe_flag("request_matches"), Some(true));
    assert_eq!(w.executions(), 1);
}

#[test]
fn e_16_a_json_item_takes_every_argument_by_name() {
    let mut w = World::new();
    let later: DateTime<Utc> = w.now() + Duration::seconds(60);
    let items = json!([
        {"lane": "L", "kind": "text", "payload_text": "hällo", "namespace": "n", "priority": 5,
         "tags": {"app.x": "1"}, "policy": {"max_reclaim_count": 2}, "creator": "me",
         "payload_encoding": "plain", "idempotency_key": "key", "dedup_window_ms": 1000, "retention_ms": 5},
        {"lane": "L", "kind": "base64", "payload_base64": "AP8Q"},
        {"lane": "L", "kind": "json", "payload_json": {"b": 1, "a": [true, null]}},
        {"lane": "L", "kind": "late", "delay_until": later.to_rfc3339()},
    ]);
    let rows = w.rows("SELECT * FROM ff_create_executions($1)", &[&items]);
    let facts = w.describe(rows[0].uuid("execution_id"));
    assert_eq!(
        (facts.text("namespace"), facts.text("creator")),
        ("n".into(), "me".into())
    );
    assert_eq!(
        (facts.int("priority"), facts.json("tags")),
        (5, json!({"app.x": "1"}))
    );
    assert_eq!(rows[3].text("public_state"), "delayed");

    let claims = w.claims("max_items => 10");
    let of = |kind: &str| {
        let row = &claims
            .iter()
            .find(|c| c.row.text("kind") == kind)
            .expect(kind)
            .row;
        (
            row.bytes("payload").expect("a payload"),
            row.maybe_text("payload_encoding"),
        )
    };
    assert_eq!(
        of("text"),
        ("hällo".as_bytes().to_vec(), Some("plain".into()))
    );
    assert_eq!(of("base64"), (vec![0x00, 0xff, 0x10], None));
    let (compact, encoding) = of("json");
    assert_eq!(encoding.as_deref(), Some("json"));
    let compact = String::from_utf8(compact).expect("JSON is text");
    assert!(!compact.contains(' '), "compact JSON: {compact}");
    let value: serde_json::Value = serde_json::from_str(&compact).expect("valid JSON");
    assert_eq!(value, json!({"b": 1, "a": [true, null]}));
}

#[test]
fn e_16_one_execution_per_payload() {
    let mut w = World::new();
    let payloads: Vec<Option<&[u8]>> = vec![Some(b"a"), None, Some(b""), Some(b"b")];
    let keys = vec!["1", "2", "3", "1"];
    let rows = w.rows(
        "SELECT * FROM ff_create_many('L', 'k', $1, payload_encoding => 'raw', namespace => 'n', priority => 4,
            tags => '{\"app.x\":\"1\"}', idempotency_keys => $2)",
        &[&payloads, &keys],
    );
    let outcomes: Vec<String> = rows.iter().map(|row| row.text("outcome")).collect();
    assert_eq!(outcomes, ["created", "created", "created", "duplicate"]);
    assert_eq!(rows[3].uuid("execution_id"), rows[0].uuid("execution_id"));
    assert_eq!(
        rows[3].maybe_flag("request_matches"),
        Some(false),
        "the payload differs"
    );
    let claims = w.claims("max_items => 10");
    let mut stored: Vec<_> = claims.iter().map(|c| c.row.bytes("payload")).collect();
    stored.sort();
    assert_eq!(
        stored,
        [None, Some(Vec::new()), Some(b"a".to_vec())],
        "NULL and empty are distinct"
    );
    assert!(
        claims
            .iter()
            .all(|c| c.row.json("tags") == json!({"app.x": "1"}))
    );
    assert!(claims.iter().all(|c| c.row.int("priority") == 4));
    assert_eq!(
        w.rows("SELECT * FROM ff_create_many('L', 'k', '{}')", &[])
            .len(),
        0
    );
}
