//! The servers that tests talk to: the one of the environment, and the named ones of
//! `scripts/cluster.sh`, started when a test first asks for them and left running for the next run.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// Where a server listens and as whom to connect.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub name: String,
    pub host: String,
    pub port: u16,
    pub user: String,
    pub maintenance_database: String,
}

/// The checkout this test binary was built from.
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the checkout")
        .into()
}

impl Cluster {
    /// The server of the `PG*` environment; without one, the preloaded cluster `it`.
    pub fn home() -> Self {
        if std::env::var_os("PGHOST").is_none() {
            return Self::named("it");
        }
        Self::from_settings("home", &std::env::vars().collect())
    }

    /// A named server of `scripts/cluster.sh`, started on first use. The name's first part is
    /// its kind: `nopreload` preloads nothing, `cron` pg_cron, any other ff_engine.
    pub fn named(name: &str) -> Self {
        Self::named_with(name, &[])
    }

    /// A preloaded server with room for a crowd of sessions and for prepared transactions.
    pub fn roomy() -> Self {
        Self::named_with(
            "roomy",
            &["max_connections=300", "max_prepared_transactions=10"],
        )
    }

    /// As [`Cluster::named`], with settings of its own.
    pub fn named_with(name: &str, settings: &[&str]) -> Self {
        static STARTED: Mutex<Option<HashMap<String, Cluster>>> = Mutex::new(None);
        let mut started = STARTED
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let started = started.get_or_insert_with(HashMap::new);
        if let Some(cluster) = started.get(name) {
            return cluster.clone();
        }
        script(&[&["start", name], settings].concat());
        let cluster = Self::from_settings(name, &exports(&script(&["env", name])));
        started.insert(name.into(), cluster.clone());
        cluster
    }

    /// A new physical standby of this server, under the name given.
    pub fn standby(&self, name: &str) -> Self {
        script(&["drop", name]);
        script(&["standby", name, &self.name]);
        Self::from_settings(name, &exports(&script(&["env", name])))
    }

    /// A program of the server's, if the installation has it, told to connect to this server.
    pub fn program(&self, name: &str) -> Option<Command> {
        let path = Path::new(&std::env::var_os("FF_PG_BINDIR")?).join(name);
        let mut command = Command::new(&path);
        command
            .args(["-h", &self.host, "-U", &self.user])
            .args(["-p", &self.port.to_string()]);
        path.exists().then_some(command)
    }

    /// Stops the server as a power cut would.
    pub fn crash(&self) {
        script(&["stop", &self.name, "immediate"]);
    }

    /// Starts the server again after [`Cluster::crash`].
    pub fn start(&self) {
        script(&["start", &self.name]);
    }

    /// Connection parameters for one of its databases.
    pub fn config(&self, database: &str) -> postgres::Config {
        let mut config = postgres::Config::new();
        config
            .host(&self.host)
            .port(self.port)
            .user(&self.user)
            .dbname(database)
            .application_name("ff_engine tests");
        config
    }

    /// A plain connection to the maintenance database.
    pub fn maintenance(&self) -> postgres::Client {
        self.config(&self.maintenance_database)
            .connect(postgres::NoTls)
            .unwrap_or_else(|e| panic!("cannot connect to {self:?}: {e}"))
    }

    /// Whether it takes sessions now.
    pub fn answers(&self) -> bool {
        self.config(&self.maintenance_database)
            .connect(postgres::NoTls)
            .is_ok()
    }

    fn from_settings(name: &str, settings: &HashMap<String, String>) -> Self {
        let of = |key: &str, default: &str| settings.get(key).cloned().unwrap_or(default.into());
        Self {
            name: name.into(),
            host: of("PGHOST", "/var/run/postgresql"),
            port: of("PGPORT", "5432").parse().expect("PGPORT is a number"),
            user: of("PGUSER", "postgres"),
            maintenance_database: "postgres".into(),
        }
    }
}

/// Runs `scripts/cluster.sh` and returns what it printed.
pub fn script(arguments: &[&str]) -> String {
    let output = Command::new(checkout().join("scripts/cluster.sh"))
        .args(arguments)
        .output()
        .expect("scripts/cluster.sh can be run");
    assert!(
        output.status.success(),
        "cluster.sh {arguments:?} failed:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Reads lines of the form `export NAME=value OTHER=value`.
fn exports(text: &str) -> HashMap<String, String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("export "))
        .flat_map(|line| line.split_whitespace())
        .filter_map(|word| word.split_once('='))
        .map(|(name, value)| (name.into(), value.trim_matches(['"', '\'']).into()))
        .collect()
}
