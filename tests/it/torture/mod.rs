//! Many sessions doing everything at once, and dying at it: nothing lost, nothing twice.

pub mod audit;
pub mod crash;
mod readers;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::World;
use crate::support::cluster::Cluster;
use crate::support::pace::{Apart, apart, busy, torture_time};
use crate::support::world::Door;
use worker::{Board, Habits, Journal, Worker};

/// Workers that go on until they are told to stop.
pub struct Crew {
    stop: Arc<AtomicBool>,
    workers: Vec<Apart<Journal>>,
}

impl Crew {
    pub fn start(door: &Door, size: usize, habits: Habits) -> Self {
        let mut first = door.open();
        first.seed();
        let flow = first.flow();
        let stop = Arc::new(AtomicBool::new(false));
        let board = Board::default();
        let workers = (0..size)
            .map(|number| {
                let (door, stop, board) = (door.clone(), stop.clone(), board.clone());
                apart(move || Worker::new(number, door, habits, flow, board).work_until(&stop))
            })
            .collect();
        Self { stop, workers }
    }

    pub fn finish(self) -> Journal {
        self.stop.store(true, Ordering::Relaxed);
        self.wait()
    }

    /// For workers whose habits end by themselves.
    pub fn wait(self) -> Journal {
        self.workers
            .into_iter()
            .map(Apart::outcome)
            .fold(Journal::default(), Journal::joined)
    }
}

#[test]
fn sixteen_sessions_that_die_at_random_lose_nothing_and_do_nothing_twice() {
    let _machine = busy();
    let mut w = World::on_wall_clock(Cluster::home());
    let crew = Crew::start(&w.door(), 16, Habits::reckless());
    let end = Instant::now() + torture_time();
    let mut killed = 0;
    while Instant::now() < end || killed <= 10 {
        std::thread::sleep(Duration::from_millis(100));
        // Somebody else's session ends in the middle of whatever it does.
        let victims = w.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
              WHERE datname = current_database() AND application_name = 'torture' AND random() < 0.1
              LIMIT 1",
            &[],
        );
        killed += victims.len();
    }
    let journal = crew.finish();
    audit::check(&mut w, &journal);
    audit::finish_all(&mut w);
    audit::check(&mut w, &journal);
}

/// The engine's own lock order is one; only callers with several steps can cross each other.
#[test]
fn sessions_that_do_one_thing_at_a_time_never_deadlock() {
    let _machine = busy();
    let mut w = World::on_wall_clock(Cluster::home());
    let crew = Crew::start(&w.door(), 16, Habits::steady());
    crash::completes(&mut w, 100);
    std::thread::sleep(torture_time() / 4);
    let journal = crew.finish();
    audit::check(&mut w, &journal);
}
