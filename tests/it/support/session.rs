//! One client connection, with the engine clock of its test.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use postgres::error::DbError;
use postgres::types::{FromSql, ToSql};
use postgres::{Client, NoTls, Row};

use super::cluster::Cluster;
use super::failure::Failure;

/// Sessions run one hour ahead of the wall clock, so that a background worker, which knows only
/// the wall clock, finds nothing due in a test's database, and a statement that took the wall
/// clock for the engine's would be an hour off.
pub const HEAD_START_MS: i64 = 3_600_000;

pub struct Session {
    client: Client,
    pid: i32,
    offset_ms: i64,
    notices: Arc<Mutex<Vec<DbError>>>,
}

impl Session {
    /// Connects with the engine clock at the wall clock plus `offset_ms`.
    pub fn open(cluster: &Cluster, database: &str, offset_ms: i64) -> Self {
        Self::open_with(cluster.config(database), offset_ms)
    }

    /// As [`Session::open`], with connection parameters of the caller's own.
    pub fn open_with(mut config: postgres::Config, offset_ms: i64) -> Self {
        let notices = Arc::new(Mutex::new(Vec::new()));
        let sink = notices.clone();
        config.notice_callback(move |notice| sink.lock().expect("notices").push(notice));
        let mut client = config
            .connect(NoTls)
            .unwrap_or_else(|e| panic!("cannot connect: {e}"));
        let pid = client
            .query_one("SELECT pg_backend_pid()", &[])
            .expect("pid")
            .get(0);
        let mut session = Self {
            client,
            pid,
            offset_ms,
            notices,
        };
        session.run("LOAD 'ff_engine'");
        session.set_clock();
        session
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Offset of this session's engine clock, for opening another one beside it.
    pub fn offset_ms(&self) -> i64 {
        self.offset_ms
    }

    /// Moves this session's engine clock forward.
    pub fn advance_ms(&mut self, by: i64) {
        self.offset_ms += by;
        self.set_clock();
    }

    /// Puts this session's engine clock where another session's is.
    pub fn set_offset_ms(&mut self, offset_ms: i64) {
        self.offset_ms = offset_ms;
        self.set_clock();
    }

    fn set_clock(&mut self) {
        let statement = format!("SET ff_engine.clock_offset = {}", self.offset_ms);
        self.run(&statement);
    }

    /// The engine clock.
    pub fn now(&mut self) -> DateTime<Utc> {
        self.value("SELECT ff_server_time()", &[])
    }

    /// Runs statements that return nothing of interest.
    #[track_caller]
    pub fn run(&mut self, sql: &str) {
        if let Err(e) = self.client.batch_execute(sql) {
            panic!("{sql}\n{}", explain(&e));
        }
    }

    #[track_caller]
    pub fn rows(&mut self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Vec<Row> {
        match self.client.query(sql, parameters) {
            Ok(rows) => rows,
            Err(e) => panic!("{sql}\n{}", explain(&e)),
        }
    }

    /// Exactly one row.
    #[track_caller]
    pub fn one(&mut self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Row {
        let mut rows = self.rows(sql, parameters);
        assert_eq!(rows.len(), 1, "one row expected of {sql}");
        rows.remove(0)
    }

    /// Exactly one value.
    #[track_caller]
    pub fn value<T>(&mut self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> T
    where
        T: for<'a> FromSql<'a>,
    {
        self.one(sql, parameters).get(0)
    }

    /// The statement is to fail; says how it did, after checking the form of an engine error.
    #[track_caller]
    pub fn failure(&mut self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Failure {
        match self.client.query(sql, parameters) {
            Ok(rows) => panic!("{sql} {parameters:?} succeeded with {} rows", rows.len()),
            Err(e) => Failure::of(&e),
        }
    }

    /// The statement is to fail with this SQLSTATE.
    #[track_caller]
    pub fn refused(
        &mut self,
        sqlstate: &str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Failure {
        let failure = self.failure(sql, parameters);
        assert_eq!(failure.sqlstate, sqlstate, "{sql}\n{failure:?}");
        failure
    }

    /// Notices and warnings since the last call.
    pub fn notices(&mut self) -> Vec<DbError> {
        std::mem::take(&mut *self.notices.lock().expect("notices"))
    }
}

fn explain(e: &postgres::Error) -> String {
    match e.as_db_error() {
        Some(db) => format!(
            "{}: {}\ndetail: {:?}\nhint: {:?}\nwhere: {:?}",
            db.code().code(),
            db.message(),
            db.detail(),
            db.hint(),
            db.where_()
        ),
        None => e.to_string(),
    }
}

impl Deref for Session {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}
