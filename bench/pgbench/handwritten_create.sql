INSERT INTO job (lane, payload) VALUES ('inbox', :payload);
