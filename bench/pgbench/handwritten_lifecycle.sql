INSERT INTO job (lane, payload) VALUES ('bench', :payload);
UPDATE job SET state = 'running'
WHERE id = (SELECT id FROM job WHERE lane = 'bench' AND state = 'ready' AND run_at <= now()
            ORDER BY priority DESC, id FOR UPDATE SKIP LOCKED LIMIT 1)
RETURNING id, payload \gset
UPDATE job SET state = 'done' WHERE id = :id;
