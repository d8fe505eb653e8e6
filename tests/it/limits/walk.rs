//! Random sequences of operations on executions and flows under budgets and quotas, by one session and by several: the
//! invariants hold, a slot is held by whoever knows of it, and no limit is exceeded. In the end everything can run.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

use super::{quota, tokens};
use crate::support::failure::Failure;
use crate::support::pace::busy;
use crate::support::{Claim, Session, World};

/// What is done with a handle, to an execution, to a budget, to a quota policy; and by time. Names in braces are
/// replaced by what there is.
const BY_WORKERS: [&str; 11] = [
    "SELECT ff_complete({handle})",
    "SELECT ff_complete_and_claim({handle})",
    "SELECT ff_fail({handle}, 'x')",
    "SELECT ff_fail({handle}, 'x', 'permanent')",
    "SELECT ff_delay({handle}, ff_server_time() + interval '1 s')",
    "SELECT ff_wait_children({handle})",
    "SELECT ff_suspend({handle}, ff_cond_operator_only())",
    "SELECT ff_renew({handle}, '5 s')",
    "SELECT ff_report_usage({handle}, '{\"tokens\":3}')",
    "SELECT ff_report_usage({handle}, '{\"tokens\":9}')",
    "SELECT ff_report_usage({handle}, '{\"tokens\":2}', {budget}, 'k')",
];

const BY_OPERATORS: [&str; 30] = [
    "SELECT ff_add_dependency({flow}, {execution}, {other})",
    "SELECT ff_add_dependency({flow}, {execution}, {other})",
    "SELECT ff_add_dependency({flow}, {execution}, {other}, 'any_terminal')",
    "SELECT ff_block_execution({execution}, 'waiting_for_budget')",
    "SELECT ff_block_execution({execution}, 'waiting_for_quota')",
    "SELECT ff_block_execution({execution}, 'paused_by_operator')",
    "SELECT ff_unblock_execution({execution})",
    "SELECT ff_change_priority({execution}, 7)",
    "SELECT ff_revoke_lease({execution})",
    "SELECT ff_cancel_execution({execution}, 'x')",
    "SELECT ff_resume_execution({execution})",
    "SELECT ff_replay_execution({execution})",
    "SELECT ff_issue_claim_grant({execution}, 'w', grant_ttl => '2 s')",
    "SELECT ff_claim_for_worker('L', 'w', grant_ttl => '2 s')",
    "SELECT ff_claim_for_worker('L', 'w', grant_ttl => '2 s')",
    "SELECT ff_claim_execution({execution}, 'w', lease_ttl => '2 s')",
    "SELECT ff_issue_grant_and_claim({execution}, '2 s')",
    "SELECT ff_record_spend({budget}, {execution}, '{\"tokens\":4}')",
    "SELECT ff_release_budget({budget}, {execution})",
    "SELECT ff_report_usage_admin({budget}, '{\"tokens\":5}')",
    "SELECT ff_reset_budget({budget})",
    "SELECT ff_set_budget_limits({budget}, '{\"tokens\":8}', '{}')",
    "SELECT ff_set_budget_limits({budget}, '{\"tokens\":14}', '{}')",
    "SELECT ff_enforce_budget({budget}, 'suspend', 'running', 2)",
    "SELECT ff_attach_budget({budget}, {target})",
    "SELECT ff_detach_budget({budget}, {target})",
    "SELECT ff_attach_quota({quota}, {target})",
    "SELECT ff_detach_quota({quota}, {target})",
    "SELECT ff_set_quota_limits({quota}, 0, '0', 1)",
    "SELECT ff_set_quota_limits({quota}, 4, '3 s', 3)",
];

const BY_TIME: [&str; 9] = [
    "unblock",
    "unblock",
    "unblock",
    "budget_reset",
    "budget_enforce",
    "budget_counters",
    "quota_counters",
    "lease_expiry",
    "grant_expiry",
];

/// How calls that come too late, too early or to the wrong one are refused.
const REFUSALS: [&str; 5] = ["FF0", "FF1", "FF2", "FF3", "FF4"];

/// What all of a test share.
#[derive(Clone)]
struct Known {
    flows: Vec<Uuid>,
    budgets: Vec<Uuid>,
    quotas: Vec<Uuid>,
}

struct Walk {
    session: Session,
    known: Known,
    random: StdRng,
    /// Nobody else is there, so it may move the clock.
    alone: bool,
    claims: Vec<Claim>,
    created: Vec<Uuid>,
    path: Vec<String>,
}

/// Budgets of every action, plain and spread, quotas of every kind, and flows.
fn known(w: &mut World) -> Known {
    w.seed();
    let actions = ["block", "fail", "suspend", "cancel"]
        .into_iter()
        .zip([1, 3, 1, 3]);
    let budgets = actions
        .map(|(action, stripes)| {
            let more = format!("on_hard_limit => '{action}', stripes => {stripes}");
            tokens(w, 10, 6, &format!("{more}, reset_interval => '9 s'"))
        })
        .collect();
    let quotas = [(0, "0", 2), (3, "4 s", 0), (3, "4 s", 2)]
        .map(|(starts, window, cap)| quota(w, starts, window, cap, ""))
        .to_vec();
    let flows = vec![w.flow(), w.flow()];
    Known {
        flows,
        budgets,
        quotas,
    }
}

fn any<T: Clone>(random: &mut StdRng, all: &[T]) -> T {
    all.choose(random).expect("one at least").clone()
}

impl Walk {
    fn begin(mut session: Session, known: Known, seed: u64, alone: bool) -> Walk {
        let created = vec![session.create("")];
        Walk {
            session,
            known,
            random: StdRng::seed_from_u64(seed),
            alone,
            claims: Vec::new(),
            created,
            path: vec![format!("seed {seed}")],
        }
    }

    fn create(&mut self) {
        let random = &mut self.random;
        let mut policy = serde_json::json!({"retry_policy": {"max_retries": 2}});
        if random.random_bool(0.5) {
            policy["budget_ids"] =
                serde_json::json!([any(random, &self.known.budgets).to_string()]);
        }
        if random.random_bool(0.5) {
            policy["quota_policy_id"] = any(random, &self.known.quotas).to_string().into();
        }
        let mut arguments = super::policy(&policy);
        if random.random_bool(0.6) {
            arguments += &format!(", flow_id => '{}'", any(random, &self.known.flows));
        }
        let call = format!("SELECT execution_id FROM ff_create_execution('L', 'k', {arguments})");
        if let Some(id) = self.call(&call) {
            self.created.push(id);
        }
    }

    /// Fills in a call and makes it; the first column, if that is an id.
    fn call(&mut self, call: &str) -> Option<Uuid> {
        let quoted = |id: Uuid| format!("'{id}'");
        let random = &mut self.random;
        let (flow, execution) = (any(random, &self.known.flows), any(random, &self.created));
        let target = match random.random_range(0..5) {
            0 => format!("'execution', '{execution}'"),
            1 | 2 => format!("'flow', '{flow}'"),
            3 => "'lane', 'L'".to_owned(),
            _ => "'namespace', 'default'".to_owned(),
        };
        let mut call = call
            .replace("{flow}", &quoted(flow))
            .replace("{execution}", &quoted(execution))
            .replace("{other}", &quoted(any(random, &self.created)))
            .replace("{budget}", &quoted(any(random, &self.known.budgets)))
            .replace("{quota}", &quoted(any(random, &self.known.quotas)))
            .replace("{target}", &target);
        if call.contains("{handle}") {
            let claim = self.claims.choose(random)?;
            call = call.replace("{handle}", &format!("'{}'", claim.handle));
        }
        let answer = self.session.query(&call, &[]);
        let said = match &answer {
            Ok(rows) => format!("{} rows", rows.len()),
            Err(e) => {
                let code = Failure::of(e).sqlstate;
                let known = REFUSALS.iter().any(|group| code.starts_with(group));
                assert!(known, "{code}: {call}\n{}", self.path());
                code
            }
        };
        self.path.push(format!("{call}: {said}"));
        let rows = answer.ok()?;
        rows.first()?.try_get(0).ok()
    }

    fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..14 => self.create(),
            14..34 => {
                let claims = self.session.claims("max_items => 2, lease_ttl => '4 s'");
                let ids: Vec<Uuid> = claims.iter().map(|c| c.id).collect();
                self.path.push(format!("claim {ids:?}"));
                self.claims.extend(claims);
                let known = self.claims.len();
                self.claims.drain(..known.saturating_sub(8));
            }
            34..54 => {
                let call = any(&mut self.random, &BY_WORKERS);
                self.call(call);
            }
            54..82 => {
                let call = any(&mut self.random, &BY_OPERATORS);
                self.call(call);
            }
            82..88 => {
                let by = self.random.random_range(1..3_000);
                if self.alone {
                    self.session.advance_ms(by);
                    self.path.push(format!("advance {by} ms"));
                }
            }
            88..90 => {
                self.session.rows("SELECT * FROM ff_tick()", &[]);
                self.path.push("tick".into());
            }
            _ => {
                let name = any(&mut self.random, &BY_TIME);
                let (_, _, errors, _) = self.session.reconcile(name, "");
                assert_eq!(errors, 0, "{name}\n{}", self.path());
                self.path.push(format!("reconcile {name}"));
            }
        }
    }

    fn path(&self) -> String {
        self.path.join("\n")
    }
}

/// What must hold on every snapshot.
fn check(w: &mut Session, path: impl Fn() -> String) {
    let slots = "SELECT format('%s of %s', q, e) FROM (
           (SELECT s.quota_policy_id::text AS q, s.execution_id AS e FROM ff_engine.quota_slot AS s
             WHERE s.execution_id IS NOT NULL)
           EXCEPT
           (SELECT x.q, r.execution_id FROM ff_engine.execution_row AS r,
                   jsonb_array_elements_text(r.slots) AS x (q)
             WHERE r.lifecycle_phase = 'a' OR r.rare ? 'grant')) AS surplus";
    // The highest limit that any of them has had.
    let usage = "SELECT format('%s of %s', d.used, d.budget_id) FROM ff_engine.budget_dimension AS d WHERE d.used > 14";
    for (what, query) in [
        ("a slot that nobody knows of", slots),
        ("too much is used", usage),
    ] {
        let rows = w.rows(query, &[]);
        let found: Vec<String> = rows.iter().map(|r| r.get(0)).collect();
        assert!(found.is_empty(), "{what}: {found:#?} after\n{}", path());
    }
    let violations = w.rows(
        "SELECT format('%s %s: %s', execution_id, invariant, detail) FROM ff_check_invariants()",
        &[],
    );
    let violations: Vec<String> = violations.iter().map(|r| r.get(0)).collect();
    assert!(violations.is_empty(), "{violations:#?} after\n{}", path());
}

/// With every limit lifted and every hold ended, all work comes to an end.
fn finish(w: &mut Session, known: &Known, path: impl Fn() -> String) {
    for id in &known.budgets {
        w.one("SELECT ff_set_budget_limits($1, '{}', '{}')", &[id]);
    }
    for id in &known.quotas {
        w.one("SELECT ff_set_quota_limits($1, 0, '0', 0)", &[id]);
    }
    w.rows("SELECT ff_resume_execution(execution_id) FROM ff_executions WHERE public_state = 'suspended'", &[]);
    for _ in 0..8 {
        // What a caller blocked, and what concerns nobody, only a caller lifts.
        w.rows(
            "SELECT ff_unblock_execution(execution_id) FROM ff_executions
              WHERE eligibility_state IN ('blocked_by_operator', 'blocked_by_budget', 'blocked_by_quota')",
            &[],
        );
        w.advance_ms(60_000);
        w.rows("SELECT * FROM ff_tick()", &[]);
        for claim in w.claims("max_items => 1000, lease_ttl => '1 h'") {
            w.complete(&claim.handle, None);
        }
    }
    let open = w.rows(
        "SELECT format('%s %s', execution_id, public_state) FROM ff_executions
          WHERE public_state NOT IN ('completed', 'failed', 'cancelled', 'expired', 'skipped')",
        &[],
    );
    let open: Vec<String> = open.iter().map(|r| r.get(0)).collect();
    assert!(open.is_empty(), "stranded: {open:#?} after\n{}", path());
    assert_eq!((w.queued("denied"), w.queued("ready")), (0, 0));
    let held = "SELECT count(*) FROM ff_engine.quota_slot WHERE execution_id IS NOT NULL";
    assert_eq!(w.value::<i64>(held, &[]), 0);
}

#[test]
fn whatever_happens_limits_hold_and_nothing_is_stranded() {
    let _machine = busy();
    for (seed, mut w) in [(0, World::new()), (1, World::without_preload())] {
        let known = known(&mut w);
        let mut walk = Walk::begin(w.session(), known.clone(), seed, true);
        for _ in 0..50 {
            walk.step();
            walk.step();
            walk.step();
            let path = walk.path();
            check(&mut walk.session, || path.clone());
        }
        let path = walk.path();
        finish(&mut walk.session, &known, || path.clone());
    }
}

#[test]
fn many_sessions_under_one_set_of_limits_never_deadlock() {
    let _machine = busy();
    let mut w = World::new();
    let known = known(&mut w);
    let seed: u64 = rand::random();
    let walkers: Vec<_> = (0..6)
        .map(|n| {
            let (door, known) = (w.door(), known.clone());
            std::thread::spawn(move || {
                let mut walk = Walk::begin(door.open(), known, seed ^ n, false);
                (0..100).for_each(|_| walk.step());
                walk.path()
            })
        })
        .collect();
    let paths: Vec<String> = walkers
        .into_iter()
        .map(|w| w.join().expect("no deadlock"))
        .collect();
    check(&mut w, || paths.join("\n\n"));
    finish(&mut w, &known, || paths.join("\n\n"));
}
