SELECT procrastinate_defer_jobs_v1(ARRAY[
    ROW('inbox', 'noop', 0, NULL, NULL, :message, NULL)::procrastinate_job_to_defer_v1]);
