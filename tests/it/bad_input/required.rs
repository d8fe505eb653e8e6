//! NULL where a value is needed, text that is empty, too long or not text (§10.2 G8).

use super::Inhabited;

/// A call with every argument that has no default, as (function, arguments in order).
const REQUIRED: [(&str, &[&str]); 91] = [
    ("ff_create_execution", &["'L'", "'k'"]),
    ("ff_create_executions", &["'[]'"]),
    ("ff_create_many", &["'L'", "'k'", "'{}'"]),
    ("ff_claim", &["'L'", "'w'"]),
    ("ff_scan_eligible", &["'L'"]),
    ("ff_issue_claim_grant", &["gen_random_uuid()", "'w'"]),
    ("ff_claim_for_worker", &["'L'", "'w'"]),
    ("ff_claim_execution", &["gen_random_uuid()", "'w'"]),
    ("ff_claim_resumed_execution", &["gen_random_uuid()", "'w'"]),
    ("ff_issue_grant_and_claim", &["gen_random_uuid()", "'1 s'"]),
    ("ff_issue_reclaim_grant", &["gen_random_uuid()", "'w'"]),
    ("ff_reclaim_execution", &["gen_random_uuid()", "'w'"]),
    (
        "ff_delay_execution",
        &["gen_random_uuid()", "ff_server_time()"],
    ),
    ("ff_mark_lease_expired_if_due", &["gen_random_uuid()"]),
    ("ff_promote_delayed", &["gen_random_uuid()"]),
    (
        "ff_expire_execution",
        &["gen_random_uuid()", "'attempt_timeout'"],
    ),
    ("ff_recover_leases", &["'w'", "'w-1'"]),
    ("ff_complete_and_claim", &["$1"]),
    ("ff_complete_many_and_claim", &["ARRAY[$1]"]),
    ("ff_handle_info", &["$1"]),
    ("ff_renew", &["$1"]),
    ("ff_renew_many", &["ARRAY[$1]"]),
    ("ff_progress", &["$1"]),
    ("ff_delay", &["$1", "ff_server_time()"]),
    ("ff_complete", &["$1"]),
    ("ff_complete_many", &["ARRAY[$1]"]),
    ("ff_fail", &["$1", "'x'"]),
    ("ff_cancel", &["$1", "'x'"]),
    ("ff_set_lane", &["'L'"]),
    ("ff_register_worker", &["'w'", "'w-1'", "'{L}'"]),
    ("ff_heartbeat_worker", &["'w-1'"]),
    ("ff_mark_worker_dead", &["'w-1'", "'x'"]),
    ("ff_await_executions", &["'{}'"]),
    (
        "ff_parse_execution_id",
        &["'{fp:1}:00000000-0000-0000-0000-000000000000'"],
    ),
    ("ff_read_events", &["'now'"]),
    ("ff_create_budget", &["'lane'", "'L'"]),
    (
        "ff_set_budget_limits",
        &["gen_random_uuid()", "'{}'", "'{}'"],
    ),
    ("ff_attach_budget", &["gen_random_uuid()", "'lane'", "'L'"]),
    ("ff_detach_budget", &["gen_random_uuid()", "'lane'", "'L'"]),
    ("ff_report_usage", &["$1", "'{}'"]),
    ("ff_report_usage_admin", &["gen_random_uuid()", "'{}'"]),
    (
        "ff_record_spend",
        &["gen_random_uuid()", "gen_random_uuid()", "'{}'"],
    ),
    (
        "ff_release_budget",
        &["gen_random_uuid()", "gen_random_uuid()"],
    ),
    ("ff_enforce_budget", &["gen_random_uuid()", "'cancel'"]),
    ("ff_reset_budget", &["gen_random_uuid()"]),
    ("ff_get_budget_status", &["gen_random_uuid()"]),
    ("ff_create_quota_policy", &["1", "'1 s'", "1"]),
    (
        "ff_set_quota_limits",
        &["gen_random_uuid()", "1", "'1 s'", "1"],
    ),
    ("ff_attach_quota", &["gen_random_uuid()", "'lane'", "'L'"]),
    (
        "ff_check_admission",
        &["gen_random_uuid()", "gen_random_uuid()"],
    ),
    (
        "ff_release_admission",
        &["gen_random_uuid()", "gen_random_uuid()"],
    ),
    ("ff_append_frame", &["$1", "'x'"]),
    ("ff_append_frames", &["$1", "'{x}'"]),
    ("ff_read_stream", &["gen_random_uuid()"]),
    ("ff_tail_stream", &["gen_random_uuid()"]),
    ("ff_read_summary", &["gen_random_uuid()"]),
    ("ff_stream_status", &["gen_random_uuid()"]),
    (
        "ff_add_execution_to_flow",
        &["gen_random_uuid()", "gen_random_uuid()"],
    ),
    (
        "ff_set_edge_group_policy",
        &["gen_random_uuid()", "gen_random_uuid()", "'{}'"],
    ),
    (
        "ff_stage_dependency_edge",
        &[
            "gen_random_uuid()",
            "gen_random_uuid()",
            "gen_random_uuid()",
        ],
    ),
    (
        "ff_apply_dependency_to_child",
        &["gen_random_uuid()", "gen_random_uuid()"],
    ),
    (
        "ff_add_dependency",
        &[
            "gen_random_uuid()",
            "gen_random_uuid()",
            "gen_random_uuid()",
        ],
    ),
    ("ff_seal_flow", &["gen_random_uuid()"]),
    ("ff_project_flow_summary", &["gen_random_uuid()"]),
    ("ff_wait_flow", &["gen_random_uuid()"]),
    (
        "ff_resolve_dependency",
        &["gen_random_uuid()", "gen_random_uuid()"],
    ),
    ("ff_cascade_completion", &["gen_random_uuid()"]),
    ("ff_evaluate_flow_eligibility", &["gen_random_uuid()"]),
    ("ff_promote_blocked_to_eligible", &["gen_random_uuid()"]),
    ("ff_flow_summary", &["gen_random_uuid()"]),
    ("ff_describe_flow", &["gen_random_uuid()"]),
    (
        "ff_describe_edge",
        &["gen_random_uuid()", "gen_random_uuid()"],
    ),
    ("ff_list_edges", &["gen_random_uuid()"]),
    ("ff_read_dependency_results", &["gen_random_uuid()"]),
    ("ff_create_flow_graph", &["'{}'"]),
    ("ff_validate_flow_document", &["'{}'"]),
    ("ff_flow_mermaid", &["gen_random_uuid()"]),
    ("ff_flow_dot", &["gen_random_uuid()"]),
    ("ff_list_flow_members", &["gen_random_uuid()"]),
    ("ff_list_edge_groups", &["gen_random_uuid()"]),
    ("ff_flow_node", &["gen_random_uuid()", "'n'"]),
    ("ff_set_flow_tag", &["gen_random_uuid()", "'a.b'", "'c'"]),
    (
        "ff_set_flow_tags",
        &["gen_random_uuid()", "'{\"a.b\": \"c\"}'"],
    ),
    ("ff_get_flow_tag", &["gen_random_uuid()", "'a.b'"]),
    ("ff_cancel_flow", &["gen_random_uuid()"]),
    (
        "ff_cancel_flow_header",
        &["gen_random_uuid()", "'cancel_all'", "'why'"],
    ),
    (
        "ff_ack_cancel_member",
        &["gen_random_uuid()", "gen_random_uuid()"],
    ),
    (
        "ff_cancel_siblings",
        &["gen_random_uuid()", "gen_random_uuid()"],
    ),
    (
        "ff_drain_sibling_cancel_group",
        &["gen_random_uuid()", "gen_random_uuid()"],
    ),
    (
        "ff_reconcile_sibling_cancel_group",
        &["gen_random_uuid()", "gen_random_uuid()"],
    ),
    ("ff_replay_flow", &["gen_random_uuid()"]),
];

#[test]
fn a_missing_required_argument_is_refused() {
    let mut inhabited = Inhabited::new();
    let mut calls = Vec::new();
    for (function, arguments) in REQUIRED {
        for absent in 0..arguments.len() {
            let mut arguments = arguments.to_vec();
            arguments[absent] = "NULL";
            let code = if arguments[absent] == "NULL" && function == "ff_read_events" {
                "FF132"
            } else {
                "FF101"
            };
            calls.push((
                code,
                format!("SELECT * FROM {function}({})", arguments.join(", ")),
            ));
        }
    }
    // A NULL lane, handle or cursor breaks the rule of its own kind as well as being absent.
    let before = inhabited.world.contents();
    for (code, call) in calls {
        let handle = inhabited.held.handle.clone();
        let parameters: &[&(dyn postgres::types::ToSql + Sync)] =
            if call.contains("$1") { &[&handle] } else { &[] };
        let failure = inhabited.world.failure(&call, parameters);
        let kinds = ["FF101", "FF133", "FF129", "FF132"];
        assert!(
            failure.sqlstate == code || kinds.contains(&failure.sqlstate.as_str()),
            "{call}: {failure:?}"
        );
    }
    assert_eq!(inhabited.world.contents(), before);
}

#[test]
fn names_are_one_to_256_bytes_without_control_characters() {
    let mut inhabited = Inhabited::new();
    let mut calls = Vec::new();
    for text in [
        "''".to_string(),
        "repeat('x', 257)".into(),
        "repeat('é', 129)".into(),
        r"E'a\nb'".into(),
        r"E'a\x7fb'".into(),
        r"E'\u0085'".into(),
    ] {
        for call in [
            format!("SELECT * FROM ff_create_execution('L', {text})"),
            format!("SELECT * FROM ff_create_execution('L', 'k', namespace => {text})"),
            format!("SELECT * FROM ff_create_execution('L', 'k', creator => {text})"),
            format!("SELECT * FROM ff_create_execution('L', 'k', idempotency_key => {text})"),
            format!("SELECT * FROM ff_create_many('L', {text}, '{{NULL}}')"),
            format!("SELECT * FROM ff_create_many('L', 'k', '{{NULL}}', namespace => {text})"),
            format!(
                "SELECT * FROM ff_create_many('L', 'k', '{{NULL}}', idempotency_keys => ARRAY[{text}])"
            ),
            format!(
                "SELECT * FROM ff_create_executions(jsonb_build_array(jsonb_build_object('lane', 'L', 'kind', {text})))"
            ),
            format!("SELECT * FROM ff_claim('L', {text})"),
            format!("SELECT * FROM ff_claim('L', 'w', {text})"),
            format!("SELECT * FROM ff_claim('L', 'w', namespace => {text})"),
            format!("SELECT * FROM ff_recover_leases({text}, 'w-1')"),
            format!("SELECT * FROM ff_recover_leases('w', {text})"),
            format!("SELECT * FROM ff_scan_eligible('L', namespace => {text})"),
            format!("SELECT * FROM ff_claim_for_worker('L', {text})"),
            format!("SELECT * FROM ff_claim_for_worker('L', 'w', {text})"),
            format!("SELECT * FROM ff_claim_for_worker('L', 'w', namespace => {text})"),
            format!("SELECT * FROM ff_issue_claim_grant(gen_random_uuid(), {text})"),
            format!("SELECT * FROM ff_issue_reclaim_grant(gen_random_uuid(), 'w', {text})"),
            format!("SELECT * FROM ff_claim_execution(gen_random_uuid(), {text})"),
            format!("SELECT * FROM ff_claim_resumed_execution(gen_random_uuid(), 'w', {text})"),
            format!("SELECT * FROM ff_reclaim_execution(gen_random_uuid(), {text})"),
            format!(
                "SELECT * FROM ff_issue_grant_and_claim(gen_random_uuid(), '1 s', worker => {text})"
            ),
            format!("SELECT * FROM ff_complete_and_claim($1, worker => {text})"),
            format!("SELECT * FROM ff_complete_and_claim($1, worker_instance => {text})"),
            format!("SELECT * FROM ff_complete_and_claim($1, namespace => {text})"),
            format!("CALL ff_wait_for_work('L', '1 s', namespace => {text})"),
        ] {
            calls.push(("FF101", call));
        }
    }
    inhabited.refuses(&calls);
}

#[test]
fn names_at_the_limit_are_accepted() {
    let mut inhabited = Inhabited::new();
    let name = "é".repeat(128);
    let world = &mut inhabited.world;
    world.one("SELECT * FROM ff_create_execution('M', $1, namespace => $1, creator => $1, idempotency_key => $1)", &[&name]);
    world.one(
        "SELECT * FROM ff_claim('M', $1, $1, namespace => $1)",
        &[&name],
    );
    assert_eq!(
        world
            .rows("SELECT * FROM ff_recover_leases($1, $1, $1)", &[&name])
            .len(),
        1
    );
}

#[test]
fn reasons_of_a_cancellation_are_bounded() {
    let mut inhabited = Inhabited::new();
    let calls: Vec<_> = ["''", "repeat('x', 1025)", r"E'a\nb'", r"E'\x01'"]
        .iter()
        .map(|reason| ("FF101", format!("SELECT * FROM ff_cancel($1, {reason})")))
        .collect();
    inhabited.refuses(&calls);
    let handle = inhabited.held.handle.clone();
    inhabited
        .world
        .one("SELECT * FROM ff_cancel($1, repeat('x', 1024))", &[&handle]);
}

#[test]
fn a_lane_breaking_its_rule_is_refused_everywhere() {
    let mut inhabited = Inhabited::new();
    let mut calls = Vec::new();
    for lane in ["''", "repeat('x', 65)", "'é'", r"E'a\tb'"] {
        for call in [
            format!("SELECT * FROM ff_create_execution({lane}, 'k')"),
            format!(
                "SELECT * FROM ff_create_executions(jsonb_build_array(jsonb_build_object('lane', {lane}, 'kind', 'k')))"
            ),
            format!("SELECT * FROM ff_create_many({lane}, 'k', '{{NULL}}')"),
            format!("SELECT * FROM ff_claim({lane}, 'w')"),
            format!("SELECT * FROM ff_scan_eligible({lane})"),
            format!("SELECT * FROM ff_claim_for_worker({lane}, 'w')"),
            format!(
                "SELECT * FROM ff_issue_grant_and_claim(gen_random_uuid(), '1 s', lane => {lane})"
            ),
            format!("SELECT * FROM ff_complete_and_claim($1, lane => {lane})"),
            format!("SELECT * FROM ff_complete_many_and_claim(ARRAY[$1], lane => {lane})"),
            format!("SELECT * FROM ff_set_lane({lane})"),
            format!("CALL ff_wait_for_work({lane}, '1 s')"),
        ] {
            calls.push(("FF133", call));
        }
    }
    inhabited.refuses(&calls);
}
