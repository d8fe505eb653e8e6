-- Reads over the event log that need no page between snapshots; those that do are in src/ops/event.

-- Every name and operator here means pg_catalog's, whatever the schema holds that the extension is created in.
SET LOCAL search_path = pg_catalog, pg_temp;

-- The lease family of the log. The lease event of a row that reads as two is the first of them, with the row's own id.
CREATE FUNCTION @extschema@.ff_lease_history(execution_id uuid, after_id bigint DEFAULT NULL, max_items int DEFAULT 100)
RETURNS TABLE (
    event_id bigint, event text, occurred_at timestamptz, lease_id uuid, lease_epoch bigint, attempt_index int, attempt_id uuid,
    worker text, worker_instance text, reason text, previous_lease_epoch bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (
        SELECT ff_engine.given(ff_lease_history.execution_id) AS id, ff_engine.page(max_items, 1000) AS page)
    SELECT p.event_id,
           CASE WHEN p.released THEN 'released' ELSE ff_engine.event_type(p.code) END,
           p.occurred_at, p.lease_id, p.lease_epoch, p.attempt_index, p.attempt_id, c.worker, c.worker_instance, p.reason,
           CASE WHEN p.code = 6 THEN (p.details ->> 'previous_lease_epoch')::bigint END
      FROM asked AS a
     CROSS JOIN LATERAL (
           SELECT r.event_id, r.code, r.released, r.occurred_at, r.lease_id, r.lease_epoch, r.attempt_index, r.attempt_id,
                  r.claimer_id, r.reason, r.details
             FROM ff_engine.event AS r
            WHERE r.execution_id = a.id AND ff_engine.admits(r.namespace_id) AND r.event_id > coalesce(after_id, 0) AND (r.released OR r.code <= 6)
            ORDER BY r.event_id
            LIMIT a.page) AS p
      LEFT JOIN ff_engine.claimer AS c ON c.claimer_id = p.claimer_id
     ORDER BY p.event_id;
END;

SET LOCAL search_path = @extschema@, pg_temp;
