-- One execution from its creation to its end, as a client reads it.
SELECT outcome, execution_id, public_state, request_matches
  FROM ff_create_execution('tour', 'letter', 'to Ada', 'text', execution_id => '00000000-0000-4000-8000-00000000000a',
                           idempotency_key => 'ada', tags => '{"tour.stop": "1"}',
                           policy => '{"retry_policy": {"max_retries": 1, "backoff": {"type": "fixed", "delay_ms": 60000}}}');
SELECT outcome, public_state, request_matches
  FROM ff_create_execution('tour', 'letter', 'to Ada', 'text', execution_id => '00000000-0000-4000-8000-00000000000a',
                           idempotency_key => 'ada', tags => '{"tour.stop": "1"}',
                           policy => '{"retry_policy": {"max_retries": 1, "backoff": {"type": "fixed", "delay_ms": 60000}}}');

SELECT handle, handle_kind, lane, kind, convert_from(payload, 'UTF8') AS payload, payload_encoding, tags,
       attempt_index, attempt_type, lease_epoch
  FROM ff_claim('tour', 'bo') \gset claim_
\echo :claim_handle_kind :claim_lane :claim_kind :claim_payload :claim_payload_encoding :claim_tags :claim_attempt_index :claim_attempt_type :claim_lease_epoch
SELECT execution_id, attempt_index, lease_epoch, kind FROM ff_handle_info(:'claim_handle');

SELECT ff_progress(:'claim_handle', 40, 'addressed');
SELECT lease_epoch FROM ff_renew(:'claim_handle');
SELECT public_state, progress_pct, progress_message, worker FROM ff_describe_execution('00000000-0000-4000-8000-00000000000a');

-- It fails, and is tried again a minute later.
SELECT outcome, public_state, next_attempt_index, retry_count, replayed FROM ff_fail(:'claim_handle', 'no stamp');
SELECT outcome, public_state, next_attempt_index, retry_count, replayed FROM ff_fail(:'claim_handle', 'no stamp');
SELECT count(*) AS too_early FROM ff_claim('tour', 'bo');
SET ff_engine.clock_offset = '1 min';
SELECT handle, attempt_index, attempt_type, previous_failure, retry_count
  FROM ff_claim('tour', 'bo', lease_ttl => '1 min') \gset claim_
\echo :claim_attempt_index :claim_attempt_type :claim_previous_failure :claim_retry_count

-- The worker steps back and takes it up again.
SELECT outcome, public_state, replayed FROM ff_delay(:'claim_handle', ff_server_time());
SELECT handle, handle_kind, attempt_index, lease_epoch FROM ff_claim('tour', 'bo', lease_ttl => '1 min') \gset claim_
\echo :claim_handle_kind :claim_attempt_index :claim_lease_epoch

-- It dies, and another worker takes over.
SET ff_engine.clock_offset = '3 min';
SELECT processed, skipped, errors, remaining FROM ff_reconcile_lease_expiry();
SELECT handle, handle_kind, attempt_index, attempt_type, reclaim_count FROM ff_claim('tour', 'cleo') \gset claim_
\echo :claim_handle_kind :claim_attempt_index :claim_attempt_type :claim_reclaim_count
SELECT outcome, public_state, replayed FROM ff_complete(:'claim_handle', 'sent', 'text');
SELECT outcome, public_state, replayed FROM ff_complete(:'claim_handle', 'lost', 'text');

-- What is left of it.
SELECT convert_from(result, 'UTF8') AS result, result_encoding FROM ff_get_execution_result('00000000-0000-4000-8000-00000000000a');
SELECT lifecycle_phase, ownership_state, eligibility_state, blocking_reason, terminal_outcome, attempt_state, public_state
  FROM ff_read_execution_info('00000000-0000-4000-8000-00000000000a');
SELECT attempt_index, attempt_type, attempt_state, failure_reason FROM ff_list_attempts('00000000-0000-4000-8000-00000000000a') ORDER BY 1;
SELECT family, event_type, attempt_index, details ->> 'reason' AS reason, details ->> 'worker' AS worker
  FROM ff_execution_events('00000000-0000-4000-8000-00000000000a') ORDER BY event_id;
SELECT event, lease_epoch, worker, reason FROM ff_lease_history('00000000-0000-4000-8000-00000000000a') ORDER BY event_id;
SELECT public_state, executions FROM ff_count_executions('tour') WHERE executions > 0;
SELECT * FROM ff_check_invariants();
