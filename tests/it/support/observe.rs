//! Looking at an execution from outside: its state vector, its facts, its attempts.

use postgres::Row;
use uuid::Uuid;

use super::{Cells, Session};

impl Session {
    /// The six words of the state vector in the order of §10.3, joined by `/`.
    #[track_caller]
    pub fn vector(&mut self, id: Uuid) -> String {
        let info = self.one("SELECT * FROM ff_read_execution_info($1)", &[&id]);
        [
            "lifecycle_phase",
            "ownership_state",
            "eligibility_state",
            "blocking_reason",
            "terminal_outcome",
            "attempt_state",
        ]
        .map(|word| info.text(word))
        .join("/")
    }

    /// The public state, which every read of one snapshot agrees on.
    #[track_caller]
    pub fn state(&mut self, id: Uuid) -> String {
        let row = self.one(
            "SELECT ff_read_execution_state($1) AS state,
                    (SELECT public_state FROM ff_read_execution_info($1)) AS info,
                    (SELECT public_state FROM ff_describe_execution($1)) AS description",
            &[&id],
        );
        let state = row
            .maybe_text("state")
            .unwrap_or_else(|| panic!("{id} has no state"));
        assert_eq!(row.text("info"), state);
        assert_eq!(row.text("description"), state);
        state
    }

    /// Vector and public state in one assertion.
    #[track_caller]
    pub fn assert_vector(&mut self, id: Uuid, vector: &str, public_state: &str) {
        assert_eq!(self.vector(id), vector);
        assert_eq!(self.state(id), public_state);
    }

    /// All facts of an execution.
    #[track_caller]
    pub fn describe(&mut self, id: Uuid) -> Row {
        self.one("SELECT * FROM ff_describe_execution($1)", &[&id])
    }

    #[track_caller]
    pub fn exists(&mut self, id: Uuid) -> bool {
        !self
            .rows("SELECT 1 FROM ff_describe_execution($1)", &[&id])
            .is_empty()
    }

    /// Number of executions in the database.
    #[track_caller]
    pub fn executions(&mut self) -> i64 {
        self.value(
            "SELECT coalesce(sum(executions), 0)::bigint FROM ff_count_executions()",
            &[],
        )
    }

    /// Number of executions in one public state.
    #[track_caller]
    pub fn executions_in(&mut self, public_state: &str) -> i64 {
        self.value(
            "SELECT coalesce(sum(executions), 0)::bigint FROM ff_count_executions() WHERE public_state = $1",
            &[&public_state],
        )
    }

    /// Attempts, oldest first.
    #[track_caller]
    pub fn attempts(&mut self, id: Uuid) -> Vec<Row> {
        self.rows(
            "SELECT * FROM ff_list_attempts($1, max_items => 1000) ORDER BY attempt_index",
            &[&id],
        )
    }

    /// Each attempt as `index type state`, oldest first.
    #[track_caller]
    pub fn attempt_words(&mut self, id: Uuid) -> Vec<String> {
        self.attempts(id)
            .iter()
            .map(|a| {
                format!(
                    "{} {} {}",
                    a.int("attempt_index"),
                    a.text("attempt_type"),
                    a.text("attempt_state")
                )
            })
            .collect()
    }

    /// The stored result: no row, NULL or bytes.
    #[track_caller]
    pub fn result(&mut self, id: Uuid) -> Option<Option<Vec<u8>>> {
        let mut rows = self.rows("SELECT * FROM ff_get_execution_result($1)", &[&id]);
        assert!(rows.len() <= 1);
        rows.pop().map(|row| row.bytes("result"))
    }

    /// Returns when the session with this process id waits for somebody's lock.
    #[track_caller]
    pub fn waits_until_blocked(&mut self, pid: i32) {
        let blocked = super::pace::eventually(std::time::Duration::from_secs(60), || {
            let blockers: i32 = self.value("SELECT cardinality(pg_blocking_pids($1))", &[&pid]);
            blockers > 0
        });
        assert!(blocked, "session {pid} waits for a lock");
    }

    /// Returns when the session with this process id sleeps inside a statement of its own.
    #[track_caller]
    pub fn waits_in_its_statement(&mut self, pid: i32) {
        let asleep = super::pace::eventually(std::time::Duration::from_secs(60), || {
            self.value(
                "SELECT count(*) = 1 FROM pg_stat_activity
                  WHERE pid = $1 AND state = 'active' AND wait_event_type NOT IN ('Lock', 'LWLock', 'IO')",
                &[&pid],
            )
        });
        assert!(asleep, "session {pid} sleeps in a statement");
    }
}
