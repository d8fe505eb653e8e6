//! Flows as tests use them: members by hand, edges, ends.

use postgres::Row;
use uuid::Uuid;

use super::{Cells, Claim, Session};

impl Session {
    /// A new flow.
    #[track_caller]
    pub fn flow(&mut self) -> Uuid {
        let row = self.one("SELECT * FROM ff_create_flow()", &[]);
        assert_eq!(row.text("outcome"), "created");
        row.uuid("flow_id")
    }

    /// A new execution that is a member; `arguments` as for [`Session::create`].
    #[track_caller]
    pub fn member_with(&mut self, flow: Uuid, arguments: &str) -> Uuid {
        let comma = if arguments.is_empty() { "" } else { ", " };
        self.create(&format!("flow_id => '{flow}'{comma}{arguments}"))
    }

    /// A new execution that is a member.
    #[track_caller]
    pub fn member(&mut self, flow: Uuid) -> Uuid {
        self.member_with(flow, "")
    }

    /// New members, as many as the pattern has places.
    #[track_caller]
    pub fn members<const N: usize>(&mut self, flow: Uuid) -> [Uuid; N] {
        std::array::from_fn(|_| self.member(flow))
    }

    /// Stages and applies an edge; `arguments` continues the call by name.
    #[track_caller]
    pub fn edge_row(&mut self, flow: Uuid, up: Uuid, down: Uuid, arguments: &str) -> Row {
        let comma = if arguments.is_empty() { "" } else { ", " };
        self.one(
            &format!("SELECT * FROM ff_add_dependency($1, $2, $3{comma}{arguments})"),
            &[&flow, &up, &down],
        )
    }

    /// An applied edge with more arguments.
    #[track_caller]
    pub fn edge_with(&mut self, flow: Uuid, up: Uuid, down: Uuid, arguments: &str) -> Uuid {
        let row = self.edge_row(flow, up, down, arguments);
        assert_eq!(row.text("outcome"), "added");
        row.uuid("edge_id")
    }

    /// An applied `success_only` edge.
    #[track_caller]
    pub fn edge(&mut self, flow: Uuid, up: Uuid, down: Uuid) -> Uuid {
        self.edge_with(flow, up, down, "")
    }

    /// An edge that is only staged.
    #[track_caller]
    pub fn staged(&mut self, flow: Uuid, up: Uuid, down: Uuid) -> Uuid {
        let row = self.one(
            "SELECT * FROM ff_stage_dependency_edge($1, $2, $3)",
            &[&flow, &up, &down],
        );
        assert_eq!(row.text("outcome"), "staged");
        row.uuid("edge_id")
    }

    /// Applies a staged edge and returns the row.
    #[track_caller]
    pub fn apply(&mut self, flow: Uuid, edge: Uuid) -> Row {
        self.one(
            "SELECT * FROM ff_apply_dependency_to_child($1, $2)",
            &[&flow, &edge],
        )
    }

    /// Declares the policy of a child's group.
    #[track_caller]
    pub fn group_policy(&mut self, flow: Uuid, child: Uuid, policy: &str) -> String {
        self.one(
            &format!("SELECT outcome FROM ff_set_edge_group_policy($1, $2, '{policy}')"),
            &[&flow, &child],
        )
        .text("outcome")
    }

    /// Claims one named execution.
    #[track_caller]
    pub fn take(&mut self, id: Uuid) -> Claim {
        Claim::of(self.one("SELECT * FROM ff_issue_grant_and_claim($1, '1 h')", &[&id]))
    }

    /// Claims an execution and completes it.
    #[track_caller]
    pub fn ok(&mut self, id: Uuid) {
        self.ok_with(id, None);
    }

    /// Claims an execution and completes it with a result.
    #[track_caller]
    pub fn ok_with(&mut self, id: Uuid, result: Option<&[u8]>) {
        let claim = self.take(id);
        self.complete(&claim.handle, result);
    }

    /// Claims an execution and finally fails it.
    #[track_caller]
    pub fn fails(&mut self, id: Uuid) {
        let claim = self.take(id);
        self.fail(&claim.handle, "broken", "'permanent'");
    }

    /// The group of a child.
    #[track_caller]
    pub fn group(&mut self, child: Uuid) -> Group {
        let row = self.one(
            "SELECT * FROM ff_engine.edge_group_row WHERE downstream_execution_id = $1",
            &[&child],
        );
        Group {
            state: row.text("group_state"),
            counts: [
                "total_deps",
                "satisfied_count",
                "failed_count",
                "skipped_count",
            ]
            .map(|column| row.int(column)),
            satisfied_at: row.maybe_instant("satisfied_at"),
            cancel_pending: row.flag("cancel_siblings_pending"),
        }
    }

    /// State of an edge.
    #[track_caller]
    pub fn edge_state(&mut self, flow: Uuid, edge: Uuid) -> String {
        self.one("SELECT * FROM ff_describe_edge($1, $2)", &[&flow, &edge])
            .text("edge_state")
    }

    /// Rows in a queue of the engine.
    #[track_caller]
    pub fn queued(&mut self, table: &str) -> i64 {
        self.value(&format!("SELECT count(*) FROM ff_engine.{table}"), &[])
    }

    /// Runs the background work of flows until nothing is left to do.
    #[track_caller]
    pub fn background(&mut self) {
        while self.reconcile("cascade", "").3 {}
    }

    /// Every member waits for its upstreams.
    #[track_caller]
    pub fn assert_blocked(&mut self, id: Uuid) {
        let vector = self.vector(id);
        assert!(
            vector
                .starts_with("runnable/unowned/blocked_by_dependencies/waiting_for_children/none/"),
            "{vector}"
        );
        assert_eq!(self.state(id), "waiting_children");
    }
}

/// A child's group.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pub state: String,
    /// Edges, satisfied, failed, skipped.
    pub counts: [i32; 4],
    pub satisfied_at: Option<chrono::DateTime<chrono::Utc>>,
    pub cancel_pending: bool,
}
