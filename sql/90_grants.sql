-- Every name and operator here means pg_catalog's, whatever the schema holds that the extension is created in.
SET LOCAL search_path = pg_catalog, pg_temp;

-- Nothing of the engine is granted to anybody: ff_create_roles() grants, class by class. Views and tables are born closed.
DO $$
DECLARE
    routine regprocedure;
BEGIN
    FOR routine IN
        SELECT p.oid
          FROM pg_extension AS x
          JOIN pg_depend AS d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = x.oid
                                        AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
          JOIN pg_proc AS p ON p.oid = d.objid
         WHERE x.extname = 'ff_engine'
    LOOP
        EXECUTE format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', routine);
    END LOOP;
END;
$$;

-- What \df+ says of each public function. The names are those of the specification, one function each.
DO $$
DECLARE
    note record;
BEGIN
    FOR note IN
        SELECT p.oid::regprocedure AS routine, c.text
          FROM (VALUES
                -- creating
                ('ff_create_execution', 'Creates one execution, once per idempotency key or id. Outcomes: created, duplicate.'),
                ('ff_create_executions', 'Creates a batch of executions from a JSON array of objects, all or none.'),
                ('ff_create_many', 'Creates one execution per payload of an array, all or none.'),
                ('ff_new_id', 'Mints a time-ordered id that carries a partition.'),
                ('ff_partition_of', 'The partition, 0 to 255, that an id stands for.'),
                ('ff_format_execution_id', 'The interop text form {fp:N}:<uuid> of an execution''s id.'),
                ('ff_parse_execution_id', 'Takes the interop text form {fp:N}:<uuid> apart.'),
                ('ff_get_execution_tag', 'One tag of an execution, NULL when absent.'),
                ('ff_get_execution_namespace', 'The namespace of an execution, NULL when absent.'),
                -- lanes
                ('ff_set_lane', 'Registers a lane, or changes its state and retention. Outcomes: registered, changed, unchanged.'),
                ('ff_list_lanes', 'Pages through the registered lanes by name.'),
                -- intervening
                ('ff_cancel_execution', 'Cancels an execution in any phase. Repeating it returns the same row with replayed = true.'),
                ('ff_revoke_lease', 'Takes the lease of an execution away. Outcomes: revoked, already_satisfied.'),
                ('ff_change_priority', 'Changes the priority of an execution that has not ended. Outcomes: changed, unchanged.'),
                ('ff_replay_execution', 'Starts a terminal execution anew, history kept. Outcome: replayed.'),
                ('ff_block_execution', 'Keeps an execution from being handed out. Outcomes: blocked, rejected_not_eligible, rejected_terminal.'),
                ('ff_block_route', 'Notes that no worker covers the requirement of an execution. Outcomes as ff_block_execution.'),
                ('ff_unblock_execution', 'Lets a blocked execution be handed out again. Outcomes: unblocked, rejected_not_blocked, rejected_reason_changed.'),
                ('ff_set_execution_tag', 'Sets one tag of an execution.'),
                ('ff_set_execution_tags', 'Merges tags into those of an execution; JSON null removes a key. Returns the number of keys applied.'),
                ('ff_create_roles', 'Creates the roles of the engine where they are missing and grants each its functions; repeat it after an update.'),
                ('ff_grant_namespace', 'Binds a role to a namespace: a bound role sees and acts on its namespaces only. Outcomes: granted, unchanged.'),
                ('ff_revoke_namespace', 'Takes a namespace from a role. Outcomes: revoked, unbound (it sees all again), unchanged.'),
                ('ff_config', 'Lists the settings with value, default and unit.'),
                -- claiming
                ('ff_claim', 'Claims new, resumed, retried or lost work of one lane under an expiring lease.'),
                ('ff_claim_any', 'Claims work from several lanes in one call.'),
                ('ff_wait_for_work', 'CALL it outside a transaction block: waits, holding no snapshot, until a claim could get something. Outcomes: work, timeout.'),
                ('ff_wait_for_work_any', 'CALL it outside a transaction block: as ff_wait_for_work, for several lanes.'),
                ('ff_recover_leases', 'The live leases of a worker instance with their handles, for a worker that lost a response.'),
                ('ff_complete_and_claim', 'Completes one execution and claims the next in one call.'),
                ('ff_complete_many_and_claim', 'Completes a batch of executions and claims the next ones in one call.'),
                ('ff_handle_info', 'Decodes a handle without touching any state.'),
                -- scheduling from outside
                ('ff_scan_eligible', 'Claimable executions of a lane in claim order, for an external scheduler.'),
                ('ff_issue_claim_grant', 'Reserves a claimable execution for one worker. Outcomes: granted, not_eligible, grant_exists, capability_mismatch.'),
                ('ff_claim_for_worker', 'Selects the next claimable execution and reserves it for a worker. Outcomes: granted, no_work.'),
                ('ff_claim_execution', 'Claims one execution by its grant.'),
                ('ff_claim_resumed_execution', 'Takes up the interrupted attempt of one execution, with a grant or without.'),
                ('ff_issue_grant_and_claim', 'Takes one execution over in one step, for an operator.'),
                ('ff_issue_reclaim_grant', 'Reserves an execution with a lost lease for one worker. Outcomes: granted, not_reclaimable, reclaim_cap_exceeded, grant_exists, capability_mismatch.'),
                ('ff_reclaim_execution', 'Takes over an execution with a lost lease by its grant. Outcomes: claimed, not_reclaimable, reclaim_cap_exceeded, grant_not_found.'),
                -- working
                ('ff_renew', 'Extends the lease that a handle names.'),
                ('ff_renew_many', 'Extends all leases of a worker in one call, each renewed or rejected.'),
                ('ff_progress', 'Reports progress of the running attempt.'),
                ('ff_delay', 'Gives the lease back until an instant; the attempt continues then. Outcomes: delayed, ready.'),
                ('ff_wait_children', 'Gives the lease back until the executions that this one depends on have ended. Outcomes: waiting, ready, skipped.'),
                ('ff_complete', 'Completes an execution with a result. Repeating the call returns the first answer.'),
                ('ff_complete_many', 'Completes a batch of executions, all or none unless on_error is report.'),
                ('ff_fail', 'Ends an attempt as failed. Outcomes: retry_scheduled, terminal_failed.'),
                ('ff_cancel', 'Cancels the execution that the caller holds.'),
                ('ff_complete_execution', 'Completes an execution by lease, epoch and attempt, or by operator_override.'),
                ('ff_fail_execution', 'Ends an attempt as failed by lease, epoch and attempt, or by operator_override. Outcomes as ff_fail.'),
                ('ff_delay_execution', 'Gives a lease back until an instant, by lease, epoch and attempt, or by operator_override. Outcomes as ff_delay.'),
                ('ff_wait_children_execution', 'Gives a lease back until the children have ended, by lease, epoch and attempt, or by operator_override.'),
                ('ff_renew_lease', 'Extends a lease by its id, epoch and attempt; nobody can override it.'),
                -- workers
                ('ff_register_worker', 'Registers a worker instance with its lanes and capabilities. Outcomes: registered, refreshed.'),
                ('ff_heartbeat_worker', 'Keeps a registration alive. Outcomes: refreshed, not_registered.'),
                ('ff_mark_worker_dead', 'Removes a registration and, if asked, takes the leases of the instance away. Outcomes: marked, not_registered.'),
                ('ff_list_workers', 'Pages through the live registrations of workers.'),
                ('ff_list_worker_events', 'Pages through what happened in the registry of workers.'),
                ('ff_list_unroutable', 'Claimable executions that no live registered worker can run, with what is missing.'),
                -- waiting for signals
                ('ff_cond_signal', 'A condition: one accepted signal, of any of the names given, or of every name.'),
                ('ff_cond_all_of', 'A condition: every member holds.'),
                ('ff_cond_any_of', 'A condition: at least one member holds.'),
                ('ff_cond_count', 'A condition: so many satisfiers, different by waitpoints, signals or sources.'),
                ('ff_cond_all_waitpoints', 'A condition: one signal at each of the waitpoints.'),
                ('ff_cond_operator_only', 'A condition that no signal meets: only an operator resumes.'),
                ('ff_cond_timeout_only', 'A condition that no signal meets: only the timeout acts.'),
                ('ff_suspend', 'Suspends the held execution until a condition holds. Outcomes: suspended, already_satisfied.'),
                ('ff_suspend_execution', 'As ff_suspend, for callers that keep lease, epoch and attempt instead of a handle.'),
                ('ff_create_waitpoint', 'Creates an address for signals before suspending, so that an early answer is not lost.'),
                ('ff_close_waitpoint', 'Closes a waitpoint before its suspension ends. Outcomes: closed, already_closed.'),
                ('ff_deliver_signal', 'Delivers a signal to a waitpoint with its token. Outcomes: accepted, duplicate.'),
                ('ff_deliver_signals', 'Delivers a batch of signals from a JSON array of objects, each accepted, duplicate or rejected.'),
                ('ff_deliver_approval_signal', 'Delivers an operator''s approval, which needs no token. Outcomes as ff_deliver_signal.'),
                ('ff_resume_execution', 'Resumes a suspended execution without a signal. Outcome: resumed.'),
                ('ff_expire_suspension', 'Applies a due suspension timeout. Outcomes: applied, not_due, not_suspended, not_found.'),
                ('ff_observe_signals', 'The signals of the attempt''s latest suspension, for the worker that goes on.'),
                ('ff_resume_context', 'Why and how the attempt was resumed, with the text left by the suspender.'),
                ('ff_list_pending_waitpoints', 'Pages through the open waitpoints of an execution, without their tokens.'),
                ('ff_list_suspended', 'Pages through the suspended executions, longest waiting first.'),
                ('ff_list_signals', 'Pages through the signals of an execution in the order they were accepted.'),
                ('ff_describe_suspension', 'One suspension with its waitpoints and how far its condition holds.'),
                ('ff_read_waitpoint_token', 'The token of an open waitpoint, for a trusted bridge; every call is logged.'),
                ('ff_seed_waitpoint_secret', 'Installs the first signing key. Outcomes: seeded, already_seeded.'),
                ('ff_rotate_waitpoint_secret', 'Makes a new signing key current; the old one verifies for a grace. Outcomes: rotated, noop.'),
                ('ff_revoke_waitpoint_kid', 'Ends a retired signing key at once. Outcomes: revoked, unknown.'),
                ('ff_list_waitpoint_kids', 'Names of the signing keys that sign or verify, never a secret.'),
                ('ff_redact_token', 'A waitpoint token as it may be shown.'),
                ('ff_token_fingerprint', 'Sixteen digits that tell waitpoint tokens apart and give nothing of them away.'),
                -- reading
                ('ff_describe_execution', 'All facts of one execution but its payload, result and policy.'),
                ('ff_read_execution_info', 'The state vector and the main facts of one execution.'),
                ('ff_read_execution_state', 'The public state of one execution, NULL when absent.'),
                ('ff_get_execution_result', 'The result of an execution, one row exactly when it is completed.'),
                ('ff_read_execution_context', 'Payload, kind and tags of an execution, for its worker.'),
                ('ff_read_exec_core_fields', 'Named scalar fields of one execution as a JSON object of texts.'),
                ('ff_read_current_attempt_index', 'The index of an execution''s latest attempt, NULL before the first claim.'),
                ('ff_read_total_attempt_count', 'How many attempts an execution ever had: the index of the next one.'),
                ('ff_resolve_execution_flow_id', 'The flow of an execution, NULL when it has none.'),
                ('ff_list_attempts', 'Pages through the attempts of an execution, newest first.'),
                ('ff_list_executions', 'Pages through executions by id, with filters.'),
                ('ff_count_executions', 'Counts executions per public state.'),
                ('ff_list_expired_leases', 'Pages through leases past their expiry that nobody has taken over.'),
                ('ff_lease_history', 'Pages through the lease events of one execution.'),
                ('ff_await_executions', 'Waits a moment until executions have ended and returns the state of each.'),
                -- events
                ('ff_read_events', 'Reads events after a position, none lost, however late they commit.'),
                ('ff_events_cursor', 'A cursor for a position (now, start or a cursor) or for an instant.'),
                ('ff_execution_events', 'Pages through the retained events of one execution.'),
                -- budgets and quotas
                ('ff_create_budget', 'Makes a budget and attaches it to its scope.'),
                ('ff_set_budget_limits', 'Replaces the hard and soft limits of a budget.'),
                ('ff_attach_budget', 'Applies a budget to an execution, a flow, a lane, a namespace or everything.'),
                ('ff_detach_budget', 'Ends what ff_attach_budget began.'),
                ('ff_report_usage', 'Charges what a worker has used to one budget, or to all that apply to its execution.'),
                ('ff_report_usage_admin', 'Charges usage that no execution has caused.'),
                ('ff_record_spend', 'Charges usage and remembers which execution caused it.'),
                ('ff_release_budget', 'Takes back what an execution has spent in this period.'),
                ('ff_enforce_budget', 'Cancels, fails or suspends executions under a budget, once.'),
                ('ff_reset_budget', 'Begins a new period of a budget: everything used reads zero.'),
                ('ff_get_budget_status', 'Definition, usage and breaches of a budget.'),
                ('ff_read_budget_usage_and_limits', 'Usage and limits of a budget, one row per dimension.'),
                ('ff_list_budgets', 'Pages through the budgets.'),
                ('ff_list_budget_attachments', 'What a budget applies to.'),
                ('ff_effective_limits', 'Every budget and quota that applies to an execution, and whether it would admit it now.'),
                ('ff_create_quota_policy', 'Makes a quota policy: starts per sliding window, executions at once.'),
                ('ff_set_quota_limits', 'Changes the limits of a quota policy; what runs goes on.'),
                ('ff_attach_quota', 'Applies a quota policy to an execution, a flow, a lane, a namespace or everything.'),
                ('ff_detach_quota', 'Ends what ff_attach_quota began.'),
                ('ff_read_quota_policy_limits', 'The limits of a quota policy.'),
                ('ff_get_quota_status', 'How much of a quota policy is in use, and when it next has room.'),
                ('ff_check_admission', 'Asks a quota policy for the start of an execution, and takes what it needs.'),
                ('ff_release_admission', 'Gives the slot of an execution back.'),
                -- the engine
                ('ff_version', 'Versions of extension, API and server, and how the library runs.'),
                ('ff_capabilities', 'One row per feature and whether this installation supports it.'),
                ('ff_ping', 'True if the tables of the engine can be read.'),
                ('ff_server_time', 'The engine clock: wall clock, not the start of the transaction.'),
                ('ff_server_time_ms', 'The engine clock in milliseconds since 1970.'),
                ('ff_error_codes', 'Every condition the engine reports: SQLSTATE, kind, group, advice, meaning.'),
                ('ff_explain_execution', 'Why an execution is not running, one row per reason, and the call that would change it.'),
                ('ff_health', 'One row per check, ok, warn or fail, with what it means and what to do.'),
                ('ff_metrics', 'The numbers of lanes, functions, reconcilers and checks as OpenMetrics text.'),
                ('ff_check_invariants', 'Reports rows that contradict the rules of the engine or each other; none is the healthy answer.'),
                -- background
                ('ff_tick', 'Runs every reconciler once: what pg_cron schedules.'),
                ('ff_reconcile_lease_expiry', 'Marks elapsed leases, so that waiting workers take the work over.'),
                ('ff_reconcile_delayed', 'Makes executions eligible whose delay has elapsed.'),
                ('ff_reconcile_attempt_timeout', 'Ends attempts that have used up their time.'),
                ('ff_reconcile_suspension_timeout', 'Applies due suspension timeouts.'),
                ('ff_reconcile_pending_waitpoint', 'Expires waitpoints that no suspension has used in time.'),
                ('ff_reconcile_signal_gc', 'Deletes lapsed keys of signals and suspends, and erases old secrets.'),
                ('ff_reconcile_execution_deadline', 'Expires executions past their deadline.'),
                ('ff_reconcile_grant_expiry', 'Drops grants past their end, so that others see the executions again.'),
                ('ff_mark_lease_expired_if_due', 'Marks the lease of one execution if its time is over, or says in a word why not.'),
                ('ff_promote_delayed', 'Makes one execution eligible if its delay is over, or says in a word why not.'),
                ('ff_expire_execution', 'Applies attempt_timeout or execution_deadline to one execution if it is due, or says in a word why not.'),
                ('ff_reconcile_unblock', 'Makes executions eligible that were waiting for a worker that is there now.'),
                ('ff_reconcile_budget_reset', 'Begins the next period of budgets whose period has ended.'),
                ('ff_reconcile_budget_enforce', 'Cancels the executions under breached budgets that say so.'),
                ('ff_reconcile_budget_counters', 'Repairs budgets whose rows contradict each other, and deletes lapsed keys of reports.'),
                ('ff_reconcile_quota_counters', 'Frees slots that nobody should hold, and restores missing tokens and slots.'),
                ('ff_reconcile_worker_ttl', 'Deletes registrations of workers that have lapsed.'),
                -- output streams
                ('ff_append_frame', 'Appends one frame to the output stream of the attempt that a handle holds.'),
                ('ff_append_frames', 'Appends several frames of one mode in one call, all or none.'),
                ('ff_read_stream', 'Reads the frames of a stream between two positions; a last row with NULL frame_id marks its end.'),
                ('ff_tail_stream', 'Reads the frames of a stream behind a position, and waits for them if asked to.'),
                ('ff_read_summary', 'The summary document that the patches of a stream have made.'),
                ('ff_stream_status', 'Counters, window and end of a stream.'),
                ('ff_reconcile_stream_gc', 'Deletes frames that nobody can see any more, and streams past their time.'),
                ('ff_reconcile_idempotency', 'Deletes idempotency keys past their lifetime.'),
                ('ff_reconcile_retention', 'Deletes ended executions past their retention.'),
                ('ff_run_reconcilers', 'CALL it from pg_cron before 1.5: runs the reconcilers for most of a minute, in short transactions.'),
                ('ff_start_workers', 'Starts the background worker of this database.'),
                ('ff_stop_workers', 'Stops the background worker of this database.'),
                ('ff_schedule_reconcilers', 'Installs the pg_cron job that runs the reconcilers.'),
                ('ff_unschedule_reconcilers', 'Removes the pg_cron jobs of the engine.'),
                -- flows
                ('ff_create_flow', 'Creates a flow, a container of executions joined by dependency edges. Outcomes: created, already_satisfied.'),
                ('ff_add_execution_to_flow', 'Makes an execution a member of a flow. Outcomes: added, already_member.'),
                ('ff_set_edge_group_policy', 'Declares when an execution is released, before its first edge. Outcomes: set, already_set.'),
                ('ff_stage_dependency_edge', 'Stages an edge without touching the child. Outcomes: staged, already_staged.'),
                ('ff_apply_dependency_to_child', 'Makes a staged edge count. Outcomes: applied, already_applied, rejected_terminal, rejected_group_fired.'),
                ('ff_add_dependency', 'Stages and applies an edge in one step. Outcomes: added, already_staged, rejected_terminal, rejected_group_fired.'),
                ('ff_seal_flow', 'Closes a flow for further members and edges. Outcomes: sealed, already_sealed.'),
                ('ff_resolve_dependency', 'Resolves one due edge. Outcomes: satisfied, impossible, not_applied, upstream_not_terminal, already_resolved.'),
                ('ff_cascade_completion', 'Propagates the end of one member to its children now. Outcomes: advanced, noop.'),
                ('ff_read_dependency_results', 'The inbound edges of an execution with the results of their upstreams, by ordinal.'),
                ('ff_evaluate_flow_eligibility', 'What the edges into an execution say of it now.'),
                ('ff_promote_blocked_to_eligible', 'Releases a child that waits for its upstreams without reason: promoted, or why not.'),
                ('ff_flow_summary', 'Members of a flow by state, counted live, and the state they make of it.'),
                ('ff_project_flow_summary', 'Stores the summary of a flow, and closes it when all members have ended.'),
                ('ff_wait_flow', 'Waits briefly until a flow is over or cancelled for good. Outcomes: satisfied, timeout, gone.'),
                ('ff_describe_flow', 'All facts of a flow, with its edge groups.'),
                ('ff_describe_edge', 'One edge of a flow.'),
                ('ff_create_flow_graph', 'Creates a whole flow from one document. Outcomes: created, already_satisfied.'),
                ('ff_validate_flow_document', 'Lists what is wrong with the document of a flow.'),
                ('ff_flow_mermaid', 'A flow as a Mermaid flowchart.'),
                ('ff_flow_dot', 'A flow as a DOT digraph.'),
                ('ff_list_flows', 'Pages through flows by filter.'),
                ('ff_list_flow_members', 'Pages through the members of a flow.'),
                ('ff_list_edge_groups', 'Pages through the edge groups of a flow.'),
                ('ff_flow_node', 'The member of a flow with a node name, NULL when there is none.'),
                ('ff_set_flow_tag', 'Sets one tag of a flow.'),
                ('ff_set_flow_tags', 'Merges tags into those of a flow; JSON null removes a key. Returns the number of keys applied.'),
                ('ff_get_flow_tag', 'One tag of a flow, NULL when absent.'),
                ('ff_cancel_flow', 'Cancels a flow and its members by policy. Outcomes: cancelled, cancellation_scheduled, partially_cancelled, already_terminal.'),
                ('ff_cancel_flow_header', 'Cancels a flow and leaves its members to an external canceller. Outcomes: cancelled, already_terminal.'),
                ('ff_ack_cancel_member', 'Acknowledges a member that an external canceller has ended. Outcomes: acked, still_live, not_pending.'),
                ('ff_cancel_siblings', 'Cancels the upstreams that a fired group needs no more.'),
                ('ff_drain_sibling_cancel_group', 'Forgets a request to cancel siblings. Outcomes: drained, already_drained, drained_without_group.'),
                ('ff_reconcile_sibling_cancel_group', 'Repairs one request to cancel siblings.'),
                ('ff_replay_flow', 'Replays the ended members of a flow, upstreams before downstreams.'),
                ('ff_reconcile_sibling_cancel', 'Cancels the upstreams that fired groups need no more.'),
                ('ff_reconcile_sibling_cancel_repair', 'Repairs requests to cancel siblings that have stood too long.'),
                ('ff_reconcile_cancel_backlog', 'Cancels members that cancelled flows owe.'),
                ('ff_list_edges', 'Pages through the edges of a flow, or of one execution, by ordinal.'),
                ('ff_reconcile_cascade', 'Resolves the edges of ended members that their own transactions left.'),
                ('ff_reconcile_dependency', 'Finds and repairs unresolved due edges, wrong counters and children that wait without reason.'),
                ('ff_reconcile_flow_summary', 'Projects, seals and closes flows.'),
                ('ff_reconcile_flow_retention', 'Deletes ended flows without members.')
               ) AS c (name, text)
          JOIN pg_proc AS p ON p.proname = c.name
          JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
          JOIN pg_extension AS x ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = x.oid
         WHERE x.extname = 'ff_engine'
    LOOP
        EXECUTE format('COMMENT ON ROUTINE %s IS %L', note.routine, note.text);
    END LOOP;
END;
$$;

COMMENT ON VIEW @extschema@.ff_executions IS 'every execution with its state in words, read only';
COMMENT ON VIEW @extschema@.ff_attempts IS 'every attempt of every execution, read only';
COMMENT ON VIEW @extschema@.ff_leases IS 'the leases of active executions: live, past due, marked expired or revoked; read only';
COMMENT ON VIEW @extschema@.ff_lanes IS 'the registered lanes, read only';
COMMENT ON VIEW @extschema@.ff_workers IS 'the live registrations of workers, read only';

COMMENT ON TABLE ff_engine.installation IS 'identity of this installation, carried by handles and cursors';
COMMENT ON TABLE ff_engine.lane IS 'lanes by name';
COMMENT ON TABLE ff_engine.namespace IS 'namespaces by name';
COMMENT ON TABLE ff_engine.namespace_role IS 'roles that see some namespaces only';
COMMENT ON TABLE ff_engine.queue IS 'what a claim reads in order: lane, namespace, required capabilities';
COMMENT ON TABLE ff_engine.claimer IS 'who claims: worker, instance, capabilities, namespace filter';
COMMENT ON VIEW ff_engine.execution_row IS 'an execution with its state and rare facts taken apart';
COMMENT ON TABLE ff_engine.execution IS 'one row per execution: state vector, latest lease, latest attempt';
COMMENT ON TABLE ff_engine.execution_input IS 'payload and policy as they were handed in';
COMMENT ON TABLE ff_engine.attempt IS 'attempts that a later attempt has superseded';
COMMENT ON TABLE ff_engine.ready IS 'what a claim may hand out now, in claim order';
COMMENT ON TABLE ff_engine.unrouted IS 'executions that wait for a worker which is not there';
COMMENT ON TABLE ff_engine.worker IS 'registrations of workers';
COMMENT ON TABLE ff_engine.timer IS 'where the engine looks next, no later than anything falls due';
COMMENT ON TABLE ff_engine.purge IS 'ended executions by when they may be deleted, in lots';
COMMENT ON TABLE ff_engine.idempotency IS 'idempotency keys and the executions they created';
COMMENT ON TABLE ff_engine.tally IS 'executions by lane, namespace and public state, up to the position';
COMMENT ON TABLE ff_engine.tally_position IS 'up to where the counts reach';
COMMENT ON TABLE ff_engine.moved IS 'what transitions without an event mean for the counts, summed by session, until it is added';
COMMENT ON VIEW ff_engine.tallied IS 'the position of the counts, while they are valid';
COMMENT ON VIEW ff_engine.untallied_event IS 'events beyond the position';
COMMENT ON VIEW ff_engine.untallied_move IS 'what has moved without an event and is not counted yet';
COMMENT ON VIEW ff_engine.untallied IS 'what has moved beyond the position';
COMMENT ON TABLE ff_engine.suspension IS 'episodes of waiting, open and closed';
COMMENT ON TABLE ff_engine.suspension_key IS 'idempotency keys of suspends';
COMMENT ON TABLE ff_engine.satisfier IS 'sources that conditions have counted';
COMMENT ON TABLE ff_engine.waitpoint IS 'addresses that signals are sent to; tokens are computed, not stored';
COMMENT ON TABLE ff_engine.waitpoint_expiry IS 'where to look for pending waitpoints that expire';
COMMENT ON TABLE ff_engine.waitpoint_secret IS 'signing keys of waitpoint tokens, in no dump';
COMMENT ON TABLE ff_engine.signal IS 'signals in the order they were accepted';
COMMENT ON TABLE ff_engine.signal_key IS 'idempotency keys of signals';
COMMENT ON TABLE ff_engine.token_failure IS 'when a waitpoint token of an execution was last refused';
COMMENT ON TABLE ff_engine.budget IS 'budgets: limits, periods, breaches';
COMMENT ON TABLE ff_engine.budget_usage IS 'what dimensions of budgets have used, by stripe';
COMMENT ON TABLE ff_engine.budget_pool IS 'what no stripe has been given of a spread limit';
COMMENT ON TABLE ff_engine.budget_ledger IS 'spend by the execution that caused it';
COMMENT ON TABLE ff_engine.budget_dedup IS 'keys of reports that were applied';
COMMENT ON TABLE ff_engine.attachment IS 'what budgets and quota policies apply to';
COMMENT ON TABLE ff_engine.denied IS 'executions that a budget or a quota holds back';
COMMENT ON TABLE ff_engine.quota IS 'quota policies';
COMMENT ON TABLE ff_engine.quota_token IS 'one row per start that a window allows';
COMMENT ON TABLE ff_engine.quota_slot IS 'one row per execution that may run at once';
COMMENT ON VIEW ff_engine.budget_dimension IS 'usage and limits of budgets by dimension';
COMMENT ON TABLE ff_engine.stream IS 'output streams that have frames';
COMMENT ON TABLE ff_engine.stream_live IS 'counters of best-effort frames, lost in a crash';
COMMENT ON TABLE ff_engine.frame IS 'durable frames and patches of output streams';
COMMENT ON TABLE ff_engine.frame_live IS 'best-effort frames of output streams, lost in a crash';
COMMENT ON TABLE ff_engine.stream_summary IS 'summary documents of output streams';
COMMENT ON TABLE ff_engine.stream_end IS 'output streams as the ends of their attempts found them';
COMMENT ON TABLE ff_engine.stream_watch IS 'where to look for frames and streams that nobody needs any more';
COMMENT ON TABLE ff_engine.flow IS 'flows';
COMMENT ON TABLE ff_engine.flow_member IS 'which executions belong to a flow, and their node names';
COMMENT ON TABLE ff_engine.edge IS 'dependency edges: staged, applied, resolved';
COMMENT ON TABLE ff_engine.edge_group IS 'the applied edges into one child, counted';
COMMENT ON VIEW ff_engine.edge_group_row IS 'edge groups with what follows from their columns';
COMMENT ON TABLE ff_engine.cascade IS 'ended members whose edges are still to be resolved';
COMMENT ON TABLE ff_engine.sibling_cancel IS 'fired groups whose remaining upstreams are to be cancelled';
COMMENT ON TABLE ff_engine.cancel_backlog IS 'cancelled flows that still owe members';
COMMENT ON TABLE ff_engine.cancel_backlog_member IS 'members that cancelled flows still owe';
COMMENT ON TABLE ff_engine.flow_touch IS 'flows whose members have ended since they were projected';
COMMENT ON TABLE ff_engine.flow_summary IS 'summaries of flows as they were last projected';
COMMENT ON TABLE ff_engine.event IS 'the event log, append only';

SET LOCAL search_path = @extschema@, pg_temp;
