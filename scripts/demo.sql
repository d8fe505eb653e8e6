-- Anybody may ask for work to be done.
SELECT outcome, execution_id, public_state
  FROM ff_create_execution(lane => :'lane', kind => 'greet', payload => 'world');

-- Any session can be the worker: it claims work under a lease,
SELECT execution_id, handle FROM ff_claim(:'lane', worker => 'you', lease_ttl => '30 s') \gset

-- says how far it has come,
SELECT ff_progress(:'handle', 50, 'half of the greeting is written');

-- and completes it, in one transaction with writes of its own if it has any.
SELECT outcome, public_state, completed_at FROM ff_complete(:'handle', 'hello, world');

-- The result is there for everybody to read.
SELECT convert_from(result, 'UTF8') AS result FROM ff_get_execution_result(:'execution_id');
