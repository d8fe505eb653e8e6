//! Reading and checking condition documents (§20.3.1, §20.3.2).

use serde_json::{Map, Value};

use crate::error::{Error, Kind, Result};

use super::{Condition, Distinct, Names, Node};

/// Nested levels of `all_of`, `any_of` and `count`.
const MAX_DEPTH: usize = 4;
/// Nodes of a document.
const MAX_NODES: usize = 128;
/// Signal names in a document.
const MAX_NAMES: usize = 256;
/// Bytes of a signal name.
const MAX_NAME_BYTES: usize = 128;

/// `invalid_resume_condition` with the rule that is broken and where.
pub fn invalid(rule: &str, path: &str) -> Error {
    Error::new(Kind::InvalidResumeCondition)
        .say(format!(
            "the resume condition breaks the rule {rule} at {path}"
        ))
        .with("rule", rule)
        .with("path", path)
}

/// The path of a member.
pub fn member(path: &str, i: usize) -> String {
    match path {
        "<root>" => format!("members[{i}]"),
        path => format!("{path}.members[{i}]"),
    }
}

/// What a signal name breaks (§20.11), if anything: `empty`, or another rule.
pub fn signal_name(name: &str) -> Option<&'static str> {
    let rules = [
        ("empty", name.is_empty()),
        ("too_long", name.len() > MAX_NAME_BYTES),
        ("control_character", name.chars().any(char::is_control)),
        ("surrounding_space", name.trim() != name),
        ("reserved", name.starts_with("__")),
    ];
    rules
        .into_iter()
        .find(|(_, broken)| *broken)
        .map(|(rule, _)| rule)
}

/// Reads a whole document.
pub fn condition(value: &Value) -> Result<Condition> {
    let root = Object::of(value, "<root>")?;
    match root.members.get("v") {
        None => {}
        Some(Value::Number(v)) if v.as_i64() == Some(1) => {}
        Some(_) => return Err(invalid("unsupported_version", "<root>")),
    }
    let kind = root.kind()?;
    match kind {
        "operator_only" | "timeout_only" => {
            root.only(&["type", "v"])?;
            Ok(if kind == "operator_only" {
                Condition::OperatorOnly
            } else {
                Condition::TimeoutOnly
            })
        }
        _ => {
            let mut budget = Budget { nodes: 0, names: 0 };
            budget.node(value, "<root>", 0).map(Condition::Signals)
        }
    }
}

/// An object of the document and where it stands.
struct Object<'a> {
    members: &'a Map<String, Value>,
    path: &'a str,
}

impl<'a> Object<'a> {
    fn of(value: &'a Value, path: &'a str) -> Result<Object<'a>> {
        match value {
            Value::Object(members) => Ok(Object { members, path }),
            _ => Err(invalid("not_an_object", path)),
        }
    }

    fn kind(&self) -> Result<&'a str> {
        match self.members.get("type") {
            Some(Value::String(word)) => Ok(word),
            Some(_) => Err(invalid("wrong_type", self.path)),
            None => Err(invalid("unknown_type", self.path)),
        }
    }

    fn only(&self, known: &[&str]) -> Result<()> {
        match self.members.keys().find(|k| !known.contains(&k.as_str())) {
            Some(_) => Err(invalid("unknown_key", self.path)),
            None => Ok(()),
        }
    }

    /// A member that is neither absent nor null.
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.members.get(key).filter(|v| !v.is_null())
    }

    fn text(&self, key: &str) -> Result<Option<&'a str>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(invalid("wrong_type", self.path)),
        }
    }

    fn texts(&self, key: &str) -> Result<Option<Vec<&'a str>>> {
        let wrong = || invalid("wrong_type", self.path);
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| item.as_str().ok_or_else(wrong))
                .collect::<Result<Vec<_>>>()
                .map(Some),
            Some(_) => Err(wrong()),
        }
    }
}

/// What a document has used up.
struct Budget {
    nodes: usize,
    names: usize,
}

impl Budget {
    fn node(&mut self, value: &Value, path: &str, above: usize) -> Result<Node> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(invalid("too_large", path));
        }
        let object = Object::of(value, path)?;
        let kind = object.kind()?;
        let version: &[&str] = if path == "<root>" { &["v"] } else { &[] };
        let only = |known: &[&str]| object.only(&[known, version].concat());
        let deeper = || {
            if above >= MAX_DEPTH {
                Err(invalid("depth_exceeded", path))
            } else {
                Ok(above + 1)
            }
        };
        match kind {
            "signal" => {
                only(&["type", "waitpoint", "match"])?;
                Ok(Node::Signal {
                    key: object.text("waitpoint")?.map(str::to_owned),
                    names: self.names(&object)?,
                })
            }
            "all_of" | "any_of" => {
                only(&["type", "members"])?;
                let level = deeper()?;
                let members = match object.get("members") {
                    Some(Value::Array(members)) if !members.is_empty() => members,
                    Some(Value::Array(_)) | None => return Err(invalid("members_empty", path)),
                    Some(_) => return Err(invalid("wrong_type", path)),
                };
                let members = members
                    .iter()
                    .enumerate()
                    .map(|(i, m)| self.node(m, &member(path, i), level))
                    .collect::<Result<Vec<_>>>()?;
                Ok(if kind == "all_of" {
                    Node::All(members)
                } else {
                    Node::Any(members)
                })
            }
            "count" => {
                only(&["type", "n", "distinct", "waitpoints", "match"])?;
                deeper()?;
                self.count(&object)
            }
            "operator_only" | "timeout_only" => Err(invalid("leaf_not_allowed_in_composite", path)),
            _ => Err(invalid("unknown_type", path)),
        }
    }

    fn count(&mut self, object: &Object) -> Result<Node> {
        let wrong = || invalid("wrong_type", object.path);
        let n = object.get("n").and_then(Value::as_i64).ok_or_else(wrong)?;
        if n < 1 {
            return Err(invalid("count_n_zero", object.path));
        }
        let n = u32::try_from(n).map_err(|_| wrong())?;
        let word = object.text("distinct")?.ok_or_else(wrong)?;
        let distinct = Distinct::ALL
            .iter()
            .find(|(_, known)| *known == word)
            .map(|(distinct, _)| *distinct)
            .ok_or_else(wrong)?;
        let mut keys: Option<Vec<String>> = None;
        if let Some(given) = object.texts("waitpoints")? {
            if given.is_empty() {
                return Err(invalid("count_waitpoints_empty", object.path));
            }
            let different = keys.insert(Vec::new());
            for key in given {
                if !different.iter().any(|k| k == key) {
                    different.push(key.to_owned());
                }
            }
            if distinct == Distinct::Waitpoints && n as usize > different.len() {
                return Err(invalid("count_exceeds_waitpoint_set", object.path));
            }
        }
        Ok(Node::Count {
            n,
            distinct,
            keys,
            names: self.names(object)?,
        })
    }

    fn names(&mut self, object: &Object) -> Result<Names> {
        let names = match object.get("match") {
            None => Vec::new(),
            Some(Value::String(name)) => vec![name.as_str()],
            Some(value @ Value::Object(_)) => {
                let set = Object::of(value, object.path)?;
                set.only(&["one_of"])?;
                match set.texts("one_of")? {
                    Some(names) if !names.is_empty() => names,
                    _ => return Err(invalid("wrong_type", object.path)),
                }
            }
            Some(_) => return Err(invalid("wrong_type", object.path)),
        };
        self.names += names.len();
        if self.names > MAX_NAMES {
            return Err(invalid("too_large", object.path));
        }
        for name in &names {
            match signal_name(name) {
                None => {}
                Some("empty") => return Err(invalid("empty_signal_name", object.path)),
                Some(_) => return Err(invalid("bad_signal_name", object.path)),
            }
        }
        Ok(Names(names.into_iter().map(str::to_owned).collect()))
    }
}
