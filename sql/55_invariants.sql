-- What must hold between the rows of the engine, computed anew from the rows. Reports, repairs nothing.
--
-- One statement, so one snapshot: an operation in progress is seen wholly or not at all.

-- Every name and operator here means pg_catalog's, whatever the schema holds that the extension is created in.
SET LOCAL search_path = pg_catalog, pg_temp;

CREATE FUNCTION @extschema@.ff_check_invariants(max_items int DEFAULT 1000) RETURNS TABLE (execution_id uuid, invariant text, detail text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (SELECT ff_engine.page(max_items, 10000) AS page),

    -- V1 to V6, V10 and the agreement of lease, grant and latest attempt, inside one row
    local AS (
        SELECT e.execution_id, v.invariant, v.detail
          FROM ff_engine.execution_row AS e
         CROSS JOIN LATERAL (VALUES
               ('V1', (e.lifecycle_phase = 't') = (e.terminal_outcome <> 'n'), 'an execution has an outcome exactly when it is terminal'),
               ('V2', (e.lifecycle_phase = 'a') = (e.ownership_state <> 'u'), 'an execution is owned exactly when it is active'),
               ('V3', (e.lifecycle_phase = 'r') = (e.eligibility_state <> 'n'), 'eligibility applies exactly to runnable executions'),
               ('V4', (e.ownership_state = 'l') = (e.attempt_state = 'r'), 'an attempt runs exactly while the lease is held'),
               ('V5', CASE WHEN e.ownership_state = 'u' THEN e.lease_expires_at IS NULL
                           ELSE e.lease_id IS NOT NULL AND e.lease_epoch >= 1 AND e.lease_expires_at IS NOT NULL
                                AND e.attempt_id IS NOT NULL
                                AND EXISTS (SELECT FROM ff_engine.claimer AS c WHERE c.claimer_id = e.claimer_id) END,
                      'an owned execution has a whole lease, any other none'),
               ('V6', e.eligibility_state <> 't' OR e.delay_until IS NOT NULL, 'a delayed execution has an instant'),
               ('V7', (e.total_attempt_count > 0) = (e.attempt_id IS NOT NULL) AND e.total_attempt_count >= 0,
                      'the latest attempt exists exactly when one was ever made'),
               ('V9', coalesce(e.attempt_record = 's', false) = (e.lifecycle_phase = 'a'),
                      'the latest attempt is started exactly while the execution is active'),
               ('V10', (e.lifecycle_phase = 't') = (e.completed_at IS NOT NULL) AND (e.lease_epoch > 0) = (e.started_at IS NOT NULL),
                       'completed_at is set exactly when terminal, started_at since the first claim'),
               ('attempt', CASE WHEN e.attempt_record IS NULL THEN e.attempt_state IN ('n', 'f', 'p')
                                WHEN e.attempt_record = 's' THEN e.attempt_state IN ('r', 'i') AND e.attempt_ended_at IS NULL
                                WHEN e.attempt_record = 'p' THEN e.attempt_state = 'i' AND e.attempt_ended_at IS NULL
                                                                 AND e.attempt_suspended_at IS NOT NULL
                                ELSE e.attempt_state IN ('y', 'p', 't') AND e.attempt_ended_at IS NOT NULL END,
                           'the latest attempt''s record agrees with attempt_state'),
               ('lease', e.lease_epoch >= e.total_attempt_count AND coalesce((e.rare #>> '{end_lease,1}')::bigint, 0) <= e.lease_epoch,
                         'every attempt had a lease, and none ended under a lease yet to come'),
               ('suspension', (e.lifecycle_phase = 's') = (e.current_suspension_id IS NOT NULL)
                              AND (e.lifecycle_phase = 's') = (e.current_waitpoint_id IS NOT NULL)
                              AND (e.lifecycle_phase = 's' OR e.suspension_timeout IS NULL),
                              'a suspended execution, and no other, has a suspension and a primary waitpoint'),
               ('grant', e.grant_id IS NULL OR e.grant_expires_at IS NOT NULL
                         AND EXISTS (SELECT FROM ff_engine.claimer AS c WHERE c.claimer_id = e.grant_claimer_id)
                         AND (e.lifecycle_phase = 'a' AND e.grant_kind = 'r' OR e.grant_kind = 'c' AND e.lifecycle_phase = 'r' AND e.eligibility_state IN ('e', 'r')),
                         'only what may be handed out is reserved'),
               ('slots', e.slots = '[]' OR e.lifecycle_phase = 'a' OR e.grant_id IS NOT NULL, 'a slot is held for a run or a reservation')
               ) AS v (invariant, holds, detail)
         WHERE v.holds IS NOT TRUE),

    -- what waits for a claim stands in the ready queue, once and in its place, and nothing else does
    ready AS (
        SELECT coalesce(e.execution_id, r.execution_id) AS execution_id, 'ready' AS invariant,
               CASE WHEN e.execution_id IS NULL THEN 'a ready entry without an execution'
                    WHEN NOT e.ready THEN 'a ready entry of an execution that may not be handed out'
                    WHEN r.execution_id IS NULL THEN 'an execution that may be handed out has no ready entry'
                    WHEN r.entries > 1 THEN 'more than one ready entry'
                    ELSE 'the ready entry stands in another place than the execution' END AS detail
          FROM (SELECT x.execution_id, x.queue_id, x.priority, x.created_at, x.lifecycle_phase,
                       x.grant_id IS NULL
                       AND (x.lifecycle_phase = 'r' AND x.eligibility_state IN ('e', 'r')
                            OR x.lifecycle_phase = 'a' AND x.ownership_state IN ('e', 'r')) AS ready
                  FROM ff_engine.execution_row AS x) AS e
          FULL JOIN (SELECT y.execution_id, count(*) AS entries, min(y.queue_id) AS queue_id, min(y.rank) AS rank,
                            min(y.created_at) AS created_at, bool_or(y.reclaim) AS reclaim
                       FROM ff_engine.ready AS y GROUP BY y.execution_id) AS r ON r.execution_id = e.execution_id
         WHERE CASE WHEN e.execution_id IS NULL THEN true
                    WHEN e.ready THEN (r.entries = 1 AND r.queue_id = e.queue_id AND r.rank = 9000 - e.priority
                                       AND r.created_at = e.created_at AND r.reclaim = (e.lifecycle_phase = 'a')) IS NOT TRUE
                    ELSE r.execution_id IS NOT NULL END),

    -- what waits for a worker that is not there is noted, once and in its place, and nothing else is
    unrouted AS (
        SELECT coalesce(e.execution_id, u.execution_id) AS execution_id, 'unrouted' AS invariant,
               CASE WHEN e.execution_id IS NULL THEN 'a note without an execution that waits for a worker'
                    WHEN u.execution_id IS NULL THEN 'an execution that waits for a worker is not noted'
                    ELSE 'the note stands in another place than the execution, or more than once' END AS detail
          FROM (SELECT x.execution_id, x.queue_id, x.priority, x.created_at, x.recheck_at
                  FROM ff_engine.execution_row AS x
                 WHERE x.lifecycle_phase = 'r' AND x.eligibility_state = 'r') AS e
          FULL JOIN (SELECT y.execution_id, count(*) AS notes, min(y.queue_id) AS queue_id, min(y.rank) AS rank,
                            min(y.created_at) AS created_at, min(y.recheck_at) AS recheck_at
                       FROM ff_engine.unrouted AS y GROUP BY y.execution_id) AS u ON u.execution_id = e.execution_id
         WHERE (u.notes = 1 AND u.queue_id = e.queue_id AND u.rank = 9000 - e.priority AND u.created_at = e.created_at
                AND u.recheck_at IS NOT DISTINCT FROM e.recheck_at) IS NOT TRUE),

    -- what waits for a budget or a quota is noted, once and in its place, and nothing else is but what was let go
    denied AS (
        SELECT coalesce(e.execution_id, d.execution_id) AS execution_id, 'denied' AS invariant,
               CASE WHEN e.execution_id IS NULL THEN 'a note without an execution that waits for a budget or a quota'
                    WHEN d.execution_id IS NULL THEN 'an execution that waits for a budget or a quota is not noted'
                    ELSE 'the note stands in another place than the execution, or more than once' END AS detail
          FROM (SELECT x.execution_id, x.priority, x.created_at, x.offered_by IS NOT NULL AS offered,
                       coalesce(x.offered_by, x.blocked_by_policy, '00000000-0000-0000-0000-000000000000') AS policy_id,
                       CASE WHEN x.offered_by IS NULL THEN x.recheck_at ELSE x.offered_until END AS recheck_at
                  FROM ff_engine.execution_row AS x
                 WHERE x.eligibility_state IN ('b', 'q') OR x.offered_by IS NOT NULL) AS e
          FULL JOIN (SELECT y.execution_id, count(*) AS notes, min(y.policy_id::text)::uuid AS policy_id, min(y.rank) AS rank,
                            min(y.created_at) AS created_at, min(y.recheck_at) AS recheck_at, bool_or(y.offered) AS offered
                       FROM ff_engine.denied AS y GROUP BY y.execution_id) AS d ON d.execution_id = e.execution_id
         WHERE (d.notes = 1 AND d.policy_id = e.policy_id AND d.rank = 9000 - e.priority AND d.created_at = e.created_at
                AND d.offered = e.offered AND d.recheck_at IS NOT DISTINCT FROM e.recheck_at) IS NOT TRUE),

    -- a spread limit is neither more nor less than its parts
    escrow AS (
        SELECT NULL::uuid AS execution_id, 'escrow' AS invariant,
               format('budget %s, %s: allotted %s, pool %s, credit %s, limit %s', b.budget_id, l.key, u.allotted, p.unallotted,
                      p.credit, l.value) AS detail
          FROM ff_engine.budget AS b
         CROSS JOIN LATERAL jsonb_each_text(b.hard_limits) AS l
          LEFT JOIN ff_engine.budget_pool AS p ON p.budget_id = b.budget_id AND p.dimension = l.key
         CROSS JOIN LATERAL (SELECT coalesce(sum(x.allotted), 0) AS allotted FROM ff_engine.budget_usage AS x
                              WHERE x.budget_id = b.budget_id AND x.dimension = l.key AND x.period = b.period) AS u
         WHERE b.stripes > 1 AND b.enforcement_mode = 'strict'
           AND (p.period < b.period OR u.allotted + p.unallotted = l.value::bigint + p.credit) IS NOT TRUE),

    -- what falls due has a timer no later than that; a terminal execution may still stand among the living
    -- what falls due has a timer no later than that; a terminal execution may still stand among the living, and one
    -- that is listed to be purged may wait a moment for others
    timer AS (
        SELECT e.execution_id, 'timer' AS invariant, format('due at %s without a timer by then', e.due_at) AS detail
          FROM (SELECT x.execution_id, x.lane_id, x.lifecycle_phase = 't' AS ended,
                       CASE WHEN x.lifecycle_phase = 't' THEN x.purge_at
                            ELSE least(x.execution_deadline, x.grant_expires_at, x.suspension_timeout,
                                       CASE WHEN x.ownership_state = 'l' THEN least(x.lease_expires_at, x.attempt_deadline) END,
                                       CASE WHEN x.eligibility_state = 't' THEN x.delay_until END) END AS due_at
                  FROM ff_engine.execution_row AS x) AS e
          LEFT JOIN (SELECT t.execution_id, t.lane_id, min(t.due_at) AS first_at
                       FROM ff_engine.timer AS t WHERE t.kind = 'l' GROUP BY t.execution_id, t.lane_id) AS t
            ON t.execution_id = e.execution_id AND t.lane_id = e.lane_id
          LEFT JOIN (SELECT u.execution_id, min(p.due_at) - interval '250 ms' AS first_at
                       FROM ff_engine.purge AS p CROSS JOIN LATERAL unnest(p.execution_ids) AS u (execution_id)
                      GROUP BY u.execution_id) AS p
            ON p.execution_id = e.execution_id
         WHERE e.due_at IS NOT NULL
           AND (CASE WHEN e.ended THEN least(t.first_at, p.first_at) ELSE t.first_at END <= e.due_at) IS NOT TRUE),

    -- a lease that is marked as lost is listed by its end, and no other is
    lost AS (
        SELECT coalesce(e.execution_id, t.execution_id) AS execution_id, 'lost' AS invariant,
               format('%s as lost', CASE WHEN e.execution_id IS NULL THEN 'listed and not marked' ELSE 'marked and not listed' END) AS detail
          FROM (SELECT x.execution_id, x.lane_id, x.lease_expires_at FROM ff_engine.execution AS x
                 WHERE ff_engine.ownership(x.state) = 'e') AS e
          FULL JOIN (SELECT x.execution_id, x.lane_id, x.due_at FROM ff_engine.timer AS x WHERE x.kind = 'x') AS t
            ON t.execution_id = e.execution_id AND t.lane_id = e.lane_id AND t.due_at = e.lease_expires_at
         WHERE e.execution_id IS NULL OR t.execution_id IS NULL),

    -- counts are those of the rows
    counts AS (
        SELECT NULL::uuid AS execution_id, 'count' AS invariant,
               format('lane %s, namespace %s: %s executions are %s and %s are counted', lane_id, namespace_id,
                      coalesce(e.executions, 0), ff_engine.public_state_at(place), coalesce(c.executions, 0)) AS detail
          FROM (SELECT x.lane_id, x.namespace_id, ff_engine.public_place(x.state) AS place, count(*) AS executions
                  FROM ff_engine.execution AS x GROUP BY 1, 2, 3) AS e
          FULL JOIN ff_engine.counted() AS c USING (lane_id, namespace_id, place)
         WHERE coalesce(e.executions, 0) <> coalesce(c.executions, 0)),

    -- superseded attempts fill the indexes below the latest one without a gap, and are over
    attempts AS (
        SELECT coalesce(e.execution_id, o.execution_id) AS execution_id,
               CASE WHEN e.execution_id IS NULL OR o.open THEN 'attempt' WHEN o.started THEN 'V9' ELSE 'V7' END AS invariant,
               CASE WHEN e.execution_id IS NULL THEN 'attempts without an execution'
                    WHEN o.started THEN 'a superseded attempt is still started'
                    WHEN o.open THEN 'a superseded attempt is not over, or its lease is not an earlier one'
                    ELSE format('%s attempts are counted, %s superseded ones are kept', e.total_attempt_count, coalesce(o.n, 0)) END AS detail
          FROM ff_engine.execution_row AS e
          FULL JOIN (SELECT a.execution_id, count(*) AS n, min(a.attempt_index) AS low, max(a.attempt_index) AS high,
                            bool_or(a.attempt_record = 's') AS started,
                            bool_or(a.attempt_record = 'p' OR a.attempt_ended_at IS NULL OR a.lease_epoch >= x.lease_epoch) AS open
                       FROM ff_engine.attempt AS a
                       LEFT JOIN ff_engine.execution_row AS x ON x.execution_id = a.execution_id
                      GROUP BY a.execution_id) AS o ON o.execution_id = e.execution_id
         WHERE e.execution_id IS NULL OR o.started OR o.open
            OR coalesce(o.n, 0) <> greatest(e.total_attempt_count - 1, 0) OR o.low <> 0 OR o.high <> o.n - 1),

    -- one open suspension per suspended execution, with its timeout, and waitpoints that agree with what they belong to
    suspensions AS (
        SELECT s.execution_id, 'suspension' AS invariant, 'an open suspension that its execution does not wait for, or not so long' AS detail
          FROM ff_engine.suspension AS s
          LEFT JOIN ff_engine.execution_row AS e ON e.execution_id = s.execution_id
         WHERE s.closed_at IS NULL
           AND (e.current_suspension_id = s.suspension_id AND e.current_waitpoint_id = s.waitpoint_ids[1]
                AND e.suspension_timeout IS NOT DISTINCT FROM s.timeout_at
                AND e.total_attempt_count - 1 = s.attempt_index) IS NOT TRUE
        UNION ALL
        SELECT e.execution_id, 'suspension', 'a suspended execution without an open suspension'
          FROM ff_engine.execution_row AS e
          LEFT JOIN ff_engine.suspension AS s ON s.suspension_id = e.current_suspension_id
         WHERE e.lifecycle_phase = 's' AND (s.closed_at IS NULL AND s.execution_id = e.execution_id) IS NOT TRUE
        UNION ALL
        SELECT s.execution_id, 'suspension', 'a suspension is closed without a reason, or goes on without having been closed'
          FROM ff_engine.suspension AS s
         WHERE (s.closed_at IS NULL) <> (s.close_reason IS NULL) OR s.closed_at IS NULL AND s.resume_trigger IS NOT NULL
        UNION ALL
        SELECT w.execution_id, 'waitpoint', format('waitpoint %s is %s where it cannot be', w.waitpoint_id, w.state)
          FROM ff_engine.waitpoint AS w
          LEFT JOIN ff_engine.execution_row AS e ON e.execution_id = w.execution_id
          LEFT JOIN ff_engine.suspension AS s ON s.suspension_id = w.suspension_id
         WHERE CASE w.state
                   WHEN 'active' THEN s.closed_at IS NULL AND w.waitpoint_id = ANY (s.waitpoint_ids) AND w.closed_at IS NULL
                                      AND e.lifecycle_phase = 's'
                   WHEN 'pending' THEN w.suspension_id IS NULL AND w.closed_at IS NULL AND e.lifecycle_phase <> 't'
                                       AND e.total_attempt_count - 1 = w.attempt_index AND e.attempt_ended_at IS NULL
                   ELSE w.closed_at IS NOT NULL AND w.close_reason IS NOT NULL END IS NOT TRUE
        UNION ALL
        SELECT g.execution_id, 'signal', 'signals are not numbered from 1 without a gap, or their waitpoints count others'
          FROM (SELECT x.execution_id, count(*) AS n, max(x.signal_seq) AS high FROM ff_engine.signal AS x GROUP BY x.execution_id) AS g
          LEFT JOIN (SELECT y.execution_id, sum(y.signal_count) AS counted FROM ff_engine.waitpoint AS y GROUP BY y.execution_id) AS w
            ON w.execution_id = g.execution_id
         WHERE g.n <> g.high OR g.n IS DISTINCT FROM w.counted
        UNION ALL
        SELECT s.execution_id, 'suspension', 'a suspension without an execution'
          FROM ff_engine.suspension AS s
         WHERE NOT EXISTS (SELECT FROM ff_engine.execution AS e WHERE e.execution_id = s.execution_id)),

    -- a stream has exactly the frames that its counters tell of, as far as they survive a crash, and an end if it is over
    streams AS (
        SELECT f.execution_id, 'stream' AS invariant, 'frames without a stream' AS detail
          FROM ff_engine.frame AS f
         WHERE NOT EXISTS (SELECT FROM ff_engine.stream AS s
                            WHERE s.execution_id = f.execution_id AND s.attempt_index = f.attempt_index)
        UNION ALL
        SELECT n.execution_id, 'stream', 'the end of a stream whose attempt goes on, or is not there'
          FROM ff_engine.stream_end AS n
          LEFT JOIN ff_engine.execution_row AS e ON e.execution_id = n.execution_id
         WHERE (n.attempt_index < e.total_attempt_count - 1
                OR n.attempt_index = e.total_attempt_count - 1
                   AND (e.attempt_ended_at IS NOT NULL OR e.ownership_state IN ('e', 'r'))) IS NOT TRUE
        UNION ALL
        SELECT k.execution_id, 'stream', format('%s frames of mode %s are counted, %s are kept', k.counted, k.mode, k.kept)
          FROM (SELECT s.execution_id, m.mode, greatest(m.last - m.floor + 1, 0) AS counted,
                       (SELECT count(*) FROM ff_engine.frame AS f
                         WHERE f.execution_id = s.execution_id AND f.attempt_index = s.attempt_index AND f.mode = m.mode
                           AND f.ordinal BETWEEN m.floor AND m.last) AS kept
                  FROM ff_engine.stream AS s
                  LEFT JOIN ff_engine.stream_end AS n ON n.execution_id = s.execution_id AND n.attempt_index = s.attempt_index
                 CROSS JOIN LATERAL (VALUES
                       ('d'::"char", s.durable_floor, coalesce(n.durable_last, s.durable_last)),
                       ('s'::"char", s.summary_floor, coalesce(n.summary_last, s.summary_last))
                       ) AS m (mode, floor, last)) AS k
         WHERE k.counted <> k.kept
        UNION ALL
        SELECT s.execution_id, 'stream', 'the summary document is not what its patches have made'
          FROM ff_engine.stream AS s
          LEFT JOIN ff_engine.stream_summary AS m ON m.execution_id = s.execution_id AND m.attempt_index = s.attempt_index
         WHERE s.summary_last <> coalesce(m.version, 0)),
    -- members and graphs as their flows count them, groups as their edges do, nobody waits in vain, nothing due is forgotten
    flows AS (
        SELECT coalesce(e.execution_id, m.execution_id) AS execution_id, 'flow' AS invariant,
               'a member without its entry, or an entry that names another flow' AS detail
          FROM ff_engine.execution AS e FULL JOIN ff_engine.flow_member AS m ON m.execution_id = e.execution_id
         WHERE e.flow_id IS DISTINCT FROM m.flow_id
        UNION ALL
        SELECT e.execution_id, 'flow', 'a member has another partition than its flow, or its flow is gone'
          FROM ff_engine.execution AS e LEFT JOIN ff_engine.flow AS f ON f.flow_id = e.flow_id
         WHERE e.flow_id IS NOT NULL AND e.partition_key IS DISTINCT FROM f.partition_key
        UNION ALL
        SELECT NULL, 'flow', format('flow %s counts %s members and %s edges, and there are %s and %s', f.flow_id, f.node_count,
                                    f.edge_count, m.n, e.n)
          FROM ff_engine.flow AS f
         CROSS JOIN LATERAL (SELECT count(*) AS n FROM ff_engine.flow_member AS x WHERE x.flow_id = f.flow_id) AS m
         CROSS JOIN LATERAL (SELECT count(*) AS n FROM ff_engine.edge AS y WHERE y.flow_id = f.flow_id) AS e
         WHERE f.edge_count <> e.n OR f.graph_revision <> f.node_count + f.edge_count
            OR CASE f.public_flow_state WHEN 'open' THEN f.node_count <> m.n ELSE f.node_count < m.n END
            OR (f.public_flow_state = 'open') <> (f.terminal_at IS NULL)
        UNION ALL
        SELECT g.downstream_id, 'edge_group', format('edges %s of a child are counted as %s', c.counts,
                                                     ARRAY[g.total_deps, g.satisfied_count, g.failed_count, g.skipped_count])
          FROM ff_engine.edge_group AS g
         CROSS JOIN LATERAL (
               SELECT ARRAY[count(*) FILTER (WHERE e.edge_state <> 'pending'), count(*) FILTER (WHERE e.edge_state = 'satisfied'),
                            count(*) FILTER (WHERE e.edge_state = 'impossible' AND e.resolved_outcome <> 'skipped'),
                            count(*) FILTER (WHERE e.edge_state = 'impossible' AND e.resolved_outcome = 'skipped')]::int[] AS counts
                 FROM ff_engine.edge AS e WHERE e.downstream_id = g.downstream_id) AS c
         WHERE c.counts <> ARRAY[g.total_deps, g.satisfied_count, g.failed_count, g.skipped_count]
        UNION ALL
        SELECT e.downstream_id, 'edge_group', 'an applied edge leads into no group'
          FROM ff_engine.edge AS e LEFT JOIN ff_engine.edge_group AS g ON g.downstream_id = e.downstream_id
         WHERE e.edge_state <> 'pending' AND g.downstream_id IS NULL
        UNION ALL
        SELECT e.execution_id, 'edge_group', 'waits for upstreams that hold it back no longer'
          FROM ff_engine.execution AS e LEFT JOIN ff_engine.edge_group AS g ON g.downstream_id = e.execution_id
         WHERE ff_engine.eligibility(e.state) = 'd'
           AND (g.group_state = 'pending' AND (g.total_deps > g.satisfied_count + g.failed_count + g.skipped_count
                                               OR g.policy = 'quorum' AND g.k > g.total_deps)) IS NOT TRUE
        UNION ALL
        SELECT e.execution_id, 'edge_group', 'may start although its group does not allow it'
          FROM ff_engine.execution AS e JOIN ff_engine.edge_group AS g ON g.downstream_id = e.execution_id
         WHERE ff_engine.eligibility(e.state) IN ('e', 't', 'r') AND ff_engine.attempt_state(e.state) IN ('f', 'p')
           AND g.group_state <> 'satisfied' AND g.total_deps > 0
        UNION ALL
        SELECT u.execution_id, 'cascade', 'has ended, and an edge of it is due that nobody will resolve'
          FROM ff_engine.execution AS u
         WHERE ff_engine.lifecycle(u.state) = 't' AND u.flow_id IS NOT NULL
           AND EXISTS (SELECT FROM ff_engine.edge AS e
                        WHERE e.upstream_id = u.execution_id AND e.edge_state = 'unsatisfied'
                          AND coalesce(e.consumed_life, -1) < coalesce((u.rare ->> 'replays')::int, 0))
           AND NOT EXISTS (SELECT FROM ff_engine.cascade AS q WHERE q.execution_id = u.execution_id)),

    -- the log tells of every lease and of every end, as far back as it is kept
    log AS (
        SELECT h.execution_id, v.invariant,
               CASE v.invariant
                   WHEN 'V8' THEN format('lease_epoch is %s, the log tells of %s leases', h.lease_epoch, h.leases)
                   WHEN 'lease' THEN 'the log tells of another lease of this epoch'
                   ELSE format('%s ends were announced where there were %s', h.ended, h.ends) END AS detail
          FROM (SELECT e.execution_id, e.lease_epoch, e.replay_count + (e.lifecycle_phase = 't')::int AS ends,
                       coalesce(e.started_at, e.completed_at) >= (SELECT f.occurred_at FROM ff_engine.event AS f
                                                                   ORDER BY f.txid, f.event_id LIMIT 1) AS whole,
                       count(*) FILTER (WHERE r.code IN (1, 6)) AS leases,
                       min(r.lease_epoch) FILTER (WHERE r.code IN (1, 6)) AS low,
                       max(r.lease_epoch) FILTER (WHERE r.code IN (1, 6)) AS high,
                       count(*) FILTER (WHERE r.code BETWEEN 11 AND 15) AS ended,
                       bool_or(r.code IN (1, 6) AND r.lease_epoch = e.lease_epoch AND e.ownership_state <> 'u'
                               AND r.lease_id <> e.lease_id) AS other
                  FROM ff_engine.execution_row AS e
                  LEFT JOIN ff_engine.event AS r
                    ON r.execution_id = e.execution_id AND (r.code IN (1, 6) OR r.code BETWEEN 11 AND 15)
                 GROUP BY e.execution_id, e.lease_epoch, e.replay_count, e.lifecycle_phase, e.started_at, e.completed_at,
                          e.ownership_state, e.lease_id) AS h
         CROSS JOIN LATERAL (VALUES
               ('V8', h.leases = coalesce(h.high - h.low + 1, 0) AND coalesce(h.high = h.lease_epoch, true)
                      AND (h.whole IS NOT TRUE OR h.leases = h.lease_epoch)),
               ('lease', h.other IS NOT TRUE),
               ('completion', h.ended <= h.ends AND (h.whole IS NOT TRUE OR h.ended = h.ends))
               ) AS v (invariant, holds)
         WHERE v.holds IS NOT TRUE)

    SELECT f.execution_id, f.invariant, f.detail
      FROM asked AS a
     CROSS JOIN LATERAL (
           SELECT execution_id, invariant, detail FROM local
           UNION ALL SELECT execution_id, invariant, detail FROM ready
           UNION ALL SELECT execution_id, invariant, detail FROM unrouted
           UNION ALL SELECT execution_id, invariant, detail FROM denied
           UNION ALL SELECT execution_id, invariant, detail FROM escrow
           UNION ALL SELECT execution_id, invariant, detail FROM timer
           UNION ALL SELECT execution_id, invariant, detail FROM lost
           UNION ALL SELECT execution_id, invariant, detail FROM counts
           UNION ALL SELECT execution_id, invariant, detail FROM attempts
           UNION ALL SELECT execution_id, invariant, detail FROM suspensions
           UNION ALL SELECT execution_id, invariant, detail FROM streams
           UNION ALL SELECT execution_id, invariant, detail FROM flows
           UNION ALL SELECT execution_id, invariant, detail FROM log
           LIMIT a.page) AS f
     WHERE CASE WHEN ff_engine.admits(NULL) THEN true
                ELSE EXISTS (SELECT FROM ff_engine.execution AS e
                              WHERE e.execution_id = f.execution_id AND ff_engine.admits(e.namespace_id)) END;
END;

SET LOCAL search_path = @extschema@, pg_temp;
