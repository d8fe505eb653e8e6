//! A rollback by the caller undoes suspensions, signals and changes of the ring of keys (§20.1, §10.2 G1).

use crate::rollback::assert_undone;
use crate::support::World;
use crate::support::waiting::{READY, SECRET};

#[test]
fn a_rollback_undoes_what_every_function_about_suspensions_has_done() {
    let mut w = World::without_preload();
    let seed = format!("ff_seed_waitpoint_secret('k1', {SECRET})");
    let before = w.contents();
    w.run("BEGIN");
    w.one(&format!("SELECT * FROM {seed}"), &[]);
    assert_ne!(w.contents(), before);
    w.run("ROLLBACK");
    assert_eq!(w.contents(), before, "{seed}");

    w.seed();
    let held: Vec<_> = (0..3)
        .map(|_| w.claimed("", "lease_ttl => '1 h'"))
        .collect();
    let (first, second) = (&held[0].handle, &held[1].handle);
    let unused = w.create_waitpoint(first, "wpk:a", "'1 h'");
    w.create_waitpoint(first, "wpk:b", "'1 s'");
    let late = w.waiting(&format!("{READY}, timeout => '1 s'")).id;
    let open = w.waiting(READY);
    let approved = w.waiting("ff_cond_signal('wpk:a', 'approved')");
    let repeatable = "idempotency_key => 'once', dedup_ttl => '1 s'";
    w.deliver(&open.point(), "something else", repeatable);
    w.rows("SELECT * FROM ff_rotate_waitpoint_secret('k2')", &[]);
    w.advance_ms(1_000);

    let (run, point) = (&held[2], open.point());
    let (id, token) = (point.id, &point.token);
    let steps = [
        format!("ff_create_waitpoint('{first}', 'wpk:c', '1 h')"),
        format!("ff_suspend('{second}', {READY})"),
        format!(
            "ff_suspend_execution('{}', '{}', {}, '{}', {READY})",
            run.id, run.lease_id, run.epoch, run.attempt_id
        ),
        "ff_rotate_waitpoint_secret('k3')".into(),
        "ff_revoke_waitpoint_kid('k1')".into(),
        format!("ff_deliver_signal('{id}', '{token}', 'ready')"),
        format!(
            r#"ff_deliver_signals('[{{"waitpoint_id":"{id}","waitpoint_token":"{token}","signal_name":"ready"}}]')"#
        ),
        format!(
            "ff_deliver_approval_signal('{}', '{}', 'approved', '1')",
            approved.id,
            approved.point().id
        ),
        format!("ff_expire_suspension('{late}')"),
        format!("ff_close_waitpoint('{}')", unused.id),
        format!("ff_close_waitpoint('{id}', force => true)"),
        "ff_reconcile_suspension_timeout()".into(),
        "ff_reconcile_pending_waitpoint()".into(),
        "ff_reconcile_signal_gc()".into(),
    ];
    assert_undone(
        &mut w,
        "20",
        &steps,
        &["ff_seed_waitpoint_secret", "ff_read_waitpoint_token"],
    );
}
