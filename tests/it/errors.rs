//! The error taxonomy as clients meet it (§10.24).

use std::collections::{BTreeMap, BTreeSet};

use crate::support::failure::SECRET;
use crate::support::{Cells, World, contract};

/// One call per group that fails.
const ONE_PER_GROUP: [(&str, &str); 7] = [
    ("FF001", "SELECT ff_format_execution_id(gen_random_uuid())"),
    ("FF133", "SELECT * FROM ff_create_execution('', 'k')"),
    (
        "FF210",
        "SELECT * FROM ff_fail((SELECT handle FROM ended), 'x')",
    ),
    (
        "FF402",
        "SELECT * FROM ff_complete((SELECT handle FROM elapsed))",
    ),
    (
        "FF303",
        "SELECT * FROM ff_add_dependency((SELECT flow_id FROM held), (SELECT id FROM held), (SELECT id FROM held))",
    ),
    (
        "FF506",
        "SELECT * FROM ff_suspend((SELECT handle FROM held), ff_cond_signal())",
    ),
    ("FF902", "SELECT * FROM ff_claim('M', 'w')"),
];

/// Leases that have ended, elapsed and go on, no signing key, and a lane with a budget that somebody has deleted.
fn where_everything_fails() -> World {
    let mut w = World::new();
    let ended = w.claimed("", "");
    w.complete(&ended.handle, None);
    let elapsed = w.claimed("", "lease_ttl => '1 s'");
    w.advance_ms(1_000);
    let flow = w.flow();
    let member = w.member(flow);
    let held = w.take(member);
    w.run(&format!(
        "CREATE TABLE held AS SELECT '{}'::text AS handle, '{member}'::uuid AS id, '{flow}'::uuid AS flow_id;
         SELECT ff_create_execution('M', 'k');
         SELECT ff_create_budget('lane', 'M');
         DELETE FROM ff_engine.budget",
        held.handle
    ));
    w.run(&format!(
        "CREATE TABLE ended AS SELECT '{}'::text AS handle; CREATE TABLE elapsed AS SELECT '{}'::text AS handle",
        ended.handle, elapsed.handle
    ));
    w
}

#[test]
fn e_114_a_client_sees_code_kind_detail_and_hint() {
    let mut w = where_everything_fails();
    for (sqlstate, call) in ONE_PER_GROUP {
        w.refused(sqlstate, call, &[]);
    }
}

#[test]
fn e_114_plpgsql_catches_one_code_and_the_whole_class() {
    let mut w = where_everything_fails();
    for (sqlstate, call) in ONE_PER_GROUP {
        for caught in ["FF000", sqlstate] {
            w.run(&format!(
                "DO $do$ DECLARE state text; said text; detail text; hint text; BEGIN
                    BEGIN
                        PERFORM {};
                        RAISE 'no error';
                    EXCEPTION WHEN SQLSTATE '{caught}' THEN
                        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, said = MESSAGE_TEXT,
                            detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
                        ASSERT state = '{sqlstate}', state;
                        ASSERT detail::jsonb ->> 'kind' = split_part(said, ':', 1), detail;
                        ASSERT hint <> '', 'a hint';
                    END;
                END $do$",
                call.trim_start_matches("SELECT ")
            ));
        }
    }
}

#[test]
fn e_114_work_before_a_savepoint_survives() {
    let mut w = where_everything_fails();
    for (sqlstate, call) in ONE_PER_GROUP {
        w.run("BEGIN");
        let id = w.create("");
        w.run("SAVEPOINT s");
        w.create("idempotency_key => 'undone'");
        w.refused(sqlstate, call, &[]);
        w.run("ROLLBACK TO s");
        assert_eq!(
            w.create_row("idempotency_key => 'undone'").text("outcome"),
            "created"
        );
        w.run("ROLLBACK TO s; COMMIT");
        assert_eq!(w.state(id), "waiting");
    }
}

#[test]
fn e_115_the_catalogue_equals_the_specification() {
    let mut w = World::new();
    let rows = w.rows("SELECT * FROM ff_error_codes()", &[]);
    let shown: BTreeMap<String, String> = rows
        .iter()
        .map(|row| (row.text("sqlstate"), row.text("kind")))
        .collect();
    assert_eq!(shown.len(), rows.len(), "codes are unique");
    let kinds: BTreeSet<&String> = shown.values().collect();
    assert_eq!(kinds.len(), rows.len(), "kinds are unique");
    assert_eq!(&shown, contract::errors());

    let retryable: BTreeMap<String, bool> = contract::table("errors.tsv")
        .into_iter()
        .map(|row| (row[1].clone(), row[2] == "yes"))
        .collect();
    let groups = [
        "not found",
        "validation",
        "contention",
        "conflict",
        "state",
        "availability",
    ];
    for row in &rows {
        let (sqlstate, advice) = (row.text("sqlstate"), row.text("advice"));
        let digit = sqlstate.as_bytes()[2] - b'0';
        let group = groups
            .get(usize::from(digit))
            .copied()
            .unwrap_or("internal");
        assert_eq!(
            row.text("error_group").replace('_', " "),
            group,
            "{sqlstate}"
        );
        let words = [
            "fix", "gone", "retry", "reread", "stop", "benign", "alert", "—", "-", "",
        ];
        assert!(words.contains(&advice.as_str()), "{sqlstate}: {advice}");
        if retryable[&sqlstate] {
            assert_eq!(advice, "retry", "{sqlstate}");
        }
        assert!(!row.text("summary").is_empty(), "{sqlstate}");
    }
}

#[test]
fn e_115_no_error_shows_what_it_was_given() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    let payload = SECRET.as_bytes();
    // The shape of every error is checked where it is caught; these carry a payload or a handle.
    w.refused(
        "FF101",
        "SELECT * FROM ff_create_execution('L', '', $1)",
        &[&payload],
    );
    w.refused(
        "FF101",
        "SELECT * FROM ff_fail($1, 'x', 'odd', detail => $2)",
        &[&claim.handle, &payload],
    );
    w.refused(
        "FF101",
        "SELECT * FROM ff_complete_many(ARRAY[$1], ARRAY[$2, $2]::bytea[])",
        &[&claim.handle, &payload],
    );
    let items = serde_json::json!([{"lane": "L", "kind": "k", "payload_text": SECRET, "odd": 1}]);
    w.refused("FF101", "SELECT * FROM ff_create_executions($1)", &[&items]);
    let items = serde_json::json!([{"lane": "L", "kind": "k", "payload_text": SECRET, "payload_base64": ""}]);
    w.refused("FF101", "SELECT * FROM ff_create_executions($1)", &[&items]);
    w.advance_ms(30_000);
    w.refused(
        "FF402",
        "SELECT * FROM ff_complete($1, $2)",
        &[&claim.handle, &payload],
    );
}
