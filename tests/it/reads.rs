//! Reading executions: facts, results, listings, counts, waiting for an end (§10.20).

use std::time::{Duration, Instant};

use serde_json::json;
use uuid::Uuid;

use crate::support::pace::{apart, quiet};
use crate::support::{Cells, World};

#[test]
fn e_97_the_lease_is_described_while_it_is_held() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    let facts = w.describe(claim.id);
    assert_eq!(
        (
            facts.maybe_uuid("current_attempt_id"),
            facts.maybe_int("current_attempt_index")
        ),
        (Some(claim.attempt_id), Some(0))
    );
    assert_eq!(
        (facts.big("lease_epoch"), facts.uuid("lease_id")),
        (1, claim.lease_id)
    );
    assert_eq!(
        (facts.text("worker"), facts.text("worker_instance")),
        ("w".into(), "w-1".into())
    );
    assert_eq!(
        facts.maybe_instant("lease_expires_at"),
        claim.row.maybe_instant("lease_expires_at")
    );
    assert!(facts.maybe_instant("lease_acquired_at").is_some());
    assert_eq!(facts.maybe_instant("lease_last_renewed_at"), None);
    assert_eq!(
        (facts.int("total_attempt_count"), facts.text("attempt_type")),
        (1, "initial".into())
    );
    assert!(facts.maybe_instant("attempt_started_at").is_some());

    w.one("SELECT * FROM ff_renew($1)", &[&claim.handle]);
    assert!(
        w.describe(claim.id)
            .maybe_instant("lease_last_renewed_at")
            .is_some()
    );

    w.complete(&claim.handle, None);
    let facts = w.describe(claim.id);
    for column in [
        "lease_acquired_at",
        "lease_last_renewed_at",
        "lease_expires_at",
    ] {
        assert_eq!(facts.maybe_instant(column), None, "{column}");
    }
    assert_eq!(
        (
            facts.maybe_uuid("lease_id"),
            facts.maybe_text("worker"),
            facts.maybe_text("worker_instance")
        ),
        (None, None, None)
    );
    assert_eq!(facts.big("lease_epoch"), 1, "the epoch is never cleared");
    assert_eq!(
        facts.maybe_uuid("current_attempt_id"),
        Some(claim.attempt_id)
    );
    assert!(facts.maybe_instant("completed_at").is_some());
}

#[test]
fn e_98_info_follows_the_life_of_an_execution() {
    let mut w = World::new();
    let id = w.create(r#"priority => 4, policy => '{"retry_policy":{}}'"#);
    let info = |w: &mut World| w.one("SELECT * FROM ff_read_execution_info($1)", &[&id]);
    let row = info(&mut w);
    assert_eq!(
        (
            row.uuid("execution_id"),
            row.text("namespace"),
            row.text("lane")
        ),
        (id, "default".into(), "L".into())
    );
    assert_eq!((row.int("priority"), row.text("kind")), (4, "k".into()));
    assert_eq!(
        (
            row.maybe_instant("started_at"),
            row.maybe_instant("completed_at")
        ),
        (None, None)
    );
    assert_eq!(
        (
            row.maybe_int("current_attempt_index"),
            row.maybe_uuid("flow_id")
        ),
        (None, None)
    );

    let first = w.claim("");
    w.fail(&first.handle, "x", "retry_after => '0'");
    let started = info(&mut w).maybe_instant("started_at");
    let second = w.claim("");
    w.assert_vector(
        id,
        "active/leased/not_applicable/none/none/running_attempt",
        "active",
    );
    assert_eq!(info(&mut w).maybe_int("current_attempt_index"), Some(1));
    w.complete(&second.handle, None);
    w.assert_vector(
        id,
        "terminal/unowned/not_applicable/none/success/attempt_terminal",
        "completed",
    );
    let row = info(&mut w);
    assert_eq!(
        row.maybe_instant("started_at"),
        started,
        "of the first claim"
    );
    assert!(row.maybe_instant("completed_at").is_some());

    let nobody = Uuid::new_v4();
    assert!(
        w.rows("SELECT * FROM ff_read_execution_info($1)", &[&nobody])
            .is_empty()
    );
    assert_eq!(
        w.value::<Option<String>>("SELECT ff_read_execution_state($1)", &[&nobody]),
        None
    );
    assert!(
        w.rows("SELECT * FROM ff_get_execution_result($1)", &[&nobody])
            .is_empty()
    );
}

fn page(w: &mut World, arguments: &str) -> (Vec<Uuid>, Vec<bool>) {
    let rows = w.rows(
        &format!("SELECT * FROM ff_list_executions({arguments})"),
        &[],
    );
    (
        rows.iter().map(|row| row.uuid("execution_id")).collect(),
        rows.iter().map(|row| row.flag("has_more")).collect(),
    )
}

#[test]
fn e_102_executions_of_a_partition_are_paged_in_byte_order() {
    let mut w = World::new();
    let mut ids: Vec<Uuid> = (0..15)
        .map(|_| w.value("SELECT ff_new_id(9)", &[]))
        .collect();
    for id in ids.iter().rev() {
        w.create(&format!("execution_id => '{id}'"));
    }
    w.create("execution_id => ff_new_id(10)");
    ids.sort();
    let mut after = String::from("NULL");
    for (range, more) in [(0..5, true), (5..10, true), (10..15, false)] {
        let (found, has_more) = page(&mut w, &format!("9, {after}, 5"));
        assert_eq!(found, ids[range]);
        assert!(has_more.iter().all(|flag| *flag == more));
        after = format!("'{}'", found[4]);
    }
    assert!(page(&mut w, &format!("9, {after}, 5")).0.is_empty());
    assert!(page(&mut w, "9, NULL, 0").0.is_empty());
    assert!(page(&mut w, "11").0.is_empty(), "an empty partition");
    assert_eq!(page(&mut w, "max_items => 5000").0.len(), 16);
    for bad in ["-1", "256", "9, NULL, -1", "public_states => '{odd}'"] {
        w.refused(
            "FF101",
            &format!("SELECT * FROM ff_list_executions({bad})"),
            &[],
        );
    }
}

#[test]
fn e_102_filters_narrow_the_listing() {
    let mut w = World::new();
    let tagged = w.create(r#"namespace => 'a', tags => '{"app.x":"1","app.y":"2"}'"#);
    let other = w.create(r#"namespace => 'b', tags => '{"app.x":"2"}'"#);
    let elsewhere = w
        .one("SELECT * FROM ff_create_execution('M', 'k')", &[])
        .uuid("execution_id");
    let claim = w.claim("namespace => 'b'");
    w.complete(&claim.handle, None);
    for (filter, expected) in [
        ("namespace => 'a'", vec![tagged]),
        (r#"tags => '{"app.x":"1"}'"#, vec![tagged]),
        (r#"tags => '{"app.x":"1","app.y":"3"}'"#, vec![]),
        ("lane => 'M'", vec![elsewhere]),
        ("public_states => '{completed}'", vec![other]),
        ("public_states => '{waiting}'", vec![tagged, elsewhere]),
        ("flow_id => '00000000-0000-0000-0000-000000000000'", vec![]),
        ("lane => 'never-used'", vec![]),
    ] {
        let (mut found, _) = page(&mut w, filter);
        let mut expected = expected;
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{filter}");
    }
}

#[test]
fn executions_are_counted_by_public_state() {
    let mut w = World::new();
    w.create_several(3, "");
    w.create("delay_until => ff_server_time() + interval '1 h'");
    w.create("namespace => 'other'");
    let claim = w.claim("");
    w.complete(&claim.handle, None);
    w.claim("");
    let count = |w: &mut World, arguments: &str| -> Vec<(String, i64)> {
        w.rows(
            &format!("SELECT * FROM ff_count_executions({arguments}) ORDER BY 1"),
            &[],
        )
        .iter()
        .map(|row| (row.text("public_state"), row.big("executions")))
        .collect()
    };
    let of = |pairs: &[(&str, i64)]| -> Vec<(String, i64)> {
        pairs
            .iter()
            .map(|(state, n)| (state.to_string(), *n))
            .collect()
    };
    assert_eq!(
        count(&mut w, ""),
        of(&[
            ("active", 1),
            ("completed", 1),
            ("delayed", 1),
            ("waiting", 2)
        ])
    );
    assert_eq!(count(&mut w, "namespace => 'other'"), of(&[("waiting", 1)]));
    assert_eq!(count(&mut w, "lane => 'never-used'"), of(&[]));
}

#[test]
fn attempts_are_listed_newest_first_and_paged_by_index() {
    let mut w = World::new();
    let id = w.create(r#"policy => '{"retry_policy":{"max_retries":9}}'"#);
    for _ in 0..4 {
        let claim = w.claim("");
        w.fail(&claim.handle, "x", "retry_after => '0'");
    }
    let indexes = |w: &mut World, arguments: &str| -> Vec<i32> {
        w.rows(
            &format!("SELECT * FROM ff_list_attempts($1{arguments})"),
            &[&id],
        )
        .iter()
        .map(|row| row.int("attempt_index"))
        .collect()
    };
    assert_eq!(indexes(&mut w, ""), [3, 2, 1, 0]);
    assert_eq!(indexes(&mut w, ", 2"), [3, 2]);
    assert_eq!(indexes(&mut w, ", 2, before_index => 2"), [1, 0]);
    assert_eq!(indexes(&mut w, ", 0"), [0; 0]);
    let one = w.attempts(id).remove(1);
    assert_eq!(
        (
            one.text("worker"),
            one.text("worker_instance"),
            one.big("lease_epoch")
        ),
        ("w".into(), "w-1".into(), 2)
    );
    assert_eq!(
        one.get::<_, Option<Vec<String>>>("capabilities"),
        Some(Vec::new())
    );
    assert_eq!(one.maybe_int("previous_attempt_index"), Some(0));
}

const AWAIT: &str = "SELECT * FROM ff_await_executions";

#[test]
fn e_105_waiting_ends_with_the_execution() {
    let _machine = quiet();
    let mut w = World::new();
    let claim = w.claimed("", "");
    let id = claim.id;
    let mut waiter = w.session();
    let pid = waiter.pid();
    let waiting = apart(move || {
        let row = waiter.one(&format!("{AWAIT}(ARRAY[$1::uuid])"), &[&id]);
        (
            row.text("public_state"),
            row.text("terminal_outcome"),
            Instant::now(),
        )
    });
    w.waits_in_its_statement(pid);
    w.complete(&claim.handle, None);
    let done = Instant::now();
    let (state, outcome, returned) = waiting.outcome();
    assert_eq!((state, outcome), ("completed".into(), "success".into()));
    assert!(returned.saturating_duration_since(done) < Duration::from_millis(500));
}

#[test]
fn e_105_with_nothing_done_the_current_state_is_returned() {
    let mut w = World::new();
    let id = w.create("");
    let nobody = Uuid::new_v4();
    let start = Instant::now();
    let rows = w.rows(
        &format!("{AWAIT}(ARRAY[$1, $2]::uuid[], '300 ms')"),
        &[&id, &nobody],
    );
    assert!((Duration::from_millis(290)..Duration::from_secs(3)).contains(&start.elapsed()));
    let of = |wanted: Uuid| {
        rows.iter()
            .find(|row| row.uuid("execution_id") == wanted)
            .expect("a row per id")
    };
    assert_eq!(
        (
            of(id).maybe_text("public_state"),
            of(id).maybe_instant("completed_at")
        ),
        (Some("waiting".into()), None)
    );
    assert_eq!(of(nobody).maybe_text("public_state"), None);
}

#[test]
fn e_105_any_of_several_is_enough() {
    let _machine = quiet();
    let mut w = World::new();
    let (first, second) = (w.claimed("", ""), w.claimed("", ""));
    let (a, b) = (first.id, second.id);
    let mut waiter = w.session();
    let pid = waiter.pid();
    let waiting = apart(move || {
        waiter
            .rows(
                &format!("{AWAIT}(ARRAY[$1, $2]::uuid[], mode => 'any')"),
                &[&a, &b],
            )
            .len()
    });
    w.waits_in_its_statement(pid);
    let start = Instant::now();
    w.complete(&second.handle, None);
    assert_eq!(waiting.outcome(), 2, "the current row of each");
    assert!(start.elapsed() < Duration::from_secs(2));
    w.refused(
        "FF101",
        &format!("{AWAIT}(ARRAY[$1, $2]::uuid[], mode => 'some')"),
        &[&a, &b],
    );
}

#[test]
fn e_106_clock_ping_and_version() {
    let mut w = World::new();
    w.run("BEGIN");
    let first = w.now();
    let second = w.now();
    w.run("COMMIT");
    assert!(second > first, "not the start of the transaction");
    assert!(w.value::<bool>("SELECT ff_ping()", &[]));
    let version = w.one("SELECT * FROM ff_version()", &[]);
    let control =
        std::fs::read_to_string(crate::support::cluster::checkout().join("ff_engine.control"))
            .expect("the control file");
    let declared = control
        .lines()
        .find_map(|line| line.strip_prefix("default_version"))
        .expect("a version");
    let manifest = std::fs::read_to_string(crate::support::cluster::checkout().join("Cargo.toml"))
        .expect("the manifest");
    let package = manifest
        .lines()
        .find_map(|line| line.strip_prefix("version = "))
        .expect("a version");
    let expected = if declared.contains("@CARGO_VERSION@") {
        package
    } else {
        declared
    };
    let expected = expected.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    assert_eq!(version.text("extension_version"), expected);
    let server: String = w.value("SELECT current_setting('server_version')", &[]);
    assert!(
        version
            .text("server_version")
            .contains(server.split(' ').next().expect("a word"))
    );
    let preloaded: bool = w.value(
        "SELECT current_setting('shared_preload_libraries') LIKE '%ff_engine%'",
        &[],
    );
    assert_eq!(version.flag("preloaded"), preloaded);
}

#[test]
fn tags_are_read_as_they_were_given() {
    let mut w = World::new();
    let id = w.create(r#"tags => '{"app.n":"1.50","app.u":"ünï \" \\"}'"#);
    assert_eq!(
        w.describe(id).json("tags"),
        json!({"app.n": "1.50", "app.u": "ünï \" \\"})
    );
    let bare = w.create("");
    assert_eq!(w.claims("max_items => 2")[1].row.json("tags"), json!({}));
    assert!(w.exists(bare));
}
