//! A row of `ff_engine.execution` as an [`Execution`].

use crate::model::execution::*;
use crate::model::time::Instant;
use crate::model::words::*;
use crate::pg::composite::Composite;
use crate::pg::jsonb::Jsonb;
use crate::pg::spi::Column as Readable;

use super::columns::Column;

/// Reads a whole row, selected as one value.
pub fn decode(row: &Composite) -> Execution {
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
    let vector = Vector {
        lifecycle: letter(
            row,
            Column::lifecycle_phase,
            Lifecycle::from_letter,
            Lifecycle::Terminal,
        ),
        ownership: letter(
            row,
            Column::ownership_state,
            Ownership::from_letter,
            Ownership::Unowned,
        ),
        eligibility: letter(
            row,
            Column::eligibility_state,
            Eligibility::from_letter,
            Eligibility::NotApplicable,
        ),
        blocking: letter(
            row,
            Column::blocking_reason,
            Blocking::from_letter,
            Blocking::None,
        ),
        outcome: letter(
            row,
            Column::terminal_outcome,
            TerminalOutcome::from_letter,
            TerminalOutcome::None,
        ),
        attempt: letter(
            row,
            Column::attempt_state,
            AttemptState::from_letter,
            AttemptState::None,
        ),
    };
    let lease = Lease {
        claimer: get(row, Column::claimer_id),
        id: get(row, Column::lease_id),
        epoch: get(row, Column::lease_epoch),
        ttl_ms: get(row, Column::lease_ttl_ms),
        acquired_at: at(row, Column::lease_acquired_at),
        last_renewed_at: at(row, Column::lease_last_renewed_at),
        expires_at: at(row, Column::lease_expires_at),
        expired_at: at(row, Column::lease_expired_at),
        revoked_at: at(row, Column::lease_revoked_at),
        revoke_reason: get(row, Column::lease_revoke_reason),
    };
    Execution {
        place,
        priority: get(row, Column::priority),
        vector,
        lease,
        attempt: attempt(row),
        total_attempts: get(row, Column::total_attempt_count),
        retries: get(row, Column::retry_count),
        replays: get(row, Column::replay_count),
        reclaims: get(row, Column::lease_reclaim_count),
        started_at: at(row, Column::started_at),
        completed_at: at(row, Column::completed_at),
        purge_at: at(row, Column::purge_at),
        delay_until: at(row, Column::delay_until),
        deadline: at(row, Column::execution_deadline),
        attempt_deadline: at(row, Column::attempt_deadline),
        recheck_at: at(row, Column::recheck_at),
        blocked_by_policy: get(row, Column::blocked_by_policy),
        blocking_detail: get(row, Column::blocking_detail),
        pending_reason: get(row, Column::pending_reason),
        failure_reason: get(row, Column::failure_reason),
        failure_category: get(row, Column::failure_category),
        cancellation_reason: get(row, Column::cancellation_reason),
        cancelled_by: get(row, Column::cancelled_by),
        grant: grant(row),
        progress: Progress {
            percent: get(row, Column::progress_pct),
            message: get(row, Column::progress_message),
            updated_at: at(row, Column::progress_updated_at),
        },
        last_capability_mismatch_at: at(row, Column::last_capability_mismatch_at),
        suspension: get(row, Column::current_suspension_id),
        waitpoint: get(row, Column::current_waitpoint_id),
        tags: get::<Option<Jsonb>>(row, Column::tags).map(Into::into),
        last_transition_at: Instant(get(row, Column::last_transition_at)),
        last_mutation_at: Instant(get(row, Column::last_mutation_at)),
    }
}

fn attempt(row: &Composite) -> Option<Attempt> {
    let letter = |column| get::<Option<i8>>(row, column).map(|c| c as u8);
    Some(Attempt {
        id: get::<Option<uuid::Uuid>>(row, Column::attempt_id)?,
        kind: AttemptType::from_letter(letter(Column::attempt_type)?)?,
        record: AttemptRecord::from_letter(letter(Column::attempt_record)?)?,
        started_at: at(row, Column::attempt_started_at)?,
        ended_at: at(row, Column::attempt_ended_at),
        suspended_at: at(row, Column::attempt_suspended_at),
        pause_kind: get(row, Column::pause_kind),
        time_remaining_ms: get(row, Column::time_remaining_ms),
        previous_index: get(row, Column::previous_attempt_index),
        reason: get(row, Column::attempt_reason),
        failure_reason: get(row, Column::attempt_failure_reason),
        failure_category: get(row, Column::attempt_failure_category),
        failure_class: get(row, Column::attempt_failure_class),
        end: end(row),
    })
}

fn end(row: &Composite) -> Option<End> {
    Some(End {
        op: EndOp::from_letter(get::<Option<i8>>(row, Column::end_op)? as u8)?,
        lease_id: get::<Option<uuid::Uuid>>(row, Column::end_lease_id)?,
        lease_epoch: get::<Option<i64>>(row, Column::end_lease_epoch)?,
        values: get::<Option<Jsonb>>(row, Column::end_values).map(|v| v.parse()),
    })
}

fn grant(row: &Composite) -> Option<Grant> {
    Some(Grant {
        id: get::<Option<uuid::Uuid>>(row, Column::grant_id)?,
        kind: GrantKind::from_letter(get::<Option<i8>>(row, Column::grant_kind)? as u8)?,
        worker: get::<Option<String>>(row, Column::grant_worker)?,
        worker_instance: get(row, Column::grant_worker_instance),
        expires_at: at(row, Column::grant_expires_at)?,
    })
}

fn get<T: Readable>(row: &Composite, column: Column) -> T {
    row.get(column as usize)
}

fn at(row: &Composite, column: Column) -> Option<Instant> {
    get::<Option<i64>>(row, column).map(Instant)
}

/// The schema's check admits no other letter, so the default is never taken.
fn letter<T>(row: &Composite, column: Column, read: fn(u8) -> Option<T>, default: T) -> T {
    read(get::<i8>(row, column) as u8).unwrap_or(default)
}
