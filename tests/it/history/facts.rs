//! What the database holds when all is quiet, read through the public functions and views in one snapshot.

use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;

use crate::support::{Cells, Session};

/// One event.
#[derive(Clone, Debug)]
pub struct Entry {
    pub id: i64,
    /// Engine clock, microseconds since 1970.
    pub at: i64,
    /// Family and type.
    pub word: String,
    pub execution: Uuid,
    pub index: Option<i32>,
    pub details: Value,
}

impl Entry {
    pub fn text(&self, key: &str) -> &str {
        self.details[key].as_str().unwrap_or_default()
    }

    pub fn uuid(&self, key: &str) -> Uuid {
        self.text(key).parse().unwrap_or_default()
    }
}

/// One execution.
#[derive(Clone, Debug)]
pub struct Row {
    pub state: String,
    pub epoch: i64,
    /// Of the present lease.
    pub lease: Option<Uuid>,
    pub retries: i32,
    pub replays: i32,
    pub reclaims: i32,
    /// Index, id and state of each attempt, oldest first.
    pub attempts: Vec<(i32, Uuid, String)>,
    pub result: Option<Vec<u8>>,
    /// Number of the call that created it.
    pub call: u32,
    pub key: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub log: Vec<Entry>,
    pub rows: BTreeMap<Uuid, Row>,
    /// Whom each member that waits for another waits for.
    pub upstreams: BTreeMap<Uuid, Uuid>,
}

impl Facts {
    /// Everything, in one snapshot: a background worker may go on meanwhile.
    pub fn read(s: &mut Session) -> Self {
        s.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
        let facts = Self {
            log: log(s),
            rows: rows(s),
            upstreams: upstreams(s),
        };
        s.run("COMMIT");
        facts
    }
}

fn log(s: &mut Session) -> Vec<Entry> {
    let mut log = Vec::new();
    let mut cursor = "start".to_owned();
    loop {
        let page = s.rows(
            "SELECT *, (extract(epoch FROM occurred_at) * 1000000)::bigint AS at FROM ff_read_events($1, max_items => 10000)",
            &[&cursor],
        );
        let Some(last) = page.last() else { break };
        cursor = last.text("cursor");
        log.extend(page.iter().filter_map(|row| {
            Some(Entry {
                id: row.big("event_id"),
                at: row.big("at"),
                word: format!("{}.{}", row.text("family"), row.text("event_type")),
                execution: row.maybe_uuid("execution_id")?,
                index: row.maybe_int("attempt_index"),
                details: row.json("details"),
            })
        }));
    }
    log.sort_by_key(|entry| entry.id);
    log
}

fn rows(s: &mut Session) -> BTreeMap<Uuid, Row> {
    let mut rows: BTreeMap<Uuid, Row> = s
        .rows("SELECT * FROM ff_executions", &[])
        .iter()
        .map(|row| {
            let tags = row.json("tags");
            let row_of = Row {
                state: row.text("public_state"),
                epoch: row.big("lease_epoch"),
                lease: row.maybe_uuid("lease_id"),
                retries: row.int("retry_count"),
                replays: row.int("replay_count"),
                reclaims: row.int("lease_reclaim_count"),
                attempts: Vec::new(),
                result: None,
                call: tags["h.call"]
                    .as_str()
                    .and_then(|n| n.parse().ok())
                    .unwrap_or_default(),
                key: tags["h.key"].as_str().map(str::to_owned),
            };
            (row.uuid("execution_id"), row_of)
        })
        .collect();
    for row in s.rows(
        "SELECT * FROM ff_attempts ORDER BY execution_id, attempt_index",
        &[],
    ) {
        if let Some(of) = rows.get_mut(&row.uuid("execution_id")) {
            of.attempts.push((
                row.int("attempt_index"),
                row.uuid("attempt_id"),
                row.text("attempt_state"),
            ));
        }
    }
    for row in s.rows(
        "SELECT e.execution_id, r.result FROM ff_executions AS e
          CROSS JOIN LATERAL ff_get_execution_result(e.execution_id) AS r WHERE e.public_state = 'completed'",
        &[],
    ) {
        if let Some(of) = rows.get_mut(&row.uuid("execution_id")) {
            of.result = row.bytes("result");
        }
    }
    rows
}

fn upstreams(s: &mut Session) -> BTreeMap<Uuid, Uuid> {
    s.rows("SELECT downstream_id, upstream_id FROM ff_engine.edge", &[])
        .iter()
        .map(|row| (row.uuid("downstream_id"), row.uuid("upstream_id")))
        .collect()
}
