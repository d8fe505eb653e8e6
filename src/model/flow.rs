//! Flows (§40.2): their states, what an edge makes of its upstream's end, and whom a cancellation covers.

use serde_json::{Map, Value};
use uuid::Uuid;

pub mod document;
pub mod drawing;

use super::execution::Execution;
use super::time::Instant;
use super::words::{AttemptState, Lifecycle, TerminalOutcome, Vector, words};
use crate::error::{Error, Kind, Result};

words! {
    /// The state of a flow that guards consult.
    FlowState {
        Open = b'o' "open",
        Completed = b'c' "completed",
        Failed = b'f' "failed",
        Cancelled = b'x' "cancelled",
    }
}

words! {
    /// Which end of the upstream satisfies an edge.
    EdgeKind {
        SuccessOnly = b's' "success_only",
        AnyTerminal = b'a' "any_terminal",
        FailureOnly = b'f' "failure_only",
    }
}

words! {
    /// How far an edge is.
    EdgeState {
        Pending = b'p' "pending",
        Unsatisfied = b'u' "unsatisfied",
        Satisfied = b's' "satisfied",
        Impossible = b'i' "impossible",
    }
}

words! {
    /// What cancelling a flow does to its members (§40.8.1), weakest first.
    CancelPolicy {
        FlowOnly = b'f' "cancel_flow_only",
        Pending = b'p' "cancel_pending",
        All = b'a' "cancel_all",
    }
}

/// Longest `data_passing_ref` in bytes.
pub const MAX_REF_BYTES: usize = 1024;
/// Longest node name in bytes.
const MAX_NODE_NAME_BYTES: usize = 128;

/// What the end of an upstream counts as in its child's group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// One more.
    Satisfied,
    /// One fewer that can come.
    Failed,
    /// The same, because the upstream was skipped itself.
    Skipped,
}

impl Disposition {
    /// The state of an edge so disposed of.
    pub fn state(self) -> EdgeState {
        match self {
            Disposition::Satisfied => EdgeState::Satisfied,
            Disposition::Failed | Disposition::Skipped => EdgeState::Impossible,
        }
    }
}

impl EdgeKind {
    /// What an outcome of the upstream makes of an edge of this kind.
    pub fn judge(self, outcome: TerminalOutcome) -> Disposition {
        use TerminalOutcome::*;
        match (self, outcome) {
            (EdgeKind::AnyTerminal, _)
            | (EdgeKind::SuccessOnly, Success)
            | (EdgeKind::FailureOnly, Failed | Cancelled | Expired) => Disposition::Satisfied,
            (_, Skipped) => Disposition::Skipped,
            _ => Disposition::Failed,
        }
    }
}

impl CancelPolicy {
    /// Whether a cancellation with this policy is to end a member (§40.8.1).
    pub fn covers(self, e: &Execution) -> bool {
        self.covers_at(e.vector)
    }

    /// Whether a cancellation with this policy is to end a member in this state.
    pub fn covers_at(self, v: Vector) -> bool {
        let unstarted = matches!(
            v.attempt,
            AttemptState::None
                | AttemptState::PendingFirst
                | AttemptState::PendingRetry
                | AttemptState::PendingReplay
        );
        match self {
            CancelPolicy::FlowOnly => false,
            CancelPolicy::Pending => v.lifecycle == Lifecycle::Runnable && unstarted,
            CancelPolicy::All => v.lifecycle != Lifecycle::Terminal,
        }
    }
}

/// A flow's record.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    /// Identity.
    pub id: Uuid,
    /// Partition of the flow and of all its members.
    pub partition: i16,
    /// Namespace.
    pub namespace: i32,
    /// The caller's word.
    pub kind: String,
    /// Authoritative state.
    pub state: FlowState,
    /// No more members and edges.
    pub sealed: bool,
    /// One more per member and per edge.
    pub revision: i64,
    /// Members ever added.
    pub nodes: i32,
    /// Edges ever staged.
    pub edges: i32,
    /// Creation.
    pub created_at: Instant,
    /// Last change of the graph or the tags.
    pub last_mutation_at: Instant,
    /// When it left `open`.
    pub terminal_at: Option<Instant>,
    /// When it was cancelled.
    pub cancelled_at: Option<Instant>,
    /// Why.
    pub cancel_reason: Option<String>,
    /// How.
    pub cancel_policy: Option<CancelPolicy>,
    /// By whom.
    pub cancel_requester: Option<String>,
    /// Tags.
    pub tags: Map<String, Value>,
}

impl Flow {
    /// A new flow.
    pub fn new(id: Uuid, partition: i16, namespace: i32, kind: &str, now: Instant) -> Flow {
        Flow {
            id,
            partition,
            namespace,
            kind: kind.to_owned(),
            state: FlowState::Open,
            sealed: false,
            revision: 0,
            nodes: 0,
            edges: 0,
            created_at: now,
            last_mutation_at: now,
            terminal_at: None,
            cancelled_at: None,
            cancel_reason: None,
            cancel_policy: None,
            cancel_requester: None,
            tags: Map::new(),
        }
    }

    /// Refuses to build where nothing may be built any more (§40.4).
    ///
    /// # Errors
    /// `flow_already_terminal`, `flow_sealed`.
    pub fn buildable(&self) -> Result<()> {
        let kind = match (self.state, self.sealed) {
            (FlowState::Open, false) => return Ok(()),
            (FlowState::Open, true) => Kind::FlowSealed,
            _ => Kind::FlowAlreadyTerminal,
        };
        Err(Error::new(kind)
            .with("flow_id", self.id.to_string())
            .with("public_flow_state", self.state.word()))
    }

    /// Counts changes of the graph.
    pub fn grow(&mut self, nodes: i32, edges: i32, now: Instant) {
        self.nodes += nodes;
        self.edges += edges;
        self.revision += i64::from(nodes) + i64::from(edges);
        self.last_mutation_at = now;
    }
}

/// `flow_not_found`.
pub fn not_found(id: Uuid) -> Error {
    Error::new(Kind::FlowNotFound).with("flow_id", id.to_string())
}

/// `invalid_input` for a graph beyond a limit.
pub fn too_large(setting: &str, limit: i64) -> Error {
    Error::invalid_input("flow_id", "graph_too_large")
        .say("the graph is larger than a setting allows")
        .with("setting", setting)
        .with("limit", limit)
}

/// Checks a node's name (§40.11).
///
/// # Errors
/// `invalid_input`.
pub fn node_name(name: &str) -> Result<()> {
    let first = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let other = |b: u8| first(b) || matches!(b, b'.' | b':' | b'-');
    let bytes = name.as_bytes();
    let rule = if bytes.is_empty() {
        "empty"
    } else if bytes.len() > MAX_NODE_NAME_BYTES {
        "too_long"
    } else if !bytes.first().copied().is_some_and(first) || !bytes.iter().copied().all(other) {
        "malformed"
    } else {
        return Ok(());
    };
    Err(Error::invalid_input("node_name", rule))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::transition::properties::newborn;

    #[test]
    fn f_20_every_kind_judges_every_outcome() {
        use Disposition::*;
        let judged = |kind: EdgeKind| {
            [
                TerminalOutcome::Success,
                TerminalOutcome::Failed,
                TerminalOutcome::Cancelled,
                TerminalOutcome::Expired,
                TerminalOutcome::Skipped,
            ]
            .map(|outcome| kind.judge(outcome))
        };
        assert_eq!(
            judged(EdgeKind::SuccessOnly),
            [Satisfied, Failed, Failed, Failed, Skipped]
        );
        assert_eq!(judged(EdgeKind::AnyTerminal), [Satisfied; 5]);
        assert_eq!(
            judged(EdgeKind::FailureOnly),
            [Failed, Satisfied, Satisfied, Satisfied, Skipped]
        );
    }

    #[test]
    fn names_of_nodes_keep_to_their_alphabet() {
        for good in ["a", "_", "9:x", "fetch-1.b", &"x".repeat(128)] {
            assert!(node_name(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "a b", "é", "a\n", &"x".repeat(129)] {
            assert!(node_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cancellation_covers_what_its_policy_says() {
        let mut e = newborn();
        let covered = |e: &Execution| CancelPolicy::ALL.iter().map(|p| p.covers(e)).collect();
        let all: Vec<bool> = covered(&e);
        assert_eq!(all, [false, true, true]);
        e.vector.attempt = AttemptState::Interrupted;
        let all: Vec<bool> = covered(&e);
        assert_eq!(all, [false, false, true], "a paused member drains");
        e.vector.lifecycle = Lifecycle::Terminal;
        let all: Vec<bool> = covered(&e);
        assert_eq!(all, [false; 3]);
    }

    #[test]
    fn building_stops_at_the_seal_and_at_the_end() {
        let mut flow = Flow::new(Uuid::nil(), 0, 1, "dag", Instant(0));
        assert!(flow.buildable().is_ok());
        flow.sealed = true;
        let kind = |f: &Flow| f.buildable().err().map(|e| e.kind());
        assert_eq!(kind(&flow), Some(Kind::FlowSealed));
        flow.state = FlowState::Cancelled;
        assert_eq!(kind(&flow), Some(Kind::FlowAlreadyTerminal));
    }
}
