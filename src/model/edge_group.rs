//! The edges into one child, counted: when they release it, and when they never can (§40.5).

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::flow::Disposition;
use super::time::Instant;
use super::words::words;
use crate::error::{Error, Kind, Result};

words! {
    /// What becomes of upstreams that a fired group needs no more.
    OnSatisfied {
        CancelRemaining = b'c' "cancel_remaining",
        LetRun = b'l' "let_run",
    }
}

words! {
    /// Where a group is.
    GroupState {
        Pending = b'p' "pending",
        Satisfied = b's' "satisfied",
        Impossible = b'i' "impossible",
    }
}

/// Largest k of a quorum.
const MAX_K: i64 = 1_000_000;
/// Why siblings are cancelled.
const QUORUM_SATISFIED: &str = "sibling_quorum_satisfied";
const QUORUM_IMPOSSIBLE: &str = "sibling_quorum_impossible";

/// When a group releases its child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// With every edge.
    AllOf,
    /// With the first.
    AnyOf(OnSatisfied),
    /// With the k-th.
    Quorum(i32, OnSatisfied),
}

impl Policy {
    /// Reads a policy document: its exact keys, nothing else.
    ///
    /// # Errors
    /// `invalid_edge_policy`.
    pub fn parse(document: &Value) -> Result<Policy> {
        let bad = |rule: &str| Error::new(Kind::InvalidEdgePolicy).with("rule", rule);
        let Value::Object(map) = document else {
            return Err(bad("not_an_object"));
        };
        let kind = map.get("kind").and_then(Value::as_str);
        let known: &[&str] = match kind {
            Some("all_of") => &["kind"],
            Some("any_of") => &["kind", "on_satisfied"],
            Some("quorum") => &["kind", "k", "on_satisfied"],
            _ => return Err(bad("unknown_kind")),
        };
        if map.keys().any(|key| !known.contains(&key.as_str())) {
            return Err(bad("unknown_key"));
        }
        let then = || match map.get("on_satisfied") {
            None => Ok(OnSatisfied::CancelRemaining),
            Some(word) => word
                .as_str()
                .and_then(OnSatisfied::from_word)
                .ok_or_else(|| bad("on_satisfied")),
        };
        match kind {
            Some("any_of") => Ok(Policy::AnyOf(then()?)),
            Some("quorum") => {
                let k = map.get("k").and_then(Value::as_i64);
                let k = k.filter(|k| (1..=MAX_K).contains(k));
                Ok(Policy::Quorum(k.ok_or_else(|| bad("k"))? as i32, then()?))
            }
            _ => Ok(Policy::AllOf),
        }
    }

    /// The document with every key.
    pub fn json(&self) -> Value {
        let mut map = Map::new();
        map.insert("kind".to_owned(), self.word().into());
        if let Policy::Quorum(k, _) = self {
            map.insert("k".to_owned(), (*k).into());
        }
        if let Some(then) = self.on_satisfied() {
            map.insert("on_satisfied".to_owned(), json!(then.word()));
        }
        Value::Object(map)
    }

    /// Its kind.
    pub fn word(&self) -> &'static str {
        match self {
            Policy::AllOf => "all_of",
            Policy::AnyOf(_) => "any_of",
            Policy::Quorum(..) => "quorum",
        }
    }

    /// The k of a quorum.
    pub fn k(&self) -> Option<i32> {
        match self {
            Policy::Quorum(k, _) => Some(*k),
            _ => None,
        }
    }

    /// What becomes of the remaining upstreams.
    pub fn on_satisfied(&self) -> Option<OnSatisfied> {
        match self {
            Policy::AllOf => None,
            Policy::AnyOf(then) | Policy::Quorum(_, then) => Some(*then),
        }
    }

    /// From the columns of a group.
    pub fn from_columns(word: &str, k: Option<i32>, then: Option<&str>) -> Option<Policy> {
        let then = then.and_then(OnSatisfied::from_word);
        match word {
            "all_of" => Some(Policy::AllOf),
            "any_of" => Some(Policy::AnyOf(then?)),
            "quorum" => Some(Policy::Quorum(k?, then?)),
            _ => None,
        }
    }

    /// How many of so many edges must be satisfied.
    fn needed(&self, total: i32) -> i32 {
        match self {
            Policy::AllOf => total,
            Policy::AnyOf(_) => 1,
            Policy::Quorum(k, _) => *k,
        }
    }
}

/// A child's edges, counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The child.
    pub child: Uuid,
    /// Its flow.
    pub flow: Uuid,
    /// When it releases the child.
    pub policy: Policy,
    /// Applied edges.
    pub total: i32,
    /// Satisfied ones.
    pub satisfied: i32,
    /// Impossible ones.
    pub failed: i32,
    /// Impossible ones whose upstream was skipped.
    pub skipped: i32,
    /// Whether it has fired.
    pub state: GroupState,
    /// When it was satisfied.
    pub satisfied_at: Option<Instant>,
    /// Its remaining upstreams are to be cancelled.
    pub cancel_pending: bool,
    /// Why.
    pub cancel_reason: Option<&'static str>,
    /// An edge asks for its upstream's result.
    pub passes_data: bool,
}

impl Group {
    /// A group without edges.
    pub fn new(flow: Uuid, child: Uuid, policy: Policy) -> Group {
        Group {
            child,
            flow,
            policy,
            total: 0,
            satisfied: 0,
            failed: 0,
            skipped: 0,
            state: GroupState::Pending,
            satisfied_at: None,
            cancel_pending: false,
            cancel_reason: None,
            passes_data: false,
        }
    }

    /// Edges that are not resolved.
    pub fn open(&self) -> i32 {
        self.total - self.satisfied - self.failed - self.skipped
    }

    /// Whether it has fired under a policy that takes no edges then.
    pub fn closed(&self) -> bool {
        self.state != GroupState::Pending && self.policy != Policy::AllOf
    }

    /// One more edge. A satisfied `all_of` waits again.
    pub fn add_edge(&mut self, passes_data: bool) {
        self.total += 1;
        self.passes_data |= passes_data;
        if self.policy == Policy::AllOf && self.state == GroupState::Satisfied {
            self.state = GroupState::Pending;
            self.satisfied_at = None;
        }
    }

    /// One edge is resolved.
    pub fn count(&mut self, disposition: Disposition) {
        match disposition {
            Disposition::Satisfied => self.satisfied += 1,
            Disposition::Failed => self.failed += 1,
            Disposition::Skipped => self.skipped += 1,
        }
    }

    /// What a pending group's counters say; a quorum that is still being assembled says nothing.
    pub fn verdict(&self) -> GroupState {
        let needed = self.policy.needed(self.total);
        if self.satisfied >= needed && self.total > 0 {
            GroupState::Satisfied
        } else if needed <= self.total && self.failed + self.skipped > self.total - needed {
            GroupState::Impossible
        } else {
            GroupState::Pending
        }
    }

    /// Judges the group if it has not fired; what it fires as, if it does now (§40.5.1, §40.5.2).
    pub fn fire(&mut self, now: Instant) -> Option<GroupState> {
        if self.state != GroupState::Pending || self.verdict() == GroupState::Pending {
            return None;
        }
        self.state = self.verdict();
        let satisfied = self.state == GroupState::Satisfied;
        self.satisfied_at = satisfied.then_some(now);
        let then = self.policy.on_satisfied();
        if then == Some(OnSatisfied::CancelRemaining) && self.open() > 0 {
            self.cancel_pending = true;
            self.cancel_reason = Some(if satisfied {
                QUORUM_SATISFIED
            } else {
                QUORUM_IMPOSSIBLE
            });
        }
        Some(self.state)
    }

    /// Its child runs again: what was impossible is open, and nobody is to be cancelled.
    pub fn reopen(&mut self) {
        self.failed = 0;
        self.skipped = 0;
        self.state = GroupState::Pending;
        self.satisfied_at = None;
        self.cancel_pending = false;
        self.cancel_reason = None;
    }

    /// What a waiting child is told.
    pub fn detail(&self) -> String {
        format!("{} of {} dependencies unresolved", self.open(), self.total)
    }

    /// Refuses counters that cannot be.
    ///
    /// # Errors
    /// `invariant_violation`.
    pub fn check(&self) -> Result<()> {
        let counters = [self.satisfied, self.failed, self.skipped, self.open()];
        if counters.iter().all(|n| *n >= 0) {
            return Ok(());
        }
        Err(Error::new(Kind::InvariantViolation)
            .say("the counters of an edge group do not add up")
            .with("downstream_execution_id", self.child.to_string()))
    }

    /// The stored word of a reason.
    pub fn reason(word: &str) -> Option<&'static str> {
        [QUORUM_SATISFIED, QUORUM_IMPOSSIBLE]
            .into_iter()
            .find(|known| *known == word)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Instant = Instant(5);

    fn group(policy: Policy, edges: i32) -> Group {
        let mut group = Group::new(Uuid::nil(), Uuid::nil(), policy);
        for _ in 0..edges {
            group.add_edge(false);
        }
        group
    }

    fn policy() -> impl Strategy<Value = Policy> {
        let then = || prop::sample::select(OnSatisfied::ALL);
        prop_oneof![
            Just(Policy::AllOf),
            then().prop_map(Policy::AnyOf),
            (1..12, then()).prop_map(|(k, then)| Policy::Quorum(k, then)),
        ]
    }

    fn disposition() -> impl Strategy<Value = Disposition> {
        prop::sample::select(vec![
            Disposition::Satisfied,
            Disposition::Failed,
            Disposition::Skipped,
        ])
    }

    #[test]
    fn f_30_documents_have_exact_keys() {
        for (document, expected) in [
            (json!({"kind": "all_of"}), Policy::AllOf),
            (
                json!({"kind": "any_of"}),
                Policy::AnyOf(OnSatisfied::CancelRemaining),
            ),
            (
                json!({"kind": "quorum", "k": 2, "on_satisfied": "let_run"}),
                Policy::Quorum(2, OnSatisfied::LetRun),
            ),
        ] {
            let policy = Policy::parse(&document).unwrap();
            assert_eq!(policy, expected);
            assert_eq!(Policy::parse(&policy.json()).unwrap(), policy);
        }
        for bad in [
            json!(null),
            json!([]),
            json!({}),
            json!({"kind": "some_of"}),
            json!({"kind": "all_of", "on_satisfied": "let_run"}),
            json!({"kind": "any_of", "k": 1}),
            json!({"kind": "any_of", "on_satisfied": "x"}),
            json!({"kind": "any_of", "on_satisfied": null}),
            json!({"kind": "quorum"}),
            json!({"kind": "quorum", "k": 0}),
            json!({"kind": "quorum", "k": 1_000_001}),
            json!({"kind": "quorum", "k": 1.5}),
            json!({"kind": "quorum", "k": "1"}),
            json!({"kind": "quorum", "k": 1, "extra": 1}),
        ] {
            let refused = Policy::parse(&bad).err().map(|e| e.kind());
            assert_eq!(refused, Some(Kind::InvalidEdgePolicy), "{bad}");
        }
    }

    #[test]
    fn a_quorum_still_being_assembled_says_nothing() {
        let mut g = group(Policy::Quorum(3, OnSatisfied::LetRun), 1);
        g.count(Disposition::Failed);
        assert_eq!(g.fire(NOW), None);
        g.add_edge(false);
        assert_eq!(g.fire(NOW), None);
        g.add_edge(false);
        assert_eq!(
            g.fire(NOW),
            Some(GroupState::Impossible),
            "three edges, one failed, three needed"
        );
    }

    #[test]
    fn a_satisfied_all_of_waits_for_its_new_edge() {
        let mut g = group(Policy::AllOf, 1);
        g.count(Disposition::Satisfied);
        assert_eq!(g.fire(NOW), Some(GroupState::Satisfied));
        assert!(!g.closed());
        g.add_edge(true);
        assert_eq!((g.state, g.satisfied_at), (GroupState::Pending, None));
        assert_eq!(g.detail(), "1 of 2 dependencies unresolved");
        g.count(Disposition::Skipped);
        assert_eq!(g.fire(NOW), Some(GroupState::Impossible));
    }

    proptest! {
        #[test]
        fn a_group_fires_once_and_for_good(
            policy in policy(),
            edges in 1..10,
            ends in prop::collection::vec(disposition(), 10),
        ) {
            let mut g = group(policy, edges);
            let mut fired = Vec::new();
            for end in ends.into_iter().take(edges as usize) {
                let before = g.clone();
                g.count(end);
                prop_assert!(g.check().is_ok());
                let verdict = g.fire(NOW);
                if before.state != GroupState::Pending {
                    prop_assert_eq!(verdict, None);
                    prop_assert_eq!((g.state, g.satisfied_at), (before.state, before.satisfied_at));
                    prop_assert_eq!(g.cancel_pending, before.cancel_pending);
                }
                fired.extend(verdict);
                prop_assert_eq!(g.satisfied_at.is_some(), g.state == GroupState::Satisfied);
            }
            let assembled = policy.needed(edges) <= edges;
            prop_assert_eq!(fired.len(), usize::from(assembled), "fires exactly once, if it can at all");
        }

        #[test]
        fn the_verdict_does_not_depend_on_the_order_of_ends(
            policy in policy(),
            ends in prop::collection::vec(disposition(), 1..10).prop_shuffle(),
        ) {
            let judged = |ends: &[Disposition]| {
                let mut g = group(policy, ends.len() as i32);
                for end in ends {
                    g.count(*end);
                    g.fire(NOW);
                }
                g.state
            };
            let mut folded = group(policy, ends.len() as i32);
            for end in &ends {
                folded.count(*end);
            }
            folded.fire(NOW);
            let backwards: Vec<_> = ends.iter().rev().copied().collect();
            prop_assert_eq!(judged(&ends), judged(&backwards));
            prop_assert_eq!(judged(&ends), folded.state, "one by one and all at once");
        }

        #[test]
        fn remaining_upstreams_are_cancelled_only_where_the_policy_says_so(
            policy in policy(),
            ends in prop::collection::vec(disposition(), 1..10),
            more in 0..5,
        ) {
            let mut g = group(policy, ends.len() as i32 + more);
            for end in &ends {
                g.count(*end);
                let open = g.open();
                if g.fire(NOW).is_some() {
                    let wanted = policy.on_satisfied() == Some(OnSatisfied::CancelRemaining) && open > 0;
                    prop_assert_eq!(g.cancel_pending, wanted);
                    prop_assert_eq!(g.cancel_reason.is_some(), wanted);
                }
            }
        }
    }
}
