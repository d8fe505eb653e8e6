//! Idempotency keys: scope, lifetime, races (§10.6).

use crate::support::pace::apart;
use crate::support::work::create_call;
use crate::support::{Cells, World};

#[test]
fn e_6_a_key_names_one_request_within_its_namespace() {
    let mut w = World::new();
    let first = w.create(r"payload => '\x01', idempotency_key => 'a'");
    let before = w.contents();

    let again = w.create_row(r"payload => '\x01', idempotency_key => 'a'");
    assert_eq!(again.text("outcome"), "duplicate");
    assert_eq!(again.uuid("execution_id"), first);
    assert_eq!(again.text("public_state"), "waiting");
    assert_eq!(again.maybe_flag("request_matches"), Some(true));
    assert_eq!(w.executions(), 1);

    let other = w.create_row(r"payload => '\x02', idempotency_key => 'a'");
    assert_eq!(other.text("outcome"), "duplicate");
    assert_eq!(other.uuid("execution_id"), first);
    assert_eq!(other.maybe_flag("request_matches"), Some(false));
    assert_eq!(w.contents(), before, "duplicates change nothing");

    let elsewhere =
        w.create_row(r"payload => '\x01', idempotency_key => 'a', namespace => 'other'");
    assert_eq!(elsewhere.text("outcome"), "created");
    assert_ne!(elsewhere.uuid("execution_id"), first);
}

#[test]
fn e_6_lane_kind_and_absence_of_payload_belong_to_the_request() {
    let mut w = World::new();
    w.create("idempotency_key => 'a'");
    for (call, matches) in [
        (
            "SELECT * FROM ff_create_execution('M', 'k', idempotency_key => 'a')",
            false,
        ),
        (
            "SELECT * FROM ff_create_execution('L', 'j', idempotency_key => 'a')",
            false,
        ),
        (
            r"SELECT * FROM ff_create_execution('L', 'k', '\x', idempotency_key => 'a')",
            false,
        ),
        (
            "SELECT * FROM ff_create_execution('L', 'k', idempotency_key => 'a', priority => 9)",
            true,
        ),
    ] {
        let row = w.one(call, &[]);
        assert_eq!(row.text("outcome"), "duplicate", "{call}");
        assert_eq!(row.maybe_flag("request_matches"), Some(matches), "{call}");
    }
}

#[test]
fn e_7_a_key_past_its_window_is_taken_over() {
    let mut w = World::new();
    let arguments = "idempotency_key => 'a', dedup_window => '10 s'";
    let first = w.create(arguments);
    w.advance_ms(9_000);
    assert_eq!(w.create_row(arguments).text("outcome"), "duplicate");
    w.advance_ms(1_000);
    let second = w.create(arguments);
    assert_ne!(first, second);
    assert_eq!(w.create_row(arguments).uuid("execution_id"), second);
}

#[test]
fn e_7_the_window_comes_from_argument_policy_and_setting_in_this_order() {
    let mut w = World::new();
    w.create(r#"idempotency_key => 'policy', policy => '{"dedup_window_ms":10000}'"#);
    w.create(r#"idempotency_key => 'argument', dedup_window => '30 s', policy => '{"dedup_window_ms":10000}'"#);
    w.create("idempotency_key => 'setting'");
    w.advance_ms(10_000);
    let outcome = |w: &mut World, key: &str| {
        w.create_row(&format!("idempotency_key => '{key}'"))
            .text("outcome")
    };
    assert_eq!(outcome(&mut w, "policy"), "created");
    assert_eq!(outcome(&mut w, "argument"), "duplicate");
    w.advance_ms(20_000);
    assert_eq!(outcome(&mut w, "argument"), "created");
    w.advance_ms(24 * 3_600_000 - 60_000);
    assert_eq!(outcome(&mut w, "setting"), "duplicate");
    w.advance_ms(60_000);
    assert_eq!(outcome(&mut w, "setting"), "created");
}

#[test]
fn e_7_a_key_outlives_the_purge_of_its_execution() {
    let mut w = World::new();
    let claim = w.claimed("idempotency_key => 'a', retention => '0'", "");
    w.complete(&claim.handle, None);
    w.reconciles("retention", 1);
    assert!(!w.exists(claim.id));

    let row = w.create_row("idempotency_key => 'a', retention => '0'");
    assert_eq!(row.text("outcome"), "duplicate");
    assert_eq!(row.uuid("execution_id"), claim.id);
    assert_eq!(row.maybe_text("public_state"), None);
}

#[test]
fn e_7_the_reconciler_deletes_keys_past_their_window() {
    let mut w = World::new();
    w.create("idempotency_key => 'a', dedup_window => '10 s'");
    w.create("idempotency_key => 'b', dedup_window => '20 s'");
    w.reconciles("idempotency", 0);
    w.advance_ms(10_000);
    w.reconciles("idempotency", 1);
    w.reconciles("idempotency", 0);
    assert_eq!(
        w.create_row("idempotency_key => 'b'").text("outcome"),
        "duplicate"
    );
}

#[test]
fn e_8_the_second_creator_waits_and_is_a_duplicate_if_the_first_commits() {
    let mut w = World::new();
    let mut first = w.session();
    first.run("BEGIN");
    let id = first.create("idempotency_key => 'a'");

    let mut second = w.session();
    let pid = second.pid();
    let waiting = apart(move || second.create_row("idempotency_key => 'a'"));
    w.waits_until_blocked(pid);
    first.run("COMMIT");
    let row = waiting.outcome();
    assert_eq!(
        (row.text("outcome"), row.uuid("execution_id")),
        ("duplicate".into(), id)
    );
    assert_eq!(w.executions(), 1);
}

#[test]
fn e_8_the_second_creator_waits_and_creates_if_the_first_rolls_back() {
    let mut w = World::new();
    let mut first = w.session();
    first.run("BEGIN");
    first.create("idempotency_key => 'a'");

    let mut second = w.session();
    let pid = second.pid();
    let waiting = apart(move || second.create_row("idempotency_key => 'a'"));
    w.waits_until_blocked(pid);
    first.run("ROLLBACK");
    assert_eq!(waiting.outcome().text("outcome"), "created");
    assert_eq!(w.executions(), 1);
}

#[test]
fn e_8_batches_with_keys_in_opposite_order_do_not_deadlock() {
    let w = World::new();
    let keys: Vec<String> = (0..50).map(|n| format!("key{n}")).collect();
    let creators: Vec<_> = (0..4)
        .map(|n| {
            let door = w.door();
            let mut keys = keys.clone();
            if n % 2 == 1 {
                keys.reverse();
            }
            apart(move || {
                let mut session = door.open();
                let payloads: Vec<Vec<u8>> =
                    keys.iter().map(|key| key.clone().into_bytes()).collect();
                let sql = "SELECT * FROM ff_create_many('L', 'k', $1, idempotency_keys => $2)";
                let rows = session.rows(sql, &[&payloads, &keys]);
                rows.iter()
                    .filter(|row| row.text("outcome") == "created")
                    .count()
            })
        })
        .collect();
    let created: usize = creators.into_iter().map(|creator| creator.outcome()).sum();
    assert_eq!(created, 50);
}

#[test]
fn a_duplicate_by_key_wins_over_a_duplicate_by_id() {
    let mut w = World::new();
    let keyed = w.create("idempotency_key => 'a'");
    let other = w.create("");
    let row = w.one(
        &create_call(&format!(
            "idempotency_key => 'a', execution_id => '{other}'"
        )),
        &[],
    );
    assert_eq!(
        (row.text("outcome"), row.uuid("execution_id")),
        ("duplicate".into(), keyed)
    );
}
