-- The numbers of this engine as OpenMetrics text.

-- Every name and operator here means pg_catalog's, whatever the schema holds that the extension is created in.
SET LOCAL search_path = pg_catalog, pg_temp;

-- A label with its value, in which three characters need an escape.
CREATE FUNCTION ff_engine.label(name text, value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT format('%s="%s"', name, replace(replace(replace(value, '\', '\\'), '"', '\"'), E'\n', '\n'));
END;

CREATE FUNCTION @extschema@.ff_metrics() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
BEGIN ATOMIC
    WITH lanes AS MATERIALIZED (SELECT l.* FROM @extschema@.ff_stat_lanes AS l),
    reconcilers AS MATERIALIZED (SELECT r.* FROM @extschema@.ff_stat_reconcilers AS r),
    operations AS MATERIALIZED (SELECT o.* FROM @extschema@.ff_stat_ops AS o),
    family (place, name, kind, help) AS (VALUES
        (1, 'ff_executions', 'gauge', 'Executions by lane and public state.'),
        (2, 'ff_oldest_ready_age_seconds', 'gauge', 'Age of the oldest execution of a lane that a claim could hand out.'),
        (3, 'ff_workers', 'gauge', 'Live registrations of workers by namespace.'),
        (4, 'ff_calls', 'counter', 'Calls of a function since the server started.'),
        (5, 'ff_call_errors', 'counter', 'Calls of a function that raised an error.'),
        (6, 'ff_call_seconds', 'summary', 'Time spent in calls of a function.'),
        (7, 'ff_reconciler_runs', 'counter', 'Runs of a reconciler since the server started.'),
        (8, 'ff_reconciler_processed', 'counter', 'Rows that a reconciler has handled.'),
        (9, 'ff_reconciler_errors', 'counter', 'Rows whose handling raised an error.'),
        (10, 'ff_reconciler_failures', 'counter', 'Runs of a reconciler that raised as a whole.'),
        (11, 'ff_reconciler_last_run_timestamp_seconds', 'gauge', 'When a reconciler last went through.'),
        (12, 'ff_health', 'gauge', 'Checks of ff_health(): 0 is ok, 1 is warn, 2 is fail.'),
        (13, 'ff_token_refusals', 'counter', 'Waitpoint tokens that were refused, by signing key and reason.')),
    sample (place, suffix, labels, value) AS (
        SELECT 1, '', ff_engine.label('lane', l.lane) || ',' || ff_engine.label('state', s.state), s.n::numeric
          FROM lanes AS l
         CROSS JOIN LATERAL (VALUES
               ('waiting', l.waiting), ('resumable', l.resumable), ('delayed', l.delayed), ('rate_limited', l.rate_limited),
               ('waiting_children', l.waiting_children), ('active', l.active), ('suspended', l.suspended),
               ('completed', l.completed), ('failed', l.failed), ('cancelled', l.cancelled), ('expired', l.expired),
               ('skipped', l.skipped)) AS s (state, n)
        UNION ALL
        SELECT 2, '', ff_engine.label('lane', l.lane), extract(epoch FROM @extschema@.ff_server_time() - l.oldest_ready_at)
          FROM lanes AS l WHERE l.oldest_ready_at IS NOT NULL
        UNION ALL
        SELECT 3, '', ff_engine.label('namespace', w.namespace), count(*) FROM @extschema@.ff_workers AS w GROUP BY w.namespace
        UNION ALL
        SELECT v.place, v.suffix, ff_engine.label('function', o.function) || v.more, v.value
          FROM operations AS o
         CROSS JOIN LATERAL (VALUES
               (4, '_total', '', o.calls::numeric),
               (5, '_total', '', o.errors),
               (6, '', ',quantile="0.5"', extract(epoch FROM o.p50)),
               (6, '', ',quantile="0.99"', extract(epoch FROM o.p99)),
               (6, '_sum', '', extract(epoch FROM o.total_time)),
               (6, '_count', '', o.calls)) AS v (place, suffix, more, value)
        UNION ALL
        SELECT v.place, v.suffix, ff_engine.label('reconciler', r.reconciler), v.value
          FROM reconcilers AS r
         CROSS JOIN LATERAL (VALUES
               (7, '_total', r.runs::numeric),
               (8, '_total', r.processed),
               (9, '_total', r.errors),
               (10, '_total', r.failures),
               (11, '', extract(epoch FROM r.last_run_at))) AS v (place, suffix, value)
         WHERE v.value IS NOT NULL
        UNION ALL
        SELECT 12, '', ff_engine.label('check', h.check_name), array_position(ARRAY['ok', 'warn', 'fail'], h.status) - 1
          FROM @extschema@.ff_health() AS h
        UNION ALL
        SELECT 13, '_total', ff_engine.label('kid', coalesce(t.kid, '')) || ',' || ff_engine.label('reason', t.reason), t.refused
          FROM ff_engine.token_refusals() AS t)
    SELECT string_agg(f.text, '' ORDER BY f.place) || E'# EOF\n'
      FROM (SELECT f.place,
                   format(E'# TYPE %s %s\n# HELP %s %s\n', f.name, f.kind, f.name, f.help)
                   || string_agg(format(E'%s%s{%s} %s\n', f.name, s.suffix, s.labels, s.value), '' ORDER BY s.labels, s.suffix) AS text
              FROM family AS f JOIN sample AS s ON s.place = f.place
             GROUP BY f.place, f.name, f.kind, f.help) AS f;
END;

SET LOCAL search_path = @extschema@, pg_temp;
