-- Reads of flows that decide nothing. As in 50_reads.sql.

-- Every name and operator here means pg_catalog's, whatever the schema holds that the extension is created in.
SET LOCAL search_path = pg_catalog, pg_temp;

CREATE FUNCTION @extschema@.ff_flow_summary(flow_id uuid)
RETURNS TABLE (
    total_members bigint, completed int, failed int, cancelled int, expired int, skipped int, active int, suspended int,
    resumable int, waiting int, delayed int, rate_limited int, waiting_children int, derived_state text, public_flow_state text,
    projected_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (SELECT ff_engine.given_id(ff_flow_summary.flow_id, 'flow_id') AS id)
    SELECT c.total_members, c.completed, c.failed, c.cancelled, c.expired, c.skipped, c.active, c.suspended, c.resumable, c.waiting,
           c.delayed, c.rate_limited, c.waiting_children, c.derived_state, f.public_flow_state, s.projected_at
      FROM asked AS a
      JOIN ff_engine.flow AS f ON f.flow_id = a.id AND ff_engine.admits(f.namespace_id)
      LEFT JOIN ff_engine.flow_summary AS s ON s.flow_id = f.flow_id
     CROSS JOIN LATERAL ff_engine.flow_counts(f.flow_id) AS c;
END;

-- A group with what follows from its columns. One that is pending is over when its child is.
CREATE VIEW ff_engine.edge_group_row AS
SELECT g.flow_id, g.downstream_id AS downstream_execution_id,
       jsonb_strip_nulls(jsonb_build_object('kind', g.policy, 'k', g.k, 'on_satisfied', g.on_satisfied)) AS policy,
       g.total_deps, g.satisfied_count, g.failed_count, g.skipped_count,
       g.total_deps - g.satisfied_count - g.failed_count - g.skipped_count AS running_count,
       CASE WHEN g.group_state = 'pending' AND ff_engine.lifecycle(e.state) = 't' THEN 'cancelled' ELSE g.group_state END AS group_state,
       g.satisfied_at, g.cancel_siblings_pending
  FROM ff_engine.edge_group AS g LEFT JOIN ff_engine.execution AS e ON e.execution_id = g.downstream_id;

CREATE FUNCTION @extschema@.ff_describe_flow(flow_id uuid, with_edge_groups boolean DEFAULT true)
RETURNS TABLE (
    flow_id uuid, partition_key smallint, flow_kind text, namespace text, public_flow_state text, derived_state text, sealed boolean,
    graph_revision bigint, node_count int, edge_count int, created_at timestamptz, last_mutation_at timestamptz,
    terminal_at timestamptz, cancelled_at timestamptz, cancel_reason text, cancellation_policy text, cancel_requester text,
    owed_members bigint, tags jsonb, definition_digest bytea, edge_groups jsonb)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (SELECT ff_engine.given_id(ff_describe_flow.flow_id, 'flow_id') AS id)
    SELECT f.flow_id, f.partition_key, f.flow_kind, n.name, f.public_flow_state, c.derived_state, f.sealed, f.graph_revision,
           f.node_count, f.edge_count, f.created_at, f.last_mutation_at, f.terminal_at, f.cancelled_at, f.cancel_reason,
           f.cancellation_policy, f.cancel_requester,
           (SELECT count(*) FROM ff_engine.cancel_backlog_member AS m WHERE m.flow_id = f.flow_id),
           coalesce(f.tags, '{}'::jsonb), f.definition_digest,
           CASE WHEN ff_describe_flow.with_edge_groups THEN coalesce(g.groups, '[]'::jsonb) END
      FROM asked AS a
      JOIN ff_engine.flow AS f ON f.flow_id = a.id AND ff_engine.admits(f.namespace_id)
      JOIN ff_engine.namespace AS n ON n.namespace_id = f.namespace_id
     CROSS JOIN LATERAL ff_engine.flow_counts(f.flow_id) AS c
      LEFT JOIN LATERAL (
           SELECT jsonb_agg(jsonb_build_object(
                      'downstream_execution_id', r.downstream_execution_id, 'policy', r.policy, 'total_deps', r.total_deps,
                      'satisfied_count', r.satisfied_count, 'failed_count', r.failed_count, 'skipped_count', r.skipped_count,
                      'running_count', r.running_count, 'group_state', r.group_state, 'satisfied_at', r.satisfied_at,
                      'cancel_siblings_pending', r.cancel_siblings_pending) ORDER BY r.downstream_execution_id) AS groups
             FROM ff_engine.edge_group_row AS r
            WHERE r.flow_id = f.flow_id AND ff_describe_flow.with_edge_groups) AS g ON true;
END;

CREATE FUNCTION @extschema@.ff_describe_edge(flow_id uuid, edge_id uuid)
RETURNS TABLE (
    edge_id uuid, flow_id uuid, upstream_execution_id uuid, downstream_execution_id uuid, ordinal bigint, dependency_kind text,
    satisfaction_condition text, data_passing_ref text, edge_state text, created_at timestamptz, created_by text,
    applied_at timestamptz, resolved_at timestamptz, resolved_outcome text, consumed_life int)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (
        SELECT ff_engine.given_id(ff_describe_edge.flow_id, 'flow_id') AS flow_id,
               ff_engine.given_id(ff_describe_edge.edge_id, 'edge_id') AS id)
    SELECT e.edge_id, e.flow_id, e.upstream_id, e.downstream_id, e.ordinal, e.dependency_kind, 'all_required', e.data_passing_ref,
           e.edge_state, e.created_at, 'engine', e.applied_at, e.resolved_at, e.resolved_outcome, e.consumed_life
      FROM asked AS a
      JOIN ff_engine.edge AS e ON e.edge_id = a.id AND e.flow_id = a.flow_id
      JOIN ff_engine.flow AS f ON f.flow_id = e.flow_id AND ff_engine.admits(f.namespace_id);
END;

CREATE FUNCTION @extschema@.ff_list_edges(
    flow_id uuid, execution_id uuid DEFAULT NULL, direction text DEFAULT 'both', after bigint DEFAULT NULL, max_items int DEFAULT 1000)
RETURNS TABLE (
    edge_id uuid, flow_id uuid, upstream_execution_id uuid, downstream_execution_id uuid, ordinal bigint, dependency_kind text,
    satisfaction_condition text, data_passing_ref text, edge_state text, created_at timestamptz, created_by text,
    applied_at timestamptz, resolved_at timestamptz, resolved_outcome text, consumed_life int, has_more boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_mergejoin = off SET enable_hashjoin = off
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (
        SELECT ff_engine.given_id(ff_list_edges.flow_id, 'flow_id') AS id, ff_engine.page(ff_list_edges.max_items, 10000) AS page,
               ff_engine.edge_direction(ff_list_edges.direction) AS direction,
               coalesce(ff_list_edges.after, -9223372036854775808) AS behind)
    SELECT e.edge_id, e.flow_id, e.upstream_id, e.downstream_id, e.ordinal, e.dependency_kind, 'all_required', e.data_passing_ref,
           e.edge_state, e.created_at, 'engine', e.applied_at, e.resolved_at, e.resolved_outcome, e.consumed_life, e.has_more
      FROM (SELECT c.*, a.page, row_number() OVER (ORDER BY c.ordinal) AS place, count(*) OVER () > a.page AS has_more
              FROM asked AS a
              JOIN ff_engine.flow AS f ON f.flow_id = a.id AND ff_engine.admits(f.namespace_id)
             CROSS JOIN LATERAL (
                   SELECT x.*
                     FROM (SELECT w.* FROM ff_engine.edge AS w
                            WHERE ff_list_edges.execution_id IS NULL AND w.flow_id = f.flow_id AND w.ordinal > a.behind
                            UNION ALL
                           SELECT o.* FROM ff_engine.edge AS o
                            WHERE o.upstream_id = ff_list_edges.execution_id AND o.flow_id = f.flow_id
                              AND a.direction IN ('outgoing', 'both') AND o.ordinal > a.behind
                            UNION ALL
                           SELECT i.* FROM ff_engine.edge AS i
                            WHERE i.downstream_id = ff_list_edges.execution_id AND i.flow_id = f.flow_id
                              AND a.direction IN ('incoming', 'both') AND i.ordinal > a.behind) AS x
                    ORDER BY x.ordinal
                    LIMIT a.page + least(a.page, 1)) AS c) AS e
     WHERE e.place <= e.page
     ORDER BY e.ordinal;
END;

CREATE FUNCTION @extschema@.ff_read_dependency_results(execution_id uuid, after bigint DEFAULT NULL, max_items int DEFAULT 1000)
RETURNS TABLE (
    ordinal bigint, edge_id uuid, upstream_execution_id uuid, node_name text, dependency_kind text, edge_state text,
    upstream_outcome text, data_passing_ref text, result bytea, result_encoding text, has_more boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_mergejoin = off SET enable_hashjoin = off
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (
        SELECT ff_engine.given(ff_read_dependency_results.execution_id) AS id,
               ff_engine.page(ff_read_dependency_results.max_items, 10000) AS page,
               coalesce(ff_read_dependency_results.after, -9223372036854775808) AS behind)
    SELECT e.ordinal, e.edge_id, e.upstream_id, m.node_name, e.dependency_kind, e.edge_state,
           nullif(ff_engine.outcome_word(ff_engine.outcome(u.state)), 'none'), e.data_passing_ref, u.result, u.result_encoding, e.has_more
      FROM (SELECT c.*, a.page, row_number() OVER (ORDER BY c.ordinal) AS place, count(*) OVER () > a.page AS has_more
              FROM asked AS a
              JOIN ff_engine.execution AS d ON d.execution_id = a.id AND ff_engine.admits(d.namespace_id)
             CROSS JOIN LATERAL (
                   SELECT x.* FROM ff_engine.edge AS x
                    WHERE x.downstream_id = d.execution_id AND x.ordinal > a.behind
                    ORDER BY x.ordinal
                    LIMIT a.page + least(a.page, 1)) AS c) AS e
      LEFT JOIN ff_engine.execution AS u ON u.execution_id = e.upstream_id AND ff_engine.admits(u.namespace_id)
      LEFT JOIN ff_engine.flow_member AS m ON m.execution_id = e.upstream_id
     WHERE e.place <= e.page
     ORDER BY e.ordinal;
END;

SET LOCAL search_path = @extschema@, pg_temp;
