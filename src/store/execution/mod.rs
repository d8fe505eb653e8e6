//! `ff_engine.execution`: lock, insert, save.

use pgrx::pg_sys::BuiltinOid::*;
use uuid::Uuid;

use crate::model::due;
use crate::model::execution::Execution;
use crate::model::time::Instant;
use crate::pg::array;
use crate::pg::composite::Composite;
use crate::pg::spi::{Db, Row, Stmt};
use crate::pg::table::{Finder, Held, Named, Table};

use super::{binding, ready, stream};

mod columns;
mod decode;
mod rare;
mod write;

use columns::Column;

pub use decode::{decode, legal};
pub use write::{insert, insert_chosen, save, save_with_detail, save_with_result};

static BY_ID: Table = Table::new(c"execution", 1);
const ID: &[Named] = &[("execution_id", UUIDOID)];

static STATES: Stmt<2> = Stmt::new(
    c"SELECT e.execution_id, ff_engine.public_word(e.state),
             e.partition_key
        FROM ff_engine.execution AS e
       WHERE e.execution_id = ANY ($1) AND ($2 IS NULL OR e.namespace_id = ANY ($2))",
    [UUIDARRAYOID, INT4ARRAYOID],
);

static OUTCOMES: Stmt<2> = Stmt::new(
    c"SELECT n.execution_id,
             ff_engine.public_word(e.state),
             ff_engine.outcome_word(ff_engine.outcome(e.state)), e.completed_at
        FROM unnest($1) WITH ORDINALITY AS n (execution_id, ordinal)
        LEFT JOIN ff_engine.execution AS e ON e.execution_id = n.execution_id
              AND ($2 IS NULL OR e.namespace_id = ANY ($2))
       ORDER BY n.ordinal",
    [UUIDARRAYOID, INT4ARRAYOID],
);

static PURGE: Stmt<1> = Stmt::new(
    c"WITH attempts AS (DELETE FROM ff_engine.attempt AS a WHERE a.execution_id = ANY ($1)),
           inputs AS (DELETE FROM ff_engine.execution_input AS i WHERE i.execution_id = ANY ($1)),
           members AS (DELETE FROM ff_engine.flow_member AS m WHERE m.execution_id = ANY ($1)),
           gone AS (DELETE FROM ff_engine.execution AS e WHERE e.execution_id = ANY ($1)
                    RETURNING e.lane_id, e.namespace_id, ff_engine.public_place(e.state) AS place),
           counted AS (INSERT INTO ff_engine.moved (begun, lane_id, namespace_id, moved, executions)
                       SELECT pg_current_xact_id(), g.lane_id, g.namespace_id, 16 * g.place, count(*)
                         FROM gone AS g GROUP BY g.lane_id, g.namespace_id, g.place)
      SELECT FROM gone",
    [UUIDARRAYOID],
);

/// Locks one execution (G4). One that the calling roles may not see is absent.
pub fn lock(db: &Db, id: Uuid) -> Option<Execution> {
    lock_all(db, &[id]).pop()
}

/// Locks executions in ascending id; absent ones, and those that the calling roles may not see, are left out.
pub fn lock_all(db: &Db, ids: &[Uuid]) -> Vec<Execution> {
    lock_by(db, &binding::visible(db, ids), Held::Wait)
}

/// An execution as it stands, unlocked. One that the calling roles may not see is absent.
pub fn look(db: &Db, id: Uuid) -> Option<Execution> {
    let visible = *binding::visible(db, &[id]).first()?;
    BY_ID.find(db, ID, |finder| finder.read(&[visible.into()], decode))
}

static SHARE: Stmt<2> = Stmt::new(
    c"SELECT e FROM ff_engine.execution AS e
       WHERE e.execution_id = $1 AND ($2 IS NULL OR e.namespace_id = ANY ($2)) FOR SHARE",
    [UUIDOID, INT4ARRAYOID],
);

/// Keeps an execution as it is without excluding others who want the same (§40.3.6).
pub fn share(db: &Db, id: Uuid) -> Option<Execution> {
    let rows = SHARE.run(db, [id.into(), binding::only()]);
    rows.first().map(|r| decode(&r.get::<Composite>(1)))
}

static PHASE: Stmt<2> = Stmt::new(
    c"SELECT ff_engine.lifecycle_word(ff_engine.lifecycle(e.state)), ff_engine.ownership_word(ff_engine.ownership(e.state))
        FROM ff_engine.execution AS e
       WHERE e.execution_id = $1 AND ($2 IS NULL OR e.namespace_id = ANY ($2))",
    [UUIDOID, INT4ARRAYOID],
);

/// Words of an execution's phase and ownership, on the snapshot that is active.
pub fn seen_phase(db: &Db, id: Uuid) -> Option<(String, String)> {
    let rows = PHASE.read(db, [id.into(), binding::only()]);
    rows.first().map(|r| (r.get(1), r.get(2)))
}

/// Executions as they stand, unlocked, whoever calls.
pub fn read(db: &Db, ids: &[Uuid]) -> Vec<Execution> {
    BY_ID.find(db, ID, |finder| {
        finder.expect(ids.len());
        let found = |id: &Uuid| finder.read(&[(*id).into()], decode);
        ids.iter().filter_map(found).collect()
    })
}

/// Reads one execution without a lock, for what time does to it, whoever calls.
pub fn peek(db: &Db, id: Uuid) -> Option<Execution> {
    BY_ID.find(db, ID, |finder| finder.read(&[id.into()], decode))
}

/// Locks those executions that nobody else holds, for what time does to them, whoever calls.
pub fn lock_free(db: &Db, ids: &[Uuid]) -> Vec<Execution> {
    lock_by(db, ids, Held::Skip)
}

fn lock_by(db: &Db, ids: &[Uuid], held: Held) -> Vec<Execution> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Vec::new();
    }
    BY_ID.find(db, ID, |finder| {
        finder.expect(ids.len());
        let mut all = Vec::with_capacity(ids.len());
        let locked = |id: Uuid| finder.lock(&[id.into()], held, decode);
        all.extend(ids.into_iter().filter_map(locked).inspect(hold));
        all
    })
}

/// Locks those executions that nobody else holds and that are wanted as they stand; the others stay untouched.
pub fn lock_wanted(db: &Db, ids: &[Uuid], wanted: impl Fn(&Execution) -> bool) -> Vec<Execution> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    let many = ids.len();
    let lock = |candidates: &Candidates| {
        let locked = |id| candidates.lock(id, &wanted).map(|(e, _)| e);
        ids.into_iter().filter_map(locked).inspect(hold).collect()
    };
    candidates(db, many, lock)
}

/// Calls `work` for those of the items whose execution has ended, with when it may be purged, or is gone; unlocked. The
/// items are read on the snapshot of the executions: with another, what is not shown yet would be taken for gone.
pub fn ends<I: Copy + Into<Uuid>>(
    db: &Db,
    items: impl FnOnce() -> Vec<I>,
    mut work: impl FnMut(I, Option<Instant>),
) {
    BY_ID.find(db, ID, |finder| {
        let items = items();
        finder.expect(items.len());
        for item in items {
            match finder.read(&[item.into().into()], decode::ended) {
                Some(None) => {}
                Some(Some(purge_at)) => work(item, purge_at),
                None => work(item, None),
            }
        }
    });
}

/// Those of the executions that exist, unlocked.
pub fn present(db: &Db, ids: impl IntoIterator<Item = Uuid>) -> Vec<Uuid> {
    BY_ID.find(db, ID, |finder| {
        let there = |id: &Uuid| finder.read(&[(*id).into()], |_| ()).is_some();
        ids.into_iter().filter(there).collect()
    })
}

/// Finds executions that a claim may take, one after the other.
pub struct Candidates<'a>(&'a Finder<'a>);

impl Candidates<'_> {
    /// Whether an execution is wanted as the snapshot shows it, unlocked.
    pub fn is_wanted(&self, id: Uuid, wanted: impl Fn(&Execution) -> bool) -> bool {
        let wanted = |row: &_| wanted(&decode(row));
        self.0.read(&[id.into()], wanted).unwrap_or(false)
    }

    /// Locks an execution if it is free and wanted as it stands under the lock; with its kind.
    pub fn lock(
        &self,
        id: Uuid,
        wanted: impl Fn(&Execution) -> bool,
    ) -> Option<(Execution, String)> {
        self.0.lock_if(&[id.into()], |row| {
            let execution = decode(row);
            wanted(&execution).then(|| (execution, row.get(Column::kind as usize)))
        })
    }
}

/// Lends the finder of candidates, of which about so many will be looked at.
pub fn candidates<T>(db: &Db, many: usize, work: impl FnOnce(&Candidates) -> T) -> T {
    BY_ID.find(db, ID, |finder| {
        finder.expect(many);
        work(&Candidates(finder))
    })
}

/// A claim passes over what is locked, so its queue is looked at again when the lock is gone.
fn hold(e: &Execution) {
    if let Some(entry) = due::ready(e) {
        ready::hold(&entry);
    }
}

/// Public state and partition of executions that the calling roles may see, unlocked.
pub fn states(db: &Db, ids: &[Uuid]) -> Vec<(Uuid, String, i16)> {
    let rows = STATES.run(db, [array::uuids(ids.iter().copied()), binding::only()]);
    rows.iter()
        .map(|r| (r.get(1), r.get(2), r.get(3)))
        .collect()
}

/// How one of several executions stands; nothing but its id is known of one that is absent.
pub struct Standing {
    /// Whose.
    pub id: Uuid,
    /// Public state word.
    pub public_state: Option<String>,
    /// Outcome word, `none` while it has not ended.
    pub outcome: Option<String>,
    /// When it ended.
    pub completed_at: Option<Instant>,
}

/// How executions stand, in the order asked for.
pub fn standings(db: &Db, ids: &[Uuid]) -> Vec<Standing> {
    let row = |r: Row| Standing {
        id: r.get(1),
        public_state: r.get(2),
        outcome: r.get(3),
        completed_at: r.get::<Option<i64>>(4).map(Instant),
    };
    OUTCOMES
        .run(db, [array::uuids(ids.iter().copied()), binding::only()])
        .iter()
        .map(row)
        .collect()
}

/// Few executions ever wait for a signal; one look tells which.
static HAVE_WAITED: Stmt<1> = Stmt::new(
    c"SELECT n.execution_id FROM unnest($1) AS n (execution_id)
       WHERE EXISTS (SELECT FROM ff_engine.waitpoint AS w WHERE w.execution_id = n.execution_id)",
    [UUIDARRAYOID],
);

static PURGE_WAITS: Stmt<1> = Stmt::new(
    c"WITH signals AS (DELETE FROM ff_engine.signal AS g WHERE g.execution_id = ANY ($1)),
           waitpoints AS (DELETE FROM ff_engine.waitpoint AS w WHERE w.execution_id = ANY ($1)),
           keys AS (DELETE FROM ff_engine.suspension_key AS k WHERE k.execution_id = ANY ($1)),
           failures AS (DELETE FROM ff_engine.token_failure AS f WHERE f.execution_id = ANY ($1)),
           suspensions AS (DELETE FROM ff_engine.suspension AS s WHERE s.execution_id = ANY ($1) RETURNING s.suspension_id)
      DELETE FROM ff_engine.satisfier AS f USING suspensions AS s WHERE f.suspension_id = s.suspension_id",
    [UUIDARRAYOID],
);

/// Few executions have limits of their own or spend attributed to them; one look tells which.
static HAVE_LIMITS: Stmt<1> = Stmt::new(
    c"SELECT n.execution_id FROM unnest($1) AS n (execution_id)
       WHERE EXISTS (SELECT FROM ff_engine.attachment AS a WHERE a.target_type = 'execution' AND a.target_id = n.execution_id::text)
          OR EXISTS (SELECT FROM ff_engine.budget_ledger AS l WHERE l.execution_id = n.execution_id)
          OR EXISTS (SELECT FROM ff_engine.quota_slot AS s WHERE s.execution_id = n.execution_id)",
    [UUIDARRAYOID],
);

static PURGE_LIMITS: Stmt<1> = Stmt::new(
    c"WITH attachments AS (DELETE FROM ff_engine.attachment AS a USING unnest($1) AS n (execution_id)
                            WHERE a.target_type = 'execution' AND a.target_id = n.execution_id::text),
           slots AS (UPDATE ff_engine.quota_slot AS s SET execution_id = NULL, acquired_at = NULL WHERE s.execution_id = ANY ($1))
      DELETE FROM ff_engine.budget_ledger AS l WHERE l.execution_id = ANY ($1)",
    [UUIDARRAYOID],
);

/// Deletes executions with everything that belongs to them but events and idempotency keys.
pub fn purge(db: &Db, ids: &[Uuid]) -> usize {
    let waited = HAVE_WAITED.run(db, [array::uuids(ids.iter().copied())]);
    let waited: Vec<Uuid> = waited.iter().map(|r| r.get(1)).collect();
    if !waited.is_empty() {
        PURGE_WAITS.run(db, [array::uuids(waited)]);
    }
    let limited = HAVE_LIMITS.run(db, [array::uuids(ids.iter().copied())]);
    let limited: Vec<Uuid> = limited.iter().map(|r| r.get(1)).collect();
    if !limited.is_empty() {
        PURGE_LIMITS.run(db, [array::uuids(limited)]);
    }
    stream::purge(db, ids);
    PURGE.run(db, [array::uuids(ids.iter().copied())]).len()
}
