//! Capability sets and their match (§10.9).

use crate::error::{Error, Kind, Result};
use serde_json::Value;
use std::collections::BTreeSet;

/// Longest token in bytes.
const MAX_TOKEN_BYTES: usize = 256;
/// Most distinct tokens of a set.
const MAX_TOKENS: usize = 256;
/// Longest sorted comma-join of a set in bytes.
const MAX_JOINED_BYTES: usize = 4_096;

/// Whose set is checked; the word stands before the rule in the error's detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What an execution needs.
    Required,
    /// What a worker offers.
    Worker,
}

impl Side {
    /// `required` or `worker`.
    pub const fn word(self) -> &'static str {
        match self {
            Side::Required => "required",
            Side::Worker => "worker",
        }
    }
}

/// Checks the tokens and returns them sorted by bytes and without duplicates; `None` is an SQL or
/// JSON null. Nothing bad is ever dropped.
///
/// # Errors
/// `invalid_capabilities` with rule `<side>:<rule>`, the rule being `non_string_token`,
/// `empty_token`, `comma_in_token`, `control_or_whitespace`, `too_many_tokens` or
/// `too_many_bytes` (of one token or of the whole set); a rule about one token comes with its
/// 0-based `index`.
pub fn normalise<'a>(
    side: Side,
    tokens: impl Iterator<Item = Option<&'a str>>,
) -> Result<Vec<String>> {
    let mut set = BTreeSet::new();
    for (index, token) in tokens.enumerate() {
        let token = token
            .ok_or("non_string_token")
            .and_then(checked)
            .map_err(|rule| invalid(side, rule).with("index", index))?;
        set.insert(token);
    }
    if set.len() > MAX_TOKENS {
        return Err(invalid(side, "too_many_tokens"));
    }
    let commas = set.len().saturating_sub(1);
    if set.iter().map(|token| token.len()).sum::<usize>() + commas > MAX_JOINED_BYTES {
        return Err(invalid(side, "too_many_bytes"));
    }
    Ok(set.into_iter().map(str::to_owned).collect())
}

/// [`normalise`] for a JSON document.
///
/// # Errors
/// Those of [`normalise`], and rule `not_array` for anything but an array.
pub fn from_json(side: Side, value: &Value) -> Result<Vec<String>> {
    let tokens = value.as_array().ok_or_else(|| invalid(side, "not_array"))?;
    normalise(side, tokens.iter().map(Value::as_str))
}

/// The token itself, or the rule it breaks.
fn checked(token: &str) -> std::result::Result<&str, &'static str> {
    if token.is_empty() {
        Err("empty_token")
    } else if token.contains(',') {
        // A comma would make the joined form ambiguous.
        Err("comma_in_token")
    } else if token.chars().any(|c| c.is_control() || c.is_whitespace()) {
        Err("control_or_whitespace")
    } else if token.len() > MAX_TOKEN_BYTES {
        Err("too_many_bytes")
    } else {
        Ok(token)
    }
}

/// `invalid_capabilities` with its two-part rule.
fn invalid(side: Side, rule: &str) -> Error {
    let rule = format!("{}:{rule}", side.word());
    Error::new(Kind::InvalidCapabilities)
        .say(format!("the capability list breaks the rule {rule}"))
        .with("rule", rule)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::{Side, from_json, normalise};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn rule(value: &Value) -> String {
        let error = from_json(Side::Required, value).unwrap_err();
        assert_eq!(error.kind().sqlstate(), "FF103");
        error
            .detail_value("rule")
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// `count` distinct tokens whose sorted join has `bytes` bytes.
    fn tokens(count: usize, bytes: usize) -> Value {
        let body = bytes - (count - 1);
        let mut list: Vec<String> = (0..count).map(|i| format!("{i:03}")).collect();
        let mut spare = body - 3 * count;
        for token in &mut list {
            let fill = spare.min(200);
            token.push_str(&"x".repeat(fill));
            spare -= fill;
        }
        assert_eq!((list.join(",").len(), spare), (bytes, 0));
        json!(list)
    }

    #[test]
    fn e_11_invalid_sets() {
        for (value, expected) in [
            (json!("gpu"), "not_array"),
            (json!(["gpu", null, 42]), "non_string_token"),
            (json!(["gpu", 42]), "non_string_token"),
            (json!([""]), "empty_token"),
            (json!(["gpu,cuda"]), "comma_in_token"),
            (json!(["gpu\n"]), "control_or_whitespace"),
            (json!(["a b"]), "control_or_whitespace"),
            (json!(["a\u{a0}b"]), "control_or_whitespace"),
            (json!(["a\u{7f}"]), "control_or_whitespace"),
            (json!(["x".repeat(257)]), "too_many_bytes"),
            (tokens(257, 1200), "too_many_tokens"),
            (tokens(200, 4097), "too_many_bytes"),
        ] {
            assert_eq!(rule(&value), format!("required:{expected}"));
        }
    }

    #[test]
    fn e_11_largest_valid_sets() {
        assert_eq!(
            from_json(Side::Required, &tokens(256, 1023)).unwrap().len(),
            256
        );
        assert_eq!(
            from_json(Side::Required, &tokens(256, 4096))
                .unwrap()
                .join(",")
                .len(),
            4096
        );
        assert_eq!(
            from_json(Side::Required, &json!(["東京-gpu"])).unwrap(),
            ["東京-gpu"]
        );
        assert_eq!(
            from_json(Side::Required, &json!(["x".repeat(256)]))
                .unwrap()
                .len(),
            1
        );
        // Duplicates collapse before anything is counted.
        assert_eq!(
            from_json(Side::Required, &json!(vec!["gpu"; 5_000])).unwrap(),
            ["gpu"]
        );
    }

    #[test]
    fn the_worker_side_says_so() {
        let error = normalise(Side::Worker, [Some("a"), None].into_iter()).unwrap_err();
        assert_eq!(
            error.detail_value("rule").unwrap(),
            "worker:non_string_token"
        );
        assert_eq!(error.detail_value("index").unwrap(), 1);
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(tokens in proptest::collection::vec("[^,\\s\\p{C}]{1,9}", 0..40)) {
            let once = normalise(Side::Worker, tokens.iter().map(|t| Some(t.as_str()))).unwrap();
            let twice = normalise(Side::Worker, once.iter().map(|t| Some(t.as_str()))).unwrap();
            prop_assert_eq!(&once, &twice);
            prop_assert!(once.is_sorted_by(|a, b| a < b));
        }

        #[test]
        fn any_token_is_answered(token in "\\PC*|.*") {
            if let Ok(set) = normalise(Side::Required, std::iter::once(Some(token.as_str()))) {
                prop_assert_eq!(set, [token]);
            }
        }
    }
}
