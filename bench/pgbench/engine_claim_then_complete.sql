\if :held
SELECT outcome FROM ff_complete(:handle);
\set held 0
\else
SELECT handle, payload FROM ff_claim(:lane, 'w:' || :client_id::text) \gset
\set held 1
\endif
