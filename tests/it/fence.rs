//! Handles and the fence: who may still act on an execution (§10.13).

use uuid::Uuid;

use crate::support::handle::Bytes;
use crate::support::{Cells, Session, World};

/// Every operation of a worker, by its call with the handle as `$1`.
pub const WORKER_CALLS: [&str; 7] = [
    "SELECT * FROM ff_renew($1)",
    "SELECT ff_progress($1, 5, 'x')",
    "SELECT * FROM ff_complete($1)",
    "SELECT * FROM ff_fail($1, 'x')",
    "SELECT * FROM ff_cancel($1, 'x')",
    "SELECT * FROM ff_delay($1, ff_server_time() + interval '1 min')",
    "SELECT * FROM ff_wait_children($1)",
];

#[track_caller]
fn all_refused(session: &mut Session, sqlstate: &str, handle: &str) {
    let before = session.contents();
    for call in WORKER_CALLS {
        session.refused(sqlstate, call, &[&handle]);
    }
    assert_eq!(session.contents(), before, "a failing fence writes nothing");
}

#[test]
fn e_42_texts_that_are_no_handles_are_refused_by_their_defect() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    let good = &claim.handle;
    let cut = &good[..good.len() - 1];
    let plus = format!("{}+", cut);
    let unknown_kind = Bytes::of(good).with_kind(9).text();
    for (text, defect) in [
        ("", "prefix"),
        ("nonsense", "prefix"),
        (&good.replace("ffh1.", "ffh2."), "version"),
        (cut, "length"),
        (&format!("{good}A"), "length"),
        (&plus, "alphabet"),
        (&unknown_kind, "kind"),
    ] {
        for call in WORKER_CALLS
            .iter()
            .chain(["SELECT * FROM ff_handle_info($1)"].iter())
        {
            let failure = w.refused("FF129", call, &[&text]);
            failure.mentions(defect);
        }
    }
    let foreign = Bytes::of(good).of_another_installation().text();
    all_refused(&mut w, "FF126", &foreign);
}

#[test]
fn e_42_a_handle_can_be_read_without_touching_state() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    let bytes = Bytes::of(&claim.handle);
    assert_eq!(
        (bytes.kind(), bytes.execution(), bytes.attempt_index()),
        (0, claim.id, 0)
    );
    assert_eq!(
        (bytes.attempt(), bytes.lease(), bytes.epoch()),
        (claim.attempt_id, claim.lease_id, 1)
    );
    assert_eq!(
        claim.lease_id.get_version_num(),
        4,
        "the secret part is a random uuid"
    );
    let info = w.one("SELECT * FROM ff_handle_info($1)", &[&claim.handle]);
    assert_eq!(
        (info.uuid("execution_id"), info.int("attempt_index")),
        (claim.id, 0)
    );
    assert_eq!(
        (info.uuid("attempt_id"), info.uuid("lease_id")),
        (claim.attempt_id, claim.lease_id)
    );
    assert_eq!(
        (info.big("lease_epoch"), info.text("kind")),
        (1, "fresh".into())
    );
}

#[test]
fn e_43_the_holder_of_an_older_epoch_can_do_nothing() {
    let mut w = World::new();
    let lost = w.claimed("", "lease_ttl => '1 s'");
    w.advance_ms(1_000);
    let current = w.claim("worker => 'w2'");
    assert_eq!(current.epoch, 2);
    all_refused(&mut w, "FF401", &lost.handle);
    let failure = w.refused("FF401", WORKER_CALLS[2], &[&lost.handle]);
    assert!(
        failure.detail.to_string().contains('2'),
        "the current epoch is told: {failure:?}"
    );
    assert_eq!(
        w.complete(&current.handle, None).text("outcome"),
        "completed"
    );
}

#[test]
fn e_43_another_lease_id_of_the_right_epoch_is_stale() {
    let mut w = World::new();
    let claim = w.claimed("", "");
    all_refused(
        &mut w,
        "FF401",
        &Bytes::of(&claim.handle).with_another_lease().text(),
    );
    all_refused(
        &mut w,
        "FF401",
        &Bytes::of(&claim.handle).with_epoch(2).text(),
    );
    all_refused(
        &mut w,
        "FF401",
        &Bytes::of(&claim.handle).with_epoch(0).text(),
    );
}

#[test]
fn e_43_a_handle_moved_to_another_execution_is_stale_or_finds_nothing() {
    let mut w = World::new();
    let one = w.claimed("", "");
    let other = w.claimed("", "");
    let moved = Bytes::of(&one.handle).with_execution(other.id).text();
    all_refused(&mut w, "FF401", &moved);
    let nowhere = Bytes::of(&one.handle).with_execution(Uuid::new_v4()).text();
    all_refused(&mut w, "FF001", &nowhere);
}

#[test]
fn e_44_an_elapsed_lease_is_worthless_before_anybody_marks_it() {
    let mut w = World::new();
    let claim = w.claimed("", "lease_ttl => '10 s'");
    w.advance_ms(10_000);
    all_refused(&mut w, "FF402", &claim.handle);
    let info = w.one("SELECT * FROM ff_read_execution_info($1)", &[&claim.id]);
    assert_eq!(info.text("ownership_state"), "leased", "still unmarked");
    w.reconciles("lease_expiry", 1);
    all_refused(&mut w, "FF402", &claim.handle);
}

/// The clock cannot be stopped at an instant, but the lease can be moved under it: a
/// transaction that takes the expiry as its time shows the comparison.
#[test]
fn e_44_the_instant_of_expiry_itself_is_too_late() {
    let mut w = World::new();
    let claim = w.claimed("", "lease_ttl => '10 s'");
    // Every refusal up to here is of an execution whose lease runs exactly to the clock or less.
    let left: i64 = w.value(
        "SELECT (extract(epoch FROM lease_expires_at - ff_server_time()) * 1000)::bigint
           FROM ff_describe_execution($1)",
        &[&claim.id],
    );
    w.advance_ms(left + 1);
    w.refused("FF402", WORKER_CALLS[0], &[&claim.handle]);
}

#[test]
fn e_45_a_terminal_execution_tells_what_became_of_it() {
    let mut w = World::new();
    let lost = w.claimed("", "lease_ttl => '1 s'");
    w.advance_ms(1_000);
    let winner = w.claim("");
    w.complete(&winner.handle, None);
    for call in WORKER_CALLS {
        let failure = w.refused("FF210", call, &[&lost.handle]);
        assert_eq!(failure.says("execution_id"), lost.id.to_string());
        assert_eq!(failure.says("lifecycle_phase"), "terminal");
        assert_eq!(failure.says("terminal_outcome"), "success");
        assert_eq!(failure.says("public_state"), "completed");
        assert_eq!(failure.detail["lease_epoch"], 2);
        assert_eq!(failure.detail["attempt_index"], 1);
        assert_eq!(failure.says("attempt_id"), winner.attempt_id.to_string());
    }
}

#[test]
fn e_45_a_released_execution_is_not_active() {
    let mut w = World::new();
    let claim = w.claimed(r#"policy => '{"retry_policy":{}}'"#, "");
    w.fail(&claim.handle, "later", "");
    let failure = w.refused("FF210", WORKER_CALLS[0], &[&claim.handle]);
    assert_eq!(failure.says("lifecycle_phase"), "runnable");
}

#[test]
fn e_46_an_old_transaction_does_not_make_a_lease_look_live() {
    let mut w = World::new();
    let claim = w.claimed("", "lease_ttl => '10 s'");
    w.run("BEGIN");
    w.value::<chrono::DateTime<chrono::Utc>>("SELECT now()", &[]);
    w.advance_ms(10_000);
    w.refused("FF402", "SELECT * FROM ff_complete($1)", &[&claim.handle]);
    w.run("ROLLBACK");
}

#[test]
fn e_46_a_wait_for_the_row_lock_does_not_make_a_lease_look_live() {
    let mut w = World::new();
    let claim = w.claimed("", "lease_ttl => '1500 ms'");
    let mut holder = w.session();
    holder.run("BEGIN");
    holder.one("SELECT * FROM ff_renew($1, '1500 ms')", &[&claim.handle]);

    let mut late = w.session();
    let (pid, handle) = (late.pid(), claim.handle.clone());
    let waiting = crate::support::pace::apart(move || {
        late.failure("SELECT * FROM ff_complete($1)", &[&handle])
            .sqlstate
    });
    w.waits_until_blocked(pid);
    let expired = crate::support::pace::eventually(std::time::Duration::from_secs(60), || {
        holder.value(
            "SELECT lease_expires_at <= ff_server_time() FROM ff_describe_execution($1)",
            &[&claim.id],
        )
    });
    assert!(expired);
    holder.run("COMMIT");
    assert_eq!(
        waiting.outcome(),
        "FF402",
        "the clock is read after the row lock"
    );
}
