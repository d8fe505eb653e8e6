SELECT count(*) FROM ff_create_many('inbox', 'job', array_fill(:payload::bytea, ARRAY[1000]));
