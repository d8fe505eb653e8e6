//! The everyday operations of a scenario: lane `L`, kind `k`, worker `w`, instance `w-1`.

use postgres::Row;
use uuid::Uuid;

use super::{Cells, Session};

/// One row of a claim.
#[derive(Debug)]
pub struct Claim {
    pub id: Uuid,
    pub handle: String,
    pub kind: String,
    pub index: i32,
    pub attempt_type: String,
    pub attempt_id: Uuid,
    pub lease_id: Uuid,
    pub epoch: i64,
    pub row: Row,
}

impl Claim {
    pub fn of(row: Row) -> Self {
        Self {
            id: row.uuid("execution_id"),
            handle: row.text("handle"),
            kind: row.text("handle_kind"),
            index: row.int("attempt_index"),
            attempt_type: row.text("attempt_type"),
            attempt_id: row.uuid("attempt_id"),
            lease_id: row.uuid("lease_id"),
            epoch: row.big("lease_epoch"),
            row,
        }
    }
}

impl Session {
    /// Creates an execution in lane `L`; `arguments` continues the argument list by name.
    #[track_caller]
    pub fn create(&mut self, arguments: &str) -> Uuid {
        let row = self.create_row(arguments);
        assert_eq!(row.text("outcome"), "created");
        row.uuid("execution_id")
    }

    /// The whole row of a create.
    #[track_caller]
    pub fn create_row(&mut self, arguments: &str) -> Row {
        self.one(&create_call(arguments), &[])
    }

    /// Creates executions one after the other and returns their ids in that order.
    #[track_caller]
    pub fn create_several(&mut self, count: usize, arguments: &str) -> Vec<Uuid> {
        (0..count).map(|_| self.create(arguments)).collect()
    }

    /// Claims exactly one execution of lane `L`.
    #[track_caller]
    pub fn claim(&mut self, arguments: &str) -> Claim {
        let mut claims = self.claims(arguments);
        assert_eq!(
            claims.len(),
            1,
            "one execution is claimed with ({arguments})"
        );
        claims.remove(0)
    }

    /// Claims whatever lane `L` offers under the arguments.
    #[track_caller]
    pub fn claims(&mut self, arguments: &str) -> Vec<Claim> {
        self.rows(&claim_call(arguments), &[])
            .into_iter()
            .map(Claim::of)
            .collect()
    }

    /// Creates an execution and claims it.
    #[track_caller]
    pub fn claimed(&mut self, create_arguments: &str, claim_arguments: &str) -> Claim {
        let id = self.create(create_arguments);
        let claim = self.claim(claim_arguments);
        assert_eq!(
            claim.id, id,
            "the only claimable execution is the one just created"
        );
        claim
    }

    /// Completes with this result and returns the row.
    #[track_caller]
    pub fn complete(&mut self, handle: &str, result: Option<&[u8]>) -> Row {
        self.one("SELECT * FROM ff_complete($1, $2)", &[&handle, &result])
    }

    /// Fails an attempt; `arguments` follows the reason.
    #[track_caller]
    pub fn fail(&mut self, handle: &str, reason: &str, arguments: &str) -> Row {
        let sql = format!("SELECT * FROM ff_fail($1, $2{})", continued(arguments));
        self.one(&sql, &[&handle, &reason])
    }

    /// Runs one reconciler and returns (processed, skipped, errors, remaining).
    #[track_caller]
    pub fn reconcile(&mut self, name: &str, arguments: &str) -> (i32, i32, i32, bool) {
        let row = self.one(
            &format!("SELECT * FROM ff_reconcile_{name}({arguments})"),
            &[],
        );
        (
            row.int("processed"),
            row.int("skipped"),
            row.int("errors"),
            row.flag("remaining"),
        )
    }

    /// Runs one reconciler that is to handle this many rows and leave none. Rows it looked at in
    /// vain, because a reminder was older than the row, are its own affair.
    #[track_caller]
    pub fn reconciles(&mut self, name: &str, processed: i32) {
        let (handled, _, errors, remaining) = self.reconcile(name, "");
        assert_eq!(
            (handled, errors, remaining),
            (processed, 0, false),
            "reconciler {name}"
        );
    }
}

pub fn create_call(arguments: &str) -> String {
    format!(
        "SELECT * FROM ff_create_execution('L', 'k'{})",
        continued(arguments)
    )
}

/// Claims as `w`/`w-1` unless the arguments say otherwise.
pub fn claim_call(arguments: &str) -> String {
    let worker = if arguments.contains("worker =>") {
        ""
    } else {
        ", worker => 'w', worker_instance => 'w-1'"
    };
    format!(
        "SELECT * FROM ff_claim(lane => 'L'{worker}{})",
        continued(arguments)
    )
}

/// Creation argument for a policy that requires these capabilities.
pub fn requiring(tokens: &[&str]) -> String {
    let policy = serde_json::json!({"routing_requirements": {"required_capabilities": tokens}});
    format!("policy => '{policy}'")
}

fn continued(arguments: &str) -> String {
    if arguments.is_empty() {
        String::new()
    } else {
        format!(", {arguments}")
    }
}
