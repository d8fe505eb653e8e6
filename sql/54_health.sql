-- Is the engine well? One row per check, each with what it means and what to do.

-- Every name and operator here means pg_catalog's, whatever the schema holds that the extension is created in.
SET LOCAL search_path = pg_catalog, pg_temp;

-- What is due and not done, by reconciler, among the first thousand timers of each lane and lots of ended executions.
CREATE FUNCTION ff_engine.overdue() RETURNS TABLE (reconciler text, items bigint, oldest timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_mergejoin = off SET enable_hashjoin = off SET jit = off
BEGIN ATOMIC
    WITH clock AS MATERIALIZED (SELECT @extschema@.ff_server_time() AS now),
    due AS (
        SELECT t.execution_id
          FROM clock AS c
         CROSS JOIN ff_engine.lane AS l
         CROSS JOIN LATERAL (SELECT x.execution_id FROM ff_engine.timer AS x
                              WHERE x.kind = 'l' AND x.lane_id = l.lane_id AND x.due_at <= c.now
                              ORDER BY x.due_at, x.execution_id LIMIT 1000) AS t),
    late AS (
        SELECT v.reconciler, e.execution_id, v.at
          FROM clock AS c
         CROSS JOIN (SELECT DISTINCT d.execution_id FROM due AS d) AS d
         CROSS JOIN LATERAL (SELECT x.* FROM ff_engine.execution_row AS x
                              WHERE x.execution_id = d.execution_id AND x.lifecycle_phase <> 't' AND ff_engine.admits(x.namespace_id)
                              LIMIT 1) AS e
         CROSS JOIN LATERAL (VALUES
               ('execution_deadline', e.execution_deadline, true),
               ('attempt_timeout', e.attempt_deadline, e.ownership_state = 'l'),
               ('lease_expiry', e.lease_expires_at, e.ownership_state = 'l'),
               ('delayed', e.delay_until, e.eligibility_state = 't'),
               ('grant_expiry', e.grant_expires_at, true)) AS v (reconciler, at, concerned)
         WHERE v.concerned AND v.at <= c.now
           AND (v.reconciler = 'execution_deadline' OR e.execution_deadline IS NULL OR e.execution_deadline > c.now))
    SELECT l.reconciler, count(*), min(l.at) FROM late AS l GROUP BY l.reconciler
    UNION ALL
    SELECT 'retention', count(*), min(p.due_at)
      FROM (SELECT x.due_at, x.execution_ids FROM clock AS c JOIN ff_engine.purge AS x ON x.due_at <= c.now
             ORDER BY x.due_at, x.lot LIMIT 1000) AS p
     CROSS JOIN LATERAL unnest(p.execution_ids) AS u (execution_id)
     WHERE ff_engine.admits_execution(u.execution_id)
    UNION ALL
    SELECT 'idempotency', count(*), min(k.expires_at)
      FROM (SELECT i.expires_at FROM clock AS c JOIN ff_engine.idempotency AS i ON i.expires_at <= c.now
             WHERE ff_engine.admits(i.namespace_id)
             ORDER BY i.expires_at LIMIT 1000) AS k
    UNION ALL
    SELECT 'worker_ttl', count(*), min(w.expires_at) FROM clock AS c JOIN ff_engine.worker AS w ON w.expires_at <= c.now
     WHERE ff_engine.admits(w.namespace_id);
END;

-- Rules that some thousand rows break, picked by chance: one read of each, not of all.
CREATE FUNCTION ff_engine.sampled() RETURNS TABLE (looked_at bigint, broken bigint, example uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
BEGIN ATOMIC
    SELECT count(*), count(*) FILTER (WHERE NOT s.holds), (array_agg(s.execution_id) FILTER (WHERE NOT s.holds))[1]
      FROM (SELECT e.execution_id,
                   ff_engine.legal(e)
                   AND (ff_engine.claimable(e.state, true) AND (e.rare -> 'grant') IS NULL)
                     = EXISTS (SELECT FROM ff_engine.ready AS r
                                WHERE r.queue_id = e.queue_id AND r.rank = (9000 - e.priority)::smallint
                                  AND r.created_at = e.created_at AND r.execution_id = e.execution_id) AS holds
              FROM ff_engine.execution AS e
                   TABLESAMPLE SYSTEM ((SELECT least(100, 100000 / greatest(c.reltuples, 1))
                                          FROM pg_class AS c WHERE c.oid = 'ff_engine.execution'::regclass))
             WHERE ff_engine.admits(e.namespace_id)
             LIMIT 5000) AS s;
END;

CREATE FUNCTION @extschema@.ff_health()
RETURNS TABLE (check_name text, status text, observed text, meaning text, action text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
BEGIN ATOMIC
    WITH duty AS MATERIALIZED (
        SELECT r.place, r.duty AS name, r.last_run_at, r.last_failure, o.items,
               date_trunc('milliseconds', @extschema@.ff_server_time() - o.oldest) AS late,
               greatest(interval '10 seconds', 4 * r.every_ms * interval '1 millisecond') AS patience,
               r.last_failure_at IS NOT NULL AND (r.last_run_at IS NULL OR r.last_failure_at > r.last_run_at) AS failing
          FROM ff_engine.duty_runs() AS r
          LEFT JOIN ff_engine.overdue() AS o ON o.reconciler = r.duty),
    worker AS (
        SELECT EXISTS (SELECT FROM pg_locks AS l
                        WHERE l.locktype = 'object' AND l.classid = 'pg_extension'::regclass AND l.objsubid = 1
                          AND l.mode = 'ExclusiveLock' AND l.granted
                          AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())) AS alive,
               (SELECT max(d.last_run_at) FROM duty AS d) AS last_run_at),
    untallied AS (SELECT count(*) AS rows FROM (SELECT FROM ff_engine.untallied AS u LIMIT 200000) AS u),
    backlog AS (
        SELECT l.name, @extschema@.ff_server_time() - r.oldest AS age
          FROM ff_engine.lane AS l CROSS JOIN LATERAL (SELECT ff_engine.oldest_ready(l.lane_id) AS oldest) AS r
         WHERE l.state IN ('active', 'draining') AND r.oldest IS NOT NULL
         ORDER BY r.oldest LIMIT 1),
    lost AS (
        SELECT count(*) AS leases, @extschema@.ff_server_time() - min(t.due_at) AS age
          FROM (SELECT x.due_at FROM ff_engine.lane AS l
                 CROSS JOIN LATERAL (SELECT i.due_at FROM ff_engine.timer AS i
                                      WHERE i.kind = 'x' AND i.lane_id = l.lane_id AND ff_engine.admits_execution(i.execution_id)
                                      ORDER BY i.due_at LIMIT 1000) AS x
                 WHERE l.state IN ('active', 'draining')) AS t),
    holder AS (
        SELECT h.who, clock_timestamp() - h.since AS age
          FROM (SELECT a.xact_start AS since, format('session %s (%s)', a.pid, a.application_name) AS who
                  FROM pg_stat_activity AS a WHERE a.backend_xmin IS NOT NULL AND a.pid <> pg_backend_pid()
                UNION ALL
                SELECT p.prepared, format('the prepared transaction %s', p.gid) FROM pg_prepared_xacts AS p) AS h
         WHERE h.since IS NOT NULL
         ORDER BY h.since LIMIT 1),
    dead AS (
        SELECT s.relname, s.n_dead_tup, s.n_live_tup
          FROM pg_stat_user_tables AS s WHERE s.schemaname = 'ff_engine'
         ORDER BY s.n_dead_tup - 2 * s.n_live_tup DESC LIMIT 1),
    hurting AS (
        SELECT string_agg(format('%s = %s', s.name, s.setting), ', ' ORDER BY s.name) AS settings, bool_or(v.fatal) AS fatal
          FROM (VALUES ('fsync', 'off', true), ('full_page_writes', 'off', true), ('autovacuum', 'off', true),
                       ('track_counts', 'off', true), ('synchronous_commit', 'off', false)) AS v (name, bad, fatal)
          JOIN pg_settings AS s ON s.name = v.name AND s.setting = v.bad)
    SELECT f.name, f.status, f.observed, f.meaning, f.action
      FROM (
        SELECT 1 AS place, 'preload' AS name,
               CASE WHEN ff_engine.preloaded() THEN 'ok' ELSE 'warn' END AS status,
               CASE WHEN ff_engine.preloaded() THEN 'preloaded' ELSE 'not preloaded' END AS observed,
               'Preloaded, commits wake waiting workers and claims remember where to start.' AS meaning,
               'Add ff_engine to shared_preload_libraries and restart the server.' AS action
        UNION ALL
        SELECT 2, 'background_work',
               CASE WHEN w.alive OR w.last_run_at > clock_timestamp() - interval '2 minutes' THEN 'ok' ELSE 'fail' END,
               CASE WHEN w.alive THEN 'the worker of this database is alive'
                    WHEN w.last_run_at IS NULL THEN 'there is no worker, and nobody is known to have run a reconciler'
                    ELSE format('there is no worker; a reconciler last ran at %s', w.last_run_at) END,
               'Somebody has to apply leases, delays, deadlines and retention when their time has come.',
               'Call ff_start_workers(), or install the pg_cron job with ff_schedule_reconcilers().'
          FROM worker AS w
        UNION ALL
        SELECT 10 + d.place, 'reconciler_' || d.name,
               CASE WHEN d.failing OR d.late > 30 * d.patience THEN 'fail' WHEN d.late > d.patience THEN 'warn' ELSE 'ok' END,
               concat_ws('; ',
                         CASE WHEN d.late IS NULL THEN 'nothing is due'
                              ELSE format('%s due, the oldest for %s', d.items, d.late) END,
                         'last run at ' || d.last_run_at,
                         CASE WHEN d.failing THEN 'then failed: ' || d.last_failure END),
               'What is due is done by this reconciler; calls judge instants by the clock, so only timers are late.',
               format('See the server log; run SELECT * FROM ff_reconcile_%s() to see it work or fail.', d.name)
          FROM duty AS d WHERE d.name <> 'counts'
        UNION ALL
        SELECT 50, 'counts',
               CASE WHEN NOT p.known OR u.rows >= 200000 THEN 'warn' ELSE 'ok' END,
               CASE WHEN p.known THEN format('%s rows to add to the counts', u.rows)
                    ELSE 'executions have not been counted yet' END,
               'Background work counts executions by state; what it has not counted yet is counted by every reader.',
               'See that background work runs; it counts anew after a restore.'
          FROM untallied AS u CROSS JOIN (SELECT EXISTS (SELECT FROM ff_engine.tallied) AS known) AS p
        UNION ALL
        SELECT 51, 'backlog', CASE WHEN b.age > interval '1 hour' THEN 'warn' ELSE 'ok' END,
               CASE WHEN b.name IS NULL THEN 'nothing waits for a worker'
                    ELSE format('the oldest claimable execution is of lane %s, created %s ago', b.name, date_trunc('second', b.age)) END,
               'Work that could be claimed waits for workers; where it is old, they are too few or lack a capability.',
               'Look at ff_stat_lanes, and at ff_explain_execution() for one that waits; add workers.'
          FROM (SELECT) AS one LEFT JOIN backlog AS b ON true
        UNION ALL
        SELECT 52, 'lost_leases',
               CASE WHEN l.age > interval '1 hour' THEN 'fail' WHEN l.age > interval '1 minute' THEN 'warn' ELSE 'ok' END,
               CASE WHEN l.leases = 0 THEN 'no execution has lost its lease'
                    ELSE format('%s executions have lost their lease, the first %s ago', l.leases, date_trunc('second', l.age)) END,
               'The worker of such an execution has died or fallen silent, and nobody has taken the work over.',
               'Look at ff_list_expired_leases(); start workers for its lane, or cancel it.'
          FROM lost AS l
        UNION ALL
        SELECT 60, 'oldest_snapshot',
               CASE WHEN h.age > interval '1 hour' THEN 'fail' WHEN h.age > interval '5 minutes' THEN 'warn' ELSE 'ok' END,
               CASE WHEN h.who IS NULL THEN 'no other transaction holds one'
                    ELSE format('%s has been open for %s', h.who, date_trunc('second', h.age)) END,
               'While a snapshot is held, no dead row can be removed: tables and the work of readers grow.',
               'End the session, or the prepared transaction; set idle_in_transaction_session_timeout.'
          FROM (SELECT) AS one LEFT JOIN holder AS h ON true
        UNION ALL
        SELECT 61, 'dead_rows',
               CASE WHEN d.n_dead_tup > 100000 + 2 * d.n_live_tup THEN 'warn' ELSE 'ok' END,
               format('%s has %s dead rows and %s live ones', d.relname, d.n_dead_tup, d.n_live_tup),
               'The table of the engine with the most rows to remove.',
               'See that autovacuum runs and what keeps it from removing them: oldest_snapshot says who.'
          FROM dead AS d
        UNION ALL
        SELECT 62, 'queue_marks', CASE WHEN m.used > 0.9 * m.room THEN 'warn' ELSE 'ok' END,
               format('%s queues of the server are remembered, there is room for %s', m.used, m.room),
               'A queue is a lane, a namespace and a set of capabilities; claims of one that is not remembered read it from its head.',
               'Use fewer lanes, namespaces or sets of capabilities.'
          FROM ff_engine.marks() AS m
        UNION ALL
        SELECT 63, 'settings', CASE WHEN h.fatal THEN 'fail' WHEN h.settings IS NOT NULL THEN 'warn' ELSE 'ok' END,
               coalesce(h.settings, 'none that hurts'),
               'Without them a crash loses what was committed, or tables grow without end.',
               'Set them back to their defaults.'
          FROM hurting AS h
        UNION ALL
        SELECT 64, 'clock', CASE WHEN current_setting('ff_engine.clock_offset')::interval = interval '0' THEN 'ok' ELSE 'warn' END,
               format('the clock of this session is shifted by %s', current_setting('ff_engine.clock_offset')),
               'The engine goes by the server clock; a shift is for tests.',
               'RESET ff_engine.clock_offset.'
        UNION ALL
        SELECT 70, 'invariants', CASE WHEN s.broken > 0 THEN 'fail' ELSE 'ok' END,
               concat_ws(', ', format('%s executions looked at, %s contradict the rules', s.looked_at, s.broken),
                         'such as ' || s.example),
               'A sample of executions is compared with the rules that hold within a row and with the queue.',
               'Run ff_check_invariants() and report what it finds: rows were changed from outside, or the engine has a defect.'
          FROM ff_engine.sampled() AS s
      ) AS f
     ORDER BY f.place;
END;

SET LOCAL search_path = @extschema@, pg_temp;
