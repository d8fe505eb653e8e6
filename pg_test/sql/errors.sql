-- What a client reads of an error: SQLSTATE, message, DETAIL, HINT. Random ids and instants are masked.
\pset format unaligned
\pset tuples_only on

CREATE FUNCTION refusal(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    message text;
    detail text;
    hint text;
    masked text;
BEGIN
    EXECUTE statement;
    RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    masked := regexp_replace(detail, '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', '<id>', 'g');
    masked := regexp_replace(masked, '\d{4}-\d\d-\d\dT[0-9:.]+Z', '<instant>', 'g');
    RETURN format(E'%s %s\n  %s\n  %s', SQLSTATE, message, masked, hint);
END;
$$;

-- not found
SELECT refusal($$SELECT * FROM ff_read_execution_context('00000000-0000-4000-8000-000000000000')$$);

-- validation
SELECT refusal($$SELECT ff_create_execution(NULL, 'k')$$);
SELECT refusal($$SELECT ff_create_execution('a lane', E'two\nlines')$$);
SELECT refusal($$SELECT ff_create_execution(E'a\tlane', 'k')$$);
SELECT refusal($$SELECT ff_create_execution('l', 'k', policy => '{"retry_polizy": {}}')$$);
SELECT refusal($$SELECT ff_create_execution('l', 'k', policy => '{"retry_policy": {"max_retries": -1}}')$$);
SELECT refusal($$SELECT ff_create_execution('l', 'k', tags => '{"Stop": "1"}')$$);
SELECT refusal($$SELECT ff_create_execution('l', 'k', retention => '1 month')$$);
SELECT refusal($$SELECT ff_create_executions('[{"lane": "l", "kind": "k", "colour": "red"}]')$$);
SELECT refusal($$SELECT ff_claim('l', 'w', max_items => -1)$$);
SELECT refusal($$SELECT ff_claim('l', 'w', capabilities => '{"a,b"}')$$);
SELECT refusal($$SELECT ff_claim('l', 'w', lease_ttl => '-1 s')$$);
SELECT refusal($$SELECT ff_complete('ffh1.x')$$);
SELECT refusal($$SELECT ff_complete('ffh2.x')$$);
SELECT refusal($$SELECT ff_read_events('yesterday')$$);
SELECT refusal($$SELECT ff_parse_execution_id('{fp:x}:1')$$);
SELECT refusal(format('SELECT ff_create_execution(%L, %L, repeat(%L, 67108865)::bytea)', 'l', 'k', 'x'));

-- contention, conflict, state
SELECT count(*) FROM ff_create_many('errors', 'k', '{NULL,NULL,NULL}');
SELECT handle AS done FROM ff_claim('errors', 'w') \gset
SELECT outcome FROM ff_complete(:'done');
SELECT handle AS lost FROM ff_claim('errors', 'w', lease_ttl => '1 s') \gset
SELECT handle AS live FROM ff_claim('errors', 'w', lease_ttl => '1 h') \gset
SELECT refusal(format('SELECT ff_fail(%L, %L)', :'done', 'x'));
SELECT refusal(format('SELECT ff_fail(%L, %L, classification => %L)', :'live', 'x', 'bad luck'));
SELECT refusal(format('SELECT ff_progress(%L, 101)', :'live'));
SELECT refusal(format('SELECT ff_delay(%L, %L)', :'live', 'infinity'));
SET ff_engine.clock_offset = '1 min';
SELECT refusal(format('SELECT ff_renew(%L)', :'lost'));
SELECT handle_kind FROM ff_claim('errors', 'w2', lease_ttl => '1 h');
SELECT refusal(format('SELECT ff_renew(%L)', :'lost'));
SELECT refusal(format('SELECT ff_complete_many(ARRAY[%L, %L])', :'live', :'lost'));
RESET ff_engine.clock_offset;
SELECT outcome FROM ff_set_lane('shut', 'disabled', 'holiday');
SELECT refusal($$SELECT ff_create_execution('shut', 'k')$$);

-- Operators are told, too.
SELECT execution_id AS running FROM ff_handle_info(:'live') \gset
SELECT execution_id AS ended FROM ff_handle_info(:'done') \gset
SELECT refusal(format('SELECT ff_replay_execution(%L)', :'running'));
SELECT refusal(format('SELECT ff_cancel_execution(%L, %L)', :'ended', 'not needed'));
SELECT refusal(format('SELECT ff_cancel_execution(%L, %L, source => %L)', :'running', 'x', 'lease_holder'));
SELECT refusal(format('SELECT ff_cancel_execution(%L, %L, source => %L, lease_epoch => 1)', :'running', 'x', 'lease_holder'));
SELECT refusal(format('SELECT ff_block_execution(%L, %L)', :'running', 'bad_weather'));
SELECT refusal(format('SELECT ff_change_priority(%L, 5)', :'ended'));

-- A strict transaction cannot see new work.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT refusal($$SELECT ff_claim('l', 'w', wait => '1 s')$$);
ROLLBACK;

-- One as psql shows it, caught by nobody.
\set SHOW_CONTEXT never
SELECT ff_complete('nonsense');
\echo :LAST_ERROR_SQLSTATE

DROP FUNCTION refusal;
