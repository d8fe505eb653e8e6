-- Why is this execution not running, or: what comes next?
--
-- Every chapter that can hold an execution back explains its part in a function ff_engine.explain_<part>(id, now),
-- which returns its rows with a place in the order of the answer: below 20 what the execution itself is in, below 40
-- what keeps it from being handed out, above that what it waits for. ff_explain_execution puts them together.

-- Every name and operator here means pg_catalog's, whatever the schema holds that the extension is created in.
SET LOCAL search_path = pg_catalog, pg_temp;

-- The state vector, the lane and a grant.
CREATE FUNCTION ff_engine.explain_state(id uuid, now timestamptz)
RETURNS TABLE (place int, reason text, since timestamptz, detail jsonb, remedy text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT v.place, v.reason, v.since, jsonb_strip_nulls(v.detail), v.remedy
      FROM ff_engine.execution_row AS e
      JOIN ff_engine.lane AS l ON l.lane_id = e.lane_id
      LEFT JOIN ff_engine.claimer AS c ON c.claimer_id = e.claimer_id
      LEFT JOIN ff_engine.claimer AS g ON g.claimer_id = e.grant_claimer_id
     CROSS JOIN LATERAL (VALUES
           (1, 'terminal', e.lifecycle_phase = 't', e.completed_at,
            jsonb_build_object('public_state', ff_engine.public_word(e.state), 'failure_reason', e.failure_reason,
                               'failure_category', e.failure_category, 'cancellation_reason', e.cancellation_reason,
                               'cancelled_by', e.cancelled_by, 'purge_at', e.purge_at),
            format('ff_replay_execution(%L)', e.execution_id)),
           (2, 'deadline_passed', e.lifecycle_phase <> 't' AND e.execution_deadline <= explain_state.now, e.execution_deadline,
            jsonb_build_object('execution_deadline', e.execution_deadline),
            'ff_reconcile_execution_deadline()'),
           (3, 'leased', e.ownership_state = 'l' AND e.lease_expires_at > explain_state.now, e.lease_acquired_at,
            jsonb_build_object('worker', c.worker, 'worker_instance', c.worker_instance, 'lease_expires_at', e.lease_expires_at,
                               'attempt_index', e.total_attempt_count - 1, 'attempt_deadline', e.attempt_deadline,
                               'progress_pct', e.progress_pct, 'progress_message', e.progress_message),
            format('ff_revoke_lease(%L)', e.execution_id)),
           (4, 'lease_expired', e.ownership_state = 'e' OR e.ownership_state = 'l' AND e.lease_expires_at <= explain_state.now,
            e.lease_expires_at,
            jsonb_build_object('worker', c.worker, 'worker_instance', c.worker_instance, 'lease_expires_at', e.lease_expires_at,
                               'marked', e.ownership_state = 'e', 'attempt_index', e.total_attempt_count - 1,
                               'reclaim_count', e.lease_reclaim_count),
            format('ff_claim(%L, worker => …)', l.name)),
           (5, 'lease_revoked', e.ownership_state = 'r', e.lease_revoked_at,
            jsonb_build_object('worker', c.worker, 'worker_instance', c.worker_instance, 'revoke_reason', e.lease_revoke_reason,
                               'attempt_index', e.total_attempt_count - 1, 'reclaim_count', e.lease_reclaim_count),
            format('ff_claim(%L, worker => …)', l.name)),
           (10, 'suspended', e.lifecycle_phase = 's', e.last_transition_at,
            jsonb_build_object('blocking_reason', ff_engine.blocking_word(e.blocking_reason), 'blocking_detail', e.blocking_detail,
                               'suspension_id', e.current_suspension_id, 'waitpoint_id', e.current_waitpoint_id),
            format('ff_resume_execution(%L)', e.execution_id)),
           (11, CASE WHEN e.attempt_state = 'y' THEN 'retrying' ELSE 'delayed' END, e.eligibility_state = 't', e.last_transition_at,
            jsonb_build_object('delay_until', e.delay_until, 'due', e.delay_until <= explain_state.now,
                               'blocking_reason', ff_engine.blocking_word(e.blocking_reason), 'retry_count', nullif(e.retry_count, 0),
                               'failure_reason', e.failure_reason),
            CASE WHEN e.delay_until <= explain_state.now THEN 'ff_reconcile_delayed()'
                 ELSE format('ff_cancel_execution(%L, reason => …)', e.execution_id) END),
           (13, CASE e.eligibility_state WHEN 'b' THEN 'budget_denied' ELSE 'quota_denied' END, e.eligibility_state IN ('b', 'q'),
            e.last_transition_at,
            jsonb_build_object('policy_id', e.blocked_by_policy, 'blocking_detail', e.blocking_detail, 'recheck_at', e.recheck_at),
            format('ff_unblock_execution(%L)', e.execution_id)),
           (14, ff_engine.blocking_word(e.blocking_reason), e.eligibility_state IN ('o', 'l'), e.last_transition_at,
            jsonb_build_object('blocking_detail', e.blocking_detail),
            format('ff_unblock_execution(%L)', e.execution_id)),
           (20, 'lane_' || l.state, l.state IN ('paused', 'disabled') AND e.lifecycle_phase <> 't'
                                    AND NOT (e.ownership_state = 'l' AND e.lease_expires_at > explain_state.now), NULL,
            jsonb_build_object('lane', l.name, 'lane_reason', l.reason),
            format('ff_set_lane(%L, ''active'')', l.name)),
           (21, 'granted', e.grant_expires_at > explain_state.now, NULL,
            jsonb_build_object('worker', g.worker, 'worker_instance', g.worker_instance, 'expires_at', e.grant_expires_at,
                               'kind', CASE e.grant_kind WHEN 'r' THEN 'reclaim' ELSE 'claim' END),
            format('%s(%L, %L)', CASE e.grant_kind WHEN 'r' THEN 'ff_reclaim_execution' ELSE 'ff_claim_execution' END,
                   e.execution_id, g.worker))
           ) AS v (place, reason, holds, since, detail, remedy)
     WHERE e.execution_id = explain_state.id AND v.holds;
END;

-- The upstreams that it waits for: the first of those that have not ended, or have and are not counted yet.
CREATE FUNCTION ff_engine.explain_dependencies(id uuid, now timestamptz)
RETURNS TABLE (place int, reason text, since timestamptz, detail jsonb, remedy text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off
BEGIN ATOMIC
    SELECT 12, 'waiting_for_dependencies', e.last_transition_at,
           jsonb_strip_nulls(jsonb_build_object(
               'blocking_detail', e.blocking_detail, 'policy', g.policy, 'total_deps', g.total_deps,
               'satisfied_count', g.satisfied_count, 'failed_count', g.failed_count, 'skipped_count', g.skipped_count,
               'open_dependencies', g.running_count, 'open_edges', coalesce(o.edges, '[]'))),
           CASE WHEN o.due THEN format('ff_cascade_completion(%L)', o.first)
                WHEN g.running_count > 0 THEN format('ff_explain_execution(%L)', o.first)
                ELSE format('ff_promote_blocked_to_eligible(%L)', e.execution_id) END
      FROM ff_engine.execution_row AS e
      LEFT JOIN ff_engine.edge_group_row AS g ON g.downstream_execution_id = e.execution_id
     CROSS JOIN LATERAL (
           SELECT jsonb_agg(jsonb_build_object('edge_id', f.edge_id, 'upstream_execution_id', f.upstream_id,
                                               'dependency_kind', f.dependency_kind, 'public_state', f.public_state) ORDER BY f.place) AS edges,
                  (array_agg(f.upstream_id ORDER BY f.place))[1] AS first, coalesce(bool_or(f.place = 1 AND f.due), false) AS due
             FROM (SELECT i.edge_id, i.upstream_id, i.dependency_kind, ff_engine.public_word(u.state) AS public_state, u.due,
                          row_number() OVER (ORDER BY u.due DESC, i.ordinal) AS place
                     FROM ff_engine.edge AS i
                     LEFT JOIN LATERAL (
                          SELECT x.state, ff_engine.lifecycle(x.state) = 't'
                                          AND coalesce(i.consumed_life, -1) < coalesce((x.rare ->> 'replays')::int, 0) AS due
                            FROM ff_engine.execution AS x WHERE x.execution_id = i.upstream_id) AS u ON true
                    WHERE i.downstream_id = e.execution_id AND i.edge_state = 'unsatisfied'
                    ORDER BY place LIMIT 20) AS f) AS o
     WHERE e.execution_id = explain_dependencies.id AND e.eligibility_state = 'd';
END;

-- What it requires, and the live workers of its lane and namespace that lack least of it, if none has all.
CREATE FUNCTION ff_engine.explain_routing(id uuid, now timestamptz)
RETURNS TABLE (place int, reason text, since timestamptz, detail jsonb, remedy text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT 30, 'missing_capability', coalesce(e.last_capability_mismatch_at, e.last_transition_at),
           jsonb_strip_nulls(jsonb_build_object('required_capabilities', q.required, 'nearest_workers', coalesce(w.nearest, '[]'),
                                                'blocking_detail', e.blocking_detail)),
           CASE WHEN w.covered THEN format('ff_unblock_execution(%L)', e.execution_id) ELSE
           format('ff_register_worker(worker => …, worker_instance => …, lanes => %L, capabilities => %L, namespace => %L)',
                  ARRAY[l.name], q.required, n.name) END
      FROM ff_engine.execution_row AS e
      JOIN ff_engine.queue AS q ON q.queue_id = e.queue_id
      JOIN ff_engine.lane AS l ON l.lane_id = e.lane_id
      JOIN ff_engine.namespace AS n ON n.namespace_id = e.namespace_id
     CROSS JOIN LATERAL (
           SELECT jsonb_agg(jsonb_build_object('worker', f.worker, 'worker_instance', f.worker_instance, 'missing', f.missing)
                            ORDER BY cardinality(f.missing), f.worker_instance) AS nearest,
                  coalesce(min(cardinality(f.missing)) = 0, false) AS covered
             FROM (SELECT r.worker, r.worker_instance, m.missing
                     FROM ff_engine.worker AS r
                    CROSS JOIN LATERAL (SELECT ARRAY(SELECT t.token FROM unnest(q.required) AS t (token)
                                                      WHERE t.token <> ALL (r.capabilities) ORDER BY t.token COLLATE "C") AS missing) AS m
                    WHERE r.namespace_id = e.namespace_id AND r.expires_at > explain_routing.now AND l.name = ANY (r.lanes)
                    ORDER BY cardinality(m.missing), r.worker_instance
                    LIMIT 3) AS f) AS w
     WHERE e.execution_id = explain_routing.id
       AND (e.eligibility_state = 'r' OR e.eligibility_state = 'e' AND cardinality(q.required) > 0 AND NOT w.covered);
END;

-- Nothing holds it back: it waits for a worker to claim it, after those before it in its queue.
CREATE FUNCTION ff_engine.explain_ready(id uuid, now timestamptz)
RETURNS TABLE (place int, reason text, since timestamptz, detail jsonb, remedy text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off
BEGIN ATOMIC
    SELECT 50, 'ready', e.last_transition_at,
           jsonb_build_object('lane', l.name, 'namespace', n.name, 'priority', e.priority, 'required_capabilities', q.required,
                              'attempt_state', ff_engine.attempt_state_word(e.attempt_state), 'ahead', a.ahead),
           format('ff_claim(%L, worker => …)', l.name)
      FROM ff_engine.execution_row AS e
      JOIN ff_engine.queue AS q ON q.queue_id = e.queue_id
      JOIN ff_engine.lane AS l ON l.lane_id = e.lane_id
      JOIN ff_engine.namespace AS n ON n.namespace_id = e.namespace_id
     CROSS JOIN LATERAL (
           SELECT count(*) AS ahead
             FROM (SELECT FROM ff_engine.ready AS r
                    WHERE r.queue_id = e.queue_id
                      AND (r.rank, r.created_at, r.execution_id) < ((9000 - e.priority)::smallint, e.created_at, e.execution_id)
                    LIMIT 1000) AS before) AS a
     WHERE e.execution_id = explain_ready.id AND ff_engine.claimable(e.state, false);
END;

CREATE FUNCTION @extschema@.ff_explain_execution(execution_id uuid)
RETURNS TABLE (reason text, since timestamptz, detail jsonb, remedy text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH given AS MATERIALIZED (
        SELECT ff_engine.given(ff_explain_execution.execution_id) AS id, @extschema@.ff_server_time() AS now),
    asked AS MATERIALIZED (
        SELECT g.id, g.now FROM given AS g
          JOIN ff_engine.execution AS e ON e.execution_id = g.id AND ff_engine.admits(e.namespace_id)),
    holding AS MATERIALIZED (
        SELECT r.* FROM asked AS a CROSS JOIN LATERAL ff_engine.explain_state(a.id, a.now) AS r
        UNION ALL
        SELECT r.* FROM asked AS a CROSS JOIN LATERAL ff_engine.explain_dependencies(a.id, a.now) AS r
        UNION ALL
        SELECT r.* FROM asked AS a CROSS JOIN LATERAL ff_engine.explain_routing(a.id, a.now) AS r
        UNION ALL
        SELECT r.* FROM asked AS a CROSS JOIN LATERAL ff_engine.explain_limits(a.id, a.now) AS r)
    SELECT r.reason, r.since, r.detail, r.remedy
      FROM (SELECT h.* FROM holding AS h
            UNION ALL
            SELECT f.* FROM asked AS a CROSS JOIN LATERAL ff_engine.explain_ready(a.id, a.now) AS f
             WHERE NOT EXISTS (SELECT FROM holding)) AS r
     ORDER BY r.place;
END;

SET LOCAL search_path = @extschema@, pg_temp;
