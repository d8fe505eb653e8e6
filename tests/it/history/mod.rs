//! Histories: many sessions do random things, die and roll back; what each was told is recorded, and checked
//! afterwards against the pure model of an execution, the event log and the rows.

mod actor;
mod call;
mod check;
mod doctored;
mod facts;
mod life;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use actor::{APPLICATION, Actor, Stage};
use call::Call;
use check::{check, check_lives};
use facts::Facts;

use crate::support::cluster::Cluster;
use crate::support::pace::{Apart, apart, busy, eventually, torture_time};
use crate::support::world::assert_invariants;
use crate::support::{Cells, World};
use crate::torture::crash::{alone_on_the_crash_server, comes_back, goes_down, kill_9};

/// How long a busy machine may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// Sessions that go on until they are told to stop.
struct Troupe {
    stage: Arc<Stage>,
    actors: Vec<Apart<Vec<Call>>>,
}

impl Troupe {
    fn start(w: &World, size: u64, seed: u64) -> Self {
        let stage = Stage::new(w.door());
        let actors = (0..size)
            .map(|n| {
                let actor = Actor::new(stage.clone(), seed + n);
                apart(move || actor.play())
            })
            .collect();
        Self { stage, actors }
    }

    /// Whether to go on: for the time of the test, and until enough has happened.
    fn goes_on(&self, start: Instant) -> bool {
        let rich = self.stage.seen.lock().expect("seen").is_rich();
        start.elapsed() < torture_time() / 2 || !rich && start.elapsed() < PATIENCE
    }

    /// Everything that was recorded, once no session of theirs is left at work.
    fn finish(self, w: &mut World) -> Vec<Call> {
        let seen = *self.stage.seen.lock().expect("seen");
        assert!(
            seen.is_rich(),
            "enough for the check to mean something: {seen:?}"
        );
        self.stage.stop.store(true, Ordering::Relaxed);
        let calls = self.actors.into_iter().flat_map(Apart::outcome).collect();
        let quiet = eventually(PATIENCE, || {
            w.value(
                "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1",
                &[&APPLICATION],
            )
        });
        assert!(quiet, "all sessions have ended");
        calls
    }
}

/// A process of one of the sessions, picked by the server.
fn victim(w: &mut World) -> Option<i32> {
    w.rows(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1
          ORDER BY random() LIMIT 1",
        &[&APPLICATION],
    )
    .first()
    .map(|row| row.int("pid"))
}

#[track_caller]
fn holds(calls: &[Call], facts: &Facts) {
    let violations = check(calls, facts);
    assert!(
        violations.is_empty(),
        "{} of {} calls: {:#?}",
        violations.len(),
        calls.len(),
        &violations[..violations.len().min(10)]
    );
}

/// Lets everything run out and finishes what is left: nothing may be stranded.
#[track_caller]
fn drain(w: &mut World) {
    w.rows(
        "SELECT ff_unblock_execution(execution_id) FROM ff_executions WHERE blocking_reason = 'paused_by_operator'",
        &[],
    );
    // Who was replayed may wait for the next life of one that nobody replays any more.
    w.rows(
        "SELECT ff_cancel_execution(execution_id, 'enough') FROM ff_executions
          WHERE public_state = 'waiting_children' AND replay_count > 0",
        &[],
    );
    crate::torture::audit::finish_all(w);
    let facts = Facts::read(w);
    let open = facts.rows.values().filter(|row| {
        !["completed", "failed", "cancelled", "expired", "skipped"].contains(&row.state.as_str())
    });
    assert_eq!(open.count(), 0, "nothing is stranded");
    assert_eq!(check_lives(&facts), []);
    assert_invariants(w);
}

#[test]
fn a_history_with_rollbacks_and_terminated_sessions_follows_the_model() {
    let _machine = busy();
    let mut w = World::on_wall_clock(Cluster::home());
    let troupe = Troupe::start(&w, 12, 1);
    let start = Instant::now();
    while troupe.goes_on(start) {
        std::thread::sleep(Duration::from_millis(50));
        if let Some(pid) = victim(&mut w) {
            w.rows("SELECT pg_terminate_backend($1)", &[&pid]);
        }
    }
    let calls = troupe.finish(&mut w);
    let facts = Facts::read(&mut w);
    holds(&calls, &facts);
    doctored::is_found(&calls, &facts);
    drain(&mut w);
}

#[test]
fn a_history_through_killed_backends_follows_the_model() {
    let _machine = busy();
    let (_guard, mut w) = alone_on_the_crash_server();
    let troupe = Troupe::start(&w, 8, 1000);
    let start = Instant::now();
    let mut killed = 0;
    while troupe.goes_on(start) || killed == 0 {
        std::thread::sleep(Duration::from_millis(1500));
        // The server ends every session for it, and recovers. The victim may have left by itself meanwhile.
        if victim(&mut w).is_some_and(kill_9) && goes_down(&mut w) {
            comes_back(&mut w);
            killed += 1;
        }
    }
    let calls = troupe.finish(&mut w);
    let facts = Facts::read(&mut w);
    holds(&calls, &facts);
    drain(&mut w);
}
