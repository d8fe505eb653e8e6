-- Every name and operator here means pg_catalog's, whatever the schema holds that the extension is created in.
SET LOCAL search_path = pg_catalog, pg_temp;

-- V1–V6 and V10 as far as one row can break them. The whole row is handed over, because the server reads and
-- compiles a check's expression anew for every statement that writes the table, and this one is the shortest.
CREATE FUNCTION ff_engine.legal(e ff_engine.execution) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'legal_wrapper';
ALTER TABLE ff_engine.execution ADD CONSTRAINT legal_state CHECK (ff_engine.legal(execution.*));

-- An execution's row with its state and its rare facts taken apart.
CREATE VIEW ff_engine.execution_row AS
SELECT e.execution_id, e.created_at, e.queue_id, e.lane_id, e.namespace_id, e.partition_key, e.priority,
       e.state,
       ff_engine.lifecycle(e.state) AS lifecycle_phase,
       ff_engine.ownership(e.state) AS ownership_state,
       ff_engine.eligibility(e.state) AS eligibility_state,
       ff_engine.blocking(e.state) AS blocking_reason,
       ff_engine.outcome(e.state) AS terminal_outcome,
       ff_engine.attempt_state(e.state) AS attempt_state,
       ff_engine.attempt_record(e.state) AS attempt_record,
       ff_engine.attempt_type(e.state) AS attempt_type,
       e.last_transition_at,
       coalesce(e.last_mutation_at, e.last_transition_at) AS last_mutation_at, e.lease_epoch, e.total_attempt_count,
       coalesce((e.rare ->> 'retries')::int, 0) AS retry_count,
       coalesce((e.rare ->> 'replays')::int, 0) AS replay_count,
       coalesce((e.rare ->> 'reclaims')::int, 0) AS lease_reclaim_count,
       e.claimer_id, e.lease_id, e.lease_ttl_ms,
       coalesce(e.lease_acquired_at, CASE WHEN ff_engine.ownership(e.state) <> 'u' THEN e.attempt_started_at END) AS lease_acquired_at,
       e.lease_last_renewed_at, e.lease_expires_at,
       ff_engine.instant(e.rare -> 'lease_expired_at') AS lease_expired_at,
       ff_engine.instant(e.rare -> 'lease_revoked_at') AS lease_revoked_at,
       e.rare ->> 'lease_revoke_reason' AS lease_revoke_reason,
       coalesce(e.started_at, CASE WHEN e.total_attempt_count = 1 THEN e.attempt_started_at END) AS started_at, e.completed_at,
       CASE WHEN e.retention_ms >= 0 THEN e.completed_at + e.retention_ms * interval '1 millisecond' END AS purge_at,
       e.delay_until, e.execution_deadline, e.attempt_deadline,
       ff_engine.instant(e.rare -> 'recheck_at') AS recheck_at,
       e.attempt_id, e.attempt_started_at, e.attempt_ended_at,
       ff_engine.instant(e.rare -> 'attempt_suspended_at') AS attempt_suspended_at,
       (e.rare ->> 'time_remaining_ms')::bigint AS time_remaining_ms,
       nullif(e.total_attempt_count - 2, least(e.total_attempt_count - 2, -1)) AS previous_attempt_index,
       (e.rare ->> 'progress_pct')::smallint AS progress_pct,
       e.rare ->> 'progress_message' AS progress_message,
       ff_engine.instant(e.rare -> 'progress_updated_at') AS progress_updated_at,
       ff_engine.instant(e.rare -> 'last_capability_mismatch_at') AS last_capability_mismatch_at,
       (e.rare ->> 'blocked_by_policy')::uuid AS blocked_by_policy,
       (e.rare ->> 'suspension')::uuid AS current_suspension_id,
       (e.rare ->> 'waitpoint')::uuid AS current_waitpoint_id,
       ff_engine.instant(e.rare -> 'suspension_timeout') AS suspension_timeout,
       (e.rare #>> '{grant,id}')::uuid AS grant_id,
       e.rare #>> '{grant,kind}' AS grant_kind,
       (e.rare #>> '{grant,claimer}')::int AS grant_claimer_id,
       e.rare #> '{grant,route_snapshot}' AS grant_route_snapshot,
       e.rare #>> '{grant,admission_summary}' AS grant_admission_summary,
       ff_engine.instant(e.rare #> '{grant,expires_at}') AS grant_expires_at,
       coalesce(e.rare -> 'slots', '[]') AS slots,
       (e.rare #>> '{offered,0}')::uuid AS offered_by,
       ff_engine.instant(e.rare #> '{offered,1}') AS offered_until,
       e.rare ->> 'blocking_detail' AS blocking_detail,
       e.rare ->> 'failure_reason' AS failure_reason,
       e.rare ->> 'failure_category' AS failure_category,
       e.rare ->> 'cancellation_reason' AS cancellation_reason,
       e.rare ->> 'cancelled_by' AS cancelled_by,
       e.rare ->> 'attempt_reason' AS attempt_reason,
       e.rare ->> 'pause_kind' AS pause_kind,
       e.rare ->> 'attempt_failure_reason' AS attempt_failure_reason,
       e.rare ->> 'attempt_failure_category' AS attempt_failure_category,
       e.rare ->> 'attempt_failure_class' AS attempt_failure_class,
       e.attempt_failure_detail, e.rare, e.result, e.result_encoding, e.flow_id, e.retention_ms, e.tags, e.creator, e.kind
  FROM ff_engine.execution AS e;

SET LOCAL search_path = @extschema@, pg_temp;
