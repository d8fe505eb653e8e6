-- Reads over the registry of workers, and what it says about waiting work.

-- Every name and operator here means pg_catalog's, whatever the schema holds that the extension is created in.
SET LOCAL search_path = pg_catalog, pg_temp;

-- One row per live registration. The inner query keeps the view from being written through.
CREATE VIEW @extschema@.ff_workers WITH (security_barrier) AS
WITH live AS (
    SELECT n.name AS namespace,
           w.worker_instance,
           w.worker,
           w.lanes,
           w.capabilities,
           w.registered_at,
           w.expires_at - w.liveness_ttl_ms * interval '1 millisecond' AS last_heartbeat_at,
           w.liveness_ttl_ms * interval '1 millisecond' AS liveness_ttl,
           w.expires_at
      FROM ff_engine.worker AS w
      JOIN ff_engine.namespace AS n ON n.namespace_id = w.namespace_id
     WHERE w.expires_at > (SELECT @extschema@.ff_server_time()) AND ff_engine.admits(w.namespace_id))
SELECT l.namespace, l.worker_instance, l.worker, l.lanes, l.capabilities, l.registered_at, l.last_heartbeat_at,
       l.liveness_ttl, l.expires_at
  FROM live AS l;

-- A leased execution has a live timer no later than the end of its lease, which is at most 2^31 milliseconds away.
-- LIMIT 1 makes the timers lead to their executions.
CREATE FUNCTION @extschema@.ff_list_workers(
    namespace text DEFAULT NULL, after_namespace text DEFAULT NULL, after_instance text DEFAULT NULL, max_items int DEFAULT 1000)
RETURNS TABLE (
    namespace text, worker_instance text, worker text, lanes text[], capabilities text[], registered_at timestamptz,
    last_heartbeat_at timestamptz, liveness_ttl interval, leases_held int, has_more boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (
        SELECT ff_engine.page(max_items, 10000) AS page, @extschema@.ff_server_time() AS now,
               coalesce(after_namespace, ff_list_workers.namespace, '') AS after_namespace,
               coalesce(after_instance, '') AS after_instance),
    shown AS MATERIALIZED (
        SELECT p.*
          FROM (SELECT c.*, row_number() OVER (ORDER BY c.name, c.worker_instance) AS place, a.page,
                       count(*) OVER () > a.page AS has_more
                  FROM asked AS a
                 CROSS JOIN LATERAL (
                       SELECT n.name, w.*
                         FROM ff_engine.worker AS w
                         JOIN ff_engine.namespace AS n ON n.namespace_id = w.namespace_id
                        WHERE w.expires_at > a.now AND ff_engine.admits(w.namespace_id)
                          AND (ff_list_workers.namespace IS NULL OR n.name = ff_list_workers.namespace COLLATE "C")
                          AND (n.name, w.worker_instance) > (a.after_namespace COLLATE "C", a.after_instance COLLATE "C")
                        ORDER BY n.name, w.worker_instance
                        LIMIT a.page + least(a.page, 1)) AS c) AS p
         WHERE p.place <= p.page),
    held AS MATERIALIZED (
        SELECT e.namespace_id, c.worker_instance, count(DISTINCT e.execution_id)::int AS leases
          FROM asked AS a
         CROSS JOIN ff_engine.lane AS l
          JOIN ff_engine.timer AS t
            ON t.kind = 'l' AND t.lane_id = l.lane_id AND t.due_at <= a.now + 2147483647 * interval '1 millisecond'
         CROSS JOIN LATERAL (
               SELECT x.* FROM ff_engine.execution AS x
                WHERE x.execution_id = t.execution_id AND ff_engine.ownership(x.state) = 'l' LIMIT 1) AS e
          JOIN ff_engine.claimer AS c ON c.claimer_id = e.claimer_id
         WHERE (SELECT count(*) FROM shown) > 0
         GROUP BY e.namespace_id, c.worker_instance)
    SELECT s.name, s.worker_instance, s.worker, s.lanes, s.capabilities, s.registered_at,
           s.expires_at - s.liveness_ttl_ms * interval '1 millisecond', s.liveness_ttl_ms * interval '1 millisecond',
           coalesce(h.leases, 0), s.has_more
      FROM shown AS s
      LEFT JOIN held AS h ON h.namespace_id = s.namespace_id AND h.worker_instance = s.worker_instance
     ORDER BY s.name, s.worker_instance;
END;

-- The worker family of the log. Its events belong to no execution, and so stand together in the index by execution.
CREATE FUNCTION @extschema@.ff_list_worker_events(
    namespace text DEFAULT NULL, worker_instance text DEFAULT NULL, after_id bigint DEFAULT NULL, max_items int DEFAULT 100)
RETURNS TABLE (
    event_id bigint, event text, occurred_at timestamptz, namespace text, worker text, worker_instance text, reason text,
    has_more boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (SELECT ff_engine.page(max_items, 1000) AS page)
    SELECT p.event_id, ff_engine.event_type(p.code), p.occurred_at, n.name, p.details ->> 'worker',
           p.details ->> 'worker_instance', p.details ->> 'reason', p.has_more
      FROM (SELECT c.*, a.page, row_number() OVER (ORDER BY c.event_id) AS place, count(*) OVER () > a.page AS has_more
              FROM asked AS a
             CROSS JOIN LATERAL (
                   SELECT r.event_id, r.code, r.occurred_at, r.namespace_id, r.details
                     FROM ff_engine.event AS r
                    WHERE r.execution_id IS NULL AND r.event_id > coalesce(after_id, 0) AND r.code BETWEEN 41 AND 44
                      AND ff_engine.admits(r.namespace_id)
                      AND (ff_list_worker_events.namespace IS NULL
                           OR r.namespace_id = (SELECT x.namespace_id FROM ff_engine.namespace AS x
                                                 WHERE x.name = ff_list_worker_events.namespace))
                      AND (ff_list_worker_events.worker_instance IS NULL
                           OR r.details ->> 'worker_instance' = ff_list_worker_events.worker_instance)
                    ORDER BY r.execution_id, r.event_id
                    LIMIT a.page + least(a.page, 1)) AS c) AS p
      JOIN ff_engine.namespace AS n ON n.namespace_id = p.namespace_id
     WHERE p.place <= p.page
     ORDER BY p.event_id;
END;

-- Judged once per queue, that is per lane, namespace and requirement: whether some live worker covers it, and if none
-- does, how little the nearest one lacks.
CREATE FUNCTION @extschema@.ff_list_unroutable(lane text DEFAULT NULL, namespace text DEFAULT NULL, max_items int DEFAULT 100)
RETURNS TABLE (
    execution_id uuid, lane text, namespace text, required_capabilities text[], missing text[], waiting_since timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (
        SELECT ff_engine.page(max_items, 1000) AS page, @extschema@.ff_server_time() AS now),
    uncovered AS MATERIALIZED (
        SELECT q.queue_id, l.name AS lane, n.name AS namespace, q.required, coalesce(nearest.missing, q.required) AS missing
          FROM asked AS a
         CROSS JOIN ff_engine.queue AS q
          JOIN ff_engine.lane AS l ON l.lane_id = q.lane_id
          JOIN ff_engine.namespace AS n ON n.namespace_id = q.namespace_id
          LEFT JOIN LATERAL (
               SELECT m.missing
                 FROM ff_engine.worker AS w
                CROSS JOIN LATERAL (
                      SELECT ARRAY(SELECT r.token FROM unnest(q.required) AS r (token)
                                    WHERE r.token <> ALL (w.capabilities) ORDER BY r.token COLLATE "C") AS missing) AS m
                WHERE w.namespace_id = q.namespace_id AND w.expires_at > a.now AND l.name = ANY (w.lanes)
                ORDER BY cardinality(m.missing), m.missing
                LIMIT 1) AS nearest ON true
         WHERE l.state IN ('active', 'draining') AND ff_engine.admits(q.namespace_id)
           AND (ff_list_unroutable.lane IS NULL OR l.name = ff_list_unroutable.lane)
           AND (ff_list_unroutable.namespace IS NULL OR n.name = ff_list_unroutable.namespace)
           AND nearest.missing IS DISTINCT FROM '{}'::text[])
    SELECT w.execution_id, u.lane, u.namespace, u.required, u.missing, w.last_transition_at
      FROM asked AS a
     CROSS JOIN uncovered AS u
     CROSS JOIN LATERAL (
           SELECT r.rank, r.created_at, r.execution_id, e.last_transition_at
             FROM ff_engine.ready AS r
             JOIN ff_engine.execution AS e ON e.execution_id = r.execution_id
            WHERE r.queue_id = u.queue_id AND NOT r.reclaim
              AND (e.execution_deadline IS NULL OR e.execution_deadline > a.now)
            ORDER BY r.rank, r.created_at, r.execution_id
            LIMIT a.page) AS w
     ORDER BY w.rank, w.created_at, w.execution_id
     LIMIT (SELECT b.page FROM asked AS b);
END;

SET LOCAL search_path = @extschema@, pg_temp;
