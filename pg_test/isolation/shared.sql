-- What the specs share, put once into their database.

-- The outcome of a statement, or the error a client would read.
CREATE FUNCTION attempted(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text;
BEGIN
    EXECUTE statement INTO answer;
    RETURN answer;
EXCEPTION WHEN SQLSTATE 'FF001' OR SQLSTATE 'FF101' OR SQLSTATE 'FF203' OR SQLSTATE 'FF204' OR SQLSTATE 'FF205' OR SQLSTATE 'FF210'
    OR SQLSTATE 'FF401' OR SQLSTATE 'FF402' OR SQLSTATE 'FF403' OR SQLSTATE 'FF404' OR SQLSTATE 'FF405' OR SQLSTATE 'FF406' OR SQLSTATE 'FF407'
    OR SQLSTATE 'FF305' OR SQLSTATE 'FF410' OR SQLSTATE 'FF415' OR SQLSTATE 'FF416' OR SQLSTATE 'FF130' THEN
    RETURN format('%s %s', SQLSTATE, split_part(SQLERRM, ':', 1));
END;
$$;

-- Each permutation begins with an empty engine.
CREATE PROCEDURE forget() LANGUAGE sql AS $$
    TRUNCATE ff_engine.execution, ff_engine.execution_input, ff_engine.attempt, ff_engine.ready, ff_engine.timer,
             ff_engine.idempotency, ff_engine.suspension, ff_engine.suspension_key, ff_engine.waitpoint, ff_engine.waitpoint_expiry,
             ff_engine.signal, ff_engine.signal_key, ff_engine.satisfier, ff_engine.waitpoint_secret,
             ff_engine.stream, ff_engine.stream_live, ff_engine.frame, ff_engine.frame_live, ff_engine.stream_summary,
             ff_engine.stream_end, ff_engine.stream_watch,
             ff_engine.flow,
             ff_engine.flow_member, ff_engine.edge, ff_engine.edge_group, ff_engine.cascade, ff_engine.flow_touch,
             ff_engine.flow_summary, ff_engine.sibling_cancel, ff_engine.cancel_backlog, ff_engine.cancel_backlog_member,
             ff_engine.budget, ff_engine.budget_usage, ff_engine.budget_pool, ff_engine.budget_ledger, ff_engine.budget_dedup,
             ff_engine.attachment, ff_engine.denied, ff_engine.quota, ff_engine.quota_token, ff_engine.quota_slot;
    UPDATE ff_engine.tally_position SET next = NULL
$$;

-- An execution of a lane is held by a worker, with a key to sign its waitpoints.
CREATE PROCEDURE hold(lane text) LANGUAGE sql AS $$
    SELECT FROM ff_seed_waitpoint_secret('k1');
    SELECT FROM ff_create_many(lane, 'k', ARRAY[NULL]::bytea[])
$$;

-- What a signal of this name does at a waitpoint of the table `point`, which its spec makes.
CREATE FUNCTION signalled(key text, name text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN (SELECT attempted(format('SELECT effect FROM ff_deliver_signal(%L, %L, %L)', p.waitpoint_id, p.waitpoint_token, name))
              FROM point AS p WHERE p.waitpoint_key = key);
END;
$$;

-- A flow of executions in a lane, in this order; each has the number of its place as the end of its id.
CREATE FUNCTION member(place int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT format('00000000-0000-4000-8000-%s', lpad(place::text, 12, '0'))::uuid
$$;

CREATE PROCEDURE weave(lane text, members int) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM ff_create_flow(member(0));
    FOR place IN 1..members LOOP
        PERFORM FROM ff_create_execution(lane, 'k', execution_id => member(place), flow_id => member(0));
    END LOOP;
END;
$$;

-- The state of each member.
CREATE VIEW woven AS
SELECT right(execution_id::text, 1) AS member, public_state FROM ff_executions WHERE flow_id = member(0) ORDER BY execution_id;

-- What becomes of a suspend whose suspension and only waitpoint get these ids.
CREATE FUNCTION suspended(handle text, suspension uuid, waitpoint uuid) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN attempted(format('SELECT outcome FROM ff_suspend(%L, ff_cond_signal(''a''), %L, suspension_id => %L)', handle,
                            jsonb_build_array(jsonb_build_object('key', 'a', 'id', waitpoint)), suspension));
END;
$$;
