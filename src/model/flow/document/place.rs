//! Where in a document a value stands, and what is found wrong there. Reading goes on after a fault, so that a caller
//! learns of several at once.

use std::cell::RefCell;

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::error::{Error, Kind};
use crate::model::text;

/// Faults that are told of at once.
pub const MOST_FAULTS: usize = 20;

/// Something wrong in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// JSON pointer to it.
    pub path: String,
    /// What is wrong.
    pub error: String,
}

/// The faults of a document, in the order in which they were found.
#[derive(Default)]
pub struct Faults(RefCell<Vec<Fault>>);

impl Faults {
    /// Notes a fault; those beyond the limit are not told of.
    pub fn add(&self, path: &str, error: impl Into<String>) {
        let mut faults = self.0.borrow_mut();
        if faults.len() < MOST_FAULTS {
            faults.push(Fault {
                path: text::cut(path).to_owned(),
                error: text::cut(&error.into()).to_owned(),
            });
        }
    }

    /// Notes what a check of a single value has refused. A policy says itself where; its path becomes a pointer.
    pub fn refused(&self, path: &str, error: &Error) {
        let inner = error.detail_value("path").and_then(Value::as_str);
        let path = match inner {
            Some(inner) if inner != "$" => {
                format!("{path}/{}", inner.replace(['.', '['], "/").replace(']', ""))
            }
            _ => path.to_owned(),
        };
        let word = |key| error.detail_value(key).and_then(Value::as_str);
        let found = [word("rule"), word("key")].into_iter().flatten();
        let found: Vec<&str> = found.collect();
        let name = error.kind().name();
        self.add(
            &path,
            if found.is_empty() {
                name.to_owned()
            } else {
                format!("{name}: {}", found.join(" "))
            },
        );
    }

    /// What was found.
    pub fn take(self) -> Vec<Fault> {
        self.0.into_inner()
    }

    /// Nothing was found.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }
}

/// `invalid_input`, rule `flow_document`, with the faults.
pub fn refusal(faults: &[Fault]) -> Error {
    let errors: Vec<Value> = faults
        .iter()
        .map(|f| serde_json::json!({ "path": f.path, "error": f.error }))
        .collect();
    Error::new(Kind::InvalidInput)
        .say("the document of the flow is faulty, see the errors in the detail")
        .with("argument", "document")
        .with("rule", "flow_document")
        .with("errors", errors)
}

/// The pointer to a member.
pub fn member(path: &str, key: &str) -> String {
    format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// A JSON object at a known place.
pub struct Object<'a> {
    path: String,
    members: &'a Map<String, Value>,
    faults: &'a Faults,
}

impl<'a> Object<'a> {
    /// The object at `path`, whose unknown keys are faults.
    pub fn at(path: String, value: &'a Value, known: &[&str], faults: &'a Faults) -> Option<Self> {
        let Value::Object(members) = value else {
            faults.add(&path, "wrong type, an object is expected");
            return None;
        };
        let object = Object {
            path,
            members,
            faults,
        };
        let strangers = members.keys().filter(|key| !known.contains(&key.as_str()));
        strangers.for_each(|key| object.fault(key, "unknown key"));
        Some(object)
    }

    /// The pointer to a member.
    pub fn path(&self, key: &str) -> String {
        member(&self.path, key)
    }

    /// Notes a fault of a member.
    pub fn fault(&self, key: &str, error: impl Into<String>) {
        self.faults.add(&self.path(key), error);
    }

    /// Notes what a check of a member has refused.
    pub fn check(&self, key: &str, result: crate::error::Result<()>) {
        if let Err(error) = result {
            self.faults.refused(&self.path(key), &error);
        }
    }

    /// A member; null equals absence.
    pub fn value(&self, key: &str) -> Option<&'a Value> {
        self.members.get(key).filter(|value| !value.is_null())
    }

    /// Whether a member is there at all, if only as null.
    pub fn has(&self, key: &str) -> bool {
        self.members.contains_key(key)
    }

    /// A member as it stands, null included.
    pub fn raw(&self, key: &str) -> Option<&'a Value> {
        self.members.get(key)
    }

    /// A text.
    pub fn text(&self, key: &str) -> Option<&'a str> {
        self.typed(key, Value::as_str, "a text")
    }

    /// An integer of 64 bits.
    pub fn int(&self, key: &str) -> Option<i64> {
        self.typed(key, Value::as_i64, "an integer")
    }

    /// A truth value.
    pub fn boolean(&self, key: &str) -> Option<bool> {
        self.typed(key, Value::as_bool, "true or false")
    }

    /// A uuid.
    pub fn uuid(&self, key: &str) -> Option<Uuid> {
        let parse = |value: &Value| Uuid::try_parse(value.as_str()?).ok();
        self.typed(key, parse, "a uuid")
    }

    /// An object, read by its owner.
    pub fn map(&self, key: &str) -> Option<&'a Map<String, Value>> {
        self.typed(key, Value::as_object, "an object")
    }

    /// The elements of an array with their pointers; absent and empty are the same.
    pub fn array(&self, key: &str) -> impl Iterator<Item = (String, &'a Value)> + use<'a> {
        let elements = self.typed(key, Value::as_array, "an array");
        let path = self.path(key);
        let elements = elements.map_or(&[][..], Vec::as_slice);
        let place = move |(i, value)| (format!("{path}/{i}"), value);
        elements.iter().enumerate().map(place)
    }

    fn typed<T>(
        &self,
        key: &str,
        get: impl Fn(&'a Value) -> Option<T>,
        expected: &str,
    ) -> Option<T> {
        let value = self.value(key)?;
        let found = get(value);
        if found.is_none() {
            self.fault(key, format!("wrong type, {expected} is expected"));
        }
        found
    }
}
