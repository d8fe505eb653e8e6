//! `ff_engine.worker`: registrations, by namespace and instance.

use pgrx::pg_sys::BuiltinOid::*;

use crate::model::registration::Registration;
use crate::model::time::Instant;
use crate::pg::array;
use crate::pg::spi::{Db, Row, Stmt};

static LOCK: Stmt<2> = Stmt::new(
    c"SELECT w.namespace_id, w.worker_instance, w.worker, w.registered_at, w.expires_at, w.liveness_ttl_ms
        FROM ff_engine.worker AS w WHERE w.namespace_id = $1 AND w.worker_instance = $2 FOR UPDATE",
    [INT4OID, TEXTOID],
);

/// A registration that never held, to be filled in under its lock.
static SEAT: Stmt<2> = Stmt::new(
    c"INSERT INTO ff_engine.worker
             (namespace_id, worker_instance, worker, lanes, capabilities, registered_at, expires_at, liveness_ttl_ms)
      VALUES ($1, $2, '', '{}', '{}', '-infinity', '-infinity', 0)
      ON CONFLICT (namespace_id, worker_instance) DO NOTHING",
    [INT4OID, TEXTOID],
);

static FILL: Stmt<8> = Stmt::new(
    c"UPDATE ff_engine.worker AS w
         SET worker = $3, lanes = $4, capabilities = $5, registered_at = $6, expires_at = $7, liveness_ttl_ms = $8
       WHERE w.namespace_id = $1 AND w.worker_instance = $2",
    [
        INT4OID,
        TEXTOID,
        TEXTOID,
        TEXTARRAYOID,
        TEXTARRAYOID,
        TIMESTAMPTZOID,
        TIMESTAMPTZOID,
        INT4OID,
    ],
);

static BEAT: Stmt<3> = Stmt::new(
    c"UPDATE ff_engine.worker AS w SET expires_at = $3 WHERE w.namespace_id = $1 AND w.worker_instance = $2",
    [INT4OID, TEXTOID, TIMESTAMPTZOID],
);

static REMOVE: Stmt<2> = Stmt::new(
    c"DELETE FROM ff_engine.worker AS w
       USING unnest($1, $2) AS n (namespace_id, worker_instance)
       WHERE w.namespace_id = n.namespace_id AND w.worker_instance = n.worker_instance",
    [INT4ARRAYOID, TEXTARRAYOID],
);

static LAPSED: Stmt<3> = Stmt::new(
    c"SELECT w.namespace_id, w.worker_instance FROM ff_engine.worker AS w
       WHERE w.expires_at <= $1 AND ($2 IS NULL OR w.namespace_id = $2) AND ff_engine.admits(w.namespace_id)
       ORDER BY w.expires_at, w.namespace_id, w.worker_instance LIMIT $3",
    [TIMESTAMPTZOID, INT4OID, INT8OID],
);

static LOCK_FREE: Stmt<2> = Stmt::new(
    c"SELECT w.namespace_id, w.worker_instance, w.worker, w.registered_at, w.expires_at, w.liveness_ttl_ms
        FROM unnest($1, $2) AS n (namespace_id, worker_instance)
        JOIN ff_engine.worker AS w ON w.namespace_id = n.namespace_id AND w.worker_instance = n.worker_instance
         FOR UPDATE OF w SKIP LOCKED",
    [INT4ARRAYOID, TEXTARRAYOID],
);

/// Whose registration it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Namespace number.
    pub namespace: i32,
    /// Process identity.
    pub instance: String,
}

/// All that a registration says.
pub struct Announcement<'a> {
    /// What calls are judged by.
    pub registration: &'a Registration,
    /// Sorted lane names.
    pub lanes: &'a [String],
    /// Sorted capabilities.
    pub capabilities: &'a [String],
}

fn decode(row: Row) -> (Seat, Registration) {
    let mut c = row.cursor();
    let seat = Seat {
        namespace: c.next(),
        instance: c.next(),
    };
    let registration = Registration {
        worker: c.next(),
        registered_at: Instant(c.next()),
        expires_at: Instant(c.next()),
        ttl_ms: c.next(),
    };
    (seat, registration)
}

/// Locks a registration.
pub fn lock(db: &Db, seat: &Seat) -> Option<Registration> {
    let rows = LOCK.run(db, [seat.namespace.into(), (&seat.instance).into()]);
    rows.first().map(|row| decode(row).1)
}

/// Locks a registration, made as one that has lapsed if there is none; waits for whoever makes the same one.
pub fn seat(db: &Db, seat: &Seat) -> Registration {
    loop {
        if let Some(registration) = lock(db, seat) {
            return registration;
        }
        SEAT.run(db, [seat.namespace.into(), (&seat.instance).into()]);
    }
}

/// Writes a locked registration.
pub fn fill(db: &Db, seat: &Seat, a: &Announcement) {
    let r = a.registration;
    let args = [
        seat.namespace.into(),
        (&seat.instance).into(),
        (&r.worker).into(),
        array::texts(a.lanes.iter().map(String::as_str)),
        array::texts(a.capabilities.iter().map(String::as_str)),
        r.registered_at.0.into(),
        r.expires_at.0.into(),
        r.ttl_ms.into(),
    ];
    FILL.run(db, args);
}

/// Moves the end of a locked registration.
pub fn beat(db: &Db, seat: &Seat, expires_at: Instant) {
    let args = [
        seat.namespace.into(),
        (&seat.instance).into(),
        expires_at.0.into(),
    ];
    BEAT.run(db, args);
}

/// Deletes locked registrations.
pub fn remove(db: &Db, seats: &[Seat]) {
    REMOVE.run(db, columns(seats));
}

/// Registrations that have lapsed and that the calling roles may see, longest first, of one namespace if given.
pub fn lapsed(db: &Db, now: Instant, namespace: Option<i32>, limit: i64) -> Vec<Seat> {
    LAPSED
        .run(db, [now.0.into(), namespace.into(), limit.into()])
        .iter()
        .map(|row| Seat {
            namespace: row.get(1),
            instance: row.get(2),
        })
        .collect()
}

/// Locks those registrations that nobody else holds.
pub fn lock_free(db: &Db, seats: &[Seat]) -> Vec<(Seat, Registration)> {
    LOCK_FREE
        .run(db, columns(seats))
        .iter()
        .map(decode)
        .collect()
}

fn columns(seats: &[Seat]) -> [crate::pg::spi::Arg; 2] {
    [
        array::ints(seats.iter().map(|s| s.namespace)),
        array::texts(seats.iter().map(|s| s.instance.as_str())),
    ]
}
