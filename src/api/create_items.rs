//! One item of `ff_create_executions`: a JSON object with the argument names as keys (§10.6).

use base64::Engine;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::model::time::Instant;
use crate::ops::execution::create::Request;

use super::create::iso_instant;

const KEYS: [&str; 18] = [
    "lane",
    "kind",
    "payload_base64",
    "payload_text",
    "payload_json",
    "payload_encoding",
    "namespace",
    "priority",
    "tags",
    "policy",
    "delay_until",
    "execution_deadline",
    "idempotency_key",
    "dedup_window_ms",
    "retention_ms",
    "execution_id",
    "flow_id",
    "creator",
];

/// A parsed item.
pub struct Item {
    lane: String,
    kind: String,
    payload: Option<Vec<u8>>,
    encoding: Option<String>,
    namespace: String,
    priority: Option<i64>,
    tags: Map<String, Value>,
    policy: Value,
    delay_until: Option<Instant>,
    deadline: Option<Instant>,
    key: Option<String>,
    dedup_window_ms: Option<i64>,
    retention_ms: Option<i64>,
    id: Option<Uuid>,
    flow: Option<Uuid>,
    creator: Option<String>,
}

impl Item {
    /// Reads an item; JSON null equals absence.
    ///
    /// # Errors
    /// `invalid_input` for an unknown key or a value of the wrong type.
    pub fn parse(item: &Value) -> Result<Item> {
        let Value::Object(map) = item else {
            return Err(Error::invalid_input("items", "not_an_object"));
        };
        if let Some(key) = map.keys().find(|k| !KEYS.contains(&k.as_str())) {
            return Err(Error::invalid_input("items", "unknown_key").with("key", key.as_str()));
        }
        let (payload, json) = payload(map)?;
        let instant = |key: &str| {
            text(map, key)?
                .map(|text| iso_instant(&text, key))
                .transpose()
        };
        Ok(Item {
            lane: text(map, "lane")?.ok_or_else(|| Error::invalid_input("lane", "null"))?,
            kind: text(map, "kind")?.ok_or_else(|| Error::invalid_input("kind", "null"))?,
            payload,
            encoding: text(map, "payload_encoding")?.or_else(|| json.then(|| "json".to_owned())),
            namespace: text(map, "namespace")?.unwrap_or_else(|| "default".to_owned()),
            priority: int(map, "priority")?,
            tags: match given(map, "tags") {
                None => Map::new(),
                Some(Value::Object(tags)) => tags.clone(),
                Some(_) => return Err(Error::invalid_input("tags", "not_an_object")),
            },
            policy: given(map, "policy")
                .cloned()
                .unwrap_or_else(|| Value::Object(Map::new())),
            delay_until: instant("delay_until")?,
            deadline: instant("execution_deadline")?,
            key: text(map, "idempotency_key")?,
            dedup_window_ms: int(map, "dedup_window_ms")?,
            retention_ms: int(map, "retention_ms")?,
            id: id(map, "execution_id")?,
            flow: id(map, "flow_id")?,
            creator: text(map, "creator")?,
        })
    }

    /// The request it stands for.
    pub fn request(&self) -> Request<'_> {
        Request {
            lane: &self.lane,
            kind: &self.kind,
            payload: self.payload.as_deref(),
            encoding: self.encoding.as_deref(),
            namespace: &self.namespace,
            priority: self.priority,
            tags: &self.tags,
            policy: &self.policy,
            delay_until: self.delay_until,
            deadline: self.deadline,
            key: self.key.as_deref(),
            dedup_window_ms: self.dedup_window_ms,
            retention_ms: self.retention_ms,
            id: self.id,
            flow: self.flow,
            creator: self.creator.as_deref(),
        }
    }
}

fn given<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    map.get(key).filter(|value| !value.is_null())
}

/// A text, if given.
pub(super) fn text(map: &Map<String, Value>, key: &str) -> Result<Option<String>> {
    match given(map, key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Error::invalid_input(key, "not_text")),
    }
}

fn int(map: &Map<String, Value>, key: &str) -> Result<Option<i64>> {
    given(map, key)
        .map(|v| {
            v.as_i64()
                .ok_or_else(|| Error::invalid_input(key, "not_an_integer"))
        })
        .transpose()
}

/// A uuid, if given.
pub(super) fn id(map: &Map<String, Value>, key: &str) -> Result<Option<Uuid>> {
    let Some(text) = text(map, key)? else {
        return Ok(None);
    };
    Uuid::parse_str(&text)
        .map(Some)
        .map_err(|_| Error::invalid_input(key, "bad_uuid"))
}

/// The payload in one of its three forms, and whether it was JSON.
pub(super) fn payload(map: &Map<String, Value>) -> Result<(Option<Vec<u8>>, bool)> {
    let forms = ["payload_base64", "payload_text", "payload_json"];
    // A JSON payload may be null itself.
    let present: Vec<&str> = forms
        .into_iter()
        .filter(|f| given(map, f).is_some() || (*f == "payload_json" && map.contains_key(*f)))
        .collect();
    match present.as_slice() {
        [] => Ok((None, false)),
        ["payload_json"] => Ok((
            map.get("payload_json").map(|v| v.to_string().into_bytes()),
            true,
        )),
        ["payload_text"] => Ok((text(map, "payload_text")?.map(String::into_bytes), false)),
        ["payload_base64"] => {
            let encoded = text(map, "payload_base64")?.unwrap_or_default();
            base64::engine::general_purpose::STANDARD
                .decode(encoded)
                .map(|bytes| (Some(bytes), false))
                .map_err(|_| Error::invalid_input("payload_base64", "not_base64"))
        }
        _ => Err(Error::invalid_input("payload", "several_forms")),
    }
}
