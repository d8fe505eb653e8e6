//! Appending frames: ids, counters, limits, retention, whole batches (§30.1–§30.3).

use crate::support::stream::{ascend, ids, place, said};
use crate::support::{Cells, World};

#[test]
fn v_1_frames_are_read_in_the_order_of_their_ids() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    let start = w.now();
    let one = w.append(&claim.handle, b"one", "'log'");
    let two = w.append(
        &claim.handle,
        b"two",
        "'output', correlation_id => 'c', encoding => 'plain'",
    );
    let appended = [one.text("frame_id"), two.text("frame_id")];
    assert!(ascend(&appended), "{appended:?}");
    assert_eq!((one.big("frame_count"), two.big("frame_count")), (1, 2));
    assert!(one.get::<_, Option<i64>>("summary_version").is_none());

    let rows = w.read_stream(claim.id, "");
    assert_eq!(said(&rows), ["one", "two"], "and no end marker");
    assert_eq!(ids(&rows), appended);
    let first = &rows[0];
    let words = ["frame_type", "mode", "encoding", "source"].map(|c| first.text(c));
    assert_eq!(words, ["log", "durable", "utf8", "worker"]);
    assert_eq!(
        (
            first.int("attempt_index"),
            first.maybe_text("correlation_id")
        ),
        (0, None)
    );
    assert!(first.instant("appended_at") >= start);
    assert_eq!(
        place(&appended[0]).0,
        first.instant("appended_at").timestamp_millis()
    );
    assert!(first.maybe_instant("closed_at").is_none());
    assert_eq!(rows[1].maybe_text("correlation_id").as_deref(), Some("c"));
    assert_eq!(rows[1].text("encoding"), "plain");

    let status = w.stream_status(claim.id);
    assert_eq!(
        (status.big("frame_count"), status.big("total_bytes")),
        (2, 6)
    );
    assert_eq!(status.text("last_frame_id"), appended[1]);
    assert_eq!(status.big("retained_durable"), 2);
    assert!(status.maybe_text("closed_reason").is_none());
    assert!(w.event_words(claim.id).len() == 1, "output is no event");
}

#[test]
fn v_6_sizes_and_types_have_limits() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    w.frame(&claim.handle, &vec![7; 65_536], "");
    let before = w.contents();
    w.unappendable("FF110", &claim.handle, &vec![7; 65_537], "");
    for frame_type in ["''", "repeat('x', 65)", r"E'a\nb'", r"E'a\u0085'"] {
        w.unappendable("FF124", &claim.handle, b"x", frame_type);
    }
    assert_eq!(w.contents(), before, "nothing is counted");

    let bytes: Vec<u8> = (0..=255).collect();
    w.frame(&claim.handle, &bytes, &format!("'{}'", "é".repeat(32)));
    w.frame(&claim.handle, b"", "");
    let rows = w.read_stream(claim.id, "");
    assert_eq!(rows[0].bytes("payload").map(|p| p.len()), Some(65_536));
    assert_eq!(rows[1].bytes("payload"), Some(bytes));
    assert_eq!(
        rows[2].bytes("payload"),
        Some(Vec::new()),
        "empty is content"
    );
}

#[test]
fn arguments_that_no_append_takes_are_refused() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    let before = w.contents();
    for arguments in [
        "mode => 'loud'",
        "mode => NULL",
        "encoding => ''",
        "encoding => repeat('x', 33)",
        "source => ''",
        "source => NULL",
        "correlation_id => repeat('x', 257)",
        "retention_maxlen => 0",
        "patch_kind => 'json_patch'",
        "maxlen_floor => 0",
        "maxlen_floor => 65, maxlen_ceiling => 64",
        "maxlen_ceiling => 1000001",
        "frame_type => NULL",
    ] {
        w.unappendable("FF101", &claim.handle, b"x", arguments);
    }
    w.refused(
        "FF101",
        "SELECT * FROM ff_append_frame($1, NULL)",
        &[&claim.handle],
    );
    w.refused("FF129", "SELECT * FROM ff_append_frame('x', 'y')", &[]);
    w.refused("FF101", "SELECT * FROM ff_append_frame(NULL, 'y')", &[]);
    assert_eq!(w.contents(), before);
}

#[test]
fn v_10_ids_ascend_though_the_clock_steps_back() {
    let mut w = World::new();
    let claim = w.claimed("", "lease_ttl => '1 h'");
    let first = place(&w.frame(&claim.handle, b"1", ""));
    w.advance_ms(-10_000);
    let second = place(&w.frame(&claim.handle, b"2", ""));
    assert_eq!(second, (first.0, first.1 + 1));
    let live = crate::support::stream::best("1 min");
    let third = place(&w.frame(&claim.handle, b"3", &live));
    assert_eq!(third, (first.0, first.1 + 2), "whatever the mode");
    let fourth = place(&w.frame(&claim.handle, b"4", ""));
    assert_eq!(fourth, (first.0, first.1 + 3));
    w.advance_ms(20_000);
    let later = place(&w.frame(&claim.handle, b"5", ""));
    assert!(later.0 > first.0 && later.1 == 0);
    assert_eq!(w.output(claim.id, ""), ["1", "2", "3", "4", "5"]);
}

#[test]
fn v_12_the_newest_durable_frames_are_kept() {
    let mut w = World::new();
    let claim = w.claimed("", "lease_ttl => '1 h'");
    for n in 0..200 {
        w.frame(
            &claim.handle,
            format!("{n}").as_bytes(),
            "retention_maxlen => 50",
        );
    }
    let newest: Vec<String> = (150..200).map(|n| n.to_string()).collect();
    assert_eq!(w.output(claim.id, ""), newest);
    let status = w.stream_status(claim.id);
    assert_eq!(
        (status.big("frame_count"), status.big("retained_durable")),
        (200, 50)
    );
    assert!(w.count("frame") <= 55, "and hardly more are stored");

    let many = w.claimed("", "lease_ttl => '1 h'");
    for _ in 0..20 {
        w.append_many(&many.handle, 1000, "");
    }
    let status = w.stream_status(many.id);
    assert_eq!(status.big("frame_count"), 20_000);
    assert!((10_000..=11_000).contains(&status.big("retained_durable")));
    assert!(w.count("frame") <= 11_055);
    assert_eq!(w.output(many.id, "").len(), 10_000);

    let policy = r#"policy => '{"stream_policy":{"retention_maxlen":3}}'"#;
    let by_policy = w.claimed(policy, "");
    w.append_many(&by_policy.handle, 9, "");
    assert_eq!(w.output(by_policy.id, "").len(), 3);
    w.append_many(&by_policy.handle, 1, "retention_maxlen => 2");
    assert_eq!(
        w.output(by_policy.id, "").len(),
        2,
        "the call goes before the policy"
    );
    w.run("SET ff_engine.stream_durable_maxlen = 0");
    let all = w.claimed("", "");
    w.append_many(&all.handle, 1000, "");
    assert_eq!(w.output(all.id, "").len(), 1000);
}

#[test]
fn v_13_a_batch_is_appended_wholly_or_not_at_all() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    w.frame(&claim.handle, b"first", "");
    let row = w.one(
        "SELECT * FROM ff_append_frames($1, '{a,b,c}', '{log,out,err}')",
        &[&claim.handle],
    );
    assert_eq!(row.big("frame_count"), 4);
    let rows = w.read_stream(claim.id, "");
    assert_eq!(said(&rows), ["first", "a", "b", "c"]);
    let read = ids(&rows);
    assert!(ascend(&read));
    assert_eq!(
        (row.text("first_frame_id"), row.text("last_frame_id")),
        (read[1].clone(), read[3].clone())
    );
    assert_eq!(rows[3].text("frame_type"), "err");

    let before = w.contents();
    let too_large =
        "SELECT * FROM ff_append_frames($1, ARRAY['a', convert_to(repeat('x', 65537), 'UTF8')])";
    let failure = w.refused("FF110", too_large, &[&claim.handle]);
    assert_eq!(failure.detail["item"], 1);
    let failure = w.refused(
        "FF124",
        "SELECT * FROM ff_append_frames($1, '{a,b}', ARRAY['x', ''])",
        &[&claim.handle],
    );
    assert_eq!(failure.detail["item"], 1);
    let failure = w.refused(
        "FF101",
        "SELECT * FROM ff_append_frames($1, '{\"{}\",\"[]\"}', mode => 'durable_summary')",
        &[&claim.handle],
    );
    assert_eq!(failure.detail["item"], 1);
    for call in [
        "ff_append_frames($1, '{a,NULL}')",
        "ff_append_frames($1, NULL)",
        "ff_append_frames($1, '{a,b}', '{x}')",
        "ff_append_frames($1, '{a,b}', '{x,NULL}')",
        "ff_append_frames($1, array_fill('a'::bytea, '{1001}'))",
    ] {
        w.refused("FF101", &format!("SELECT * FROM {call}"), &[&claim.handle]);
    }
    let nothing = w.append_many(&claim.handle, 0, "");
    assert_eq!(
        (
            nothing.maybe_text("first_frame_id"),
            nothing.big("frame_count")
        ),
        (None, 4)
    );
    assert_eq!(w.contents(), before, "nothing was appended");
    assert_eq!(
        w.append_many(&claim.handle, 1000, "").big("frame_count"),
        1004
    );
}
