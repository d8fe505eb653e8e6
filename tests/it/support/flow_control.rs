//! Cancelling, replaying and building whole flows, as tests do it.

use postgres::Row;
use serde_json::Value;
use uuid::Uuid;

use super::{Cells, Session};

impl Session {
    /// Runs the background work that follows from ends and fired groups until nothing is left to do.
    #[track_caller]
    pub fn settles(&mut self) {
        loop {
            let (cancelled, _, _, remaining) = self.reconcile("sibling_cancel", "");
            let cascade = self.reconcile("cascade", "").3;
            if cancelled == 0 && !remaining && !cascade {
                break;
            }
        }
    }

    /// Creates a flow from a document.
    #[track_caller]
    pub fn graph(&mut self, document: &Value, key: Option<&str>) -> Graph {
        let row = self.one(
            "SELECT * FROM ff_create_flow_graph($1, $2)",
            &[document, &key],
        );
        Graph {
            flow: row.uuid("flow_id"),
            members: row.json("members"),
            row,
        }
    }

    /// Cancels a flow; `arguments` continues the call by name.
    #[track_caller]
    pub fn cancel_flow(&mut self, flow: Uuid, arguments: &str) -> Row {
        let comma = if arguments.is_empty() { "" } else { ", " };
        self.one(
            &format!("SELECT * FROM ff_cancel_flow($1{comma}{arguments})"),
            &[&flow],
        )
    }

    /// Replays an execution.
    #[track_caller]
    pub fn replay(&mut self, id: Uuid) -> Row {
        let row = self.one("SELECT * FROM ff_replay_execution($1)", &[&id]);
        assert_eq!(row.text("outcome"), "replayed");
        row
    }

    /// What a pass over the siblings of a group does, as `disposition`s by sibling.
    #[track_caller]
    pub fn cancel_siblings(&mut self, flow: Uuid, child: Uuid) -> Vec<(Uuid, String)> {
        self.rows("SELECT * FROM ff_cancel_siblings($1, $2)", &[&flow, &child])
            .iter()
            .map(|row| (row.uuid("execution_id"), row.text("disposition")))
            .collect()
    }

    /// A fact of a flow as text.
    #[track_caller]
    pub fn flow_fact(&mut self, flow: Uuid, column: &str) -> String {
        self.value(
            &format!("SELECT coalesce({column}::text, '') FROM ff_describe_flow($1)"),
            &[&flow],
        )
    }

    /// Why an execution was cancelled, and by what.
    #[track_caller]
    pub fn cancellation(&mut self, id: Uuid) -> (String, String) {
        let row = self.describe(id);
        assert_eq!(row.text("public_state"), "cancelled");
        (row.text("cancellation_reason"), row.text("cancelled_by"))
    }

    /// Events of a flow itself, as words.
    #[track_caller]
    pub fn flow_words(&mut self, flow: Uuid) -> Vec<String> {
        self.rows(
            "SELECT event_type FROM ff_read_events('start', ARRAY['operator'], jsonb_build_object('flow_id', $1::text), 10000)
              WHERE execution_id IS NULL ORDER BY event_id",
            &[&flow.to_string()],
        )
        .iter()
        .map(|row| row.text("event_type"))
        .collect()
    }
}

/// A flow made from a document.
pub struct Graph {
    pub flow: Uuid,
    pub members: Value,
    pub row: Row,
}

impl Graph {
    /// The execution of a node.
    #[track_caller]
    pub fn node(&self, name: &str) -> Uuid {
        let id = self.members[name].as_str();
        let id = id.unwrap_or_else(|| panic!("no node {name} in {}", self.members));
        id.parse().expect("a uuid")
    }
}
