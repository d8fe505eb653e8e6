-- Numbers for watching the engine at work: cheap at any size of the tables.

-- Every name and operator here means pg_catalog's, whatever the schema holds that the extension is created in.
SET LOCAL search_path = pg_catalog, pg_temp;

-- When the oldest execution was created that a claim of the lane could get: of each queue, the head of each priority.
CREATE FUNCTION ff_engine.oldest_ready(lane_id int) RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
BEGIN ATOMIC
    SELECT min(h.created_at)
      FROM ff_engine.queue AS q
     CROSS JOIN LATERAL (
           WITH RECURSIVE head AS (
               (SELECT r.rank, r.created_at FROM ff_engine.ready AS r
                 WHERE r.queue_id = q.queue_id ORDER BY r.rank, r.created_at LIMIT 1)
               UNION ALL
               SELECT n.rank, n.created_at
                 FROM head AS h
                CROSS JOIN LATERAL (SELECT r.rank, r.created_at FROM ff_engine.ready AS r
                                     WHERE r.queue_id = q.queue_id AND r.rank > h.rank
                                     ORDER BY r.rank, r.created_at LIMIT 1) AS n)
           SELECT head.created_at FROM head) AS h
     WHERE q.lane_id = oldest_ready.lane_id AND ff_engine.admits(q.namespace_id);
END;

-- One row per lane: how many executions are in which state.
CREATE VIEW @extschema@.ff_stat_lanes WITH (security_barrier) AS
WITH counted AS MATERIALIZED (
    SELECT c.lane_id, ff_engine.public_state_at(c.place) AS public_state, c.executions FROM ff_engine.counted() AS c)
SELECT l.name AS lane,
       l.state,
       coalesce(sum(c.executions) FILTER (WHERE c.public_state = 'waiting'), 0)::bigint AS waiting,
       coalesce(sum(c.executions) FILTER (WHERE c.public_state = 'resumable'), 0)::bigint AS resumable,
       coalesce(sum(c.executions) FILTER (WHERE c.public_state = 'delayed'), 0)::bigint AS delayed,
       coalesce(sum(c.executions) FILTER (WHERE c.public_state = 'rate_limited'), 0)::bigint AS rate_limited,
       coalesce(sum(c.executions) FILTER (WHERE c.public_state = 'waiting_children'), 0)::bigint AS waiting_children,
       coalesce(sum(c.executions) FILTER (WHERE c.public_state = 'active'), 0)::bigint AS active,
       coalesce(sum(c.executions) FILTER (WHERE c.public_state = 'suspended'), 0)::bigint AS suspended,
       coalesce(sum(c.executions) FILTER (WHERE c.public_state = 'completed'), 0)::bigint AS completed,
       coalesce(sum(c.executions) FILTER (WHERE c.public_state = 'failed'), 0)::bigint AS failed,
       coalesce(sum(c.executions) FILTER (WHERE c.public_state = 'cancelled'), 0)::bigint AS cancelled,
       coalesce(sum(c.executions) FILTER (WHERE c.public_state = 'expired'), 0)::bigint AS expired,
       coalesce(sum(c.executions) FILTER (WHERE c.public_state = 'skipped'), 0)::bigint AS skipped,
       ff_engine.oldest_ready(l.lane_id) AS oldest_ready_at
  FROM ff_engine.lane AS l
  LEFT JOIN counted AS c ON c.lane_id = l.lane_id
 WHERE ff_engine.admits(NULL)
    OR EXISTS (SELECT FROM ff_engine.queue AS q WHERE q.lane_id = l.lane_id AND ff_engine.admits(q.namespace_id))
 GROUP BY l.lane_id;

-- One row per reconciler: how it has fared since the server started.
CREATE VIEW @extschema@.ff_stat_reconcilers AS
SELECT r.duty AS reconciler,
       r.every_ms * interval '1 millisecond' AS every,
       r.runs,
       r.processed,
       r.errors,
       r.failures,
       r.last_run_at,
       r.last_micros * interval '1 microsecond' AS last_duration,
       r.longest_micros * interval '1 microsecond' AS longest_duration,
       r.last_failure_at,
       r.last_failure
  FROM ff_engine.duty_runs() AS r
 WHERE r.duty <> 'counts'
 ORDER BY r.place;

-- One row per function that has been called.
CREATE VIEW @extschema@.ff_stat_ops AS
SELECT c.function,
       c.calls,
       c.errors,
       c.micros * interval '1 microsecond' AS total_time,
       c.micros / greatest(c.calls, 1) * interval '1 microsecond' AS mean_time,
       c.median * interval '1 microsecond' AS p50,
       c.slow * interval '1 microsecond' AS p99
  FROM ff_engine.calls() AS c
 ORDER BY c.function;

COMMENT ON VIEW @extschema@.ff_stat_ops IS 'calls of each function in this database since the server started, read only; empty without preloading';
COMMENT ON COLUMN @extschema@.ff_stat_ops.calls IS 'those that raised included, and those whose transaction was taken back';
COMMENT ON COLUMN @extschema@.ff_stat_ops.p50 IS 'half of the calls took no longer; rounded up, by half at most';
COMMENT ON COLUMN @extschema@.ff_stat_ops.p99 IS '99 of 100 calls took no longer; rounded up, by half at most';

COMMENT ON VIEW @extschema@.ff_stat_lanes IS 'executions of each lane by public state, read only; cheap at any size';
COMMENT ON COLUMN @extschema@.ff_stat_lanes.state IS 'active, paused, draining or disabled';
COMMENT ON COLUMN @extschema@.ff_stat_lanes.waiting IS 'to be started; those that are blocked by an operator, a policy or for lack of a worker among them';
COMMENT ON COLUMN @extschema@.ff_stat_lanes.resumable IS 'to be continued by the next claim';
COMMENT ON COLUMN @extschema@.ff_stat_lanes.delayed IS 'until an instant, retries among them';
COMMENT ON COLUMN @extschema@.ff_stat_lanes.active IS 'leased, or their lease is lost and not taken over yet';
COMMENT ON COLUMN @extschema@.ff_stat_lanes.completed IS 'ended and not yet purged, as the four that follow';
COMMENT ON COLUMN @extschema@.ff_stat_lanes.oldest_ready_at IS 'creation of the oldest execution that a claim could hand out now';

COMMENT ON VIEW @extschema@.ff_stat_reconcilers IS 'runs of each reconciler in this database since the server started, read only; empty of numbers without preloading';
COMMENT ON COLUMN @extschema@.ff_stat_reconcilers.every IS 'longest pause of the background worker between two runs';
COMMENT ON COLUMN @extschema@.ff_stat_reconcilers.runs IS 'runs that went through, by whomever: worker, tick or call';
COMMENT ON COLUMN @extschema@.ff_stat_reconcilers.processed IS 'rows handled';
COMMENT ON COLUMN @extschema@.ff_stat_reconcilers.errors IS 'rows whose handling raised; the log names them';
COMMENT ON COLUMN @extschema@.ff_stat_reconcilers.failures IS 'runs that raised as a whole';

SET LOCAL search_path = @extschema@, pg_temp;
