//! The derived public state, and vectors that cannot be stored (§10.3).

use uuid::Uuid;

use crate::support::{Cells, World};

/// Sets words of the vector of one execution behind the engine's back.
fn store(w: &mut World, id: Uuid, letters: &str) -> Result<u64, String> {
    let statement = format!("UPDATE ff_engine.execution SET {letters} WHERE execution_id = '{id}'");
    w.execute(&statement, &[]).map_err(|e| {
        e.as_db_error()
            .map(|db| format!("{} {}", db.code().code(), db.message()))
            .unwrap_or_default()
    })
}

/// The letters that `ff_engine.execution` uses for the words, as comments of its columns say.
const LEASE: &str = "claimer_id = 1, lease_id = gen_random_uuid(), attempt_id = gen_random_uuid(),
     lease_epoch = 1, lease_expires_at = now() + interval '1 h'";

#[test]
fn e_1_every_vector_reads_as_its_public_state() {
    let mut w = World::new();
    w.will_break_invariants();
    let id = w.create("");
    let runnable = |eligibility: &str, blocking: &str, attempt: &str| {
        format!(
            "lifecycle_phase = 'r', ownership_state = 'u', eligibility_state = '{eligibility}', terminal_outcome = 'n',
             attempt_state = '{attempt}', lease_expires_at = NULL, completed_at = NULL, delay_until = now() {blocking}"
        )
    };
    let terminal = |outcome: &str| {
        format!(
            "lifecycle_phase = 't', ownership_state = 'u', eligibility_state = 'n', terminal_outcome = '{outcome}',
             attempt_state = 't', lease_expires_at = NULL, completed_at = now()"
        )
    };
    let active = |ownership: &str, attempt: &str| {
        format!(
            "lifecycle_phase = 'a', ownership_state = '{ownership}', eligibility_state = 'n', terminal_outcome = 'n',
             attempt_state = '{attempt}', completed_at = NULL, {LEASE}"
        )
    };
    let suspended = "lifecycle_phase = 's', ownership_state = 'u', eligibility_state = 'n', terminal_outcome = 'n',
         attempt_state = 'i', lease_expires_at = NULL, completed_at = NULL"
        .to_string();
    for (letters, words, public) in [
        (
            runnable("e", "", "f"),
            "runnable/unowned/eligible_now",
            "waiting",
        ),
        (
            runnable("t", "", "f"),
            "runnable/unowned/not_eligible_until_time",
            "delayed",
        ),
        (
            runnable("t", "", "i"),
            "runnable/unowned/not_eligible_until_time",
            "delayed",
        ),
        (
            runnable("d", "", "f"),
            "runnable/unowned/blocked_by_dependencies",
            "waiting_children",
        ),
        (
            runnable("b", "", "f"),
            "runnable/unowned/blocked_by_budget",
            "rate_limited",
        ),
        (
            runnable("q", "", "i"),
            "runnable/unowned/blocked_by_quota",
            "rate_limited",
        ),
        (
            runnable("r", "", "f"),
            "runnable/unowned/blocked_by_route",
            "waiting",
        ),
        (
            runnable("l", "", "f"),
            "runnable/unowned/blocked_by_lane_state",
            "waiting",
        ),
        (
            runnable("o", "", "i"),
            "runnable/unowned/blocked_by_operator",
            "waiting",
        ),
        (
            runnable("e", "", "i"),
            "runnable/unowned/eligible_now",
            "resumable",
        ),
        (
            runnable("e", "", "y"),
            "runnable/unowned/eligible_now",
            "waiting",
        ),
        (active("l", "r"), "active/leased/not_applicable", "active"),
        (
            active("e", "i"),
            "active/lease_expired_reclaimable/not_applicable",
            "active",
        ),
        (
            active("r", "i"),
            "active/lease_revoked/not_applicable",
            "active",
        ),
        (suspended, "suspended/unowned/not_applicable", "suspended"),
        (
            terminal("s"),
            "terminal/unowned/not_applicable",
            "completed",
        ),
        (terminal("f"), "terminal/unowned/not_applicable", "failed"),
        (
            terminal("c"),
            "terminal/unowned/not_applicable",
            "cancelled",
        ),
        (terminal("e"), "terminal/unowned/not_applicable", "expired"),
        (terminal("k"), "terminal/unowned/not_applicable", "skipped"),
    ] {
        assert_eq!(store(&mut w, id, &letters), Ok(1), "{words}");
        assert!(
            w.vector(id).starts_with(words),
            "{letters}: {}",
            w.vector(id)
        );
        assert_eq!(w.state(id), public, "{words}");
        let counted = w.rows("SELECT public_state FROM ff_list_executions()", &[]);
        assert_eq!(
            counted[0].text("public_state"),
            public,
            "{words} in a listing"
        );
    }
}

#[test]
fn e_2_the_public_state_has_no_place_where_it_could_be_written() {
    let mut w = World::new();
    let id = w.create("");
    let before = w.contents();
    let refusal = store(&mut w, id, "public_state = 'completed'").expect_err("refused");
    assert!(
        refusal.starts_with("42703") || refusal.starts_with("428C9"),
        "no such column, or generated: {refusal}"
    );
    for view in w.rows(
        "SELECT format('%I.%I', table_schema, table_name) FROM information_schema.columns
          WHERE column_name = 'public_state'",
        &[],
    ) {
        let name: String = view.get(0);
        let written = w.execute(
            &format!("UPDATE {name} SET public_state = 'completed'"),
            &[],
        );
        assert!(written.is_err(), "{name}");
    }
    assert_eq!(w.contents(), before);
}

#[test]
fn e_2_a_forbidden_vector_cannot_be_stored() {
    let mut w = World::new();
    let waiting = w.create("");
    w.create("");
    let held = w.claims("max_items => 1").remove(0).id;
    let (waiting, held) = if held == waiting {
        (
            w.rows(
                "SELECT execution_id FROM ff_list_executions(public_states => '{waiting}')",
                &[],
            )[0]
            .uuid("execution_id"),
            held,
        )
    } else {
        (waiting, held)
    };
    let before = w.contents();
    for (invariant, id, letters) in [
        ("V1", waiting, "terminal_outcome = 's'"),
        (
            "V1",
            waiting,
            "lifecycle_phase = 't', eligibility_state = 'n', completed_at = now()",
        ),
        ("V2", waiting, "ownership_state = 'l', attempt_state = 'r'"),
        (
            "V2",
            held,
            "ownership_state = 'u', attempt_state = 'i', lease_expires_at = NULL",
        ),
        ("V3", waiting, "eligibility_state = 'n'"),
        ("V3", held, "eligibility_state = 'e'"),
        ("V4", waiting, "attempt_state = 'r'"),
        ("V4", held, "attempt_state = 'i'"),
        ("V5", held, "lease_id = NULL"),
        ("V5", held, "lease_epoch = 0"),
        ("V5", held, "lease_expires_at = NULL"),
        ("V5", held, "claimer_id = NULL"),
        ("V5", held, "attempt_id = NULL"),
        ("V5", waiting, "lease_expires_at = now()"),
        ("V6", waiting, "eligibility_state = 't', delay_until = NULL"),
        ("words", waiting, "lifecycle_phase = 'x'"),
        ("words", waiting, "attempt_state = 'x'"),
        ("words", waiting, "blocking_reason = '?'"),
        ("words", waiting, "eligibility_state = 'x'"),
    ] {
        let refusal = store(&mut w, id, letters).expect_err(invariant);
        assert!(
            refusal.starts_with("23514"),
            "{invariant} {letters}: {refusal}"
        );
    }
    assert_eq!(w.contents(), before);
}

#[test]
fn e_2_the_checker_finds_what_constraints_cannot_say() {
    for (invariant, letters) in [("V7", "total_attempt_count = 5"), ("V8", "lease_epoch = 7")] {
        let mut w = World::new();
        let claim = w.claimed("", "");
        w.complete(&claim.handle, None);
        assert_eq!(store(&mut w, claim.id, letters), Ok(1));
        let rows = w.rows("SELECT * FROM ff_check_invariants()", &[]);
        let found: Vec<String> = rows.iter().map(|row| row.text("invariant")).collect();
        assert!(
            found.iter().any(|name| name.contains(invariant)),
            "{invariant}: {found:?}"
        );
        assert!(rows.iter().all(|row| row.uuid("execution_id") == claim.id));
        w.will_break_invariants();
    }
}
