//! One template database per server and run: `CREATE EXTENSION` once, copied for every test.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use super::cluster::Cluster;

const PREFIX: &str = "ff_test_";

/// Copies the template into a new database and returns its name.
pub fn fresh_database(cluster: &Cluster) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let template = template(cluster);
    let name = format!(
        "{PREFIX}{}_{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    cluster
        .maintenance()
        .batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {template}"))
        .unwrap_or_else(|e| panic!("cannot create a test database: {e:?}"));
    name
}

/// A database without the extension.
pub fn empty_database(cluster: &Cluster) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let name = format!(
        "{PREFIX}{}_bare{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    cluster
        .maintenance()
        .batch_execute(&format!("CREATE DATABASE {name}"))
        .expect("create");
    name
}

/// Drops a test database whoever is still connected to it.
pub fn drop_database(cluster: &Cluster, name: &str) {
    let dropped = cluster
        .config(&cluster.maintenance_database)
        .connect(postgres::NoTls)
        .and_then(|mut c| c.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")));
    if let Err(e) = dropped {
        eprintln!("{name} was left behind: {e}");
    }
}

fn template(cluster: &Cluster) -> String {
    static MADE: Mutex<Option<HashMap<String, String>>> = Mutex::new(None);
    let mut made = MADE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let made = made.get_or_insert_with(HashMap::new);
    if let Some(name) = made.get(&cluster.name) {
        return name.clone();
    }
    let name = format!("{PREFIX}{}_template", std::process::id());
    let mut maintenance = cluster.maintenance();
    drop_remains_of_dead_runs(&mut maintenance);
    // One may be there if the extension could not be created in it for an earlier test.
    maintenance
        .batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        .and_then(|()| maintenance.batch_execute(&format!("CREATE DATABASE {name}")))
        .expect("create the template");
    let mut inside = cluster
        .config(&name)
        .connect(postgres::NoTls)
        .expect("connect");
    inside
        .batch_execute("CREATE EXTENSION ff_engine")
        .unwrap_or_else(|e| panic!("CREATE EXTENSION ff_engine: {:?}", e.as_db_error()));
    drop(inside);
    // Nobody may connect any more, a background worker neither: it would block the copying.
    maintenance
        .batch_execute(&format!(
            "ALTER DATABASE {name} ALLOW_CONNECTIONS false;
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        ))
        .expect("close the template");
    made.insert(cluster.name.clone(), name.clone());
    name
}

/// A run that ended leaves at least its template; the next run removes it.
fn drop_remains_of_dead_runs(maintenance: &mut postgres::Client) {
    let names = maintenance
        .query(
            "SELECT datname::text FROM pg_database WHERE datname LIKE 'ff\\_test\\_%'",
            &[],
        )
        .expect("list databases");
    for row in names {
        let name: String = row.get(0);
        let owner = name[PREFIX.len()..].split('_').next().unwrap_or_default();
        if !std::path::Path::new("/proc").join(owner).exists() {
            let dropped =
                maintenance.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
            if let Err(e) = dropped {
                eprintln!("{name} of an earlier run stays: {e}");
            }
        }
    }
}
