//! Claiming through an external scheduler (§10.12): helpers shared by its tests.

mod issue;
mod reclaim;
mod select;
mod take;

use postgres::Row;
use uuid::Uuid;

use crate::support::{Cells, Claim, Session, World};

const TAKE: &str = "SELECT * FROM ff_claim_execution($1, 'w', 'w-1')";
const RESUME: &str = "SELECT * FROM ff_claim_resumed_execution($1, 'w', 'w-1')";
const SEIZE: &str = "SELECT * FROM ff_issue_grant_and_claim($1, '30 s')";

#[track_caller]
fn issue(w: &mut Session, id: Uuid, more: &str) -> Row {
    let more = lasting(more);
    let call = format!("SELECT * FROM ff_issue_claim_grant($1, 'w'{more})");
    let row = w.one(&call, &[&id]);
    assert_eq!(row.uuid("execution_id"), id);
    row
}

#[track_caller]
fn granted(w: &mut Session, id: Uuid, more: &str) -> Uuid {
    let row = issue(w, id, more);
    assert_eq!(row.text("outcome"), "granted");
    row.uuid("grant_id")
}

fn select(w: &mut Session, more: &str) -> Row {
    let more = lasting(more);
    let call = format!("SELECT * FROM ff_claim_for_worker('L', 'w', 'w-1'{more})");
    w.one(&call, &[])
}

/// A grant lapses when the test says so, and not because the machine is slow.
fn lasting(more: &str) -> String {
    if more.contains("grant_ttl") {
        more.to_string()
    } else {
        format!("{more}, grant_ttl => '1 min'")
    }
}

fn scan(w: &mut Session, more: &str) -> Vec<Uuid> {
    w.rows(&format!("SELECT * FROM ff_scan_eligible('L'{more})"), &[])
        .iter()
        .map(|row| row.uuid("execution_id"))
        .collect()
}

fn grants(w: &mut Session) -> i64 {
    w.value(
        "SELECT count(*) FROM ff_engine.execution_row WHERE grant_id IS NOT NULL",
        &[],
    )
}

/// A worker that paused at once: its attempt is interrupted and claimable.
fn interrupted(w: &mut World) -> Claim {
    let claim = w.claimed("", "");
    w.one(
        "SELECT * FROM ff_delay($1, ff_server_time())",
        &[&claim.handle],
    );
    claim
}
