//! The retained events of one execution. A plain id is a safe cursor here: they are appended under the row's lock.

use uuid::Uuid;

use crate::error::Result;
use crate::model::event_filter::Filter;
use crate::pg::spi::Db;
use crate::store::event_window::{self, Shown};

/// A page of one execution's events, and whether more follow.
pub fn page(
    db: &Db,
    execution: Uuid,
    after: Option<i64>,
    families: Option<&[String]>,
    limit: i64,
) -> Result<(Vec<Shown>, bool)> {
    let filter = Filter::parse(families, &serde_json::Map::new())?;
    if limit == 0 {
        return Ok((Vec::new(), false));
    }
    let mut events = event_window::of_execution(
        db,
        execution,
        after.unwrap_or(0),
        filter.codes.as_deref(),
        limit + 1,
    );
    let more = events.len() as i64 > limit;
    events.truncate(limit as usize);
    Ok((events, more))
}
