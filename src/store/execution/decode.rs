//! A row of `ff_engine.execution` as an [`Execution`].

use uuid::Uuid;

use crate::model::execution::*;
use crate::model::packed::Packed;
use crate::model::stream::closing;
use crate::model::time::{Instant, MS};
use crate::model::words::Ownership;
use crate::pg::composite::Composite;
use crate::pg::jsonb::Jsonb;
use crate::pg::spi::Column as Readable;

use super::columns::Column;
use super::rare::{self, Rare, RareGrant};

/// Reads a whole row, selected as one value.
pub fn decode(row: &Composite) -> Execution {
    let number: i32 = get(row, Column::state);
    let Some(packed) = Packed::from_number(number) else {
        pgrx::error!("the state {number} of an execution holds no words of the engine");
    };
    let rare: Rare = match get::<Option<Jsonb>>(row, Column::rare) {
        Some(json) => serde_json::from_value(json.parse()).unwrap_or_default(),
        None => Rare::default(),
    };
    let place = Place {
        id: get(row, Column::execution_id),
        created_at: Instant(get(row, Column::created_at)),
        queue: get(row, Column::queue_id),
        lane: get(row, Column::lane_id),
        namespace: get(row, Column::namespace_id),
        partition: get(row, Column::partition_key),
        flow: get(row, Column::flow_id),
        retention_ms: get(row, Column::retention_ms),
    };
    let attempt_started = at(row, Column::attempt_started_at);
    let owned = packed.vector.ownership != Ownership::Unowned;
    let lease = Lease {
        claimer: get(row, Column::claimer_id),
        id: get(row, Column::lease_id),
        epoch: get(row, Column::lease_epoch),
        ttl_ms: get(row, Column::lease_ttl_ms),
        acquired_at: at(row, Column::lease_acquired_at).or(if owned {
            attempt_started
        } else {
            None
        }),
        last_renewed_at: at(row, Column::lease_last_renewed_at),
        expires_at: at(row, Column::lease_expires_at),
        expired_at: rare.lease_expired_at.map(Instant),
        revoked_at: rare.lease_revoked_at.map(Instant),
        revoke_reason: rare.lease_revoke_reason,
    };
    let total_attempts: i32 = get(row, Column::total_attempt_count);
    let end_lease = rare.end_lease.or(lease.id.map(|id| (id, lease.epoch)));
    let end = packed
        .end_op
        .zip(end_lease)
        .map(|(op, (lease_id, lease_epoch))| End {
            op,
            lease_id,
            lease_epoch,
            values: rare.end_values,
        });
    let attempt = match (
        get::<Option<Uuid>>(row, Column::attempt_id),
        packed.kind,
        packed.record,
    ) {
        (Some(id), Some(kind), Some(record)) => Some(Attempt {
            id,
            kind,
            record,
            started_at: attempt_started.unwrap_or(place.created_at),
            ended_at: at(row, Column::attempt_ended_at),
            suspended_at: rare.attempt_suspended_at.map(Instant),
            pause_kind: rare.pause_kind,
            time_remaining_ms: rare.time_remaining_ms,
            previous_index: (total_attempts > 1).then(|| total_attempts - 2),
            reason: rare.attempt_reason,
            failure_reason: rare.attempt_failure_reason,
            failure_category: rare.attempt_failure_category,
            failure_class: rare.attempt_failure_class,
            end,
            closed: rare.stream_closed.and_then(rare::closed),
        }),
        _ => None,
    };
    let completed_at = at(row, Column::completed_at);
    let last_transition_at = Instant(get(row, Column::last_transition_at));
    let retention = place.retention_ms.filter(|ms| *ms >= 0);
    let mut execution = Execution {
        priority: get(row, Column::priority),
        vector: packed.vector,
        attempt,
        total_attempts,
        retries: rare.retries.unwrap_or_default(),
        replays: rare.replays.unwrap_or_default(),
        reclaims: rare.reclaims.unwrap_or_default(),
        started_at: at(row, Column::started_at).or(if total_attempts == 1 {
            attempt_started
        } else {
            None
        }),
        completed_at,
        purge_at: completed_at
            .zip(retention)
            .map(|(at, ms)| at.plus(ms.saturating_mul(MS))),
        delay_until: at(row, Column::delay_until),
        deadline: at(row, Column::execution_deadline),
        attempt_deadline: at(row, Column::attempt_deadline),
        recheck_at: rare.recheck_at.map(Instant),
        blocked_by_policy: rare.blocked_by_policy,
        blocking_detail: rare.blocking_detail,
        pending_reason: rare.pending_reason,
        failure_reason: rare.failure_reason,
        failure_category: rare.failure_category,
        cancellation_reason: rare.cancellation_reason,
        cancelled_by: rare.cancelled_by,
        grant: rare.grant.and_then(RareGrant::grant),
        progress: Progress {
            percent: rare.progress_pct,
            message: rare.progress_message,
            updated_at: rare.progress_updated_at.map(Instant),
        },
        last_capability_mismatch_at: rare.last_capability_mismatch_at.map(Instant),
        suspension: rare.suspension,
        waitpoint: rare.waitpoint,
        suspension_timeout: rare.suspension_timeout.map(Instant),
        pending_waitpoints: rare.pending_waitpoints.unwrap_or_default(),
        limited: rare.limited.unwrap_or_default(),
        slots: rare.slots.unwrap_or_default(),
        offered: rare.offered.map(|(quota, until)| (quota, Instant(until))),
        tags: get::<Option<Jsonb>>(row, Column::tags).map(Into::into),
        last_transition_at,
        last_mutation_at: at(row, Column::last_mutation_at).unwrap_or(last_transition_at),
        place,
        lease,
    };
    let told = closing::told(&execution);
    if let Some(attempt) = &mut execution.attempt {
        attempt.closed = attempt.closed.or(told);
    }
    execution
}

/// For an execution that has ended, when it may be purged, if ever; `None` for one that has not.
pub fn ended(row: &Composite) -> Option<Option<Instant>> {
    let e = decode(row);
    e.is_terminal().then_some(e.purge_at)
}

/// Whether a row may be stored: its state is legal and agrees with its instants (§10.3.2).
pub fn legal(row: &Composite) -> bool {
    let Some(packed) = Packed::from_number(get(row, Column::state)) else {
        return false;
    };
    let set = |column| get::<Option<i64>>(row, column).is_some();
    let facts = crate::model::words::Facts {
        lease: get::<Option<Uuid>>(row, Column::lease_id).is_some()
            && get::<Option<Uuid>>(row, Column::attempt_id).is_some()
            && get::<Option<i32>>(row, Column::claimer_id).is_some()
            && get::<i64>(row, Column::lease_epoch) >= 1,
        expiry: set(Column::lease_expires_at),
        delay: set(Column::delay_until),
        completed: set(Column::completed_at),
    };
    packed.vector.broken(facts).is_none()
}

fn get<T: Readable>(row: &Composite, column: Column) -> T {
    row.get(column as usize)
}

fn at(row: &Composite, column: Column) -> Option<Instant> {
    get::<Option<i64>>(row, column).map(Instant)
}
