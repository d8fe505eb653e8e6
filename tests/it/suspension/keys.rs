//! The ring of signing keys (§20.10).

use postgres::Row;

use crate::support::waiting::{READY, SECRET};
use crate::support::{Cells, World};

fn seed(w: &mut World, arguments: &str) -> Row {
    w.one(
        &format!("SELECT * FROM ff_seed_waitpoint_secret({arguments})"),
        &[],
    )
}

fn rotate(w: &mut World, arguments: &str) -> Row {
    w.one(
        &format!("SELECT * FROM ff_rotate_waitpoint_secret({arguments})"),
        &[],
    )
}

/// `kid role` of every key that signs or verifies.
fn ring(w: &mut World) -> Vec<String> {
    w.rows(
        "SELECT kid || ' ' || role AS line FROM ff_list_waitpoint_kids()",
        &[],
    )
    .iter()
    .map(|row| row.text("line"))
    .collect()
}

#[test]
fn a_change_of_the_ring_that_takes_its_time_holds_up_no_reconciler() {
    let mut w = World::new();
    seed(&mut w, &format!("'k1', {SECRET}"));
    rotate(&mut w, "'k2', grace => '0'");
    w.advance_ms(2 * 86_400_000);
    let mut administrator = w.session();
    administrator.run("BEGIN");
    administrator.rows("SELECT * FROM ff_rotate_waitpoint_secret('k3')", &[]);
    w.run("SET lock_timeout = '1 s'");
    w.reconciles("signal_gc", 0);
    administrator.run("ROLLBACK");
    w.reconciles("signal_gc", 1);
}

#[test]
fn s_41_a_seed_installs_once() {
    let mut w = World::new();
    assert!(ring(&mut w).is_empty());
    let first = seed(&mut w, &format!("'k1', {SECRET}"));
    assert_eq!(
        (first.text("outcome"), first.text("kid")),
        ("seeded".into(), "k1".into())
    );
    let again = seed(&mut w, &format!("'k1', {SECRET}"));
    assert_eq!(
        (again.text("outcome"), again.maybe_flag("same_secret")),
        ("already_seeded".into(), Some(true))
    );
    let other = seed(&mut w, r"'k1', decode(repeat('ab', 40), 'hex')");
    assert_eq!(
        (other.text("outcome"), other.maybe_flag("same_secret")),
        ("already_seeded".into(), Some(false))
    );
    assert_eq!(seed(&mut w, "'k1'").maybe_flag("same_secret"), None);
    let refused = |w: &mut World, code: &str, arguments: &str| {
        w.refused(
            code,
            &format!("SELECT * FROM ff_seed_waitpoint_secret({arguments})"),
            &[],
        )
    };
    assert_eq!(
        refused(&mut w, "FF101", "'k2'").says("rule"),
        "different_kid_active"
    );
    for bytes in [0, 31, 129] {
        refused(
            &mut w,
            "FF121",
            &format!("'k1', decode(repeat('ab', {bytes}), 'hex')"),
        );
    }
    for kid in ["'a:b'", "''", "repeat('k', 65)", "'é'"] {
        refused(&mut w, "FF120", kid);
    }
    assert_eq!(ring(&mut w), ["k1 current"]);
}

#[test]
fn s_42_a_rotation_takes_effect_in_one_step() {
    let mut w = World::new();
    let first = rotate(&mut w, &format!("'k1', {SECRET}"));
    assert_eq!(
        (first.text("outcome"), first.maybe_text("previous_kid")),
        ("rotated".into(), None)
    );
    let old = w.waiting(READY);
    let now = w.now();
    let second = rotate(&mut w, "'k2', decode(repeat('cd', 32), 'hex'), '10 min'");
    assert_eq!(second.maybe_text("previous_kid"), Some("k1".into()));
    let grace = second.instant("previous_expires_at") - now;
    assert!((600_000..610_000).contains(&grace.num_milliseconds()));
    assert_eq!(ring(&mut w), ["k2 current", "k1 verifying"]);
    let new = w.waiting(READY);
    assert!(old.point().token.starts_with("k1:") && new.point().token.starts_with("k2:"));
    assert_eq!(
        w.effect(&old.point(), "ready"),
        "resume_condition_satisfied"
    );
    for repeat in ["'k2'", "'k2', decode(repeat('cd', 32), 'hex'), '1 s'"] {
        assert_eq!(rotate(&mut w, repeat).text("outcome"), "noop");
    }
    let before = w.contents();
    for conflict in ["'k2', decode(repeat('ef', 32), 'hex')", "'k1'"] {
        w.refused(
            "FF308",
            &format!("SELECT * FROM ff_rotate_waitpoint_secret({conflict})"),
            &[],
        );
    }
    for grace in ["-1 s", "3660 days"] {
        let call = format!("SELECT * FROM ff_rotate_waitpoint_secret('k3', grace => '{grace}')");
        w.refused("FF122", &call, &[]);
    }
    assert_eq!(w.contents(), before);
    let words: Vec<String> = w
        .all_events()
        .iter()
        .map(|e| e.word())
        .filter(|e| e.contains("signing"))
        .collect();
    assert_eq!(words, ["operator.signing_key_rotated"; 2]);
}

#[test]
fn s_43_every_key_keeps_its_own_grace() {
    let mut w = World::new();
    let s = w.waiting("ff_cond_count(9, 'signals', '{w}')");
    let p = s.point();
    rotate(&mut w, "'k2', grace => '10 min'");
    w.advance_ms(60_000);
    rotate(&mut w, "'k3', grace => '10 min'");
    assert_eq!(w.effect(&p, "x"), "appended_to_waitpoint");
    assert_eq!(ring(&mut w), ["k3 current", "k1 verifying", "k2 verifying"]);
    w.advance_ms(540_000);
    w.undeliverable("FF130", &p, "");
    let mut forged = p.clone();
    forged.token = format!("k1:{}", "0".repeat(64));
    w.undeliverable("FF108", &forged, "");
    assert_eq!(ring(&mut w), ["k3 current", "k2 verifying"]);
    assert_eq!(rotate(&mut w, "'k4'").int("removed_kids"), 1);
    w.undeliverable("FF108", &p, "");
    w.refused(
        "FF308",
        "SELECT * FROM ff_rotate_waitpoint_secret('k1')",
        &[],
    );
    let erased: i64 = w.value(
        "SELECT count(*) FROM ff_engine.waitpoint_secret WHERE secret IS NULL",
        &[],
    );
    assert_eq!(erased, 1);
    w.advance_ms(3 * 86_400_000);
    w.rows("SELECT * FROM ff_reconcile_signal_gc()", &[]);
    let erased: i64 = w.value(
        "SELECT count(*) FROM ff_engine.waitpoint_secret WHERE secret IS NULL",
        &[],
    );
    assert_eq!(erased, 3);
}

#[test]
fn s_44_a_leaked_key_is_ended_at_once() {
    let mut w = World::new();
    let s = w.waiting(READY);
    w.waiting("ff_cond_all_waitpoints('a', 'b')");
    let current = w.refused("FF101", "SELECT * FROM ff_revoke_waitpoint_kid('k1')", &[]);
    assert_eq!(current.says("rule"), "kid_is_current");
    rotate(&mut w, "'k2'");
    let revoked = w.one("SELECT * FROM ff_revoke_waitpoint_kid('k1')", &[]);
    assert_eq!(
        (revoked.text("outcome"), revoked.int("open_waitpoints")),
        ("revoked".into(), 3)
    );
    w.undeliverable("FF130", &s.point(), "");
    for kid in ["k1", "k9"] {
        let row = w.one("SELECT * FROM ff_revoke_waitpoint_kid($1)", &[&kid]);
        assert_eq!(row.text("outcome"), "unknown");
    }
    assert_eq!(ring(&mut w), ["k2 current"]);
}

#[test]
fn a_session_learns_of_a_rotation_with_its_commit() {
    let mut w = World::new();
    let s = w.waiting("ff_cond_count(9, 'signals', '{w}')");
    let mut other = w.session();
    assert_eq!(other.effect(&s.point(), "x"), "appended_to_waitpoint");
    w.run("BEGIN");
    rotate(&mut w, "'k2', grace => '0'");
    assert_eq!(other.effect(&s.point(), "x"), "appended_to_waitpoint");
    w.run("COMMIT");
    other.undeliverable("FF130", &s.point(), "");
    let mut third = w.session();
    let fresh = third.waiting(READY);
    assert!(fresh.point().token.starts_with("k2:"));
    assert_eq!(
        other.effect(&fresh.point(), "ready"),
        "resume_condition_satisfied"
    );
}
