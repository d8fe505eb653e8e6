//! What a signal changes (§20.3.3): satisfiers are recorded, and never taken back.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::model::words::Effect;

use super::{Condition, Distinct, Node};

/// A signal as a condition sees it.
#[derive(Clone, Debug)]
pub struct Incoming<'a> {
    /// Waitpoint it was delivered to.
    pub waitpoint: Uuid,
    /// Key of that waitpoint.
    pub key: &'a str,
    /// Its name.
    pub name: &'a str,
}

/// What the nodes of a condition have recorded, by their number in tree order.
///
/// Sources are only counted here: which ones they are is looked up by the caller, so that the cost of a signal does
/// not grow with those before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress(Vec<Recorded>);

/// What one node has recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Recorded {
    /// So many satisfiers; a leaf has one at most.
    Number(u64),
    /// These waitpoints.
    Waitpoints(Vec<Uuid>),
}

impl Recorded {
    fn have(&self) -> u64 {
        match self {
            Recorded::Number(n) => *n,
            Recorded::Waitpoints(ids) => ids.len() as u64,
        }
    }
}

/// What became of a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Its effect.
    pub effect: Effect,
    /// Nodes that have recorded its source.
    pub sources: Vec<usize>,
}

impl Condition {
    /// Nothing recorded yet.
    pub fn fresh(&self) -> Progress {
        let mut recorded = Vec::new();
        self.visit(&mut |node, _| {
            recorded.push(match node {
                Node::Count {
                    distinct: Distinct::Waitpoints,
                    ..
                } => Recorded::Waitpoints(Vec::new()),
                _ => Recorded::Number(0),
            });
        });
        Progress(recorded)
    }

    /// The nodes that would record the signal's source: whether they know it already must be looked up.
    pub fn source_nodes(&self, signal: &Incoming) -> Vec<usize> {
        let mut nodes = Vec::new();
        self.visit(&mut |node, i| {
            let by_source = matches!(
                node,
                Node::Count {
                    distinct: Distinct::Sources,
                    ..
                }
            );
            if by_source && node.considers(signal) && node.accepts(signal) {
                nodes.push(i);
            }
        });
        nodes
    }

    /// Records a signal; `known` are the nodes that have recorded its source before.
    pub fn record(&self, progress: &mut Progress, signal: &Incoming, known: &[usize]) -> Verdict {
        let (mut candidate, mut accepted, mut gained) = (false, false, false);
        let mut sources = Vec::new();
        self.visit(&mut |node, i| {
            if !node.considers(signal) {
                return;
            }
            candidate = true;
            if !node.accepts(signal) {
                return;
            }
            accepted = true;
            let Some(recorded) = progress.0.get_mut(i) else {
                return;
            };
            let new = match (node, &*recorded) {
                (Node::Signal { .. }, recorded) => recorded.have() == 0,
                (_, Recorded::Waitpoints(ids)) => !ids.contains(&signal.waitpoint),
                (
                    Node::Count {
                        distinct: Distinct::Sources,
                        ..
                    },
                    _,
                ) => !known.contains(&i),
                _ => true,
            };
            if !new {
                return;
            }
            gained = true;
            match recorded {
                Recorded::Number(n) => *n += 1,
                Recorded::Waitpoints(ids) => ids.push(signal.waitpoint),
            }
            if let Node::Count {
                distinct: Distinct::Sources,
                ..
            } = node
            {
                sources.push(i);
            }
        });
        let effect = match (candidate, accepted, gained) {
            (false, ..) => Effect::NotInCondition,
            (_, false, _) => Effect::MatcherFailed,
            (_, _, false) => Effect::AppendedDuplicate,
            _ if self.holds(progress) => Effect::Satisfied,
            _ => Effect::Appended,
        };
        Verdict { effect, sources }
    }

    /// Whether the root holds.
    pub fn holds(&self, progress: &Progress) -> bool {
        match self {
            Condition::Signals(root) => root.holds(&mut |node, i| node.filled(progress.have(i))),
            Condition::OperatorOnly | Condition::TimeoutOnly => false,
        }
    }

    /// Whether signals to these waitpoints, given by id and key, could still make the root hold.
    pub fn satisfiable(&self, progress: &Progress, open: &[(Uuid, String)]) -> bool {
        let Condition::Signals(root) = self else {
            return false;
        };
        root.holds(&mut |node, i| {
            let own = node.own_keys();
            let mut reachable = open.iter().filter(|(_, key)| own.contains(&key.as_str()));
            match (node, progress.0.get(i)) {
                (Node::Count { n, .. }, Some(Recorded::Waitpoints(ids))) => {
                    let more = reachable.filter(|(id, _)| !ids.contains(id)).count();
                    ids.len() + more >= *n as usize
                }
                _ => node.filled(progress.have(i)) || reachable.next().is_some(),
            }
        })
    }

    /// The condition as it is shown, with what each node has.
    pub fn shown(&self, progress: &Progress) -> Value {
        let mut document = self.json();
        if let (Condition::Signals(root), Some(object)) = (self, document.as_object_mut()) {
            root.annotate(object, progress, &mut 0);
        } else if let Some(object) = document.as_object_mut() {
            object.insert("satisfied".to_owned(), false.into());
        }
        document
    }
}

impl Node {
    fn considers(&self, signal: &Incoming) -> bool {
        self.own_keys().contains(&signal.key)
    }

    fn accepts(&self, signal: &Incoming) -> bool {
        self.names().is_some_and(|names| names.accepts(signal.name))
    }

    /// Whether so many satisfiers are enough for a node that records them.
    fn filled(&self, have: u64) -> bool {
        match self {
            Node::Count { n, .. } => have >= u64::from(*n),
            _ => have > 0,
        }
    }

    fn holds(&self, filled: &mut impl FnMut(&Node, usize) -> bool) -> bool {
        self.decide(filled, &mut 0)
    }

    /// Numbers nodes as `visit` does, so every member is looked at.
    fn decide(&self, filled: &mut impl FnMut(&Node, usize) -> bool, next: &mut usize) -> bool {
        let mut holding = |members: &[Node]| {
            members
                .iter()
                .filter(|member| member.decide(filled, next))
                .count()
        };
        match self {
            Node::All(members) => holding(members) == members.len(),
            Node::Any(members) => holding(members) > 0,
            Node::Signal { .. } | Node::Count { .. } => {
                let i = *next;
                *next += 1;
                filled(self, i)
            }
        }
    }

    fn annotate(&self, shown: &mut Map<String, Value>, progress: &Progress, next: &mut usize) {
        let mut from = *next;
        let satisfied = self.decide(&mut |node, i| node.filled(progress.have(i)), &mut from);
        if let Node::Count { n, .. } = self {
            shown.insert("have".to_owned(), progress.have(*next).into());
            shown.insert("need".to_owned(), (*n).into());
        }
        match self {
            Node::All(members) | Node::Any(members) => {
                let values = shown.get_mut("members").and_then(Value::as_array_mut);
                for (member, value) in members.iter().zip(values.into_iter().flatten()) {
                    if let Some(object) = value.as_object_mut() {
                        member.annotate(object, progress, next);
                    }
                }
            }
            Node::Signal { .. } | Node::Count { .. } => *next += 1,
        }
        shown.insert("satisfied".to_owned(), satisfied.into());
    }
}

impl Progress {
    fn have(&self, i: usize) -> u64 {
        self.0.get(i).map_or(0, Recorded::have)
    }

    /// As it is stored.
    pub fn json(&self) -> Value {
        let recorded = |r: &Recorded| match r {
            Recorded::Number(n) => json!(n),
            Recorded::Waitpoints(ids) => json!(ids),
        };
        self.0.iter().map(recorded).collect()
    }

    /// Reads what was stored.
    ///
    /// # Errors
    /// `corruption`.
    pub fn from_stored(value: &Value) -> Result<Progress> {
        let damaged = || {
            Error::new(Kind::Corruption)
                .say("the stored progress of a resume condition cannot be interpreted")
        };
        let recorded = |value: &Value| match value {
            Value::Number(n) => n.as_u64().map(Recorded::Number),
            Value::Array(ids) => ids
                .iter()
                .map(|id| id.as_str()?.parse().ok())
                .collect::<Option<Vec<Uuid>>>()
                .map(Recorded::Waitpoints),
            _ => None,
        };
        let nodes = value.as_array().ok_or_else(damaged)?;
        let nodes: Option<Vec<Recorded>> = nodes.iter().map(recorded).collect();
        nodes.map(Progress).ok_or_else(damaged)
    }
}
