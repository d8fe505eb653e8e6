//! The install script: the files of `sql/` in order, around the functions that Rust declares.

use pgrx::extension_sql_file;

extension_sql_file!("../sql/00_schema.sql", name = "schema", bootstrap);
extension_sql_file!(
    "../sql/10_execution.sql",
    name = "execution",
    requires = ["schema"]
);
extension_sql_file!(
    "../sql/11_execution_row.sql",
    name = "execution_row",
    requires = [
        "execution",
        words::ff_engine::lifecycle,
        words::ff_engine::ownership,
        words::ff_engine::eligibility,
        words::ff_engine::blocking,
        words::ff_engine::outcome,
        words::ff_engine::attempt_state,
        words::ff_engine::attempt_record,
        words::ff_engine::attempt_type,
        words::ff_engine::public_word,
        words::ff_engine::claimable,
        words::ff_engine::instant,
    ]
);
extension_sql_file!(
    "../sql/12_worker.sql",
    name = "worker",
    requires = ["execution_row"]
);
extension_sql_file!(
    "../sql/13_suspension.sql",
    name = "suspension",
    requires = ["worker"]
);
extension_sql_file!(
    "../sql/11_flow.sql",
    name = "flow",
    requires = ["suspension"]
);
extension_sql_file!(
    "../sql/14_flow_counts.sql",
    name = "flow_counts",
    requires = ["flow"]
);
extension_sql_file!(
    "../sql/14_stream.sql",
    name = "stream",
    requires = ["flow_counts"]
);
extension_sql_file!(
    "../sql/15_budget.sql",
    name = "budget",
    requires = ["stream"]
);
extension_sql_file!("../sql/16_quota.sql", name = "quota", requires = ["budget"]);
extension_sql_file!("../sql/18_event.sql", name = "event", requires = ["quota"]);
extension_sql_file!(
    "../sql/30_bindings.sql",
    name = "bindings",
    requires = ["event", role::ff_engine::admits, role::ff_engine::rebound,]
);
extension_sql_file!(
    "../sql/31_tally.sql",
    name = "tally",
    requires = ["bindings", words::ff_engine::public_place]
);
extension_sql_file!(
    "../sql/40_views.sql",
    name = "views",
    requires = [
        "tally",
        words::ff_engine::public_state_at,
        words::ff_engine::lifecycle_word,
        words::ff_engine::ownership_word,
        words::ff_engine::eligibility_word,
        words::ff_engine::blocking_word,
        words::ff_engine::outcome_word,
        words::ff_engine::attempt_state_word,
        words::ff_engine::attempt_record_word,
        words::ff_engine::attempt_type_word,
        words::ff_engine::event_family,
        words::ff_engine::event_type,
    ]
);
extension_sql_file!(
    "../sql/41_stats.sql",
    name = "stats",
    requires = [
        "views",
        stats::ff_engine::duty_runs,
        stats::ff_engine::calls
    ]
);
extension_sql_file!(
    "../sql/50_reads.sql",
    name = "reads",
    requires = [
        "stats",
        check::ff_engine::given,
        check::ff_engine::existing,
        check::ff_engine::page,
        check::ff_engine::partition,
        check::ff_engine::public_states,
        check::ff_engine::tag_key,
        check::ff_engine::tag_filter,
        check::ff_engine::names,
        server::ff_engine::preloaded,
        server::ff_engine::worker_alive,
        server::ff_server_time,
    ]
);
extension_sql_file!(
    "../sql/51_events.sql",
    name = "event_reads",
    requires = ["reads"]
);
extension_sql_file!(
    "../sql/52_workers.sql",
    name = "worker_reads",
    requires = ["event_reads"]
);
extension_sql_file!(
    "../sql/53_suspension.sql",
    name = "suspension_reads",
    requires = [
        "worker_reads",
        words::ff_engine::effect_word,
        words::ff_engine::condition_progress,
    ]
);
extension_sql_file!(
    "../sql/52_flows.sql",
    name = "flow_reads",
    requires = [
        "suspension_reads",
        check::ff_engine::given_id,
        check::ff_engine::edge_direction,
    ]
);
extension_sql_file!(
    "../sql/52_flow_lists.sql",
    name = "flow_lists",
    requires = [
        "flow_reads",
        check::ff_engine::flow_state,
        check::ff_engine::given_text
    ]
);
extension_sql_file!(
    "../sql/53_limits.sql",
    name = "limit_reads",
    requires = [
        "flow_lists",
        check::ff_engine::known_budget,
        check::ff_engine::known_quota,
        check::ff_engine::given_as,
    ]
);
extension_sql_file!(
    "../sql/53_explain.sql",
    name = "explain",
    requires = ["limit_reads"]
);
extension_sql_file!(
    "../sql/54_health.sql",
    name = "health",
    requires = ["explain", stats::ff_engine::marks]
);
extension_sql_file!(
    "../sql/55_invariants.sql",
    name = "invariants",
    requires = ["health"]
);
extension_sql_file!(
    "../sql/56_metrics.sql",
    name = "metrics",
    requires = ["invariants", stats::ff_engine::token_refusals]
);
extension_sql_file!("../sql/80_dump.sql", name = "dump", requires = ["metrics"]);
extension_sql_file!("../sql/90_grants.sql", name = "grants", finalize);
extension_sql_file!(
    "../sql/99_announce.sql",
    name = "announce",
    requires = ["dump", background::ff_engine::announce_installation]
);
