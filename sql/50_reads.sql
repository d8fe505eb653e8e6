-- Reads that decide nothing: parsed when the extension is created, so that no search_path changes their meaning.
--
-- ff_engine.given(), page() and the other checks are written in Rust (src/api/check.rs), where error texts are. They
-- stand in a materialised `asked`, which is read even if nothing is found: a wrong argument is always refused.
-- Where a page is cut from a wide scan the planner is held to the index that gives the order; where one execution is
-- looked up through many joins, to the joins as written, since looking for a better order costs more than the look-up.
-- ff_engine.admits() stands in every read: a role bound to namespaces sees nothing of the others.

-- Every name and operator here means pg_catalog's, whatever the schema holds that the extension is created in.
SET LOCAL search_path = pg_catalog, pg_temp;

CREATE FUNCTION @extschema@.ff_describe_execution(execution_id uuid) RETURNS SETOF @extschema@.ff_executions
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET join_collapse_limit = 1
BEGIN ATOMIC
    SELECT v.* FROM @extschema@.ff_executions AS v WHERE v.execution_id = ff_engine.given(ff_describe_execution.execution_id);
END;

CREATE FUNCTION @extschema@.ff_read_execution_info(execution_id uuid)
RETURNS TABLE (
    execution_id uuid, namespace text, lane text, priority int, kind text, lifecycle_phase text, ownership_state text,
    eligibility_state text, blocking_reason text, terminal_outcome text, attempt_state text, public_state text,
    created_at timestamptz, started_at timestamptz, completed_at timestamptz, current_attempt_index int, flow_id uuid,
    blocking_detail text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET join_collapse_limit = 1
BEGIN ATOMIC
    SELECT v.execution_id, v.namespace, v.lane, v.priority, v.kind, v.lifecycle_phase, v.ownership_state,
           v.eligibility_state, v.blocking_reason, v.terminal_outcome, v.attempt_state, v.public_state,
           v.created_at, v.started_at, v.completed_at, v.current_attempt_index, v.flow_id, v.blocking_detail
      FROM @extschema@.ff_executions AS v
     WHERE v.execution_id = ff_engine.given(ff_read_execution_info.execution_id);
END;

CREATE FUNCTION @extschema@.ff_read_execution_state(execution_id uuid) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (SELECT ff_engine.given(ff_read_execution_state.execution_id) AS id)
    SELECT ff_engine.public_word(e.state)
      FROM asked AS a
      JOIN ff_engine.execution AS e ON e.execution_id = a.id AND ff_engine.admits(e.namespace_id);
END;

CREATE FUNCTION @extschema@.ff_get_execution_result(execution_id uuid)
RETURNS TABLE (result bytea, result_encoding text, completed_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (SELECT ff_engine.given(ff_get_execution_result.execution_id) AS id)
    SELECT e.result, e.result_encoding, e.completed_at
      FROM asked AS a
      JOIN ff_engine.execution AS e ON e.execution_id = a.id AND ff_engine.admits(e.namespace_id) AND ff_engine.outcome(e.state) = 's';
END;

CREATE FUNCTION @extschema@.ff_read_execution_context(execution_id uuid)
RETURNS TABLE (payload bytea, payload_encoding text, kind text, tags jsonb)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (SELECT ff_engine.given(ff_read_execution_context.execution_id) AS id)
    SELECT i.payload, i.payload_encoding, e.kind, coalesce(e.tags, '{}'::jsonb)
      FROM asked AS a
      LEFT JOIN ff_engine.execution AS e ON e.execution_id = a.id AND ff_engine.admits(e.namespace_id)
      LEFT JOIN ff_engine.execution_input AS i ON i.execution_id = e.execution_id
     WHERE ff_engine.existing(a.id, e.execution_id IS NOT NULL);
END;

-- Every scalar fact of an execution as text; instants are ISO-8601 in UTC.
CREATE FUNCTION @extschema@.ff_read_exec_core_fields(execution_id uuid, fields text[]) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET intervalstyle = 'postgres'
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (
        SELECT ff_engine.given(ff_read_exec_core_fields.execution_id) AS id,
               ff_engine.names(ff_read_exec_core_fields.fields) AS names),
    facts AS (
        SELECT to_jsonb(v) - '{tags,attempt_type,attempt_started_at}'::text[] || jsonb_build_object(
                   'attempt_index', v.current_attempt_index,
                   'lane_id', v.lane,
                   'cancel_reason', v.cancellation_reason,
                   'current_worker_instance_id', v.worker_instance,
                   'created_at_ms', floor(extract(epoch FROM v.created_at) * 1000)::bigint,
                   'terminal_at_ms', floor(extract(epoch FROM v.completed_at) * 1000)::bigint,
                   'deadline_at_ms', floor(extract(epoch FROM v.execution_deadline) * 1000)::bigint,
                   'required_capabilities', nullif(array_to_string(v.required_capabilities, ','), ''),
                   'budget_ids', (SELECT string_agg(b.id, ',' ORDER BY b.place)
                                    FROM jsonb_array_elements_text(i.policy -> 'budget_ids') WITH ORDINALITY AS b (id, place)),
                   'quota_policy_id', i.policy ->> 'quota_policy_id') AS document
          FROM asked AS a
          JOIN @extschema@.ff_executions AS v ON v.execution_id = a.id
          LEFT JOIN ff_engine.execution_input AS i ON i.execution_id = v.execution_id)
    SELECT coalesce(jsonb_object_agg(f.name, facts.document ->> f.name), '{}'::jsonb)
      FROM asked AS a
     CROSS JOIN LATERAL unnest(a.names) AS f (name)
      LEFT JOIN facts ON true;
END;

CREATE FUNCTION @extschema@.ff_read_current_attempt_index(execution_id uuid) RETURNS int
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (SELECT ff_engine.given(ff_read_current_attempt_index.execution_id) AS id)
    SELECT nullif(e.total_attempt_count - 1, -1)
      FROM asked AS a
      LEFT JOIN ff_engine.execution AS e ON e.execution_id = a.id AND ff_engine.admits(e.namespace_id)
     WHERE ff_engine.existing(a.id, e.execution_id IS NOT NULL);
END;

CREATE FUNCTION @extschema@.ff_read_total_attempt_count(execution_id uuid) RETURNS int
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (SELECT ff_engine.given(ff_read_total_attempt_count.execution_id) AS id)
    SELECT e.total_attempt_count
      FROM asked AS a
      LEFT JOIN ff_engine.execution AS e ON e.execution_id = a.id AND ff_engine.admits(e.namespace_id)
     WHERE ff_engine.existing(a.id, e.execution_id IS NOT NULL);
END;

CREATE FUNCTION @extschema@.ff_resolve_execution_flow_id(execution_id uuid) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (SELECT ff_engine.given(ff_resolve_execution_flow_id.execution_id) AS id)
    SELECT e.flow_id FROM asked AS a JOIN ff_engine.execution AS e ON e.execution_id = a.id AND ff_engine.admits(e.namespace_id);
END;

CREATE FUNCTION @extschema@.ff_get_execution_tag(execution_id uuid, key text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (
        SELECT ff_engine.given(ff_get_execution_tag.execution_id) AS id, ff_engine.tag_key(key) AS key)
    SELECT e.tags ->> a.key FROM asked AS a JOIN ff_engine.execution AS e ON e.execution_id = a.id AND ff_engine.admits(e.namespace_id);
END;

CREATE FUNCTION @extschema@.ff_get_execution_namespace(execution_id uuid) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (SELECT ff_engine.given(ff_get_execution_namespace.execution_id) AS id)
    SELECT n.name
      FROM asked AS a
      JOIN ff_engine.execution AS e ON e.execution_id = a.id AND ff_engine.admits(e.namespace_id)
      JOIN ff_engine.namespace AS n ON n.namespace_id = e.namespace_id;
END;

CREATE FUNCTION @extschema@.ff_format_execution_id(execution_id uuid) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (SELECT ff_engine.given(ff_format_execution_id.execution_id) AS id)
    SELECT '{fp:' || e.partition_key || '}:' || a.id
      FROM asked AS a
      LEFT JOIN ff_engine.execution AS e ON e.execution_id = a.id AND ff_engine.admits(e.namespace_id)
     WHERE ff_engine.existing(a.id, e.execution_id IS NOT NULL);
END;

CREATE FUNCTION @extschema@.ff_list_attempts(execution_id uuid, max_items int DEFAULT 100, before_index int DEFAULT NULL)
RETURNS SETOF @extschema@.ff_attempts
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (
        SELECT ff_engine.given(ff_list_attempts.execution_id) AS id, ff_engine.page(max_items, 1000) AS page)
    SELECT p.*
      FROM asked AS a
     CROSS JOIN LATERAL (
           SELECT v.* FROM @extschema@.ff_attempts AS v
            WHERE v.execution_id = a.id AND (before_index IS NULL OR v.attempt_index < before_index)
            ORDER BY v.attempt_index DESC
            LIMIT a.page) AS p
     ORDER BY p.attempt_index DESC;
END;

CREATE FUNCTION @extschema@.ff_list_executions(
    partition_key int DEFAULT NULL, after uuid DEFAULT NULL, max_items int DEFAULT 100, namespace text DEFAULT NULL,
    lane text DEFAULT NULL, flow_id uuid DEFAULT NULL, public_states text[] DEFAULT NULL, tags jsonb DEFAULT NULL)
RETURNS TABLE (
    execution_id uuid, namespace text, lane text, kind text, public_state text, priority int, created_at timestamptz,
    flow_id uuid, partition_key smallint, has_more boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (
        SELECT ff_engine.page(max_items, 1000) AS page,
               ff_engine.partition(ff_list_executions.partition_key) AS partition,
               ff_engine.public_states(public_states) AS states,
               ff_engine.tag_filter(ff_list_executions.tags) AS tags,
               (SELECT l.lane_id FROM ff_engine.lane AS l WHERE l.name = ff_list_executions.lane) AS lane,
               (SELECT n.namespace_id FROM ff_engine.namespace AS n WHERE n.name = ff_list_executions.namespace) AS namespace)
    SELECT p.execution_id, n.name, l.name, p.kind, p.public_state, p.priority::int, p.created_at, p.flow_id,
           p.partition_key, p.has_more
      FROM (SELECT c.*, a.page,
                   row_number() OVER (ORDER BY c.execution_id) AS place,
                   count(*) OVER () > a.page AS has_more
              FROM asked AS a
             CROSS JOIN LATERAL (
                   SELECT e.execution_id, e.namespace_id, e.lane_id, e.kind, e.priority, e.created_at, e.flow_id, e.partition_key,
                          ff_engine.public_word(e.state) AS public_state
                     FROM ff_engine.execution AS e
                    WHERE e.execution_id >= coalesce(after, '00000000-0000-0000-0000-000000000000')
                      AND e.execution_id IS DISTINCT FROM after
                      AND ff_engine.admits(e.namespace_id)
                      AND (a.partition IS NULL OR e.partition_key = a.partition)
                      AND (ff_list_executions.namespace IS NULL OR e.namespace_id = a.namespace)
                      AND (ff_list_executions.lane IS NULL OR e.lane_id = a.lane)
                      AND (ff_list_executions.flow_id IS NULL OR e.flow_id = ff_list_executions.flow_id)
                      AND (a.tags IS NULL OR coalesce(e.tags, '{}'::jsonb) @> a.tags)
                      AND (a.states IS NULL
                           OR ff_engine.public_word(e.state) = ANY (a.states))
                    ORDER BY e.execution_id
                    LIMIT a.page + least(a.page, 1)) AS c) AS p
      JOIN ff_engine.namespace AS n ON n.namespace_id = p.namespace_id
      JOIN ff_engine.lane AS l ON l.lane_id = p.lane_id
     WHERE p.place <= p.page
     ORDER BY p.execution_id;
END;

-- From the counts; members of one flow are counted themselves.
CREATE FUNCTION @extschema@.ff_count_executions(lane text DEFAULT NULL, namespace text DEFAULT NULL, flow_id uuid DEFAULT NULL)
RETURNS TABLE (public_state text, executions bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
BEGIN ATOMIC
    SELECT ff_engine.public_state_at(v.place), sum(v.executions)::bigint
      FROM (SELECT c.lane_id, c.namespace_id, c.place, c.executions
              FROM ff_engine.counted() AS c
             WHERE ff_count_executions.flow_id IS NULL
            UNION ALL
            SELECT e.lane_id, e.namespace_id, ff_engine.public_place(e.state), 1
              FROM ff_engine.execution AS e
             WHERE ff_count_executions.flow_id IS NOT NULL AND e.flow_id = ff_count_executions.flow_id
               AND ff_engine.admits(e.namespace_id)) AS v
     WHERE (ff_count_executions.lane IS NULL
            OR v.lane_id = (SELECT l.lane_id FROM ff_engine.lane AS l WHERE l.name = ff_count_executions.lane))
       AND (ff_count_executions.namespace IS NULL
            OR v.namespace_id = (SELECT n.namespace_id FROM ff_engine.namespace AS n WHERE n.name = ff_count_executions.namespace))
     GROUP BY v.place
     ORDER BY 1;
END;

CREATE FUNCTION @extschema@.ff_list_lanes(after text DEFAULT NULL, max_items int DEFAULT 100)
RETURNS TABLE (lane text, state text, registered_at timestamptz, registered_by text, retention interval, has_more boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (SELECT ff_engine.page(max_items, 1000) AS page)
    SELECT p.name, p.state, p.registered_at, p.registered_by, p.retention_ms * interval '1 millisecond', p.has_more
      FROM (SELECT c.*, a.page, row_number() OVER (ORDER BY c.name) AS place, count(*) OVER () > a.page AS has_more
              FROM asked AS a
             CROSS JOIN LATERAL (
                   SELECT l.name, l.state, l.registered_at, l.registered_by, l.retention_ms
                     FROM ff_engine.lane AS l
                    WHERE l.name > coalesce(after, '') COLLATE "C"
                      AND (ff_engine.admits(NULL)
                           OR EXISTS (SELECT FROM ff_engine.queue AS q
                                       WHERE q.lane_id = l.lane_id AND ff_engine.admits(q.namespace_id)))
                    ORDER BY l.name
                    LIMIT a.page + least(a.page, 1)) AS c) AS p
     WHERE p.place <= p.page
     ORDER BY p.name;
END;

-- Who may hold a lost lease: whatever has a live timer by then, and what is marked and waits for a reclaim.
-- LIMIT 1 makes the candidates lead to their rows.
CREATE FUNCTION @extschema@.ff_list_expired_leases(
    as_of timestamptz DEFAULT NULL, after_expires_at timestamptz DEFAULT NULL, after_execution_id uuid DEFAULT NULL,
    max_items int DEFAULT 1000, namespace text DEFAULT NULL)
RETURNS TABLE (
    execution_id uuid, lease_id uuid, lease_epoch bigint, worker text, worker_instance text, lease_expires_at timestamptz,
    attempt_index int, namespace text, lane text, marked boolean, has_more boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (
        SELECT ff_engine.page(max_items, 10000) AS page, n.now, coalesce(as_of, n.now) AS as_of,
               coalesce(after_expires_at, '-infinity') AS after_at,
               CASE WHEN after_expires_at IS NOT NULL THEN after_execution_id END AS after_id
          FROM (SELECT @extschema@.ff_server_time() AS now) AS n),
    candidate AS MATERIALIZED (
        SELECT DISTINCT t.execution_id
          FROM asked AS a
         CROSS JOIN ff_engine.lane AS l
         CROSS JOIN (VALUES ('l'::"char"), ('x'::"char")) AS k (kind)
          JOIN ff_engine.timer AS t ON t.kind = k.kind AND t.lane_id = l.lane_id AND t.due_at <= a.as_of)
    SELECT p.execution_id, p.lease_id, p.lease_epoch, p.worker, p.worker_instance, p.lease_expires_at, p.attempt_index,
           p.namespace, p.lane, p.marked, p.has_more
      FROM (SELECT c.*, a.page, row_number() OVER (ORDER BY c.lease_expires_at, c.execution_id) AS place,
                   count(*) OVER () > a.page AS has_more
              FROM asked AS a
             CROSS JOIN LATERAL (
                   SELECT e.execution_id, e.lease_id, e.lease_epoch, w.worker, w.worker_instance, e.lease_expires_at,
                          e.total_attempt_count - 1 AS attempt_index, n.name AS namespace, l.name AS lane,
                          ff_engine.ownership(e.state) = 'e' AS marked
                     FROM candidate AS d
                    CROSS JOIN LATERAL (
                          SELECT x.* FROM ff_engine.execution AS x
                           WHERE x.execution_id = d.execution_id AND ff_engine.ownership(x.state) IN ('l', 'e') LIMIT 1) AS e
                     JOIN ff_engine.namespace AS n ON n.namespace_id = e.namespace_id
                     JOIN ff_engine.lane AS l ON l.lane_id = e.lane_id
                     JOIN ff_engine.claimer AS w ON w.claimer_id = e.claimer_id
                    WHERE e.lease_expires_at <= a.as_of AND ff_engine.admits(e.namespace_id)
                      AND (e.lease_expires_at > a.after_at
                           OR e.lease_expires_at = a.after_at AND e.execution_id > a.after_id)
                      AND (ff_list_expired_leases.namespace IS NULL OR n.name = ff_list_expired_leases.namespace)
                    ORDER BY e.lease_expires_at, e.execution_id
                    LIMIT a.page + least(a.page, 1)) AS c) AS p
     WHERE p.place <= p.page
     ORDER BY p.lease_expires_at, p.execution_id;
END;

-- What the server says about itself.

CREATE FUNCTION @extschema@.ff_version()
RETURNS TABLE (
    extension_version text, api_version int, server_version text, preloaded boolean, background_workers boolean,
    installed_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT x.extversion, 1, current_setting('server_version'), ff_engine.preloaded(), ff_engine.worker_alive(),
           (SELECT i.installed_at FROM ff_engine.installation AS i)
      FROM pg_extension AS x
     WHERE x.extname = 'ff_engine';
END;

CREATE FUNCTION @extschema@.ff_ping() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT count(*) >= 0 FROM (SELECT FROM ff_engine.execution LIMIT 1) AS e;
END;

-- A feature is supported if the function that offers it is installed.
CREATE FUNCTION @extschema@.ff_capabilities() RETURNS TABLE (feature text, supported boolean, note text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT f.feature,
           CASE WHEN f.feature = 'background_workers' THEN ff_engine.worker_alive()
                ELSE EXISTS (SELECT FROM pg_extension AS x
                               JOIN pg_depend AS d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = x.oid
                                                  AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
                               JOIN pg_proc AS p ON p.oid = d.objid
                              WHERE x.extname = 'ff_engine' AND p.proname = f.function) END,
           coalesce(f.note, f.function)
      FROM (VALUES
            ('cancel_execution', 'ff_cancel_execution', NULL),
            ('change_priority', 'ff_change_priority', NULL),
            ('replay_execution', 'ff_replay_execution', NULL),
            ('revoke_lease', 'ff_revoke_lease', NULL),
            ('read_execution_state', 'ff_read_execution_state', NULL),
            ('read_execution_info', 'ff_read_execution_info', NULL),
            ('get_execution_result', 'ff_get_execution_result', NULL),
            ('budget_admin', 'ff_create_budget', NULL),
            ('quota_admin', 'ff_create_quota_policy', NULL),
            ('rotate_waitpoint_hmac_secret_all', 'ff_rotate_waitpoint_secret', 'ff_rotate_waitpoint_secret, for all partitions at once'),
            ('seed_waitpoint_hmac_secret', 'ff_seed_waitpoint_secret', NULL),
            ('list_pending_waitpoints', 'ff_list_pending_waitpoints', NULL),
            ('cancel_flow_header', 'ff_cancel_flow_header', NULL),
            ('cancel_flow_wait_timeout', 'ff_wait_flow', 'ff_cancel_flow, then ff_wait_flow'),
            ('cancel_flow_wait_indefinite', 'ff_wait_flow', 'ff_cancel_flow, then ff_wait_flow until it is done'),
            ('ack_cancel_member', 'ff_ack_cancel_member', NULL),
            ('claim_for_worker', 'ff_claim_for_worker', NULL),
            ('issue_reclaim_grant', 'ff_issue_reclaim_grant', NULL),
            ('prepare', 'ff_version', 'nothing to prepare: CREATE EXTENSION leaves the engine ready'),
            ('subscribe_lease_history', 'ff_read_events', 'family lease of ff_read_events'),
            ('subscribe_completion', 'ff_read_events', 'family completion of ff_read_events'),
            ('subscribe_signal_delivery', 'ff_deliver_signal', 'family signal of ff_read_events'),
            ('subscribe_instance_tags', 'ff_read_events', 'the tags filter of every read, and family tag'),
            ('stream_durable_summary', 'ff_read_summary', NULL),
            ('stream_best_effort_live', 'ff_tail_stream', NULL),
            ('register_worker', 'ff_register_worker', NULL),
            ('heartbeat_worker', 'ff_heartbeat_worker', NULL),
            ('mark_worker_dead', 'ff_mark_worker_dead', NULL),
            ('list_expired_leases', 'ff_list_expired_leases', NULL),
            ('list_workers', 'ff_list_workers', NULL),
            ('release_admission', 'ff_release_admission', NULL),
            ('read_quota_policy_limits', 'ff_read_quota_policy_limits', NULL),
            ('block_execution_for_admission', 'ff_block_execution', NULL),
            ('read_budget_usage_and_limits', 'ff_read_budget_usage_and_limits', NULL),
            ('batch_claim', 'ff_claim', 'max_items of ff_claim'),
            ('claim_wait', 'ff_claim', 'wait of ff_claim'),
            ('wait_procedures', 'ff_wait_for_work', NULL),
            ('complete_and_claim', 'ff_complete_and_claim', NULL),
            ('background_workers', NULL, 'whether a worker of this database has been heard of lately')
           ) AS f (feature, function, note);
END;

SET LOCAL search_path = @extschema@, pg_temp;
