SELECT pgmq.send('inbox', :message::jsonb);
