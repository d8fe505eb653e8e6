//! Pages of the whole log, from position to position (§30.12).

use serde_json::{Map, Value};

use crate::error::Result;
use crate::model::cursor::{Asked, Inside, Position, Snapshot};
use crate::model::event_filter::Filter;
use crate::pg::jsonb::Jsonb;
use crate::pg::snapshot;
use crate::pg::spi::Db;
use crate::store;
use crate::store::event_window::{self, Shown, Wanted};

use super::identity;

/// What a read returns.
pub struct Page {
    /// Events, each with the position behind it.
    pub events: Vec<(Shown, String)>,
    /// Where the reader stands now, also if nothing matched.
    pub reached: String,
}

/// The next events from a position.
pub fn page(
    db: &Db,
    after: &str,
    families: Option<&[String]>,
    filter: &Map<String, Value>,
    limit: i64,
) -> Result<Page> {
    let filter = Filter::parse(families, filter)?;
    let installation = identity::id(db);
    let now = here();
    let mut position = Asked::parse(after, installation)?.position(&now);
    let mut events = Vec::new();
    if limit > 0 && position.is_within(&now) {
        let wanted = numbers(db, filter);
        events = advance(db, &mut position, now, &wanted, limit, |at| {
            at.encode(installation)
        });
    }
    Ok(Page {
        events,
        reached: position.encode(installation),
    })
}

/// A cursor for a position.
pub fn cursor(db: &Db, position: &str) -> Result<String> {
    let installation = identity::id(db);
    Ok(Asked::parse(position, installation)?
        .position(&here())
        .encode(installation))
}

/// Reads what is left of an open window, then the window up to the present; moves the position.
///
/// The second window joins the page only if its ids ascend from the first's: what has committed late has a lower
/// id and begins the next page.
fn advance(
    db: &Db,
    position: &mut Position,
    now: Snapshot,
    wanted: &Wanted,
    limit: i64,
    text: impl Fn(&Position) -> String,
) -> Vec<(Shown, String)> {
    let mut page: Vec<(Shown, String)> = Vec::new();
    let present = Inside { upto: now, last: 0 };
    for window in position.inside.take().into_iter().chain([present]) {
        let room = limit - page.len() as i64;
        if room == 0 || position.from == window.upto {
            break;
        }
        let mut found = event_window::between(
            db,
            &position.from,
            &window.upto,
            window.last,
            wanted,
            room + 1,
        );
        if let (Some((before, _)), Some(first)) = (page.last(), found.first())
            && first.id < before.id
        {
            break;
        }
        let whole = found.len() as i64 <= room;
        found.truncate(room as usize);
        let count = found.len();
        let behind = Position::behind(window.upto.clone());
        let mut at = Position {
            from: position.from.clone(),
            inside: Some(window),
        };
        for (n, event) in found.into_iter().enumerate() {
            at.delivered(event.id);
            let ends = whole && n + 1 == count;
            page.push((event, text(if ends { &behind } else { &at })));
        }
        *position = if whole { behind } else { at };
        if !whole {
            break;
        }
    }
    page
}

/// The running statement's snapshot.
fn here() -> Snapshot {
    let seen = snapshot::active();
    Snapshot::new(seen.next, seen.running)
}

/// A filter with names as numbers. A name nobody has used becomes a number that nothing has.
fn numbers(db: &Db, filter: Filter) -> Wanted {
    let asked = filter
        .namespace
        .map(|name| store::lane::namespace(db, &name).unwrap_or(-1));
    let namespaces = match (asked, store::binding::mine()) {
        (None, mine) => mine.map(|mine| mine.iter().copied().collect()),
        (Some(asked), _) => Some(Vec::from_iter(
            store::binding::admits(asked).then_some(asked),
        )),
    };
    Wanted {
        codes: filter.codes,
        namespaces,
        lanes: filter.lanes.map(|names| event_window::lanes(db, &names)),
        partitions: filter.partitions,
        execution: filter.execution,
        flow: filter.flow,
        tags: filter
            .tags
            .map(|tags| Jsonb::from_json(&Value::Object(tags))),
    }
}
