SELECT array_agg(msg_id) AS ids, string_agg(message::text, '') AS messages FROM pgmq.read('bench', 30, 50) \gset
SELECT count(*) FROM pgmq.delete('bench', :ids::bigint[]);
