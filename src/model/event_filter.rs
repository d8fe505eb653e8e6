//! Which events a reader asks for: families and the filter document (§30.13, §30.14).

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::error::{Error, Result};

use super::event::{Code, FAMILIES};

/// What a filter document asks for; an absent dimension matches everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Codes of the events asked for, none for all.
    pub codes: Option<Vec<i16>>,
    /// Namespace.
    pub namespace: Option<String>,
    /// Tags that all must be equal.
    pub tags: Option<Map<String, Value>>,
    /// Any of these lanes.
    pub lanes: Option<Vec<String>>,
    /// Lowest and highest partition.
    pub partitions: Option<(i16, i16)>,
    /// One execution.
    pub execution: Option<Uuid>,
    /// One flow.
    pub flow: Option<Uuid>,
}

impl Filter {
    /// Reads the families asked for and the document.
    ///
    /// # Errors
    /// `invalid_input` for `families` or `filter`, with the rule and the offending `key` or word.
    pub fn parse(families: Option<&[String]>, document: &Map<String, Value>) -> Result<Filter> {
        let mut filter = Filter::default();
        let mut kept = Kept {
            codes: Code::ALL.to_vec(),
            narrowed: families.is_some(),
        };
        if let Some(families) = families {
            check_families(families)?;
            kept.codes
                .retain(|code| families.iter().any(|f| f == code.words().0));
        }
        for (key, value) in document {
            match key.as_str() {
                "namespace" => filter.namespace = Some(text(key, value)?.to_owned()),
                "tags" => filter.tags = Some(tags(key, value)?),
                "lanes" => {
                    filter.lanes = Some(texts(key, value)?.into_iter().map(str::to_owned).collect())
                }
                "partitions" => filter.partitions = Some(partitions(key, value)?),
                "execution_id" => filter.execution = Some(id(key, value)?),
                "flow_id" => filter.flow = Some(id(key, value)?),
                "event_types" => {
                    let types = texts(key, value)?;
                    types.iter().try_for_each(|word| check_type(key, word))?;
                    kept.narrow(|family, kind| {
                        types
                            .iter()
                            .any(|t| t.split_once('.') == Some((family, kind)))
                    });
                }
                "outcomes" => {
                    let outcomes = texts(key, value)?;
                    outcomes
                        .iter()
                        .try_for_each(|word| check_outcome(key, word))?;
                    kept.narrow(|family, kind| family != "completion" || outcomes.contains(&kind));
                }
                _ => return Err(refused(key, "unknown_key")),
            }
        }
        filter.codes = kept
            .narrowed
            .then(|| kept.codes.iter().map(|code| *code as i16).collect());
        Ok(filter)
    }
}

/// Checks words of families.
///
/// # Errors
/// `invalid_input` for `families` with rule `unknown_family` and the `word`.
pub fn check_families(families: &[String]) -> Result<()> {
    match families.iter().find(|f| !FAMILIES.contains(&f.as_str())) {
        None => Ok(()),
        Some(word) => {
            Err(Error::invalid_input("families", "unknown_family")
                .with("word", super::text::cut(word)))
        }
    }
}

/// The codes that families, types and outcomes leave.
struct Kept {
    codes: Vec<Code>,
    narrowed: bool,
}

impl Kept {
    fn narrow(&mut self, matches: impl Fn(&str, &str) -> bool) {
        self.narrowed = true;
        self.codes.retain(|code| {
            let (family, kind) = code.words();
            matches(family, kind)
        });
    }
}

fn refused(key: &str, rule: &str) -> Error {
    Error::invalid_input("filter", rule).with("key", super::text::cut(key))
}

fn text<'a>(key: &str, value: &'a Value) -> Result<&'a str> {
    value.as_str().ok_or_else(|| refused(key, "not_text"))
}

fn texts<'a>(key: &str, value: &'a Value) -> Result<Vec<&'a str>> {
    value
        .as_array()
        .ok_or_else(|| refused(key, "not_an_array"))?
        .iter()
        .map(|v| text(key, v))
        .collect()
}

fn id(key: &str, value: &Value) -> Result<Uuid> {
    Uuid::parse_str(text(key, value)?).map_err(|_| refused(key, "not_an_id"))
}

fn tags(key: &str, value: &Value) -> Result<Map<String, Value>> {
    match value {
        Value::Object(tags) if tags.values().all(Value::is_string) => Ok(tags.clone()),
        Value::Object(_) => Err(refused(key, "not_text")),
        _ => Err(refused(key, "not_an_object")),
    }
}

fn partitions(key: &str, value: &Value) -> Result<(i16, i16)> {
    let bound = |v: &Value| {
        v.as_i64()
            .filter(|n| (0..=255).contains(n))
            .and_then(|n| i16::try_from(n).ok())
    };
    match value.as_array().map(Vec::as_slice) {
        Some([low, high]) => match (bound(low), bound(high)) {
            (Some(low), Some(high)) if low <= high => Ok((low, high)),
            _ => Err(refused(key, "out_of_range")),
        },
        _ => Err(refused(key, "not_a_pair")),
    }
}

/// A type must be one that its family has; a family without any yet takes every word.
fn check_type(key: &str, word: &str) -> Result<()> {
    let known = word.split_once('.').is_some_and(|(family, kind)| {
        let mut types = Code::ALL
            .iter()
            .map(|code| code.words())
            .filter(|(f, _)| *f == family)
            .peekable();
        let has_none = types.peek().is_none();
        FAMILIES.contains(&family) && (has_none || types.any(|(_, k)| k == kind))
    });
    if known {
        Ok(())
    } else {
        Err(refused(key, "unknown_type").with("word", super::text::cut(word)))
    }
}

fn check_outcome(key: &str, word: &str) -> Result<()> {
    let known = Code::ALL
        .iter()
        .any(|code| code.words() == ("completion", word));
    if known {
        Ok(())
    } else {
        Err(refused(key, "unknown_outcome").with("word", super::text::cut(word)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::Filter;
    use crate::error::Result;
    use crate::model::event::Code;
    use serde_json::{Value, json};

    fn parse(families: Option<&[&str]>, document: Value) -> Result<Filter> {
        let families: Option<Vec<String>> =
            families.map(|f| f.iter().map(|w| (*w).to_owned()).collect());
        Filter::parse(families.as_deref(), document.as_object().unwrap())
    }

    #[test]
    fn nothing_asked_matches_everything() {
        assert_eq!(parse(None, json!({})).unwrap(), Filter::default());
    }

    #[test]
    fn families_types_and_outcomes_narrow_together() {
        let codes = |families, document| parse(families, document).unwrap().codes.unwrap();
        assert_eq!(codes(Some(&["worker"][..]), json!({})), [41, 42, 43, 44]);
        assert_eq!(codes(Some(&[][..]), json!({})), [0i16; 0]);
        assert_eq!(
            codes(
                None,
                json!({"event_types": ["lease.expired", "tag.cleared"]})
            ),
            [4, 52]
        );
        assert_eq!(
            codes(
                Some(&["tag"][..]),
                json!({"event_types": ["lease.expired", "tag.cleared"]})
            ),
            [52]
        );
        assert_eq!(
            codes(
                Some(&["completion", "tag"][..]),
                json!({"outcomes": ["failed"]})
            ),
            [12, 51, 52]
        );
        assert_eq!(
            codes(None, json!({"outcomes": []})).len(),
            Code::ALL.len() - 5
        );
    }

    #[test]
    fn v_41_part_unknown_keys_and_wrong_types_are_refused() {
        for (document, rule) in [
            (json!({"odd": 1}), "unknown_key"),
            (json!({"namespace": 1}), "not_text"),
            (json!({"namespace": null}), "not_text"),
            (json!({"tags": []}), "not_an_object"),
            (json!({"tags": {"a.b": 1}}), "not_text"),
            (json!({"lanes": "L"}), "not_an_array"),
            (json!({"lanes": [1]}), "not_text"),
            (json!({"partitions": [1]}), "not_a_pair"),
            (json!({"partitions": [0, 256]}), "out_of_range"),
            (json!({"partitions": [2, 1]}), "out_of_range"),
            (json!({"partitions": [0.5, 1]}), "out_of_range"),
            (json!({"execution_id": "x"}), "not_an_id"),
            (json!({"event_types": ["odd"]}), "unknown_type"),
            (json!({"event_types": ["lease.odd"]}), "unknown_type"),
            (json!({"outcomes": ["odd"]}), "unknown_outcome"),
        ] {
            let error = parse(None, document.clone()).unwrap_err();
            assert_eq!(
                error.detail_value("argument").unwrap(),
                "filter",
                "{document}"
            );
            assert_eq!(error.detail_value("rule").unwrap(), rule, "{document}");
        }
        let error = parse(Some(&["odd"]), json!({})).unwrap_err();
        assert_eq!(error.detail_value("rule").unwrap(), "unknown_family");
    }

    #[test]
    fn every_dimension_is_read() {
        let id = "0192d5b0-0000-8000-8000-000000000001";
        let filter = parse(
            None,
            json!({"namespace": "a", "tags": {"app.x": "1"}, "lanes": ["L", "M"], "partitions": [0, 127],
                   "execution_id": id, "flow_id": id, "event_types": ["signal.satisfied"]}),
        )
        .unwrap();
        assert_eq!(
            (filter.namespace.as_deref(), filter.partitions),
            (Some("a"), Some((0, 127)))
        );
        assert_eq!(
            (filter.execution.unwrap().to_string(), filter.flow.is_some()),
            (id.to_owned(), true)
        );
        assert_eq!(
            (filter.lanes.unwrap().len(), filter.tags.unwrap().len()),
            (2, 1)
        );
        assert_eq!(filter.codes, Some(vec![61]));
    }
}
