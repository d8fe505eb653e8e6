//! Sets tags of a flow (§40.10), in any state; an event for every key that really changed.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::error::Result;
use crate::model::event::{Code, Event};
use crate::model::tags;
use crate::pg::spi::Db;
use crate::store;

use super::super::clock;

/// Merges a patch into the tags of a flow; JSON null removes a key.
///
/// # Errors
/// `invalid_tag_key`, `invalid_input`, `flow_not_found`.
pub fn set(db: &Db, id: Uuid, patch: &Map<String, Value>) -> Result<()> {
    tags::apply(&Map::new(), patch)?;
    let mut flow = super::lock(db, id)?;
    let (merged, changed) = tags::apply(&flow.tags, patch)?;
    let now = clock::now();
    flow.tags = merged;
    flow.last_mutation_at = now;
    store::flow::save(db, &flow);
    for c in changed {
        let code = match c.new {
            Some(_) => Code::TagAttached,
            None => Code::TagCleared,
        };
        let details = json!({ "key": c.key, "value": c.new, "old_value": c.old });
        store::event::append_flow(db, now, &flow, &Event::plain(code, Some(details)));
    }
    Ok(())
}
