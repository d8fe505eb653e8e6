//! `ff_engine.waitpoint`.

use pgrx::pg_sys::BuiltinOid::*;
use uuid::Uuid;

use super::statement::{InsertsIfFree, Named, Updates, Write};
use crate::model::time::Instant;
use crate::model::token::Subject;
use crate::model::words::WaitpointState;
use crate::pg::array;
use crate::pg::jsonb::Jsonb;
use crate::pg::spi::{Arg, Db, Row, Stmt};

const COLUMNS: [Named; 14] = [
    ("waitpoint_id", UUIDOID),
    ("waitpoint_key", TEXTOID),
    ("execution_id", UUIDOID),
    ("attempt_index", INT4OID),
    ("suspension_id", UUIDOID),
    ("state", TEXTOID),
    ("required_signal_names", JSONBOID),
    ("token_kid", TEXTOID),
    ("token_fingerprint", TEXTOID),
    ("created_at", TIMESTAMPTZOID),
    ("activated_at", TIMESTAMPTZOID),
    ("expires_at", TIMESTAMPTZOID),
    ("signal_count", INT4OID),
    ("matched_signal_count", INT4OID),
];

static INSERT: Write<14> = Write::insert(c"waitpoint", COLUMNS);

/// Chosen ids may be taken at the same moment, for another execution.
static INSERT_IF_FREE: InsertsIfFree = InsertsIfFree::new(c"waitpoint", &COLUMNS);

static LOAD: Stmt<1> = Stmt::new(
    c"SELECT w.waitpoint_id, w.waitpoint_key, w.execution_id, w.attempt_index, w.suspension_id, w.state, w.token_kid,
             w.token_fingerprint, w.created_at, w.expires_at
        FROM ff_engine.waitpoint AS w WHERE w.waitpoint_id = ANY ($1) ORDER BY w.waitpoint_id",
    [UUIDARRAYOID],
);

static COUNT_OPEN: Stmt<1> = Stmt::new(
    c"SELECT count(*) FROM ff_engine.waitpoint AS w WHERE w.execution_id = $1 AND w.closed_at IS NULL",
    [UUIDOID],
);

static ACTIVATE: Stmt<5> = Stmt::new(
    c"UPDATE ff_engine.waitpoint AS w
         SET state = 'active', suspension_id = $2, activated_at = $3, expires_at = $4, required_signal_names = n.names
        FROM unnest($1, $5) AS n (waitpoint_id, names)
       WHERE w.waitpoint_id = n.waitpoint_id",
    [UUIDARRAYOID, UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID, JSONBARRAYOID],
);

/// Counts a signal where it does not end the suspension.
static COUNT_SIGNAL: Stmt<3> = Stmt::new(
    c"UPDATE ff_engine.waitpoint AS w
         SET signal_count = w.signal_count + 1, matched_signal_count = w.matched_signal_count + $2::int, last_signal_at = $3
       WHERE w.waitpoint_id = $1",
    [UUIDOID, BOOLOID, TIMESTAMPTZOID],
);

/// Matches that were counted when buffered signals were evaluated.
static COUNT_MATCHED: Stmt<2> = Stmt::new(
    c"UPDATE ff_engine.waitpoint AS w SET matched_signal_count = w.matched_signal_count + n.matched
        FROM unnest($1, $2) AS n (waitpoint_id, matched) WHERE w.waitpoint_id = n.waitpoint_id",
    [UUIDARRAYOID, INT4ARRAYOID],
);

/// Ends the waitpoints of suspensions, and counts on one of them the signal that did it.
static CLOSE_ACTIVE: Stmt<4> = Stmt::new(
    c"UPDATE ff_engine.waitpoint AS w
         SET state = 'closed', closed_at = $4, close_reason = n.reason,
             satisfied_at = CASE WHEN n.closer IS NOT NULL THEN $4 ELSE w.satisfied_at END,
             signal_count = w.signal_count + coalesce((w.waitpoint_id = n.closer)::int, 0),
             matched_signal_count = w.matched_signal_count + coalesce((w.waitpoint_id = n.closer)::int, 0),
             last_signal_at = CASE WHEN w.waitpoint_id = n.closer THEN $4 ELSE w.last_signal_at END
        FROM unnest($1, $2, $3) AS n (suspension_id, reason, closer)
        JOIN ff_engine.suspension AS s ON s.suspension_id = n.suspension_id
       WHERE w.waitpoint_id = ANY (s.waitpoint_ids) AND w.state = 'active'",
    [UUIDARRAYOID, TEXTARRAYOID, UUIDARRAYOID, TIMESTAMPTZOID],
);

/// The end of a suspension's only waitpoint by a signal there.
static CLOSE_ONLY: Updates = Updates::new(
    c"waitpoint",
    &[
        ("waitpoint_id", UUIDOID),
        ("state", TEXTOID),
        ("closed_at", TIMESTAMPTZOID),
        ("close_reason", TEXTOID),
        ("satisfied_at", TIMESTAMPTZOID),
        ("signal_count", INT4OID),
        ("matched_signal_count", INT4OID),
        ("last_signal_at", TIMESTAMPTZOID),
    ],
);

/// Keeps the waitpoints of a suspension for another one.
static KEEP_ACTIVE: Stmt<3> = Stmt::new(
    c"UPDATE ff_engine.waitpoint AS w
         SET state = 'pending', suspension_id = NULL, activated_at = NULL, expires_at = NULL, required_signal_names = '[]',
             signal_count = w.signal_count + coalesce((w.waitpoint_id = $2)::int, 0),
             matched_signal_count = w.matched_signal_count + coalesce((w.waitpoint_id = $2)::int, 0),
             last_signal_at = CASE WHEN w.waitpoint_id = $2 THEN $3 ELSE w.last_signal_at END
        FROM ff_engine.suspension AS s
       WHERE s.suspension_id = $1 AND w.waitpoint_id = ANY (s.waitpoint_ids) AND w.state = 'active'",
    [UUIDOID, UUIDOID, TIMESTAMPTZOID],
);

/// Ends the waitpoints that no suspension uses, of executions or attempts that have ended.
static CLOSE_PENDING: Stmt<3> = Stmt::new(
    c"UPDATE ff_engine.waitpoint AS w SET state = 'closed', closed_at = $3, close_reason = n.reason
        FROM unnest($1, $2) AS n (execution_id, reason)
       WHERE w.execution_id = n.execution_id AND w.closed_at IS NULL AND w.state = 'pending'",
    [UUIDARRAYOID, TEXTARRAYOID, TIMESTAMPTZOID],
);

static CLOSE_THESE: Stmt<3> = Stmt::new(
    c"UPDATE ff_engine.waitpoint AS w SET state = 'closed', closed_at = $3, close_reason = $2
       WHERE w.waitpoint_id = ANY ($1)",
    [UUIDARRAYOID, TEXTOID, TIMESTAMPTZOID],
);

/// A pending waitpoint that a suspension has used up without waiting, kept for another one.
static KEEP_THESE: Stmt<1> = Stmt::new(
    c"UPDATE ff_engine.waitpoint AS w SET expires_at = NULL WHERE w.waitpoint_id = ANY ($1)",
    [UUIDARRAYOID],
);

static ARM: Stmt<3> = Stmt::new(
    c"INSERT INTO ff_engine.waitpoint_expiry (expires_at, execution_id, waitpoint_id) VALUES ($1, $2, $3)",
    [TIMESTAMPTZOID, UUIDOID, UUIDOID],
);

static DUE: Stmt<4> = Stmt::new(
    c"SELECT d.expires_at, d.waitpoint_id, d.execution_id FROM ff_engine.waitpoint_expiry AS d
       WHERE d.expires_at <= $1 AND (d.expires_at, d.waitpoint_id) > ($2, $3)
       ORDER BY d.expires_at, d.waitpoint_id LIMIT $4",
    [TIMESTAMPTZOID, TIMESTAMPTZOID, UUIDOID, INT8OID],
);

static DISARM: Stmt<2> = Stmt::new(
    c"DELETE FROM ff_engine.waitpoint_expiry AS d WHERE d.expires_at <= $1 AND d.waitpoint_id = ANY ($2)",
    [TIMESTAMPTZOID, UUIDARRAYOID],
);

static EXPIRE: Stmt<2> = Stmt::new(
    c"UPDATE ff_engine.waitpoint AS w SET state = 'expired', closed_at = $2, close_reason = 'never_committed'
       WHERE w.waitpoint_id = ANY ($1) AND w.state = 'pending' AND w.expires_at <= $2
      RETURNING w.waitpoint_id, w.execution_id, w.waitpoint_key",
    [UUIDARRAYOID, TIMESTAMPTZOID],
);

static COUNT_OF_KID: Stmt<1> = Stmt::new(
    c"SELECT count(*) FROM ff_engine.waitpoint AS w WHERE w.closed_at IS NULL AND w.token_kid = $1",
    [TEXTOID],
);

/// A waitpoint as operations see it.
#[derive(Clone, Debug)]
pub struct Waitpoint {
    /// What its token vouches for.
    pub subject: Subject,
    /// Its attempt.
    pub attempt_index: i32,
    /// The suspension it is bound to.
    pub suspension: Option<Uuid>,
    /// Its state.
    pub state: WaitpointState,
    /// Name of the key that signed its token.
    pub kid: String,
    /// Fingerprint of its token.
    pub fingerprint: String,
    /// When it stops taking signals.
    pub expires_at: Option<Instant>,
}

impl Waitpoint {
    /// Its id.
    pub fn id(&self) -> Uuid {
        self.subject.waitpoint_id
    }

    /// Whether it may still take a signal.
    pub fn is_open(&self) -> bool {
        matches!(self.state, WaitpointState::Pending | WaitpointState::Active)
    }
}

fn decode(row: Row) -> Waitpoint {
    let mut c = row.cursor();
    let waitpoint_id = c.next();
    let key = c.next();
    let execution_id = c.next();
    let attempt_index = c.next();
    let suspension = c.next();
    let state = c.next::<String>();
    let kid = c.next();
    let fingerprint = c.next();
    Waitpoint {
        subject: Subject {
            execution_id,
            waitpoint_id,
            created_at: Instant(c.next()),
            key,
        },
        attempt_index,
        suspension,
        state: WaitpointState::from_word(&state).unwrap_or(WaitpointState::Closed),
        kid,
        fingerprint,
        expires_at: c.next::<Option<i64>>().map(Instant),
    }
}

/// A new waitpoint with the names that may help there.
pub type New<'a> = (&'a Waitpoint, &'a [String]);

/// Stores new waitpoints. Where ids are chosen, one that is taken comes back.
pub fn insert(db: &Db, new: &[New], chosen: bool) -> Option<Uuid> {
    let row = |(w, names): &New| -> [Arg; 14] {
        let active = w.state == WaitpointState::Active;
        [
            w.id().into(),
            w.subject.key.as_str().into(),
            w.subject.execution_id.into(),
            w.attempt_index.into(),
            w.suspension.into(),
            w.state.word().into(),
            names_json(names),
            w.kid.as_str().into(),
            w.fingerprint.as_str().into(),
            w.subject.created_at.0.into(),
            active.then_some(w.subject.created_at.0).into(),
            w.expires_at.map(|at| at.0).into(),
            0i32.into(),
            0i32.into(),
        ]
    };
    if !chosen {
        INSERT.run(db, &new.iter().map(row).collect::<Vec<_>>());
        return None;
    }
    // Two who choose the same ids wait for each other in one order.
    let mut new: Vec<&New> = new.iter().collect();
    new.sort_by_key(|(w, _)| w.id());
    let rows: Vec<Vec<Arg>> = new.iter().map(|n| row(n).to_vec()).collect();
    let stored = INSERT_IF_FREE.run(db, u128::MAX, &rows);
    let stored: Vec<Uuid> = stored.iter().map(|r| r.get(1)).collect();
    let ids = new.iter().map(|(w, _)| w.id());
    ids.into_iter().find(|id| !stored.contains(id))
}

fn names_json(names: &[String]) -> Arg {
    (&Jsonb::from_json(&serde_json::json!(names))).into()
}

/// Waitpoints by id, ascending; absent ones are left out.
pub fn load(db: &Db, ids: &[Uuid]) -> Vec<Waitpoint> {
    if ids.is_empty() {
        return Vec::new();
    }
    let rows = LOAD.run(db, [array::uuids(ids.iter().copied())]);
    rows.iter().map(decode).collect()
}

/// How many waitpoints of an execution are open.
pub fn count_open(db: &Db, execution: Uuid) -> i64 {
    COUNT_OPEN
        .run(db, [execution.into()])
        .first()
        .map_or(0, |r| r.get(1))
}

/// Binds pending waitpoints to a suspension, each with the names that may help there.
pub fn activate(
    db: &Db,
    used: &[(Uuid, Vec<String>)],
    suspension: Uuid,
    timeout_at: Option<Instant>,
    now: Instant,
) {
    if used.is_empty() {
        return;
    }
    let args = [
        array::uuids(used.iter().map(|(id, _)| *id)),
        suspension.into(),
        now.0.into(),
        timeout_at.map(|at| at.0).into(),
        array::array(JSONBOID, used.iter().map(|(_, names)| names_json(names))),
    ];
    ACTIVATE.run(db, args);
}

/// Counts a signal that leaves its waitpoint as it is.
pub fn count_signal(db: &Db, id: Uuid, matched: bool, now: Instant) {
    COUNT_SIGNAL.run(db, [id.into(), matched.into(), now.0.into()]);
}

/// Counts matches of signals that had been buffered.
pub fn count_matched(db: &Db, matched: &[(Uuid, i32)]) {
    if !matched.is_empty() {
        let ids = array::uuids(matched.iter().map(|(id, _)| *id));
        COUNT_MATCHED.run(db, [ids, array::ints(matched.iter().map(|(_, n)| *n))]);
    }
}

/// The end of the waitpoints of one suspension.
pub struct Closing<'a> {
    /// Suspension.
    pub suspension: Uuid,
    /// Close reason.
    pub reason: &'a str,
    /// The waitpoint whose signal did it.
    pub closer: Option<Uuid>,
}

/// Closes the waitpoints of suspensions.
pub fn close_active(db: &Db, closings: &[Closing], now: Instant) {
    if !closings.is_empty() {
        let args = [
            array::uuids(closings.iter().map(|c| c.suspension)),
            array::texts(closings.iter().map(|c| c.reason)),
            array::array(UUIDOID, closings.iter().map(|c| c.closer.into())),
            now.0.into(),
        ];
        CLOSE_ACTIVE.run(db, args);
    }
}

/// Closes the only waitpoint of a suspension, whose signal did it; `counted` are the signals before it, and those of
/// them that matched.
pub fn close_only(db: &Db, c: &Closing, (signals, matched): (i32, i32), now: Instant) {
    let row = vec![
        c.closer.into(),
        WaitpointState::Closed.word().into(),
        now.0.into(),
        c.reason.into(),
        now.0.into(),
        (signals + 1).into(),
        (matched + 1).into(),
        now.0.into(),
    ];
    CLOSE_ONLY.run(db, u128::MAX, &[row]);
}

/// Keeps the waitpoints of a suspension, pending and without expiry.
pub fn keep_active(db: &Db, c: &Closing, now: Instant) {
    KEEP_ACTIVE.run(db, [c.suspension.into(), c.closer.into(), now.0.into()]);
}

/// Closes the pending waitpoints of executions, each with its reason.
pub fn close_pending(db: &Db, executions: &[(Uuid, &str)], now: Instant) {
    if !executions.is_empty() {
        let ids = array::uuids(executions.iter().map(|(id, _)| *id));
        let reasons = array::texts(executions.iter().map(|(_, reason)| *reason));
        CLOSE_PENDING.run(db, [ids, reasons, now.0.into()]);
    }
}

/// Closes these waitpoints.
pub fn close(db: &Db, ids: &[Uuid], reason: &str, now: Instant) {
    CLOSE_THESE.run(
        db,
        [
            array::uuids(ids.iter().copied()),
            reason.into(),
            now.0.into(),
        ],
    );
}

/// Keeps these pending waitpoints without expiry.
pub fn keep(db: &Db, ids: &[Uuid]) {
    KEEP_THESE.run(db, [array::uuids(ids.iter().copied())]);
}

/// Has a pending waitpoint looked at when it expires.
pub fn arm(db: &Db, w: &Waitpoint) {
    if let Some(at) = w.expires_at {
        ARM.run(
            db,
            [at.0.into(), w.subject.execution_id.into(), w.id().into()],
        );
    }
}

/// Looks no more at waitpoints whose expiry has passed.
pub fn disarm(db: &Db, ids: &[Uuid], now: Instant) {
    DISARM.run(db, [now.0.into(), array::uuids(ids.iter().copied())]);
}

/// A waitpoint to be looked at.
pub struct Due {
    /// When it expires.
    pub at: Instant,
    /// Its id.
    pub id: Uuid,
    /// Its execution.
    pub execution: Uuid,
}

/// Waitpoints to be looked at, oldest first, after a place.
pub fn due(db: &Db, now: Instant, (at, id): (Instant, Uuid), limit: i64) -> Vec<Due> {
    let rows = DUE.run(db, [now.0.into(), at.0.into(), id.into(), limit.into()]);
    let due = |r: Row| Due {
        at: Instant(r.get(1)),
        id: r.get(2),
        execution: r.get(3),
    };
    rows.iter().map(due).collect()
}

/// Expires those of the waitpoints that are still due: id, execution and key of each.
pub fn expire(db: &Db, ids: &[Uuid], now: Instant) -> Vec<(Uuid, Uuid, String)> {
    let rows = EXPIRE.run(db, [array::uuids(ids.iter().copied()), now.0.into()]);
    rows.iter()
        .map(|r| (r.get(1), r.get(2), r.get(3)))
        .collect()
}

/// How many open waitpoints have a token of this key.
pub fn count_of_kid(db: &Db, kid: &str) -> i64 {
    COUNT_OF_KID
        .run(db, [kid.into()])
        .first()
        .map_or(0, |r| r.get(1))
}
