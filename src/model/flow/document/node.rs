//! What a node of a document says, and what its `defaults` say for all.

use base64::Engine;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::model::policy::Policy;
use crate::model::time::Instant;
use crate::model::{lane_name, tags, text};

use super::Rules;
use super::place::Object;

/// What a node and `defaults` may both say.
pub const KEYS: [&str; 15] = [
    "lane",
    "kind",
    "payload_base64",
    "payload_text",
    "payload_json",
    "payload_encoding",
    "priority",
    "tags",
    "policy",
    "delay_until",
    "delay_ms",
    "execution_deadline",
    "deadline_ms",
    "retention_ms",
    "creator",
];

/// Payload bytes, and whether they were given as JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Payload {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// They are JSON, and so is their label unless another is given.
    pub json: bool,
}

/// An instant, or a duration from the creation on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    /// This instant.
    At(Instant),
    /// So many milliseconds from the creation on.
    After(i64),
}

/// What is said of an execution; what is silent is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spec {
    /// Lane.
    pub lane: Option<String>,
    /// Kind of work.
    pub kind: Option<String>,
    /// Payload.
    pub payload: Option<Payload>,
    /// Its label.
    pub encoding: Option<String>,
    /// Priority, not clamped.
    pub priority: Option<i64>,
    /// Tags.
    pub tags: Option<Map<String, Value>>,
    /// Policy.
    pub policy: Option<Policy>,
    /// Not before.
    pub start: Option<When>,
    /// Not after.
    pub deadline: Option<When>,
    /// Retention after the end, milliseconds.
    pub retention_ms: Option<i64>,
    /// Who asks.
    pub creator: Option<String>,
}

impl Spec {
    /// Reads the keys of [`KEYS`].
    pub fn read(object: &Object, rules: &Rules) -> Spec {
        let checked = |key: &str, check: fn(&str, &str) -> crate::error::Result<()>| {
            let text = object.text(key)?;
            object.check(key, check(key, text));
            Some(text.to_owned())
        };
        Spec {
            lane: checked("lane", |_, name| lane_name::check(name)),
            kind: checked("kind", text::identifier),
            payload: payload(object, rules),
            encoding: object.text("payload_encoding").map(str::to_owned),
            priority: object.int("priority"),
            tags: object.map("tags").map(|map| {
                object.check("tags", tags::check(map));
                map.clone()
            }),
            policy: object.value("policy").and_then(|value| {
                let parsed = Policy::parse(value);
                let found = parsed.as_ref().ok().cloned();
                object.check("policy", parsed.map(|_| ()));
                found
            }),
            start: when(object, rules, ["delay_until", "delay_ms"]),
            deadline: when(object, rules, ["execution_deadline", "deadline_ms"]),
            retention_ms: object.int("retention_ms"),
            creator: checked("creator", text::identifier),
        }
    }

    /// Takes from the defaults what this is silent on.
    pub fn over(self, defaults: &Spec) -> Spec {
        let d = defaults;
        Spec {
            lane: self.lane.or_else(|| d.lane.clone()),
            kind: self.kind.or_else(|| d.kind.clone()),
            payload: self.payload.or_else(|| d.payload.clone()),
            encoding: self.encoding.or_else(|| d.encoding.clone()),
            priority: self.priority.or(d.priority),
            tags: self.tags.or_else(|| d.tags.clone()),
            policy: self.policy.or_else(|| d.policy.clone()),
            start: self.start.or(d.start),
            deadline: self.deadline.or(d.deadline),
            retention_ms: self.retention_ms.or(d.retention_ms),
            creator: self.creator.or_else(|| d.creator.clone()),
        }
    }

    /// Its label, which a JSON payload brings along.
    pub fn label(&self) -> Option<&str> {
        let json = self.payload.as_ref().is_some_and(|p| p.json);
        self.encoding.as_deref().or(json.then_some("json"))
    }

    /// The same content in one spelling.
    pub fn normalised(&self) -> Value {
        let base64 = |p: &Payload| base64::engine::general_purpose::STANDARD.encode(&p.bytes);
        json!([
            self.lane,
            self.kind,
            self.payload.as_ref().map(base64),
            self.label(),
            self.priority,
            self.tags
                .as_ref()
                .filter(|tags| !tags.is_empty())
                .map(sorted),
            self.policy.as_ref().and_then(Policy::normalised),
            self.start.map(instant),
            self.deadline.map(instant),
            self.retention_ms,
            self.creator,
        ])
    }
}

/// Tags in byte order of their keys.
pub fn sorted(tags: &Map<String, Value>) -> Value {
    let mut pairs: Vec<_> = tags.iter().collect();
    pairs.sort_by_key(|(key, _)| *key);
    json!(pairs)
}

fn instant(when: When) -> Value {
    match when {
        When::At(at) => json!({ "at": at.0 }),
        When::After(ms) => json!({ "after": ms }),
    }
}

/// The payload in one of its three forms.
fn payload(object: &Object, rules: &Rules) -> Option<Payload> {
    let forms = ["payload_base64", "payload_text", "payload_json"];
    // A JSON payload may be null itself.
    let given = |form: &&'static str| {
        object.value(form).is_some() || (*form == "payload_json" && object.has(form))
    };
    let present: Vec<&str> = forms.into_iter().filter(given).collect();
    let [form] = present.as_slice() else {
        if let Some(second) = present.get(1) {
            object.fault(second, "a payload has one form only");
        }
        return None;
    };
    let bytes = match *form {
        "payload_json" => object.raw(form)?.to_string().into_bytes(),
        "payload_text" => object.text(form)?.as_bytes().to_vec(),
        _ => {
            let decoded = base64::engine::general_purpose::STANDARD.decode(object.text(form)?);
            if decoded.is_err() {
                object.fault(form, "not base64");
            }
            decoded.ok()?
        }
    };
    if bytes.len() > rules.payload_bytes {
        object.fault(form, format!("more than {} bytes", rules.payload_bytes));
    }
    Some(Payload {
        bytes,
        json: *form == "payload_json",
    })
}

/// An instant given as such or from now on, not both.
fn when(object: &Object, rules: &Rules, [at, after]: [&str; 2]) -> Option<When> {
    if object.value(at).is_some() && object.value(after).is_some() {
        object.fault(after, format!("{at} is given as well"));
    }
    let given = object.text(at).and_then(|text| {
        let parsed = (rules.instant)(text);
        match parsed {
            None => object.fault(at, "not an instant"),
            Some(found) if !found.is_finite() => object.fault(at, "not finite"),
            Some(_) => {}
        }
        parsed
    });
    let ms = object.int(after);
    if ms.is_some_and(|ms| ms < 0) {
        object.fault(after, "negative");
    }
    given.map(When::At).or(ms.map(When::After))
}

/// A node with what the defaults say for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its name, unique in the flow.
    pub name: String,
    /// Id of its execution, given or derived.
    pub id: Uuid,
    /// The id was given.
    pub given: bool,
    /// What the execution is.
    pub spec: Spec,
    /// When it is released; `all_of` of its inbound edges if absent.
    pub group: Option<crate::model::edge_group::Policy>,
}
