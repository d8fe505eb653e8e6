//! `ff_engine.execution`: lock, insert, save.

use pgrx::pg_sys::BuiltinOid::*;
use uuid::Uuid;

use super::statement::Write;
use crate::model::execution::*;
use crate::model::time::Instant;
use crate::model::words::*;
use crate::pg::array;
use crate::pg::jsonb::Jsonb;
use crate::pg::spi::{Arg, Cursor, Db, Row, Stmt};

/// The columns of [`decode`], in its order.
macro_rules! columns {
    () => {
        "e.execution_id, e.created_at, e.queue_id, e.lane_id, e.namespace_id, e.partition_key, e.flow_id, \
         e.retention_ms, e.priority, e.lifecycle_phase, e.ownership_state, e.eligibility_state, \
         e.blocking_reason, e.terminal_outcome, e.attempt_state, e.claimer_id, e.lease_id, e.lease_epoch, \
         e.lease_ttl_ms, e.lease_acquired_at, e.lease_last_renewed_at, e.lease_expires_at, \
         e.lease_expired_at, e.lease_revoked_at, e.lease_revoke_reason, e.attempt_id, e.attempt_type, \
         e.attempt_record, e.attempt_started_at, e.attempt_ended_at, e.attempt_suspended_at, e.pause_kind, \
         e.time_remaining_ms, e.previous_attempt_index, e.attempt_reason, e.attempt_failure_reason, \
         e.attempt_failure_category, e.attempt_failure_class, e.end_op, e.end_lease_id, e.end_lease_epoch, \
         e.end_values, e.total_attempt_count, e.retry_count, e.replay_count, e.lease_reclaim_count, \
         e.started_at, e.completed_at, e.purge_at, e.delay_until, e.execution_deadline, e.attempt_deadline, \
         e.recheck_at, e.blocked_by_policy, e.blocking_detail, e.pending_reason, e.failure_reason, \
         e.failure_category, e.cancellation_reason, e.cancelled_by, e.grant_id, e.grant_kind, \
         e.grant_worker, e.grant_worker_instance, e.grant_expires_at, e.progress_pct, e.progress_message, \
         e.progress_updated_at, e.last_capability_mismatch_at, e.current_suspension_id, \
         e.current_waitpoint_id, e.tags, e.last_transition_at, e.last_mutation_at"
    };
}
pub(super) use columns;

static LOCK_ONE: Stmt<1> = Stmt::new(
    sql!(
        "SELECT ",
        columns!(),
        " FROM ff_engine.execution AS e WHERE e.execution_id = $1 FOR UPDATE"
    ),
    [UUIDOID],
);

static LOCK_MANY: Stmt<1> = Stmt::new(
    sql!(
        "SELECT ",
        columns!(),
        " FROM ff_engine.execution AS e WHERE e.execution_id = ANY ($1) ORDER BY e.execution_id FOR UPDATE"
    ),
    [UUIDARRAYOID],
);

static LOCK_FREE: Stmt<1> = Stmt::new(
    sql!(
        "SELECT ",
        columns!(),
        " FROM ff_engine.execution AS e WHERE e.execution_id = ANY ($1) ORDER BY e.execution_id \
         FOR UPDATE SKIP LOCKED"
    ),
    [UUIDARRAYOID],
);

static STATES: Stmt<1> = Stmt::new(
    c"SELECT e.execution_id, ff_engine.public_state(e.lifecycle_phase, e.terminal_outcome, e.eligibility_state, e.attempt_state),
             e.partition_key
        FROM ff_engine.execution AS e WHERE e.execution_id = ANY ($1)",
    [UUIDARRAYOID],
);

static OUTCOMES: Stmt<1> = Stmt::new(
    c"SELECT n.execution_id,
             ff_engine.public_state(e.lifecycle_phase, e.terminal_outcome, e.eligibility_state, e.attempt_state),
             ff_engine.outcome_word(e.terminal_outcome), e.completed_at
        FROM unnest($1) WITH ORDINALITY AS n (execution_id, ordinal)
        LEFT JOIN ff_engine.execution AS e ON e.execution_id = n.execution_id
       ORDER BY n.ordinal",
    [UUIDARRAYOID],
);

static PURGE: Stmt<1> = Stmt::new(
    c"WITH attempts AS (DELETE FROM ff_engine.attempt AS a WHERE a.execution_id = ANY ($1)),
           inputs AS (DELETE FROM ff_engine.execution_input AS i WHERE i.execution_id = ANY ($1))
      DELETE FROM ff_engine.execution AS e WHERE e.execution_id = ANY ($1)",
    [UUIDARRAYOID],
);

/// Locks one execution (G4).
pub fn lock(db: &Db, id: Uuid) -> Option<Execution> {
    LOCK_ONE
        .run(db, [id.into()])
        .first()
        .map(|row| decode(&row))
}

/// Locks executions in ascending id; absent ones are left out.
pub fn lock_all(db: &Db, ids: &[Uuid]) -> Vec<Execution> {
    match ids {
        [] => Vec::new(),
        [id] => lock(db, *id).into_iter().collect(),
        ids => decode_all(&LOCK_MANY, db, ids),
    }
}

/// Locks those executions that nobody else holds.
pub fn lock_free(db: &Db, ids: &[Uuid]) -> Vec<Execution> {
    if ids.is_empty() {
        Vec::new()
    } else {
        decode_all(&LOCK_FREE, db, ids)
    }
}

/// Public state and partition of executions, unlocked.
pub fn states(db: &Db, ids: &[Uuid]) -> Vec<(Uuid, String, i16)> {
    let rows = STATES.run(db, [array::uuids(ids.iter().copied())]);
    rows.iter()
        .map(|r| (r.get(1), r.get(2), r.get(3)))
        .collect()
}

/// How one of several executions stands; nothing but its id is known of one that is absent.
pub struct Standing {
    /// Whose.
    pub id: Uuid,
    /// Public state word.
    pub public_state: Option<String>,
    /// Outcome word, `none` while it has not ended.
    pub outcome: Option<String>,
    /// When it ended.
    pub completed_at: Option<Instant>,
}

/// How executions stand, in the order asked for.
pub fn standings(db: &Db, ids: &[Uuid]) -> Vec<Standing> {
    let row = |r: Row| Standing {
        id: r.get(1),
        public_state: r.get(2),
        outcome: r.get(3),
        completed_at: r.get::<Option<i64>>(4).map(Instant),
    };
    OUTCOMES
        .run(db, [array::uuids(ids.iter().copied())])
        .iter()
        .map(row)
        .collect()
}

/// Deletes executions with everything that belongs to them but events and idempotency keys.
pub fn purge(db: &Db, ids: &[Uuid]) -> usize {
    PURGE.run(db, [array::uuids(ids.iter().copied())]).len()
}

fn decode_all(stmt: &Stmt<1>, db: &Db, ids: &[Uuid]) -> Vec<Execution> {
    stmt.run(db, [array::uuids(ids.iter().copied())])
        .iter()
        .map(|row| decode(&row))
        .collect()
}

/// Reads the columns of `columns!`.
pub(super) fn decode(row: &Row) -> Execution {
    decode_from(&mut row.cursor())
}

/// Reads the columns of `columns!` and leaves the cursor behind them.
pub(super) fn decode_from(c: &mut Cursor) -> Execution {
    let place = Place {
        id: c.next(),
        created_at: Instant(c.next()),
        queue: c.next(),
        lane: c.next(),
        namespace: c.next(),
        partition: c.next(),
        flow: c.next(),
        retention_ms: c.next(),
    };
    let priority = c.next();
    let vector = Vector {
        lifecycle: letter(c.next(), Lifecycle::from_letter, Lifecycle::Terminal),
        ownership: letter(c.next(), Ownership::from_letter, Ownership::Unowned),
        eligibility: letter(
            c.next(),
            Eligibility::from_letter,
            Eligibility::NotApplicable,
        ),
        blocking: letter(c.next(), Blocking::from_letter, Blocking::None),
        outcome: letter(
            c.next(),
            TerminalOutcome::from_letter,
            TerminalOutcome::None,
        ),
        attempt: letter(c.next(), AttemptState::from_letter, AttemptState::None),
    };
    let lease = Lease {
        claimer: c.next(),
        id: c.next(),
        epoch: c.next(),
        ttl_ms: c.next(),
        acquired_at: instant(c),
        last_renewed_at: instant(c),
        expires_at: instant(c),
        expired_at: instant(c),
        revoked_at: instant(c),
        revoke_reason: c.next(),
    };
    let attempt = decode_attempt(c);
    Execution {
        place,
        priority,
        vector,
        lease,
        attempt,
        total_attempts: c.next(),
        retries: c.next(),
        replays: c.next(),
        reclaims: c.next(),
        started_at: instant(c),
        completed_at: instant(c),
        purge_at: instant(c),
        delay_until: instant(c),
        deadline: instant(c),
        attempt_deadline: instant(c),
        recheck_at: instant(c),
        blocked_by_policy: c.next(),
        blocking_detail: c.next(),
        pending_reason: c.next(),
        failure_reason: c.next(),
        failure_category: c.next(),
        cancellation_reason: c.next(),
        cancelled_by: c.next(),
        grant: decode_grant(c),
        progress: Progress {
            percent: c.next(),
            message: c.next(),
            updated_at: instant(c),
        },
        last_capability_mismatch_at: instant(c),
        suspension: c.next(),
        waitpoint: c.next(),
        tags: c.next::<Option<Jsonb>>().map(Into::into),
        last_transition_at: Instant(c.next()),
        last_mutation_at: Instant(c.next()),
    }
}

fn decode_attempt(c: &mut Cursor) -> Option<Attempt> {
    let id: Option<Uuid> = c.next();
    let kind: Option<i8> = c.next();
    let record: Option<i8> = c.next();
    let started_at: Option<Instant> = instant(c);
    let ended_at = instant(c);
    let suspended_at = instant(c);
    let pause_kind = c.next();
    let time_remaining_ms = c.next();
    let previous_index = c.next();
    let reason = c.next();
    let failure_reason = c.next();
    let failure_category = c.next();
    let failure_class = c.next();
    let op: Option<i8> = c.next();
    let lease_id: Option<Uuid> = c.next();
    let lease_epoch: Option<i64> = c.next();
    let values: Option<Jsonb> = c.next();
    let end = match (
        op.and_then(|op| EndOp::from_letter(op as u8)),
        lease_id,
        lease_epoch,
    ) {
        (Some(op), Some(lease_id), Some(lease_epoch)) => Some(End {
            op,
            lease_id,
            lease_epoch,
            values: values.map(|v| v.parse()),
        }),
        _ => None,
    };
    Some(Attempt {
        id: id?,
        kind: AttemptType::from_letter(kind? as u8)?,
        record: AttemptRecord::from_letter(record? as u8)?,
        started_at: started_at?,
        ended_at,
        suspended_at,
        pause_kind,
        time_remaining_ms,
        previous_index,
        reason,
        failure_reason,
        failure_category,
        failure_class,
        end,
    })
}

fn decode_grant(c: &mut Cursor) -> Option<Grant> {
    let id: Option<Uuid> = c.next();
    let kind: Option<i8> = c.next();
    let worker: Option<String> = c.next();
    let worker_instance = c.next();
    let expires_at = instant(c);
    Some(Grant {
        id: id?,
        kind: GrantKind::from_letter(kind? as u8)?,
        worker: worker?,
        worker_instance,
        expires_at: expires_at?,
    })
}

pub(super) fn instant(c: &mut Cursor) -> Option<Instant> {
    c.next::<Option<i64>>().map(Instant)
}

/// The schema's CHECK lists admit no other letter, so the default is never taken.
fn letter<T>(stored: i8, read: fn(u8) -> Option<T>, default: T) -> T {
    read(stored as u8).unwrap_or(default)
}

/// The columns that a save writes, keyed by `execution_id`; further columns may follow.
macro_rules! state {
    ($($name:literal: $oid:ident),* $(,)?) => {
        [
            ("execution_id", UUIDOID),
            ("priority", INT2OID),
            ("lifecycle_phase", CHAROID),
            ("ownership_state", CHAROID),
            ("eligibility_state", CHAROID),
            ("blocking_reason", CHAROID),
            ("terminal_outcome", CHAROID),
            ("attempt_state", CHAROID),
            ("claimer_id", INT4OID),
            ("lease_id", UUIDOID),
            ("lease_epoch", INT8OID),
            ("lease_ttl_ms", INT4OID),
            ("lease_acquired_at", TIMESTAMPTZOID),
            ("lease_last_renewed_at", TIMESTAMPTZOID),
            ("lease_expires_at", TIMESTAMPTZOID),
            ("lease_expired_at", TIMESTAMPTZOID),
            ("lease_revoked_at", TIMESTAMPTZOID),
            ("lease_revoke_reason", TEXTOID),
            ("attempt_id", UUIDOID),
            ("attempt_type", CHAROID),
            ("attempt_record", CHAROID),
            ("attempt_started_at", TIMESTAMPTZOID),
            ("attempt_ended_at", TIMESTAMPTZOID),
            ("attempt_suspended_at", TIMESTAMPTZOID),
            ("pause_kind", TEXTOID),
            ("time_remaining_ms", INT8OID),
            ("previous_attempt_index", INT4OID),
            ("attempt_reason", TEXTOID),
            ("attempt_failure_reason", TEXTOID),
            ("attempt_failure_category", TEXTOID),
            ("attempt_failure_class", TEXTOID),
            ("end_op", CHAROID),
            ("end_lease_id", UUIDOID),
            ("end_lease_epoch", INT8OID),
            ("end_values", JSONBOID),
            ("total_attempt_count", INT4OID),
            ("retry_count", INT4OID),
            ("replay_count", INT4OID),
            ("lease_reclaim_count", INT4OID),
            ("started_at", TIMESTAMPTZOID),
            ("completed_at", TIMESTAMPTZOID),
            ("purge_at", TIMESTAMPTZOID),
            ("delay_until", TIMESTAMPTZOID),
            ("execution_deadline", TIMESTAMPTZOID),
            ("attempt_deadline", TIMESTAMPTZOID),
            ("recheck_at", TIMESTAMPTZOID),
            ("blocked_by_policy", UUIDOID),
            ("blocking_detail", TEXTOID),
            ("pending_reason", TEXTOID),
            ("failure_reason", TEXTOID),
            ("failure_category", TEXTOID),
            ("cancellation_reason", TEXTOID),
            ("cancelled_by", TEXTOID),
            ("grant_id", UUIDOID),
            ("grant_kind", CHAROID),
            ("grant_worker", TEXTOID),
            ("grant_worker_instance", TEXTOID),
            ("grant_expires_at", TIMESTAMPTZOID),
            ("progress_pct", INT2OID),
            ("progress_message", TEXTOID),
            ("progress_updated_at", TIMESTAMPTZOID),
            ("last_capability_mismatch_at", TIMESTAMPTZOID),
            ("current_suspension_id", UUIDOID),
            ("current_waitpoint_id", UUIDOID),
            ("tags", JSONBOID),
            ("last_transition_at", TIMESTAMPTZOID),
            ("last_mutation_at", TIMESTAMPTZOID),
            $(($name, $oid),)*
        ]
    };
}

const STATE: usize = 67;

static SAVE: Write<STATE> = Write::update("ff_engine.execution", 1, state!());
static SAVE_RESULT: Write<{ STATE + 2 }> = Write::update(
    "ff_engine.execution",
    1,
    state!("result": BYTEAOID, "result_encoding": TEXTOID),
);
static SAVE_DETAIL: Write<{ STATE + 1 }> = Write::update(
    "ff_engine.execution",
    1,
    state!("attempt_failure_detail": BYTEAOID),
);
macro_rules! insert {
    ($suffix:literal) => {
        Write::insert(
            "ff_engine.execution",
            state!(
                "created_at": TIMESTAMPTZOID,
                "queue_id": INT4OID,
                "lane_id": INT4OID,
                "namespace_id": INT4OID,
                "partition_key": INT2OID,
                "flow_id": UUIDOID,
                "retention_ms": INT8OID,
                "kind": TEXTOID,
                "creator": TEXTOID,
            ),
            $suffix,
        )
    };
}

static INSERT: Write<{ STATE + 9 }> = insert!("");
/// Callers may choose one id at the same time; the loser waits and gets no row.
static INSERT_CHOSEN: Write<{ STATE + 9 }> =
    insert!("ON CONFLICT (execution_id) DO NOTHING RETURNING execution_id");

fn state(e: &Execution) -> [Arg; STATE] {
    let v = &e.vector;
    let a = e.attempt.as_ref();
    let end = a.and_then(|a| a.end.as_ref());
    let grant = e.grant.as_ref();
    let at = |i: Option<Instant>| Arg::from(i.map(|i| i.0));
    let text = |t: &Option<String>| Arg::from(t.as_deref());
    let char = |c: u8| Arg::from(c as i8);
    let chars = |c: Option<u8>| Arg::from(c.map(|c| c as i8));
    [
        e.place.id.into(),
        e.priority.into(),
        char(v.lifecycle.letter()),
        char(v.ownership.letter()),
        char(v.eligibility.letter()),
        char(v.blocking.letter()),
        char(v.outcome.letter()),
        char(v.attempt.letter()),
        e.lease.claimer.into(),
        e.lease.id.into(),
        e.lease.epoch.into(),
        e.lease.ttl_ms.into(),
        at(e.lease.acquired_at),
        at(e.lease.last_renewed_at),
        at(e.lease.expires_at),
        at(e.lease.expired_at),
        at(e.lease.revoked_at),
        text(&e.lease.revoke_reason),
        a.map(|a| a.id).into(),
        chars(a.map(|a| a.kind.letter())),
        chars(a.map(|a| a.record.letter())),
        at(a.map(|a| a.started_at)),
        at(a.and_then(|a| a.ended_at)),
        at(a.and_then(|a| a.suspended_at)),
        a.and_then(|a| a.pause_kind.as_deref()).into(),
        a.and_then(|a| a.time_remaining_ms).into(),
        a.and_then(|a| a.previous_index).into(),
        a.and_then(|a| a.reason.as_deref()).into(),
        a.and_then(|a| a.failure_reason.as_deref()).into(),
        a.and_then(|a| a.failure_category.as_deref()).into(),
        a.and_then(|a| a.failure_class.as_deref()).into(),
        chars(end.map(|r| r.op.letter())),
        end.map(|r| r.lease_id).into(),
        end.map(|r| r.lease_epoch).into(),
        end.and_then(|r| r.values.as_ref())
            .map(Jsonb::from_json)
            .as_ref()
            .into(),
        e.total_attempts.into(),
        e.retries.into(),
        e.replays.into(),
        e.reclaims.into(),
        at(e.started_at),
        at(e.completed_at),
        at(e.purge_at),
        at(e.delay_until),
        at(e.deadline),
        at(e.attempt_deadline),
        at(e.recheck_at),
        e.blocked_by_policy.into(),
        text(&e.blocking_detail),
        text(&e.pending_reason),
        text(&e.failure_reason),
        text(&e.failure_category),
        text(&e.cancellation_reason),
        text(&e.cancelled_by),
        grant.map(|g| g.id).into(),
        chars(grant.map(|g| g.kind.letter())),
        grant.map(|g| g.worker.as_str()).into(),
        grant.and_then(|g| g.worker_instance.as_deref()).into(),
        at(grant.map(|g| g.expires_at)),
        e.progress.percent.into(),
        text(&e.progress.message),
        at(e.progress.updated_at),
        at(e.last_capability_mismatch_at),
        e.suspension.into(),
        e.waitpoint.into(),
        carried(&e.tags),
        e.last_transition_at.0.into(),
        e.last_mutation_at.0.into(),
    ]
}

pub(super) fn carried(value: &Option<Carried>) -> Arg {
    value.clone().map(Jsonb::from).as_ref().into()
}

fn widen<const N: usize>(e: &Execution, more: &[Arg]) -> [Arg; N] {
    let state = state(e);
    std::array::from_fn(|i| {
        state
            .get(i)
            .or_else(|| more.get(i - STATE))
            .copied()
            .unwrap_or(Arg::NULL)
    })
}

/// Writes what may have changed.
pub fn save(db: &Db, rows: &[&Execution]) {
    let args: Vec<_> = rows.iter().map(|e| state(e)).collect();
    SAVE.run(db, &args);
}

/// Writes what may have changed, and the result.
pub fn save_with_result(db: &Db, rows: &[(&Execution, Option<&[u8]>, Option<&str>)]) {
    let args: Vec<_> = rows
        .iter()
        .map(|(e, bytes, encoding)| widen(e, &[(*bytes).into(), (*encoding).into()]))
        .collect();
    SAVE_RESULT.run(db, &args);
}

/// Writes what may have changed, and the failure detail of the latest attempt.
pub fn save_with_detail(db: &Db, rows: &[(&Execution, Option<&[u8]>)]) {
    let args: Vec<_> = rows
        .iter()
        .map(|(e, detail)| widen(e, &[(*detail).into()]))
        .collect();
    SAVE_DETAIL.run(db, &args);
}

/// A new execution with its kind and its creator.
pub type New<'a> = (&'a Execution, &'a str, &'a str);

fn new(rows: &[New]) -> Vec<[Arg; STATE + 9]> {
    let row = |(e, kind, creator): &New| {
        let p = &e.place;
        let more = [
            p.created_at.0.into(),
            p.queue.into(),
            p.lane.into(),
            p.namespace.into(),
            p.partition.into(),
            p.flow.into(),
            p.retention_ms.into(),
            (*kind).into(),
            (*creator).into(),
        ];
        widen(e, &more)
    };
    rows.iter().map(row).collect()
}

/// Inserts new executions whose id the engine minted.
pub fn insert(db: &Db, rows: &[New]) {
    INSERT.run(db, &new(rows));
}

/// Inserts new executions whose id the caller chose; returns the ids that were still free.
pub fn insert_chosen(db: &Db, rows: &[New]) -> Vec<Uuid> {
    INSERT_CHOSEN
        .run(db, &new(rows))
        .map(|won| won.iter().map(|r| r.get(1)).collect())
        .unwrap_or_default()
}
