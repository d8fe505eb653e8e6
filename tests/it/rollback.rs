//! A rollback by the caller undoes whatever a function has done (§10.2 G1).

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::support::waiting::READY;
use crate::support::work::requiring;
use crate::support::{Claim, World, contract};

/// Something for every function to change.
struct Stage {
    w: World,
    held: Vec<Claim>,
    waiting: Vec<Uuid>,
    timed: Uuid,
    lost: Uuid,
    ended: Uuid,
    delayed: Uuid,
    late: Uuid,
    blocked: Uuid,
    granted: Uuid,
    interrupted: Uuid,
    reclaimable: Uuid,
    suspended: Uuid,
}

impl Stage {
    /// Where no background worker unblocks what a registered worker covers.
    fn set() -> Self {
        let mut w = World::without_preload();
        let retry = r#"policy => '{"retry_policy":{}}'"#;
        let held = (0..14)
            .map(|_| w.claimed(retry, "lease_ttl => '1 h'"))
            .collect();
        let timed = w.claimed(
            r#"policy => '{"timeout_policy":{"attempt_timeout_ms":1000}}'"#,
            "lease_ttl => '1 h'",
        );
        let lost = w.claimed("", "lease_ttl => '1 s'");
        let reclaimable = w.claimed("", "lease_ttl => '1 s'");
        let purged = w.claimed("retention => '0'", "");
        w.complete(&purged.handle, None);
        let ended = w.claimed("", "");
        w.complete(&ended.handle, None);
        let paused = w.claimed("", "");
        w.one(
            "SELECT * FROM ff_delay($1, ff_server_time() + interval '1 s')",
            &[&paused.handle],
        );
        let suspended = w.waiting(READY).id;
        let delayed = w.create("delay_until => ff_server_time() + interval '1 s'");
        let late = w.create("execution_deadline => ff_server_time() + interval '1 s'");
        let blocked = w.create("");
        w.one(
            "SELECT * FROM ff_block_execution($1, 'paused_by_operator')",
            &[&blocked],
        );
        let unrouted = w.create(&requiring(&["gpu"]));
        w.one("SELECT * FROM ff_block_route($1)", &[&unrouted]);
        let waiting = w.create_several(5, "");
        let granted = w.create("");
        let lapsing = w.create("");
        for (id, ttl) in [(granted, "10 min"), (lapsing, "1 s")] {
            let sql =
                format!("SELECT * FROM ff_issue_claim_grant($1, 'w', 'w-1', grant_ttl => '{ttl}')");
            w.one(&sql, &[&id]);
        }
        w.create("idempotency_key => 'a', dedup_window => '1 s'");
        for (instance, ttl) in [("live", "1 h"), ("lapsed", "1 s")] {
            let sql = format!(
                "SELECT * FROM ff_register_worker('w', '{instance}', ARRAY['L'], ARRAY['gpu'], '{ttl}')"
            );
            w.one(&sql, &[]);
        }
        w.advance_ms(1_000);
        w.one(
            "SELECT * FROM ff_issue_reclaim_grant($1, 'w', 'w-1', grant_ttl => '10 min')",
            &[&reclaimable.id],
        );
        Self {
            w,
            held,
            waiting,
            timed: timed.id,
            lost: lost.id,
            ended: ended.id,
            delayed,
            late,
            blocked,
            granted,
            interrupted: paused.id,
            reclaimable: reclaimable.id,
            suspended,
        }
    }

    /// A call of every function that changes something.
    fn steps(&self) -> Vec<String> {
        let mut held = self.held.iter();
        let mut handle = || format!("'{}'", held.next().expect("one more").handle);
        let by_handle = [
            format!("ff_renew({})", handle()),
            format!("ff_renew_many(ARRAY[{}])", handle()),
            format!("ff_progress({}, 5, 'x')", handle()),
            format!("ff_delay({}, ff_server_time() + interval '1 h')", handle()),
            format!("ff_wait_children({})", handle()),
            format!("ff_complete({}, 'r')", handle()),
            format!("ff_complete_many(ARRAY[{}])", handle()),
            format!("ff_complete_and_claim({}, 'r')", handle()),
            format!("ff_complete_many_and_claim(ARRAY[{}])", handle()),
            format!("ff_fail({}, 'x')", handle()),
            format!("ff_cancel({}, 'x')", handle()),
        ];
        let run = &self.held[11];
        let record = format!(
            "'{}', lease_id => '{}', lease_epoch => {}, attempt_id => '{}'",
            run.id, run.lease_id, run.epoch, run.attempt_id
        );
        let late = "delay_until => ff_server_time() + interval '1 h'";
        let (first, second) = (self.waiting[0], self.waiting[1]);
        let others = [
            "ff_create_execution('new lane', 'k', '\\x01', idempotency_key => 'b', namespace => 'new')".into(),
            r#"ff_create_executions('[{"lane":"other","kind":"k"}]')"#.into(),
            "ff_create_many('L', 'k', '{NULL,NULL}')".into(),
            "ff_set_lane('L', 'paused')".into(),
            "ff_claim('L', 'new worker', capabilities => '{x}', max_items => 2)".into(),
            "ff_claim_any('{L,M}', 'new worker')".into(),
            format!("ff_complete_execution({record})"),
            format!("ff_fail_execution({record}, reason => 'x')"),
            format!("ff_delay_execution({record}, {late})"),
            format!("ff_wait_children_execution({record})"),
            format!("ff_renew_lease({record})"),
            format!("ff_revoke_lease('{}', 'x')", run.id),
            format!("ff_cancel_execution('{first}', 'x')"),
            format!("ff_change_priority('{first}', 7)"),
            format!("ff_replay_execution('{}', 'x')", self.ended),
            format!("ff_set_execution_tag('{first}', 'app.x', 'y')"),
            format!("ff_set_execution_tags('{first}', '{{\"app.x\":\"y\"}}')"),
            format!("ff_block_execution('{first}', 'paused_by_operator')"),
            format!("ff_block_route('{first}')"),
            format!("ff_unblock_execution('{}')", self.blocked),
            format!("ff_resume_execution('{}')", self.suspended),
            format!("ff_issue_claim_grant('{first}', 'w')"),
            "ff_claim_for_worker('L', 'w')".into(),
            format!("ff_claim_execution('{}', 'w', 'w-1')", self.granted),
            format!("ff_claim_resumed_execution('{}', 'w', 'w-1')", self.interrupted),
            format!("ff_issue_grant_and_claim('{second}', '1 min')"),
            format!("ff_issue_reclaim_grant('{}', 'w')", self.lost),
            format!("ff_reclaim_execution('{}', 'w', 'w-1')", self.reclaimable),
            "ff_register_worker('w', 'new', ARRAY['L'])".into(),
            "ff_heartbeat_worker('live')".into(),
            "ff_mark_worker_dead('live', 'x', revoke_leases => true)".into(),
            format!("ff_mark_lease_expired_if_due('{}')", self.lost),
            format!("ff_promote_delayed('{}')", self.delayed),
            format!("ff_expire_execution('{}', 'execution_deadline')", self.late),
            format!("ff_expire_execution('{}', 'attempt_timeout')", self.timed),
            "ff_tick()".into(),
        ];
        let reconcilers = [
            "lease_expiry",
            "delayed",
            "attempt_timeout",
            "execution_deadline",
            "grant_expiry",
            "unblock",
            "worker_ttl",
            "idempotency",
            "retention",
        ];
        by_handle
            .into_iter()
            .chain(others)
            .chain(reconcilers.map(|name| format!("ff_reconcile_{name}()")))
            .collect()
    }
}

/// Volatile functions of the chapter that store nothing.
const WITHOUT_EFFECT: [&str; 4] = [
    "ff_new_id",
    "ff_server_time",
    "ff_server_time_ms",
    "ff_await_executions",
];

#[test]
fn e_118_a_rollback_leaves_everything_as_before() {
    let mut stage = Stage::set();
    let steps = stage.steps();
    assert_undone(&mut stage.w, "10", &steps, &WITHOUT_EFFECT);
}

/// Each step changes something that a rollback takes back, and together they try every volatile function of the chapter.
pub fn assert_undone(w: &mut World, chapter: &str, steps: &[String], without_effect: &[&str]) {
    assert_each_undone(w, steps);
    let called: BTreeSet<&str> = steps
        .iter()
        .filter_map(|step| step.split('(').next())
        .collect();
    for row in contract::table("functions.tsv") {
        let (name, of, volatility) = (row[0].as_str(), &row[1], &row[5]);
        let tried = called.contains(name) || without_effect.contains(&name);
        assert!(
            tried || of != chapter || volatility != "volatile",
            "{name} is not tried"
        );
    }
}

/// Each step changes something that a rollback takes back.
pub fn assert_each_undone(w: &mut World, steps: &[String]) {
    let before = w.contents();
    for step in steps {
        let call = format!("SELECT * FROM {step}");
        w.run("BEGIN");
        let rows = w.rows(&call, &[]);
        assert!(!rows.is_empty(), "{step} does something");
        assert_ne!(w.contents(), before, "{step} changes something");
        w.run("ROLLBACK");
        assert_eq!(w.contents(), before, "{step}");
    }
}
