//! The one error type of the engine (§10.24).
//!
//! An [`Error`] carries everything the report to the client needs; turning it into a PostgreSQL
//! error happens once, at the outermost boundary, and nowhere in here.
//!
//! Whoever builds an error must keep handles, tokens, secrets and payload bytes out of every field.

pub mod kind;
#[cfg(test)]
mod page;
mod raise;

pub use kind::Kind;

use serde_json::{Map, Value};
use std::fmt;

/// The result of everything in the engine that can be refused.
pub type Result<T> = std::result::Result<T, Error>;

/// A refused operation: its kind, one sentence, a JSON detail and a hint.
pub struct Error(Box<Inner>);

/// Boxed, so that a `Result` stays small on the path where nothing fails.
struct Inner {
    kind: Kind,
    sentence: Option<String>,
    detail: Map<String, Value>,
    hint: Option<String>,
}

impl Error {
    /// An error of this kind, with the kind's own summary and hint until others are given.
    pub fn new(kind: Kind) -> Self {
        let mut detail = Map::new();
        detail.insert("kind".to_owned(), Value::from(kind.name()));
        Error(Box::new(Inner {
            kind,
            sentence: None,
            detail,
            hint: None,
        }))
    }

    /// `invalid_input` (FF101) with the argument's name and the word of the rule it breaks.
    pub fn invalid_input(argument: &str, rule: &str) -> Self {
        Error::new(Kind::InvalidInput)
            .say(format!("argument {argument} breaks the rule {rule}"))
            .with("argument", argument)
            .with("rule", rule)
    }

    /// Sets the one sentence after the colon of the message: lower-case start, no final period.
    pub fn say(mut self, sentence: impl Into<String>) -> Self {
        self.0.sentence = Some(sentence.into());
        self
    }

    /// Adds a member to the JSON detail; a key given again takes the new value in its old place.
    /// `kind` is fixed: an attempt to set it changes nothing.
    pub fn with(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        let key = key.into();
        if key != "kind" {
            self.0.detail.insert(key, value.into());
        }
        self
    }

    /// Replaces the kind's default hint; a full sentence.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds the 0-based index of the offending item of a batch as `item` (§10.6).
    pub fn item(self, i: usize) -> Self {
        self.with("item", i)
    }

    /// The kind, and with it the SQLSTATE.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The MESSAGE field: `<kind>: <sentence>`.
    pub fn message(&self) -> String {
        let sentence = self
            .0
            .sentence
            .as_deref()
            .unwrap_or_else(|| plain(self.0.kind.summary()));
        format!("{}: {sentence}", self.0.kind.name())
    }

    /// The DETAIL field: one compact JSON object that starts with `kind`.
    pub fn detail(&self) -> String {
        Value::Object(self.0.detail.clone()).to_string()
    }

    /// One member of the detail, as it was given.
    pub fn detail_value(&self, key: &str) -> Option<&Value> {
        self.0.detail.get(key)
    }

    /// The HINT field, a full sentence.
    pub fn hint_text(&self) -> &str {
        self.0.hint.as_deref().unwrap_or(self.0.kind.hint())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {}",
            self.0.kind.sqlstate(),
            self.message(),
            self.detail()
        )
    }
}

impl std::error::Error for Error {}

/// A meaning without what it says to the reader of the specification.
fn plain(summary: &str) -> &str {
    let end = summary.find(['§', ';']).unwrap_or(summary.len());
    let cut = summary.get(..end).unwrap_or(summary);
    ["; DETAIL", " of ", " by ", " breaks ", " ("]
        .into_iter()
        .find_map(|tail| cut.strip_suffix(tail))
        .unwrap_or(cut)
        .trim_end()
}

#[cfg(test)]
mod tests {
    use super::{Error, Kind};

    #[test]
    fn message_detail_and_hint_have_the_promised_form() {
        let error = Error::new(Kind::StaleLease)
            .with("lease_epoch", 7)
            .with("kind", "other");
        assert_eq!(error.message(), "stale_lease: superseded by a newer lease");
        assert_eq!(error.detail(), r#"{"kind":"stale_lease","lease_epoch":7}"#);
        assert_eq!(error.hint_text(), Kind::StaleLease.hint());
        assert_eq!(error.kind().sqlstate(), "FF401");
    }

    #[test]
    fn builders_replace_the_defaults_and_keep_the_order() {
        let error = Error::invalid_input("lane", "empty")
            .say("the lane is missing")
            .hint("Name a lane.")
            .item(3)
            .with("argument", "lane_name");
        assert_eq!(error.message(), "invalid_input: the lane is missing");
        assert_eq!(
            error.detail(),
            r#"{"kind":"invalid_input","argument":"lane_name","rule":"empty","item":3}"#
        );
        assert_eq!(error.hint_text(), "Name a lane.");
    }

    #[test]
    fn a_result_stays_one_word_beyond_its_value() {
        assert!(size_of::<super::Result<u64>>() <= 16);
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }
}
