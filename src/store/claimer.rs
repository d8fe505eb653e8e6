//! `ff_engine.claimer`: who claims, by number.

use pgrx::pg_sys::BuiltinOid::*;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::pg::array;
use crate::pg::cache::Cache;
use crate::pg::session;
use crate::pg::spi::{Db, Stmt};

static FIND: Stmt<1> = Stmt::new(
    c"SELECT c.claimer_id FROM ff_engine.claimer AS c WHERE c.fingerprint = $1 ORDER BY c.claimer_id LIMIT 1",
    [UUIDOID],
);

static INSERT: Stmt<5> = Stmt::new(
    c"INSERT INTO ff_engine.claimer (fingerprint, worker, worker_instance, capabilities, namespace_filter)
      VALUES ($1, $2, $3, $4, $5) RETURNING claimer_id",
    [UUIDOID, TEXTOID, TEXTOID, TEXTARRAYOID, TEXTOID],
);

static READ: Stmt<1> = Stmt::new(
    c"SELECT c.worker, c.worker_instance, c.capabilities, c.namespace_filter
        FROM ff_engine.claimer AS c WHERE c.claimer_id = $1",
    [INT4OID],
);

/// Worker, instance, capabilities and the namespace filter of its claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimer {
    /// Pool identity.
    pub worker: String,
    /// Process identity.
    pub instance: String,
    /// Sorted capabilities.
    pub capabilities: Vec<String>,
    /// Only this namespace.
    pub namespace: Option<String>,
}

impl Claimer {
    /// Content address: lengths are part of it, so no two different claimers share one.
    fn fingerprint(&self) -> Uuid {
        let mut hash = Sha256::new();
        let parts = [self.worker.as_str(), self.instance.as_str()]
            .into_iter()
            .chain(self.namespace.as_deref())
            .chain(self.capabilities.iter().map(String::as_str));
        hash.update([u8::from(self.namespace.is_some())]);
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let mut id = [0u8; 16];
        id.iter_mut()
            .zip(hash.finalize())
            .for_each(|(to, from)| *to = from);
        Uuid::from_bytes(id)
    }
}

thread_local! {
    static KNOWN: Cache<Claimer, i32> = const { Cache::new() };
    static BY_NUMBER: Cache<i32, Option<Claimer>> = const { Cache::new() };
}

/// The number of a claimer; made if it is new.
pub fn intern(db: &Db, claimer: &Claimer) -> i32 {
    let table = session::table(c"ff_engine", c"claimer");
    KNOWN.with(|known| {
        known.get_or(table, claimer, || {
            let fingerprint = claimer.fingerprint();
            let found = FIND.run(db, [fingerprint.into()]).first().map(|r| r.get(1));
            found.unwrap_or_else(|| {
                let args = [
                    fingerprint.into(),
                    (&claimer.worker).into(),
                    (&claimer.instance).into(),
                    array::texts(claimer.capabilities.iter().map(String::as_str)),
                    claimer.namespace.as_deref().into(),
                ];
                INSERT.run(db, args).first().map_or(0, |r| r.get(1))
            })
        })
    })
}

/// The claimer of a number.
pub fn read(db: &Db, id: i32) -> Option<Claimer> {
    let table = session::table(c"ff_engine", c"claimer");
    let found = || {
        READ.run(db, [id.into()]).first().map(|r| Claimer {
            worker: r.get(1),
            instance: r.get(2),
            capabilities: r.get(3),
            namespace: r.get(4),
        })
    };
    BY_NUMBER.with(|known| known.get_or(table, &id, found))
}

/// Superseded attempts keep their claimer, so a repeated call finds its own too.
static OF_LEASES: Stmt<2> = Stmt::new(
    c"SELECT l.name, coalesce(e.lease_ttl_ms, 30000), c.worker, c.worker_instance, c.capabilities, c.namespace_filter
        FROM unnest($1, $2) WITH ORDINALITY AS n (execution_id, lease_id, ordinal)
        JOIN ff_engine.execution AS e ON e.execution_id = n.execution_id
        LEFT JOIN ff_engine.attempt AS a ON e.lease_id <> n.lease_id
              AND a.execution_id = n.execution_id AND a.lease_id = n.lease_id
        JOIN ff_engine.lane AS l ON l.lane_id = e.lane_id
        JOIN ff_engine.claimer AS c ON c.claimer_id = CASE WHEN e.lease_id = n.lease_id THEN e.claimer_id ELSE a.claimer_id END
       ORDER BY n.ordinal",
    [UUIDARRAYOID, UUIDARRAYOID],
);

/// Lane, claimer and lease length of the claims that leases came from.
pub fn of_leases(db: &Db, leases: &[(Uuid, Uuid)]) -> Vec<(String, Claimer, i32)> {
    let args = [
        array::uuids(leases.iter().map(|(execution, _)| *execution)),
        array::uuids(leases.iter().map(|(_, lease)| *lease)),
    ];
    OF_LEASES
        .run(db, args)
        .iter()
        .map(|r| {
            let claimer = Claimer {
                worker: r.get(3),
                instance: r.get(4),
                capabilities: r.get(5),
                namespace: r.get(6),
            };
            (r.get(1), claimer, r.get(2))
        })
        .collect()
}
