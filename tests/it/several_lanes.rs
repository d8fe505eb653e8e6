//! Serving several lanes in one call (§10.11, §10.11.2).

use std::collections::BTreeMap;

use crate::support::pace::apart;
use crate::support::{Cells, World};

fn fill(w: &mut World, lane: &str, count: i32) {
    w.one(
        "SELECT count(*) FROM ff_create_many($1, 'k', array_fill(NULL::bytea, ARRAY[$2::int]))",
        &[&lane, &count],
    );
}

#[test]
fn e_31_over_time_no_lane_is_favoured() {
    let mut w = World::new();
    fill(&mut w, "A", 100);
    fill(&mut w, "B", 100);
    let mut served: BTreeMap<String, i32> = BTreeMap::new();
    for _ in 0..100 {
        let row = w.one(
            "SELECT lane FROM ff_claim_any('{A,B}', 'w', 'w-1', max_items => 1)",
            &[],
        );
        *served.entry(row.text("lane")).or_default() += 1;
        w.advance_ms(300);
    }
    assert!(
        served.values().all(|times| (30..=70).contains(times)),
        "{served:?}"
    );
    w.refused("FF101", "SELECT * FROM ff_claim_any('{}', 'w')", &[]);
}

#[test]
fn e_31_one_call_fills_up_from_lane_after_lane() {
    let mut w = World::new();
    fill(&mut w, "A", 2);
    fill(&mut w, "B", 3);
    fill(&mut w, "C", 4);
    let rows = w.rows(
        "SELECT lane FROM ff_claim_any('{A,B,unused}', 'w', max_items => 10)",
        &[],
    );
    let mut lanes: Vec<String> = rows.iter().map(|row| row.text("lane")).collect();
    assert_eq!(lanes.len(), 5);
    lanes.dedup();
    assert_eq!(lanes.len(), 2, "one lane after the other");
    assert_eq!(
        w.rows(
            "SELECT * FROM ff_claim_any('{C,C}', 'w', max_items => 3)",
            &[]
        )
        .len(),
        3
    );
    for (code, call) in [
        ("FF133", "ff_claim_any('{A,é}', 'w')"),
        ("FF101", "ff_claim_any('{A}', '')"),
        ("FF101", "ff_claim_any('{A}', 'w', max_items => -1)"),
        ("FF103", "ff_claim_any('{A}', 'w', capabilities => '{a b}')"),
    ] {
        w.refused(code, &format!("SELECT * FROM {call}"), &[]);
    }
    let missing = w.failure("SELECT * FROM ff_claim_any('{A,NULL}', 'w')", &[]);
    assert!(
        ["FF101", "FF133"].contains(&missing.sqlstate.as_str()),
        "{missing:?}"
    );
}

#[test]
fn work_in_any_of_the_lanes_ends_the_wait() {
    let mut w = World::new();
    fill(&mut w, "C", 1);
    let wait = "CALL ff_wait_for_work_any('{A,B}', '10 s')";
    assert_eq!(
        w.one("CALL ff_wait_for_work_any('{A,B}', '50 ms')", &[])
            .text("outcome"),
        "timeout"
    );
    let mut waiter = w.session();
    let pid = waiter.pid();
    let waiting = apart(move || waiter.one(wait, &[]).text("outcome"));
    w.waits_in_its_statement(pid);
    fill(&mut w, "B", 1);
    assert_eq!(waiting.outcome(), "work");
    w.refused("FF101", "CALL ff_wait_for_work_any('{}', '1 s')", &[]);
    w.refused("FF133", "CALL ff_wait_for_work_any('{A,é}', '1 s')", &[]);
}

#[test]
fn a_claim_on_several_lanes_waits_for_the_first_work_in_any() {
    let mut w = World::new();
    let mut waiter = w.session();
    let pid = waiter.pid();
    let waiting = apart(move || {
        let rows = waiter.rows(
            "SELECT lane FROM ff_claim_any('{A,B}', 'w', wait => '5 s')",
            &[],
        );
        rows.iter().map(|row| row.text("lane")).collect::<Vec<_>>()
    });
    w.waits_in_its_statement(pid);
    fill(&mut w, "B", 1);
    assert_eq!(waiting.outcome(), ["B"]);
}
