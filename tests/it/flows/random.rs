//! Random graphs, worked on by many sessions at once (§40.3.2).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use uuid::Uuid;

use crate::support::{Cells, Session, World};

const ROOTS: usize = 120;
const INNER: usize = 120;
const EDGES: usize = 1_500;
const SESSIONS: u64 = 8;

/// Members in an order of the graph that has nothing to do with that of their ids, and edges between them.
fn weave(w: &mut World, random: &mut StdRng) -> Vec<Uuid> {
    let flow = w.flow();
    let item = || serde_json::json!({"lane": "L", "kind": "k", "flow_id": flow.to_string(), "execution_id": Uuid::new_v4().to_string()});
    let items: Vec<_> = (0..ROOTS + INNER).map(|_| item()).collect();
    let rows = w.rows(
        "SELECT execution_id FROM ff_create_executions($1)",
        &[&serde_json::Value::from(items)],
    );
    let ids: Vec<Uuid> = rows.iter().map(|row| row.uuid("execution_id")).collect();
    let mut pairs = std::collections::BTreeSet::new();
    while pairs.len() < EDGES {
        let down = random.random_range(ROOTS..ids.len());
        pairs.insert((random.random_range(0..down), down));
    }
    for id in &ids[ROOTS..] {
        let policy = *[
            r#"{"kind": "all_of"}"#,
            r#"{"kind": "any_of", "on_satisfied": "let_run"}"#,
            r#"{"kind": "quorum", "k": 2, "on_satisfied": "let_run"}"#,
        ]
        .choose(random)
        .expect("a policy");
        w.group_policy(flow, *id, policy);
    }
    let mut pairs: Vec<_> = pairs.into_iter().collect();
    pairs.shuffle(random);
    let kinds: Vec<&str> = pairs
        .iter()
        .map(|_| {
            *["success_only", "success_only", "any_terminal"]
                .choose(random)
                .expect("a kind")
        })
        .collect();
    let (ups, downs): (Vec<Uuid>, Vec<Uuid>) = pairs
        .iter()
        .map(|(up, down)| (ids[*up], ids[*down]))
        .unzip();
    w.run("BEGIN");
    w.rows(
        "SELECT s.outcome FROM unnest($2::uuid[], $3::uuid[], $4::text[]) AS p (up, down, kind),
                LATERAL ff_add_dependency($1, p.up, p.down, p.kind) AS s",
        &[&flow, &ups, &downs, &kinds],
    );
    w.run("COMMIT");
    ids
}

/// One operation in a transaction that stays open for a moment; a deadlock or a lock waited for too long fails.
fn act(s: &mut Session, random: &mut StdRng, ids: &[Uuid]) -> bool {
    match random.random_range(0..20) {
        0 => {
            let id = ids.choose(random).expect("a member");
            s.run("BEGIN");
            // It may have ended otherwise.
            s.run("SAVEPOINT before");
            if s.query("SELECT * FROM ff_cancel_execution($1, 'chance')", &[id])
                .is_err()
            {
                s.run("ROLLBACK TO before");
            }
            s.run("SELECT pg_sleep(0.003); COMMIT");
            true
        }
        1..=3 => {
            s.run("BEGIN");
            s.reconcile("cascade", "");
            s.run("SELECT pg_sleep(0.003); COMMIT");
            true
        }
        fate => {
            let claims = s.claims("max_items => 3");
            let some = !claims.is_empty();
            for claim in claims {
                s.run("BEGIN; SAVEPOINT before");
                let call = if fate < 14 {
                    "SELECT FROM ff_complete($1)"
                } else {
                    "SELECT FROM ff_fail($1, 'chance', 'permanent')"
                };
                // Somebody may have cancelled it.
                if let Err(e) = s.query(call, &[&claim.handle]) {
                    let code = e.code().map(|c| c.code().to_owned()).unwrap_or_default();
                    assert_eq!(code, "FF210", "{e:?}");
                    s.run("ROLLBACK TO before");
                }
                s.run("SELECT pg_sleep(0.003); COMMIT");
            }
            some
        }
    }
}

#[test]
fn f_41_part_a_random_graph_runs_to_its_end_without_a_deadlock() {
    let mut w = World::new();
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let ids = Arc::new(weave(&mut w, &mut random));
    let idle = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..SESSIONS)
        .map(|n| {
            let (door, ids, idle) = (w.door(), ids.clone(), idle.clone());
            std::thread::spawn(move || {
                let mut s = door.open();
                s.run("SET lock_timeout = '20s'");
                let mut random = StdRng::seed_from_u64(seed ^ n);
                // Nobody leaves while another may still release something.
                while idle.load(Ordering::Relaxed) < 3 * SESSIONS as usize {
                    if act(&mut s, &mut random, &ids) {
                        idle.store(0, Ordering::Relaxed);
                    } else {
                        idle.fetch_add(1, Ordering::Relaxed);
                        s.reconcile("cascade", "");
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().expect("no deadlock");
    }
    w.background();
    assert_eq!(w.queued("cascade"), 0);
    while !w
        .claims("max_items => 100")
        .iter()
        .map(|c| w.complete(&c.handle, None))
        .collect::<Vec<_>>()
        .is_empty()
    {}
    w.background();
    let open: i64 = w.value(
        "SELECT count(*) FROM ff_executions WHERE lifecycle_phase <> 'terminal'",
        &[],
    );
    assert_eq!(open, 0, "nobody is stuck");
    let twice: i64 = w.value(
        "SELECT count(*) FROM (SELECT execution_id FROM ff_engine.event WHERE code BETWEEN 11 AND 15
                                GROUP BY execution_id HAVING count(*) > 1) AS t",
        &[],
    );
    assert_eq!(twice, 0, "nobody ends twice");
}
