//! A worker that picks its next operation at random and keeps a journal of what the server
//! acknowledged.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postgres::{Client, Row};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

use crate::support::Cells;
use crate::support::waiting::Point;
use crate::support::world::Door;

/// The waitpoints that anybody may send a signal to, the latest ones.
pub type Board = Arc<Mutex<Vec<Point>>>;

/// So many stay on the board.
const ON_THE_BOARD: usize = 32;

/// What a worker is up to.
#[derive(Clone, Copy)]
pub struct Habits {
    /// At most so many operations in one transaction.
    pub steps: u32,
    /// Leaves in the middle of transactions without a word.
    pub dies: bool,
    /// Of a hundred explicit transactions, how many are rolled back.
    pub rolls_back: u32,
    /// Pauses before some commits.
    pub dawdles: bool,
    /// Ends by itself after so many operations.
    pub operations: Option<usize>,
}

impl Habits {
    pub fn reckless() -> Self {
        Self {
            steps: 3,
            dies: true,
            rolls_back: 10,
            dawdles: false,
            operations: None,
        }
    }

    pub fn steady() -> Self {
        Self {
            steps: 1,
            dies: false,
            rolls_back: 0,
            dawdles: false,
            operations: None,
        }
    }
}

/// What was acknowledged: the server said so, and the connection lived to hear it.
#[derive(Default, Debug)]
pub struct Journal {
    pub created: Vec<Uuid>,
    pub claimed: Vec<(Uuid, i64)>,
    pub completed: BTreeMap<Uuid, Vec<u8>>,
    pub completed_twice: Vec<Uuid>,
    pub ended: BTreeMap<Uuid, &'static str>,
    /// Signals by the name their sender gave himself for each.
    pub signals: Vec<(String, Uuid)>,
    pub operations: usize,
}

impl Journal {
    pub fn joined(mut self, other: Self) -> Self {
        self.created.extend(other.created);
        self.claimed.extend(other.claimed);
        for (id, result) in other.completed {
            if self.completed.insert(id, result).is_some() {
                self.completed_twice.push(id);
            }
        }
        self.completed_twice.extend(other.completed_twice);
        self.ended.extend(other.ended);
        self.signals.extend(other.signals);
        self.operations += other.operations;
        self
    }
}

struct Held {
    id: Uuid,
    handle: String,
}

/// Changes of the journal that a commit makes true.
type Entries = Vec<Entry>;
enum Entry {
    Created(Uuid),
    Claimed(Uuid, i64, String),
    Completed(Uuid, Vec<u8>),
    Ended(Uuid, &'static str),
    Released(Uuid),
    Suspended(Uuid, Vec<Point>),
    Signalled(String, Uuid),
}

pub struct Worker {
    number: usize,
    door: Door,
    habits: Habits,
    /// Who depends on another becomes a member of this flow with it.
    flow: Uuid,
    random: StdRng,
    client: Option<Client>,
    held: Vec<Held>,
    board: Board,
    journal: Journal,
}

impl Worker {
    pub fn new(number: usize, door: Door, habits: Habits, flow: Uuid, board: Board) -> Self {
        Self {
            number,
            door,
            habits,
            flow,
            random: StdRng::seed_from_u64(number as u64),
            client: None,
            held: Vec::new(),
            board,
            journal: Journal::default(),
        }
    }

    pub fn work_until(mut self, stop: &AtomicBool) -> Journal {
        while !stop.load(Ordering::Relaxed)
            && self
                .habits
                .operations
                .is_none_or(|n| self.journal.operations < n)
        {
            if self.client.is_none() {
                match self.door.try_open_as("torture") {
                    Ok(client) => self.client = Some(client),
                    Err(_) => std::thread::sleep(Duration::from_millis(20)),
                }
                continue;
            }
            self.journal.operations += 1;
            self.one_transaction();
        }
        self.journal
    }

    /// One operation, or several in one transaction, committed, rolled back or abandoned.
    fn one_transaction(&mut self) {
        let chance = self.random.random_range(0..100);
        if chance < 70 || self.habits.steps == 1 {
            let entries = self.operation();
            self.enter(entries);
            return;
        }
        if !self.control("BEGIN") {
            return;
        }
        let mut entries = Vec::new();
        for _ in 0..self.random.random_range(1..=self.habits.steps) {
            match self.operation() {
                Some(more) => entries.extend(more),
                None => {
                    self.control("ROLLBACK");
                    return;
                }
            }
        }
        if self.habits.dawdles && self.random.random_bool(0.3) {
            std::thread::sleep(Duration::from_millis(self.random.random_range(1..20)));
        }
        if self.habits.dies && chance >= 95 {
            self.client = None;
            return;
        }
        if self.random.random_range(0..100) < self.habits.rolls_back {
            self.control("ROLLBACK");
        } else if self.control("COMMIT") {
            self.enter(Some(entries));
        }
    }

    fn enter(&mut self, entries: Option<Entries>) {
        for entry in entries.unwrap_or_default() {
            match entry {
                Entry::Created(id) => self.journal.created.push(id),
                Entry::Claimed(id, epoch, handle) => {
                    self.journal.claimed.push((id, epoch));
                    self.held.push(Held { id, handle });
                }
                Entry::Completed(id, result) => {
                    if self.journal.completed.insert(id, result).is_some() {
                        self.journal.completed_twice.push(id);
                    }
                    self.held.retain(|held| held.id != id);
                }
                Entry::Ended(id, state) => {
                    self.journal.ended.insert(id, state);
                    self.held.retain(|held| held.id != id);
                }
                Entry::Released(id) => self.held.retain(|held| held.id != id),
                Entry::Suspended(id, points) => {
                    self.held.retain(|held| held.id != id);
                    let mut board = self.board.lock().expect("the board");
                    board.extend(points);
                    let old = board.len().saturating_sub(ON_THE_BOARD);
                    board.drain(..old);
                }
                Entry::Signalled(sender, id) => self.journal.signals.push((sender, id)),
            }
        }
    }

    fn control(&mut self, statement: &str) -> bool {
        let Some(client) = &mut self.client else {
            return false;
        };
        let done = client.batch_execute(statement).is_ok();
        if !done {
            self.client = None;
        }
        done
    }

    /// Runs one statement; None when it failed and the transaction with it.
    fn query(
        &mut self,
        sql: &str,
        parameters: &[&(dyn postgres::types::ToSql + Sync)],
    ) -> Option<Vec<Row>> {
        let client = self.client.as_mut()?;
        match client.query(sql, parameters) {
            Ok(rows) => Some(rows),
            Err(e) => {
                match e.code().map(|code| code.code().to_string()).as_deref() {
                    // A lost lease is the lot of a slow worker; a killed session that of a busy one.
                    Some("FF401" | "FF402" | "FF210" | "25P02") => {}
                    // In a transaction of several steps what it has suspended itself may be met again.
                    Some("FF405") if self.habits.steps > 1 => {}
                    // Somebody else's signal, or the timeout, was faster.
                    Some("FF406" | "FF407") if sql.contains("deliver_signal") => {}
                    // A grant lapses, is dropped, and somebody else takes what it reserved.
                    Some("FF203" | "FF204" | "FF205" | "FF206")
                        if sql.contains("claim_execution") => {}
                    // Transactions of several steps may meet on their executions in opposite orders; the server
                    // then undoes one of them, which may be tried again.
                    Some("40P01") if self.habits.steps > 1 => {}
                    Some("57P01" | "57P02" | "57P03") | None => self.client = None,
                    Some(_) => panic!("{sql}: {e:?}"),
                }
                None
            }
        }
    }

    fn operation(&mut self) -> Option<Entries> {
        if self.held.len() > 10 {
            self.held.drain(..5);
        }
        match self.random.random_range(0..100) {
            0..18 => self.create(),
            18..20 => self.create_many(),
            20..22 => self.create_child(),
            22..40 => self.claim(),
            40..44 => self.claim_by_grant(),
            44..52 => self.signal(),
            _ if self.held.is_empty() => self.claim(),
            choice => {
                let n = self.random.random_range(0..self.held.len());
                let (id, handle) = (self.held[n].id, self.held[n].handle.clone());
                let entries = match choice {
                    52..70 => self.complete(id, &handle),
                    70..75 => self.complete_and_claim(id, &handle),
                    75..81 => self.suspend(id, &handle),
                    81..86 => self.fail(id, &handle),
                    86..92 => self
                        .query("SELECT ff_renew($1)", &[&handle])
                        .map(|_| Vec::new()),
                    92..95 => self
                        .query("SELECT ff_progress($1, 50)", &[&handle])
                        .map(|_| Vec::new()),
                    95..98 => {
                        self.query(
                            "SELECT ff_delay($1, ff_server_time() + interval '20 ms')",
                            &[&handle],
                        )?;
                        Some(vec![Entry::Released(id)])
                    }
                    _ => {
                        let row = self
                            .query("SELECT * FROM ff_cancel($1, 'enough')", &[&handle])?
                            .remove(0);
                        Some(vec![Entry::Ended(id, "cancelled")])
                            .filter(|_| row.text("public_state") == "cancelled")
                    }
                };
                if entries.is_none() {
                    self.held.retain(|held| held.id != id);
                }
                entries
            }
        }
    }

    fn create(&mut self) -> Option<Entries> {
        let priority = self.random.random_range(0..3);
        let rows = self.query(
            r#"SELECT * FROM ff_create_execution('L', 'k', '\x01', priority => $1,
                policy => '{"retry_policy":{"max_retries":2,"backoff":{"type":"fixed","delay_ms":10}}}')"#,
            &[&priority],
        )?;
        Some(
            rows.iter()
                .map(|row| Entry::Created(row.uuid("execution_id")))
                .collect(),
        )
    }

    fn create_many(&mut self) -> Option<Entries> {
        let rows = self.query("SELECT * FROM ff_create_many('L', 'k', '{a,b,c,d}')", &[])?;
        Some(
            rows.iter()
                .map(|row| Entry::Created(row.uuid("execution_id")))
                .collect(),
        )
    }

    /// One that is released when an earlier one is completed, and skipped when that ends otherwise.
    fn create_child(&mut self) -> Option<Entries> {
        let recent = self.journal.created.iter().rev().take(20);
        let n = self.random.random_range(0..20);
        let Some(upstream) = recent.copied().nth(n) else {
            return self.create();
        };
        let rows = self.query(
            "WITH joined AS MATERIALIZED (SELECT outcome FROM ff_add_execution_to_flow($1, $2)),
                  child AS MATERIALIZED (
                      SELECT c.* FROM joined, ff_create_execution('L', 'k', '\\x01', flow_id => $1) AS c)
             SELECT c.execution_id FROM child AS c, ff_add_dependency($1, $2, c.execution_id)",
            &[&self.flow.clone(), &upstream],
        )?;
        Some(
            rows.iter()
                .map(|row| Entry::Created(row.uuid("execution_id")))
                .collect(),
        )
    }

    fn claim(&mut self) -> Option<Entries> {
        let ttl = if self.random.random_bool(0.2) {
            "50 ms"
        } else {
            "10 s"
        };
        let items = self.random.random_range(1..4);
        let sql = format!(
            "SELECT * FROM ff_claim('L', 'w{}', max_items => {items}, lease_ttl => '{ttl}')",
            self.number
        );
        Some(self.query(&sql, &[])?.iter().map(claimed).collect())
    }

    /// As if a scheduler had chosen the worker, which takes up most of what it is granted.
    fn claim_by_grant(&mut self) -> Option<Entries> {
        let ttl = if self.random.random_bool(0.3) {
            "1 ms"
        } else {
            "10 s"
        };
        let worker = format!("w{}", self.number);
        let sql = format!("SELECT * FROM ff_claim_for_worker('L', $1, grant_ttl => '{ttl}')");
        let granted = self.query(&sql, &[&worker])?.remove(0);
        let id = granted.maybe_uuid("execution_id");
        let Some(id) = id.filter(|_| self.random.random_bool(0.9)) else {
            return Some(Vec::new());
        };
        let take = "SELECT * FROM ff_claim_execution($1, $2, lease_ttl => '10 s')";
        Some(
            self.query(take, &[&id, &worker])?
                .iter()
                .map(claimed)
                .collect(),
        )
    }

    /// Waits for signals, or for the time to pass.
    fn suspend(&mut self, id: Uuid, handle: &str) -> Option<Entries> {
        let condition = [
            "ff_cond_signal('a', 'go')",
            "ff_cond_all_waitpoints('a', 'b')",
            "ff_cond_count(3, 'signals', '{a,b}')",
        ][self.random.random_range(0..3)];
        let timeout = ["30 ms", "1 s", "1 min"][self.random.random_range(0..3)];
        let sql = format!(
            "SELECT * FROM ff_suspend($1, {condition}, timeout => '{timeout}', timeout_behavior => 'auto_resume')"
        );
        let rows = self.query(&sql, &[&handle])?;
        let points = rows.iter().map(Point::of).collect();
        Some(vec![Entry::Suspended(id, points)])
    }

    fn signal(&mut self) -> Option<Entries> {
        let point = {
            let board = self.board.lock().expect("the board");
            let n = self.random.random_range(0..board.len().max(1));
            board.get(n).cloned()
        };
        let Some(point) = point else {
            return Some(Vec::new());
        };
        let sender = Uuid::new_v4().to_string();
        let rows = self.query(
            "SELECT * FROM ff_deliver_signal($1, $2, 'go', source_identity => $3)",
            &[&point.id, &point.token, &sender],
        )?;
        Some(vec![Entry::Signalled(sender, rows[0].uuid("signal_id"))])
    }

    fn complete(&mut self, id: Uuid, handle: &str) -> Option<Entries> {
        let result = format!("by {}", self.number).into_bytes();
        let row = self
            .query("SELECT * FROM ff_complete($1, $2)", &[&handle, &result])?
            .remove(0);
        // A replay answers for a completion whose acknowledgement was lost: it stands already.
        Some(if row.flag("replayed") {
            vec![Entry::Released(id)]
        } else {
            vec![Entry::Completed(id, result)]
        })
    }

    fn complete_and_claim(&mut self, id: Uuid, handle: &str) -> Option<Entries> {
        let result = format!("fused {}", self.number).into_bytes();
        let rows = self.query(
            "SELECT * FROM ff_complete_and_claim($1, $2, lease_ttl => '10 s')",
            &[&handle, &result],
        )?;
        let first = if rows[0].flag("replayed") {
            Entry::Released(id)
        } else {
            Entry::Completed(id, result)
        };
        let next = rows
            .iter()
            .filter(|row| row.maybe_uuid("execution_id").is_some())
            .map(claimed);
        Some(std::iter::once(first).chain(next).collect())
    }

    fn fail(&mut self, id: Uuid, handle: &str) -> Option<Entries> {
        let row = self
            .query("SELECT * FROM ff_fail($1, 'chance')", &[&handle])?
            .remove(0);
        let ended = row.text("outcome") == "terminal_failed";
        Some(vec![if ended {
            Entry::Ended(id, "failed")
        } else {
            Entry::Released(id)
        }])
    }
}

fn claimed(row: &Row) -> Entry {
    Entry::Claimed(
        row.uuid("execution_id"),
        row.big("lease_epoch"),
        row.text("handle"),
    )
}
