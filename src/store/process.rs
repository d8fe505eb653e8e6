//! The background worker of this database as `pg_stat_activity` shows it.

use pgrx::pg_sys::BuiltinOid::*;

use crate::pg::spi::{Db, Stmt};

static WORKER: Stmt<0> = Stmt::new(
    c"SELECT a.pid FROM pg_stat_get_activity(NULL) AS a
       WHERE a.backend_type = 'ff_engine worker' AND a.datid = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
       LIMIT 1",
    [],
);

static TERMINATE: Stmt<1> = Stmt::new(c"SELECT pg_terminate_backend($1)", [INT4OID]);

static REFRESH: Stmt<0> = Stmt::new(c"SELECT pg_stat_clear_snapshot()", []);

/// Process id of this database's worker.
pub fn worker(db: &Db) -> Option<i32> {
    REFRESH.run(db, []);
    WORKER.run(db, []).first().map(|r| r.get(1))
}

/// Asks a process to end.
pub fn terminate(db: &Db, pid: i32) {
    TERMINATE.run(db, [pid.into()]);
}
