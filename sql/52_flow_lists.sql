-- Reads of flows that decide nothing: pages of flows, members and edge groups, names, tags. As in 50_reads.sql,
-- arguments are checked in a materialised `asked`, and ff_engine.admits() stands in every read.

-- Every name and operator here means pg_catalog's, whatever the schema holds that the extension is created in.
SET LOCAL search_path = pg_catalog, pg_temp;

CREATE FUNCTION @extschema@.ff_list_flows(
    partition_key int DEFAULT NULL, after uuid DEFAULT NULL, max_items int DEFAULT 100, status text DEFAULT NULL,
    namespace text DEFAULT NULL, tags jsonb DEFAULT NULL)
RETURNS TABLE (
    flow_id uuid, created_at timestamptz, status text, public_flow_state text, flow_kind text, namespace text,
    node_count int, partition_key smallint, has_more boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (
        SELECT ff_engine.page(max_items, 1000) AS page,
               ff_engine.partition(ff_list_flows.partition_key) AS partition,
               ff_engine.flow_state(ff_list_flows.status) AS state,
               ff_engine.tag_filter(ff_list_flows.tags) AS tags,
               (SELECT n.namespace_id FROM ff_engine.namespace AS n WHERE n.name = ff_list_flows.namespace) AS namespace)
    SELECT p.flow_id, p.created_at, CASE p.public_flow_state WHEN 'open' THEN 'active' ELSE p.public_flow_state END,
           p.public_flow_state, p.flow_kind, n.name, p.node_count, p.partition_key, p.has_more
      FROM (SELECT c.*, a.page, row_number() OVER (ORDER BY c.flow_id) AS place, count(*) OVER () > a.page AS has_more
              FROM asked AS a
             CROSS JOIN LATERAL (
                   SELECT f.flow_id, f.created_at, f.public_flow_state, f.flow_kind, f.namespace_id, f.node_count, f.partition_key
                     FROM ff_engine.flow AS f
                    WHERE f.flow_id >= coalesce(after, '00000000-0000-0000-0000-000000000000')
                      AND f.flow_id IS DISTINCT FROM after
                      AND ff_engine.admits(f.namespace_id)
                      AND (a.partition IS NULL OR f.partition_key = a.partition)
                      AND (a.state IS NULL OR f.public_flow_state = a.state)
                      AND (ff_list_flows.namespace IS NULL OR f.namespace_id = a.namespace)
                      AND (a.tags IS NULL OR coalesce(f.tags, '{}'::jsonb) @> a.tags)
                    ORDER BY f.flow_id
                    LIMIT a.page + least(a.page, 1)) AS c) AS p
      JOIN ff_engine.namespace AS n ON n.namespace_id = p.namespace_id
     WHERE p.place <= p.page
     ORDER BY p.flow_id;
END;

CREATE FUNCTION @extschema@.ff_list_flow_members(
    flow_id uuid, after uuid DEFAULT NULL, max_items int DEFAULT 1000, public_states text[] DEFAULT NULL)
RETURNS TABLE (
    execution_id uuid, node_name text, lane text, public_state text, inbound int, outbound int, has_more boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (
        SELECT ff_engine.given_id(ff_list_flow_members.flow_id, 'flow_id') AS id, ff_engine.page(max_items, 1000) AS page,
               ff_engine.public_states(public_states) AS states)
    SELECT p.execution_id, p.node_name, l.name, p.public_state,
           (SELECT count(*) FROM ff_engine.edge AS d WHERE d.downstream_id = p.execution_id)::int,
           (SELECT count(*) FROM ff_engine.edge AS u WHERE u.upstream_id = p.execution_id)::int, p.has_more
      FROM (SELECT c.*, a.page, row_number() OVER (ORDER BY c.execution_id) AS place, count(*) OVER () > a.page AS has_more
              FROM asked AS a
             CROSS JOIN LATERAL (
                   SELECT m.execution_id, m.node_name, e.lane_id, ff_engine.public_word(e.state) AS public_state
                     FROM ff_engine.flow_member AS m
                     JOIN ff_engine.execution AS e ON e.execution_id = m.execution_id
                    WHERE m.flow_id = a.id
                      AND m.execution_id >= coalesce(after, '00000000-0000-0000-0000-000000000000')
                      AND m.execution_id IS DISTINCT FROM after
                      AND ff_engine.admits(e.namespace_id)
                      AND (a.states IS NULL OR ff_engine.public_word(e.state) = ANY (a.states))
                    ORDER BY m.execution_id
                    LIMIT a.page + least(a.page, 1)) AS c) AS p
      JOIN ff_engine.lane AS l ON l.lane_id = p.lane_id
     WHERE p.place <= p.page
     ORDER BY p.execution_id;
END;

CREATE FUNCTION @extschema@.ff_flow_node(flow_id uuid, node_name text) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (SELECT ff_engine.given_id(ff_flow_node.flow_id, 'flow_id') AS id,
                                    ff_engine.given_text(ff_flow_node.node_name, 'node_name') AS name)
    SELECT m.execution_id
      FROM asked AS a
      JOIN ff_engine.flow_member AS m ON m.flow_id = a.id AND m.node_name = a.name
     WHERE ff_engine.admits_execution(m.execution_id);
END;

CREATE FUNCTION @extschema@.ff_list_edge_groups(flow_id uuid, after uuid DEFAULT NULL, max_items int DEFAULT 1000)
RETURNS TABLE (
    downstream_execution_id uuid, policy jsonb, total_deps int, satisfied_count int, failed_count int, skipped_count int,
    running_count int, group_state text, satisfied_at timestamptz, cancel_siblings_pending boolean, has_more boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (
        SELECT ff_engine.given_id(ff_list_edge_groups.flow_id, 'flow_id') AS id, ff_engine.page(max_items, 1000) AS page)
    SELECT p.downstream_execution_id, p.policy, p.total_deps, p.satisfied_count, p.failed_count, p.skipped_count,
           p.running_count, p.group_state, p.satisfied_at, p.cancel_siblings_pending, p.has_more
      FROM (SELECT c.*, a.page, row_number() OVER (ORDER BY c.downstream_execution_id) AS place, count(*) OVER () > a.page AS has_more
              FROM asked AS a
             CROSS JOIN LATERAL (
                   SELECT g.*
                     FROM ff_engine.edge_group_row AS g
                    WHERE g.flow_id = a.id
                      AND g.downstream_execution_id >= coalesce(after, '00000000-0000-0000-0000-000000000000')
                      AND g.downstream_execution_id IS DISTINCT FROM after
                      AND ff_engine.admits_execution(g.downstream_execution_id)
                    ORDER BY g.downstream_execution_id
                    LIMIT a.page + least(a.page, 1)) AS c) AS p
     WHERE p.place <= p.page
     ORDER BY p.downstream_execution_id;
END;

CREATE FUNCTION @extschema@.ff_get_flow_tag(flow_id uuid, key text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (
        SELECT ff_engine.given_id(ff_get_flow_tag.flow_id, 'flow_id') AS id, ff_engine.tag_key(key) AS key)
    SELECT f.tags ->> a.key FROM asked AS a JOIN ff_engine.flow AS f ON f.flow_id = a.id AND ff_engine.admits(f.namespace_id);
END;

SET LOCAL search_path = @extschema@, pg_temp;
