\if :primed
\else
SELECT handle FROM ff_claim(:lane || :client_id::text, 'w', wait => '5 s') \gset
\set primed 1
\endif
SELECT waitpoint_id AS point, waitpoint_token AS token FROM ff_suspend(:handle, '{"type": "signal", "waitpoint": "a", "match": "go"}') \gset
SELECT outcome FROM ff_deliver_signal(:point, :token, 'go');
SELECT handle FROM ff_claim(:lane || :client_id::text, 'w', wait => '5 s') \gset
