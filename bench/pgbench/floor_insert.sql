INSERT INTO floor_payload (payload) VALUES (:payload);
