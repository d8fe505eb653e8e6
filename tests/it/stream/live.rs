//! Best-effort frames: how many stay and how long, what they cost, what a crash leaves (§30.2, §30.5).

use crate::support::cluster::Cluster;
use crate::support::stream::{ascend, best};
use crate::support::{Cells, Session, World};

#[test]
fn v_20_the_window_follows_the_rate() {
    let mut w = World::new();
    let claim = w.claimed("", "lease_ttl => '1 h'");
    for _ in 0..100 {
        w.frame(&claim.handle, b"x", &best("5 s"));
    }
    let status = w.stream_status(claim.id);
    let retained = status.big("retained_best_effort");
    assert!((64..=100).contains(&retained), "{retained}");
    assert_eq!(w.output(claim.id, "").len() as i64, retained);
    assert!(status.get::<_, f64>("best_effort_rate_hz") > 0.0);

    let longer = w.claimed("", "lease_ttl => '1 h'");
    for _ in 0..256 {
        w.frame(&longer.handle, b"x", &best("30 s"));
    }
    assert!(w.stream_status(longer.id).int("best_effort_maxlen") > 64);

    let capped = w.claimed("", "lease_ttl => '1 h'");
    let terms = format!("{}, maxlen_ceiling => 256", best("30 s"));
    for _ in 0..512 {
        w.frame(&capped.handle, b"x", &terms);
    }
    let status = w.stream_status(capped.id);
    assert_eq!(
        (
            status.int("best_effort_maxlen"),
            status.big("retained_best_effort")
        ),
        (256, 256)
    );
    let rate: f64 = status.get("best_effort_rate_hz");
    w.advance_ms(2_000);
    w.frame(&capped.handle, b"x", &terms);
    let slower: f64 = w.stream_status(capped.id).get("best_effort_rate_hz");
    assert!(slower < rate, "{slower} after {rate}");
}

#[test]
fn v_21_best_effort_frames_fade_and_push_nothing_out() {
    let mut w = World::new();
    let claim = w.claimed("", "lease_ttl => '1 h'");
    w.frame(&claim.handle, b"first", "");
    for _ in 0..50 {
        w.frame(&claim.handle, b"x", &best("2 min"));
    }
    w.frame(&claim.handle, b"last", "");
    w.advance_ms(180_000);
    assert_eq!(w.output(claim.id, "").len(), 52, "twice their life");
    w.advance_ms(120_000);
    assert_eq!(w.output(claim.id, ""), ["first", "last"]);
    assert_eq!(w.stream_status(claim.id).big("retained_best_effort"), 0);
    for _ in 0..20 {
        w.append_many(&claim.handle, 1000, &best("1 min"));
    }
    assert_eq!(
        w.output(claim.id, "visibility => 'exclude_best_effort'"),
        ["first", "last"]
    );
    let status = w.stream_status(claim.id);
    assert_eq!(
        (status.big("frame_count"), status.big("retained_durable")),
        (20_052, 2)
    );
    assert!(
        w.count("frame_live") <= 16_384 + 1_700,
        "those beyond the window are deleted"
    );
}

#[test]
fn v_24_terms_of_best_effort_frames_are_checked() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    let before = w.contents();
    for arguments in [
        "mode => 'best_effort_live'".to_string(),
        "ttl => '1 s'".into(),
        "mode => 'durable_summary', ttl => '1 s'".into(),
        best("0"),
        best("-1 s"),
        best("1 h 1 ms"),
        best("1 month"),
        format!("{}, ema_alpha => 0", best("1 s")),
        format!("{}, ema_alpha => 1.5", best("1 s")),
        format!("{}, ema_alpha => 'NaN'", best("1 s")),
        format!("{}, ema_alpha => NULL", best("1 s")),
    ] {
        w.unappendable("FF101", &claim.handle, b"{}", &arguments);
    }
    assert_eq!(w.contents(), before);
    w.frame(&claim.handle, b"x", &best("1 h"));
    w.frame(
        &claim.handle,
        b"x",
        &format!("{}, ema_alpha => 1", best("1 us")),
    );
}

/// How often the server has written out its log; every commit that waits for its flush does.
fn flushes(s: &mut Session) -> i64 {
    s.run("SELECT pg_stat_force_next_flush()");
    let version: i32 = s.value("SELECT current_setting('server_version_num')::int", &[]);
    let sum = if version >= 180_000 {
        "SELECT sum(writes)::bigint FROM pg_stat_io WHERE object = 'wal'"
    } else {
        "SELECT wal_write FROM pg_stat_wal"
    };
    s.value(sum, &[])
}

#[test]
fn v_23_best_effort_frames_cost_no_flush_and_a_crash_forgets_them() {
    let cluster = Cluster::named("crash-streams");
    let mut w = World::on(cluster.clone());
    let claim = w.claimed("", "lease_ttl => '1 h'");
    let durable = w.frame(&claim.handle, b"durable", "");
    w.frame(&claim.handle, b"x", &best("1 h"));
    let start = flushes(&mut w);
    for _ in 0..1000 {
        w.frame(&claim.handle, b"x", &best("1 h"));
    }
    let best_effort = flushes(&mut w) - start;
    assert!(best_effort < 50, "{best_effort} writes of the log");
    let start = flushes(&mut w);
    for _ in 0..100 {
        w.frame(&claim.handle, b"durable", "");
    }
    let logged = flushes(&mut w) - start;
    assert!(logged >= 90, "durable frames are waited for: {logged}");

    let last = w.frame(&claim.handle, b"x", &best("1 h"));
    cluster.crash();
    cluster.start();
    w.reconnect();
    assert_eq!(w.output(claim.id, ""), vec!["durable"; 101]);
    assert!(w.exists(claim.id));
    let next = w.frame(&claim.handle, b"x", &best("1 h"));
    assert!(
        ascend(&[durable, last, next.clone()]),
        "ids are never used again"
    );
    let after = w.frame(&claim.handle, b"after", "");
    assert!(ascend(&[next, after]));
    w.complete(&claim.handle, None);
    assert_eq!(w.output(claim.id, "").len(), 104);
}
