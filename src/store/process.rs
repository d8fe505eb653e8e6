//! The background worker of this database as the server shows it.

use pgrx::pg_sys::BuiltinOid::*;

use crate::pg::spi::{Db, Stmt};

/// The worker is the process that holds the lock which makes it the only one.
static WORKER: Stmt<0> = Stmt::new(
    c"SELECT l.pid FROM pg_lock_status() AS l
       WHERE l.locktype = 'object' AND l.classid = 'pg_catalog.pg_extension'::regclass AND l.objsubid = 1
         AND l.mode = 'ExclusiveLock' AND l.granted
         AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())",
    [],
);

static EXISTS: Stmt<1> = Stmt::new(
    c"SELECT EXISTS (SELECT FROM pg_stat_get_activity($1) AS a WHERE a.pid = $1)",
    [INT4OID],
);

static TERMINATE: Stmt<1> = Stmt::new(c"SELECT pg_terminate_backend($1)", [INT4OID]);

static REFRESH: Stmt<0> = Stmt::new(c"SELECT pg_stat_clear_snapshot()", []);

/// Process id of this database's worker.
pub fn worker(db: &Db) -> Option<i32> {
    WORKER.run(db, []).first().map(|r| r.get(1))
}

/// Asks a process to end.
pub fn terminate(db: &Db, pid: i32) {
    TERMINATE.run(db, [pid.into()]);
}

/// Whether a process is alive.
pub fn exists(db: &Db, pid: i32) -> bool {
    REFRESH.run(db, []);
    EXISTS
        .run(db, [pid.into()])
        .first()
        .is_some_and(|r| r.get(1))
}
