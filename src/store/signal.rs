//! `ff_engine.signal` and the keys of signals.

use pgrx::pg_sys::BuiltinOid::*;
use uuid::Uuid;

use super::statement::{Named, Write};
use super::suspension;
use crate::error::Result;
use crate::model::suspension::{ResumePolicy, Suspension};
use crate::model::time::Instant;
use crate::model::words::{Effect, WaitpointState};
use crate::pg::array;
use crate::pg::session;
use crate::pg::spi::{Arg, Db, Stmt};

const COLUMNS: [Named; 19] = [
    ("signal_id", UUIDOID),
    ("execution_id", UUIDOID),
    ("signal_seq", INT8OID),
    ("waitpoint_id", UUIDOID),
    ("suspension_id", UUIDOID),
    ("signal_name", TEXTOID),
    ("signal_category", TEXTOID),
    ("source_type", TEXTOID),
    ("source_identity", TEXTOID),
    ("correlation_id", TEXTOID),
    ("idempotency_key", TEXTOID),
    ("target_scope", TEXTOID),
    ("payload", BYTEAOID),
    ("payload_encoding", TEXTOID),
    ("occurred_at", TIMESTAMPTZOID),
    ("accepted_at", TIMESTAMPTZOID),
    ("effect", CHAROID),
    ("matched", BOOLOID),
    ("consumed_at", TIMESTAMPTZOID),
];

static INSERT: Write<19> = Write::insert(c"signal", COLUMNS);

/// Under a fixed snapshot a number may have been given to a signal that is not seen, and a chosen id may be taken at
/// the same moment: the conflict says so.
static INSERT_IF_FREE: Stmt<19> = Stmt::new(
    c"INSERT INTO ff_engine.signal (signal_id, execution_id, signal_seq, waitpoint_id, suspension_id, signal_name,
             signal_category, source_type, source_identity, correlation_id, idempotency_key, target_scope, payload,
             payload_encoding, occurred_at, accepted_at, effect, matched, consumed_at)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
      ON CONFLICT DO NOTHING",
    [
        UUIDOID, UUIDOID, INT8OID, UUIDOID, UUIDOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID,
        BYTEAOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, CHAROID, BOOLOID, TIMESTAMPTZOID,
    ],
);

/// Everything a delivery decides on, read at once under the execution's lock.
static TARGET: Stmt<2> = Stmt::new(
    sql!(
        "SELECT w.state, w.expires_at, w.close_reason, w.signal_count, w.matched_signal_count, \
                coalesce((SELECT g.signal_seq FROM ff_engine.signal AS g WHERE g.execution_id = $2 \
                           ORDER BY g.signal_seq DESC LIMIT 1), 0), \
                (SELECT (i.policy ->> 'max_signals_per_execution')::bigint FROM ff_engine.execution_input AS i \
                  WHERE i.execution_id = $2), \
                s.suspension_id IS NOT NULL, ",
        suspension::columns!(),
        " FROM ff_engine.waitpoint AS w \
          LEFT JOIN ff_engine.suspension AS s ON w.state = 'active' AND s.suspension_id = w.suspension_id \
         WHERE w.waitpoint_id = $1"
    ),
    [UUIDOID, UUIDOID],
);

static LAST_SEQ: Stmt<1> = Stmt::new(
    c"SELECT g.signal_seq FROM ff_engine.signal AS g WHERE g.execution_id = $1 ORDER BY g.signal_seq DESC LIMIT 1",
    [UUIDOID],
);

static BY_KEY: Stmt<3> = Stmt::new(
    c"SELECT g.signal_id, g.waitpoint_id, g.effect, g.accepted_at
        FROM ff_engine.signal_key AS k
        JOIN ff_engine.signal AS g ON g.signal_id = k.signal_id
       WHERE k.waitpoint_id = $1 AND k.idempotency_key = $2 AND k.expires_at > $3",
    [UUIDOID, TEXTOID, TIMESTAMPTZOID],
);

static BY_ID: Stmt<1> = Stmt::new(
    c"SELECT g.signal_id, g.waitpoint_id, g.effect, g.accepted_at FROM ff_engine.signal AS g WHERE g.signal_id = $1",
    [UUIDOID],
);

static TAKE_KEY: Stmt<4> = Stmt::new(
    c"INSERT INTO ff_engine.signal_key AS k (waitpoint_id, idempotency_key, signal_id, expires_at) VALUES ($1, $2, $3, $4)
      ON CONFLICT (waitpoint_id, idempotency_key)
      DO UPDATE SET signal_id = excluded.signal_id, expires_at = excluded.expires_at",
    [UUIDOID, TEXTOID, UUIDOID, TIMESTAMPTZOID],
);

static BUFFERED: Stmt<2> = Stmt::new(
    c"SELECT g.signal_id, g.waitpoint_id, g.signal_name, g.source_type, g.source_identity
        FROM ff_engine.signal AS g
       WHERE g.execution_id = $1 AND g.waitpoint_id = ANY ($2) AND g.consumed_at IS NULL
       ORDER BY g.signal_seq",
    [UUIDOID, UUIDARRAYOID],
);

static ASSIGN: Stmt<3> = Stmt::new(
    c"UPDATE ff_engine.signal AS g SET suspension_id = $2, matched = n.matched
        FROM unnest($1, $3) AS n (signal_id, matched) WHERE g.signal_id = n.signal_id",
    [UUIDARRAYOID, UUIDOID, BOOLARRAYOID],
);

static CONSUME: Stmt<5> = Stmt::new(
    c"UPDATE ff_engine.signal AS g SET consumed_at = $5
       WHERE g.execution_id = $1 AND g.suspension_id = $2 AND g.consumed_at IS NULL
         AND CASE WHEN g.matched THEN $3 ELSE $4 END",
    [UUIDOID, UUIDOID, BOOLOID, BOOLOID, TIMESTAMPTZOID],
);

static FORGET: Stmt<2> = Stmt::new(
    c"DELETE FROM ff_engine.signal_key AS k
       USING (SELECT d.waitpoint_id, d.idempotency_key FROM ff_engine.signal_key AS d
               WHERE d.expires_at <= $1 ORDER BY d.expires_at LIMIT $2 FOR UPDATE SKIP LOCKED) AS due
       WHERE k.waitpoint_id = due.waitpoint_id AND k.idempotency_key = due.idempotency_key",
    [TIMESTAMPTZOID, INT8OID],
);

/// A signal as its sender describes it.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// Name.
    pub name: &'a str,
    /// Category.
    pub category: &'a str,
    /// Source type.
    pub source_type: &'a str,
    /// Source identity.
    pub source_identity: &'a str,
    /// Correlation id.
    pub correlation_id: Option<&'a str>,
    /// Idempotency key.
    pub key: Option<&'a str>,
    /// Scope.
    pub scope: &'a str,
    /// Payload.
    pub payload: Option<&'a [u8]>,
    /// Its label.
    pub encoding: &'a str,
    /// The sender's own instant.
    pub occurred_at: Option<Instant>,
}

/// Where a signal stands.
#[derive(Clone, Copy, Debug)]
pub struct Recorded {
    /// Its id.
    pub id: Uuid,
    /// Execution.
    pub execution: Uuid,
    /// Number.
    pub seq: i64,
    /// Waitpoint.
    pub waitpoint: Uuid,
    /// Suspension.
    pub suspension: Option<Uuid>,
    /// Effect.
    pub effect: Effect,
    /// It counted.
    pub matched: bool,
    /// It never counts again.
    pub consumed: bool,
}

/// Records a signal; false if its chosen id or its number is taken.
pub fn insert(db: &Db, r: &Recorded, sent: &Sent, chosen: bool, now: Instant) -> bool {
    let row: [Arg; 19] = [
        r.id.into(),
        r.execution.into(),
        r.seq.into(),
        r.waitpoint.into(),
        r.suspension.into(),
        sent.name.into(),
        sent.category.into(),
        sent.source_type.into(),
        sent.source_identity.into(),
        sent.correlation_id.into(),
        sent.key.into(),
        sent.scope.into(),
        sent.payload.into(),
        sent.encoding.into(),
        sent.occurred_at.map(|at| at.0).into(),
        now.0.into(),
        (r.effect.letter() as i8).into(),
        r.matched.into(),
        r.consumed.then_some(now.0).into(),
    ];
    if !chosen && session::read_committed() {
        INSERT.run(db, &[row]);
        return true;
    }
    INSERT_IF_FREE.run(db, row).len() == 1
}

/// What a delivery finds at its waitpoint.
pub struct Target {
    /// State of the waitpoint.
    pub state: WaitpointState,
    /// When it stops taking signals.
    pub expires_at: Option<Instant>,
    /// Why it is closed.
    pub close_reason: Option<String>,
    /// Signals it has taken.
    pub signals: i32,
    /// Those that matched.
    pub matched: i32,
    /// Number of the execution's latest signal.
    pub last_seq: i64,
    /// Most signals of the execution, if its policy says.
    pub max_signals: Option<i64>,
    /// The suspension it belongs to.
    pub suspension: Option<Suspension>,
}

/// Reads it; the execution is locked.
///
/// # Errors
/// `corruption`.
pub fn target(db: &Db, waitpoint: Uuid, execution: Uuid) -> Result<Option<Target>> {
    let rows = TARGET.run(db, [waitpoint.into(), execution.into()]);
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let mut c = row.cursor();
    let state = c.next::<String>();
    Ok(Some(Target {
        state: WaitpointState::from_word(&state).unwrap_or(WaitpointState::Closed),
        expires_at: c.next::<Option<i64>>().map(Instant),
        close_reason: c.next(),
        signals: c.next(),
        matched: c.next(),
        last_seq: c.next(),
        max_signals: c.next(),
        suspension: if c.next() {
            Some(suspension::decode(&mut c)?)
        } else {
            None
        },
    }))
}

/// Number of an execution's latest signal.
pub fn last_seq(db: &Db, execution: Uuid) -> i64 {
    LAST_SEQ
        .run(db, [execution.into()])
        .first()
        .map_or(0, |r| r.get(1))
}

/// A signal accepted before.
pub struct Earlier {
    /// Its id.
    pub id: Uuid,
    /// Its waitpoint.
    pub waitpoint: Uuid,
    /// Its effect.
    pub effect: Effect,
    /// When.
    pub accepted_at: Instant,
}

fn earlier(rows: &crate::pg::spi::Rows) -> Option<Earlier> {
    rows.first().map(|r| Earlier {
        id: r.get(1),
        waitpoint: r.get(2),
        effect: Effect::from_letter(r.get::<i8>(3) as u8).unwrap_or(Effect::Appended),
        accepted_at: Instant(r.get(4)),
    })
}

/// The signal that a key stands for.
pub fn by_key(db: &Db, waitpoint: Uuid, key: &str, now: Instant) -> Option<Earlier> {
    earlier(&BY_KEY.run(db, [waitpoint.into(), key.into(), now.0.into()]))
}

/// The signal of an id.
pub fn by_id(db: &Db, id: Uuid) -> Option<Earlier> {
    earlier(&BY_ID.run(db, [id.into()]))
}

/// Remembers the key of a signal.
pub fn take_key(db: &Db, waitpoint: Uuid, key: &str, signal: Uuid, until: Instant) {
    TAKE_KEY.run(
        db,
        [waitpoint.into(), key.into(), signal.into(), until.0.into()],
    );
}

/// A signal waiting in the buffer of a waitpoint.
pub struct Buffered {
    /// Its id.
    pub id: Uuid,
    /// Its waitpoint.
    pub waitpoint: Uuid,
    /// Its name.
    pub name: String,
    /// Source type and identity.
    pub source: (String, String),
}

/// The buffers of waitpoints, in order of acceptance.
pub fn buffered(db: &Db, execution: Uuid, waitpoints: &[Uuid]) -> Vec<Buffered> {
    let ids = array::uuids(waitpoints.iter().copied());
    let rows = BUFFERED.run(db, [execution.into(), ids]);
    rows.iter()
        .map(|r| Buffered {
            id: r.get(1),
            waitpoint: r.get(2),
            name: r.get(3),
            source: (r.get(4), r.get(5)),
        })
        .collect()
}

/// Gives buffered signals to a suspension, with whether each has counted.
pub fn assign(db: &Db, signals: &[(Uuid, bool)], suspension: Uuid) {
    if !signals.is_empty() {
        let ids = array::uuids(signals.iter().map(|(id, _)| *id));
        let matched = array::array(BOOLOID, signals.iter().map(|(_, m)| Arg::from(*m)));
        ASSIGN.run(db, [ids, suspension.into(), matched]);
    }
}

/// Consumes the signals of a suspension as its policy says.
pub fn consume(db: &Db, execution: Uuid, suspension: Uuid, policy: &ResumePolicy, now: Instant) {
    let unmatched = !policy.close_waitpoints && !policy.retain_buffer;
    if policy.consume_matched || unmatched {
        let args = [
            execution.into(),
            suspension.into(),
            policy.consume_matched.into(),
            unmatched.into(),
            now.0.into(),
        ];
        CONSUME.run(db, args);
    }
}

/// Forgets keys of signals past their lifetime.
pub fn forget_keys(db: &Db, now: Instant, limit: i64) -> usize {
    FORGET.run(db, [now.0.into(), limit.into()]).len()
}
