-- Conditions as documents, and reads over suspensions, waitpoints, signals and keys. None shows a token or a secret.

-- Every name and operator here means pg_catalog's, whatever the schema holds that the extension is created in.
SET LOCAL search_path = pg_catalog, pg_temp;

-- No names accept every one, one is exact, several are alternatives.
CREATE FUNCTION ff_engine.matcher(names text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT CASE coalesce(cardinality(names), 0)
               WHEN 0 THEN NULL
               WHEN 1 THEN to_jsonb(names[array_lower(names, 1)])
               ELSE jsonb_build_object('one_of', names) END;
END;

CREATE FUNCTION @extschema@.ff_cond_signal(waitpoint_key text DEFAULT NULL, VARIADIC names text[] DEFAULT '{}') RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT jsonb_strip_nulls(jsonb_build_object('type', 'signal', 'waitpoint', waitpoint_key, 'match', ff_engine.matcher(names)));
END;

CREATE FUNCTION @extschema@.ff_cond_all_of(VARIADIC members jsonb[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT jsonb_build_object('type', 'all_of', 'members', coalesce(to_jsonb(members), '[]'));
END;

CREATE FUNCTION @extschema@.ff_cond_any_of(VARIADIC members jsonb[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT jsonb_build_object('type', 'any_of', 'members', coalesce(to_jsonb(members), '[]'));
END;

CREATE FUNCTION @extschema@.ff_cond_count(
    n int, distinct_by text, waitpoint_keys text[] DEFAULT NULL, names text[] DEFAULT '{}') RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT jsonb_strip_nulls(jsonb_build_object(
        'type', 'count', 'n', n, 'distinct', distinct_by, 'waitpoints', waitpoint_keys, 'match', ff_engine.matcher(names)));
END;

CREATE FUNCTION @extschema@.ff_cond_all_waitpoints(VARIADIC waitpoint_keys text[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT jsonb_build_object('type', 'all_of', 'members', coalesce((
        SELECT jsonb_agg(jsonb_build_object('type', 'signal', 'waitpoint', k.key) ORDER BY k.place)
          FROM unnest(waitpoint_keys) WITH ORDINALITY AS k (key, place)), '[]'));
END;

CREATE FUNCTION @extschema@.ff_cond_operator_only() RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT '{"type": "operator_only"}'::jsonb;
END;

CREATE FUNCTION @extschema@.ff_cond_timeout_only() RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT '{"type": "timeout_only"}'::jsonb;
END;

-- The key that signs, then those that still verify. The clock is the engine's.
CREATE FUNCTION @extschema@.ff_list_waitpoint_kids()
RETURNS TABLE (kid text, role text, created_at timestamptz, expires_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT k.kid, CASE WHEN k.retired_at IS NULL THEN 'current' ELSE 'verifying' END, k.created_at, k.expires_at
      FROM ff_engine.waitpoint_secret AS k
     WHERE k.retired_at IS NULL OR k.expires_at > @extschema@.ff_server_time()
     ORDER BY k.retired_at IS NOT NULL, k.expires_at, k.kid;
END;

CREATE FUNCTION @extschema@.ff_list_pending_waitpoints(execution_id uuid, after uuid DEFAULT NULL, max_items int DEFAULT 100)
RETURNS TABLE (
    waitpoint_id uuid, waitpoint_key text, state text, required_signal_names text[], created_at timestamptz,
    activated_at timestamptz, expires_at timestamptz, execution_id uuid, token_kid text, token_fingerprint text,
    has_more boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (
        SELECT ff_engine.given(ff_list_pending_waitpoints.execution_id) AS id, ff_engine.page(max_items, 1000) AS page),
    found AS MATERIALIZED (
        SELECT a.id, a.page
          FROM asked AS a
          LEFT JOIN ff_engine.execution AS e ON e.execution_id = a.id AND ff_engine.admits(e.namespace_id)
         WHERE ff_engine.existing(a.id, e.execution_id IS NOT NULL))
    SELECT p.waitpoint_id, p.waitpoint_key, p.state, ARRAY(SELECT jsonb_array_elements_text(p.required_signal_names)),
           p.created_at, p.activated_at, p.expires_at, p.execution_id, p.token_kid, p.token_fingerprint, p.has_more
      FROM (SELECT c.*, f.page, row_number() OVER (ORDER BY c.waitpoint_id) AS place, count(*) OVER () > f.page AS has_more
              FROM found AS f
             CROSS JOIN LATERAL (
                   SELECT w.* FROM ff_engine.waitpoint AS w
                    WHERE w.execution_id = f.id AND w.closed_at IS NULL
                      AND w.waitpoint_id >= coalesce(after, '00000000-0000-0000-0000-000000000000')
                      AND w.waitpoint_id IS DISTINCT FROM after
                    ORDER BY w.waitpoint_id
                    LIMIT f.page + least(f.page, 1)) AS c) AS p
     WHERE p.place <= p.page
     ORDER BY p.waitpoint_id;
END;

CREATE FUNCTION @extschema@.ff_list_suspended(
    partition_key int DEFAULT NULL, after_suspended_at timestamptz DEFAULT NULL, after_execution_id uuid DEFAULT NULL,
    max_items int DEFAULT 100, namespace text DEFAULT NULL, lane text DEFAULT NULL)
RETURNS TABLE (
    execution_id uuid, suspended_at timestamptz, timeout_at timestamptz, reason text, suspension_id uuid, waitpoint_id uuid,
    has_more boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (
        SELECT ff_engine.page(max_items, 1000) AS page, ff_engine.partition(ff_list_suspended.partition_key) AS partition,
               coalesce(after_suspended_at, '-infinity') AS after_at,
               coalesce(after_execution_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AS after_id,
               (SELECT l.lane_id FROM ff_engine.lane AS l WHERE l.name = ff_list_suspended.lane) AS lane,
               (SELECT n.namespace_id FROM ff_engine.namespace AS n WHERE n.name = ff_list_suspended.namespace) AS namespace)
    SELECT p.execution_id, p.suspended_at, p.timeout_at, p.reason, p.suspension_id, p.waitpoint_ids[1], p.has_more
      FROM (SELECT c.*, a.page, row_number() OVER (ORDER BY c.suspended_at, c.execution_id) AS place,
                   count(*) OVER () > a.page AS has_more
              FROM asked AS a
             CROSS JOIN LATERAL (
                   SELECT s.* FROM ff_engine.suspension AS s
                     JOIN ff_engine.execution AS e ON e.execution_id = s.execution_id AND ff_engine.admits(e.namespace_id)
                    WHERE s.closed_at IS NULL AND (s.suspended_at, s.execution_id) > (a.after_at, a.after_id)
                      AND (a.partition IS NULL OR e.partition_key = a.partition)
                      AND (ff_list_suspended.namespace IS NULL OR e.namespace_id = a.namespace)
                      AND (ff_list_suspended.lane IS NULL OR e.lane_id = a.lane)
                    ORDER BY s.suspended_at, s.execution_id
                    LIMIT a.page + least(a.page, 1)) AS c) AS p
     WHERE p.place <= p.page
     ORDER BY p.suspended_at, p.execution_id;
END;

CREATE FUNCTION @extschema@.ff_list_signals(
    execution_id uuid, waitpoint_id uuid DEFAULT NULL, after_seq bigint DEFAULT NULL, max_items int DEFAULT 100,
    include_payload boolean DEFAULT false)
RETURNS TABLE (
    signal_id uuid, execution_id uuid, waitpoint_id uuid, suspension_id uuid, signal_seq bigint, signal_name text,
    signal_category text, source_type text, source_identity text, correlation_id text, idempotency_key text,
    target_scope text, payload bytea, payload_encoding text, occurred_at timestamptz, accepted_at timestamptz, effect text,
    matched boolean, consumed_at timestamptz, payload_bytes int, has_more boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (
        SELECT ff_engine.given(ff_list_signals.execution_id) AS id, ff_engine.page(max_items, 1000) AS page)
    SELECT p.signal_id, p.execution_id, p.waitpoint_id, p.suspension_id, p.signal_seq, p.signal_name, p.signal_category,
           p.source_type, p.source_identity, p.correlation_id, p.idempotency_key, p.target_scope,
           CASE WHEN include_payload THEN p.payload END, p.payload_encoding, p.occurred_at, p.accepted_at,
           ff_engine.effect_word(p.effect), p.matched, p.consumed_at, octet_length(p.payload), p.has_more
      FROM (SELECT c.*, a.page, row_number() OVER (ORDER BY c.signal_seq) AS place, count(*) OVER () > a.page AS has_more
              FROM asked AS a
              JOIN ff_engine.execution AS e ON e.execution_id = a.id AND ff_engine.admits(e.namespace_id)
             CROSS JOIN LATERAL (
                   SELECT g.* FROM ff_engine.signal AS g
                    WHERE g.execution_id = a.id AND g.signal_seq > coalesce(after_seq, 0)
                      AND (ff_list_signals.waitpoint_id IS NULL OR g.waitpoint_id = ff_list_signals.waitpoint_id)
                    ORDER BY g.signal_seq
                    LIMIT a.page + least(a.page, 1)) AS c) AS p
     WHERE p.place <= p.page
     ORDER BY p.signal_seq;
END;

-- The suspension that was asked for, else the open one, else the latest.
CREATE FUNCTION @extschema@.ff_describe_suspension(execution_id uuid, suspension_id uuid DEFAULT NULL)
RETURNS TABLE (
    suspension_id uuid, execution_id uuid, attempt_index int, reason text, requested_by text, condition jsonb,
    resume_policy jsonb, timeout_at timestamptz, timeout_behavior text, continuation text, idempotency_key text,
    released_lease_id uuid, suspended_at timestamptz, escalated_at timestamptz, satisfied_at timestamptz,
    closed_at timestamptz, close_reason text, resume_trigger text, closer_signal_id uuid, last_token_failure_at timestamptz,
    waitpoints jsonb, progress jsonb)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (SELECT ff_engine.given(ff_describe_suspension.execution_id) AS id)
    SELECT s.suspension_id, s.execution_id, s.attempt_index, s.reason, s.requested_by, s.condition, s.resume_policy,
           s.timeout_at, s.timeout_behavior, s.continuation, s.idempotency_key, s.released_lease_id, s.suspended_at,
           s.escalated_at, s.satisfied_at, s.closed_at, s.close_reason, s.resume_trigger, s.closer_signal_id,
           (SELECT f.last_at FROM ff_engine.token_failure AS f WHERE f.execution_id = s.execution_id),
           coalesce((SELECT jsonb_agg(jsonb_build_object(
                                'waitpoint_id', w.waitpoint_id, 'waitpoint_key', w.waitpoint_key, 'state', w.state,
                                'close_reason', w.close_reason, 'signal_count', w.signal_count,
                                'matched_signal_count', w.matched_signal_count, 'last_signal_at', w.last_signal_at)
                            ORDER BY i.place)
                       FROM unnest(s.waitpoint_ids) WITH ORDINALITY AS i (id, place)
                       JOIN ff_engine.waitpoint AS w ON w.waitpoint_id = i.id), '[]'),
           ff_engine.condition_progress(s.condition, s.progress)
      FROM asked AS a
      JOIN ff_engine.execution AS e ON e.execution_id = a.id AND ff_engine.admits(e.namespace_id)
     CROSS JOIN LATERAL (
           SELECT l.* FROM ff_engine.suspension AS l
            WHERE l.execution_id = a.id
              AND (ff_describe_suspension.suspension_id IS NULL OR l.suspension_id = ff_describe_suspension.suspension_id)
            ORDER BY l.suspended_at DESC, l.suspension_id DESC
            LIMIT 1) AS s;
END;

SET LOCAL search_path = @extschema@, pg_temp;
