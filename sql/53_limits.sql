-- Reads of budgets and quota policies. What they say of room is what admission would find on the same snapshot.

-- Every name and operator here means pg_catalog's, whatever the schema holds that the extension is created in.
SET LOCAL search_path = pg_catalog, pg_temp;

-- Dimensions that are limited or have ever been reported, with what they have used in the current period.
CREATE VIEW ff_engine.budget_dimension AS
SELECT b.budget_id, d.dimension COLLATE "C" AS dimension, ff_engine.budget_used(b.budget_id, d.dimension, b.period) AS used,
       (b.hard_limits ->> d.dimension)::bigint AS hard_limit, (b.soft_limits ->> d.dimension)::bigint AS soft_limit,
       bool_or(d.reported) AS reported
  FROM ff_engine.budget AS b
 CROSS JOIN LATERAL (
       SELECT k AS dimension, false AS reported FROM jsonb_object_keys(b.hard_limits || b.soft_limits) AS k
       UNION ALL
       SELECT u.dimension, u.used > 0 OR u.breach_count > 0 FROM ff_engine.budget_usage AS u WHERE u.budget_id = b.budget_id) AS d
 GROUP BY b.budget_id, b.period, b.hard_limits, b.soft_limits, d.dimension;

-- The length of a period as an interval.
CREATE FUNCTION ff_engine.period_length(months int, micros bigint) RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT make_interval(months => period_length.months)
         + justify_hours(make_interval(secs => trunc(period_length.micros / 1000000::numeric)::double precision)
                         + period_length.micros % 1000000 * interval '1 microsecond');
END;

-- Whether the calling roles may see what a budget applies to: those bound to namespaces see no other's.
CREATE FUNCTION ff_engine.admits_target(target_type text, target_id text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT CASE WHEN ff_engine.admits(NULL) THEN true
                WHEN admits_target.target_type = 'namespace' THEN EXISTS (
                     SELECT FROM ff_engine.namespace AS n WHERE n.name = admits_target.target_id AND ff_engine.admits(n.namespace_id))
                WHEN admits_target.target_type = 'execution' THEN EXISTS (
                     SELECT FROM ff_engine.execution AS e
                      WHERE e.execution_id = admits_target.target_id::uuid AND ff_engine.admits(e.namespace_id))
                WHEN admits_target.target_type = 'flow' THEN EXISTS (
                     SELECT FROM ff_engine.flow AS f
                      WHERE f.flow_id = admits_target.target_id::uuid AND ff_engine.admits(f.namespace_id))
                ELSE true END;
END;

-- What applies to an execution, and through which target, each policy once.
CREATE FUNCTION ff_engine.limits_of(id uuid) RETURNS TABLE (kind "char", policy_id uuid, via text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT DISTINCT ON (a.kind, a.policy_id) a.kind, a.policy_id, t.target_type
      FROM ff_engine.execution AS e
      JOIN ff_engine.lane AS l ON l.lane_id = e.lane_id
      JOIN ff_engine.namespace AS n ON n.namespace_id = e.namespace_id
     CROSS JOIN LATERAL (VALUES (1, 'execution', e.execution_id::text), (2, 'flow', e.flow_id::text), (3, 'lane', l.name),
                                (4, 'namespace', n.name), (5, 'global', '')) AS t (place, target_type, target_id)
      JOIN ff_engine.attachment AS a ON a.target_type = t.target_type AND a.target_id = t.target_id
     WHERE e.execution_id = limits_of.id
     ORDER BY a.kind, a.policy_id, t.place;
END;

-- What would deny the execution now: nothing for a policy that admits it.
CREATE FUNCTION ff_engine.limit_denial(kind "char", policy_id uuid, execution_id uuid, now timestamptz) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT CASE WHEN limit_denial.kind = 'b' THEN (
               SELECT format('budget %s: %s %s/%s', b.budget_id, d.dimension, d.used, d.hard_limit)
                 FROM ff_engine.budget AS b JOIN ff_engine.budget_dimension AS d ON d.budget_id = b.budget_id
                WHERE b.budget_id = limit_denial.policy_id AND b.enforcement_mode = 'strict' AND d.used >= d.hard_limit
                ORDER BY d.dimension LIMIT 1)
           ELSE (
               SELECT CASE WHEN q.max_concurrent > 0 AND EXISTS (
                                    SELECT FROM ff_engine.quota_slot AS s
                                     WHERE s.quota_policy_id = q.quota_policy_id AND s.execution_id = limit_denial.execution_id) THEN NULL
                           WHEN q.max_requests_per_window > 0
                                AND EXISTS (SELECT FROM ff_engine.quota_token AS t
                                             WHERE t.quota_policy_id = q.quota_policy_id AND t.dimension = 'default')
                                AND NOT EXISTS (SELECT FROM ff_engine.quota_token AS t
                                                 WHERE t.quota_policy_id = q.quota_policy_id AND t.dimension = 'default'
                                                   AND t.last_used_at <= limit_denial.now - q.window_us * interval '1 microsecond')
                           THEN format('quota %s: rate %s per %s', q.quota_policy_id, q.max_requests_per_window,
                                       q.window_us * interval '1 microsecond')
                           WHEN q.max_concurrent > 0 AND NOT EXISTS (
                                    SELECT FROM ff_engine.quota_slot AS s
                                     WHERE s.quota_policy_id = q.quota_policy_id AND s.execution_id IS NULL)
                           THEN format('quota %s: concurrency %s', q.quota_policy_id, q.max_concurrent) END
                 FROM ff_engine.quota AS q WHERE q.quota_policy_id = limit_denial.policy_id) END;
END;

CREATE FUNCTION @extschema@.ff_get_budget_status(budget_id uuid)
RETURNS TABLE (
    budget_id uuid, scope_type text, scope_id text, enforcement_mode text, on_hard_limit text, on_soft_limit text, stripes int,
    reset_interval interval, reset_anchor timestamptz, usage jsonb, hard_limits jsonb, soft_limits jsonb, breach_count bigint,
    soft_breach_count bigint, last_breach_at timestamptz, last_breach_dim text, breached_at timestamptz,
    soft_breached_at timestamptz, next_reset_at timestamptz, last_reset_at timestamptz, reset_count bigint, period bigint,
    partition_key smallint, created_at timestamptz, updated_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (SELECT ff_engine.given_as(ff_get_budget_status.budget_id, 'budget_id') AS id)
    SELECT b.budget_id, b.scope_type, b.scope_id, b.enforcement_mode, b.on_hard_limit, b.on_soft_limit, b.stripes,
           ff_engine.period_length(b.reset_months, b.reset_us), b.reset_anchor,
           (SELECT coalesce(jsonb_object_agg(d.dimension, d.used), '{}') FROM ff_engine.budget_dimension AS d
             WHERE d.budget_id = b.budget_id AND d.reported),
           b.hard_limits, b.soft_limits, coalesce(c.breaches, 0)::bigint, coalesce(c.soft_breaches, 0)::bigint,
           l.last_breach_at, l.dimension, b.breached_at, b.soft_breached_at, b.next_reset_at, b.last_reset_at, b.reset_count,
           b.period, b.partition_key, b.created_at, b.updated_at
      FROM asked AS a
      LEFT JOIN ff_engine.budget AS b ON b.budget_id = a.id AND ff_engine.admits_target(b.scope_type, b.scope_id)
      LEFT JOIN LATERAL (SELECT sum(u.breach_count) AS breaches, sum(u.soft_breach_count) AS soft_breaches
                           FROM ff_engine.budget_usage AS u WHERE u.budget_id = b.budget_id) AS c ON true
      LEFT JOIN LATERAL (SELECT u.last_breach_at, u.dimension FROM ff_engine.budget_usage AS u
                          WHERE u.budget_id = b.budget_id AND u.period = b.period AND u.last_breach_at IS NOT NULL
                          ORDER BY u.last_breach_at DESC, u.dimension LIMIT 1) AS l ON true
     WHERE ff_engine.known_budget(a.id, b.budget_id IS NOT NULL);
END;

CREATE FUNCTION @extschema@.ff_read_budget_usage_and_limits(budget_id uuid)
RETURNS TABLE (dimension text, used bigint, hard_limit bigint, soft_limit bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (SELECT ff_engine.given_as(ff_read_budget_usage_and_limits.budget_id, 'budget_id') AS id)
    SELECT d.dimension, d.used, d.hard_limit, d.soft_limit
      FROM asked AS a
      JOIN ff_engine.budget AS b ON b.budget_id = a.id AND ff_engine.admits_target(b.scope_type, b.scope_id)
      JOIN ff_engine.budget_dimension AS d ON d.budget_id = b.budget_id
     WHERE d.reported OR d.hard_limit IS NOT NULL OR d.soft_limit IS NOT NULL
     ORDER BY d.dimension;
END;

CREATE FUNCTION @extschema@.ff_list_budgets(
    scope_type text DEFAULT NULL, scope_id text DEFAULT NULL, breached boolean DEFAULT NULL, after uuid DEFAULT NULL,
    max_items int DEFAULT 100)
RETURNS TABLE (
    budget_id uuid, scope_type text, scope_id text, enforcement_mode text, on_hard_limit text, hard_limits jsonb,
    soft_limits jsonb, breached_at timestamptz, soft_breached_at timestamptz, next_reset_at timestamptz, period bigint,
    created_at timestamptz, has_more boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (SELECT ff_engine.page(max_items, 1000) AS page),
    found AS (
        SELECT b.*, row_number() OVER (ORDER BY b.budget_id) AS place
          FROM ff_engine.budget AS b
         WHERE (ff_list_budgets.after IS NULL OR b.budget_id > ff_list_budgets.after)
           AND (ff_list_budgets.scope_type IS NULL OR b.scope_type = ff_list_budgets.scope_type)
           AND (ff_list_budgets.scope_id IS NULL OR b.scope_id = ff_list_budgets.scope_id)
           AND ff_engine.admits_target(b.scope_type, b.scope_id)
           AND (ff_list_budgets.breached IS NULL OR (b.breached_at IS NOT NULL) = ff_list_budgets.breached)
         ORDER BY b.budget_id LIMIT (SELECT a.page + 1 FROM asked AS a))
    SELECT f.budget_id, f.scope_type, f.scope_id, f.enforcement_mode, f.on_hard_limit, f.hard_limits, f.soft_limits,
           f.breached_at, f.soft_breached_at, f.next_reset_at, f.period, f.created_at,
           (SELECT count(*) FROM found) > a.page
      FROM asked AS a JOIN found AS f ON f.place <= a.page
     ORDER BY f.budget_id;
END;

CREATE FUNCTION @extschema@.ff_list_budget_attachments(budget_id uuid)
RETURNS TABLE (target_type text, target_id text, attached_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (SELECT ff_engine.given_as(ff_list_budget_attachments.budget_id, 'budget_id') AS id)
    SELECT t.target_type, t.target_id, t.attached_at
      FROM asked AS a
      JOIN ff_engine.attachment AS t ON t.policy_id = a.id AND t.kind = 'b' AND ff_engine.admits_target(t.target_type, t.target_id)
     ORDER BY t.target_type, t.target_id;
END;

CREATE FUNCTION @extschema@.ff_effective_limits(execution_id uuid)
RETURNS TABLE (kind text, id uuid, via text, admits boolean, detail text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (SELECT ff_engine.given(ff_effective_limits.execution_id) AS id)
    SELECT CASE l.kind WHEN 'b' THEN 'budget' ELSE 'quota' END, l.policy_id, l.via, d.denial IS NULL, d.denial
      FROM asked AS a
      JOIN ff_engine.execution AS e ON e.execution_id = a.id AND ff_engine.admits(e.namespace_id)
     CROSS JOIN LATERAL ff_engine.limits_of(a.id) AS l
     CROSS JOIN LATERAL (SELECT ff_engine.limit_denial(l.kind, l.policy_id, a.id, @extschema@.ff_server_time()) AS denial) AS d
     ORDER BY l.kind, l.policy_id;
END;

CREATE FUNCTION @extschema@.ff_read_quota_policy_limits(quota_policy_id uuid)
RETURNS TABLE (max_requests_per_window bigint, window_length interval, max_concurrent int, jitter interval, is_unlimited boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (SELECT ff_engine.given_as(ff_read_quota_policy_limits.quota_policy_id, 'quota_policy_id') AS id)
    SELECT q.max_requests_per_window, ff_engine.period_length(0, q.window_us), q.max_concurrent,
           ff_engine.period_length(0, q.jitter_us), q.max_requests_per_window = 0 AND q.max_concurrent = 0
      FROM asked AS a JOIN ff_engine.quota AS q ON q.quota_policy_id = a.id;
END;

CREATE FUNCTION @extschema@.ff_get_quota_status(quota_policy_id uuid)
RETURNS TABLE (active int, window_used bigint, next_available_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (
        SELECT ff_engine.given_as(ff_get_quota_status.quota_policy_id, 'quota_policy_id') AS id, @extschema@.ff_server_time() AS now)
    SELECT s.held, t.used,
           CASE WHEN q.max_concurrent > 0 AND s.held >= q.max_concurrent THEN NULL
                WHEN q.max_requests_per_window > 0 AND t.used >= q.max_requests_per_window
                THEN t.oldest + q.window_us * interval '1 microsecond'
                ELSE a.now END
      FROM asked AS a
      LEFT JOIN ff_engine.quota AS q ON q.quota_policy_id = a.id
     CROSS JOIN LATERAL (SELECT count(*)::int AS held FROM ff_engine.quota_slot AS x
                          WHERE x.quota_policy_id = q.quota_policy_id AND x.execution_id IS NOT NULL) AS s
     CROSS JOIN LATERAL (SELECT count(*) AS used, min(y.last_used_at) AS oldest FROM ff_engine.quota_token AS y
                          WHERE y.quota_policy_id = q.quota_policy_id AND y.dimension = 'default'
                            AND y.last_used_at > a.now - q.window_us * interval '1 microsecond') AS t
     WHERE ff_engine.known_quota(a.id, q.quota_policy_id IS NOT NULL);
END;

-- Budgets and quotas that would deny the execution now.
CREATE FUNCTION ff_engine.explain_limits(id uuid, now timestamptz)
RETURNS TABLE (place int, reason text, since timestamptz, detail jsonb, remedy text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT 31, CASE l.kind WHEN 'b' THEN 'budget_denied' ELSE 'quota_denied' END, b.breached_at,
           jsonb_strip_nulls(jsonb_build_object('policy_id', l.policy_id, 'via', l.via, 'denial', d.denial,
                                                'next_reset_at', b.next_reset_at)),
           CASE l.kind WHEN 'b' THEN format('ff_set_budget_limits(%L, …)', l.policy_id)
                       ELSE format('ff_set_quota_limits(%L, …)', l.policy_id) END
      FROM ff_engine.execution AS e
     CROSS JOIN LATERAL ff_engine.limits_of(explain_limits.id) AS l
     CROSS JOIN LATERAL (SELECT ff_engine.limit_denial(l.kind, l.policy_id, explain_limits.id, explain_limits.now) AS denial) AS d
      LEFT JOIN ff_engine.budget AS b ON l.kind = 'b' AND b.budget_id = l.policy_id
     WHERE e.execution_id = explain_limits.id AND ff_engine.lifecycle(e.state) = 'r' AND d.denial IS NOT NULL
       AND (e.rare ->> 'blocked_by_policy')::uuid IS DISTINCT FROM l.policy_id;
END;

SET LOCAL search_path = @extschema@, pg_temp;
