//! What a claim hands out, in which order, to whom (§10.11).

use chrono::Duration;
use serde_json::json;

use crate::support::pace::{apart, busy};
use crate::support::work::requiring;
use crate::support::{Cells, World};

const CLAIMED: &str = "active/leased/not_applicable/none/none/running_attempt";

#[test]
fn e_20_a_claim_returns_everything_a_worker_needs() {
    let mut w = World::new();
    let policy = r#"{"max_reclaim_count":3}"#;
    let created = w.one(
        r#"SELECT * FROM ff_create_execution('L', 'send', '\x00ff', 'raw', priority => 7,
            tags => '{"app.x":"1"}', policy => $1::text::jsonb)"#,
        &[&policy],
    );
    let before = w.now();
    let claim = w.claim("lease_ttl => '30 s'");
    let after = w.now();
    let row = &claim.row;
    assert_eq!(claim.id, created.uuid("execution_id"));
    assert_eq!(
        (
            claim.index,
            claim.attempt_type.as_str(),
            claim.kind.as_str(),
            claim.epoch
        ),
        (0, "initial", "fresh", 1)
    );
    assert_eq!(
        (row.text("namespace"), row.text("lane"), row.text("kind")),
        ("default".into(), "L".into(), "send".into())
    );
    assert_eq!(
        (row.bytes("payload"), row.text("payload_encoding")),
        (Some(vec![0, 0xff]), "raw".into())
    );
    assert_eq!(
        (row.json("tags"), row.json("policy")),
        (json!({"app.x": "1"}), json!({"max_reclaim_count": 3}))
    );
    assert_eq!(
        (row.int("priority"), row.small("partition_key")),
        (7, created.small("partition_key"))
    );
    assert_eq!(
        (
            row.int("retry_count"),
            row.int("reclaim_count"),
            row.int("total_attempt_count")
        ),
        (0, 0, 1)
    );
    assert_eq!(
        (
            row.maybe_int("previous_attempt_index"),
            row.maybe_text("previous_failure")
        ),
        (None, None)
    );
    assert_eq!(
        (
            row.maybe_uuid("flow_id"),
            row.maybe_instant("attempt_deadline")
        ),
        (None, None)
    );

    let expires = row.instant("lease_expires_at");
    assert!(before + Duration::seconds(30) <= expires && expires <= after + Duration::seconds(30));
    assert_eq!(expires - row.instant("renew_before"), Duration::seconds(10));

    w.assert_vector(claim.id, CLAIMED, "active");
    let facts = w.describe(claim.id);
    assert_eq!(facts.int("total_attempt_count"), 1);
    assert!(facts.maybe_instant("started_at").is_some());
    assert_eq!(w.attempt_words(claim.id), ["0 initial started"]);
    assert_eq!(w.event_words(claim.id), ["lease.acquired(claim)"]);
    assert!(w.claims("").is_empty(), "a second claim finds nothing");
}

#[test]
fn e_21_higher_priority_first_then_creation_order() {
    let mut w = World::new();
    let ids = [1, 10, 5].map(|p| w.create(&format!("priority => {p}")));
    let equal = w.create_several(3, "priority => 0");
    let order: Vec<_> = (0..6).map(|_| w.claim("").id).collect();
    assert_eq!(
        order,
        [ids[1], ids[2], ids[0], equal[0], equal[1], equal[2]]
    );
}

#[test]
fn e_21_a_retry_keeps_the_place_of_its_execution() {
    let mut w = World::new();
    let old = w.claimed(r#"policy => '{"retry_policy":{}}'"#, "");
    let new = w.create("");
    w.fail(&old.handle, "again", "retry_after => '0'");
    assert_eq!(
        w.claims("max_items => 2")
            .iter()
            .map(|c| c.id)
            .collect::<Vec<_>>(),
        [old.id, new]
    );
}

#[test]
fn e_21_the_order_holds_across_namespaces_requirements_and_batches() {
    let mut w = World::new();
    let gpu = r#"policy => '{"routing_requirements":{"required_capabilities":["gpu"]}}'"#;
    let mut ids = Vec::new();
    for n in 0..12 {
        let more = match n % 4 {
            0 => "namespace => 'a'".to_string(),
            1 => gpu.to_string(),
            2 => format!("namespace => 'b', {gpu}"),
            _ => String::new(),
        };
        ids.push(w.create(&more));
    }
    let first = w.claims("max_items => 5, capabilities => '{gpu}'");
    let rest = w.claims("max_items => 50, capabilities => '{gpu}'");
    let order: Vec<_> = first.iter().chain(&rest).map(|claim| claim.id).collect();
    assert_eq!(order, ids);
}

#[test]
fn e_22_concurrent_claimers_share_without_overlap() {
    let _machine = busy();
    let mut w = World::new();
    let mut ids = w.create_several(20, "");
    let claimers: Vec<_> = (0..8)
        .map(|n| {
            let door = w.door();
            apart(move || {
                let mut session = door.open();
                let mut mine = Vec::new();
                loop {
                    let claims = session.claims(&format!("worker => 'w{n}', max_items => 5"));
                    assert!(claims.len() <= 5);
                    if claims.is_empty() {
                        return mine;
                    }
                    mine.extend(claims.into_iter().map(|claim| claim.id));
                }
            })
        })
        .collect();
    let mut claimed: Vec<_> = claimers
        .into_iter()
        .flat_map(|claimer| claimer.outcome())
        .collect();
    claimed.sort();
    ids.sort();
    assert_eq!(claimed, ids, "each execution exactly once");
}

#[test]
fn e_23_a_rolled_back_claim_never_was() {
    let mut w = World::new();
    let id = w.create("");
    w.run("BEGIN");
    w.claim("");
    w.run("ROLLBACK");
    let facts = w.describe(id);
    assert_eq!(
        (facts.big("lease_epoch"), facts.text("public_state")),
        (0, "waiting".into())
    );
    assert_eq!(w.all_events().len(), 0);
    assert_eq!(w.claim("").epoch, 1);
}

#[test]
fn e_23_the_death_of_a_claiming_session_frees_its_execution() {
    let mut w = World::new();
    let id = w.create("");
    let mut claimer = w.session();
    claimer.run("BEGIN");
    claimer.claim("");
    let mut other = w.session();
    assert!(
        other.claims("").is_empty(),
        "locked by the open transaction"
    );
    let pid = claimer.pid();
    let killed: bool = w.value("SELECT pg_terminate_backend($1, 5000)", &[&pid]);
    assert!(killed);
    let claim = other.claim("");
    assert_eq!((claim.id, claim.epoch), (id, 1));
}

#[test]
fn e_24_work_that_the_claimer_cannot_run_does_not_stand_in_its_way() {
    let mut w = World::new();
    let gpu = w.create(&requiring(&["gpu"]));
    let plain = w.create("");
    let untouched = w.describe(gpu).instant("last_mutation_at");
    assert!(
        w.claims("capabilities => '{GPU}', max_items => 0")
            .is_empty()
    );
    assert_eq!(w.claim("").id, plain);
    assert!(
        w.claims("capabilities => '{GPU}'").is_empty(),
        "matching is case-sensitive"
    );
    assert_eq!(w.describe(gpu).instant("last_mutation_at"), untouched);
    assert_eq!(w.claim("capabilities => '{gpu,cuda}'").id, gpu);

    let torch = w.create(&requiring(&["gpu", "torch>=2.3"]));
    assert!(w.claims("capabilities => '{gpu}'").is_empty());
    assert_eq!(w.claim("capabilities => '{torch>=2.3,gpu}'").id, torch);
}

#[test]
fn e_28_a_claim_finds_due_work_without_any_reconciler() {
    let mut w = World::new();
    let delayed = w.create("delay_until => ff_server_time() + interval '10 s'");
    assert!(w.claims("").is_empty());
    w.advance_ms(10_000);
    let claim = w.claim("lease_ttl => '5 s'");
    assert_eq!(claim.id, delayed);

    w.advance_ms(5_000);
    assert!(w.claims("reclaim => false").is_empty());
    assert_eq!(w.state(delayed), "active");
    let again = w.claim("reclaim => true");
    assert_eq!((again.id, again.kind.as_str()), (delayed, "reclaimed"));
}

#[test]
fn e_28_every_due_row_is_found_although_one_call_promotes_only_some() {
    let mut w = World::new();
    for _ in 0..3 {
        w.rows("SELECT ff_create_many('L', 'k', array_fill(NULL::bytea, '{100}'), delay_until => ff_server_time() + interval '1 s')", &[]);
    }
    w.advance_ms(1_000);
    let mut claimed = 0;
    loop {
        let claims = w.claims("max_items => 50");
        if claims.is_empty() {
            break;
        }
        claimed += claims.len();
    }
    assert_eq!(claimed, 300, "no look ends empty while due rows are left");
}

#[test]
fn e_30_the_number_of_items_is_bounded() {
    let mut w = World::new();
    assert_eq!(
        w.rows(
            "SELECT ff_create_many('L', 'k', array_fill(NULL::bytea, '{1000}'))",
            &[]
        )
        .len(),
        1000
    );
    w.create_several(5, "");
    assert!(w.claims("max_items => 0").is_empty());
    w.refused(
        "FF101",
        "SELECT * FROM ff_claim('L', 'w', max_items => -1)",
        &[],
    );
    assert_eq!(w.claims("max_items => 5000").len(), 1000);
    assert_eq!(w.claims("max_items => 5000").len(), 5);
}

#[test]
fn e_32_a_lost_response_is_recovered() {
    let mut w = World::new();
    let mut lost = Vec::new();
    for _ in 0..3 {
        lost.push(w.claimed("", ""));
    }
    w.claimed("", "worker => 'w', worker_instance => 'w-2'");
    let before = w.contents();
    let rows = w.rows("SELECT * FROM ff_recover_leases('w', 'w-1')", &[]);
    let handles: Vec<_> = rows.iter().map(|row| row.text("handle")).collect();
    let expected: Vec<_> = lost.iter().map(|claim| claim.handle.clone()).collect();
    assert_eq!(handles, expected, "equal handles, oldest first");
    assert_eq!(
        rows[0].instant("lease_expires_at"),
        lost[0].row.instant("lease_expires_at")
    );
    assert_eq!(w.contents(), before, "nothing is changed");
    assert_eq!(w.complete(&handles[0], None).text("outcome"), "completed");
    let left = w.rows("SELECT * FROM ff_recover_leases('w', 'w-1')", &[]);
    assert_eq!(left.len(), 2);
    assert!(
        w.rows("SELECT * FROM ff_recover_leases('x', 'w-1')", &[])
            .is_empty()
    );
    assert!(
        w.rows("SELECT * FROM ff_recover_leases('w', 'w-1', 'other')", &[])
            .is_empty()
    );
    w.advance_ms(30_000);
    assert!(
        w.rows("SELECT * FROM ff_recover_leases('w', 'w-1')", &[])
            .is_empty(),
        "none is live"
    );
}

#[test]
fn e_34_claim_work_and_completion_in_one_transaction_stand_or_fall_together() {
    let mut w = World::new();
    w.run("CREATE TABLE business (note text)");
    let id = w.create("");
    for end in ["ROLLBACK", "COMMIT"] {
        w.run("BEGIN");
        let claim = w.claim("lease_ttl => '5 min'");
        w.run("INSERT INTO business VALUES ('done')");
        w.complete(&claim.handle, Some(b"r"));
        let mut other = w.session();
        assert!(
            other.claims("").is_empty(),
            "the row stays locked for others"
        );
        assert_eq!(other.state(id), "waiting");
        w.run(end);
        let notes: i64 = w.value("SELECT count(*) FROM business", &[]);
        let done = end == "COMMIT";
        assert_eq!(w.state(id), if done { "completed" } else { "waiting" });
        assert_eq!(notes, i64::from(done));
    }
}

#[test]
fn e_35_the_first_claim_ever_stays_the_start() {
    let mut w = World::new();
    let first = w.claimed(r#"policy => '{"retry_policy":{}}'"#, "");
    let started = w.describe(first.id).maybe_instant("started_at");
    assert!(started.is_some());
    w.fail(&first.handle, "again", "retry_after => '0'");
    w.advance_ms(5_000);
    let second = w.claim("");
    assert_eq!(second.id, first.id);
    let facts = w.describe(first.id);
    assert_eq!(facts.maybe_instant("started_at"), started);
    assert!(facts.maybe_instant("attempt_started_at") > started);
}

#[test]
fn namespace_and_partitions_narrow_a_claim() {
    let mut w = World::new();
    let tenant = w.create("namespace => 'tenant'");
    let plain = w.create("");
    assert!(w.claims("namespace => 'nobody'").is_empty());
    assert_eq!(w.claim("namespace => 'tenant'").id, tenant);
    let partition: i16 = w.value("SELECT ff_partition_of($1)", &[&plain]);
    assert!(
        w.claims(&format!("partitions => int4range(0, {partition})"))
            .is_empty()
    );
    assert!(
        w.claims(&format!("partitions => '({partition},255]'"))
            .is_empty()
    );
    assert_eq!(
        w.claim(&format!("partitions => '[{partition},{partition}]'"))
            .id,
        plain
    );
}

#[test]
fn a_lane_nobody_has_used_offers_nothing() {
    let mut w = World::new();
    assert!(
        w.rows("SELECT * FROM ff_claim('never-used', 'w')", &[])
            .is_empty()
    );
    assert!(
        w.rows("SELECT * FROM ff_list_lanes()", &[]).is_empty(),
        "a claim registers no lane"
    );
}
