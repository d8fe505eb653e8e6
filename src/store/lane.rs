//! `ff_engine.lane` and `ff_engine.namespace`: names that executions carry as numbers.

use pgrx::pg_sys::BuiltinOid::*;

use crate::model::time::Instant;
use crate::pg::cache::Shared;
use crate::pg::spi::{Arg, Db, Stmt};
use crate::pg::xact;

static NAMESPACE_NAME: Stmt<1> = Stmt::new(
    c"SELECT n.name FROM ff_engine.namespace AS n WHERE n.namespace_id = $1",
    [INT4OID],
);

static FIND: Stmt<1> = Stmt::new(
    c"SELECT l.lane_id, l.state, l.retention_ms FROM ff_engine.lane AS l WHERE l.name = $1",
    [TEXTOID],
);

static LOCK: Stmt<1> = Stmt::new(
    c"SELECT l.lane_id, l.state, l.retention_ms FROM ff_engine.lane AS l WHERE l.name = $1 FOR UPDATE",
    [TEXTOID],
);

static REGISTER: Stmt<6> = Stmt::new(
    c"INSERT INTO ff_engine.lane (name, state, reason, registered_at, registered_by, retention_ms)
      VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (name) DO NOTHING RETURNING lane_id",
    [TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTOID, INT8OID],
);

static UPDATE: Stmt<4> = Stmt::new(
    c"UPDATE ff_engine.lane AS l SET state = $2, reason = $3, retention_ms = $4 WHERE l.lane_id = $1",
    [INT4OID, TEXTOID, TEXTOID, INT8OID],
);

static NAMESPACE: Stmt<1> = Stmt::new(
    c"SELECT n.namespace_id FROM ff_engine.namespace AS n WHERE n.name = $1",
    [TEXTOID],
);

static NEW_NAMESPACE: Stmt<1> = Stmt::new(
    c"INSERT INTO ff_engine.namespace (name) VALUES ($1) ON CONFLICT (name) DO NOTHING",
    [TEXTOID],
);

/// A registered lane.
#[derive(Clone, Debug)]
pub struct Lane {
    /// Its number.
    pub id: i32,
    /// `active`, `paused`, `draining` or `disabled`.
    pub state: String,
    /// Retention of its executions, milliseconds.
    pub retention_ms: Option<i64>,
}

/// A lane as it is to be registered.
pub struct Registration<'a> {
    /// Name.
    pub name: &'a str,
    /// State word.
    pub state: &'a str,
    /// Why.
    pub reason: Option<&'a str>,
    /// When.
    pub at: Instant,
    /// By which role.
    pub by: &'a str,
    /// Retention, milliseconds.
    pub retention_ms: Option<i64>,
}

fn decode(rows: crate::pg::spi::Rows) -> Option<Lane> {
    rows.first().map(|r| Lane {
        id: r.get(1),
        state: r.get(2),
        retention_ms: r.get(3),
    })
}

static NAME: Stmt<1> = Stmt::new(
    c"SELECT l.name FROM ff_engine.lane AS l WHERE l.lane_id = $1",
    [INT4OID],
);

/// The name of a lane's number.
pub fn name(db: &Db, id: i32) -> Option<String> {
    let read = || NAME.run(db, [id.into()]).first().map(|r| r.get(1));
    NAMES.with(|known| known.get_or(id, read))
}

thread_local! {
    static NAMES: Shared<i32, String> = const { Shared::new() };
    static LANES: Shared<String, Lane> = const { Shared::new() };
    static NAMESPACES: Shared<String, i32> = const { Shared::new() };
}

/// Looks a lane up by name, without a lock.
pub fn find(db: &Db, name: &str) -> Option<Lane> {
    LANES.with(|known| known.get_or(name.to_owned(), || decode(FIND.run(db, [name.into()]))))
}

/// Locks a lane's row.
pub fn lock(db: &Db, name: &str) -> Option<Lane> {
    decode(LOCK.run(db, [name.into()]))
}

/// Registers a lane; `None` if it exists. Waits for a session that is registering the same name.
pub fn register(db: &Db, r: &Registration) -> Option<i32> {
    let args: [Arg; 6] = [
        r.name.into(),
        r.state.into(),
        r.reason.into(),
        r.at.0.into(),
        r.by.into(),
        r.retention_ms.into(),
    ];
    xact::rename();
    REGISTER.run(db, args).first().map(|row| row.get(1))
}

/// Changes a locked lane.
pub fn update(db: &Db, id: i32, state: &str, reason: Option<&str>, retention_ms: Option<i64>) {
    xact::rename();
    UPDATE.run(
        db,
        [id.into(), state.into(), reason.into(), retention_ms.into()],
    );
}

/// A namespace's number, none if nobody has used the name.
pub fn namespace(db: &Db, name: &str) -> Option<i32> {
    let read = || NAMESPACE.run(db, [name.into()]).first().map(|r| r.get(1));
    NAMESPACES.with(|known| known.get_or(name.to_owned(), read))
}

/// The name of a namespace.
pub fn namespace_name(db: &Db, id: i32) -> Option<String> {
    let rows = NAMESPACE_NAME.run(db, [id.into()]);
    rows.first().map(|r| r.get(1))
}

/// Records a namespace.
pub fn new_namespace(db: &Db, name: &str) {
    xact::rename();
    NEW_NAMESPACE.run(db, [name.into()]);
}
