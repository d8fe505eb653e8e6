//! The install script: the files of `sql/` in order, around the functions that Rust declares.

use pgrx::extension_sql_file;

extension_sql_file!("../sql/00_schema.sql", name = "schema", bootstrap);
extension_sql_file!(
    "../sql/10_execution.sql",
    name = "execution",
    requires = ["schema"]
);
extension_sql_file!(
    "../sql/18_event.sql",
    name = "event",
    requires = ["execution"]
);
extension_sql_file!(
    "../sql/40_views.sql",
    name = "views",
    requires = [
        "event",
        crate::api::words::lifecycle_word,
        crate::api::words::ownership_word,
        crate::api::words::eligibility_word,
        crate::api::words::blocking_word,
        crate::api::words::outcome_word,
        crate::api::words::attempt_state_word,
        crate::api::words::attempt_record_word,
        crate::api::words::attempt_type_word,
        crate::api::words::public_state,
        crate::api::words::event_family,
        crate::api::words::event_type,
    ]
);
extension_sql_file!("../sql/50_reads.sql", name = "reads", requires = ["views"]);
extension_sql_file!(
    "../sql/51_events.sql",
    name = "event_reads",
    requires = ["reads"]
);
extension_sql_file!(
    "../sql/80_dump.sql",
    name = "dump",
    requires = ["event_reads"]
);
extension_sql_file!("../sql/90_grants.sql", name = "grants", finalize);
