//! Tags: small labels that belong to callers (§10.8).

use crate::error::{Error, Kind, Result};
use crate::model::text;
use serde_json::{Map, Value};

/// Longest key in bytes.
const MAX_KEY_BYTES: usize = 128;
/// Longest value in bytes.
const MAX_VALUE_BYTES: usize = 4_096;
/// Most tags of one execution.
const MAX_TAGS: usize = 64;

/// One tag that a merge really changes; never are both sides equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The tag's key.
    pub key: String,
    /// The value before, `None` when the tag was absent.
    pub old: Option<String>,
    /// The value afterwards, `None` when the tag is removed.
    pub new: Option<String>,
}

/// Checks one key: `^[a-z][a-z0-9_]*\.[a-z0-9_][a-z0-9_.]*$`, at most 128 bytes.
///
/// # Errors
/// `invalid_tag_key` with the `key` (cut when it is very long).
pub fn check_key(key: &str) -> Result<()> {
    if is_key(key) {
        return Ok(());
    }
    Err(Error::new(Kind::InvalidTagKey)
        .say("the tag key breaks the rules for tag keys")
        .with("key", text::cut(key)))
}

/// Checks the tags given at creation: every key, the number of tags, then every value, which must
/// be text; a JSON null is not, since there is nothing to remove yet.
///
/// # Errors
/// `invalid_tag_key` with the first offending key in byte order; `invalid_input` for `tags` with
/// rule `too_many`, `not_text` or `too_long`, the last two with the first offending `key`.
pub fn check(tags: &Map<String, Value>) -> Result<()> {
    let pairs = sorted(tags);
    pairs.iter().try_for_each(|(key, _)| check_key(key))?;
    check_count(tags.len())?;
    pairs
        .iter()
        .try_for_each(|(key, value)| text_value(key, value).map(|_| ()))
}

/// Merges `patch` into `current`: a text sets its key, a JSON null removes it. Returns the merged
/// tags and what really changed, in byte order of the keys; the number of keys *applied*, which
/// `ff_set_execution_tags` returns, is that of the patch.
///
/// # Errors
/// Those of [`check`] for the patch (nulls allowed), `too_many` also for the merged tags, and
/// `invalid_input` with rule `empty` for an empty patch.
pub fn apply(
    current: &Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<(Map<String, Value>, Vec<Change>)> {
    if patch.is_empty() {
        return Err(Error::invalid_input("tags", "empty"));
    }
    let pairs = sorted(patch);
    pairs.iter().try_for_each(|(key, _)| check_key(key))?;
    let mut merged = current.clone();
    let mut changes = Vec::new();
    for (key, value) in pairs {
        let new = if value.is_null() {
            None
        } else {
            Some(text_value(key, value)?)
        };
        let old = merged.get(key).and_then(Value::as_str).map(str::to_owned);
        if old.as_deref() == new {
            continue;
        }
        match new {
            Some(text) => merged.insert(key.to_owned(), Value::from(text)),
            None => merged.shift_remove(key),
        };
        changes.push(Change {
            key: key.to_owned(),
            old,
            new: new.map(str::to_owned),
        });
    }
    check_count(merged.len())?;
    Ok((merged, changes))
}

/// Whether the key matches the pattern and its limit.
fn is_key(key: &str) -> bool {
    // The pattern's first dot ends the prefix, because no prefix contains one.
    let Some((prefix, rest)) = key.split_once('.') else {
        return false;
    };
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    key.len() <= MAX_KEY_BYTES
        && prefix.starts_with(|c: char| c.is_ascii_lowercase())
        && prefix.bytes().all(word)
        && !rest.is_empty()
        && !rest.starts_with('.')
        && rest.bytes().all(|b| word(b) || b == b'.')
}

/// The pairs in byte order of their keys, so that the first offender is well defined.
fn sorted(tags: &Map<String, Value>) -> Vec<(&str, &Value)> {
    let mut pairs: Vec<_> = tags
        .iter()
        .map(|(key, value)| (key.as_str(), value))
        .collect();
    pairs.sort_unstable_by_key(|(key, _)| *key);
    pairs
}

/// A value that is text within the limit.
fn text_value<'a>(key: &str, value: &'a Value) -> Result<&'a str> {
    let refused = |rule| Error::invalid_input("tags", rule).with("key", key);
    let value = value.as_str().ok_or_else(|| refused("not_text"))?;
    if value.len() > MAX_VALUE_BYTES {
        Err(refused("too_long"))
    } else {
        Ok(value)
    }
}

/// Refuses more tags than an execution may have.
fn check_count(tags: usize) -> Result<()> {
    if tags <= MAX_TAGS {
        return Ok(());
    }
    Err(Error::invalid_input("tags", "too_many").with("max", MAX_TAGS))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::{Change, apply, check, check_key};
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn e_13_tag_keys() {
        for key in [
            "",
            "Cairn.x",
            "1a.x",
            "app",
            "app.",
            "app..x",
            ".app",
            "ap p.x",
            "ap-p.x",
            "app.Foo",
            "app.foo bar",
            "app.foo\"bar",
            "app.foo-bar",
            "app.foo\\bar",
            "app.é",
            "app.x\n",
        ] {
            let error = check_key(key).unwrap_err();
            assert_eq!(
                (
                    error.kind().sqlstate(),
                    error.detail_value("key").unwrap().as_str()
                ),
                ("FF123", Some(key))
            );
            assert!(check(&map(json!({"a.b": "x", key: "x"}))).is_err());
        }
        for key in [
            "app.session_id",
            "a.b",
            "a1_2.x",
            "app.sub.field",
            "x.y_z",
            "a._",
            "a.0",
            "a.b.",
        ] {
            check_key(key).unwrap();
        }
        check_key(&format!("a.{}", "b".repeat(126))).unwrap();
        assert!(check_key(&format!("a.{}", "b".repeat(127))).is_err());
    }

    #[test]
    fn the_first_offender_in_byte_order_is_named() {
        let error = check(&map(json!({"zz": 1, "b.c": 7, "Z.a": "x", "a.b": null}))).unwrap_err();
        assert_eq!(error.detail(), r#"{"kind":"invalid_tag_key","key":"Z.a"}"#);
        let error = check(&map(json!({"b.c": 7, "a.b": null}))).unwrap_err();
        assert_eq!(
            error.detail(),
            r#"{"kind":"invalid_input","argument":"tags","rule":"not_text","key":"a.b"}"#
        );
    }

    #[test]
    fn limits_of_values_and_number() {
        let many = |n: usize| {
            (0..n)
                .map(|i| (format!("a.b{i}"), json!("x")))
                .collect::<Map<_, _>>()
        };
        check(&many(64)).unwrap();
        let error = check(&many(65)).unwrap_err();
        assert_eq!(error.detail_value("rule").unwrap(), "too_many");
        check(&map(json!({"a.b": "é".repeat(2048)}))).unwrap();
        let error = check(&map(json!({"a.b": "é".repeat(2049)}))).unwrap_err();
        assert_eq!(error.detail_value("rule").unwrap(), "too_long");
        // The limit is judged on what remains, not on what passes by.
        let full = many(64);
        assert!(apply(&full, &map(json!({"z.new": "x"}))).is_err());
        assert!(apply(&full, &map(json!({"z.new": "x", "a.b0": null}))).is_ok());
    }

    #[test]
    fn merging_reports_real_changes_only() {
        let current = map(json!({"a.same": "1", "a.gone": "2", "a.new": "3"}));
        let patch =
            map(json!({"a.new": "4", "a.same": "1", "a.gone": null, "a.never": null, "a.add": ""}));
        let (merged, changes) = apply(&current, &patch).unwrap();
        assert_eq!(
            Value::Object(merged),
            json!({"a.same": "1", "a.new": "4", "a.add": ""})
        );
        let change = |key: &str, old: Option<&str>, new: Option<&str>| Change {
            key: key.to_owned(),
            old: old.map(str::to_owned),
            new: new.map(str::to_owned),
        };
        assert_eq!(
            changes,
            [
                change("a.add", None, Some("")),
                change("a.gone", Some("2"), None),
                change("a.new", Some("3"), Some("4")),
            ]
        );
        assert!(apply(&current, &Map::new()).is_err());
        assert!(apply(&current, &map(json!({"a.b": 1}))).is_err());
    }

    proptest! {
        #[test]
        fn keys_of_the_pattern_pass(key in "[a-z][a-z0-9_]{0,9}\\.[a-z0-9_][a-z0-9_.]{0,9}") {
            prop_assert!(check_key(&key).is_ok());
        }

        #[test]
        fn a_second_merge_changes_nothing(
            current in proptest::collection::btree_map("[a-c]\\.[a-c]", "[xy]{0,2}", 0..6),
            patch in proptest::collection::btree_map("[a-c]\\.[a-c]", proptest::option::of("[xy]{0,2}"), 1..6),
        ) {
            let (current, patch) = (map(json!(current)), map(json!(patch)));
            let (merged, changes) = apply(&current, &patch).unwrap();
            prop_assert!(changes.iter().all(|c| c.old != c.new));
            let (again, none) = apply(&merged, &patch).unwrap();
            prop_assert_eq!(again, merged);
            prop_assert!(none.is_empty());
        }
    }
}
