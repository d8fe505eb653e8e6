//! Reading frames: pages, bounds, the end marker, streams that are empty or not there (§30.6, §30.7).

use uuid::Uuid;

use crate::support::stream::{best, ids, said};
use crate::support::{Cells, World};

#[test]
fn v_2_the_end_marker_stands_behind_the_last_frame() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    w.frame(&claim.handle, b"one", "");
    let last = w.frame(&claim.handle, b"two", "");
    let row = w.complete(&claim.handle, None);
    let rows = w.read_stream(claim.id, "");
    assert_eq!(said(&rows), ["one", "two", ". attempt_success"]);
    let marker = &rows[2];
    assert_eq!(marker.instant("closed_at"), row.instant("completed_at"));
    assert_eq!(marker.maybe_int("attempt_index"), Some(0));
    assert!(marker.maybe_text("mode").is_none() && marker.bytes("payload").is_none());
    let failure = w.unappendable("FF415", &claim.handle, b"late", "");
    assert_eq!(failure.detail["closed_reason"], "attempt_success");
    let tail = w.tail_stream(claim.id, &format!("after_id => '{last}'"));
    assert_eq!(said(&tail), [". attempt_success"]);
    assert_eq!(
        w.output(claim.id, "max_items => 1"),
        ["one"],
        "the page ends before"
    );
    let first = ids(&rows)[0].clone();
    assert_eq!(w.output(claim.id, &format!("to_id => '{first}'")), ["one"]);
    assert_eq!(w.output(claim.id, &format!("to_id => '{last}'")).len(), 3);
    assert_eq!(
        w.output(claim.id, "from_id => 'end'"),
        [". attempt_success"]
    );
    let status = w.stream_status(claim.id);
    assert_eq!(
        (status.text("last_frame_id"), status.big("frame_count")),
        (last, 2)
    );
}

#[test]
fn v_3_nothing_is_read_where_nothing_is() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    assert!(w.read_stream(claim.id, "").is_empty());
    let status = w.stream_status(claim.id);
    assert_eq!(
        (
            status.big("frame_count"),
            status.maybe_text("last_frame_id")
        ),
        (0, None)
    );
    w.complete(&claim.handle, None);
    assert_eq!(w.output(claim.id, ""), [". attempt_success"]);
    let waiting = w.create("");
    for (id, attempt) in [
        (Uuid::new_v4(), "NULL"),
        (claim.id, "7"),
        (claim.id, "-1"),
        (waiting, "NULL"),
        (waiting, "0"),
    ] {
        let attempt = format!("attempt_index => {attempt}");
        assert!(w.read_stream(id, &attempt).is_empty());
        assert!(w.tail_stream(id, &attempt).is_empty());
        for read in ["ff_stream_status", "ff_read_summary"] {
            let rows = w.rows(&format!("SELECT * FROM {read}($1, {attempt})"), &[&id]);
            assert!(rows.is_empty(), "{read}");
        }
    }
}

#[test]
fn v_4_pages_follow_each_other_without_gap_or_overlap() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    for n in 0..50 {
        w.frame(&claim.handle, format!("{n}").as_bytes(), "");
    }
    let all: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    let page = w.read_stream(claim.id, "max_items => 20");
    assert_eq!(said(&page), all[..20]);
    let last = ids(&page).pop().expect("a frame");
    let (ms, seq) = crate::support::stream::place(&last);
    assert_eq!(
        w.output(claim.id, &format!("from_id => '{ms}-{}'", seq + 1)),
        all[20..]
    );
    let tail = w.tail_stream(claim.id, &format!("after_id => '{last}', max_items => 7"));
    assert_eq!(said(&tail), all[20..27]);
    assert_eq!(
        w.output(claim.id, &format!("from_id => '{last}', to_id => '{last}'")),
        ["19"]
    );
    assert!(
        w.output(
            claim.id,
            &format!("from_id => '{ms}-{}', to_id => '{last}'", seq + 1)
        )
        .is_empty()
    );
    assert!(w.output(claim.id, "to_id => 'start'").is_empty());
}

#[test]
fn v_5_limits_and_positions_out_of_bounds_are_refused() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    for function in ["ff_read_stream", "ff_tail_stream"] {
        for arguments in [
            "max_items => 0",
            "max_items => 10001",
            "max_items => NULL",
            "visibility => 'some'",
            "visibility => NULL",
        ] {
            w.refused(
                "FF101",
                &format!("SELECT * FROM {function}($1, {arguments})"),
                &[&claim.id],
            );
        }
        w.refused("FF101", &format!("SELECT * FROM {function}(NULL)"), &[]);
    }
    for offset in ["-", "+", "", "12-", "abc", "-5", " 1", "1-2-3", "0x1"] {
        for bound in ["from_id", "to_id"] {
            let failure = w.refused(
                "FF115",
                &format!("SELECT * FROM ff_read_stream($1, {bound} => '{offset}')"),
                &[&claim.id],
            );
            assert_eq!(failure.detail["argument"], bound);
        }
    }
    for offset in ["start", "end", "", "x"] {
        w.refused(
            "FF115",
            &format!("SELECT * FROM ff_tail_stream($1, after_id => '{offset}')"),
            &[&claim.id],
        );
    }
    w.refused(
        "FF101",
        "SELECT * FROM ff_tail_stream($1, wait => '-1 s')",
        &[&claim.id],
    );

    w.append_many(&claim.handle, 100, "");
    let first = ids(&w.read_stream(claim.id, "")).remove(0);
    let ms = first.split('-').next().expect("ms").to_string();
    assert_eq!(
        w.output(claim.id, &format!("from_id => '{ms}', to_id => '{ms}'"))
            .len(),
        100
    );
    assert_eq!(
        w.tail_stream(claim.id, &format!("after_id => '{ms}'"))
            .len(),
        99
    );
}

#[test]
fn v_22_best_effort_frames_can_be_left_out() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    w.frame(&claim.handle, b"durable", "");
    w.frame(&claim.handle, b"best", &best("1 min"));
    w.frame(&claim.handle, b"{}", "mode => 'durable_summary'");
    w.frame(&claim.handle, b"more", &best("1 min"));
    assert_eq!(w.output(claim.id, ""), ["durable", "best", "{}", "more"]);
    let without = "visibility => 'exclude_best_effort'";
    assert_eq!(w.output(claim.id, without), ["durable", "{}"]);
    assert_eq!(
        w.output(claim.id, &format!("{without}, max_items => 2")),
        ["durable", "{}"]
    );
    assert_eq!(
        said(&w.tail_stream(claim.id, &format!("{without}, max_items => 2"))),
        ["durable", "{}"]
    );
    let modes: Vec<String> = w
        .read_stream(claim.id, "")
        .iter()
        .map(|row| row.text("mode"))
        .collect();
    assert_eq!(
        modes,
        [
            "durable",
            "best_effort_live",
            "durable_summary",
            "best_effort_live"
        ]
    );
    w.complete(&claim.handle, None);
    assert_eq!(
        w.output(claim.id, without),
        ["durable", "{}", ". attempt_success"]
    );
}
