//! Random sequences of operations on one clock: after every step the invariants hold, and the
//! public state follows from the vector.

use std::collections::BTreeMap;

use postgres::Row;
use postgres::types::ToSql;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

use crate::support::failure::Failure;
use crate::support::pace::busy;
use crate::support::stream::ids;
use crate::support::waiting::Point;
use crate::support::world::assert_invariants;
use crate::support::{Cells, Claim, World};

const POLICIES: [&str; 5] = [
    "",
    r#"policy => '{"retry_policy":{"max_retries":2,"backoff":{"type":"fixed","delay_ms":500}}}'"#,
    r#"policy => '{"max_reclaim_count":1,"retry_policy":{"max_retries":1,"backoff":{"type":"fixed","delay_ms":0}}}'"#,
    r#"policy => '{"timeout_policy":{"attempt_timeout_ms":2000},"retry_policy":{"max_retries":1}}'"#,
    r#"policy => '{"timeout_policy":{"execution_deadline_ms":20000,"attempt_timeout_ms":3000}}'"#,
];

/// What an external scheduler, its workers and an operator do to a named execution.
const FROM_OUTSIDE: [&str; 10] = [
    "SELECT outcome FROM ff_issue_claim_grant($1, 'w', grant_ttl => '2 s')",
    "SELECT outcome FROM ff_issue_claim_grant($1, 'x', grant_ttl => '1 s')",
    "SELECT outcome FROM ff_issue_reclaim_grant($1, 'w', grant_ttl => '2 s')",
    "SELECT handle_kind FROM ff_claim_execution($1, 'w', lease_ttl => '2 s')",
    "SELECT handle_kind FROM ff_claim_resumed_execution($1, 'w', lease_ttl => '2 s')",
    "SELECT outcome FROM ff_reclaim_execution($1, 'w', lease_ttl => '1 s')",
    "SELECT handle_kind FROM ff_issue_grant_and_claim($1, '1 s')",
    "SELECT ff_mark_lease_expired_if_due($1)",
    "SELECT ff_promote_delayed($1)",
    "SELECT ff_expire_execution($1, 'attempt_timeout')",
];

/// What a suspension may wait for, and how it goes on.
const CONDITIONS: [&str; 7] = [
    "ff_cond_signal('a', 'go')",
    "ff_cond_all_waitpoints('a', 'b')",
    "ff_cond_any_of(ff_cond_signal('a', 'go'), ff_cond_signal('b'))",
    "ff_cond_count(2, 'sources', '{a,b}')",
    "ff_cond_operator_only()",
    "ff_cond_signal('a', 'go'), resume_policy => '{\"resume_delay_ms\":500}'",
    "ff_cond_signal('a', 'go'), resume_policy => '{\"close_waitpoint_on_resume\":false,\"consume_matched_signals\":false}'",
];

/// What becomes of it when nobody answers.
const TIMEOUTS: [&str; 7] = [
    "",
    ", timeout => '2 s', timeout_behavior => 'fail'",
    ", timeout => '2 s', timeout_behavior => 'cancel'",
    ", timeout => '2 s', timeout_behavior => 'expire'",
    ", timeout => '2 s', timeout_behavior => 'auto_resume'",
    ", timeout => '2 s', timeout_behavior => 'auto_resume_with_timeout_signal'",
    ", timeout => '2 s', timeout_behavior => 'escalate'",
];

/// What an operator does to an execution that waits.
const TO_A_WAITING_ONE: [&str; 5] = [
    "SELECT public_state FROM ff_resume_execution($1)",
    "SELECT public_state FROM ff_resume_execution($1, resume_delay => '400 ms')",
    "SELECT outcome FROM ff_expire_suspension($1)",
    "SELECT public_state FROM ff_cancel_execution($1, 'enough')",
    "SELECT handle_kind FROM ff_claim_resumed_execution($1, 'w', lease_ttl => '2 s')",
];

/// How calls that come too late or too early are refused.
const REFUSALS: [&str; 20] = [
    "FF001", "FF007", "FF113", "FF202", "FF203", "FF204", "FF205", "FF206", "FF210", "FF211",
    "FF401", "FF402", "FF404", "FF405", "FF406", "FF407", "FF410", "FF411", "FF417", "FF422",
];

/// Ways to append a frame to the stream of a held attempt, and how those that come too late are refused.
const APPENDS: [&str; 3] = [
    "SELECT frame_id FROM ff_append_frame($1, '{}')",
    "SELECT frame_id FROM ff_append_frame($1, '{}', mode => 'durable_summary')",
    "SELECT frame_id FROM ff_append_frame($1, '{}', mode => 'best_effort_live', ttl => '1 h')",
];
const TOO_LATE: [&str; 2] = ["FF415", "FF416"];

/// What follows from the ends of members, by and by.
const OF_FLOWS: [&str; 6] = [
    "cascade",
    "sibling_cancel",
    "sibling_cancel_repair",
    "cancel_backlog",
    "dependency",
    "flow_summary",
];

/// How flows are built, and how it is refused: twice, in a circle, too late.
const GROUPS: [&str; 3] = [
    r#"{"kind":"any_of"}"#,
    r#"{"kind":"any_of","on_satisfied":"let_run"}"#,
    r#"{"kind":"all_of"}"#,
];
const KINDS: [&str; 3] = ["success_only", "any_terminal", "failure_only"];
const NOT_BUILT: [&str; 10] = [
    "FF112", "FF135", "FF301", "FF302", "FF303", "FF304", "FF418", "FF419", "FF413", "FF414",
];

struct Walk {
    world: World,
    /// The flow that is being built.
    flow: Uuid,
    random: StdRng,
    claims: Vec<Claim>,
    created: Vec<Uuid>,
    /// Ids of the frames that were appended, by execution and attempt.
    output: BTreeMap<(Uuid, i32), Vec<String>>,
    points: Vec<Point>,
    path: Vec<String>,
}

impl Walk {
    fn step(&mut self) {
        match self.random.random_range(0..4) {
            0 => self.wait_for_the_outside(),
            1 => self.draw(),
            _ => self.work(),
        }
    }

    /// Builds a flow, runs what follows from its members' ends, cancels it and begins another.
    fn draw(&mut self) {
        let w = &mut self.world;
        let flow = self.flow;
        let (Some(one), Some(other)) = (
            pick(&mut self.random, &self.created).copied(),
            pick(&mut self.random, &self.created).copied(),
        ) else {
            return self.created.push(w.member(flow));
        };
        let said = match self.random.random_range(0..40) {
            0..8 => {
                let policy = POLICIES[self.random.random_range(0..POLICIES.len())];
                self.created.push(w.member_with(flow, policy));
                format!("member {policy}")
            }
            8..11 => {
                let call = "SELECT outcome FROM ff_add_execution_to_flow($1, $2)";
                format!("{call} {one}: {}", told(w, call, &[&flow, &one]).0)
            }
            11..15 => {
                let policy = GROUPS[self.random.random_range(0..GROUPS.len())];
                let call = format!("SELECT FROM ff_set_edge_group_policy($1, $2, '{policy}')");
                format!("{call} {one}: {}", told(w, &call, &[&flow, &one]).0)
            }
            15..28 => {
                let kind = KINDS[self.random.random_range(0..KINDS.len())];
                let call = "SELECT outcome FROM ff_add_dependency($1, $2, $3, $4)";
                let (said, _) = told(w, call, &[&flow, &one, &other, &kind]);
                format!("{call} {one} {other} {kind}: {said}")
            }
            28..35 => {
                let name = OF_FLOWS[self.random.random_range(0..OF_FLOWS.len())];
                let (_, _, errors, _) = w.reconcile(name, "");
                assert_eq!(errors, 0, "{name} {:#?}", self.path);
                format!("reconcile {name}")
            }
            35..38 => {
                let call = "SELECT outcome FROM ff_replay_execution($1)";
                format!("{call} {one}: {}", told(w, call, &[&one]).0)
            }
            _ => {
                let policy = ["cancel_all", "cancel_pending", "cancel_flow_only"]
                    [self.random.random_range(0..3)];
                w.cancel_flow(flow, &format!("policy => '{policy}'"));
                self.flow = w.flow();
                format!("cancel flow {flow} {policy}")
            }
        };
        self.path.push(said);
    }

    /// Suspends, answers and gives up waiting.
    fn wait_for_the_outside(&mut self) {
        let w = &mut self.world;
        let claim = pick(&mut self.random, &self.claims);
        let point = pick(&mut self.random, &self.points).cloned();
        let execution = pick(&mut self.random, &self.created).copied();
        let said = match (self.random.random_range(0..10), claim, point, execution) {
            (0..3, Some(claim), ..) => {
                let condition = CONDITIONS[self.random.random_range(0..CONDITIONS.len())];
                let timeout = TIMEOUTS[self.random.random_range(0..TIMEOUTS.len())];
                let call = format!("SELECT * FROM ff_suspend($1, {condition}{timeout})");
                let (said, rows) = told(w, &call, &[&claim.handle]);
                self.points.extend(rows.iter().map(Point::of));
                format!("{call} on {}: {said}", claim.id)
            }
            (3, Some(claim), ..) => {
                let call = "SELECT * FROM ff_create_waitpoint($1, 'early', '3 s')";
                let (said, rows) = told(w, call, &[&claim.handle]);
                self.points.extend(rows.iter().map(Point::of));
                format!("{call} on {}: {said}", claim.id)
            }
            (4, Some(claim), Some(point), _) => {
                let binding = serde_json::json!([{"use": point.id.to_string()}]);
                let call = "SELECT * FROM ff_suspend($1, ff_cond_signal(), $2, timeout => '5 s')";
                let (said, _) = told(w, call, &[&claim.handle, &binding]);
                format!("{call} {} on {}: {said}", point.id, claim.id)
            }
            (5..8, _, Some(point), _) => {
                let name = ["go", "go", "other"][self.random.random_range(0..3)];
                let source = ["me", "you"][self.random.random_range(0..2)];
                let call =
                    "SELECT effect FROM ff_deliver_signal($1, $2, $3, source_identity => $4)";
                let (said, _) = told(w, call, &[&point.id, &point.token, &name, &source]);
                format!("{call} {name} at {}: {said}", point.id)
            }
            (8, _, Some(point), _) => {
                let force = self.random.random_bool(0.5);
                let call = "SELECT outcome FROM ff_close_waitpoint($1, force => $2)";
                let (said, _) = told(w, call, &[&point.id, &force]);
                format!("{call} {force} at {}: {said}", point.id)
            }
            (9, _, _, Some(id)) => {
                let call = TO_A_WAITING_ONE[self.random.random_range(0..TO_A_WAITING_ONE.len())];
                format!("{call} on {id}: {}", answer(w, call, &id))
            }
            _ => return,
        };
        self.path.push(said);
    }

    fn work(&mut self) {
        let choice = self.random.random_range(0..125);
        let w = &mut self.world;
        let said = match choice {
            0..20 => {
                let policy = POLICIES[self.random.random_range(0..POLICIES.len())];
                let delay = if self.random.random_bool(0.2) {
                    "delay_until => ff_server_time() + interval '1 s'"
                } else {
                    ""
                };
                let arguments = [policy, delay]
                    .into_iter()
                    .filter(|a| !a.is_empty())
                    .collect::<Vec<_>>()
                    .join(", ");
                self.created.push(w.create(&arguments));
                format!("create {arguments}")
            }
            20..45 => {
                let ttl = self.random.random_range(1..10);
                let claims = w.claims(&format!("max_items => 2, lease_ttl => '{ttl} s'"));
                let said = format!(
                    "claim {:?}",
                    claims.iter().map(|c| c.id).collect::<Vec<_>>()
                );
                self.claims.extend(claims);
                said
            }
            45..60 => {
                let by = self.random.random_range(1..3_000);
                w.advance_ms(by);
                format!("advance {by} ms")
            }
            60..68 => {
                let name = [
                    "lease_expiry",
                    "delayed",
                    "attempt_timeout",
                    "execution_deadline",
                    "suspension_timeout",
                    "pending_waitpoint",
                    "idempotency",
                    "stream_gc",
                ][self.random.random_range(0..8)];
                let (_, _, errors, _) = w.reconcile(name, "");
                assert_eq!(errors, 0, "{name} {:#?}", self.path);
                format!("reconcile {name}")
            }
            68..70 => {
                w.rows("SELECT * FROM ff_tick()", &[]);
                "tick".into()
            }
            70..85 if !self.created.is_empty() => {
                let id = self.created[self.random.random_range(0..self.created.len())];
                let call = FROM_OUTSIDE[self.random.random_range(0..FROM_OUTSIDE.len())];
                format!("{call} on {id}: {}", answer(w, call, &id))
            }
            _ if self.claims.is_empty() => return,
            115.. => {
                let claim = &self.claims[self.random.random_range(0..self.claims.len())];
                let call = APPENDS[self.random.random_range(0..APPENDS.len())];
                let said = answer(w, call, &claim.handle);
                if !TOO_LATE.contains(&said.as_str()) {
                    let key = (claim.id, claim.index);
                    self.output.entry(key).or_default().push(said.clone());
                }
                format!("{call} on {}: {said}", claim.id)
            }
            _ => {
                let n = self.random.random_range(0..self.claims.len());
                let call = [
                    "SELECT outcome FROM ff_complete($1, 'r')",
                    "SELECT outcome FROM ff_fail($1, 'x')",
                    "SELECT outcome FROM ff_fail($1, 'x', 'permanent')",
                    "SELECT outcome FROM ff_cancel($1, 'x')",
                    "SELECT outcome FROM ff_delay($1, ff_server_time() + interval '700 ms')",
                    "SELECT outcome FROM ff_delay($1, ff_server_time())",
                    "SELECT 'renewed' FROM ff_renew($1, '4 s')",
                    "SELECT 'told' FROM ff_progress($1, 7, 'x')",
                    "SELECT completion FROM ff_complete_and_claim($1, lease_ttl => '2 s')",
                ][self.random.random_range(0..9)];
                let handle = self.claims[n].handle.clone();
                let said = answer(w, call, &handle);
                let known = self.claims.len();
                if known > 20 {
                    self.claims.drain(..known - 20);
                }
                format!(
                    "{call} on {}: {said}",
                    self.claims[n.min(self.claims.len() - 1)].id
                )
            }
        };
        self.path.push(said);
    }
}

/// One of what there is.
fn pick<'a, T>(random: &mut StdRng, all: &'a [T]) -> Option<&'a T> {
    let n = random.random_range(0..all.len().max(1));
    all.get(n)
}

/// What a call returned in its first column, or how it was refused.
fn answer(w: &mut World, call: &str, argument: &(dyn ToSql + Sync)) -> String {
    let (refusal, rows) = told(w, call, &[argument]);
    let first = rows.iter().map(|row| row.get::<_, String>(0));
    first
        .chain((!refusal.is_empty()).then_some(refusal))
        .collect::<Vec<_>>()
        .join(" ")
}

/// How a call was refused, if it was, and what it returned.
fn told(w: &mut World, call: &str, arguments: &[&(dyn ToSql + Sync)]) -> (String, Vec<Row>) {
    match w.query(call, arguments) {
        Ok(rows) => (String::new(), rows),
        Err(e) => {
            let refusal = Failure::of(&e).sqlstate;
            let refusals: &[&str] = if APPENDS.contains(&call) {
                &TOO_LATE
            } else if call.contains("ff_replay")
                || call.contains("ff_add")
                || call.contains("ff_set")
            {
                &NOT_BUILT
            } else {
                &REFUSALS
            };
            assert!(refusals.contains(&refusal.as_str()), "{call}: {refusal}");
            (refusal, Vec::new())
        }
    }
}

/// Every stream holds what was appended to it, in that order, and has an end exactly if its attempt has.
fn assert_output(w: &mut World, output: &BTreeMap<(Uuid, i32), Vec<String>>, ended: bool) {
    for ((id, attempt), appended) in output {
        let rows = w.read_stream(*id, &format!("attempt_index => {attempt}"));
        assert_eq!(&ids(&rows), appended);
        let closed = w.closed(*id, *attempt);
        assert!(!ended || closed.is_some());
        let attempts = w.attempts(*id);
        let over = attempts[*attempt as usize]
            .maybe_instant("ended_at")
            .is_some();
        let latest = attempts.len() as i32 - 1 == *attempt;
        let lost = latest && w.vector(*id).contains("/lease_");
        assert_eq!(closed.is_some(), over || lost);
    }
}

#[test]
fn random_walks_never_leave_the_legal_states() {
    let _machine = busy();
    for seed in 0..6 {
        let mut world = World::new();
        let mut walk = Walk {
            flow: world.flow(),
            world,
            random: StdRng::seed_from_u64(seed),
            claims: Vec::new(),
            created: Vec::new(),
            output: BTreeMap::new(),
            points: Vec::new(),
            path: vec![format!("seed {seed}")],
        };
        walk.world.seed();
        for _ in 0..170 {
            walk.step();
            let violations = walk.world.rows("SELECT * FROM ff_check_invariants()", &[]);
            assert!(violations.is_empty(), "after {}", walk.path.join("\n"));
        }
        let w = &mut walk.world;
        assert_output(w, &walk.output, false);
        for id in &walk.created {
            let vector = w.vector(*id);
            assert_eq!(w.state(*id), derived(&vector), "{vector}");
        }
        w.rows("SELECT ff_resume_execution(execution_id) FROM ff_executions WHERE public_state = 'suspended'", &[]);
        // Whatever happened, everything still comes to an end.
        come_to_an_end(w);
        // But for who was replayed to wait for an upstream that was not, and who waits for him.
        w.rows(
            "SELECT ff_cancel_execution(execution_id, 'nobody to wait for') FROM ff_executions
              WHERE public_state = 'waiting_children' AND replay_count > 0",
            &[],
        );
        assert_eq!(
            come_to_an_end(w),
            0,
            "stranded after {}",
            walk.path.join("\n")
        );
        w.settles();
        w.reconciles("dependency", 0);
        assert_output(w, &walk.output, true);
        assert_invariants(w);
    }
}

/// Lets time pass and work be done until nothing changes any more; how many have not ended.
fn come_to_an_end(w: &mut World) -> i64 {
    let mut quiet = 0;
    while quiet < 8 {
        w.advance_ms(60_000);
        w.rows("SELECT * FROM ff_tick()", &[]);
        let claims = w.claims("max_items => 1000, lease_ttl => '1 h'");
        quiet = if claims.is_empty() { quiet + 1 } else { 0 };
        for claim in claims {
            w.complete(&claim.handle, None);
        }
    }
    w.value(
        "SELECT coalesce(sum(executions), 0)::bigint FROM ff_count_executions()
          WHERE public_state NOT IN ('completed', 'failed', 'cancelled', 'expired', 'skipped')",
        &[],
    )
}

/// §10.3.1, written here a second time on purpose.
fn derived(vector: &str) -> &'static str {
    let words: Vec<&str> = vector.split('/').collect();
    match (words[0], words[2], words[4], words[5]) {
        ("terminal", _, "success", _) => "completed",
        ("terminal", _, "cancelled", _) => "cancelled",
        ("terminal", _, "expired", _) => "expired",
        ("terminal", _, "skipped", _) => "skipped",
        ("terminal", ..) => "failed",
        ("suspended", ..) => "suspended",
        ("active", ..) => "active",
        ("runnable", "not_eligible_until_time", ..) => "delayed",
        ("runnable", "blocked_by_dependencies", ..) => "waiting_children",
        ("runnable", "blocked_by_budget" | "blocked_by_quota", ..) => "rate_limited",
        ("runnable", "eligible_now", _, "attempt_interrupted") => "resumable",
        _ => "waiting",
    }
}
