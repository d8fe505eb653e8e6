//! An error as the client sees it, checked against the rules every engine error obeys.

use serde_json::Value;

use super::contract;

#[derive(Debug)]
pub struct Failure {
    pub sqlstate: String,
    pub message: String,
    pub detail: Value,
    pub hint: String,
}

impl Failure {
    /// Takes an error apart; an error of class `FF` must have the form of §10.24, and an
    /// internal error is never right.
    #[track_caller]
    pub fn of(error: &postgres::Error) -> Self {
        let Some(db) = error.as_db_error() else {
            panic!("not an error of the server: {error}")
        };
        let sqlstate = db.code().code().to_string();
        assert_ne!(sqlstate, "XX000", "internal error: {db:?}");
        let detail = db.detail().unwrap_or_default();
        let failure = Self {
            message: db.message().into(),
            detail: serde_json::from_str(detail).unwrap_or(Value::Null),
            hint: db.hint().unwrap_or_default().into(),
            sqlstate,
        };
        if failure.sqlstate.starts_with("FF") {
            failure.has_the_form_of_an_engine_error(detail);
        }
        failure
    }

    #[track_caller]
    fn has_the_form_of_an_engine_error(&self, raw_detail: &str) {
        let kind = contract::kind_of(&self.sqlstate)
            .unwrap_or_else(|| panic!("{} is not in errors.tsv: {self:?}", self.sqlstate));
        let lead = format!("{kind}: ");
        assert!(
            self.message.starts_with(&lead),
            "message starts with its kind: {self:?}"
        );
        assert!(
            self.message.len() > lead.len(),
            "message says something: {self:?}"
        );
        assert!(
            self.detail.is_object(),
            "detail is a JSON object: {raw_detail:?} in {self:?}"
        );
        assert_eq!(
            self.detail["kind"],
            kind.as_str(),
            "detail carries the kind: {self:?}"
        );
        assert!(
            self.hint.contains(' ') && self.hint.ends_with('.'),
            "hint is a full sentence: {self:?}"
        );
        for text in [self.message.as_str(), raw_detail, self.hint.as_str()] {
            assert!(!text.contains("ffh1."), "an error shows a handle: {self:?}");
            assert!(!text.contains(SECRET), "an error shows a payload: {self:?}");
        }
    }

    /// A text field of the detail.
    #[track_caller]
    pub fn says(&self, key: &str) -> &str {
        self.detail[key]
            .as_str()
            .unwrap_or_else(|| panic!("detail has no text `{key}`: {self:?}"))
    }

    /// The detail mentions the word in any of its values.
    #[track_caller]
    pub fn mentions(&self, word: &str) -> &Self {
        assert!(
            self.detail.to_string().contains(word),
            "detail names {word}: {self:?}"
        );
        self
    }
}

/// Payloads and results of tests that provoke errors contain this; no error may.
pub const SECRET: &str = "hush-this-is-a-payload";
