//! Reading the event log from a position, without loss (§30.12, §30.13).

use serde_json::json;
use uuid::Uuid;

use crate::support::cluster::Cluster;
use crate::support::{Cells, Session, World};

/// A reader that goes on from where its last read ended.
pub struct Chain {
    cursor: String,
    page: i32,
    pub ids: Vec<i64>,
}

impl Chain {
    pub fn from(session: &mut Session, position: &str, page: i32) -> Self {
        let cursor = session.value("SELECT ff_events_cursor($1)", &[&position]);
        Self {
            cursor,
            page,
            ids: Vec::new(),
        }
    }

    /// Reads until a page brings nothing and does not move; returns the new events.
    pub fn read(&mut self, session: &mut Session) -> Vec<(i64, String, Option<Uuid>)> {
        let mut found = Vec::new();
        loop {
            let rows = session.rows(
                "SELECT * FROM ff_read_events($1, max_items => $2, position_row => true)",
                &[&self.cursor, &self.page],
            );
            let before = found.len();
            let mut last_id = 0;
            for row in &rows {
                self.cursor = row.text("cursor");
                if let Some(id) = row.get::<_, Option<i64>>("event_id") {
                    assert!(id > last_id, "ids in one page ascend");
                    last_id = id;
                    let word = format!("{}.{}", row.text("family"), row.text("event_type"));
                    found.push((id, word, row.maybe_uuid("execution_id")));
                }
            }
            if found.len() == before {
                self.ids.extend(found.iter().map(|(id, _, _)| *id));
                return found;
            }
        }
    }
}

fn words(events: &[(i64, String, Option<Uuid>)]) -> Vec<&str> {
    events.iter().map(|(_, word, _)| word.as_str()).collect()
}

#[test]
fn v_31_an_event_that_commits_late_is_delivered_late_not_lost() {
    for prepare in ["", "SAVEPOINT s"] {
        let mut w = World::new();
        w.create_several(2, "");
        let mut chain = Chain::from(&mut w, "now", 10);
        let mut a = w.session();
        a.run("BEGIN");
        a.run(prepare);
        let late = a.claim("");
        let early = w.claim("");
        let read = chain.read(&mut w);
        assert_eq!(
            read.iter().map(|(_, _, id)| *id).collect::<Vec<_>>(),
            [Some(early.id)]
        );
        assert!(chain.read(&mut w).is_empty());
        a.run("COMMIT");
        let read = chain.read(&mut w);
        assert_eq!(
            read.iter().map(|(_, _, id)| *id).collect::<Vec<_>>(),
            [Some(late.id)]
        );
        assert!(
            read[0].0 < chain.ids[0],
            "its id lies below one already read"
        );
    }
}

#[test]
fn v_31_a_prepared_transaction_counts_as_running() {
    let mut w = World::on(Cluster::roomy());
    w.create_several(2, "");
    let mut chain = Chain::from(&mut w, "now", 10);
    let mut a = w.session();
    a.run("BEGIN");
    let late = a.claim("");
    a.run("PREPARE TRANSACTION 'late'");
    let early = w.claim("");
    assert_eq!(chain.read(&mut w)[0].2, Some(early.id));
    assert!(chain.read(&mut w).is_empty());
    w.run("COMMIT PREPARED 'late'");
    assert_eq!(chain.read(&mut w)[0].2, Some(late.id));
}

#[test]
fn v_33_one_execution_is_told_in_the_order_of_its_commits() {
    for polled_between in [true, false] {
        let mut w = World::new();
        let claim = w.claimed("", "");
        let mut chain = Chain::from(&mut w, "now", 1);
        let mut read = Vec::new();
        let mut t2 = w.session();
        t2.run("BEGIN");
        t2.value::<String>("SELECT pg_current_xact_id()::text", &[]);
        w.one("SELECT ff_renew($1)", &[&claim.handle]);
        if polled_between {
            read.extend(chain.read(&mut w));
        }
        t2.complete(&claim.handle, None);
        if polled_between {
            read.extend(chain.read(&mut w));
        }
        t2.run("COMMIT");
        read.extend(chain.read(&mut w));
        assert_eq!(
            words(&read),
            ["lease.renewed", "lease.released", "completion.success"]
        );
    }
}

#[test]
fn v_35_part_a_position_taken_beside_an_open_transaction_delivers_it() {
    let mut w = World::new();
    w.create_several(2, "");
    w.claim("");
    let mut a = w.session();
    a.run("BEGIN");
    let open = a.claim("");
    let mut chain = Chain::from(&mut w, "now", 10);
    a.run("COMMIT");
    assert_eq!(chain.read(&mut w)[0].2, Some(open.id));
    let mut from_start = Chain::from(&mut w, "start", 10);
    assert_eq!(from_start.read(&mut w).len(), 2, "all that is retained");
    let words_as_positions = w.rows("SELECT * FROM ff_read_events('start')", &[]);
    assert_eq!(words_as_positions.len(), 2);
    assert!(
        w.rows("SELECT * FROM ff_read_events()", &[]).is_empty(),
        "now: only what commits later"
    );
}

#[test]
fn v_35_part_every_cursor_resumes_right_behind_its_row() {
    let mut w = World::new();
    for _ in 0..4 {
        let claim = w.claimed("", "");
        w.complete(&claim.handle, None);
    }
    let all = w.rows("SELECT * FROM ff_read_events('start')", &[]);
    let ids: Vec<i64> = all.iter().map(|row| row.big("event_id")).collect();
    assert_eq!(ids.len(), 12);
    for (n, row) in all.iter().enumerate() {
        let rest: Vec<i64> = w
            .rows("SELECT * FROM ff_read_events($1)", &[&row.text("cursor")])
            .iter()
            .map(|row| row.big("event_id"))
            .collect();
        assert_eq!(rest, ids[n + 1..]);
        let completions = w.rows(
            "SELECT * FROM ff_read_events($1, '{completion}')",
            &[&row.text("cursor")],
        );
        assert_eq!(completions.len(), 4 - (n + 1) / 3, "with another filter");
    }
}

#[test]
fn v_36_part_a_position_row_carries_on_where_nothing_matched() {
    let mut w = World::new();
    for _ in 0..3 {
        let claim = w.claimed("", "");
        w.complete(&claim.handle, None);
    }
    let narrow = json!({"event_types": ["completion.failed"]});
    let read = "SELECT * FROM ff_read_events($1, filter => $2, position_row => true)";
    let first = w.one(read, &[&"start", &narrow]);
    assert_eq!(first.get::<_, Option<i64>>("event_id"), None);
    let position = first.text("cursor");
    assert!(
        w.rows("SELECT * FROM ff_read_events($1)", &[&position])
            .is_empty(),
        "the position is behind all"
    );
    let claim = w.claimed("", "");
    w.fail(&claim.handle, "x", "");
    let rows = w.rows(read, &[&position, &narrow]);
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].text("event_type"), "failed");
}

#[test]
fn v_37_texts_that_are_no_cursors_are_refused() {
    let mut w = World::new();
    let good: String = w.value("SELECT ff_events_cursor()", &[]);
    assert!(good.starts_with("ffc1."));
    for bad in [
        "zzz",
        "",
        "ffc1.",
        &good[..good.len() - 3],
        &format!("{good}!"),
        "17-0",
        &good.replace("ffc1", "ffc2"),
    ] {
        w.refused("FF132", "SELECT * FROM ff_read_events($1)", &[&bad]);
        w.refused("FF132", "SELECT ff_events_cursor($1)", &[&bad]);
    }
    let mut elsewhere = World::new();
    let foreign: String = elsewhere.value("SELECT ff_events_cursor()", &[]);
    let failure = w.refused("FF132", "SELECT * FROM ff_read_events($1)", &[&foreign]);
    failure.mentions("other_installation");
}

#[test]
fn v_37_an_older_snapshot_reads_nothing_and_loses_nothing() {
    let mut w = World::new();
    let mut old = w.session();
    old.run("BEGIN ISOLATION LEVEL REPEATABLE READ");
    old.value::<i64>("SELECT count(*) FROM ff_list_lanes()", &[]);
    w.claimed("", "");
    let cursor: String = w.value("SELECT ff_events_cursor()", &[]);
    let claim = w.claimed("", "");
    let rows = old.rows(
        "SELECT * FROM ff_read_events($1, position_row => true)",
        &[&cursor],
    );
    assert!(
        rows.iter()
            .all(|row| row.get::<_, Option<i64>>("event_id").is_none())
    );
    let position = rows.last().map_or(cursor.clone(), |row| row.text("cursor"));
    assert_eq!(position, cursor, "the position is unchanged");
    old.run("COMMIT");
    let rows = old.rows("SELECT * FROM ff_read_events($1)", &[&position]);
    assert_eq!(
        rows.iter()
            .map(|row| row.maybe_uuid("execution_id"))
            .collect::<Vec<_>>(),
        [Some(claim.id)]
    );
}

#[test]
fn events_are_chosen_by_every_dimension_of_the_filter() {
    let mut w = World::new();
    let one = w.claimed(r#"namespace => 'a', tags => '{"app.x":"1"}'"#, "");
    w.complete(&one.handle, None);
    let other = w.claimed("", "");
    w.fail(&other.handle, "x", "");
    let partition: i16 = w.value("SELECT ff_partition_of($1)", &[&one.id]);
    let mut count = |filter: serde_json::Value| {
        w.rows(
            "SELECT * FROM ff_read_events('start', filter => $1)",
            &[&filter],
        )
        .len()
    };
    assert_eq!(count(json!({})), 6);
    assert_eq!(count(json!({"namespace": "a"})), 3);
    assert_eq!(count(json!({"namespace": "nobody"})), 0);
    assert_eq!(count(json!({"tags": {"app.x": "1"}})), 3);
    assert_eq!(count(json!({"lanes": ["L"]})), 6);
    assert_eq!(count(json!({"lanes": ["M"]})), 0);
    assert_eq!(
        count(json!({"partitions": [partition, partition], "execution_id": one.id.to_string()})),
        3
    );
    assert_eq!(count(json!({"execution_id": other.id.to_string()})), 3);
    assert_eq!(count(json!({"flow_id": one.id.to_string()})), 0);
    assert_eq!(
        count(json!({"event_types": ["lease.acquired", "completion.failed"]})),
        3
    );
    assert_eq!(
        count(json!({"outcomes": ["success"]})),
        5,
        "other families pass"
    );
    for bad in [
        json!([]),
        json!({"odd": 1}),
        json!({"namespace": 1}),
        json!({"tags": []}),
        json!({"partitions": [1]}),
        json!({"partitions": [0, 256]}),
        json!({"execution_id": "x"}),
        json!({"event_types": ["odd"]}),
        json!({"outcomes": ["odd"]}),
    ] {
        w.refused(
            "FF101",
            "SELECT * FROM ff_read_events('start', filter => $1)",
            &[&bad],
        );
    }
    w.refused(
        "FF101",
        "SELECT * FROM ff_read_events('start', '{odd}')",
        &[],
    );
    w.refused(
        "FF101",
        "SELECT * FROM ff_read_events('start', max_items => -1)",
        &[],
    );
    assert!(
        w.rows("SELECT * FROM ff_read_events('start', max_items => 0)", &[])
            .is_empty()
    );
}
