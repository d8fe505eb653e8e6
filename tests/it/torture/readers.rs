//! Readers of the event log beside many writers (§30.12).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Crew;
use super::worker::Habits;
use crate::event_cursor::Chain;
use crate::support::World;
use crate::support::cluster::Cluster;
use crate::support::pace::{apart, busy, torture_time};

#[test]
fn v_34_every_reader_gets_every_committed_event_exactly_once() {
    let _machine = busy();
    // No background worker: nothing may be appended after the last read.
    let mut w = World::on_wall_clock(Cluster::named("nopreload"));
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = [1, 7, 500]
        .map(|page| {
            let (door, stop) = (w.door(), stop.clone());
            let mut chain = Chain::from(&mut w, "now", page);
            apart(move || {
                let mut session = door.open();
                let mut told = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    told.extend(chain.read(&mut session));
                }
                told.extend(chain.read(&mut session));
                told
            })
        })
        .into_iter()
        .collect();
    // 2000 operations each when there is time: FF_TORTURE_SECONDS=400.
    let operations = torture_time().as_secs() as usize * 5;
    let habits = Habits {
        steps: 3,
        dies: false,
        rolls_back: 33,
        dawdles: true,
        operations: Some(operations),
    };
    Crew::start(&w.door(), 16, habits).wait();
    stop.store(true, Ordering::Relaxed);

    let committed: BTreeSet<i64> = {
        let mut all = Chain::from(&mut w, "start", 10_000);
        all.read(&mut w);
        all.ids.iter().copied().collect()
    };
    assert!(committed.len() > 500, "{} events", committed.len());
    for reader in readers {
        let told = reader.outcome();
        let ids: BTreeSet<i64> = told.iter().map(|(id, _, _)| *id).collect();
        assert_eq!(ids.len(), told.len(), "no event twice");
        assert_eq!(ids, committed, "no event lost, none that was rolled back");
        let mut last = BTreeMap::new();
        for (id, word, execution) in told {
            let before = last.insert(execution, id).unwrap_or_default();
            assert!(
                before < id,
                "{execution:?} is told in the order of its commits: {word}"
            );
        }
    }
}
