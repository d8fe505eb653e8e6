//! No secret and no token where it does not belong (§20.9, §20.10).

use std::process::Command;
use std::time::Duration;

use crate::support::cluster::{Cluster, script};
use crate::support::pace::eventually;
use crate::support::waiting::READY;
use crate::support::{Cells, Session, World};

/// A server that logs all it can, but not the values of parameters, which are the caller's own.
fn talkative() -> Cluster {
    Cluster::named_with(
        "talkative",
        &[
            "log_statement=all",
            "log_min_messages=debug5",
            "log_parameter_max_length=0",
        ],
    )
}

fn log_of(cluster: &Cluster) -> String {
    let exports = script(&["env", &cluster.name]);
    let path = exports
        .split_whitespace()
        .find_map(|word| word.strip_prefix("FF_PGLOG="))
        .expect("a log")
        .to_string();
    String::from_utf8_lossy(&std::fs::read(path).expect("a readable log")).into_owned()
}

/// Everything that must not be seen: secrets as hex, and the MACs of tokens.
fn secrets(w: &mut Session, tokens: &[String]) -> Vec<String> {
    let mut secrets: Vec<String> = w
        .rows("SELECT encode(secret, 'hex') AS hex FROM ff_engine.waitpoint_secret WHERE secret IS NOT NULL", &[])
        .iter()
        .map(|row| row.text("hex"))
        .collect();
    assert!(secrets.iter().all(|hex| hex.len() == 64));
    secrets.extend(
        tokens
            .iter()
            .filter_map(|t| t.split_once(':'))
            .map(|(_, mac)| mac.to_string()),
    );
    secrets
}

#[track_caller]
fn clean(place: &str, text: &str, secrets: &[String]) {
    assert!(!text.is_empty(), "{place} says something");
    for secret in secrets {
        assert!(!text.contains(secret.as_str()), "{place} shows a secret");
        // A part of it gives away as much of it.
        assert!(
            !text.contains(&secret[..24]),
            "{place} shows a part of a secret"
        );
    }
}

#[test]
fn s_45_secrets_and_tokens_stay_where_they_belong() {
    let mut w = World::on(talkative());
    w.rows("SELECT * FROM ff_seed_waitpoint_secret('k1')", &[]);
    let c = w.claimed("", "");
    let pending = w.create_waitpoint(&c.handle, "wpk:p", "'1 h'");
    let s = w.suspended(c, &format!("{READY}, idempotency_key => 'k'"));
    let mut forged = s.point();
    forged.token.replace_range(
        66..,
        if s.point().token.ends_with('0') {
            "1"
        } else {
            "0"
        },
    );
    w.undeliverable("FF108", &forged, "");
    w.rows(
        "SELECT * FROM ff_rotate_waitpoint_secret('k2', grace => '1 h')",
        &[],
    );
    let shown: Option<String> = w.value("SELECT ff_read_waitpoint_token($1)", &[&s.point().id]);
    assert!(shown.is_some());
    w.rows("SELECT * FROM ff_list_waitpoint_kids()", &[]);
    w.suspend(&s.claim.handle, &format!("{READY}, idempotency_key => 'k'"));
    let tokens = [s.point().token, pending.token.clone(), forged.token.clone()];
    // The test reads the secrets before the log is looked at; the statement names none.
    let secrets = secrets(&mut w, &tokens);
    for (place, query) in [
        (
            "the list of waitpoints",
            "SELECT string_agg(l::text, ',') FROM ff_list_pending_waitpoints($1) l",
        ),
        (
            "a suspension",
            "SELECT string_agg(d::text, ',') FROM ff_describe_suspension($1) d",
        ),
        (
            "events",
            "SELECT string_agg(e::text, ',') FROM ff_execution_events($1) e",
        ),
    ] {
        let text: String = w.value(query, &[&s.id]);
        clean(place, &text, &secrets);
    }
    for (place, query) in [
        (
            "the table of keys",
            "SELECT string_agg(k::text, ',') FROM ff_engine.suspension_key k",
        ),
        (
            "the waitpoints",
            "SELECT string_agg(p::text, ',') FROM ff_engine.waitpoint p",
        ),
        (
            "the log of events",
            "SELECT string_agg(e::text, ',') FROM ff_engine.event e",
        ),
        (
            "statistics",
            "SELECT string_agg(a::text, ',') FROM pg_stat_activity a",
        ),
    ] {
        let text: String = w.value(query, &[]);
        clean(place, &text, &secrets);
    }
    w.effect(&s.point(), "ready");
    let program = std::env::var("FF_PG_BINDIR").map_or("pg_dump".into(), |dir| dir + "/pg_dump");
    let dump = Command::new(program)
        .args([
            "-h",
            &w.cluster.host,
            "-p",
            &w.cluster.port.to_string(),
            "-U",
            &w.cluster.user,
            &w.database,
        ])
        .output()
        .expect("pg_dump runs");
    assert!(
        dump.status.success(),
        "{}",
        String::from_utf8_lossy(&dump.stderr)
    );
    let dump = String::from_utf8_lossy(&dump.stdout).into_owned();
    assert!(
        dump.contains("ff_engine.waitpoint "),
        "waitpoints are dumped"
    );
    assert!(
        !dump.contains("COPY ff_engine.waitpoint_secret"),
        "keys are not"
    );
    clean("a dump", &dump, &secrets);
    let log = log_of(&w.cluster);
    assert!(log.contains("ff_deliver_signal") && log.contains("DEBUG"));
    assert!(log.contains("refused waitpoint tokens of k1:<REDACTED:len=64>"));
    assert!(log.contains("was shown the token k1:<REDACTED:len=64>"));
    clean("the server's log", &log, &secrets);
    let redacted =
        |w: &mut World, text: &str| -> String { w.value("SELECT ff_redact_token($1)", &[&text]) };
    assert_eq!(redacted(&mut w, &tokens[0]), "k1:<REDACTED:len=64>");
    assert_eq!(redacted(&mut w, "abc"), "<REDACTED:malformed>");
}

#[test]
fn refused_tokens_are_counted_by_key_and_reason() {
    let mut w = World::new();
    let s = w.waiting(READY);
    let mut forged = s.point();
    for (token, code) in [
        (format!("k1:{}", "0".repeat(64)), "FF108"),
        (format!("k1:{}", "1".repeat(64)), "FF108"),
        (format!("k9:{}", "0".repeat(64)), "FF108"),
        ("nonsense".to_string(), "FF108"),
        (String::new(), "FF108"),
    ] {
        forged.token = token;
        w.undeliverable(code, &forged, "");
    }
    w.rows(
        "SELECT * FROM ff_rotate_waitpoint_secret('k2', grace => '0')",
        &[],
    );
    w.undeliverable("FF130", &s.point(), "");
    let text: String = w.value("SELECT ff_metrics()", &[]);
    let told: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("ff_token_refusals_total"))
        .collect();
    assert_eq!(
        told,
        [
            r#"{kid="",reason="malformed"} 1"#,
            r#"{kid="",reason="missing"} 1"#,
            r#"{kid="",reason="wrong"} 1"#,
            r#"{kid="k1",reason="expired"} 1"#,
            r#"{kid="k1",reason="wrong"} 2"#,
        ]
    );
}

#[test]
fn a_refused_token_is_noted_at_its_execution() {
    let mut w = World::new();
    let s = w.waiting(READY);
    assert!(
        w.suspension(s.id)
            .maybe_instant("last_token_failure_at")
            .is_none()
    );
    let mut forged = s.point();
    forged.token = format!("k1:{}", "0".repeat(64));
    w.undeliverable("FF108", &forged, "");
    // The background worker of the database may be quicker.
    let noted = eventually(Duration::from_secs(60), || {
        w.rows("SELECT * FROM ff_reconcile_pending_waitpoint()", &[]);
        w.suspension(s.id)
            .maybe_instant("last_token_failure_at")
            .is_some()
    });
    assert!(noted);
}
