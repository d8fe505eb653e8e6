//! Who may call what (§10.23): the roles, and the privilege class of every function.

/// A role of the engine and what it may do.
pub struct Role {
    /// Its name in the cluster.
    pub name: &'static str,
    /// Letters of the classes that are granted to it itself.
    pub classes: &'static str,
    /// Roles whose rights it has as well.
    pub includes: &'static [&'static str],
}

/// The six roles; each stands after those it includes.
pub const ROLES: [Role; 6] = [
    Role {
        name: "ff_reader",
        classes: "RU",
        includes: &[],
    },
    Role {
        name: "ff_signaller",
        classes: "SU",
        includes: &[],
    },
    Role {
        name: "ff_producer",
        classes: "PU",
        includes: &["ff_reader"],
    },
    Role {
        name: "ff_worker",
        classes: "WU",
        includes: &["ff_reader"],
    },
    Role {
        name: "ff_operator",
        classes: "OMU",
        includes: &["ff_producer", "ff_worker", "ff_signaller", "ff_reader"],
    },
    Role {
        name: "ff_admin",
        classes: "AU",
        includes: &["ff_operator"],
    },
];

/// The functions of each class, those of later releases too: a grant covers what is installed.
const FUNCTIONS: [(char, &str); 8] = [
    (
        'P',
        "ff_create_execution ff_create_executions ff_create_many ff_set_execution_tag \
         ff_set_execution_tags ff_await_executions ff_create_flow ff_add_execution_to_flow \
         ff_set_edge_group_policy ff_stage_dependency_edge ff_apply_dependency_to_child ff_add_dependency \
         ff_seal_flow ff_wait_flow ff_set_flow_tags ff_set_flow_tag ff_create_flow_graph \
         ff_validate_flow_document ff_record_spend ff_release_budget",
    ),
    (
        'W',
        "ff_claim ff_claim_any ff_recover_leases ff_complete_and_claim ff_complete_many_and_claim \
         ff_wait_for_work ff_wait_for_work_any ff_claim_execution ff_claim_resumed_execution \
         ff_reclaim_execution ff_handle_info ff_renew ff_renew_many ff_progress ff_delay ff_wait_children \
         ff_complete ff_complete_many ff_fail ff_cancel ff_complete_execution ff_fail_execution \
         ff_delay_execution ff_wait_children_execution ff_renew_lease ff_register_worker \
         ff_heartbeat_worker ff_read_execution_context ff_create_waitpoint ff_suspend \
         ff_suspend_execution ff_observe_signals ff_resume_context ff_close_waitpoint ff_append_frame \
         ff_append_frames ff_add_execution_to_flow ff_set_edge_group_policy ff_stage_dependency_edge \
         ff_apply_dependency_to_child ff_add_dependency ff_report_usage",
    ),
    ('S', "ff_deliver_signal ff_deliver_signals"),
    (
        'R',
        "ff_list_lanes ff_count_executions ff_format_execution_id ff_get_execution_tag \
         ff_get_execution_namespace ff_list_unroutable ff_lease_history ff_list_workers \
         ff_list_expired_leases ff_list_worker_events ff_describe_execution ff_read_execution_info \
         ff_read_execution_state ff_get_execution_result ff_read_exec_core_fields \
         ff_read_current_attempt_index ff_read_total_attempt_count ff_list_attempts \
         ff_resolve_execution_flow_id ff_list_executions ff_list_suspended ff_list_waitpoint_kids \
         ff_list_pending_waitpoints ff_list_signals ff_describe_suspension ff_read_summary ff_read_stream \
         ff_tail_stream ff_stream_status ff_read_events ff_events_cursor ff_execution_events \
         ff_wait_for_events ff_subscription_create ff_subscription_poll ff_subscription_ack \
         ff_subscription_nack ff_subscription_extend ff_subscription_seek ff_subscription_drop \
         ff_subscription_status ff_event_status ff_read_dependency_results ff_evaluate_flow_eligibility \
         ff_flow_summary ff_describe_flow ff_list_edge_groups ff_list_flows ff_list_flow_members \
         ff_flow_node ff_list_edges ff_describe_edge ff_get_flow_tag ff_flow_mermaid ff_flow_dot \
         ff_get_budget_status ff_read_budget_usage_and_limits ff_list_budgets ff_list_budget_attachments \
         ff_effective_limits ff_read_quota_policy_limits ff_get_quota_status ff_config ff_health \
         ff_metrics ff_explain_execution",
    ),
    (
        'O',
        "ff_set_lane ff_block_execution ff_block_route ff_unblock_execution ff_scan_eligible \
         ff_issue_claim_grant ff_claim_for_worker ff_issue_grant_and_claim ff_issue_reclaim_grant \
         ff_resume_execution ff_revoke_lease ff_cancel_execution ff_change_priority ff_replay_execution \
         ff_mark_worker_dead ff_deliver_approval_signal ff_read_waitpoint_token ff_close_waitpoint \
         ff_cancel_siblings ff_drain_sibling_cancel_group ff_cancel_flow ff_cancel_flow_header \
         ff_ack_cancel_member ff_replay_flow ff_create_budget ff_set_budget_limits ff_attach_budget \
         ff_detach_budget ff_report_usage_admin ff_enforce_budget ff_reset_budget ff_create_quota_policy \
         ff_set_quota_limits ff_attach_quota ff_detach_quota ff_check_admission ff_release_admission",
    ),
    (
        'M',
        "ff_tick ff_reconcile_lease_expiry ff_reconcile_delayed ff_reconcile_attempt_timeout \
         ff_reconcile_execution_deadline ff_reconcile_grant_expiry ff_reconcile_unblock \
         ff_reconcile_worker_ttl ff_reconcile_idempotency ff_reconcile_retention \
         ff_mark_lease_expired_if_due ff_promote_delayed ff_expire_execution ff_check_invariants \
         ff_expire_suspension ff_reconcile_suspension_timeout ff_reconcile_pending_waitpoint \
         ff_reconcile_signal_gc ff_reconcile_stream_gc ff_reconcile_event_dispatch \
         ff_reconcile_event_retention ff_resolve_dependency ff_cascade_completion \
         ff_promote_blocked_to_eligible ff_project_flow_summary ff_reconcile_sibling_cancel_group \
         ff_reconcile_cascade ff_reconcile_sibling_cancel ff_reconcile_sibling_cancel_repair \
         ff_reconcile_cancel_backlog ff_reconcile_dependency ff_reconcile_flow_summary \
         ff_reconcile_flow_retention ff_reconcile_budget_reset ff_reconcile_budget_enforce \
         ff_reconcile_budget_counters ff_reconcile_quota_counters ff_run_reconcilers",
    ),
    (
        'A',
        "ff_seed_waitpoint_secret ff_rotate_waitpoint_secret ff_revoke_waitpoint_kid ff_events_rebase \
         ff_start_workers ff_stop_workers ff_schedule_reconcilers ff_unschedule_reconcilers \
         ff_create_roles ff_grant_namespace ff_revoke_namespace",
    ),
    (
        'U',
        "ff_new_id ff_partition_of ff_parse_execution_id ff_version ff_capabilities ff_ping \
         ff_server_time ff_server_time_ms ff_error_codes ff_cond_signal ff_cond_all_of ff_cond_any_of \
         ff_cond_count ff_cond_all_waitpoints ff_cond_operator_only ff_cond_timeout_only ff_redact_token \
         ff_token_fingerprint",
    ),
];

/// The roles that a function is granted to; none for a name that the engine does not have.
pub fn roles_of(function: &str) -> impl Iterator<Item = &'static str> {
    let classes: String = classes_of(function).collect();
    ROLES
        .iter()
        .filter(move |role| role.classes.contains(|class| classes.contains(class)))
        .map(|role| role.name)
}

fn classes_of(function: &str) -> impl Iterator<Item = char> {
    FUNCTIONS
        .iter()
        .filter(move |(_, names)| names.split(' ').any(|name| name == function))
        .map(|(class, _)| *class)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const CONTRACT: &str = include_str!("../../tests/contract/functions.tsv");

    #[test]
    fn e_126_classes_equal_the_contract() {
        let contract: BTreeMap<&str, String> = CONTRACT
            .lines()
            .skip(1)
            .map(|line| {
                let row: Vec<&str> = line.split('\t').collect();
                (row[0], row[3].replace(',', ""))
            })
            .collect();
        for (name, classes) in &contract {
            assert_eq!(classes_of(name).collect::<String>(), *classes, "{name}");
        }
        let listed = FUNCTIONS.iter().flat_map(|(_, names)| names.split(' '));
        for name in listed {
            assert!(contract.contains_key(name), "{name} is in no chapter");
        }
    }

    #[test]
    fn roles_come_after_what_they_include() {
        for (place, role) in ROLES.iter().enumerate() {
            for included in role.includes {
                assert!(ROLES[..place].iter().any(|r| r.name == *included));
            }
        }
        assert_eq!(
            roles_of("ff_close_waitpoint").collect::<Vec<_>>(),
            ["ff_worker", "ff_operator"]
        );
        assert_eq!(roles_of("ff_new_id").count(), 6);
        assert_eq!(roles_of("ff_unknown").count(), 0);
    }
}
