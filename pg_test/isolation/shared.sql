-- What the specs share, put once into their database.

-- The outcome of a statement, or the error a client would read.
CREATE FUNCTION attempted(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text;
BEGIN
    EXECUTE statement INTO answer;
    RETURN answer;
EXCEPTION WHEN SQLSTATE 'FF001' OR SQLSTATE 'FF203' OR SQLSTATE 'FF204' OR SQLSTATE 'FF205' OR SQLSTATE 'FF210'
    OR SQLSTATE 'FF401' OR SQLSTATE 'FF402' OR SQLSTATE 'FF403' THEN
    RETURN format('%s %s', SQLSTATE, split_part(SQLERRM, ':', 1));
END;
$$;

-- Each permutation begins with an empty engine.
CREATE PROCEDURE forget() LANGUAGE sql AS $$
    TRUNCATE ff_engine.execution, ff_engine.execution_input, ff_engine.attempt, ff_engine.ready, ff_engine.timer,
             ff_engine.idempotency;
    UPDATE ff_engine.tally_position SET next = NULL
$$;
