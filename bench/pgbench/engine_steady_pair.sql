\if :left = 0
SELECT count(*) FROM ff_create_many(:lane, 'job', array_fill(:payload::bytea, ARRAY[50]));
\set left 50
\endif
\set left :left - 1
SELECT handle, payload FROM ff_claim(:lane, 'w:' || :client_id::text) \gset
SELECT outcome FROM ff_complete(:handle);
