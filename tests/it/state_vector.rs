//! The derived public state, and vectors that cannot be stored (§10.3).
//!
//! Rows are written behind the engine's back here, as no client could: the state is stored as one
//! number, in which every dimension has its place (src/model/packed.rs).

use uuid::Uuid;

use crate::support::{Cells, World};

const LIFECYCLE: &[&str] = &["runnable", "active", "suspended", "terminal"];
const OWNERSHIP: &[&str] = &[
    "unowned",
    "leased",
    "lease_expired_reclaimable",
    "lease_revoked",
];
const ELIGIBILITY: &[&str] = &[
    "eligible_now",
    "not_eligible_until_time",
    "blocked_by_dependencies",
    "blocked_by_budget",
    "blocked_by_quota",
    "blocked_by_route",
    "blocked_by_lane_state",
    "blocked_by_operator",
    "not_applicable",
];
const BLOCKING: &[&str] = &["none", "waiting_for_worker"];
const OUTCOME: &[&str] = &[
    "none",
    "success",
    "failed",
    "cancelled",
    "expired",
    "skipped",
];
const ATTEMPT: &[&str] = &[
    "none",
    "pending_first_attempt",
    "running_attempt",
    "attempt_interrupted",
    "pending_retry_attempt",
    "pending_replay_attempt",
    "attempt_terminal",
];
/// The dimensions in the order of a vector, each with the place of its lowest bit.
const DIMENSIONS: [(&[&str], u32); 6] = [
    (LIFECYCLE, 0),
    (OWNERSHIP, 2),
    (ELIGIBILITY, 4),
    (BLOCKING, 8),
    (OUTCOME, 13),
    (ATTEMPT, 16),
];
/// The bits that hold the vector; above them stand words of the latest attempt.
const VECTOR_BITS: i32 = (1 << 19) - 1;

/// The number of a vector written as its six words.
fn number(vector: &str) -> i32 {
    vector
        .split('/')
        .zip(DIMENSIONS)
        .map(|(word, (words, shift))| {
            let place = words.iter().position(|known| *known == word).expect(word);
            (place as i32) << shift
        })
        .sum()
}

/// Gives one execution this vector, and sets further columns.
fn store(w: &mut World, id: Uuid, vector: &str, columns: &str) -> Result<u64, String> {
    store_number(w, id, number(vector), columns)
}

fn store_number(w: &mut World, id: Uuid, vector: i32, columns: &str) -> Result<u64, String> {
    let statement = format!(
        "UPDATE ff_engine.execution SET state = (state & ~{VECTOR_BITS}) | {vector}{}{columns}
          WHERE execution_id = '{id}'",
        if columns.is_empty() { "" } else { ", " }
    );
    w.execute(&statement, &[]).map_err(|e| {
        e.as_db_error()
            .map(|db| format!("{} {}", db.code().code(), db.message()))
            .unwrap_or_default()
    })
}

const FREE: &str = "lease_id = NULL, lease_expires_at = NULL, completed_at = NULL";
const DELAYED: &str =
    "lease_id = NULL, lease_expires_at = NULL, completed_at = NULL, delay_until = now()";
const ENDED: &str = "lease_id = NULL, lease_expires_at = NULL, completed_at = now()";
const HELD: &str = "completed_at = NULL, claimer_id = 1, lease_id = gen_random_uuid(),
     attempt_id = gen_random_uuid(), lease_epoch = 1, lease_expires_at = now() + interval '1 h'";

#[test]
fn e_1_every_vector_reads_as_its_public_state() {
    let mut w = World::new();
    w.will_break_invariants();
    let id = w.create("");
    let vectors = [
        (
            "runnable/unowned/eligible_now/waiting_for_worker/none/pending_first_attempt",
            FREE,
            "waiting",
        ),
        (
            "runnable/unowned/not_eligible_until_time/none/none/pending_first_attempt",
            DELAYED,
            "delayed",
        ),
        (
            "runnable/unowned/not_eligible_until_time/none/none/attempt_interrupted",
            DELAYED,
            "delayed",
        ),
        (
            "runnable/unowned/blocked_by_dependencies/none/none/pending_first_attempt",
            FREE,
            "waiting_children",
        ),
        (
            "runnable/unowned/blocked_by_budget/none/none/pending_first_attempt",
            FREE,
            "rate_limited",
        ),
        (
            "runnable/unowned/blocked_by_quota/none/none/attempt_interrupted",
            FREE,
            "rate_limited",
        ),
        (
            "runnable/unowned/blocked_by_route/none/none/pending_first_attempt",
            FREE,
            "waiting",
        ),
        (
            "runnable/unowned/blocked_by_lane_state/none/none/pending_first_attempt",
            FREE,
            "waiting",
        ),
        (
            "runnable/unowned/blocked_by_operator/none/none/attempt_interrupted",
            FREE,
            "waiting",
        ),
        (
            "runnable/unowned/eligible_now/waiting_for_worker/none/attempt_interrupted",
            FREE,
            "resumable",
        ),
        (
            "runnable/unowned/eligible_now/waiting_for_worker/none/pending_retry_attempt",
            FREE,
            "waiting",
        ),
        (
            "runnable/unowned/eligible_now/waiting_for_worker/none/pending_replay_attempt",
            FREE,
            "waiting",
        ),
        (
            "active/leased/not_applicable/none/none/running_attempt",
            HELD,
            "active",
        ),
        (
            "active/lease_expired_reclaimable/not_applicable/waiting_for_worker/none/attempt_interrupted",
            HELD,
            "active",
        ),
        (
            "active/lease_revoked/not_applicable/waiting_for_worker/none/attempt_interrupted",
            HELD,
            "active",
        ),
        (
            "suspended/unowned/not_applicable/none/none/attempt_interrupted",
            FREE,
            "suspended",
        ),
        (
            "terminal/unowned/not_applicable/none/success/attempt_terminal",
            ENDED,
            "completed",
        ),
        (
            "terminal/unowned/not_applicable/none/failed/attempt_terminal",
            ENDED,
            "failed",
        ),
        (
            "terminal/unowned/not_applicable/none/cancelled/pending_first_attempt",
            ENDED,
            "cancelled",
        ),
        (
            "terminal/unowned/not_applicable/none/expired/attempt_terminal",
            ENDED,
            "expired",
        ),
        (
            "terminal/unowned/not_applicable/none/skipped/pending_first_attempt",
            ENDED,
            "skipped",
        ),
    ];
    for (vector, columns, public_state) in vectors {
        assert_eq!(store(&mut w, id, vector, columns), Ok(1), "{vector}");
        w.assert_vector(id, vector, public_state);
        let listed = w.rows("SELECT public_state FROM ff_list_executions()", &[]);
        assert_eq!(
            listed[0].text("public_state"),
            public_state,
            "{vector} in a listing"
        );
    }
}

#[test]
fn e_2_the_public_state_has_no_place_where_it_could_be_written() {
    let mut w = World::new();
    w.create("");
    let before = w.contents();
    let relations: Vec<String> = w
        .rows(
            "SELECT format('%I.%I', table_schema, table_name) FROM information_schema.columns
              WHERE column_name = 'public_state'",
            &[],
        )
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert!(!relations.is_empty(), "somebody shows it");
    for relation in relations
        .iter()
        .map(String::as_str)
        .chain(["ff_engine.execution"])
    {
        let update = format!("UPDATE {relation} SET public_state = 'completed'");
        assert!(w.execute(&update, &[]).is_err(), "{relation}");
    }
    assert_eq!(w.contents(), before);
}

const WAITING: &str = "runnable/unowned/eligible_now/waiting_for_worker/none/pending_first_attempt";
const RUNNING: &str = "active/leased/not_applicable/none/none/running_attempt";

#[test]
fn e_2_a_forbidden_vector_cannot_be_stored() {
    let mut w = World::new();
    let held = w.claimed("", "").id;
    let waiting = w.create("");
    let before = w.contents();
    let forbidden = [
        (
            "V1",
            waiting,
            "runnable/unowned/eligible_now/waiting_for_worker/success/pending_first_attempt",
            "",
        ),
        (
            "V1",
            waiting,
            "terminal/unowned/not_applicable/none/none/attempt_terminal",
            "completed_at = now()",
        ),
        (
            "V2",
            waiting,
            "runnable/leased/eligible_now/none/none/running_attempt",
            HELD,
        ),
        (
            "V2",
            held,
            "active/unowned/not_applicable/none/none/attempt_interrupted",
            FREE,
        ),
        (
            "V3",
            waiting,
            "runnable/unowned/not_applicable/waiting_for_worker/none/pending_first_attempt",
            "",
        ),
        (
            "V3",
            held,
            "active/leased/eligible_now/none/none/running_attempt",
            "",
        ),
        (
            "V4",
            waiting,
            "runnable/unowned/eligible_now/waiting_for_worker/none/running_attempt",
            "",
        ),
        (
            "V4",
            held,
            "active/leased/not_applicable/none/none/attempt_interrupted",
            "",
        ),
        ("V5", held, RUNNING, "lease_id = NULL"),
        ("V5", held, RUNNING, "lease_epoch = 0"),
        ("V5", held, RUNNING, "lease_expires_at = NULL"),
        ("V5", held, RUNNING, "claimer_id = NULL"),
        ("V5", held, RUNNING, "attempt_id = NULL"),
        ("V5", waiting, WAITING, "lease_expires_at = now()"),
        (
            "V6",
            waiting,
            "runnable/unowned/not_eligible_until_time/waiting_for_worker/none/pending_first_attempt",
            "delay_until = NULL",
        ),
    ];
    for (invariant, id, vector, columns) in forbidden {
        let refusal = store(&mut w, id, vector, columns);
        let refusal = refusal.expect_err(&format!("{invariant}: {vector} {columns}"));
        assert!(
            refusal.starts_with("23514"),
            "{invariant}: {vector} {columns}: {refusal}"
        );
    }
    // Places beyond the last word; the first two dimensions fill theirs.
    for (shift, beyond) in [(4, 9), (8, 31), (13, 6), (16, 7)] {
        let refusal = store_number(&mut w, waiting, beyond << shift, "").expect_err("no word");
        assert!(
            refusal.starts_with("23514"),
            "{beyond} << {shift}: {refusal}"
        );
    }
    assert_eq!(w.contents(), before);
}

#[test]
fn e_2_the_checker_finds_what_constraints_cannot_say() {
    for (invariant, column) in [("V7", "total_attempt_count = 5"), ("V8", "lease_epoch = 7")] {
        let mut w = World::new();
        w.will_break_invariants();
        let claim = w.claimed("", "");
        w.complete(&claim.handle, None);
        let update = format!("UPDATE ff_engine.execution SET {column}");
        w.run(&update);
        let rows = w.rows("SELECT * FROM ff_check_invariants()", &[]);
        let found: Vec<String> = rows.iter().map(|row| row.text("invariant")).collect();
        assert!(
            found.iter().any(|name| name.contains(invariant)),
            "{invariant}: {found:?}"
        );
        assert!(rows.iter().all(|row| row.uuid("execution_id") == claim.id));
    }
}
