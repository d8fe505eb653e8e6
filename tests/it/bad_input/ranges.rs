//! Numbers, durations, instants and sizes outside their range (§10.2 G9, G10).

use super::Inhabited;
use crate::support::Cells;

#[test]
fn durations_are_finite_positive_and_without_months() {
    let mut inhabited = Inhabited::new();
    let mut calls = Vec::new();
    let positive = [
        "SELECT * FROM ff_claim('L', 'w', lease_ttl => DURATION)",
        "SELECT * FROM ff_claim_for_worker('L', 'w', grant_ttl => DURATION)",
        "SELECT * FROM ff_issue_claim_grant(gen_random_uuid(), 'w', grant_ttl => DURATION)",
        "SELECT * FROM ff_issue_reclaim_grant(gen_random_uuid(), 'w', grant_ttl => DURATION)",
        "SELECT * FROM ff_claim_execution(gen_random_uuid(), 'w', lease_ttl => DURATION)",
        "SELECT * FROM ff_reclaim_execution(gen_random_uuid(), 'w', lease_ttl => DURATION)",
        "SELECT * FROM ff_issue_grant_and_claim(gen_random_uuid(), DURATION)",
        "SELECT * FROM ff_renew($1, DURATION)",
        "SELECT * FROM ff_renew_many(ARRAY[$1], DURATION)",
        "SELECT * FROM ff_complete_and_claim($1, lease_ttl => DURATION)",
        "SELECT * FROM ff_complete_many_and_claim(ARRAY[$1], lease_ttl => DURATION)",
        "SELECT * FROM ff_create_execution('L', 'k', idempotency_key => 'new', dedup_window => DURATION)",
    ];
    let of_any_sign = [
        "SELECT * FROM ff_create_execution('L', 'k', retention => DURATION)",
        "SELECT * FROM ff_set_lane('M', retention => DURATION)",
        "SELECT * FROM ff_claim('never-used', 'w', wait => DURATION)",
        "SELECT * FROM ff_await_executions('{00000000-0000-0000-0000-000000000000}', wait => DURATION)",
        "SELECT * FROM ff_fail($1, 'x', retry_after => DURATION)",
        "CALL ff_wait_for_work('never-used', DURATION)",
    ];
    for call in positive {
        for duration in [
            "'0 s'",
            "'-1 s'",
            "'-1 day'",
            "'1 month'",
            "'1 year'",
            "'1 month -1 day'",
        ] {
            calls.push(("FF101", call.replace("DURATION", duration)));
        }
    }
    for call in of_any_sign {
        for duration in ["'1 month'", "'2 years'"] {
            calls.push(("FF101", call.replace("DURATION", duration)));
        }
    }
    for call in &of_any_sign[2..] {
        calls.push(("FF101", call.replace("DURATION", "'-1 s'")));
    }
    inhabited.refuses(&calls);
}

#[test]
fn a_lease_is_no_longer_than_the_setting_allows() {
    let mut inhabited = Inhabited::new();
    let calls: Vec<_> = [
        "'24 h 1 s'",
        "'2 days'",
        "'178000000 years'",
        "'100000000 days'",
    ]
    .iter()
    .flat_map(|ttl| {
        [
            (
                "FF101",
                format!("SELECT * FROM ff_claim('L', 'w', lease_ttl => {ttl})"),
            ),
            ("FF101", format!("SELECT * FROM ff_renew($1, {ttl})")),
        ]
    })
    .collect();
    inhabited.refuses(&calls);
    let handle = inhabited.held.handle.clone();
    inhabited
        .world
        .one("SELECT * FROM ff_renew($1, '24 h')", &[&handle]);
}

#[test]
fn instants_are_finite() {
    let mut inhabited = Inhabited::new();
    let mut calls = Vec::new();
    for instant in ["'infinity'", "'-infinity'"] {
        for call in [
            format!("SELECT * FROM ff_create_execution('L', 'k', delay_until => {instant})"),
            format!("SELECT * FROM ff_create_execution('L', 'k', execution_deadline => {instant})"),
            format!("SELECT * FROM ff_create_many('L', 'k', '{{NULL}}', delay_until => {instant})"),
            format!("SELECT * FROM ff_delay($1, {instant})"),
        ] {
            calls.push(("FF101", call));
        }
    }
    inhabited.refuses(&calls);
}

#[test]
fn counts_are_not_negative() {
    let mut inhabited = Inhabited::new();
    let calls: Vec<_> = [
        "SELECT * FROM ff_claim('L', 'w', max_items => -1)",
        "SELECT * FROM ff_complete_and_claim($1, max_items => -1)",
        "SELECT * FROM ff_complete_many_and_claim(ARRAY[$1], max_items => -1)",
        "SELECT * FROM ff_scan_eligible('L', -1)",
        "SELECT * FROM ff_list_lanes(max_items => -1)",
        "SELECT * FROM ff_list_executions(max_items => -1)",
        "SELECT * FROM ff_list_attempts(gen_random_uuid(), -1)",
        "SELECT * FROM ff_lease_history(gen_random_uuid(), max_items => -1)",
        "SELECT * FROM ff_read_events(max_items => -1)",
        "SELECT * FROM ff_check_invariants(-1)",
        "SELECT * FROM ff_tick(-1)",
        "SELECT * FROM ff_reconcile_lease_expiry(-1)",
    ]
    .iter()
    .map(|call| ("FF101", call.to_string()))
    .collect();
    inhabited.refuses(&calls);
}

#[test]
fn partitions_lie_between_0_and_255() {
    let mut inhabited = Inhabited::new();
    let mut calls = Vec::new();
    for range in ["'[-1,5]'", "'[0,256]'", "'[300,400)'"] {
        for call in [
            "SELECT * FROM ff_claim('L', 'w', partitions => RANGE)",
            "SELECT * FROM ff_scan_eligible('L', partitions => RANGE)",
            "SELECT * FROM ff_claim_for_worker('L', 'w', partitions => RANGE)",
            "SELECT * FROM ff_tick(partitions => RANGE)",
            "SELECT * FROM ff_reconcile_delayed(partitions => RANGE)",
            "CALL ff_wait_for_work('L', '1 s', partitions => RANGE)",
        ] {
            calls.push(("FF101", call.replace("RANGE", range)));
        }
    }
    calls.push((
        "FF101",
        "SELECT * FROM ff_list_executions(partition_key => 256)".into(),
    ));
    calls.push((
        "FF101",
        "SELECT * FROM ff_list_executions(partition_key => -1)".into(),
    ));
    inhabited.refuses(&calls);
}

#[test]
fn a_thousand_and_one_items_are_too_many_for_one_call() {
    let mut inhabited = Inhabited::new();
    inhabited.refuses(&[
        ("FF101", "SELECT * FROM ff_create_many('L', 'k', array_fill(NULL::bytea, '{1001}'))".into()),
        ("FF101", "SELECT * FROM ff_create_executions((SELECT jsonb_agg('{\"lane\":\"L\",\"kind\":\"k\"}'::jsonb) FROM generate_series(1, 1001)))".into()),
        ("FF101", "SELECT * FROM ff_renew_many(array_fill($1::text, '{1001}'))".into()),
        ("FF101", "SELECT * FROM ff_complete_many(array_fill($1::text, '{1001}'))".into()),
        ("FF101", "SELECT * FROM ff_complete_many(array_fill($1::text, '{1001}'), on_error => 'report')".into()),
        ("FF101", "SELECT * FROM ff_complete_many_and_claim(array_fill($1::text, '{1001}'))".into()),
        ("FF101", "SELECT * FROM ff_await_executions(array_fill(gen_random_uuid(), '{1001}'))".into()),
    ]);
}

#[test]
fn arrays_that_belong_together_have_one_length() {
    let mut inhabited = Inhabited::new();
    inhabited.refuses(&[
        (
            "FF101",
            "SELECT * FROM ff_create_many('L', 'k', '{NULL,NULL}', idempotency_keys => '{a}')"
                .into(),
        ),
        (
            "FF101",
            "SELECT * FROM ff_create_many('L', 'k', '{NULL}', idempotency_keys => '{}')".into(),
        ),
        (
            "FF101",
            "SELECT * FROM ff_complete_many(ARRAY[$1], '{}')".into(),
        ),
        (
            "FF101",
            "SELECT * FROM ff_complete_many(ARRAY[$1], '{NULL,NULL}')".into(),
        ),
        (
            "FF101",
            "SELECT * FROM ff_complete_many_and_claim(ARRAY[$1], '{NULL,NULL}')".into(),
        ),
        (
            "FF101",
            "SELECT * FROM ff_complete_many(ARRAY[$1], on_error => 'ignore')".into(),
        ),
    ]);
}

#[test]
fn a_payload_or_result_over_64_mib_is_refused() {
    let mut inhabited = Inhabited::new();
    let over = "convert_to(repeat('x', 67108865), 'UTF8')";
    inhabited.refuses(&[
        (
            "FF105",
            format!("SELECT * FROM ff_create_execution('L', 'k', {over})"),
        ),
        (
            "FF105",
            format!("SELECT * FROM ff_create_many('L', 'k', ARRAY['a'::bytea, {over}])"),
        ),
        ("FF105", format!("SELECT * FROM ff_complete($1, {over})")),
        (
            "FF105",
            format!("SELECT * FROM ff_complete_many(ARRAY[$1], ARRAY[{over}])"),
        ),
        (
            "FF105",
            format!("SELECT * FROM ff_complete_and_claim($1, {over})"),
        ),
    ]);
    let handle = inhabited.held.handle.clone();
    inhabited.world.one(
        "SELECT outcome FROM ff_complete($1, convert_to(repeat('x', 67108864), 'UTF8'))",
        &[&handle],
    );
}

#[test]
fn the_limit_on_payloads_is_a_setting_and_names_its_item() {
    let mut inhabited = Inhabited::new();
    inhabited.world.run("SET ff_engine.max_payload_bytes = 3");
    let failure = inhabited.world.refused(
        "FF105",
        "SELECT * FROM ff_create_many('L', 'k', ARRAY['abc', 'abcd']::bytea[])",
        &[],
    );
    assert_eq!(failure.detail["item"], 1);
    let row = inhabited
        .world
        .one("SELECT * FROM ff_create_execution('L', 'k', 'abc')", &[]);
    assert_eq!(row.text("outcome"), "created");
}
