//! Lists and descriptions, without tokens (§20.13, §20.14).

use postgres::Row;
use uuid::Uuid;

use crate::support::handle::Bytes;
use crate::support::waiting::READY;
use crate::support::{Cells, World};

const LIST: &str = "SELECT * FROM ff_list_pending_waitpoints($1)";

fn names(row: &Row) -> Vec<String> {
    row.get("required_signal_names")
}

#[test]
fn s_46_the_open_waitpoints_of_an_execution() {
    let mut w = World::new();
    w.refused("FF001", LIST, &[&Uuid::nil()]);
    let never = w.create("");
    assert!(w.rows(LIST, &[&never]).is_empty());
    w.claim("");
    let s = w.waiting(&format!("{READY}, timeout => '1 h'"));
    let row = w.one(LIST, &[&s.id]);
    assert_eq!(row.uuid("waitpoint_id"), s.point().id);
    assert_eq!(
        (row.text("waitpoint_key"), row.text("state")),
        ("wpk:a".into(), "active".into())
    );
    assert_eq!(
        (names(&row), row.text("token_kid")),
        (vec!["ready".to_string()], "k1".into())
    );
    let fingerprint: String = w.value("SELECT ff_token_fingerprint($1)", &[&s.point().token]);
    assert_eq!(
        (row.text("token_fingerprint"), fingerprint.len()),
        (fingerprint, 16)
    );
    assert!(
        row.maybe_instant("activated_at").is_some() && row.maybe_instant("expires_at").is_some()
    );
    assert_eq!(row.uuid("execution_id"), s.id);

    let s = w.waiting("ff_cond_all_of(ff_cond_signal('a', 'sig-a'), ff_cond_signal('b', 'sig-b'))");
    let rows = w.rows(LIST, &[&s.id]);
    for row in &rows {
        assert_eq!(names(row), [format!("sig-{}", row.text("waitpoint_key"))]);
    }
    for (condition, expected) in [
        ("ff_cond_signal('a')", vec![]),
        ("ff_cond_operator_only()", vec!["__operator_only__"]),
        (
            "ff_cond_timeout_only(), timeout => '1 h'",
            vec!["__timeout_only__"],
        ),
    ] {
        let s = w.waiting(condition);
        let row = w.one(LIST, &[&s.id]);
        assert_eq!(names(&row), expected);
    }
    let s = w.waiting("ff_cond_all_waitpoints('a', 'b', 'c')");
    let page = "SELECT * FROM ff_list_pending_waitpoints($1, after => $2, max_items => 2)";
    let first = w.rows(page, &[&s.id, &None::<Uuid>]);
    assert!(first.len() == 2 && first.iter().all(|row| row.flag("has_more")));
    let rest = w.rows(page, &[&s.id, &first[1].uuid("waitpoint_id")]);
    assert!(rest.len() == 1 && !rest[0].flag("has_more"));
    w.rows("SELECT * FROM ff_resume_execution($1)", &[&s.id]);
    assert!(w.rows(LIST, &[&s.id]).is_empty());
}

#[test]
fn s_47_the_token_for_a_trusted_bridge() {
    let mut w = World::new();
    let s = w.waiting(READY);
    let read = "SELECT ff_read_waitpoint_token($1)";
    let shown: Option<String> = w.value(read, &[&s.point().id]);
    assert_eq!(shown, Some(s.point().token));
    assert_eq!(w.value::<Option<String>>(read, &[&Uuid::nil()]), None);
    w.effect(&s.point(), "ready");
    assert_eq!(w.value::<Option<String>>(read, &[&s.point().id]), None);
    let open = w.waiting(READY);
    w.rows(
        "SELECT * FROM ff_rotate_waitpoint_secret('k2', grace => '0')",
        &[],
    );
    assert_eq!(w.value::<Option<String>>(read, &[&open.point().id]), None);
}

#[test]
fn s_49_what_the_resumed_worker_sees() {
    let mut w = World::new();
    let policy = r#"policy => '{"retry_policy":{"backoff":{"type":"fixed","delay_ms":0}}}'"#;
    let s = w.waiting_with(policy, READY);
    for name in ["a", "b"] {
        w.effect(&s.point(), name);
    }
    assert!(w.observed(&s.handle, false).is_empty());
    w.deliver(&s.point(), "ready", "");
    let again = w.reclaimed(&s);
    assert_eq!(w.observed(&again.handle, false), ["ready"]);
    assert_eq!(
        w.observed(&s.claim.handle, false),
        ["ready"],
        "a stale handle reads too"
    );
    let all = w.rows(
        "SELECT * FROM ff_observe_signals($1, true)",
        &[&again.handle],
    );
    let matched: Vec<bool> = all.iter().map(|row| row.flag("matched")).collect();
    assert_eq!(matched, [false, false, true]);
    assert_eq!(all[2].bytes("payload"), None);
    w.fail(&again.handle, "x", "");
    let retry = w.claim("");
    assert!(w.observed(&retry.handle, true).is_empty());
    let forged = Bytes::of(&retry.handle);
    let strange = forged.with_execution(Uuid::from_u128(1)).text();
    w.refused("FF001", "SELECT * FROM ff_observe_signals($1)", &[&strange]);
    w.complete(&retry.handle, None);
    let purged = w.waiting_with("retention => '0'", READY);
    w.effect(&purged.point(), "ready");
    let last = w.reclaimed(&purged);
    w.complete(&last.handle, None);
    w.advance_ms(1);
    w.reconciles("retention", 1);
    w.refused(
        "FF001",
        "SELECT * FROM ff_observe_signals($1)",
        &[&last.handle],
    );
    for table in ["suspension", "waitpoint", "signal"] {
        let left: i64 = w.value(
            &format!("SELECT count(*) FROM ff_engine.{table} WHERE execution_id = $1"),
            &[&purged.id],
        );
        assert_eq!(left, 0, "{table}");
    }
}

#[test]
fn an_attempt_that_does_not_exist_has_seen_nothing() {
    let mut w = World::new();
    w.seed();
    let c = w.claimed("", "");
    let other = Bytes::of(&c.handle).with_attempt_index(1).text();
    let failure = w.refused("FF003", "SELECT * FROM ff_observe_signals($1)", &[&other]);
    assert_eq!(failure.detail["attempt_index"], 1);
    assert!(w.observed(&c.handle, true).is_empty());
    let s = w.suspended(c, READY);
    let rows = w.rows("SELECT * FROM ff_list_signals($1)", &[&s.id]);
    assert!(rows.is_empty());
    let gone = w.rows(
        "SELECT * FROM ff_describe_suspension($1, $2)",
        &[&s.id, &Uuid::nil()],
    );
    assert!(gone.is_empty());
    let named = w.one(
        "SELECT * FROM ff_describe_suspension($1, $2)",
        &[&s.id, &s.suspension],
    );
    assert_eq!(named.uuid("suspension_id"), s.suspension);
}

#[test]
fn conditions_are_built_as_documents() {
    let mut w = World::new();
    let mut built = |call: &str| -> serde_json::Value { w.value(&format!("SELECT {call}"), &[]) };
    assert_eq!(
        built("ff_cond_signal()"),
        serde_json::json!({"type": "signal"})
    );
    assert_eq!(
        built("ff_cond_signal('k', 'a', 'b')"),
        serde_json::json!({"type": "signal", "waitpoint": "k", "match": {"one_of": ["a", "b"]}})
    );
    assert_eq!(
        built(
            "ff_cond_any_of(ff_cond_all_waitpoints('a'), ff_cond_count(2, 'sources', '{a}', '{x}'))"
        ),
        serde_json::json!({"type": "any_of", "members": [
            {"type": "all_of", "members": [{"type": "signal", "waitpoint": "a"}]},
            {"type": "count", "n": 2, "distinct": "sources", "waitpoints": ["a"], "match": "x"}]})
    );
    assert_eq!(
        built("ff_cond_all_of(VARIADIC '{}')"),
        serde_json::json!({"type": "all_of", "members": []})
    );
}

#[test]
fn e_103_suspended_executions_by_how_long_they_have_waited() {
    let mut w = World::new();
    let waiting: Vec<_> = ["signal", "timer", "children"]
        .iter()
        .map(|reason| {
            w.advance_ms(1_000);
            w.waiting(&format!("{READY}, reason => '{reason}'"))
        })
        .collect();
    let page = "SELECT * FROM ff_list_suspended(max_items => 2, after_suspended_at => $1, after_execution_id => $2)";
    let none: Option<chrono::DateTime<chrono::Utc>> = None;
    let first = w.rows(page, &[&none, &None::<Uuid>]);
    let seen: Vec<_> = first
        .iter()
        .map(|r| (r.uuid("execution_id"), r.text("reason")))
        .collect();
    assert_eq!(
        seen,
        [
            (waiting[0].id, "signal".to_string()),
            (waiting[1].id, "timer".to_string())
        ]
    );
    assert!(first.iter().all(|row| row.flag("has_more")));
    assert_eq!(first[0].uuid("suspension_id"), waiting[0].suspension);
    assert_eq!(first[0].uuid("waitpoint_id"), waiting[0].point().id);
    w.rows("SELECT * FROM ff_resume_execution($1)", &[&waiting[1].id]);
    let after = (Some(first[1].instant("suspended_at")), Some(waiting[1].id));
    let second = w.rows(page, &[&after.0, &after.1]);
    assert_eq!(second.len(), 1);
    assert_eq!(
        (second[0].uuid("execution_id"), second[0].flag("has_more")),
        (waiting[2].id, false)
    );
    let after = (Some(second[0].instant("suspended_at")), Some(waiting[2].id));
    assert!(w.rows(page, &[&after.0, &after.1]).is_empty());
    for (filter, found) in [
        ("lane => 'L'", 2),
        ("lane => 'M'", 0),
        ("namespace => 'default'", 2),
        ("namespace => 'x'", 0),
    ] {
        let rows = w.rows(&format!("SELECT * FROM ff_list_suspended({filter})"), &[]);
        assert_eq!(rows.len(), found, "{filter}");
    }
}
