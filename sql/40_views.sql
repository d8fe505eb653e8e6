-- The readable face of the tables, for psql and BI tools: words for letters, names for numbers.
--
-- The views are read only and stand in the schema that CREATE EXTENSION targets. What is large (payload, result,
-- policy) is read by the functions of 50_reads.sql instead.
--
-- A role bound to namespaces sees nothing of the others: ff_engine.admits() says so of each row, admits(NULL) of all
-- at once. The barrier keeps conditions of the reader's own from looking at a row before that.

-- Every name and operator here means pg_catalog's, whatever the schema holds that the extension is created in.
SET LOCAL search_path = pg_catalog, pg_temp;

-- One row per execution. A lease shows only while the execution is active, its epoch always.
CREATE VIEW @extschema@.ff_executions WITH (security_barrier) AS
SELECT e.execution_id,
       e.partition_key,
       n.name AS namespace,
       l.name AS lane,
       e.kind,
       e.creator,
       e.flow_id,
       i.payload_encoding,
       e.result_encoding,
       coalesce(e.tags, '{}'::jsonb) AS tags,
       e.priority::int AS priority,
       ff_engine.lifecycle_word(e.lifecycle_phase) AS lifecycle_phase,
       ff_engine.ownership_word(e.ownership_state) AS ownership_state,
       ff_engine.eligibility_word(e.eligibility_state) AS eligibility_state,
       ff_engine.blocking_word(e.blocking_reason) AS blocking_reason,
       ff_engine.outcome_word(e.terminal_outcome) AS terminal_outcome,
       ff_engine.attempt_state_word(e.attempt_state) AS attempt_state,
       e.blocking_detail,
       ff_engine.public_word(e.state) AS public_state,
       e.total_attempt_count,
       nullif(e.total_attempt_count - 1, -1) AS current_attempt_index,
       CASE WHEN e.attempt_state NOT IN ('f', 'y', 'p') THEN e.attempt_id END AS current_attempt_id,
       e.retry_count,
       e.replay_count,
       e.lease_reclaim_count,
       CASE WHEN e.ownership_state <> 'u' THEN e.lease_id END AS lease_id,
       e.lease_epoch,
       c.worker,
       c.worker_instance,
       CASE WHEN e.ownership_state <> 'u' THEN e.lease_ttl_ms * interval '1 millisecond' END AS lease_ttl,
       CASE WHEN e.ownership_state <> 'u' THEN e.lease_acquired_at END AS lease_acquired_at,
       CASE WHEN e.ownership_state <> 'u' THEN e.lease_last_renewed_at END AS lease_last_renewed_at,
       CASE WHEN e.ownership_state <> 'u' THEN e.lease_expires_at END AS lease_expires_at,
       CASE WHEN e.ownership_state <> 'u' THEN e.lease_expired_at END AS lease_expired_at,
       CASE WHEN e.ownership_state <> 'u' THEN e.lease_revoked_at END AS lease_revoked_at,
       CASE WHEN e.ownership_state <> 'u' THEN e.lease_revoke_reason END AS lease_revoke_reason,
       e.delay_until,
       e.execution_deadline,
       e.attempt_deadline,
       e.recheck_at,
       e.blocked_by_policy,
       e.created_at,
       e.started_at,
       e.completed_at,
       e.last_transition_at,
       e.last_mutation_at,
       e.progress_pct::int AS progress_pct,
       e.progress_message,
       e.progress_updated_at,
       e.failure_reason,
       e.failure_category,
       e.cancellation_reason,
       e.cancelled_by,
       q.required AS required_capabilities,
       e.last_capability_mismatch_at,
       e.current_suspension_id,
       e.current_waitpoint_id,
       ff_engine.attempt_type_word(e.attempt_type) AS attempt_type,
       e.attempt_started_at
  FROM ff_engine.execution_row AS e
  JOIN ff_engine.namespace AS n ON n.namespace_id = e.namespace_id
  JOIN ff_engine.lane AS l ON l.lane_id = e.lane_id
  JOIN ff_engine.queue AS q ON q.queue_id = e.queue_id
  LEFT JOIN ff_engine.claimer AS c ON c.claimer_id = e.claimer_id AND e.ownership_state <> 'u'
  LEFT JOIN ff_engine.execution_input AS i ON i.execution_id = e.execution_id
 WHERE ff_engine.admits(e.namespace_id);

-- One row per attempt. The latest stands in its execution's row, those it has superseded in the archive;
-- the lease is the attempt's latest, whether or not it still holds.
CREATE VIEW @extschema@.ff_attempts WITH (security_barrier) AS
SELECT a.execution_id,
       a.attempt_index,
       a.attempt_id,
       ff_engine.attempt_type_word(a.attempt_type) AS attempt_type,
       ff_engine.attempt_record_word(a.attempt_record) AS attempt_state,
       a.attempt_started_at AS created_at,
       a.attempt_started_at AS started_at,
       a.attempt_ended_at AS ended_at,
       a.lease_id,
       a.lease_epoch,
       c.worker,
       c.worker_instance,
       c.capabilities,
       a.previous_attempt_index,
       a.attempt_reason AS reason,
       a.attempt_failure_reason AS failure_reason,
       a.attempt_failure_category AS failure_category,
       a.attempt_failure_class AS failure_class,
       a.attempt_failure_detail AS failure_detail,
       a.attempt_suspended_at AS suspended_at,
       a.pause_kind,
       a.time_remaining_ms * interval '1 millisecond' AS time_remaining
  FROM (SELECT e.execution_id, e.total_attempt_count - 1 AS attempt_index, e.attempt_id, e.attempt_type, e.attempt_record,
               e.attempt_started_at, e.attempt_ended_at, e.attempt_suspended_at, e.time_remaining_ms, e.lease_id,
               e.lease_epoch, e.claimer_id, e.previous_attempt_index, e.attempt_reason, e.pause_kind,
               e.attempt_failure_reason, e.attempt_failure_category, e.attempt_failure_class, e.attempt_failure_detail
          FROM ff_engine.execution_row AS e
         WHERE e.total_attempt_count > 0 AND ff_engine.admits(e.namespace_id)
        UNION ALL
        SELECT o.execution_id, o.attempt_index, o.attempt_id, o.attempt_type, o.attempt_record,
               o.attempt_started_at, o.attempt_ended_at, o.attempt_suspended_at, o.time_remaining_ms, o.lease_id,
               o.lease_epoch, o.claimer_id, o.previous_attempt_index, o.attempt_reason, o.pause_kind,
               o.attempt_failure_reason, o.attempt_failure_category, o.attempt_failure_class, o.attempt_failure_detail
          FROM ff_engine.attempt AS o
         WHERE CASE WHEN ff_engine.admits(NULL) THEN true
                    ELSE (SELECT ff_engine.admits(x.namespace_id) FROM ff_engine.execution AS x
                           WHERE x.execution_id = o.execution_id) END) AS a
  LEFT JOIN ff_engine.claimer AS c ON c.claimer_id = a.claimer_id;

-- One row per lease of an active execution, live, past due, marked expired or revoked.
CREATE VIEW @extschema@.ff_leases WITH (security_barrier) AS
SELECT e.execution_id,
       n.name AS namespace,
       l.name AS lane,
       e.partition_key,
       e.kind,
       c.worker,
       c.worker_instance,
       c.capabilities,
       e.lease_id,
       e.lease_epoch,
       ff_engine.ownership_word(e.ownership_state) AS ownership_state,
       e.total_attempt_count - 1 AS attempt_index,
       e.attempt_id,
       e.lease_ttl_ms * interval '1 millisecond' AS lease_ttl,
       e.lease_acquired_at,
       e.lease_last_renewed_at,
       e.lease_expires_at,
       e.lease_expired_at,
       e.lease_revoked_at,
       e.lease_revoke_reason,
       e.attempt_deadline,
       e.progress_pct::int AS progress_pct,
       e.progress_message,
       e.progress_updated_at
  FROM ff_engine.execution_row AS e
  JOIN ff_engine.namespace AS n ON n.namespace_id = e.namespace_id
  JOIN ff_engine.lane AS l ON l.lane_id = e.lane_id
  JOIN ff_engine.claimer AS c ON c.claimer_id = e.claimer_id
 WHERE e.lifecycle_phase = 'a' AND ff_engine.admits(e.namespace_id);

-- One row per registered lane. Lanes belong to no namespace: a bound role sees those that its own have used.
-- The inner query keeps the view from being written through.
CREATE VIEW @extschema@.ff_lanes WITH (security_barrier) AS
WITH known AS (
    SELECT l.name AS lane,
           l.state,
           l.reason,
           l.registered_at,
           l.registered_by,
           l.retention_ms * interval '1 millisecond' AS retention
      FROM ff_engine.lane AS l
     WHERE ff_engine.admits(NULL)
        OR EXISTS (SELECT FROM ff_engine.queue AS q
                    WHERE q.lane_id = l.lane_id AND ff_engine.admits(q.namespace_id)))
SELECT k.lane, k.state, k.reason, k.registered_at, k.registered_by, k.retention FROM known AS k;

SET LOCAL search_path = @extschema@, pg_temp;
