-- R0: the floor. What one durable single-row write costs on this machine, whatever is built on top.
CREATE TABLE floor_counter (id int PRIMARY KEY, n bigint NOT NULL) WITH (fillfactor = 50);
INSERT INTO floor_counter SELECT i, 0 FROM generate_series(1, 100000) i;

CREATE TABLE floor_payload (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, payload bytea);
