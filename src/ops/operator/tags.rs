//! Sets tags after creation (§10.8), in any phase; an event for every key that really changed.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::error::Result;
use crate::model::event::{Code, Event};
use crate::model::fence;
use crate::model::tags;
use crate::model::transition::Change;
use crate::pg::jsonb::Jsonb;
use crate::pg::spi::Db;
use crate::store;

use super::super::{clock, save};

/// Merges a patch into the tags of an execution; JSON null removes a key.
///
/// # Errors
/// `invalid_tag_key`, `invalid_input`, `execution_not_found`.
pub fn set(db: &Db, id: Uuid, patch: &Map<String, Value>) -> Result<()> {
    tags::apply(&Map::new(), patch)?;
    let e = store::execution::lock(db, id).ok_or_else(|| fence::not_found(id))?;
    let current = match e.tags.clone().map(|tags| Jsonb::from(tags).parse()) {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    };
    let (merged, changed) = tags::apply(&current, patch)?;
    let now = clock::now();
    let stored = (!merged.is_empty()).then(|| Jsonb::from_json(&Value::Object(merged)).into());
    let mut change = Change::touch(e, now, |e| e.tags = stored);
    change.events = changed
        .into_iter()
        .map(|c| {
            let code = if c.new.is_some() {
                Code::TagAttached
            } else {
                Code::TagCleared
            };
            Event::plain(
                code,
                Some(json!({ "key": c.key, "value": c.new, "old_value": c.old })),
            )
        })
        .collect();
    save::apply(db, &[change], now);
    Ok(())
}
