//! pg_cron: the one job that runs the reconcilers of this database.

use pgrx::pg_sys::BuiltinOid::*;

use crate::pg::spi::{Db, Stmt};

static VERSION: Stmt<0> = Stmt::new(
    c"SELECT substring(x.extversion FROM '^([0-9]+)')::int, coalesce(substring(x.extversion FROM '^[0-9]+[.]([0-9]+)')::int, 0)
        FROM pg_extension AS x WHERE x.extname = 'pg_cron'",
    [],
);

static SCHEMA: Stmt<0> = Stmt::new(
    c"SELECT quote_ident(n.nspname) FROM pg_extension AS x JOIN pg_namespace AS n ON n.oid = x.extnamespace
       WHERE x.extname = 'ff_engine'",
    [],
);

static FIND: Stmt<0> = Stmt::new(
    c"SELECT j.jobid FROM cron.job AS j WHERE j.jobname = 'ff_engine reconcilers of ' || current_database()",
    [],
);

static SCHEDULE: Stmt<2> = Stmt::new(
    c"SELECT 'ff_engine reconcilers of ' || current_database(),
             cron.schedule('ff_engine reconcilers of ' || current_database(), $1, $2)",
    [TEXTOID, TEXTOID],
);

static UNSCHEDULE: Stmt<1> = Stmt::new(c"SELECT cron.unschedule($1)", [INT8OID]);

/// Whether pg_cron knows schedules in seconds; `None` if it is not installed here.
pub fn knows_seconds(db: &Db) -> Option<bool> {
    VERSION
        .run(db, [])
        .first()
        .map(|r| (r.get::<i32>(1), r.get::<i32>(2)) >= (1, 5))
}

fn schema(db: &Db) -> String {
    SCHEMA
        .run(db, [])
        .first()
        .map(|r| r.get(1))
        .unwrap_or_default()
}

/// The command that runs one round.
pub fn tick(db: &Db) -> String {
    format!("SELECT count(*) FROM {}.ff_tick()", schema(db))
}

/// The command that runs rounds for most of a minute.
pub fn loops(db: &Db) -> String {
    format!("CALL {}.ff_run_reconcilers()", schema(db))
}

/// Installs the job, in place of one that stands; returns its name and whether it replaced another.
pub fn schedule(db: &Db, schedule: &str, command: &str) -> (String, bool) {
    let replaced = unschedule(db) > 0;
    let rows = SCHEDULE.run(db, [schedule.into(), command.into()]);
    (rows.first().map(|r| r.get(1)).unwrap_or_default(), replaced)
}

/// Removes the job.
pub fn unschedule(db: &Db) -> i32 {
    let jobs: Vec<i64> = FIND.run(db, []).iter().map(|r| r.get(1)).collect();
    for job in &jobs {
        UNSCHEDULE.run(db, [(*job).into()]);
    }
    jobs.len() as i32
}
