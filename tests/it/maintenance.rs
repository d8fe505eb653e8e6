//! What an administrator does to the engine's tables while sessions work.

use crate::support::World;
use crate::support::pace::apart;

/// Creates, claims, renews and completes through a session that has done so before.
fn works(w: &mut World) {
    let id = w.create("");
    let claim = w.claim("lease_ttl => '1 h'");
    assert_eq!(claim.id, id);
    w.rows("SELECT * FROM ff_renew($1, '1 h')", &[&claim.handle]);
    w.complete(&claim.handle, None);
}

#[test]
fn indexes_can_be_rebuilt_while_sessions_work() {
    let mut w = World::new();
    works(&mut w);
    let mut administrator = w.door().open();
    for index in [
        "execution_pkey",
        "ready_order",
        "timer_due",
        "execution_input_pkey",
    ] {
        administrator.run(&format!("REINDEX INDEX CONCURRENTLY ff_engine.{index}"));
        works(&mut w);
    }
    administrator.run("REINDEX SCHEMA ff_engine");
    works(&mut w);
    administrator.run("VACUUM FULL ff_engine.execution, ff_engine.ready");
    works(&mut w);
}

#[test]
fn a_tick_and_a_rebuild_of_its_indexes_wait_for_each_other_in_one_direction() {
    // No background worker: its counting would leave nothing to the tick.
    let mut w = World::without_preload();
    w.rows("SELECT * FROM ff_tick()", &[]);
    w.create("");
    let mut holder = w.session();
    holder.run("BEGIN; LOCK TABLE ff_engine.tally IN EXCLUSIVE MODE");
    let [mut ticking, mut rebuilding] = [w.session(), w.session()];
    let pids = [ticking.pid(), rebuilding.pid()];
    let tick = apart(move || ticking.rows("SELECT * FROM ff_tick()", &[]).len());
    w.waits_until_blocked(pids[0]);
    let rebuild = apart(move || rebuilding.run("REINDEX TABLE ff_engine.moved"));
    w.waits_until_blocked(pids[1]);
    holder.run("COMMIT");
    assert!(tick.outcome() > 0);
    rebuild.outcome();
}

#[test]
fn rows_are_not_looked_for_in_indexes_that_lack_them() {
    let mut w = World::new();
    // Indexes are listed by their numbers, so those made first after the key's own is rebuilt stand before it.
    w.run(
        "CREATE INDEX partly ON ff_engine.execution (execution_id) WHERE lane_id < 0;
         CREATE INDEX hashed ON ff_engine.execution USING hash (execution_id);
         CREATE INDEX partly_ready ON ff_engine.ready (queue_id, rank, created_at, execution_id) WHERE queue_id < 0;
         CREATE INDEX backwards ON ff_engine.ready (queue_id, rank DESC, created_at DESC, execution_id DESC)",
    );
    w.run("REINDEX INDEX CONCURRENTLY ff_engine.execution_pkey");
    w.run("REINDEX INDEX CONCURRENTLY ff_engine.ready_order");
    let mut session = w.door().open();
    let ids = [session.create(""), session.create(""), session.create("")];
    let claimed: Vec<_> = session
        .claims("max_items => 3")
        .into_iter()
        .map(|claim| claim.id)
        .collect();
    assert_eq!(claimed, ids);
}
