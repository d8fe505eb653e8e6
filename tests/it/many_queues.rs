//! Claims of workers that serve many requirement sets at once: one order over all of them (§10.9, §10.11).

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

use crate::support::pace::{apart, busy};
use crate::support::work::requiring;
use crate::support::{Session, World};

/// Work that requires one of thirty capabilities each, in the order in which a worker with twenty of them is to get it.
fn backlog(s: &mut Session, random: &mut StdRng, size: usize) -> Vec<Uuid> {
    let mut work: Vec<(i32, usize, Uuid)> = Vec::new();
    for n in 0..size {
        let capability = random.random_range(0..30);
        let priority = random.random_range(0..4);
        let arguments = format!(
            "{}, priority => {priority}",
            requiring(&[&format!("c{capability}")])
        );
        let id = s.create(&arguments);
        if capability < 20 {
            work.push((-priority, n, id));
        }
    }
    work.sort_unstable();
    work.into_iter().map(|(_, _, id)| id).collect()
}

/// Claims with the capabilities `c0` to `c19`.
fn claim(s: &mut Session, items: usize) -> Vec<Uuid> {
    let tokens: Vec<String> = (0..20).map(|n| format!("c{n}")).collect();
    let sql = format!(
        "max_items => {items}, lease_ttl => '1 h', capabilities => '{{{}}}'",
        tokens.join(",")
    );
    s.claims(&sql).into_iter().map(|claim| claim.id).collect()
}

#[test]
fn e_24_work_of_many_requirements_comes_in_one_order() {
    for mut w in [World::new(), World::without_preload()] {
        let mut random = StdRng::seed_from_u64(7);
        for _ in 0..3 {
            // What drained the queues before must not hide what comes now.
            let expected = backlog(&mut w, &mut random, 120);
            let mut taken = Vec::new();
            while taken.len() < expected.len() {
                let items = [1, 1, 2, 5, 30][random.random_range(0..5)];
                let more = claim(&mut w, items);
                assert!(more.len() == items || taken.len() + more.len() == expected.len());
                taken.extend(more);
            }
            assert_eq!(taken, expected);
            assert!(claim(&mut w, 1).is_empty());
        }
    }
}

#[test]
fn e_24_what_is_given_back_below_the_others_comes_first_again() {
    let mut w = World::new();
    let mut random = StdRng::seed_from_u64(8);
    let expected = backlog(&mut w, &mut random, 60);
    let mut other = w.session();
    other.run("BEGIN");
    let first = claim(&mut other, 10);
    assert_eq!(first, expected[..10]);
    assert_eq!(
        claim(&mut w, 10),
        expected[10..20],
        "what is held is passed over"
    );
    other.run("ROLLBACK");
    assert_eq!(
        claim(&mut w, 15),
        [&expected[..10], &expected[20..25]].concat()
    );

    let last = *expected.last().expect("work");
    w.rows("SELECT * FROM ff_change_priority($1, 9000)", &[&last]);
    assert_eq!(claim(&mut w, 1), [last]);
    let all = expected.len();
    assert_eq!(claim(&mut w, 100), expected[25..all - 1]);
}

#[test]
fn e_22_many_sessions_drain_many_queues_and_take_each_execution_once() {
    let _machine = busy();
    let mut w = World::new();
    let mut random = StdRng::seed_from_u64(9);
    let expected: BTreeSet<Uuid> = backlog(&mut w, &mut random, 400).into_iter().collect();
    let crews: Vec<_> = (0..8)
        .map(|n| {
            let mut session = w.session();
            apart(move || {
                let mut taken = Vec::new();
                loop {
                    let more = claim(&mut session, 1 + n % 3);
                    if more.is_empty() {
                        return taken;
                    }
                    taken.extend(more);
                }
            })
        })
        .collect();
    let taken: Vec<Uuid> = crews.into_iter().flat_map(|crew| crew.outcome()).collect();
    let distinct: BTreeSet<Uuid> = taken.iter().copied().collect();
    assert_eq!(distinct.len(), taken.len(), "each once");
    assert_eq!(distinct, expected, "all of it");
}
