SELECT array_agg(handle) AS handles, string_agg(payload, '') AS payloads
FROM ff_claim(:lane, 'w:' || :client_id::text, max_items => 50) \gset
SELECT count(*) FROM ff_complete_many(:handles);
