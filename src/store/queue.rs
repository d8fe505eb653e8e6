//! `ff_engine.queue`: one lane, one namespace, one set of required capabilities.

use pgrx::pg_sys::BuiltinOid::*;

use crate::pg::array;
use crate::pg::cache::Shared;
use crate::pg::spi::{Db, Stmt};
use crate::pg::xact;

use super::binding;

static FIND: Stmt<3> = Stmt::new(
    c"SELECT q.queue_id FROM ff_engine.queue AS q
       WHERE q.lane_id = $1 AND q.namespace_id = $2 AND q.required = $3 ORDER BY q.queue_id LIMIT 1",
    [INT4OID, INT4OID, TEXTARRAYOID],
);

static INSERT: Stmt<3> = Stmt::new(
    c"INSERT INTO ff_engine.queue (lane_id, namespace_id, required) VALUES ($1, $2, $3) RETURNING queue_id",
    [INT4OID, INT4OID, TEXTARRAYOID],
);

static SERVED: Stmt<3> = Stmt::new(
    c"SELECT l.lane_id, l.state, q.queue_id, n.name
        FROM ff_engine.lane AS l
        LEFT JOIN (ff_engine.queue AS q JOIN ff_engine.namespace AS n ON n.namespace_id = q.namespace_id)
          ON q.lane_id = l.lane_id AND q.required <@ $2 AND ($3 IS NULL OR n.name = $3)
       WHERE l.name = $1 ORDER BY q.queue_id",
    [TEXTOID, TEXTARRAYOID, TEXTOID],
);

static REQUIRED: Stmt<1> = Stmt::new(
    c"SELECT q.required FROM ff_engine.queue AS q WHERE q.queue_id = $1",
    [INT4OID],
);

thread_local! {
    static REQUIREMENTS: Shared<i32, Vec<String>> = const { Shared::new() };
    static QUEUES: Shared<(i32, i32, Vec<String>), i32> = const { Shared::new() };
    static LANES: Shared<(String, Vec<String>, Option<String>), Served> = const { Shared::new() };
}

/// The queue of a lane, a namespace and a sorted requirement; made if it is new.
pub fn intern(db: &Db, lane: i32, namespace: i32, required: &[String]) -> i32 {
    let args = [
        lane.into(),
        namespace.into(),
        array::texts(required.iter().map(String::as_str)),
    ];
    let read = || FIND.run(db, args).first().map(|r| r.get(1));
    let found = QUEUES.with(|known| known.get_or((lane, namespace, required.to_vec()), read));
    found.unwrap_or_else(|| {
        xact::rename();
        INSERT.run(db, args).first().map_or(0, |r| r.get(1))
    })
}

/// The sorted capabilities that the executions of a queue require.
pub fn required(db: &Db, queue: i32) -> Vec<String> {
    let read = || REQUIRED.run(db, [queue.into()]).first().map(|r| r.get(1));
    let found = REQUIREMENTS.with(|known| known.get_or(queue, read));
    found.unwrap_or_default()
}

/// What a claimer may serve of a lane.
#[derive(Clone, Debug)]
pub struct Served {
    /// The lane.
    pub lane: i32,
    /// Its state.
    pub state: String,
    /// Queues whose requirement the claimer covers, with their namespace.
    pub queues: Vec<(i32, String)>,
}

/// The queues of a lane that capabilities, namespace filter and the calling roles admit; `None` for a lane nobody has used.
pub fn served(
    db: &Db,
    lane: &str,
    capabilities: &[String],
    namespace: Option<&str>,
) -> Option<Served> {
    let key = (
        lane.to_owned(),
        capabilities.to_vec(),
        namespace.map(str::to_owned),
    );
    let served = LANES.with(|known| known.get_or(key, || read(db, lane, capabilities, namespace)));
    served.map(|served| match binding::names(db) {
        None => served,
        Some(mine) => Served {
            queues: served
                .queues
                .into_iter()
                .filter(|(_, namespace)| mine.contains(namespace))
                .collect(),
            ..served
        },
    })
}

fn read(db: &Db, lane: &str, capabilities: &[String], namespace: Option<&str>) -> Option<Served> {
    let capabilities = array::texts(capabilities.iter().map(String::as_str));
    let rows = SERVED.run(db, [lane.into(), capabilities, namespace.into()]);
    let first = rows.first()?;
    let queues = rows
        .iter()
        .filter_map(|r| Some((r.get::<Option<i32>>(3)?, r.get(4))))
        .collect();
    Some(Served {
        lane: first.get(1),
        state: first.get(2),
        queues,
    })
}
