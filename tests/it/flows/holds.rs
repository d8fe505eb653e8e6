//! Deadlines and holds of members that wait for their upstreams.

use uuid::Uuid;

use crate::support::{Cells, World};

#[test]
fn e_79_a_deadline_ends_work_that_waits_for_others() {
    let mut w = World::new();
    let flow = w.flow();
    let up = w.member(flow);
    let down = w.member_with(
        flow,
        "execution_deadline => ff_server_time() + interval '10 s'",
    );
    let last = w.member(flow);
    w.edge(flow, up, down);
    w.edge(flow, down, last);
    w.assert_blocked(down);
    w.reconciles("execution_deadline", 0);
    w.advance_ms(10_000);
    w.reconciles("execution_deadline", 1);
    assert_eq!(w.state(down), "expired");
    assert_eq!(w.event_words(down), ["completion.expired"]);
    w.settles();
    assert_eq!(w.state(last), "skipped", "its end is an end like any other");
    w.ok(up);
    assert_eq!(
        (w.state(down), w.group(down).counts),
        ("expired".into(), [1, 1, 0, 0])
    );
}

#[test]
fn e_89_what_waits_for_others_cannot_be_held_back() {
    let mut w = World::new();
    let flow = w.flow();
    let [up, down]: [Uuid; 2] = w.members(flow);
    w.edge(flow, up, down);
    let before = w.describe(down).instant("last_mutation_at");
    for reason in [
        "paused_by_operator",
        "waiting_for_budget",
        "waiting_for_capable_worker",
    ] {
        let row = w.one(
            "SELECT * FROM ff_block_execution($1, $2)",
            &[&down, &reason],
        );
        assert_eq!(row.text("outcome"), "rejected_not_eligible");
    }
    w.assert_blocked(down);
    assert_eq!(w.describe(down).instant("last_mutation_at"), before);
    w.ok(up);
    let row = w.one(
        "SELECT * FROM ff_block_execution($1, 'paused_by_operator')",
        &[&down],
    );
    assert_eq!(row.text("outcome"), "blocked");
}
