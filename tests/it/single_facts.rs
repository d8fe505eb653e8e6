//! Reads of single facts: context, named fields, attempt counters, expired leases, features (§10.20).

use serde_json::json;
use uuid::Uuid;

use crate::support::{Cells, World};

#[test]
fn e_99_the_context_of_an_execution() {
    let mut w = World::new();
    let context = "SELECT * FROM ff_read_execution_context($1)";
    w.refused("FF001", context, &[&Uuid::new_v4()]);
    let bare = w.create("");
    let row = w.one(context, &[&bare]);
    assert_eq!(
        (row.bytes("payload"), row.maybe_text("payload_encoding")),
        (None, None)
    );
    assert_eq!(
        (row.text("kind"), row.json("tags")),
        ("k".into(), json!({}))
    );
    let full =
        w.create(r#"payload => '\x00ff', payload_encoding => 'raw', tags => '{"app.x":"1"}'"#);
    let row = w.one(context, &[&full]);
    assert_eq!(
        (row.bytes("payload"), row.text("payload_encoding")),
        (Some(vec![0, 0xff]), "raw".into())
    );
    assert_eq!(row.json("tags"), json!({"app.x": "1"}));
}

#[test]
fn e_100_named_fields_as_text() {
    let mut w = World::new();
    let id = w.create("");
    let fields = |w: &mut World, id: Uuid, names: &str| -> serde_json::Value {
        w.value(
            &format!("SELECT ff_read_exec_core_fields($1, '{names}')"),
            &[&id],
        )
    };
    assert_eq!(
        fields(&mut w, id, "{lane_id,priority,nope}"),
        json!({"lane_id": "L", "priority": "0", "nope": null})
    );
    assert_eq!(
        fields(&mut w, Uuid::new_v4(), "{lane_id,nope}"),
        json!({"lane_id": null, "nope": null})
    );
    assert_eq!(fields(&mut w, id, "{}"), json!({}));

    let claim = w.claim("capabilities => '{b,a}'");
    let known = fields(
        &mut w,
        id,
        "{attempt_index,current_worker_instance_id,public_state,lease_epoch,required_capabilities,cancel_reason,terminal_at_ms}",
    );
    assert_eq!(known["attempt_index"], "0");
    assert_eq!(known["current_worker_instance_id"], "w-1");
    assert_eq!(
        (&known["public_state"], &known["lease_epoch"]),
        (&json!("active"), &json!("1"))
    );
    assert_eq!(
        (&known["cancel_reason"], &known["terminal_at_ms"]),
        (&json!(null), &json!(null))
    );
    w.complete(&claim.handle, None);
    let created = w.describe(id).instant("created_at").timestamp_millis();
    let times = fields(&mut w, id, "{created_at_ms,terminal_at_ms,created_at}");
    assert_eq!(times["created_at_ms"], created.to_string());
    assert!(
        times["terminal_at_ms"]
            .as_str()
            .and_then(|ms| ms.parse::<i64>().ok())
            >= Some(created)
    );
    let iso = times["created_at"].as_str().expect("an instant");
    let parsed = chrono::DateTime::parse_from_rfc3339(iso).expect("ISO-8601");
    assert_eq!(parsed.timestamp_millis(), created);
}

#[test]
fn e_100_capabilities_and_budgets_are_fields_too() {
    let mut w = World::new();
    let id = w.create(
        r#"policy => '{"routing_requirements":{"required_capabilities":["torch","gpu"]}}'"#,
    );
    let fields: serde_json::Value = w.value(
        "SELECT ff_read_exec_core_fields($1, '{required_capabilities,quota_policy_id}')",
        &[&id],
    );
    assert_eq!(
        fields,
        json!({"required_capabilities": "gpu,torch", "quota_policy_id": null})
    );
}

#[test]
fn e_101_how_many_attempts_there_were() {
    let mut w = World::new();
    let id = w.create(r#"policy => '{"retry_policy":{}}'"#);
    let counters = |w: &mut World| -> (Option<i32>, i32) {
        let row = w.one(
            "SELECT ff_read_current_attempt_index($1) AS latest, ff_read_total_attempt_count($1) AS total",
            &[&id],
        );
        (row.maybe_int("latest"), row.int("total"))
    };
    assert_eq!(counters(&mut w), (None, 0));
    let claim = w.claim("");
    w.fail(&claim.handle, "x", "retry_after => '0'");
    assert_eq!(counters(&mut w), (Some(0), 1), "with the retry pending");
    w.claim("");
    assert_eq!(counters(&mut w), (Some(1), 2), "during the retry");
    let nobody = Uuid::new_v4();
    w.refused(
        "FF001",
        "SELECT ff_read_current_attempt_index($1)",
        &[&nobody],
    );
    w.refused(
        "FF001",
        "SELECT ff_read_total_attempt_count($1)",
        &[&nobody],
    );
}

#[test]
fn e_96_expired_leases_are_paged_across_equal_instants() {
    let mut w = World::new();
    w.create_several(7, "");
    w.create("namespace => 'other'");
    let mut all: Vec<_> = w.claims("max_items => 3, lease_ttl => '10 s', namespace => 'default'");
    for _ in 0..2 {
        all.extend(w.claims("lease_ttl => '11 s', namespace => 'default'"));
    }
    let renewed = w.claim("lease_ttl => '1 s', namespace => 'default'");
    w.one("SELECT ff_renew($1, '1 h')", &[&renewed.handle]);
    let revoked = w.claim("lease_ttl => '1 s', namespace => 'default'");
    w.one("SELECT * FROM ff_revoke_lease($1)", &[&revoked.id]);
    w.claim("lease_ttl => '1 s', namespace => 'other'");
    w.advance_ms(11_000);
    let shared: std::collections::BTreeSet<_> = all
        .iter()
        .take(3)
        .map(|claim| claim.row.instant("lease_expires_at"))
        .collect();
    assert_eq!(shared.len(), 1, "one batch, one expiry");

    let mut expected: Vec<_> = all
        .iter()
        .map(|c| (c.row.instant("lease_expires_at"), c.id))
        .collect();
    expected.sort();
    let mut paged = Vec::new();
    let mut after: (Option<chrono::DateTime<chrono::Utc>>, Option<Uuid>) = (None, None);
    loop {
        let rows = w.rows(
            "SELECT * FROM ff_list_expired_leases(after_expires_at => $1, after_execution_id => $2,
                max_items => 2, namespace => 'default')",
            &[&after.0, &after.1],
        );
        let Some(last) = rows.last() else { break };
        after = (
            last.maybe_instant("lease_expires_at"),
            Some(last.uuid("execution_id")),
        );
        paged.extend(
            rows.iter()
                .map(|row| (row.instant("lease_expires_at"), row.uuid("execution_id"))),
        );
        let more = paged.len() < 5;
        assert!(
            rows.iter()
                .all(|row| row.flag("has_more") == more && !row.flag("marked"))
        );
    }
    assert_eq!(paged, expected);
    assert_eq!(
        w.rows("SELECT 1 FROM ff_list_expired_leases()", &[]).len(),
        6,
        "every namespace"
    );
    let early = expected[0].0;
    let then = w.rows(
        "SELECT 1 FROM ff_list_expired_leases(as_of => $1, namespace => 'default')",
        &[&early],
    );
    assert_eq!(then.len(), 3, "as of the first instant");
    w.reconciles("lease_expiry", 6);
    let marked = w.rows("SELECT * FROM ff_list_expired_leases()", &[]);
    assert!(marked.len() == 6 && marked.iter().all(|row| row.flag("marked")));
}

#[test]
fn e_106_every_feature_is_named_once() {
    let mut w = World::new();
    let rows = w.rows("SELECT * FROM ff_capabilities()", &[]);
    let shown: Vec<String> = rows.iter().map(|row| row.text("feature")).collect();
    assert_eq!(shown, FEATURES);
    for row in &rows {
        let name = row.text("feature");
        assert!(
            row.flag("supported")
                || name == "background_workers"
                || !row.maybe_text("note").unwrap_or_default().is_empty(),
            "{name}"
        );
    }
}

const FEATURES: [&str; 39] = [
    "cancel_execution",
    "change_priority",
    "replay_execution",
    "revoke_lease",
    "read_execution_state",
    "read_execution_info",
    "get_execution_result",
    "budget_admin",
    "quota_admin",
    "rotate_waitpoint_hmac_secret_all",
    "seed_waitpoint_hmac_secret",
    "list_pending_waitpoints",
    "cancel_flow_header",
    "cancel_flow_wait_timeout",
    "cancel_flow_wait_indefinite",
    "ack_cancel_member",
    "claim_for_worker",
    "issue_reclaim_grant",
    "prepare",
    "subscribe_lease_history",
    "subscribe_completion",
    "subscribe_signal_delivery",
    "subscribe_instance_tags",
    "stream_durable_summary",
    "stream_best_effort_live",
    "register_worker",
    "heartbeat_worker",
    "mark_worker_dead",
    "list_expired_leases",
    "list_workers",
    "release_admission",
    "read_quota_policy_limits",
    "block_execution_for_admission",
    "read_budget_usage_and_limits",
    "batch_claim",
    "claim_wait",
    "wait_procedures",
    "complete_and_claim",
    "background_workers",
];

#[test]
fn e_104_the_flow_of_a_standalone_and_of_an_absent_execution_is_none() {
    let mut w = World::new();
    let id = w.create("");
    for id in [id, Uuid::new_v4()] {
        assert_eq!(
            w.value::<Option<Uuid>>("SELECT ff_resolve_execution_flow_id($1)", &[&id]),
            None
        );
    }
}

#[test]
fn e_14_tags_and_namespace_are_read_one_by_one() {
    let mut w = World::new();
    let id = w.create(r#"namespace => 'n', tags => '{"app.x":"1"}'"#);
    let tag = |w: &mut World, id: Uuid, key: &str| -> Option<String> {
        w.value("SELECT ff_get_execution_tag($1, $2)", &[&id, &key])
    };
    assert_eq!(tag(&mut w, id, "app.x").as_deref(), Some("1"));
    assert_eq!(tag(&mut w, id, "app.y"), None);
    assert_eq!(tag(&mut w, Uuid::new_v4(), "app.x"), None);
    w.refused("FF123", "SELECT ff_get_execution_tag($1, 'Bad')", &[&id]);
    let namespace = |w: &mut World, id: Uuid| -> Option<String> {
        w.value("SELECT ff_get_execution_namespace($1)", &[&id])
    };
    assert_eq!(namespace(&mut w, id).as_deref(), Some("n"));
    assert_eq!(namespace(&mut w, Uuid::new_v4()), None);
}

#[test]
fn the_clock_in_milliseconds_is_the_engine_clock() {
    let mut w = World::new();
    let before = w.now().timestamp_millis();
    let said: i64 = w.value("SELECT ff_server_time_ms()", &[]);
    assert!((before..before + 5_000).contains(&said));
}
