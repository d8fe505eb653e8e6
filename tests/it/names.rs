//! Names that sessions remember (lanes, namespaces, workers, requirement sets): what is remembered
//! never outlives what it was read from.

use crate::support::cluster::Cluster;
use crate::support::work::requiring;
use crate::support::{Cells, Session, World};

/// Everything a session could come to remember about a name, used once.
fn use_names(s: &mut Session, name: &str) -> uuid::Uuid {
    let gpu = requiring(&[name]);
    let create =
        format!("SELECT * FROM ff_create_execution('{name}', 'k', namespace => '{name}', {gpu})");
    s.one(&create, &[]).uuid("execution_id")
}

fn take_by_names(s: &mut Session, name: &str) -> Vec<(uuid::Uuid, String)> {
    s.rows(
        "SELECT * FROM ff_claim($1, $1, capabilities => ARRAY[$1], namespace => $1)",
        &[&name],
    )
    .iter()
    .map(|row| (row.uuid("execution_id"), row.text("handle")))
    .collect()
}

#[track_caller]
fn works_for_everybody(w: &mut World, name: &str) {
    let mut other = w.session();
    for (creator, taker) in [(true, true), (true, false), (false, true), (false, false)] {
        let (one, two): (&mut Session, &mut Session) = (w, &mut other);
        let id = if creator {
            use_names(one, name)
        } else {
            use_names(two, name)
        };
        let taken = take_by_names(if taker { one } else { two }, name);
        assert_eq!(taken.len(), 1, "created by {creator}, taken by {taker}");
        assert_eq!(taken[0].0, id);
        let facts = one.describe(id);
        assert_eq!(
            (
                facts.text("lane"),
                facts.text("namespace"),
                facts.text("worker")
            ),
            (name.into(), name.into(), name.into())
        );
        two.complete(&taken[0].1, None);
    }
}

#[test]
fn names_first_used_in_a_rolled_back_transaction_are_forgotten() {
    let mut w = World::new();
    w.run("BEGIN");
    use_names(&mut w, "new");
    assert_eq!(take_by_names(&mut w, "new").len(), 1);
    w.run("ROLLBACK");
    use_names(&mut w.session(), "other");
    works_for_everybody(&mut w, "new");
}

#[test]
fn names_first_used_in_a_rolled_back_savepoint_are_forgotten() {
    let mut w = World::new();
    w.run("BEGIN; SAVEPOINT s");
    use_names(&mut w, "new");
    assert_eq!(take_by_names(&mut w, "new").len(), 1);
    w.run("ROLLBACK TO s");
    assert_eq!(w.executions(), 0);
    let id = use_names(&mut w, "new");
    assert_eq!(take_by_names(&mut w, "new")[0].0, id);
    w.run("COMMIT");
    assert_eq!(w.state(id), "active");
    works_for_everybody(&mut w, "new");
}

#[test]
fn names_first_used_under_a_caught_error_are_forgotten() {
    let mut w = World::new();
    w.run(
        "DO $$ BEGIN
            PERFORM ff_create_execution('new', 'k', namespace => 'new');
            RAISE division_by_zero;
         EXCEPTION WHEN division_by_zero THEN
            PERFORM ff_create_execution('other', 'k', namespace => 'other');
         END $$",
    );
    works_for_everybody(&mut w, "new");
    let lanes: Vec<String> = w
        .rows("SELECT lane FROM ff_list_lanes()", &[])
        .iter()
        .map(|row| row.text("lane"))
        .collect();
    assert_eq!(lanes, ["new", "other"]);
}

#[test]
fn two_sessions_may_meet_a_name_at_the_same_time() {
    let mut w = World::new();
    let mut first = w.session();
    first.run("BEGIN");
    let id = use_names(&mut first, "new");
    let mut second = w.session();
    let pid = second.pid();
    let waiting = crate::support::pace::apart(move || use_names(&mut second, "new"));
    w.waits_until_blocked(pid);
    first.run("COMMIT");
    let other = waiting.outcome();
    let mut taken: Vec<_> = (0..2)
        .flat_map(|_| take_by_names(&mut w, "new"))
        .map(|(id, _)| id)
        .collect();
    taken.sort();
    let mut expected = vec![id, other];
    expected.sort();
    assert_eq!(taken, expected);
}

#[test]
fn an_extension_created_anew_is_not_confused_with_the_old_one() {
    let mut w = World::new();
    for n in 0..3 {
        use_names(&mut w, &format!("lane{n}"));
    }
    w.run("DROP EXTENSION ff_engine; CREATE EXTENSION ff_engine");
    works_for_everybody(&mut w, "lane2");
    works_for_everybody(&mut w, "lane0");
}

#[test]
fn e_19_every_session_learns_of_a_changed_lane_at_once() {
    for mut w in [World::new(), World::without_preload()] {
        let mut other = w.session();
        for s in [&mut *w as &mut Session, &mut other] {
            s.create("");
            s.claim("");
        }
        for (state, accepts) in [
            ("draining", false),
            ("active", true),
            ("disabled", false),
            ("active", true),
        ] {
            w.one("SELECT * FROM ff_set_lane('L', $1)", &[&state]);
            for s in [&mut *w as &mut Session, &mut other] {
                let created = s
                    .query("SELECT * FROM ff_create_execution('L', 'k')", &[])
                    .is_ok();
                assert_eq!(created, accepts, "{state}");
                assert_eq!(s.claims("").len(), usize::from(accepts), "{state}");
            }
        }
    }
}

#[test]
fn e_19_a_change_of_a_lane_counts_from_its_commit() {
    let mut w = World::on(Cluster::roomy());
    let mut other = w.session();
    w.create("");
    other.create("");
    w.run("BEGIN");
    w.one("SELECT * FROM ff_set_lane('L', 'paused')", &[]);
    assert!(
        w.claims("").is_empty(),
        "the transaction sees its own change"
    );
    assert_eq!(other.claims("").len(), 1, "others do not");
    w.run("ROLLBACK");
    assert_eq!(w.claims("").len(), 1, "rolled back, it never was");

    w.create_several(2, "");
    w.run("BEGIN");
    w.one("SELECT * FROM ff_set_lane('L', 'paused')", &[]);
    w.run("PREPARE TRANSACTION 'pause'");
    assert_eq!(other.claims("").len(), 1);
    other.run("COMMIT PREPARED 'pause'");
    assert!(
        other.claims("").is_empty() && w.claims("").is_empty(),
        "prepared and committed by another"
    );
}
