-- One execution from creation to completion; any surprise ends the script with an error.
CREATE EXTENSION ff_engine;
SELECT * FROM ff_version();
SELECT execution_id FROM ff_create_execution('installcheck', 'check', 'payload') \gset
SELECT handle FROM ff_claim('installcheck', worker => 'installcheck') \gset
SELECT outcome, public_state FROM ff_fail(:'handle', 'no retry policy') \gset failed_
SELECT execution_id FROM ff_create_execution('installcheck', 'check', 'payload') \gset
SELECT handle FROM ff_claim('installcheck', worker => 'installcheck') \gset
SELECT public_state FROM ff_complete(:'handle', 'result') \gset completed_
SELECT convert_from(result, 'UTF8') AS result FROM ff_get_execution_result(:'execution_id') \gset
SELECT count(*) AS violations FROM ff_check_invariants() \gset
SELECT 1 / (:'failed_outcome' = 'terminal_failed' AND :'completed_public_state' = 'completed'
            AND :'result' = 'result' AND :violations = 0)::int AS "the checks hold";
