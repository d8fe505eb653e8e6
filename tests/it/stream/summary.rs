//! Summary documents (§30.4).

use serde_json::{Value, json};

use crate::support::{Cells, Claim, World};

const SUMMARY: &str = "mode => 'durable_summary'";

/// Applies patches one after the other and returns the last version.
fn patch(w: &mut World, claim: &Claim, patches: &[&str]) -> i64 {
    let mut version = 0;
    for patch in patches {
        version = w
            .append(&claim.handle, patch.as_bytes(), SUMMARY)
            .big("summary_version");
    }
    version
}

fn made(w: &mut World, patches: &[&str]) -> Value {
    let claim = w.claimed("", "");
    let version = patch(w, &claim, patches);
    assert_eq!(version, patches.len() as i64);
    let (stored, document) = w.summary(claim.id).expect("a document");
    assert_eq!(stored, version);
    document
}

#[test]
fn v_16_patches_are_merged_one_after_the_other() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    assert_eq!(patch(&mut w, &claim, &[r#"{"a":1,"b":{"c":2}}"#]), 1);
    assert_eq!(patch(&mut w, &claim, &[r#"{"a":null,"b":{"d":3}}"#]), 2);
    assert_eq!(
        w.summary(claim.id),
        Some((2, json!({"b": {"c": 2, "d": 3}})))
    );
    let row = w.one("SELECT * FROM ff_read_summary($1, 0)", &[&claim.id]);
    assert_eq!(
        (row.text("patch_kind"), row.int("attempt_index")),
        ("json_merge_patch".into(), 0)
    );
    assert!(row.instant("first_applied_at") <= row.instant("last_updated_at"));
    let frames = w.read_stream(claim.id, "");
    let versions: Vec<Option<i64>> = frames
        .iter()
        .map(|row| row.get("summary_version"))
        .collect();
    assert_eq!(versions, [Some(1), Some(2)]);
    let document = made(
        &mut w,
        &[
            r#"{"a":1}"#,
            r#"{"b":2}"#,
            r#"{"a":42,"c":{"x":"__ff_null__"}}"#,
        ],
    );
    assert_eq!(document, json!({"a": 42, "b": 2, "c": {"x": null}}));
    let batch = w.claimed("", "");
    let row = w.one(
        r#"SELECT * FROM ff_append_frames($1, ARRAY['{"a":1}', '{"b":2}', '{"a":null}']::bytea[], mode => 'durable_summary')"#,
        &[&batch.handle],
    );
    assert_eq!(row.big("summary_version"), 3);
    assert_eq!(w.summary(batch.id), Some((3, json!({"b": 2}))));
}

#[test]
fn v_17_nulls_that_are_meant_and_arrays_that_are_replaced() {
    let mut w = World::new();
    assert_eq!(
        made(&mut w, &[r#"{"x":"__ff_null__"}"#]),
        json!({"x": null})
    );
    let nested = r#"{"l":["__ff_null__",[{"m":"__ff_null__"}]],"n":{"o":{"p":"__ff_null__"}}}"#;
    assert_eq!(
        made(&mut w, &[nested]),
        json!({"l": [null, [{"m": null}]], "n": {"o": {"p": null}}})
    );
    let stored: i64 = w.value(
        "SELECT count(*) FROM ff_engine.stream_summary AS s WHERE s.document::text LIKE '%ff_null%'",
        &[],
    );
    assert_eq!(stored, 0);
    assert_eq!(made(&mut w, &[r#"{"n":{"k":null}}"#]), json!({"n": {}}));
    assert_eq!(
        made(&mut w, &[r#"{"l":[1]}"#, r#"{"l":[2,null]}"#]),
        json!({"l": [2, null]})
    );
    let claim = w.claimed("", "");
    patch(&mut w, &claim, &[r#"{"a":1}"#]);
    assert_eq!(patch(&mut w, &claim, &["{}"]), 2);
    assert_eq!(w.summary(claim.id), Some((2, json!({"a": 1}))));
    let digits = "123456789012345678901234567890.0987654321000";
    let exact = w.claimed("", "");
    patch(
        &mut w,
        &exact,
        &[&format!(r#"{{"n":{digits}}}"#), r#"{"m":1}"#],
    );
    let read: String = w.value(
        "SELECT document ->> 'n' FROM ff_read_summary($1)",
        &[&exact.id],
    );
    assert_eq!(read, digits, "every digit is kept");
}

#[test]
fn v_18_what_is_no_patch_changes_nothing() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    patch(&mut w, &claim, &[r#"{"a":1}"#]);
    let before = w.contents();
    let deep = format!("{}{{}}{}", r#"{"a":"#.repeat(16), "}".repeat(16));
    for (payload, rule) in [
        ("[1]", "not_an_object"),
        ("3", "not_an_object"),
        ("null", "not_an_object"),
        ("{\"a\":", "not_json"),
        ("", "not_json"),
        (deep.as_str(), "depth_exceeded"),
        (r#"{"a":"\u0000"}"#, "unsupported_character"),
        (r#"{"a":1e400000}"#, "number_out_of_range"),
    ] {
        let failure = w.unappendable("FF101", &claim.handle, payload.as_bytes(), SUMMARY);
        assert_eq!(failure.detail["rule"], rule, "{payload}");
    }
    assert_eq!(w.contents(), before);

    let large = "x".repeat(60_000);
    for n in 0..17 {
        patch(&mut w, &claim, &[&format!(r#"{{"k{n}":"{large}"}}"#)]);
    }
    let before = w.contents();
    let last = format!(r#"{{"k17":"{large}"}}"#);
    w.unappendable("FF105", &claim.handle, last.as_bytes(), SUMMARY);
    assert_eq!(w.contents(), before, "neither document nor frame");
    assert_eq!(w.summary(claim.id).map(|(version, _)| version), Some(18));
}

#[test]
fn v_19_the_document_outlives_its_patches() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    assert_eq!(w.summary(claim.id), None);
    for n in 0..100 {
        patch(&mut w, &claim, &[&format!(r#"{{"k{n}":{n}}}"#)]);
    }
    assert!((64..=70).contains(&w.output(claim.id, "").len()));
    let status = w.stream_status(claim.id);
    assert_eq!(
        (status.big("summary_version"), status.big("frame_count")),
        (100, 100)
    );
    w.complete(&claim.handle, None);
    let (version, document) = w.summary(claim.id).expect("a document");
    assert_eq!(
        (version, document.as_object().map(|o| o.len())),
        (100, Some(100))
    );

    let mixed = w.claimed("", "");
    for n in 0..2 {
        w.frame(&mixed.handle, b"durable", "");
        patch(&mut w, &mixed, &[&format!(r#"{{"n":{n}}}"#)]);
    }
    assert_eq!(
        w.output(mixed.id, ""),
        ["durable", r#"{"n":0}"#, "durable", r#"{"n":1}"#]
    );
    assert_eq!(w.summary(mixed.id), Some((2, json!({"n": 1}))));
    let status = w.stream_status(mixed.id);
    let retained = [
        "retained_durable",
        "retained_summary",
        "retained_best_effort",
    ];
    assert_eq!(retained.map(|column| status.big(column)), [2, 2, 0]);
}
