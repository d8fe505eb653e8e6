SELECT outcome FROM ff_create_execution(:lane, 'job');
SELECT handle FROM ff_claim(:lane, 'w:' || :client_id::text) \gset
SELECT outcome FROM ff_complete(:handle);
