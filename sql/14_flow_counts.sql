-- Every name and operator here means pg_catalog's, whatever the schema holds that the extension is created in.
SET LOCAL search_path = pg_catalog, pg_temp;

-- The members of a flow by public state, and the state that they make of it (§40.6). A flow without members that can
-- get none is over: what it has become, or completed.
CREATE FUNCTION ff_engine.flow_counts(id uuid)
RETURNS TABLE (
    total_members bigint, completed int, failed int, cancelled int, expired int, skipped int, active int, suspended int,
    resumable int, waiting int, delayed int, rate_limited int, waiting_children int, derived_state text, last_end timestamptz,
    "over" boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_mergejoin = off SET enable_hashjoin = off SET jit = off
BEGIN ATOMIC
    SELECT c.total_members, c.completed, c.failed, c.cancelled, c.expired, c.skipped, c.active, c.suspended, c.resumable, c.waiting,
           c.delayed, c.rate_limited, c.waiting_children,
           CASE WHEN c.total_members = 0
                THEN CASE WHEN f.public_flow_state <> 'open' THEN f.public_flow_state WHEN f.sealed THEN 'completed' ELSE 'open' END
                WHEN c.ended = c.total_members
                THEN CASE WHEN f.public_flow_state = 'cancelled' THEN 'cancelled'
                          WHEN c.failed + c.cancelled + c.expired > 0 THEN 'failed' ELSE 'completed' END
                WHEN c.active > 0 THEN 'running'
                WHEN c.suspended + c.delayed + c.rate_limited + c.waiting_children > 0 THEN 'blocked'
                ELSE 'open' END,
           c.last_end,
           c.ended = c.total_members AND (c.total_members > 0 OR f.sealed OR f.public_flow_state <> 'open')
      FROM ff_engine.flow AS f
     CROSS JOIN LATERAL (
           SELECT count(s.word) AS total_members,
                  (count(*) FILTER (WHERE s.word = 'completed'))::int AS completed,
                  (count(*) FILTER (WHERE s.word = 'failed'))::int AS failed,
                  (count(*) FILTER (WHERE s.word = 'cancelled'))::int AS cancelled,
                  (count(*) FILTER (WHERE s.word = 'expired'))::int AS expired,
                  (count(*) FILTER (WHERE s.word = 'skipped'))::int AS skipped,
                  (count(*) FILTER (WHERE s.word = 'active'))::int AS active,
                  (count(*) FILTER (WHERE s.word = 'suspended'))::int AS suspended,
                  (count(*) FILTER (WHERE s.word = 'resumable'))::int AS resumable,
                  (count(*) FILTER (WHERE s.word = 'waiting'))::int AS waiting,
                  (count(*) FILTER (WHERE s.word = 'delayed'))::int AS delayed,
                  (count(*) FILTER (WHERE s.word = 'rate_limited'))::int AS rate_limited,
                  (count(*) FILTER (WHERE s.word = 'waiting_children'))::int AS waiting_children,
                  count(s.completed_at) AS ended,
                  max(s.completed_at) AS last_end
             FROM (SELECT ff_engine.public_word(e.state) AS word, e.completed_at
                     FROM ff_engine.flow_member AS m JOIN ff_engine.execution AS e ON e.execution_id = m.execution_id
                    WHERE m.flow_id = f.flow_id) AS s) AS c
     WHERE f.flow_id = flow_counts.id;
END;

SET LOCAL search_path = @extschema@, pg_temp;
