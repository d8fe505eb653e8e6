//! `ff_engine.edge_group`, and the queue of those whose remaining upstreams are to be cancelled.

use pgrx::pg_sys::BuiltinOid::*;
use uuid::Uuid;

use crate::model::edge_group::{Group, GroupState, Policy};
use crate::model::flow::{CancelPolicy, FlowState};
use crate::model::time::Instant;
use crate::pg::array;
use crate::pg::session;
use crate::pg::spi::{Arg, Db, Row, Stmt};

/// The columns of [`decode`], of a group `g` and its flow `f`.
macro_rules! groups {
    () => {
        "SELECT g.downstream_id, g.flow_id, g.policy, g.k, g.on_satisfied, g.total_deps, g.satisfied_count, g.failed_count, \
                g.skipped_count, g.group_state, g.satisfied_at, g.cancel_siblings_pending, g.cancel_siblings_reason, \
                g.passes_data, f.public_flow_state, f.cancellation_policy, f.cancel_reason \
           FROM ff_engine.edge_group AS g LEFT JOIN ff_engine.flow AS f ON f.flow_id = g.flow_id "
    };
}

static READ: Stmt<1> = Stmt::new(
    sql!(groups!(), "WHERE g.downstream_id = ANY ($1)"),
    [UUIDARRAYOID],
);

/// Nobody waits for this lock, because the child is locked; it fails where a fixed snapshot shows an older version.
static LOCK: Stmt<1> = Stmt::new(
    sql!(
        groups!(),
        "WHERE g.downstream_id = ANY ($1) FOR NO KEY UPDATE OF g"
    ),
    [UUIDARRAYOID],
);

static INSERT: Stmt<7> = Stmt::new(
    c"INSERT INTO ff_engine.edge_group (downstream_id, flow_id, policy, k, on_satisfied, total_deps, satisfied_count, failed_count,
                                        skipped_count, group_state, cancel_siblings_pending, passes_data)
      VALUES ($1, $2, $3, $4, $5, $6, 0, 0, 0, 'pending', false, $7)",
    [UUIDOID, UUIDOID, TEXTOID, INT4OID, TEXTOID, INT4OID, BOOLOID],
);

static DECLARE: Stmt<4> = Stmt::new(
    c"UPDATE ff_engine.edge_group AS g SET policy = $2, k = $3, on_satisfied = $4 WHERE g.downstream_id = $1",
    [UUIDOID, TEXTOID, INT4OID, TEXTOID],
);

static SAVE: Stmt<10> = Stmt::new(
    c"UPDATE ff_engine.edge_group AS g
         SET total_deps = n.total, satisfied_count = n.satisfied, failed_count = n.failed, skipped_count = n.skipped,
             group_state = n.state, satisfied_at = n.satisfied_at, cancel_siblings_pending = n.cancel,
             cancel_siblings_reason = n.reason, passes_data = n.passes
        FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             AS n (id, total, satisfied, failed, skipped, state, satisfied_at, cancel, reason, passes)
       WHERE g.downstream_id = n.id",
    [
        UUIDARRAYOID,
        INT4ARRAYOID,
        INT4ARRAYOID,
        INT4ARRAYOID,
        INT4ARRAYOID,
        TEXTARRAYOID,
        TIMESTAMPTZARRAYOID,
        BOOLARRAYOID,
        TEXTARRAYOID,
        BOOLARRAYOID,
    ],
);

static CANCEL_SIBLINGS: Stmt<3> = Stmt::new(
    c"INSERT INTO ff_engine.sibling_cancel (downstream_id, flow_id, queued_at)
      SELECT n.child, n.flow, $3 FROM unnest($1, $2) AS n (child, flow) ON CONFLICT (downstream_id) DO NOTHING",
    [UUIDARRAYOID, UUIDARRAYOID, TIMESTAMPTZOID],
);

static UNREACHABLE: Stmt<1> = Stmt::new(
    c"SELECT g.downstream_id FROM ff_engine.edge_group AS g
       WHERE g.flow_id = $1 AND g.policy = 'quorum' AND g.k > g.total_deps ORDER BY g.downstream_id LIMIT 20",
    [UUIDOID],
);

/// Counters as the edges say.
static RECOUNT: Stmt<1> = Stmt::new(
    c"SELECT count(*) FILTER (WHERE e.edge_state <> 'pending')::int,
             count(*) FILTER (WHERE e.edge_state = 'satisfied')::int,
             count(*) FILTER (WHERE e.edge_state = 'impossible' AND e.resolved_outcome <> 'skipped')::int,
             count(*) FILTER (WHERE e.edge_state = 'impossible' AND e.resolved_outcome = 'skipped')::int
        FROM ff_engine.edge AS e WHERE e.downstream_id = $1",
    [UUIDOID],
);

/// A group and what its flow's cancellation says, as far as a child's fate depends on it.
#[derive(Clone, Debug)]
pub struct Found {
    /// The group.
    pub group: Group,
    /// The policy of the flow's cancellation, if it has been cancelled.
    pub cancelled: Option<CancelPolicy>,
    /// Why.
    pub cancel_reason: Option<String>,
}

fn decode(r: &Row) -> Found {
    let mut c = r.cursor();
    let (child, flow): (Uuid, Uuid) = (c.next(), c.next());
    let (word, k, then): (String, Option<i32>, Option<String>) = (c.next(), c.next(), c.next());
    let policy = Policy::from_columns(&word, k, then.as_deref());
    let group = Group {
        child,
        flow,
        // The table's constraints leave nothing else.
        policy: policy.unwrap_or(Policy::AllOf),
        total: c.next(),
        satisfied: c.next(),
        failed: c.next(),
        skipped: c.next(),
        state: GroupState::from_word(&c.next::<String>()).unwrap_or(GroupState::Pending),
        satisfied_at: c.next::<Option<i64>>().map(Instant),
        cancel_pending: c.next(),
        cancel_reason: c
            .next::<Option<String>>()
            .and_then(|word| Group::reason(&word)),
        passes_data: c.next(),
    };
    let state: Option<String> = c.next();
    let policy: Option<String> = c.next();
    let cancelled = state.as_deref() == Some(FlowState::Cancelled.word());
    Found {
        group,
        cancelled: policy
            .filter(|_| cancelled)
            .and_then(|word| CancelPolicy::from_word(&word)),
        cancel_reason: c.next(),
    }
}

/// The groups of children.
pub fn read(db: &Db, children: &[Uuid]) -> Vec<Found> {
    let rows = READ.run(db, [array::uuids(children.iter().copied())]);
    rows.iter().map(|r| decode(&r)).collect()
}

/// The groups of locked children. Only under a fixed snapshot, which may be older than those locks, are they locked as
/// well.
pub fn under_lock(db: &Db, children: &[Uuid]) -> Vec<Found> {
    if session::read_committed() {
        return read(db, children);
    }
    let rows = LOCK.run(db, [array::uuids(children.iter().copied())]);
    rows.iter().map(|r| decode(&r)).collect()
}

/// The group of a child.
pub fn of(db: &Db, child: Uuid) -> Option<Found> {
    read(db, &[child]).pop()
}

/// As [`of`], on the snapshot that is active, for reads.
pub fn seen(db: &Db, child: Uuid) -> Option<Found> {
    let rows = READ.read(db, [array::uuids([child])]);
    rows.first().map(|r| decode(&r))
}

/// Stores a new group.
pub fn insert(db: &Db, g: &Group) {
    let args: [Arg; 7] = [
        g.child.into(),
        g.flow.into(),
        g.policy.word().into(),
        g.policy.k().into(),
        g.policy.on_satisfied().map(|then| then.word()).into(),
        g.total.into(),
        g.passes_data.into(),
    ];
    INSERT.run(db, args);
}

/// Changes the policy of a group.
pub fn declare(db: &Db, child: Uuid, policy: Policy) {
    let args = [
        child.into(),
        policy.word().into(),
        policy.k().into(),
        policy.on_satisfied().map(|then| then.word()).into(),
    ];
    DECLARE.run(db, args);
}

/// Writes counters and states.
pub fn save(db: &Db, groups: &[&Group]) {
    if groups.is_empty() {
        return;
    }
    let each = || groups.iter();
    let flags = |flag: fn(&Group) -> bool| array::array(BOOLOID, each().map(|g| flag(g).into()));
    SAVE.run(
        db,
        [
            array::uuids(each().map(|g| g.child)),
            array::ints(each().map(|g| g.total)),
            array::ints(each().map(|g| g.satisfied)),
            array::ints(each().map(|g| g.failed)),
            array::ints(each().map(|g| g.skipped)),
            array::texts(each().map(|g| g.state.word())),
            array::array(
                TIMESTAMPTZOID,
                each().map(|g| g.satisfied_at.map(|at| at.0).into()),
            ),
            flags(|g| g.cancel_pending),
            array::array(TEXTOID, each().map(|g| g.cancel_reason.into())),
            flags(|g| g.passes_data),
        ],
    );
}

/// Queues the cancellation of what remains of groups.
pub fn cancel_siblings(db: &Db, groups: &[&Group], now: Instant) {
    if !groups.is_empty() {
        let children = array::uuids(groups.iter().map(|g| g.child));
        let flows = array::uuids(groups.iter().map(|g| g.flow));
        CANCEL_SIBLINGS.run(db, [children, flows, now.0.into()]);
        crate::pg::xact::due(now.0);
    }
}

/// Some children whose quorum is larger than the number of their edges.
pub fn unreachable(db: &Db, flow: Uuid) -> Vec<Uuid> {
    let rows = UNREACHABLE.run(db, [flow.into()]);
    rows.iter().map(|r| r.get(1)).collect()
}

/// Counts the edges of a locked child anew; whether that changed anything.
pub fn recount(db: &Db, g: &mut Group) -> bool {
    let rows = RECOUNT.run(db, [g.child.into()]);
    let Some(r) = rows.first() else {
        return false;
    };
    let before = (g.total, g.satisfied, g.failed, g.skipped);
    let counted = (r.get(1), r.get(2), r.get(3), r.get(4));
    (g.total, g.satisfied, g.failed, g.skipped) = counted;
    before != counted
}

static FORGET_SIBLINGS: Stmt<1> = Stmt::new(
    c"UPDATE ff_engine.edge_group AS g SET cancel_siblings_pending = false WHERE g.downstream_id = $1",
    [UUIDOID],
);

/// Forgets that what remains of the group of a locked child is to be cancelled.
pub fn forget_siblings(db: &Db, child: Uuid) {
    FORGET_SIBLINGS.run(db, [child.into()]);
}
