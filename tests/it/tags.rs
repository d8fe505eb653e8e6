//! Tags set after creation (§10.8).

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Cells, Session, World};

/// Keys that break the rule for tags.
pub const BAD_KEYS: [&str; 14] = [
    "",
    "Cairn.x",
    "1a.x",
    "app",
    "app.",
    "app..x",
    ".app",
    "ap p.x",
    "ap-p.x",
    "app.Foo",
    "app.foo bar",
    "app.foo\"bar",
    "app.foo-bar",
    "app.foo\\bar",
];

fn set(s: &mut Session, id: Uuid, tags: Value) -> i32 {
    s.value("SELECT ff_set_execution_tags($1, $2)", &[&id, &tags])
}

fn tag(s: &mut Session, id: Uuid, key: &str) -> Option<String> {
    s.value("SELECT ff_get_execution_tag($1, $2)", &[&id, &key])
}

#[test]
fn e_13_malformed_keys_are_refused_when_set() {
    let mut w = World::new();
    let id = w.create(r#"tags => '{"app.x":"1"}'"#);
    let before = w.contents();
    for key in BAD_KEYS {
        let one = w.refused(
            "FF123",
            "SELECT ff_set_execution_tag($1, $2, 'v')",
            &[&id, &key],
        );
        let many = w.refused(
            "FF123",
            "SELECT ff_set_execution_tags($1, $2)",
            &[&id, &json!({"zz.fine": "1", key: "v"})],
        );
        for failure in [one, many] {
            let named = failure
                .detail
                .as_object()
                .expect("an object")
                .values()
                .any(|v| v == key);
            assert!(named, "the detail names {key:?}: {failure:?}");
        }
        w.refused("FF123", "SELECT ff_get_execution_tag($1, $2)", &[&id, &key]);
    }
    let nobody = Uuid::new_v4();
    w.refused(
        "FF123",
        "SELECT ff_set_execution_tag($1, 'Bad', 'v')",
        &[&nobody],
    );
    w.refused(
        "FF101",
        "SELECT ff_set_execution_tag($1, 'app.y', NULL)",
        &[&id],
    );
    w.refused(
        "FF101",
        "SELECT ff_set_execution_tag($1, 'app.y', repeat('x', 4097))",
        &[&id],
    );
    assert_eq!(w.contents(), before, "nothing is written");
}

#[test]
fn e_13_wellformed_keys_are_accepted_when_set() {
    let mut w = World::new();
    let id = w.create("");
    for key in ["app.session_id", "a.b", "a1_2.x", "app.sub.field", "x.y_z"] {
        w.one("SELECT ff_set_execution_tag($1, $2, 'v')", &[&id, &key]);
        assert_eq!(tag(&mut w, id, key).as_deref(), Some("v"));
    }
}

#[test]
fn e_14_tags_are_merged_and_removed() {
    let mut w = World::new();
    let id = w.create("");
    let before = w.describe(id).instant("last_mutation_at");
    w.advance_ms(1_000);
    assert_eq!(
        set(
            &mut w,
            id,
            json!({"app.a": "1", "app.b": "2", "app.c": "3"})
        ),
        3
    );
    for (key, value) in [("app.a", "1"), ("app.b", "2"), ("app.c", "3")] {
        assert_eq!(tag(&mut w, id, key).as_deref(), Some(value));
    }
    assert!(w.describe(id).instant("last_mutation_at") > before);

    let stored = w.contents();
    w.refused(
        "FF123",
        "SELECT ff_set_execution_tags($1, $2)",
        &[&id, &json!({"app.d": "1", "Bad": "2", "app.e": "3"})],
    );
    for wrong in [
        json!({}),
        json!([]),
        json!("app.a"),
        json!(null),
        json!({"app.x": 1}),
    ] {
        w.refused(
            "FF101",
            "SELECT ff_set_execution_tags($1, $2)",
            &[&id, &wrong],
        );
    }
    assert_eq!(w.contents(), stored);

    assert_eq!(set(&mut w, id, json!({"app.a": null, "app.b": "new"})), 2);
    assert_eq!(
        (tag(&mut w, id, "app.a"), tag(&mut w, id, "app.b")),
        (None, Some("new".into()))
    );
    assert_eq!(
        w.describe(id).json("tags"),
        json!({"app.b": "new", "app.c": "3"})
    );
    assert_eq!(tag(&mut w, Uuid::new_v4(), "app.a"), None);
    w.refused(
        "FF001",
        "SELECT ff_set_execution_tags($1, $2)",
        &[&Uuid::new_v4(), &json!({"a.b": "1"})],
    );
    w.refused(
        "FF001",
        "SELECT ff_set_execution_tag($1, 'a.b', '1')",
        &[&Uuid::new_v4()],
    );
}

#[test]
fn e_14_tags_can_be_set_in_every_state_up_to_sixty_four() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    w.one(
        "SELECT ff_set_execution_tag($1, 'app.active', '1')",
        &[&claim.id],
    );
    w.complete(&claim.handle, None);
    w.one(
        "SELECT ff_set_execution_tag($1, 'app.terminal', '1')",
        &[&claim.id],
    );
    let many: serde_json::Map<String, Value> =
        (0..62).map(|n| (format!("app.k{n}"), json!("v"))).collect();
    assert_eq!(set(&mut w, claim.id, Value::Object(many)), 62);
    w.refused(
        "FF101",
        "SELECT ff_set_execution_tag($1, 'app.one_more', '1')",
        &[&claim.id],
    );
    w.one(
        "SELECT ff_set_execution_tag($1, 'app.active', 'replaced')",
        &[&claim.id],
    );
}

#[test]
fn v_29_part_only_a_real_change_of_a_tag_is_an_event() {
    let mut w = World::new();
    let id = w.create(r#"tags => '{"app.x":"1"}'"#);
    let (_, events) = w.events_by(|w| {
        w.one("SELECT ff_set_execution_tag($1, 'app.x', '1')", &[&id]);
        w.one("SELECT ff_set_execution_tag($1, 'app.x', '2')", &[&id]);
        set(w, id, json!({"app.x": null, "app.y": null}));
    });
    assert_eq!(events, ["tag.attached", "tag.cleared"]);
    let logged = w.events_of(id);
    assert_eq!(
        logged[0].details,
        json!({"key": "app.x", "value": "2", "old_value": "1"})
    );
    assert_eq!(
        (&logged[1].details["key"], &logged[1].details["old_value"]),
        (&json!("app.x"), &json!("2"))
    );
}

#[test]
fn tags_follow_their_execution_into_later_events_and_filters() {
    let mut w = World::new();
    let id = w.create("");
    let claim = w.claim("");
    w.one("SELECT ff_set_execution_tag($1, 'app.x', '1')", &[&id]);
    w.complete(&claim.handle, None);
    let tagged = w.rows(
        "SELECT event_type FROM ff_read_events('start', filter => '{\"tags\":{\"app.x\":\"1\"}}') WHERE family <> 'tag'",
        &[],
    );
    let types: Vec<String> = tagged.iter().map(|row| row.text("event_type")).collect();
    assert_eq!(types, ["released", "success"], "as they are at that moment");
    let listed = w.rows(
        "SELECT 1 FROM ff_list_executions(tags => '{\"app.x\":\"1\"}')",
        &[],
    );
    assert_eq!(listed.len(), 1);
}
