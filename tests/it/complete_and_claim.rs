//! Completing and claiming the next item in one call (§10.11.1).

use serde_json::json;

use crate::support::{Cells, Claim, World};

const CALL: &str = "SELECT * FROM ff_complete_and_claim($1, 'r')";

#[test]
fn e_33_the_next_item_comes_under_the_terms_of_the_first_claim() {
    let mut w = World::new();
    let gpu = json!({"routing_requirements": {"required_capabilities": ["gpu"]}});
    let first = w.create("");
    w.one("SELECT * FROM ff_create_execution('other', 'k')", &[]);
    let second = w
        .one(
            "SELECT * FROM ff_create_execution('L', 'k', policy => $1)",
            &[&gpu],
        )
        .uuid("execution_id");
    let claim = w.claim(
        "worker => 'w', worker_instance => 'w-9', capabilities => '{gpu}', lease_ttl => '77 s'",
    );
    assert_eq!(claim.id, first);

    let row = w.one(CALL, &[&claim.handle]);
    assert_eq!(
        (row.text("completion"), row.flag("replayed")),
        ("completed".into(), false)
    );
    assert_eq!(row.uuid("completed_execution_id"), first);
    assert_eq!(w.result(first), Some(Some(b"r".to_vec())));

    let facts = w.describe(second);
    assert_eq!(
        (facts.text("worker"), facts.text("worker_instance")),
        ("w".into(), "w-9".into())
    );
    let ttl: String = w.value(
        "SELECT lease_ttl::text FROM ff_describe_execution($1)",
        &[&second],
    );
    assert_eq!(ttl, "00:01:17");
    let next = Claim::of(row);
    assert_eq!(
        (next.id, next.kind.as_str(), next.epoch),
        (second, "fresh", 1)
    );
    w.complete(&next.handle, None);
}

#[test]
fn e_33_with_nothing_left_one_row_tells_of_the_completion_alone() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    let row = w.one(CALL, &[&claim.handle]);
    assert_eq!(row.text("completion"), "completed");
    assert_eq!(
        (row.maybe_uuid("execution_id"), row.maybe_text("handle")),
        (None, None)
    );
    assert_eq!(w.state(claim.id), "completed");
}

#[test]
fn e_33_several_next_items_repeat_the_completion() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    let ids = w.create_several(4, "");
    let rows = w.rows(
        "SELECT * FROM ff_complete_and_claim($1, max_items => 3)",
        &[&claim.handle],
    );
    let next: Vec<_> = rows.iter().map(|row| row.uuid("execution_id")).collect();
    assert_eq!(next, ids[..3]);
    assert!(
        rows.iter()
            .all(|row| row.uuid("completed_execution_id") == claim.id)
    );
}

#[test]
fn e_33_a_stale_handle_claims_nothing() {
    let mut w = World::new();
    let stale = w.claimed("", "lease_ttl => '1 s'");
    w.advance_ms(1_000);
    w.claim("");
    let next = w.create("");
    let before = w.contents();
    w.refused("FF401", CALL, &[&stale.handle]);
    assert_eq!(w.contents(), before);
    assert_eq!(w.state(next), "waiting");
}

#[test]
fn e_33_an_error_of_the_claim_half_undoes_the_completion() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    for (code, arguments) in [
        ("FF133", "lane => 'é'"),
        ("FF101", "max_items => -1"),
        ("FF103", "capabilities => '{a b}'"),
        ("FF101", "lease_ttl => '-1 s'"),
    ] {
        let call = format!("SELECT * FROM ff_complete_and_claim($1, {arguments})");
        w.refused(code, &call, &[&claim.handle]);
        assert_eq!(w.state(claim.id), "active", "{arguments}");
    }
}

#[test]
fn e_33_a_replayed_completion_still_claims() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    let ids = w.create_several(2, "");
    let first = w.one(CALL, &[&claim.handle]);
    assert_eq!(first.uuid("execution_id"), ids[0]);
    let again = w.one(CALL, &[&claim.handle]);
    assert_eq!(
        (again.text("completion"), again.flag("replayed")),
        ("completed".into(), true)
    );
    assert_eq!(
        (
            again.uuid("completed_execution_id"),
            again.uuid("execution_id")
        ),
        (claim.id, ids[1])
    );
    let held = w.rows("SELECT * FROM ff_recover_leases('w', 'w-1')", &[]);
    assert_eq!(held.len(), 2, "what the lost response handed out is found");
}

#[test]
fn e_33_arguments_replace_the_recorded_terms() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    let other = w
        .one(
            "SELECT * FROM ff_create_execution('M', 'k', namespace => 'n')",
            &[],
        )
        .uuid("execution_id");
    let row = w.one(
        "SELECT * FROM ff_complete_and_claim($1, lane => 'M', worker => 'v', worker_instance => 'v-1', namespace => 'n', lease_ttl => '5 s')",
        &[&claim.handle],
    );
    assert_eq!(row.uuid("execution_id"), other);
    assert_eq!(w.describe(other).text("worker"), "v");
}

#[test]
fn e_33_a_batch_is_completed_first_and_then_refilled() {
    let mut w = World::new();
    w.create_several(3, "");
    let claims = w.claims("max_items => 3");
    let next = w.create_several(2, "");
    let handles: Vec<_> = claims.iter().map(|claim| claim.handle.clone()).collect();
    let results: Vec<Option<&[u8]>> = vec![Some(b"0"), None, Some(b"2")];
    let rows = w.rows(
        "SELECT * FROM ff_complete_many_and_claim($1, $2, max_items => 5)",
        &[&handles, &results],
    );
    assert_eq!(rows.len(), 3, "as many rows as the longer side");
    let completed: Vec<_> = rows
        .iter()
        .map(|row| row.uuid("completed_execution_id"))
        .collect();
    assert_eq!(
        completed,
        claims.iter().map(|claim| claim.id).collect::<Vec<_>>()
    );
    let claimed: Vec<_> = rows
        .iter()
        .map(|row| row.maybe_uuid("execution_id"))
        .collect();
    assert_eq!(claimed, [Some(next[0]), Some(next[1]), None]);
    assert_eq!(w.result(claims[0].id), Some(Some(b"0".to_vec())));
    assert_eq!(w.result(claims[1].id), Some(None));

    let more = w.create_several(3, "");
    let one = vec![rows[0].text("handle")];
    let rows = w.rows(
        "SELECT * FROM ff_complete_many_and_claim($1, max_items => 3)",
        &[&one],
    );
    let completions: Vec<_> = rows
        .iter()
        .map(|row| row.maybe_text("completion"))
        .collect();
    assert_eq!(completions, [Some("completed".into()), None, None]);
    assert_eq!(
        rows.iter()
            .map(|row| row.uuid("execution_id"))
            .collect::<Vec<_>>(),
        more
    );
}

#[test]
fn e_33_a_batch_is_all_or_nothing_and_of_one_instance() {
    let mut w = World::new();
    let mine = w.claimed("", "");
    let foreign = w.claimed("", "worker => 'w', worker_instance => 'w-2'");
    let next = w.create("");
    let both = vec![mine.handle.clone(), foreign.handle.clone()];
    w.refused(
        "FF101",
        "SELECT * FROM ff_complete_many_and_claim($1)",
        &[&both],
    );
    let broken = vec![mine.handle.clone(), "ffh1.x".to_string()];
    w.refused(
        "FF129",
        "SELECT * FROM ff_complete_many_and_claim($1)",
        &[&broken],
    );
    assert_eq!(
        (w.state(mine.id), w.state(next)),
        ("active".into(), "waiting".into())
    );
}
