-- Two different people must approve, or one must reject. Run it with psql in a database that has the
-- extension: psql -v ON_ERROR_STOP=1 -f two_person_approval.sql

-- Once per deployment: a key to sign tokens with. The server draws the secret.
SELECT outcome FROM ff_seed_waitpoint_secret('k1');

-- The work, and a worker that has come to the point where it may not go on alone.
SELECT execution_id FROM ff_create_execution('launches', 'rocket', 'to the moon') \gset
SELECT handle FROM ff_claim('launches', worker => 'countdown') \gset
SELECT outcome, waitpoint_id, waitpoint_token
  FROM ff_suspend(:'handle',
                  ff_cond_any_of(ff_cond_count(2, 'sources', '{crew}', '{approved}'),
                                 ff_cond_signal('crew', 'rejected')),
                  reason => 'waiting_for_approval', timeout => '1 day') \gset
\echo the launch is :outcome

-- Ada approves. Approving twice does not make her two people.
SELECT effect FROM ff_deliver_signal(:'waitpoint_id', :'waitpoint_token', 'approved',
                                     source_type => 'person', source_identity => 'ada');
SELECT effect FROM ff_deliver_signal(:'waitpoint_id', :'waitpoint_token', 'approved',
                                     source_type => 'person', source_identity => 'ada');

-- How far it is, for whoever wants to know.
SELECT progress -> 'members' -> 0 -> 'have' AS have, progress -> 'members' -> 0 -> 'need' AS need
  FROM ff_describe_suspension(:'execution_id');

-- Bob approves as well, and the same attempt goes on.
SELECT effect, resumed FROM ff_deliver_signal(:'waitpoint_id', :'waitpoint_token', 'approved',
                                              source_type => 'person', source_identity => 'bob');
SELECT handle, handle_kind FROM ff_claim('launches', worker => 'countdown') \gset
SELECT string_agg(source_identity, ' and ' ORDER BY signal_seq) AS approved_by FROM ff_observe_signals(:'handle');
SELECT outcome, public_state FROM ff_complete(:'handle', 'launched');
