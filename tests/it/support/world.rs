//! A database of a test's own, with its first session; leaving it checks the invariants.

use std::ops::{Deref, DerefMut};

use super::cluster::Cluster;
use super::session::{HEAD_START_MS, Session};
use super::template;

pub struct World {
    pub cluster: Cluster,
    pub database: String,
    session: Option<Session>,
    keeps_invariants: bool,
}

impl World {
    /// A fresh database on the server of the environment.
    pub fn new() -> Self {
        Self::on(Cluster::home())
    }

    /// A fresh database on a server that has not preloaded the library.
    pub fn without_preload() -> Self {
        Self::on(Cluster::named("nopreload"))
    }

    /// A fresh database on this server.
    pub fn on(cluster: Cluster) -> Self {
        let database = template::fresh_database(&cluster);
        let session = Session::open(&cluster, &database, HEAD_START_MS);
        Self {
            cluster,
            database,
            session: Some(session),
            keeps_invariants: true,
        }
    }

    /// As [`World::on`], with the engine clock at the wall clock, where background workers live.
    pub fn on_wall_clock(cluster: Cluster) -> Self {
        let mut world = Self::on(cluster);
        world.set_offset_ms(0);
        world
    }

    /// Another session, its engine clock where the first session's is now.
    pub fn session(&self) -> Session {
        Session::open(&self.cluster, &self.database, self.offset_ms())
    }

    /// Connection parameters for sessions opened in threads.
    pub fn door(&self) -> Door {
        Door {
            cluster: self.cluster.clone(),
            database: self.database.clone(),
            offset_ms: self.offset_ms(),
        }
    }

    /// The test breaks stored rows on purpose: do not check the invariants at the end.
    pub fn will_break_invariants(&mut self) {
        self.keeps_invariants = false;
    }

    /// Closes the first session and opens it again, for example after a crash.
    pub fn reconnect(&mut self) {
        let offset_ms = self.offset_ms();
        self.session = None;
        self.session = Some(Session::open(&self.cluster, &self.database, offset_ms));
    }

    fn check_invariants(&self) {
        let mut session = self.session();
        assert_invariants(&mut session);
    }
}

/// `ff_check_invariants` reports nothing.
#[track_caller]
pub fn assert_invariants(session: &mut Session) {
    let violations: Vec<String> = session
        .rows("SELECT format('%s %s: %s', execution_id, invariant, detail) FROM ff_check_invariants()", &[])
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert!(
        violations.is_empty(),
        "invariants are violated: {violations:#?}"
    );
}

/// What a thread needs to open a session of its own.
#[derive(Clone)]
pub struct Door {
    cluster: Cluster,
    database: String,
    offset_ms: i64,
}

impl Door {
    pub fn open(&self) -> Session {
        Session::open(&self.cluster, &self.database, self.offset_ms)
    }

    /// A connection whose failure is an answer and not the end of the test; its engine clock is
    /// the wall clock.
    pub fn try_open(&self) -> Result<postgres::Client, postgres::Error> {
        self.try_open_as("ff_engine tests")
    }

    /// As [`Door::try_open`], under a name that `pg_stat_activity` shows.
    pub fn try_open_as(&self, application: &str) -> Result<postgres::Client, postgres::Error> {
        self.cluster
            .config(&self.database)
            .application_name(application)
            .connect(postgres::NoTls)
    }
}

impl Deref for World {
    type Target = Session;
    fn deref(&self) -> &Session {
        self.session.as_ref().expect("a world has a session")
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut Session {
        self.session.as_mut().expect("a world has a session")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let healthy = !std::thread::panicking() && self.keeps_invariants;
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            if healthy {
                self.check_invariants();
            }
        }));
        self.session = None;
        template::drop_database(&self.cluster, &self.database);
        if let Err(violation) = outcome {
            std::panic::resume_unwind(violation);
        }
    }
}
