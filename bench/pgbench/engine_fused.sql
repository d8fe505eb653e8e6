\if :primed
SELECT handle, payload FROM ff_complete_and_claim(:handle) \gset
\else
SELECT handle, payload FROM ff_claim(:lane, 'w:' || :client_id::text) \gset
\set primed 1
\endif
