//! Plans made on empty tables serve full ones: no hot table is ever read from end to end (§60.3).

use std::collections::BTreeMap;

use crate::support::pace::busy;
use crate::support::stream::best;
use crate::support::{Cells, Session, World};

/// Everything that runs often, once each, in one session.
fn use_every_hot_operation(s: &mut Session) {
    let retry = r#"policy => '{"retry_policy":{"backoff":{"type":"fixed","delay_ms":10}}}'"#;
    s.create("idempotency_key => 'hot-' || gen_random_uuid()");
    s.create(&format!("execution_id => gen_random_uuid(), {retry}"));
    s.create("delay_until => ff_server_time() + interval '1 s'");
    s.rows(
        "SELECT * FROM ff_create_many('L', 'k', '{a,b,c,d,e,f,g,h,i,j}')",
        &[],
    );
    s.rows(
        r#"SELECT * FROM ff_create_executions('[{"lane":"L","kind":"k"}]')"#,
        &[],
    );
    let claims = s.claims("max_items => 8, lease_ttl => '1 h'");
    let handles: Vec<String> = claims.iter().map(|claim| claim.handle.clone()).collect();
    s.rows("SELECT * FROM ff_renew($1)", &[&handles[0]]);
    s.rows("SELECT * FROM ff_renew_many($1)", &[&handles]);
    s.rows("SELECT ff_progress($1, 1)", &[&handles[0]]);
    for mode in ["", "mode => 'durable_summary'", &best("1 s")] {
        s.append(&handles[0], b"{}", mode);
        s.append_many(&handles[1], 0, mode);
    }
    for read in [
        "ff_read_stream",
        "ff_tail_stream",
        "ff_stream_status",
        "ff_read_summary",
    ] {
        s.rows(&format!("SELECT 1 FROM {read}($1)"), &[&claims[0].id]);
    }
    s.complete(&handles[0], None);
    s.rows("SELECT * FROM ff_fail($1, 'x')", &[&handles[1]]);
    s.rows(
        "SELECT * FROM ff_delay($1, ff_server_time() + interval '1 s')",
        &[&handles[2]],
    );
    s.rows("SELECT * FROM ff_cancel($1, 'x')", &[&handles[3]]);
    s.rows(
        "SELECT * FROM ff_complete_many($1)",
        &[&handles[4..5].to_vec()],
    );
    let next = s.rows("SELECT * FROM ff_complete_and_claim($1)", &[&handles[5]]);
    s.rows(
        "SELECT * FROM ff_complete_many_and_claim($1)",
        &[&handles[6..8].to_vec()],
    );
    if let Some(handle) = next[0].maybe_text("handle") {
        s.complete(&handle, None);
    }
    s.rows("SELECT * FROM ff_recover_leases('w', 'w-1')", &[]);
    s.claim("lease_ttl => '1 ms'");
    s.advance_ms(2_000);
    for _ in 0..2 {
        s.claims("lease_ttl => '1 h', reclaim => true, namespace => 'default'");
    }
    s.seed();
    for condition in [
        "ff_cond_count(2, 'sources', '{a}'), timeout => '1 h'",
        "ff_cond_all_waitpoints('a', 'b'), idempotency_key => 'k'",
    ] {
        let claim = s.claim("lease_ttl => '1 h'");
        let early = s.create_waitpoint(&claim.handle, "early", "'1 s'");
        s.effect(&early, "x");
        let waiting = s.suspended(claim, condition);
        s.effect_from(&waiting.point(), "x", "ada");
        let last = waiting.points.last().expect("a waitpoint");
        s.deliver(
            last,
            "x",
            "source_identity => 'bob', idempotency_key => 'b'",
        );
        s.rows(
            "SELECT * FROM ff_observe_signals($1, true)",
            &[&waiting.handle],
        );
        s.rows("SELECT * FROM ff_resume_context($1)", &[&waiting.handle]);
        s.rows("SELECT 1 FROM ff_describe_suspension($1)", &[&waiting.id]);
        s.rows(
            "SELECT 1 FROM ff_list_pending_waitpoints($1)",
            &[&waiting.id],
        );
        s.rows("SELECT 1 FROM ff_list_signals($1)", &[&waiting.id]);
        s.rows(
            "SELECT * FROM ff_claim_resumed_execution($1, 'w', lease_ttl => '1 h')",
            &[&waiting.id],
        );
    }
    s.rows("SELECT * FROM ff_scan_eligible('L')", &[]);
    let grant = s.one("SELECT * FROM ff_claim_for_worker('L', 'w')", &[]);
    let reserved = grant.uuid("execution_id");
    s.rows("SELECT * FROM ff_issue_claim_grant($1, 'w')", &[&reserved]);
    let lost = s.one(
        "SELECT * FROM ff_claim_execution($1, 'w', lease_ttl => '1 ms')",
        &[&reserved],
    );
    s.advance_ms(1_000);
    let lost = lost.uuid("execution_id");
    s.rows("SELECT * FROM ff_issue_reclaim_grant($1, 'w')", &[&lost]);
    s.rows("SELECT * FROM ff_reclaim_execution($1, 'w')", &[&lost]);
    s.rows("SELECT ff_mark_lease_expired_if_due($1)", &[&lost]);
    let id = claims[0].id;
    s.rows("SELECT * FROM ff_read_execution_info($1)", &[&id]);
    s.rows("SELECT ff_read_execution_state($1)", &[&id]);
    s.rows("SELECT 1 FROM ff_describe_execution($1)", &[&id]);
    s.rows("SELECT * FROM ff_get_execution_result($1)", &[&id]);
    s.rows("SELECT 1 FROM ff_list_attempts($1)", &[&id]);
    s.rows(
        "SELECT * FROM ff_await_executions(ARRAY[$1::uuid], '1 ms')",
        &[&id],
    );
    s.rows("SELECT * FROM ff_lease_history($1)", &[&id]);
    s.rows("SELECT * FROM ff_list_worker_events()", &[]);
    s.rows("SELECT * FROM ff_read_events('now')", &[]);
    s.one("CALL ff_wait_for_work('L', '1 ms')", &[]);
    for name in [
        "lease_expiry",
        "delayed",
        "attempt_timeout",
        "execution_deadline",
        "grant_expiry",
        "suspension_timeout",
        "pending_waitpoint",
        "signal_gc",
        "budget_reset",
        "budget_enforce",
        "budget_counters",
        "quota_counters",
        "stream_gc",
        "unblock",
        "worker_ttl",
        "idempotency",
        "retention",
    ] {
        s.reconcile(name, "");
    }
    s.rows("SELECT * FROM ff_tick()", &[]);
}

/// Sequential scans so far of each table that is large now.
fn scans_of_large_tables(w: &mut World) -> BTreeMap<String, i64> {
    // A session reports its counts when it ends or idles; a fresh look needs a fresh session.
    w.run("SELECT pg_stat_force_next_flush()");
    let mut onlooker = w.session();
    onlooker
        .rows(
            "SELECT s.relname::text AS name, s.seq_scan
               FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
              WHERE s.schemaname = 'ff_engine' AND pg_relation_size(c.oid) > 1000000",
            &[],
        )
        .iter()
        .map(|row| (row.text("name"), row.big("seq_scan")))
        .collect()
}

fn load(w: &mut World) {
    let mut loader = w.session();
    for _ in 0..100 {
        loader.run(
            "SELECT count(*) FROM ff_create_many('L', 'k', array_fill('\\x01'::bytea, '{1000}'))",
        );
    }
}

#[test]
fn plans_made_on_empty_tables_serve_a_hundred_thousand_executions() {
    let _machine = busy();
    let mut w = World::new();
    // Statistics are to stay those of empty tables.
    w.run(
        "DO $$ DECLARE t regclass; BEGIN
            FOR t IN SELECT oid FROM pg_class WHERE relnamespace = 'ff_engine'::regnamespace AND relkind = 'r' LOOP
                EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = off)', t);
            END LOOP;
        END $$",
    );
    use_every_hot_operation(&mut w);
    load(&mut w);
    let before = scans_of_large_tables(&mut w);
    assert!(before.len() >= 3, "the hot tables are large: {before:?}");
    use_every_hot_operation(&mut w);
    let after = scans_of_large_tables(&mut w);
    assert_eq!(
        before, after,
        "an old session, with the plans of empty tables"
    );

    let mut fresh = w.session();
    use_every_hot_operation(&mut fresh);
    drop(fresh);
    let after_fresh = scans_of_large_tables(&mut w);
    assert_eq!(
        after, after_fresh,
        "a fresh session, with the statistics of empty tables"
    );

    w.run("VACUUM (ANALYZE)");
    let before = scans_of_large_tables(&mut w);
    use_every_hot_operation(&mut w);
    let mut fresh = w.session();
    use_every_hot_operation(&mut fresh);
    drop(fresh);
    let after = scans_of_large_tables(&mut w);
    assert_eq!(before, after, "with true statistics");
}

#[test]
fn a_claim_with_work_at_hand_touches_few_rows_of_a_long_queue() {
    let _machine = busy();
    let mut w = World::new();
    load(&mut w);
    w.claim("lease_ttl => '1 h'");
    let fetched = |w: &mut World| -> i64 {
        w.run("SELECT pg_stat_force_next_flush()");
        w.session().value(
            "SELECT sum(coalesce(idx_tup_fetch, 0) + seq_tup_read)::bigint FROM pg_stat_user_tables WHERE schemaname = 'ff_engine'",
            &[],
        )
    };
    let before = fetched(&mut w);
    for _ in 0..100 {
        w.claim("lease_ttl => '1 h'");
    }
    let each = (fetched(&mut w) - before) / 100;
    assert!(each < 100, "a claim reads {each} rows");
}
