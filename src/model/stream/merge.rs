//! Summary documents: JSON merge patches applied one after the other (§30.4).

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Stands for a JSON null that is meant.
const NULL: &str = "__ff_null__";
/// Objects within objects.
const MAX_DEPTH: usize = 16;
/// Digits before the point, and behind it, that the server's numbers hold.
const MAX_DIGITS: (i64, i64) = (131_072, 16_383);

/// Reads a patch.
///
/// # Errors
/// `invalid_input`, rules `not_json`, `not_an_object`, `unsupported_character`, `depth_exceeded`, `number_out_of_range`.
pub fn parse(payload: &[u8]) -> Result<Map<String, Value>> {
    let value = serde_json::from_slice(payload).map_err(|error| {
        // The parser stops at 128 levels of arrays and objects.
        let deep = error.to_string().starts_with("recursion limit");
        refused(if deep { "depth_exceeded" } else { "not_json" })
    })?;
    check(&value, 0)?;
    match value {
        Value::Object(patch) => Ok(patch),
        _ => Err(refused("not_an_object")),
    }
}

fn refused(rule: &str) -> Error {
    Error::invalid_input("payload", rule)
}

fn check(value: &Value, depth: usize) -> Result<()> {
    match value {
        Value::Object(_) if depth == MAX_DEPTH => Err(refused("depth_exceeded")),
        Value::Object(members) => members.iter().try_for_each(|(key, value)| {
            check_text(key)?;
            check(value, depth + 1)
        }),
        Value::Array(items) => items.iter().try_for_each(|item| check(item, depth)),
        Value::String(text) => check_text(text),
        Value::Number(number) if !storable(&number.to_string()) => {
            Err(refused("number_out_of_range"))
        }
        _ => Ok(()),
    }
}

fn check_text(text: &str) -> Result<()> {
    if text.contains('\0') {
        return Err(refused("unsupported_character"));
    }
    Ok(())
}

/// Whether the server can store a number with every digit.
fn storable(number: &str) -> bool {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let Ok(exponent) = exponent.trim_start_matches('+').parse::<i64>() else {
        return false;
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let whole = (whole.len() as i64).saturating_add(exponent);
    let fraction = (fraction.len() as i64).saturating_sub(exponent);
    whole <= MAX_DIGITS.0 && fraction <= MAX_DIGITS.1
}

/// Applies a patch to a document.
pub fn apply(document: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (key, value) in patch {
        match value {
            Value::Null => {
                document.remove(&key);
            }
            Value::Object(patch) => {
                let target = document.entry(key).or_insert(Value::Null);
                if !target.is_object() {
                    *target = Value::Object(Map::new());
                }
                if let Value::Object(target) = target {
                    apply(target, patch);
                }
            }
            other => {
                document.insert(key, literal(other));
            }
        }
    }
}

/// A value that replaces another one as a whole.
fn literal(value: Value) -> Value {
    match value {
        Value::String(text) if text == NULL => Value::Null,
        Value::Array(items) => items.into_iter().map(literal).collect(),
        Value::Object(members) => {
            let members = members
                .into_iter()
                .map(|(key, value)| (key, literal(value)));
            Value::Object(members.collect())
        }
        other => other,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn after(patches: &[&str]) -> Value {
        let mut document = Map::new();
        for patch in patches {
            apply(&mut document, parse(patch.as_bytes()).unwrap());
        }
        Value::Object(document)
    }

    fn rule(payload: &[u8]) -> String {
        let error = parse(payload).unwrap_err();
        error
            .detail_value("rule")
            .and_then(|v| v.as_str().map(str::to_owned))
            .unwrap()
    }

    #[test]
    fn members_are_merged_and_removed() {
        let first = r#"{"a":1,"b":{"c":2}}"#;
        let second = r#"{"a":null,"b":{"d":3}}"#;
        assert_eq!(after(&[first, second]), json!({"b": {"c": 2, "d": 3}}));
        assert_eq!(
            after(&[
                r#"{"a":1}"#,
                r#"{"b":2}"#,
                r#"{"a":42,"c":{"x":"__ff_null__"}}"#
            ]),
            json!({"a": 42, "b": 2, "c": {"x": null}})
        );
    }

    #[test]
    fn nulls_and_arrays() {
        assert_eq!(after(&[r#"{"n":{"k":null}}"#]), json!({"n": {}}));
        assert_eq!(
            after(&[r#"{"n":3}"#, r#"{"n":{"k":null}}"#]),
            json!({"n": {}})
        );
        assert_eq!(
            after(&[r#"{"l":[1]}"#, r#"{"l":[2,null]}"#]),
            json!({"l": [2, null]})
        );
        assert_eq!(
            after(&[r#"{"l":["__ff_null__",{"m":"__ff_null__","n":null}]}"#]),
            json!({"l": [null, {"m": null, "n": null}]})
        );
        assert_eq!(after(&[r#"{"a":1,"a":2}"#]), json!({"a": 2}));
        assert_eq!(
            after(&[r#"{"__ff_null__":"x__ff_null__"}"#]),
            json!({"__ff_null__": "x__ff_null__"})
        );
        let number = "1234567890123456789012345678901234567890.10";
        assert_eq!(
            after(&[&format!(r#"{{"n":{number}}}"#)])["n"].to_string(),
            number
        );
    }

    #[test]
    fn what_is_no_patch_is_refused() {
        let nested = |depth: usize| {
            format!(
                "{}{}",
                r#"{"a":"#.repeat(depth - 1) + "{}",
                "}".repeat(depth - 1)
            )
        };
        for (payload, expected) in [
            ("", "not_json"),
            ("{", "not_json"),
            ("{} {}", "not_json"),
            (r#"{"a":"\ud800"}"#, "not_json"),
            ("[1]", "not_an_object"),
            ("3", "not_an_object"),
            ("null", "not_an_object"),
            (r#"{"a":"\u0000"}"#, "unsupported_character"),
            (r#"{"a":[{"\u0000":1}]}"#, "unsupported_character"),
            (&nested(17), "depth_exceeded"),
            (&format!(r#"{{"a":{}}}"#, "[".repeat(300)), "depth_exceeded"),
            (r#"{"a":1e200000}"#, "number_out_of_range"),
            (r#"{"a":1e-20000}"#, "number_out_of_range"),
            (r#"{"a":1e99999999999999999999}"#, "number_out_of_range"),
        ] {
            assert_eq!(rule(payload.as_bytes()), expected, "{payload}");
        }
        assert_eq!(rule(b"\xff"), "not_json");
        assert!(parse(nested(16).as_bytes()).is_ok());
        assert!(parse(br#"{"a":1e131071,"b":1.5E+3,"c":0.1e-16000}"#).is_ok());
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i32>().prop_map(Value::from),
            prop_oneof![Just(NULL.to_owned()), "[a-c]{0,2}".prop_map(String::from)]
                .prop_map(Value::String),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::btree_map("[a-c]{1,2}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn object() -> impl Strategy<Value = Map<String, Value>> {
        prop::collection::btree_map("[a-c]{1,2}", json(), 0..4)
            .prop_map(|members| members.into_iter().collect())
    }

    fn has_sentinel(value: &Value) -> bool {
        match value {
            Value::String(text) => text == NULL,
            Value::Array(items) => items.iter().any(has_sentinel),
            Value::Object(members) => members.values().any(has_sentinel),
            _ => false,
        }
    }

    /// Every path that a patch sets, with what it sets there.
    fn holds(document: &Map<String, Value>, patch: &Map<String, Value>) -> bool {
        patch
            .iter()
            .all(|(key, value)| match (value, document.get(key)) {
                (Value::Null, found) => found.is_none(),
                (Value::Object(inner), Some(Value::Object(found))) => holds(found, inner),
                (other, Some(found)) => *found == literal(other.clone()),
                _ => false,
            })
    }

    proptest! {
        #[test]
        fn a_patch_holds_afterwards_and_twice_is_once(patches in prop::collection::vec(object(), 1..6)) {
            let mut document = Map::new();
            for patch in patches {
                let before = document.clone();
                apply(&mut document, patch.clone());
                prop_assert!(holds(&document, &patch));
                prop_assert!(!has_sentinel(&Value::Object(document.clone())));
                for (key, value) in &before {
                    prop_assert!(patch.contains_key(key) || document.get(key) == Some(value));
                }
                let mut again = document.clone();
                apply(&mut again, patch);
                prop_assert_eq!(&again, &document);
            }
        }
    }
}
