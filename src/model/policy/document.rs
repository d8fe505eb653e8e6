//! Strict reading of a policy document (§10.7): every member is known, of its type and in range,
//! and every refusal names the path.

use crate::error::{Error, Kind, Result};
use crate::model::text;
use serde_json::{Map, Value};
use std::ops::RangeInclusive;
use uuid::Uuid;

/// What stands for the path of the document itself.
const ROOT: &str = "$";

/// A JSON object at a known path, all of whose keys are known.
pub struct Object<'a> {
    path: String,
    members: &'a Map<String, Value>,
}

impl<'a> Object<'a> {
    /// The document itself; `None` for JSON null.
    pub fn root(value: &'a Value, known: &[&str]) -> Result<Option<Object<'a>>> {
        Object::at(String::new(), value, known)
    }

    /// The object at `path`; `None` for JSON null, which equals absence.
    pub fn at(path: String, value: &'a Value, known: &[&str]) -> Result<Option<Object<'a>>> {
        let members = match value {
            Value::Null => return Ok(None),
            Value::Object(members) => members,
            _ => return Err(refused(&path, "wrong_type")),
        };
        let object = Object { path, members };
        match members.keys().find(|key| !known.contains(&key.as_str())) {
            Some(stranger) => Err(object.refused(stranger, "unknown_key")),
            None => Ok(Some(object)),
        }
    }

    /// The path of a member.
    pub fn path(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// The refusal of a member.
    pub fn refused(&self, key: &str, rule: &str) -> Error {
        refused(&self.path(key), rule)
    }

    /// A member as it stands; null equals absence.
    pub fn value(&self, key: &str) -> Option<&'a Value> {
        self.members.get(key).filter(|value| !value.is_null())
    }

    /// A nested object.
    pub fn object(&self, key: &str, known: &[&str]) -> Result<Option<Object<'a>>> {
        match self.value(key) {
            Some(value) => Object::at(self.path(key), value, known),
            None => Ok(None),
        }
    }

    /// An integer: a JSON number without fraction or exponent.
    pub fn int(&self, key: &str, range: RangeInclusive<i64>) -> Result<Option<i64>> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let number = value
            .as_number()
            .ok_or_else(|| self.refused(key, "wrong_type"))?;
        // An integer beyond 64 bits is out of every range, anything else is no integer.
        let digits = |text: &str| {
            text.trim_start_matches('-')
                .bytes()
                .all(|b| b.is_ascii_digit())
        };
        match number.as_i64() {
            Some(n) if range.contains(&n) => Ok(Some(n)),
            None if !digits(&number.to_string()) => Err(self.refused(key, "wrong_type")),
            _ => Err(self.refused(key, "out_of_range")),
        }
    }

    /// A number, with or without a fraction.
    pub fn number(&self, key: &str, range: RangeInclusive<f64>) -> Result<Option<f64>> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let number = value
            .as_number()
            .ok_or_else(|| self.refused(key, "wrong_type"))?;
        match number.as_f64().filter(|n| range.contains(n)) {
            Some(n) => Ok(Some(n)),
            None => Err(self.refused(key, "out_of_range")),
        }
    }

    /// A truth value.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, Value::as_bool)
    }

    /// A text.
    pub fn text(&self, key: &str) -> Result<Option<&'a str>> {
        self.typed(key, Value::as_str)
    }

    /// A word of a closed set.
    pub fn word<T>(&self, key: &str, from_word: impl Fn(&str) -> Option<T>) -> Result<Option<T>> {
        let Some(word) = self.text(key)? else {
            return Ok(None);
        };
        from_word(word)
            .map(Some)
            .ok_or_else(|| self.refused(key, "unknown_word"))
    }

    /// A uuid.
    pub fn uuid(&self, key: &str) -> Result<Option<Uuid>> {
        self.value(key)
            .map(|value| uuid(&self.path(key), value))
            .transpose()
    }

    /// The elements of an array with their paths; absent and empty are the same.
    pub fn array(&self, key: &str) -> Result<Vec<(String, &'a Value)>> {
        let elements = self
            .typed(key, Value::as_array)?
            .map_or(&[][..], Vec::as_slice);
        let path = self.path(key);
        Ok(elements
            .iter()
            .enumerate()
            .map(|(i, value)| (format!("{path}[{i}]"), value))
            .collect())
    }

    /// A member that must be given.
    pub fn required<T>(&self, key: &str, found: Option<T>) -> Result<T> {
        found.ok_or_else(|| self.refused(key, "required"))
    }

    /// Refuses members that are known, but not beside the others.
    pub fn forbid(&self, keys: &[&str]) -> Result<()> {
        match keys.iter().find(|key| self.value(key).is_some()) {
            Some(key) => Err(self.refused(key, "not_allowed")),
            None => Ok(()),
        }
    }

    fn typed<T>(&self, key: &str, get: impl Fn(&'a Value) -> Option<T>) -> Result<Option<T>> {
        match self.value(key) {
            Some(value) => get(value)
                .map(Some)
                .ok_or_else(|| self.refused(key, "wrong_type")),
            None => Ok(None),
        }
    }
}

/// A uuid at a path, in any of the usual spellings.
pub fn uuid(path: &str, value: &Value) -> Result<Uuid> {
    let text = value.as_str().ok_or_else(|| refused(path, "wrong_type"))?;
    Uuid::try_parse(text).map_err(|_| refused(path, "bad_uuid"))
}

/// A text at a path.
pub fn text(path: &str, value: &Value) -> Result<String> {
    value
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| refused(path, "wrong_type"))
}

/// `invalid_policy` at a path, which is cut where a caller's key makes it very long.
pub fn refused(path: &str, rule: &str) -> Error {
    let path = if path.is_empty() {
        ROOT
    } else {
        text::cut(path)
    };
    Error::new(Kind::InvalidPolicy)
        .say(format!(
            "the policy breaks the rule {rule}, see the path in the detail"
        ))
        .with("path", path)
        .with("rule", rule)
}
