-- How many executions are in which public state, without reading them: counts up to a position in the log, and what
-- has moved since. A row of the log says what its transition moved; a transition without an event of its own (a
-- creation, an elapsed delay, a purge) is added to a row of `moved`. The background work takes both into `tally`.
--
-- Nobody updates a count that others update too: a session adds to rows of `moved` that it began itself, and begins
-- another when the background work takes one away. So nobody waits, and a reader adds what its snapshot shows beyond
-- the position, so its counts are exact. No dump holds these tables: transactions of another
-- server mean nothing here, so the first background work after a restore counts the executions themselves.

-- Every name and operator here means pg_catalog's, whatever the schema holds that the extension is created in.
SET LOCAL search_path = pg_catalog, pg_temp;

CREATE TABLE ff_engine.tally (
    lane_id      int      NOT NULL,
    namespace_id int      NOT NULL,
    place        smallint NOT NULL,  -- of the public state: model/moved.rs
    executions   bigint   NOT NULL,
    PRIMARY KEY (lane_id, namespace_id, place)
) WITH (fillfactor = 50);

-- The counts hold the events of transactions below `next`, without those that were running, and the rows of `moved`
-- that are gone. Rows that are left were begun later, or by one of those, or were `held` when the others were taken.
CREATE TABLE ff_engine.tally_position (
    singleton    boolean     PRIMARY KEY DEFAULT true CHECK (singleton),
    next         xid8,                                -- NULL until the executions have been counted
    running      xid8[]      NOT NULL DEFAULT '{}',
    held         xid8[]      NOT NULL DEFAULT '{}',
    floor        bigint      NOT NULL DEFAULT 0,      -- events up to here came with a dump: they are counted
    installation bytea,                               -- a restore brings another one
    reached_at   timestamptz
) WITH (fillfactor = 50);
INSERT INTO ff_engine.tally_position DEFAULT VALUES;

CREATE TABLE ff_engine.moved (
    begun        xid8     NOT NULL,  -- by this transaction; later ones of the same session have added to it
    lane_id      int      NOT NULL,
    namespace_id int      NOT NULL,
    moved        smallint NOT NULL,  -- 16 times the place that is left, and the place that is entered
    executions   int      NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE INDEX moved_window ON ff_engine.moved (begun);

-- The position, while the counts are those of this installation.
CREATE VIEW ff_engine.tallied AS
SELECT p.next, p.running, p.held, p.floor, p.reached_at
  FROM ff_engine.tally_position AS p
 WHERE p.next IS NOT NULL
   AND p.installation IS NOT DISTINCT FROM (SELECT i.installation_id FROM ff_engine.installation AS i);

-- Events beyond the position.
CREATE VIEW ff_engine.untallied_event AS
SELECT e.txid, e.lane_id, e.namespace_id, e.moved
  FROM ff_engine.tallied AS p JOIN ff_engine.event AS e ON e.txid >= p.next AND e.event_id > p.floor
UNION ALL
SELECT e.txid, e.lane_id, e.namespace_id, e.moved
  FROM ff_engine.tallied AS p JOIN ff_engine.event AS e ON e.txid = ANY (p.running) AND e.event_id > p.floor;

-- Rows of `moved` that are there. All are; the conditions spare a search the entries of those that are gone.
CREATE VIEW ff_engine.untallied_move AS
SELECT m.ctid AS place, m.begun, m.lane_id, m.namespace_id, m.moved, m.executions
  FROM ff_engine.tallied AS p JOIN ff_engine.moved AS m ON m.begun >= p.next
UNION ALL
SELECT m.ctid, m.begun, m.lane_id, m.namespace_id, m.moved, m.executions
  FROM ff_engine.tallied AS p JOIN ff_engine.moved AS m ON m.begun = ANY (p.running || p.held);

-- What has moved beyond the position.
CREATE VIEW ff_engine.untallied AS
SELECT e.lane_id, e.namespace_id, e.moved, 1 AS executions FROM ff_engine.untallied_event AS e
UNION ALL
SELECT m.lane_id, m.namespace_id, m.moved, m.executions FROM ff_engine.untallied_move AS m;

-- Executions by lane, namespace and place of their public state. Until they have been counted, all of them are read.
CREATE FUNCTION ff_engine.counted() RETURNS TABLE (lane_id int, namespace_id int, place smallint, executions bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_mergejoin = off SET enable_hashjoin = off SET jit = off
BEGIN ATOMIC
    SELECT c.lane_id, c.namespace_id, c.place, sum(c.executions)::bigint
      FROM (SELECT t.lane_id, t.namespace_id, t.place, t.executions
              FROM ff_engine.tallied AS p CROSS JOIN ff_engine.tally AS t
            UNION ALL
            SELECT u.lane_id, u.namespace_id, s.place, s.sign * u.executions
              FROM ff_engine.untallied AS u
             CROSS JOIN LATERAL (VALUES ((u.moved >> 4)::smallint, -1), ((u.moved & 15)::smallint, 1)) AS s (place, sign)
             WHERE u.moved IS NOT NULL AND s.place > 0
            UNION ALL
            SELECT e.lane_id, e.namespace_id, ff_engine.public_place(e.state), e.executions
              FROM (SELECT x.lane_id, x.namespace_id, x.state, count(*) AS executions
                      FROM ff_engine.execution AS x
                     WHERE NOT EXISTS (SELECT FROM ff_engine.tallied)
                     GROUP BY x.lane_id, x.namespace_id, x.state) AS e) AS c
     WHERE ff_engine.admits(c.namespace_id)
     GROUP BY c.lane_id, c.namespace_id, c.place
    HAVING sum(c.executions) <> 0;
END;

SET LOCAL search_path = @extschema@, pg_temp;
