//! `ff_engine.suspension`, the keys of suspends and the sources that conditions have counted.

use pgrx::pg_sys::BuiltinOid::*;
use serde_json::Value;
use uuid::Uuid;

use super::statement::{Named, Updates, Write};
use crate::error::{Error, Kind, Result};
use crate::model::condition::{Condition, Progress};
use crate::model::policy::TimeoutBehavior;
use crate::model::suspension::{ResumePolicy, Suspension, close};
use crate::model::time::Instant;
use crate::model::transition::Ending;
use crate::model::words::ResumeTrigger;
use crate::pg::array;
use crate::pg::jsonb::Jsonb;
use crate::pg::spi::{Arg, Cursor, Db, Stmt};

static INSERT: Write<21> = Write::insert(
    c"suspension",
    [
        ("suspension_id", UUIDOID),
        ("execution_id", UUIDOID),
        ("attempt_index", INT4OID),
        ("reason", TEXTOID),
        ("requested_by", TEXTOID),
        ("condition", JSONBOID),
        ("progress", JSONBOID),
        ("resume_policy", JSONBOID),
        ("timeout_at", TIMESTAMPTZOID),
        ("timeout_behavior", TEXTOID),
        ("continuation", TEXTOID),
        ("idempotency_key", TEXTOID),
        ("released_lease_id", UUIDOID),
        ("released_lease_epoch", INT8OID),
        ("waitpoint_ids", UUIDARRAYOID),
        ("suspended_at", TIMESTAMPTZOID),
        ("satisfied_at", TIMESTAMPTZOID),
        ("closer_signal_id", UUIDOID),
        ("closed_at", TIMESTAMPTZOID),
        ("close_reason", TEXTOID),
        ("resume_trigger", TEXTOID),
    ],
);

/// A chosen id may be taken at the same moment, for another execution.
static INSERT_IF_FREE: Stmt<21> = Stmt::new(
    c"INSERT INTO ff_engine.suspension (suspension_id, execution_id, attempt_index, reason, requested_by, condition, progress,
             resume_policy, timeout_at, timeout_behavior, continuation, idempotency_key, released_lease_id,
             released_lease_epoch, waitpoint_ids, suspended_at, satisfied_at, closer_signal_id, closed_at, close_reason,
             resume_trigger)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)
      ON CONFLICT DO NOTHING",
    [
        UUIDOID, UUIDOID, INT4OID, TEXTOID, TEXTOID, JSONBOID, JSONBOID, JSONBOID, TIMESTAMPTZOID, TEXTOID, TEXTOID,
        TEXTOID, UUIDOID, INT8OID, UUIDARRAYOID, TIMESTAMPTZOID, TIMESTAMPTZOID, UUIDOID, TIMESTAMPTZOID, TEXTOID, TEXTOID,
    ],
);

const ENDING: &[Named] = &[
    ("suspension_id", UUIDOID),
    ("closed_at", TIMESTAMPTZOID),
    ("close_reason", TEXTOID),
    ("resume_trigger", TEXTOID),
    ("satisfied_at", TIMESTAMPTZOID),
    ("closer_signal_id", UUIDOID),
    ("progress", JSONBOID),
];

static END: Updates = Updates::new(c"suspension", ENDING);

static ADVANCE: Stmt<2> = Stmt::new(
    c"UPDATE ff_engine.suspension AS s SET progress = $2 WHERE s.suspension_id = $1",
    [UUIDOID, JSONBOID],
);

static ESCALATE: Stmt<2> = Stmt::new(
    c"WITH waitpoints AS (
        UPDATE ff_engine.waitpoint AS w SET expires_at = NULL
          FROM unnest($1) AS n (suspension_id)
          JOIN ff_engine.suspension AS s ON s.suspension_id = n.suspension_id
         WHERE w.waitpoint_id = ANY (s.waitpoint_ids) AND w.state = 'active')
      UPDATE ff_engine.suspension AS s
         SET reason = 'waiting_for_operator_review', timeout_at = NULL, escalated_at = $2
       WHERE s.suspension_id = ANY ($1)",
    [UUIDARRAYOID, TIMESTAMPTZOID],
);

/// The columns of [`decode`], of a suspension `s`.
macro_rules! columns {
    () => {
        "s.suspension_id, s.reason, s.condition, s.progress, s.resume_policy, s.timeout_behavior, s.waitpoint_ids"
    };
}
pub(super) use columns;

static LOAD: Stmt<1> = Stmt::new(
    sql!(
        "SELECT ",
        columns!(),
        " FROM ff_engine.suspension AS s WHERE s.suspension_id = ANY ($1)"
    ),
    [UUIDARRAYOID],
);

static REMEMBER: Stmt<5> = Stmt::new(
    c"INSERT INTO ff_engine.suspension_key AS k (execution_id, attempt_index, idempotency_key, suspension_id, expires_at)
      VALUES ($1, $2, $3, $4, $5)
      ON CONFLICT (execution_id, attempt_index, idempotency_key)
      DO UPDATE SET suspension_id = excluded.suspension_id, expires_at = excluded.expires_at",
    [UUIDOID, INT4OID, TEXTOID, UUIDOID, TIMESTAMPTZOID],
);

static RECALL: Stmt<4> = Stmt::new(
    c"SELECT s.suspension_id, s.released_lease_id, s.released_lease_epoch, s.closed_at IS NOT NULL, s.close_reason,
             s.resume_trigger IS NOT NULL, s.waitpoint_ids
        FROM ff_engine.suspension_key AS k
        JOIN ff_engine.suspension AS s ON s.suspension_id = k.suspension_id
       WHERE k.execution_id = $1 AND k.attempt_index = $2 AND k.idempotency_key = $3 AND k.expires_at > $4",
    [UUIDOID, INT4OID, TEXTOID, TIMESTAMPTZOID],
);

static KNOWN_SOURCES: Stmt<3> = Stmt::new(
    c"SELECT f.node FROM ff_engine.satisfier AS f
       WHERE f.suspension_id = $1 AND f.source_type = $2 AND f.source_identity = $3",
    [UUIDOID, TEXTOID, TEXTOID],
);

static ADD_SOURCES: Write<4> = Write::insert(
    c"satisfier",
    [
        ("suspension_id", UUIDOID),
        ("node", INT4OID),
        ("source_type", TEXTOID),
        ("source_identity", TEXTOID),
    ],
);

static FORGET: Stmt<2> = Stmt::new(
    c"DELETE FROM ff_engine.suspension_key AS k
       USING (SELECT d.execution_id, d.attempt_index, d.idempotency_key FROM ff_engine.suspension_key AS d
               WHERE d.expires_at <= $1 ORDER BY d.expires_at LIMIT $2 FOR UPDATE SKIP LOCKED) AS due
       WHERE k.execution_id = due.execution_id AND k.attempt_index = due.attempt_index
         AND k.idempotency_key = due.idempotency_key",
    [TIMESTAMPTZOID, INT8OID],
);

/// A suspension about to be stored.
pub struct New<'a> {
    /// What operations know of it.
    pub suspension: &'a Suspension,
    /// Its execution.
    pub execution: Uuid,
    /// Its attempt.
    pub attempt_index: i32,
    /// Who asked for it.
    pub requested_by: &'a str,
    /// When it times out.
    pub timeout_at: Option<Instant>,
    /// Text for the worker that goes on.
    pub continuation: Option<&'a str>,
    /// Key of the call.
    pub key: Option<&'a str>,
    /// The lease it releases, or would have released.
    pub lease: (Uuid, i64),
    /// The buffered signal that has satisfied it already.
    pub closer: Option<Uuid>,
}

/// Stores a suspension, closed if a buffered signal has satisfied it; false if its chosen id is taken.
pub fn insert(db: &Db, new: &New, chosen: bool, now: Instant) -> bool {
    let s = new.suspension;
    let satisfied = new.closer.map(|_| now.0);
    let row: [Arg; 21] = [
        s.id.into(),
        new.execution.into(),
        new.attempt_index.into(),
        s.reason.as_str().into(),
        new.requested_by.into(),
        json(&s.condition.json()),
        json(&s.progress.json()),
        json(&s.policy.json()),
        new.timeout_at.map(|at| at.0).into(),
        s.behavior.word().into(),
        new.continuation.into(),
        new.key.into(),
        new.lease.0.into(),
        new.lease.1.into(),
        array::uuids(s.waitpoints.iter().copied()),
        now.0.into(),
        satisfied.into(),
        new.closer.into(),
        satisfied.into(),
        satisfied.map(|_| close::ALREADY_SATISFIED).into(),
        satisfied.map(|_| ResumeTrigger::Buffered.word()).into(),
    ];
    if chosen {
        return INSERT_IF_FREE.run(db, row).len() == 1;
    }
    INSERT.run(db, &[row]);
    true
}

fn json(value: &Value) -> Arg {
    (&Jsonb::from_json(value)).into()
}

/// Closes suspensions.
pub fn end(db: &Db, endings: &[&Ending], now: Instant) {
    let (closed, others): (Vec<&Ending>, Vec<&Ending>) =
        endings.iter().partition(|e| e.closer.is_some());
    let plain = |e: &&Ending| -> Vec<Arg> {
        vec![
            e.suspension.into(),
            now.0.into(),
            e.reason.into(),
            e.trigger.map(|t| t.word()).into(),
        ]
    };
    END.run(db, 0b1111, &others.iter().map(plain).collect::<Vec<_>>());
    let by_signal = |e: &&Ending| -> Vec<Arg> {
        let mut row = plain(e);
        row.push(now.0.into());
        row.push(e.closer.as_ref().map(|c| c.signal).into());
        row.push(
            e.closer
                .as_ref()
                .map_or(Arg::NULL, |c| json(&c.progress.json())),
        );
        row
    };
    END.run(
        db,
        0b111_1111,
        &closed.iter().map(by_signal).collect::<Vec<_>>(),
    );
}

/// Stores what signals have brought about.
pub fn advance(db: &Db, id: Uuid, progress: &Progress) {
    ADVANCE.run(db, [id.into(), json(&progress.json())]);
}

/// Leaves suspensions and their waitpoints without a timeout, for an operator.
pub fn escalate(db: &Db, ids: &[Uuid], now: Instant) {
    ESCALATE.run(db, [array::uuids(ids.iter().copied()), now.0.into()]);
}

/// Suspensions by id.
///
/// # Errors
/// `corruption` for a damaged condition or policy.
pub fn load(db: &Db, ids: &[Uuid]) -> Result<Vec<Suspension>> {
    let rows = LOAD.run(db, [array::uuids(ids.iter().copied())]);
    rows.iter().map(|row| decode(&mut row.cursor())).collect()
}

/// Reads the columns of [`columns`].
///
/// # Errors
/// `corruption`.
pub fn decode(row: &mut Cursor) -> Result<Suspension> {
    let damaged = |what: &str| {
        Error::new(Kind::Corruption).say(format!(
            "the stored {what} of a suspension cannot be interpreted"
        ))
    };
    let id = row.next();
    let reason = row.next();
    let condition = Condition::from_stored(&row.next::<Jsonb>().parse())?;
    let progress = Progress::from_stored(&row.next::<Jsonb>().parse())?;
    let policy =
        ResumePolicy::parse(&row.next::<Jsonb>().parse()).map_err(|_| damaged("policy"))?;
    let behavior =
        TimeoutBehavior::from_word(&row.next::<String>()).ok_or_else(|| damaged("timeout"))?;
    Ok(Suspension {
        id,
        reason,
        condition,
        progress,
        policy,
        behavior,
        waitpoints: row.next(),
    })
}

/// A suspension that a repeated call asked for.
pub struct Recalled {
    /// Its id.
    pub id: Uuid,
    /// The lease it released.
    pub lease: (Uuid, i64),
    /// It is over.
    pub closed: bool,
    /// Why.
    pub close_reason: Option<String>,
    /// The work went on.
    pub resumed: bool,
    /// Its waitpoints.
    pub waitpoints: Vec<Uuid>,
}

/// Remembers the key of a suspend.
pub fn remember(db: &Db, execution: Uuid, attempt: i32, key: &str, id: Uuid, until: Instant) {
    let args = [
        execution.into(),
        attempt.into(),
        key.into(),
        id.into(),
        until.0.into(),
    ];
    REMEMBER.run(db, args);
}

/// The suspension that a key stands for.
pub fn recall(db: &Db, execution: Uuid, attempt: i32, key: &str, now: Instant) -> Option<Recalled> {
    let args = [execution.into(), attempt.into(), key.into(), now.0.into()];
    let rows = RECALL.run(db, args);
    rows.first().map(|r| Recalled {
        id: r.get(1),
        lease: (r.get(2), r.get(3)),
        closed: r.get(4),
        close_reason: r.get(5),
        resumed: r.get(6),
        waitpoints: r.get(7),
    })
}

/// The nodes of a suspension's condition that have counted a source.
pub fn known_sources(db: &Db, id: Uuid, kind: &str, identity: &str) -> Vec<usize> {
    let rows = KNOWN_SOURCES.run(db, [id.into(), kind.into(), identity.into()]);
    rows.iter().map(|r| r.get::<i32>(1) as usize).collect()
}

/// Notes that nodes have counted a source.
pub fn add_sources(db: &Db, id: Uuid, nodes: &[usize], kind: &str, identity: &str) {
    let row = |node: &usize| {
        [
            id.into(),
            (*node as i32).into(),
            kind.into(),
            identity.into(),
        ]
    };
    ADD_SOURCES.run(db, &nodes.iter().map(row).collect::<Vec<_>>());
}

/// Forgets keys of suspends past their lifetime.
pub fn forget_keys(db: &Db, now: Instant, limit: i64) -> usize {
    FORGET.run(db, [now.0.into(), limit.into()]).len()
}
