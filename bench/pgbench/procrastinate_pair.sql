SELECT id, args FROM procrastinate_fetch_job_v2(ARRAY['bench'], NULL) \gset
SELECT procrastinate_finish_job_v1(:id::bigint, 'succeeded', false);
