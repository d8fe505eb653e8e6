//! A session that does one random thing after the other, alone or in transactions that commit, roll back or die, and
//! records every call.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use postgres::types::ToSql;
use postgres::{Client, Row};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

use super::call::{Asked, Call, Effect, Fate, Lease, Reply};
use crate::support::Cells;
use crate::support::world::Door;

/// What the sessions of a history share.
pub struct Stage {
    pub door: Door,
    /// Who depends on another becomes a member of this flow with it.
    flow: Uuid,
    pub started: Instant,
    pub stop: AtomicBool,
    numbers: AtomicU32,
    /// What has happened so far.
    pub seen: Mutex<Seen>,
    /// Leases and executions that anybody may meddle with, the latest ones.
    leases: Mutex<Vec<Lease>>,
    executions: Mutex<Vec<Uuid>>,
}

/// How often what has happened that makes a history worth checking.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Seen {
    pub calls: usize,
    pub created: usize,
    pub done: usize,
    pub undone: usize,
    pub silent: usize,
    pub refused: usize,
}

impl Seen {
    /// Enough of everything.
    pub fn is_rich(&self) -> bool {
        self.calls >= 300
            && self.created >= 100
            && self.done >= 300
            && self.undone >= 20
            && self.silent >= 3
            && self.refused >= 20
    }

    fn note(&mut self, call: &Call) {
        self.calls += 1;
        match (&call.reply, call.fate) {
            (Reply::Silence, _) => self.silent += 1,
            (Reply::Refused(_), _) => self.refused += 1,
            (Reply::Said(said), Fate::Undone) => self.undone += usize::from(!said.is_empty()),
            (Reply::Said(said), Fate::Committed) => {
                let creates = |effect: &&Effect| matches!(effect, Effect::Created(_));
                let created = said.iter().filter(creates).count();
                self.created += created;
                self.done += said.len() - created;
            }
            (Reply::Said(_), Fate::Unknown) => {}
        }
    }
}

/// So many of each kind stay in sight.
const IN_SIGHT: usize = 24;

impl Stage {
    pub fn new(door: Door) -> Arc<Self> {
        Arc::new(Self {
            flow: door.open().flow(),
            door,
            started: Instant::now(),
            stop: AtomicBool::new(false),
            numbers: AtomicU32::new(1),
            seen: Mutex::default(),
            leases: Mutex::default(),
            executions: Mutex::default(),
        })
    }
}

fn put<T>(sight: &Mutex<Vec<T>>, item: T) {
    let mut sight = sight.lock().expect("in sight");
    sight.push(item);
    if sight.len() > IN_SIGHT {
        sight.remove(0);
    }
}

pub struct Actor {
    stage: Arc<Stage>,
    random: StdRng,
    client: Option<Client>,
    calls: Vec<Call>,
}

/// The name its sessions go by.
pub const APPLICATION: &str = "history";

impl Actor {
    pub fn new(stage: Arc<Stage>, seed: u64) -> Self {
        Self {
            stage,
            random: StdRng::seed_from_u64(seed),
            client: None,
            calls: Vec::new(),
        }
    }

    pub fn play(mut self) -> Vec<Call> {
        while !self.stage.stop.load(Ordering::Relaxed) {
            match self.client {
                Some(_) => self.transaction(),
                None => match self.stage.door.try_open_as(APPLICATION) {
                    Ok(client) => self.client = Some(client),
                    Err(_) => std::thread::sleep(Duration::from_millis(20)),
                },
            }
        }
        self.calls
    }

    fn now(&self) -> Duration {
        self.stage.started.elapsed()
    }

    /// One call, or several in one transaction.
    fn transaction(&mut self) {
        let from = self.calls.len();
        let transaction = self.stage.numbers.fetch_add(1, Ordering::Relaxed);
        if self.random.random_bool(0.7) {
            let fate = self.call(transaction);
            self.decide(from, fate);
            return;
        }
        let begin = if self.random.random_bool(0.1) {
            "BEGIN ISOLATION LEVEL REPEATABLE READ"
        } else {
            "BEGIN"
        };
        if !self.control(begin) {
            return;
        }
        for _ in 0..self.random.random_range(1..4) {
            if !self.step(transaction) {
                self.control("ROLLBACK");
                return self.decide(from, Fate::Undone);
            }
        }
        let fate = match self.random.random_range(0..10) {
            0 => {
                // Gone without a word.
                self.client = None;
                Fate::Undone
            }
            1 | 2 => {
                self.control("ROLLBACK");
                Fate::Undone
            }
            _ if self.control("COMMIT") => Fate::Committed,
            _ => Fate::Unknown,
        };
        self.decide(from, fate);
    }

    /// A call inside a transaction, at times undone by itself; false if it has spoilt the transaction.
    fn step(&mut self, transaction: u32) -> bool {
        if !self.random.random_bool(0.2) {
            return self.call(transaction) == Fate::Committed;
        }
        let from = self.calls.len();
        if !self.control("SAVEPOINT s") || self.call(transaction) == Fate::Unknown {
            return false;
        }
        self.settle(from, Fate::Undone);
        self.control("ROLLBACK TO SAVEPOINT s")
    }

    /// The fate of the calls from `from` on that have none of their own yet.
    fn decide(&mut self, from: usize, fate: Fate) {
        self.settle(from, fate);
        for n in from..self.calls.len() {
            self.stage.seen.lock().expect("seen").note(&self.calls[n]);
            if self.calls[n].fate == Fate::Undone {
                continue;
            }
            for effect in self.calls[n].said() {
                match effect {
                    Effect::Granted(lease) => put(&self.stage.leases, lease.clone()),
                    Effect::Created(id) => put(&self.stage.executions, *id),
                    _ => {}
                }
            }
        }
    }

    fn settle(&mut self, from: usize, fate: Fate) {
        let now = self.now();
        for call in &mut self.calls[from..] {
            if call.ended.is_none() {
                call.fate = fate;
                call.ended = (fate != Fate::Unknown).then_some(now);
            }
        }
    }

    fn control(&mut self, statement: &str) -> bool {
        let done = self
            .client
            .as_mut()
            .is_some_and(|client| client.batch_execute(statement).is_ok());
        if !done {
            self.client = None;
        }
        done
    }

    /// Makes one call and records it. The fate is that of a statement that is a transaction of its own.
    fn call(&mut self, transaction: u32) -> Fate {
        let number = self.stage.numbers.fetch_add(1, Ordering::Relaxed);
        let asked = self.ask();
        let began = self.now();
        let reply = self.perform(number, &asked);
        let fate = match &reply {
            Reply::Said(_) => Fate::Committed,
            Reply::Refused(_) => Fate::Undone,
            Reply::Silence => Fate::Unknown,
        };
        self.calls.push(Call {
            number,
            transaction,
            asked,
            reply,
            fate,
            began,
            ended: None,
            answered_at: chrono::Utc::now().timestamp_micros(),
        });
        fate
    }

    /// Something to do; about a lease or an execution, if any is in sight.
    fn ask(&mut self) -> Asked {
        let roll = self.random.random_range(0..100);
        let lease = self.pick(|stage| &stage.leases);
        let execution = self.pick(|stage| &stage.executions);
        let result = format!("r{}", self.random.random::<u32>()).into_bytes();
        match (roll, lease, execution) {
            (0..14, ..) => Asked::Create {
                items: [1, 1, 3][self.random.random_range(0..3)],
                key: None,
            },
            (14..18, ..) => Asked::Create {
                items: 1,
                key: Some(format!("k{}", self.random.random_range(0..200))),
            },
            (18..20, ..) => Asked::Tick,
            (20..48, Some(lease), _) => match roll {
                20..26 => Asked::Renew(lease),
                26..30 => Asked::Progress(lease),
                30..37 => Asked::Complete(lease, result),
                37..40 => Asked::CompleteAndClaim(lease, result),
                40..44 => Asked::Fail(lease),
                44..46 => Asked::Delay(lease),
                _ => Asked::Drop(lease),
            },
            (48..66, _, Some(id)) => match roll {
                48..51 => Asked::Cancel(id),
                51..54 => Asked::Revoke(id),
                54..57 => Asked::Prioritise(id),
                57..59 => Asked::Replay(id),
                59 => Asked::Tag(id),
                60 => Asked::Child(id),
                61..63 => Asked::Hold(id),
                _ => Asked::LetGo(id),
            },
            _ => Asked::Claim {
                items: self.random.random_range(1..4),
            },
        }
    }

    fn pick<T: Clone>(&mut self, sight: impl Fn(&Stage) -> &Mutex<Vec<T>>) -> Option<T> {
        let items = sight(&self.stage).lock().expect("in sight");
        let n = self.random.random_range(0..items.len().max(1));
        items.get(n).cloned()
    }

    fn perform(&mut self, number: u32, asked: &Asked) -> Reply {
        let tags = serde_json::json!({ "h.call": number.to_string() });
        let text = number.to_string();
        match asked {
            Asked::Create { items: 1, key } => {
                let mut tags = tags;
                if let Some(key) = key {
                    tags["h.key"] = key.clone().into();
                }
                let policy = POLICIES[self.random.random_range(0..POLICIES.len())];
                let policy: serde_json::Value = serde_json::from_str(policy).expect("a policy");
                let priority = self.random.random_range(0..3);
                self.query(
                    "SELECT * FROM ff_create_execution('L', 'k', '\\x01', tags => $1, policy => $2, priority => $3,
                                                       idempotency_key => $4)",
                    &[&tags, &policy, &priority, key],
                    created,
                )
            }
            Asked::Create { items, .. } => self.query(
                "SELECT * FROM ff_create_many('L', 'k', array_fill('x'::bytea, ARRAY[$2::int]), tags => $1)",
                &[&tags, &(*items as i32)],
                created,
            ),
            Asked::Child(upstream) => self.query(
                DEPENDENT,
                &[&self.stage.clone().flow, upstream, &tags],
                created,
            ),
            Asked::Claim { items } => {
                let ttl = ["25 ms", "150 ms", "5 s"][self.random.random_range(0..3)];
                let sql = format!(
                    "SELECT *, {EXPIRY} FROM ff_claim('L', 'h', worker_instance => $1, max_items => $2, lease_ttl => '{ttl}')"
                );
                let instance = Call::instance(number);
                self.query(&sql, &[&instance, &(*items as i32)], granted)
            }
            Asked::Renew(l) => {
                let sql = format!("SELECT *, {EXPIRY} FROM ff_renew($1)");
                self.query(&sql, &[&l.handle], |rows| {
                    let renewed = |row: &Row| Effect::Renewed {
                        lease: l.id,
                        expires_at: row.big("ends"),
                    };
                    rows.iter().map(renewed).collect()
                })
            }
            Asked::Progress(l) => {
                self.query("SELECT ff_progress($1, 50)", &[&l.handle], |_| Vec::new())
            }
            Asked::Complete(l, result) => self.query(
                "SELECT * FROM ff_complete($1, $2)",
                &[&l.handle, result],
                |rows| done(rows, asked),
            ),
            Asked::CompleteAndClaim(l, result) => {
                let sql = format!(
                    "SELECT *, {EXPIRY} FROM ff_complete_and_claim($1, $2, worker_instance => $3, lease_ttl => '150 ms')"
                );
                let instance = Call::instance(number);
                self.query(&sql, &[&l.handle, result, &instance], |rows| {
                    let next = rows.iter().filter(|r| r.maybe_uuid("execution_id").is_some());
                    let next = next.map(|row| Effect::Granted(lease(row)));
                    done(&rows[..1], asked).into_iter().chain(next).collect()
                })
            }
            Asked::Fail(l) => self.query(
                "SELECT * FROM ff_fail($1, 'chance')",
                &[&l.handle],
                |rows| done(rows, asked),
            ),
            Asked::Delay(l) => {
                let until = [0, 30][self.random.random_range(0..2)];
                let sql = format!(
                    "SELECT * FROM ff_delay($1, ff_server_time() + interval '{until} ms')"
                );
                self.query(&sql, &[&l.handle], |rows| done(rows, asked))
            }
            Asked::Drop(l) => self.query(
                "SELECT * FROM ff_cancel($1, 'enough')",
                &[&l.handle],
                |rows| done(rows, asked),
            ),
            Asked::Cancel(id) => self.query(
                "SELECT * FROM ff_cancel_execution($1, 'enough')",
                &[id],
                |rows| done(rows, asked),
            ),
            Asked::Revoke(id) => self.query("SELECT * FROM ff_revoke_lease($1)", &[id], |rows| {
                outcome(rows, asked, "revoked")
            }),
            Asked::Prioritise(id) => {
                let priority = self.random.random_range(0..5);
                self.query(
                    "SELECT * FROM ff_change_priority($1, $2)",
                    &[id, &priority],
                    |rows| outcome(rows, asked, "changed"),
                )
            }
            Asked::Replay(id) => {
                self.query("SELECT * FROM ff_replay_execution($1)", &[id], |rows| {
                    outcome(rows, asked, "replayed")
                })
            }
            Asked::Tag(id) => self.query(
                "SELECT ff_set_execution_tag($1, 'h.last', $2)",
                &[id, &text],
                |_| asked.mark().map(Effect::Did).into_iter().collect(),
            ),
            Asked::Hold(id) => self.query(
                "SELECT * FROM ff_block_execution($1, 'paused_by_operator')",
                &[id],
                |_| Vec::new(),
            ),
            Asked::LetGo(id) => {
                self.query("SELECT * FROM ff_unblock_execution($1)", &[id], |_| Vec::new())
            }
            Asked::Tick => self.query("SELECT * FROM ff_tick()", &[], |_| Vec::new()),
        }
    }

    fn query(
        &mut self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
        read: impl FnOnce(&[Row]) -> Vec<Effect>,
    ) -> Reply {
        let Some(client) = &mut self.client else {
            return Reply::Silence;
        };
        match client.query(sql, parameters) {
            Ok(rows) => Reply::Said(read(&rows)),
            Err(e) => match e.code().map(|code| code.code().to_owned()) {
                Some(code) if !code.starts_with("57P") => Reply::Refused(code),
                _ => {
                    self.client = None;
                    Reply::Silence
                }
            },
        }
    }
}

const EXPIRY: &str = "(extract(epoch FROM lease_expires_at) * 1000000)::bigint AS ends";

const DEPENDENT: &str = "WITH joined AS MATERIALIZED (SELECT outcome FROM ff_add_execution_to_flow($1, $2)),
         child AS MATERIALIZED (
             SELECT c.* FROM joined, ff_create_execution('L', 'k', '\\x01', tags => $3, flow_id => $1) AS c)
    SELECT c.outcome, c.execution_id FROM child AS c, ff_add_dependency($1, $2, c.execution_id)";

const POLICIES: [&str; 4] = [
    "{}",
    r#"{"retry_policy":{"max_retries":2,"backoff":{"type":"fixed","delay_ms":5}}}"#,
    r#"{"max_reclaim_count":1,"retry_policy":{"max_retries":1,"backoff":{"type":"fixed","delay_ms":0}}}"#,
    r#"{"timeout_policy":{"attempt_timeout_ms":80,"execution_deadline_ms":4000},"retry_policy":{"max_retries":1}}"#,
];

fn created(rows: &[Row]) -> Vec<Effect> {
    let effect = |row: &Row| match row.text("outcome").as_str() {
        "created" => Effect::Created(row.uuid("execution_id")),
        _ => Effect::Found(row.uuid("execution_id")),
    };
    rows.iter().map(effect).collect()
}

fn granted(rows: &[Row]) -> Vec<Effect> {
    rows.iter().map(|row| Effect::Granted(lease(row))).collect()
}

fn lease(row: &Row) -> Lease {
    Lease {
        execution: row.uuid("execution_id"),
        id: row.uuid("lease_id"),
        epoch: row.big("lease_epoch"),
        attempt: row.uuid("attempt_id"),
        index: row.int("attempt_index"),
        handle: row.text("handle"),
        expires_at: row.big("ends"),
    }
}

/// The effect of an operation that says whether it only repeats its first answer.
fn done(rows: &[Row], asked: &Asked) -> Vec<Effect> {
    let effect = |(row, mark)| match Row::flag(row, "replayed") {
        true => Effect::Again(mark),
        false => Effect::Did(mark),
    };
    rows.iter().zip(asked.mark()).map(effect).collect()
}

/// The effect of an operation with an outcome that stands for a change.
fn outcome(rows: &[Row], asked: &Asked, changed: &str) -> Vec<Effect> {
    let changed = rows.iter().filter(|row| row.text("outcome") == changed);
    changed
        .zip(asked.mark())
        .map(|(_, mark)| Effect::Did(mark))
        .collect()
}
