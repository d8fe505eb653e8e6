-- A transaction may claim what it has put into a queue itself, although other claims have passed that place.
\pset format unaligned
\pset tuples_only on
SELECT outcome FROM ff_create_execution('own', 'k', 'first');
SELECT outcome FROM ff_create_execution('own', 'k', 'second');
SELECT outcome FROM ff_create_execution('own', 'k', 'third');
SELECT convert_from(payload, 'UTF8') FROM ff_claim('own', 'w', lease_ttl => '1 s');
SELECT convert_from(payload, 'UTF8') FROM ff_claim('own', 'w', lease_ttl => '1 h');

BEGIN;
SELECT outcome FROM ff_create_execution('own', 'k', 'urgent', priority => 9);
SELECT convert_from(payload, 'UTF8') FROM ff_claim('own', 'w', lease_ttl => '1 h');
ROLLBACK;

-- The claim itself finds that a lease has run out, and takes over at once.
SET ff_engine.clock_offset = '1 min';
SELECT convert_from(payload, 'UTF8'), handle_kind FROM ff_claim('own', 'w', lease_ttl => '1 h');
