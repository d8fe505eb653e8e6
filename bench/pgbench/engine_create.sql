SELECT outcome FROM ff_create_execution('inbox', 'job', :payload);
