//! Reads for the worker of a suspended or resumed attempt, on the caller's snapshot.

use pgrx::pg_sys::BuiltinOid::*;
use uuid::Uuid;

use super::binding;
use crate::model::time::Instant;
use crate::pg::spi::{Db, Stmt};

static ATTEMPT: Stmt<4> = Stmt::new(
    c"SELECT e.total_attempt_count - 1 = $2 AND e.attempt_id = $3
             OR EXISTS (SELECT FROM ff_engine.attempt AS a
                         WHERE a.execution_id = $1 AND a.attempt_index = $2 AND a.attempt_id = $3)
        FROM ff_engine.execution AS e
       WHERE e.execution_id = $1 AND ($4 IS NULL OR e.namespace_id = ANY ($4))",
    [UUIDOID, INT4OID, UUIDOID, INT4ARRAYOID],
);

/// The latest suspension of an attempt.
macro_rules! latest {
    () => {
        "(SELECT l.* FROM ff_engine.suspension AS l WHERE l.execution_id = $1 AND l.attempt_index = $2 \
           ORDER BY l.suspended_at DESC, l.suspension_id DESC LIMIT 1) AS s"
    };
}

static SIGNALS: Stmt<3> = Stmt::new(
    sql!(
        "SELECT g.signal_seq, g.signal_id, g.waitpoint_id, w.waitpoint_key, g.signal_name, g.signal_category, \
                g.source_type, g.source_identity, g.correlation_id, g.payload, g.payload_encoding, g.accepted_at, \
                g.matched, coalesce(g.signal_id = s.closer_signal_id, false) \
           FROM ",
        latest!(),
        " JOIN ff_engine.signal AS g ON g.execution_id = $1 AND g.suspension_id = s.suspension_id \
           JOIN ff_engine.waitpoint AS w ON w.waitpoint_id = g.waitpoint_id \
          WHERE g.matched OR $3 ORDER BY g.signal_seq"
    ),
    [UUIDOID, INT4OID, BOOLOID],
);

static CONTEXT: Stmt<2> = Stmt::new(
    sql!(
        "SELECT s.suspension_id, s.reason, s.close_reason, s.resume_trigger, s.continuation, s.suspended_at, s.closed_at, \
                s.closer_signal_id FROM ",
        latest!()
    ),
    [UUIDOID, INT4OID],
);

/// Whether an attempt exists; none without its execution.
pub fn attempt(db: &Db, execution: Uuid, index: i32, id: Uuid) -> Option<bool> {
    let args = [execution.into(), index.into(), id.into(), binding::only()];
    let rows = ATTEMPT.read(db, args);
    rows.first()
        .map(|r| r.get::<Option<bool>>(1).unwrap_or_default())
}

/// One signal as the worker sees it.
pub struct Observed {
    /// Its number.
    pub seq: i64,
    /// Its id.
    pub id: Uuid,
    /// Its waitpoint.
    pub waitpoint: Uuid,
    /// Key of that.
    pub key: String,
    /// Its name.
    pub name: String,
    /// Its category.
    pub category: String,
    /// Source type.
    pub source_type: String,
    /// Source identity.
    pub source_identity: String,
    /// Correlation id.
    pub correlation_id: Option<String>,
    /// Payload.
    pub payload: Option<Vec<u8>>,
    /// Its label.
    pub encoding: String,
    /// When it was accepted.
    pub accepted_at: Instant,
    /// It counted.
    pub matched: bool,
    /// It made the condition hold.
    pub closer: bool,
}

/// The signals of an attempt's latest suspension.
pub fn signals(db: &Db, execution: Uuid, attempt: i32, unmatched: bool) -> Vec<Observed> {
    let rows = SIGNALS.read(db, [execution.into(), attempt.into(), unmatched.into()]);
    rows.iter()
        .map(|row| {
            let mut c = row.cursor();
            Observed {
                seq: c.next(),
                id: c.next(),
                waitpoint: c.next(),
                key: c.next(),
                name: c.next(),
                category: c.next(),
                source_type: c.next(),
                source_identity: c.next(),
                correlation_id: c.next(),
                payload: c.next(),
                encoding: c.next(),
                accepted_at: Instant(c.next()),
                matched: c.next(),
                closer: c.next(),
            }
        })
        .collect()
}

/// An attempt's latest suspension as the worker sees it.
pub struct Context {
    /// Its id.
    pub id: Uuid,
    /// Why.
    pub reason: String,
    /// How it ended.
    pub close_reason: Option<String>,
    /// What made the work go on.
    pub trigger: Option<String>,
    /// Text left by the suspender.
    pub continuation: Option<String>,
    /// Since when.
    pub suspended_at: Instant,
    /// Until when.
    pub closed_at: Option<Instant>,
    /// The signal that ended it.
    pub closer: Option<Uuid>,
}

/// The latest suspension of an attempt.
pub fn context(db: &Db, execution: Uuid, attempt: i32) -> Option<Context> {
    let rows = CONTEXT.read(db, [execution.into(), attempt.into()]);
    rows.first().map(|row| {
        let mut c = row.cursor();
        Context {
            id: c.next(),
            reason: c.next(),
            close_reason: c.next(),
            trigger: c.next(),
            continuation: c.next(),
            suspended_at: Instant(c.next()),
            closed_at: c.next::<Option<i64>>().map(Instant),
            closer: c.next(),
        }
    })
}
