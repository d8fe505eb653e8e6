//! `ff_engine.attachment`: which budgets and quota policies apply to what.

use std::collections::HashMap;
use std::rc::Rc;

use pgrx::pg_sys::BuiltinOid::*;
use uuid::Uuid;

use crate::model::execution::Place;
use crate::model::time::Instant;
use crate::pg::array;
use crate::pg::cache::Shared;
use crate::pg::spi::{Db, Row, Rows, Stmt};
use crate::pg::xact;

static ATTACH: Stmt<5> = Stmt::new(
    c"INSERT INTO ff_engine.attachment (target_type, target_id, kind, policy_id, attached_at)
      VALUES ($1, $2, $3::\"char\", $4, $5) ON CONFLICT DO NOTHING",
    [TEXTOID, TEXTOID, TEXTOID, UUIDOID, TIMESTAMPTZOID],
);

static ATTACH_ALL: Stmt<5> = Stmt::new(
    c"INSERT INTO ff_engine.attachment (target_type, target_id, kind, policy_id, attached_at)
      SELECT $5, n.execution_id::text, n.kind::\"char\", n.policy_id, $4
        FROM unnest($1, $2, $3) AS n (execution_id, kind, policy_id) ON CONFLICT DO NOTHING",
    [
        UUIDARRAYOID,
        TEXTARRAYOID,
        UUIDARRAYOID,
        TIMESTAMPTZOID,
        TEXTOID,
    ],
);

static DETACH: Stmt<4> = Stmt::new(
    c"DELETE FROM ff_engine.attachment AS a
       WHERE a.target_type = $1 AND a.target_id = $2 AND a.kind = $3::\"char\" AND a.policy_id = $4",
    [TEXTOID, TEXTOID, TEXTOID, UUIDOID],
);

static NOTE_DETACHED: Stmt<2> = Stmt::new(
    c"WITH budgets AS (UPDATE ff_engine.budget AS b SET detached = $2 WHERE b.budget_id = $1 AND b.detached <> $2)
      UPDATE ff_engine.quota AS q SET detached = $2 WHERE q.quota_policy_id = $1 AND q.detached <> $2",
    [UUIDOID, BOOLOID],
);

static DETACHED: Stmt<1> = Stmt::new(
    c"SELECT FROM ff_engine.budget AS b WHERE b.budget_id = $1 AND b.detached
      UNION ALL
      SELECT FROM ff_engine.quota AS q WHERE q.quota_policy_id = $1 AND q.detached",
    [UUIDOID],
);

/// What applies to whole lanes, namespaces or everything, and whether anything applies to a flow.
static STANDING: Stmt<0> = Stmt::new(
    c"SELECT a.target_type, a.target_id, a.kind::text, a.policy_id FROM ff_engine.attachment AS a
       WHERE a.target_type IN ('lane', 'namespace', 'global')
      UNION ALL
      (SELECT a.target_type, '', a.kind::text, a.policy_id FROM ff_engine.attachment AS a
        WHERE a.target_type = 'flow' LIMIT 1)",
    [],
);

static OWN: Stmt<2> = Stmt::new(
    c"SELECT a.target_type, a.target_id, a.kind::text, a.policy_id FROM ff_engine.attachment AS a
       WHERE a.target_type = 'execution' AND a.target_id = ANY ($1)
      UNION ALL
      SELECT a.target_type, a.target_id, a.kind::text, a.policy_id FROM ff_engine.attachment AS a
       WHERE a.target_type = 'flow' AND a.target_id = ANY ($2)",
    [TEXTARRAYOID, TEXTARRAYOID],
);

static LANES: Stmt<1> = Stmt::new(
    c"SELECT l.lane_id FROM ff_engine.lane AS l
       WHERE EXISTS (SELECT FROM ff_engine.attachment AS a
                      WHERE a.policy_id = $1 AND (a.target_type = 'global' OR a.target_type = 'lane' AND a.target_id = l.name))",
    [UUIDOID],
);

/// A budget or a quota policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Policy {
    /// A budget.
    Budget(Uuid),
    /// A quota policy.
    Quota(Uuid),
}

impl Policy {
    fn parts(self) -> (&'static str, Uuid) {
        match self {
            Policy::Budget(id) => ("b", id),
            Policy::Quota(id) => ("q", id),
        }
    }

    fn of(kind: &str, id: Uuid) -> Policy {
        match kind {
            "b" => Policy::Budget(id),
            _ => Policy::Quota(id),
        }
    }

    /// Its id.
    pub fn id(self) -> Uuid {
        self.parts().1
    }

    /// The budget, if it is one.
    pub fn budget(self) -> Option<Uuid> {
        match self {
            Policy::Budget(id) => Some(id),
            Policy::Quota(_) => None,
        }
    }

    /// The quota policy, if it is one.
    pub fn quota(self) -> Option<Uuid> {
        match self {
            Policy::Quota(id) => Some(id),
            Policy::Budget(_) => None,
        }
    }
}

/// What a policy is attached to.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// `execution`, `flow`, `lane`, `namespace` or `global`.
    pub kind: &'a str,
    /// Its id or name.
    pub id: &'a str,
}

/// What applies to many executions at once. Backends remember it, so that most claims need not ask.
#[derive(Default, Debug)]
pub struct Standing {
    /// To everything.
    pub global: Vec<Policy>,
    /// To a lane, by name.
    pub lanes: HashMap<String, Vec<Policy>>,
    /// To a namespace, by name.
    pub namespaces: HashMap<String, Vec<Policy>>,
    /// Something applies to some flow.
    pub flows: bool,
    /// Any of these.
    pub any: bool,
}

thread_local! {
    static KNOWN: Shared<(), Rc<Standing>> = const { Shared::new() };
}

/// What applies to lanes, namespaces and everything.
pub fn standing(db: &Db) -> Rc<Standing> {
    let read = || {
        let mut all = Standing::default();
        for r in STANDING.run(db, []).iter() {
            let policy = Policy::of(&r.get::<String>(3), r.get(4));
            match r.get::<String>(1).as_str() {
                "global" => all.global.push(policy),
                "lane" => all.lanes.entry(r.get(2)).or_default().push(policy),
                "namespace" => all.namespaces.entry(r.get(2)).or_default().push(policy),
                _ => all.flows = true,
            }
            all.any = true;
        }
        Some(Rc::new(all))
    };
    KNOWN
        .with(|known| known.get_or((), read))
        .unwrap_or_default()
}

/// What applies to executions themselves and to flows, by the target's id.
pub fn own(db: &Db, executions: &[Uuid], flows: &[Uuid]) -> HashMap<Uuid, Vec<Policy>> {
    let mut found: HashMap<Uuid, Vec<Policy>> = HashMap::new();
    if executions.is_empty() && flows.is_empty() {
        return found;
    }
    let rows = run_own(db, executions, flows);
    for r in rows.iter() {
        if let Ok(id) = Uuid::parse_str(&r.get::<String>(2)) {
            let policy = Policy::of(&r.get::<String>(3), r.get(4));
            found.entry(id).or_default().push(policy);
        }
    }
    found
}

fn run_own(db: &Db, executions: &[Uuid], flows: &[Uuid]) -> Rows {
    let texts = |ids: &[Uuid]| -> Vec<String> { ids.iter().map(Uuid::to_string).collect() };
    let (executions, flows) = (texts(executions), texts(flows));
    let args = [
        array::texts(executions.iter().map(String::as_str)),
        array::texts(flows.iter().map(String::as_str)),
    ];
    OWN.run(db, args)
}

/// Everything that applies to an execution, each policy once, ascending.
pub fn effective(
    db: &Db,
    place: &Place,
    limited: bool,
    lane: &str,
    namespace: &str,
) -> Vec<Policy> {
    let standing = standing(db);
    let executions: Vec<Uuid> = limited.then_some(place.id).into_iter().collect();
    let flows: Vec<Uuid> = place.flow.filter(|_| standing.flows).into_iter().collect();
    let own = own(db, &executions, &flows);
    let mut all: Vec<Policy> = own.into_values().flatten().collect();
    all.extend(&standing.global);
    all.extend(standing.lanes.get(lane).into_iter().flatten());
    all.extend(standing.namespaces.get(namespace).into_iter().flatten());
    all.sort_unstable();
    all.dedup();
    all
}

/// Attaches a policy; whether it was not attached there before.
pub fn attach(db: &Db, policy: Policy, target: Target, now: Instant) -> bool {
    announce(db, target.kind);
    let (kind, id) = policy.parts();
    let args = [
        target.kind.into(),
        target.id.into(),
        kind.into(),
        id.into(),
        now.0.into(),
    ];
    !ATTACH.run(db, args).is_empty()
}

/// Has backends read again what they remember. A flow matters to that only if it is the first one.
fn announce(db: &Db, kind: &str) {
    if kind != "execution" && (kind != "flow" || !standing(db).flows) {
        xact::rename();
    }
}

/// Attaches policies to executions or flows that nobody else sees yet.
pub fn attach_new(db: &Db, kind: &str, attachments: &[(Uuid, Policy)], now: Instant) {
    if attachments.is_empty() {
        return;
    }
    announce(db, kind);
    let parts = || attachments.iter().map(|(_, policy)| policy.parts());
    let args = [
        array::uuids(attachments.iter().map(|(id, _)| *id)),
        array::texts(parts().map(|(kind, _)| kind)),
        array::uuids(parts().map(|(_, id)| id)),
        now.0.into(),
        kind.into(),
    ];
    ATTACH_ALL.run(db, args);
}

/// Detaches a policy; whether it was attached there.
pub fn detach(db: &Db, policy: Policy, target: Target) -> bool {
    if target.kind != "execution" {
        xact::rename();
    }
    let (kind, id) = policy.parts();
    let args = [target.kind.into(), target.id.into(), kind.into(), id.into()];
    let gone = !DETACH.run(db, args).is_empty();
    if gone {
        NOTE_DETACHED.run(db, [id.into(), true.into()]);
    }
    gone
}

/// Whether something may wait for a policy that no longer applies to it.
pub fn was_detached(db: &Db, policy: Uuid) -> bool {
    !DETACHED.run(db, [policy.into()]).is_empty()
}

/// Nothing waits any longer for a policy that does not apply to it.
pub fn settled(db: &Db, policy: Uuid) {
    NOTE_DETACHED.run(db, [policy.into(), false.into()]);
}

/// The lanes to which a policy applies as a whole.
pub fn lanes(db: &Db, policy: Uuid) -> Vec<i32> {
    let lane = |r: Row| r.get(1);
    LANES.run(db, [policy.into()]).iter().map(lane).collect()
}
