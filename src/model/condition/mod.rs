//! Resume conditions (§20.3): the tree that says which signals end a suspension.
//!
//! `parse` reads and checks documents, `evaluate` decides what a signal changes.

mod evaluate;
mod parse;
#[cfg(test)]
mod properties;

pub use evaluate::{Incoming, Progress};
pub use parse::signal_name;

use serde_json::{Value, json};

use crate::error::{Error, Kind, Result};

/// The name that stands for "only an operator" among required signal names.
const OPERATOR_ONLY: &str = "__operator_only__";
/// The name that stands for "only the timeout".
const TIMEOUT_ONLY: &str = "__timeout_only__";

/// A checked condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Signals decide.
    Signals(Node),
    /// Only an operator resumes.
    OperatorOnly,
    /// Only the timeout acts.
    TimeoutOnly,
}

/// A node of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// One accepted signal.
    Signal {
        /// Key of its waitpoint; none means the only one, until [`Condition::resolve`] names it.
        key: Option<String>,
        /// Names it accepts.
        names: Names,
    },
    /// Every member holds.
    All(Vec<Node>),
    /// At least one member holds.
    Any(Vec<Node>),
    /// At least so many different satisfiers.
    Count {
        /// How many.
        n: u32,
        /// What makes two of them different.
        distinct: Distinct,
        /// Keys of its waitpoints, different ones; none means all of the suspension.
        keys: Option<Vec<String>>,
        /// Names it accepts.
        names: Names,
    },
}

/// The names a node accepts; none named accepts every one.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Names(pub Vec<String>);

impl Names {
    fn accepts(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|n| n == name)
    }

    fn json(&self) -> Value {
        match self.0.as_slice() {
            [] => Value::Null,
            [name] => json!(name),
            names => json!({ "one_of": names }),
        }
    }
}

/// What makes two satisfiers of a count different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distinct {
    /// The waitpoint.
    Waitpoints,
    /// The signal.
    Signals,
    /// The pair of source type and source identity.
    Sources,
}

impl Distinct {
    const ALL: [(Distinct, &'static str); 3] = [
        (Distinct::Waitpoints, "waitpoints"),
        (Distinct::Signals, "signals"),
        (Distinct::Sources, "sources"),
    ];

    fn word(self) -> &'static str {
        Distinct::ALL
            .iter()
            .find(|(d, _)| *d == self)
            .map_or("", |(_, word)| word)
    }
}

impl Condition {
    /// Reads a document of a caller.
    ///
    /// # Errors
    /// `invalid_resume_condition` with `rule` and `path`.
    pub fn parse(value: &Value) -> Result<Condition> {
        parse::condition(value)
    }

    /// Reads a stored document.
    ///
    /// # Errors
    /// `corruption`, since only checked documents are ever stored.
    pub fn from_stored(value: &Value) -> Result<Condition> {
        Condition::parse(value).map_err(|cause| {
            let path = cause.detail_value("path").cloned().unwrap_or_default();
            Error::new(Kind::Corruption)
                .say("a stored resume condition cannot be interpreted")
                .with("path", path)
        })
    }

    /// The document that is stored and shown: explicit keys, explicit version.
    pub fn json(&self) -> Value {
        let mut document = match self {
            Condition::Signals(node) => node.json(),
            Condition::OperatorOnly => json!({ "type": "operator_only" }),
            Condition::TimeoutOnly => json!({ "type": "timeout_only" }),
        };
        if let Some(object) = document.as_object_mut() {
            object.insert("v".to_owned(), 1.into());
        }
        document
    }

    /// Different keys in tree order.
    pub fn keys(&self) -> Vec<&str> {
        let mut keys: Vec<&str> = Vec::new();
        self.visit(&mut |node, _| {
            for key in node.own_keys() {
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
        });
        keys
    }

    /// Names every waitpoint that the document left out, and checks keys against the bindings' keys; `fresh` says
    /// that all of them are made for this suspension.
    ///
    /// # Errors
    /// `invalid_resume_condition` for keys that do not fit the bindings.
    pub fn resolve(&mut self, bindings: &[String], fresh: bool) -> Result<()> {
        if let (Condition::Signals(Node::Signal { key: Some(key), .. }), [only], true) =
            (&*self, bindings, fresh)
            && key != only
        {
            return Err(
                parse::invalid("waitpoint_key_mismatch", "<root>").with("key", only.clone())
            );
        }
        let Condition::Signals(root) = self else {
            return Ok(());
        };
        root.resolve(bindings, "<root>")?;
        let named = self.keys();
        match bindings.iter().find(|key| !named.contains(&key.as_str())) {
            Some(extra) => Err(parse::invalid(
                "extra_binding_not_referenced_by_condition",
                "<root>",
            )
            .with("key", extra.clone())),
            None => Ok(()),
        }
    }

    /// The names that may help at a waitpoint, in tree order; none if every name may.
    pub fn required_names(&self, key: &str) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        let mut wildcard = false;
        match self {
            Condition::OperatorOnly => return vec![OPERATOR_ONLY.to_owned()],
            Condition::TimeoutOnly => return vec![TIMEOUT_ONLY.to_owned()],
            Condition::Signals(_) => self.visit(&mut |node, _| {
                let Some(own) = node.names().filter(|_| node.own_keys().contains(&key)) else {
                    return;
                };
                wildcard |= own.0.is_empty();
                for name in &own.0 {
                    if !names.contains(name) {
                        names.push(name.clone());
                    }
                }
            }),
        }
        if wildcard { Vec::new() } else { names }
    }

    /// Calls with every node that records satisfiers and its number, in tree order.
    fn visit<'a>(&'a self, f: &mut impl FnMut(&'a Node, usize)) {
        if let Condition::Signals(root) = self {
            root.visit(f, &mut 0);
        }
    }
}

impl Node {
    fn visit<'a>(&'a self, f: &mut impl FnMut(&'a Node, usize), next: &mut usize) {
        match self {
            Node::All(members) | Node::Any(members) => {
                members.iter().for_each(|member| member.visit(f, next));
            }
            Node::Signal { .. } | Node::Count { .. } => {
                f(self, *next);
                *next += 1;
            }
        }
    }

    fn own_keys(&self) -> Vec<&str> {
        match self {
            Node::Signal { key, .. } => key.iter().map(String::as_str).collect(),
            Node::Count { keys, .. } => keys.iter().flatten().map(String::as_str).collect(),
            Node::All(_) | Node::Any(_) => Vec::new(),
        }
    }

    fn names(&self) -> Option<&Names> {
        match self {
            Node::Signal { names, .. } | Node::Count { names, .. } => Some(names),
            Node::All(_) | Node::Any(_) => None,
        }
    }

    fn resolve(&mut self, bindings: &[String], path: &str) -> Result<()> {
        let missing = |key: &str| {
            parse::invalid("referenced_waitpoint_key_missing_binding", path).with("key", key)
        };
        match self {
            Node::All(members) | Node::Any(members) => {
                for (i, member) in members.iter_mut().enumerate() {
                    member.resolve(bindings, &parse::member(path, i))?;
                }
                Ok(())
            }
            Node::Signal { key, .. } => match (key.as_deref(), bindings) {
                (None, [only]) => {
                    *key = Some(only.clone());
                    Ok(())
                }
                (None, _) => Err(missing("")),
                (Some(named), _) if bindings.iter().any(|b| b == named) => Ok(()),
                (Some(named), _) => Err(missing(named)),
            },
            Node::Count {
                n, distinct, keys, ..
            } => {
                let own = keys.get_or_insert_with(|| bindings.to_vec());
                if let Some(named) = own.iter().find(|key| !bindings.contains(key)) {
                    return Err(missing(named));
                }
                if *distinct == Distinct::Waitpoints && *n as usize > own.len() {
                    return Err(parse::invalid("count_exceeds_waitpoint_set", path));
                }
                Ok(())
            }
        }
    }

    fn json(&self) -> Value {
        match self {
            Node::Signal { key, names } => {
                json!({ "type": "signal", "waitpoint": key, "match": names.json() })
            }
            Node::All(members) => json!({ "type": "all_of", "members": list(members) }),
            Node::Any(members) => json!({ "type": "any_of", "members": list(members) }),
            Node::Count {
                n,
                distinct,
                keys,
                names,
            } => json!({
                "type": "count",
                "n": n,
                "distinct": distinct.word(),
                "waitpoints": keys,
                "match": names.json(),
            }),
        }
    }
}

fn list(members: &[Node]) -> Vec<Value> {
    members.iter().map(Node::json).collect()
}
