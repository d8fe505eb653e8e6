//! Comparing what the database holds with what the workers were told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use uuid::Uuid;

use super::worker::Journal;
use crate::event_cursor::Chain;
use crate::support::pace::eventually;
use crate::support::world::assert_invariants;
use crate::support::{Cells, Session};

/// Every acknowledged create, claim and end is there exactly once. One snapshot is looked at: a
/// background worker may go on meanwhile.
pub fn check(session: &mut Session, journal: &Journal) {
    session.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    check_snapshot(session, journal);
    session.run("COMMIT");
}

fn check_snapshot(session: &mut Session, journal: &Journal) {
    assert!(
        journal.created.len() > 50,
        "the workers did something: {}",
        journal.operations
    );
    assert!(
        journal.completed.len() > 20,
        "the workers finished something"
    );
    let states = all_states(session);
    for id in &journal.created {
        assert!(states.contains_key(id), "{id} was acknowledged and is gone");
    }
    let distinct: BTreeSet<_> = journal.created.iter().collect();
    assert_eq!(
        distinct.len(),
        journal.created.len(),
        "no id was given twice"
    );
    let claims: BTreeSet<_> = journal.claimed.iter().collect();
    assert_eq!(
        claims.len(),
        journal.claimed.len(),
        "no lease was given twice"
    );

    assert!(
        journal.completed_twice.is_empty(),
        "no execution was completed twice"
    );
    for (id, result) in &journal.completed {
        assert_eq!(
            states[id], "completed",
            "{id} was acknowledged as completed"
        );
        assert_eq!(
            session.result(*id),
            Some(Some(result.clone())),
            "{id} keeps its result"
        );
    }
    for (id, state) in &journal.ended {
        assert_eq!(&states[id], state, "{id} was acknowledged as {state}");
    }
    check_signals(session, journal);
    check_events(session, &states);
    assert_invariants(session);
}

/// Every acknowledged signal is there, none twice, and their numbers leave no gap.
fn check_signals(session: &mut Session, journal: &Journal) {
    let mut stored: BTreeMap<String, Uuid> = BTreeMap::new();
    for row in session.rows(
        "SELECT source_identity, signal_id FROM ff_engine.signal WHERE source_type <> 'engine'",
        &[],
    ) {
        let before = stored.insert(row.text("source_identity"), row.uuid("signal_id"));
        assert_eq!(before, None, "no signal was recorded twice");
    }
    for (sender, id) in &journal.signals {
        assert_eq!(stored.get(sender), Some(id), "an acknowledged signal");
    }
    let gaps = session.rows(
        "SELECT execution_id FROM ff_engine.signal GROUP BY execution_id HAVING count(*) <> max(signal_seq)",
        &[],
    );
    assert!(gaps.is_empty(), "{} executions with gaps", gaps.len());
}

/// One completion event per ended execution, of its outcome, and none for another.
fn check_events(session: &mut Session, states: &BTreeMap<Uuid, String>) {
    let mut completions: BTreeMap<Uuid, Vec<String>> = BTreeMap::new();
    let mut leases: BTreeMap<Uuid, i64> = BTreeMap::new();
    for (_, word, execution) in Chain::from(session, "start", 10_000).read(session) {
        let Some(id) = execution else { continue };
        match word.split_once('.') {
            Some(("completion", outcome)) => {
                completions.entry(id).or_default().push(outcome.into())
            }
            Some(("lease", "acquired" | "reclaimed")) => *leases.entry(id).or_default() += 1,
            _ => {}
        }
    }
    for (id, state) in states {
        let told = completions.get(id).map(Vec::as_slice).unwrap_or_default();
        let outcome = if state == "completed" {
            "success"
        } else {
            state
        };
        let ended =
            ["completed", "failed", "cancelled", "expired", "skipped"].contains(&state.as_str());
        let expected: &[&str] = if ended { &[outcome] } else { &[] };
        assert_eq!(told, expected, "{id} is {state}");
    }
    let epochs = session.rows(
        "SELECT execution_id, lease_epoch FROM ff_engine.execution WHERE lease_epoch > 0",
        &[],
    );
    for row in epochs {
        let id = row.uuid("execution_id");
        assert_eq!(
            leases.get(&id).copied().unwrap_or_default(),
            row.big("lease_epoch"),
            "leases of {id}"
        );
    }
}

fn all_states(session: &mut Session) -> BTreeMap<Uuid, String> {
    let mut states = BTreeMap::new();
    let mut after: Option<Uuid> = None;
    loop {
        let page = session.rows(
            "SELECT * FROM ff_list_executions(after => $1, max_items => 1000)",
            &[&after],
        );
        let Some(last) = page.last() else { break };
        after = Some(last.uuid("execution_id"));
        states.extend(
            page.iter()
                .map(|row| (row.uuid("execution_id"), row.text("public_state"))),
        );
    }
    let counted: i64 = session.executions();
    assert_eq!(
        states.len() as i64,
        counted,
        "the counters agree with the listing"
    );
    let mut by_state: BTreeMap<&str, i64> = BTreeMap::new();
    for state in states.values() {
        *by_state.entry(state).or_default() += 1;
    }
    for (state, n) in by_state {
        assert_eq!(
            session.executions_in(state),
            n,
            "executions counted as {state}"
        );
    }
    states
}

/// What is not finished, in words, and what the counts say of it.
fn unfinished(session: &mut Session) -> Vec<String> {
    let sql = "SELECT to_jsonb(e) - 'tags' FROM ff_executions AS e
                WHERE public_state NOT IN ('completed', 'failed', 'cancelled', 'expired', 'skipped') LIMIT 3";
    let counts = "SELECT to_jsonb(c) FROM ff_count_executions() AS c";
    [
        sql,
        counts,
        "SELECT to_jsonb(i) FROM ff_check_invariants() AS i LIMIT 10",
    ]
    .into_iter()
    .flat_map(|sql| session.rows(sql, &[]))
    .map(|row| row.get::<_, serde_json::Value>(0).to_string())
    .collect()
}

/// Lets every lease and delay run out and finishes what is left: nothing is stranded. A background worker at its work
/// may keep rows to itself for a moment.
pub fn finish_all(session: &mut Session) {
    session.advance_ms(3_600_000);
    let finished = eventually(Duration::from_secs(180), || {
        session.rows("SELECT * FROM ff_tick()", &[]);
        let claims = session.claims("max_items => 500, lease_ttl => '1 h'");
        let handles: Vec<_> = claims.into_iter().map(|claim| claim.handle).collect();
        session.rows("SELECT outcome FROM ff_complete_many($1)", &[&handles]);
        let open: i64 = session.value(
            "SELECT coalesce(sum(executions), 0)::bigint FROM ff_count_executions()
              WHERE public_state NOT IN ('completed', 'failed', 'cancelled', 'expired', 'skipped')",
            &[],
        );
        open == 0
    });
    assert!(finished, "nothing is stranded: {:#?}", unfinished(session));
}
