//! Members that a cancelled flow owes: never handed out, and cancelled or acknowledged later (§40.8).

use std::time::{Duration, Instant};

use uuid::Uuid;

use super::cancel::{crowd, ids};
use crate::support::{Cells, World};

#[test]
fn f_61_a_large_cancellation_hands_nobody_out() {
    let mut w = World::new();
    let (flow, members) = crowd(&mut w, 10_000);
    let grant = w.one(
        "SELECT * FROM ff_issue_claim_grant($1, 'w', 'w-1')",
        &[&members[900]],
    );
    assert_eq!(grant.text("outcome"), "granted");
    let row = w.cancel_flow(flow, "");
    assert_eq!(row.text("outcome"), "cancellation_scheduled");
    assert_eq!(
        (row.int("member_count"), row.int("cancelled_count")),
        (10_000, 200)
    );
    assert_eq!(w.flow_fact(flow, "owed_members"), "9800");
    assert_eq!(w.claims("max_items => 1000").len(), 0);
    assert_eq!(w.rows("SELECT * FROM ff_scan_eligible('L')", &[]).len(), 0);
    assert_eq!(
        w.rows(
            "SELECT * FROM ff_claim_for_worker('L', 'w', 'w-1') WHERE outcome = 'granted'",
            &[]
        )
        .len(),
        0
    );
    let left: Vec<Uuid> = w
        .rows(
            "SELECT execution_id FROM ff_engine.cancel_backlog_member",
            &[],
        )
        .iter()
        .map(|row| row.uuid("execution_id"))
        .collect();
    let victim = *left
        .iter()
        .find(|id| **id != members[900])
        .expect("an owed member");
    let refused = w.one(
        "SELECT * FROM ff_issue_claim_grant($1, 'w', 'w-1')",
        &[&victim],
    );
    assert_eq!(refused.text("outcome"), "not_eligible");
    if left.contains(&members[900]) {
        w.refused(
            "FF203",
            "SELECT * FROM ff_claim_execution($1, 'w', 'w-1')",
            &[&members[900]],
        );
    }
    w.refused(
        "FF203",
        "SELECT * FROM ff_issue_grant_and_claim($1, '1 min')",
        &[&victim],
    );
    // Others of the same lane and of a second queue are found among them.
    let other = w.create("");
    let routed = w.create(&crate::support::work::requiring(&["gpu"]));
    let mut found: Vec<Uuid> = w
        .claims("max_items => 10, capabilities => '{gpu}'")
        .iter()
        .map(|c| c.id)
        .collect();
    found.sort();
    let mut expected = vec![other, routed];
    expected.sort();
    assert_eq!(found, expected);
    let (processed, _, errors, remaining) = w.reconcile("cancel_backlog", "");
    assert_eq!((processed, errors, remaining), (500, 0, true));
    let mut passes = 1;
    while w.reconcile("cancel_backlog", "").3 {
        passes += 1;
    }
    assert_eq!(
        passes, 19,
        "9800 members in batches of 500, nothing remaining after the twentieth"
    );
    assert_eq!(w.executions_in("cancelled"), 10_000);
    assert_eq!(
        (
            w.queued("cancel_backlog"),
            w.queued("cancel_backlog_member")
        ),
        (0, 0)
    );
    assert_eq!(
        w.flow_words(flow),
        ["flow_cancel_requested", "flow_cancel_drained"]
    );
    w.reconciles("cancel_backlog", 0);
}

#[test]
fn f_62_a_busy_member_in_every_mode() {
    let mut w = World::new();
    let mut other = w.session();
    let touch = "SELECT * FROM ff_change_priority($1, 7)";
    let flow = w.flow();
    let [busy, free]: [Uuid; 2] = w.members(flow);
    other.run("BEGIN");
    other.rows(touch, &[&busy]);
    let row = w.cancel_flow(flow, "");
    assert_eq!(
        (row.text("outcome"), row.int("cancelled_count")),
        ("cancellation_scheduled".into(), 1)
    );
    assert_eq!(
        (w.flow_fact(flow, "owed_members"), w.state(free)),
        ("1".into(), "cancelled".into())
    );
    assert_eq!(w.reconcile("cancel_backlog", ""), (0, 1, 0, true));
    other.run("COMMIT");
    w.reconciles("cancel_backlog", 1);
    assert_eq!(w.state(busy), "cancelled");

    let flow = w.flow();
    let [busy, free]: [Uuid; 2] = w.members(flow);
    other.run("BEGIN");
    other.rows("SELECT * FROM ff_change_priority($1, 8)", &[&busy]);
    let start = Instant::now();
    let row = w.cancel_flow(flow, "wait_mode => 'timeout', wait => '500 ms'");
    assert!(start.elapsed() >= Duration::from_millis(500));
    assert_eq!(row.text("outcome"), "partially_cancelled");
    assert_eq!(ids(&row, "failed_member_execution_ids"), [busy]);
    assert_eq!(
        (row.int("member_count"), row.int("cancelled_count")),
        (2, 1)
    );
    assert_eq!(
        (w.state(free), w.flow_fact(flow, "public_flow_state")),
        ("cancelled".into(), "cancelled".into())
    );
    other.run("COMMIT");
    w.reconciles("cancel_backlog", 1);
    assert_eq!(w.state(busy), "cancelled");

    // Who holds the row lets it go while the call waits.
    let flow = w.flow();
    let busy = w.member(flow);
    other.run("BEGIN");
    other.rows("SELECT * FROM ff_change_priority($1, 9)", &[&busy]);
    let mut third = w.session();
    let waiting = std::thread::spawn(move || {
        let row = third.cancel_flow(flow, "wait_mode => 'indefinite'");
        (row.text("outcome"), row.int("cancelled_count"))
    });
    let locked = crate::support::pace::eventually(Duration::from_secs(10), || {
        w.value("SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE '%indefinite%' AND wait_event_type = 'Extension'", &[])
    });
    assert!(locked, "the call waits");
    other.run("COMMIT");
    assert_eq!(waiting.join().expect("a session"), ("cancelled".into(), 1));

    let empty = w.flow();
    let row = w.cancel_flow(empty, "wait_mode => 'timeout', wait => '10 s'");
    assert_eq!(
        (row.text("outcome"), row.int("member_count")),
        ("cancelled".into(), 0)
    );
    w.run("SET ff_engine.cancel_wait_ceiling = 100");
    let flow = w.flow();
    let busy = w.member(flow);
    other.run("BEGIN");
    other.rows("SELECT * FROM ff_change_priority($1, 10)", &[&busy]);
    let row = w.cancel_flow(flow, "wait_mode => 'indefinite'");
    assert_eq!(
        row.text("outcome"),
        "partially_cancelled",
        "it ends at the ceiling"
    );
    other.run("COMMIT");
    w.reconciles("cancel_backlog", 1);
}

#[test]
fn f_63_the_header_leaves_members_to_others_for_a_while() {
    let mut w = World::new();
    let flow = w.flow();
    let mut members: [Uuid; 2] = w.members(flow);
    members.sort();
    for id in members {
        w.take(id);
    }
    let header =
        "SELECT * FROM ff_cancel_flow_header($1, 'cancel_all', 'outside', $2::text::interval)";
    w.refused("FF122", header, &[&flow, &"-1 s"]);
    let (row, words) = w.events_by(|w| w.one(header, &[&flow, &"20 s"]));
    assert_eq!(row.text("outcome"), "cancelled");
    assert_eq!(ids(&row, "member_execution_ids"), members);
    assert_eq!(words, ["operator.flow_cancel_requested(outside)"]);
    assert_eq!(
        (
            w.queued("cancel_backlog"),
            w.queued("cancel_backlog_member")
        ),
        (1, 2)
    );
    assert_eq!(w.executions_in("active"), 2);
    let again = w.one(header, &[&flow, &"20 s"]);
    assert_eq!(again.text("outcome"), "already_terminal");
    assert_eq!(ids(&again, "member_execution_ids"), members);
    w.reconciles("cancel_backlog", 0);
    w.advance_ms(20_000);
    w.reconciles("cancel_backlog", 2);
    assert_eq!(w.executions_in("cancelled"), 2);
    assert_eq!(
        (
            w.queued("cancel_backlog"),
            w.queued("cancel_backlog_member")
        ),
        (0, 0)
    );

    let prior = w.flow();
    let mut members: [Uuid; 2] = w.members(prior);
    members.sort();
    w.cancel_flow(prior, "policy => 'cancel_flow_only', reason => 'prior'");
    let row = w.one(header, &[&prior, &Option::<&str>::None]);
    assert_eq!(
        (
            row.text("outcome"),
            row.text("cancellation_policy"),
            row.text("cancel_reason")
        ),
        (
            "already_terminal".into(),
            "cancel_flow_only".into(),
            "prior".into()
        )
    );
    assert_eq!(ids(&row, "member_execution_ids"), members);
    let nobody = w.flow();
    w.one(header, &[&nobody, &Option::<&str>::None]);
    assert_eq!(w.queued("cancel_backlog"), 0, "nothing covered, no backlog");
}

fn ack(w: &mut crate::support::Session, flow: Uuid, id: Uuid, force: bool) -> (String, i64) {
    let row = w.one(
        "SELECT * FROM ff_ack_cancel_member($1, $2, $3)",
        &[&flow, &id, &force],
    );
    (row.text("outcome"), row.big("remaining"))
}

#[test]
fn f_64_members_are_acknowledged() {
    let mut w = World::new();
    let flow = w.flow();
    let members: [Uuid; 3] = w.members(flow);
    w.one(
        "SELECT * FROM ff_cancel_flow_header($1, 'cancel_all', 'outside')",
        &[&flow],
    );
    assert_eq!(
        ack(&mut w, flow, members[0], false),
        ("still_live".into(), 3)
    );
    w.rows(
        "SELECT * FROM ff_cancel_execution($1, 'outside')",
        &[&members[0]],
    );
    let (acked, words) = w.events_by(|w| ack(w, flow, members[0], false));
    assert_eq!((acked, words.len()), (("acked".into(), 2), 0));
    assert_eq!(
        ack(&mut w, flow, members[0], false),
        ("not_pending".into(), 2)
    );
    assert_eq!(ack(&mut w, flow, members[1], true), ("acked".into(), 1));
    w.rows(
        "SELECT * FROM ff_cancel_execution($1, 'outside')",
        &[&members[2]],
    );
    assert_eq!(ack(&mut w, flow, members[2], false), ("acked".into(), 0));
    assert_eq!(w.queued("cancel_backlog"), 0);
    assert_eq!(
        ack(&mut w, flow, members[2], false),
        ("not_pending".into(), 0)
    );
    assert_eq!(
        ack(&mut w, Uuid::from_u128(1), members[2], false),
        ("not_pending".into(), 0)
    );
    assert_eq!(
        w.claims("").len(),
        0,
        "a member that was given up is not handed out either"
    );

    let flow = w.flow();
    let members: [Uuid; 2] = w.members(flow);
    w.one(
        "SELECT * FROM ff_cancel_flow_header($1, 'cancel_all', 'outside')",
        &[&flow],
    );
    let door = w.door();
    let acks: Vec<_> = members
        .into_iter()
        .map(|id| {
            let door = door.clone();
            std::thread::spawn(move || ack(&mut door.open(), flow, id, true).0)
        })
        .collect();
    for call in acks {
        assert_eq!(call.join().expect("a session"), "acked");
    }
    assert_eq!(
        (
            w.queued("cancel_backlog"),
            w.queued("cancel_backlog_member")
        ),
        (0, 0)
    );
}
