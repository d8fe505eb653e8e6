//! Admission of what a claim is about to hand out (§50.9).
//!
//! A claim in a lane that no budget or quota concerns asks nothing: what applies to lanes, namespaces and everything is
//! remembered, and an execution with policies of its own says so in its row.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::guc;
use crate::model::due;
use crate::model::execution::Execution;
use crate::model::quota::{Denial, Quota};
use crate::model::time::Instant;
use crate::model::transition::{self, Change, Denied};
use crate::model::words::{Blocking, Eligibility, Lifecycle};
use crate::pg::spi::Db;
use crate::store;
use crate::store::attachment::{self, Policy, Standing};
use crate::store::budget::room::{self, Full};
use crate::store::quota;
use crate::store::ready::Candidate;

use super::super::clock;
use super::super::quota::admit::{self, DEFAULT, Taken, Verdict};

/// What a lane as a whole is allowed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Everything, as far as the lane is concerned.
    Open,
    /// Only what lost its lease: it holds its slots already.
    ReclaimOnly,
    /// Nothing.
    Closed,
}

/// What becomes of a candidate.
pub enum Admission {
    /// It may be handed out, and holds the slots of these quotas from then on.
    Admitted(Vec<Uuid>),
    /// It waits for a budget or a quota.
    Blocked(Box<Change>),
    /// It stays as it is, for a later claim.
    Left,
}

/// The policies that one call has met, each read once.
pub struct Gate {
    standing: Rc<Standing>,
    lane: String,
    /// What applies to executions and flows, by id.
    own: HashMap<Uuid, Vec<Policy>>,
    /// Budgets, and what they lack.
    budgets: HashMap<Uuid, Option<Full>>,
    quotas: HashMap<Uuid, Quota>,
    denials: i64,
    /// What the lane is allowed.
    pub state: Lane,
    /// Executions left as they are.
    pub left: Vec<Uuid>,
}

/// What a look at a lane without locks says: whether its budgets and quotas, and those of everything, admit anything.
///
/// # Errors
/// `invariant_violation` for a policy that is attached and not there.
pub fn lane_state(db: &Db, lane: &str) -> Result<Lane> {
    Gate::open(db, lane).map(|gate| gate.state)
}

impl Gate {
    /// Asks the budgets and quotas of a lane and of everything.
    ///
    /// # Errors
    /// `invariant_violation` for a policy that is attached and not there.
    pub fn open(db: &Db, lane: &str) -> Result<Gate> {
        let mut gate = Gate {
            standing: attachment::standing(db),
            lane: lane.to_owned(),
            own: HashMap::new(),
            budgets: HashMap::new(),
            quotas: HashMap::new(),
            denials: 0,
            state: Lane::Open,
            left: Vec::new(),
        };
        if !gate.standing.any {
            return Ok(gate);
        }
        let wide: Vec<Policy> = gate.wide().collect();
        if wide.is_empty() {
            return Ok(gate);
        }
        gate.learn(db, &wide)?;
        let budgets = wide.iter().filter_map(|p| p.budget());
        let mut quotas = wide.iter().filter_map(|p| gate.quotas.get(&p.quota()?));
        gate.state = if budgets.into_iter().any(|id| gate.full(id).is_some()) {
            Lane::Closed
        } else if quotas.any(|q| admit::would_deny(db, q).is_some()) {
            Lane::ReclaimOnly
        } else {
            Lane::Open
        };
        Ok(gate)
    }

    /// Whether the call may block no more candidates.
    pub fn weary(&self) -> bool {
        self.denials >= i64::from(guc::CLAIM_DENY_LIMIT.value.get())
    }

    /// Reads what applies to these candidates, as far as it is not known.
    ///
    /// # Errors
    /// `invariant_violation` for a policy that is attached and not there.
    pub fn prepare(
        &mut self,
        db: &Db,
        candidates: &[Candidate],
        queues: &[(i32, String)],
    ) -> Result<()> {
        let executions = candidates.iter().map(|c| &c.execution);
        if executions.clone().all(|e| self.is_free(e)) {
            return Ok(());
        }
        let limited: Vec<Uuid> = executions
            .clone()
            .filter(|e| e.limited)
            .map(|e| e.place.id)
            .collect();
        let flows: BTreeSet<Uuid> = executions
            .clone()
            .filter(|_| self.standing.flows)
            .filter_map(|e| e.place.flow)
            .collect();
        let flows: Vec<Uuid> = flows
            .into_iter()
            .filter(|id| !self.own.contains_key(id))
            .collect();
        let found = attachment::own(db, &limited, &flows);
        for id in limited.into_iter().chain(flows) {
            self.own
                .insert(id, found.get(&id).cloned().unwrap_or_default());
        }
        let narrow = executions.flat_map(|e| self.narrow(e, namespace(queues, e)));
        let narrow: BTreeSet<Policy> = narrow.collect();
        self.learn(db, &narrow.into_iter().collect::<Vec<_>>())
    }

    /// Decides about a prepared candidate, and takes what its quotas ask for.
    pub fn admit(
        &mut self,
        db: &Db,
        e: &Execution,
        queues: &[(i32, String)],
        now: Instant,
    ) -> Admission {
        if self.weary() {
            return self.leave(e);
        }
        if self.is_free(e) {
            return Admission::Admitted(Vec::new());
        }
        let narrow: BTreeSet<Policy> = self.narrow(e, namespace(queues, e)).collect();
        let lost = e.vector.lifecycle == Lifecycle::Active;
        let budgets = narrow.iter().filter_map(|p| p.budget());
        if let Some(full) = budgets.into_iter().find_map(|id| self.full(id)) {
            let denied = denied(full);
            self.denials += 1;
            if lost {
                return self.leave(e);
            }
            let state = (Eligibility::Budget, Blocking::Budget);
            let change = transition::deny(e.clone(), state, denied, now);
            return Admission::Blocked(Box::new(change));
        }
        // A lost lease has kept its slots.
        if lost {
            return Admission::Admitted(Vec::new());
        }
        if self.state != Lane::Open {
            return self.leave(e);
        }
        self.admit_by_quotas(db, e, &narrow, now)
    }

    fn admit_by_quotas(
        &mut self,
        db: &Db,
        e: &Execution,
        narrow: &BTreeSet<Policy>,
        now: Instant,
    ) -> Admission {
        let id = e.place.id;
        let wide: BTreeSet<Uuid> = self.wide().filter_map(Policy::quota).collect();
        let mut all = wide.clone();
        all.extend(narrow.iter().filter_map(|p| p.quota()));
        let quotas: Vec<Quota> = all
            .iter()
            .filter_map(|id| self.quotas.get(id).copied())
            .collect();
        let mut taken: Vec<(Quota, Taken)> = Vec::new();
        let mut refusal: Option<(Quota, Denial)> = None;
        for q in &quotas {
            match admit::ask(db, q, id, DEFAULT) {
                Verdict::Already => taken.push((*q, Taken::default())),
                Verdict::Admitted(what) => taken.push((*q, what)),
                Verdict::Denied(denial) => {
                    refusal = Some((*q, denial));
                    break;
                }
            }
        }
        let Some((q, denial)) = refusal else {
            let capped = quotas.iter().filter(|q| q.limits.concurrent > 0);
            return Admission::Admitted(capped.map(|q| q.id).collect());
        };
        for (q, what) in &taken {
            admit::give_back(db, q, id, DEFAULT, what);
        }
        if wide.contains(&q.id) {
            // Every other fresh candidate would meet the same.
            self.state = Lane::ReclaimOnly;
            return self.leave(e);
        }
        self.denials += 1;
        let denied = Denied {
            policy: q.id,
            detail: denial.detail(&q),
            // By a clock no earlier than the one that the wait was reckoned from.
            recheck_at: denial.recheck_at(clock::now()),
        };
        let state = (Eligibility::Quota, Blocking::Quota);
        Admission::Blocked(Box::new(transition::deny(e.clone(), state, denied, now)))
    }

    /// Leaves a candidate in its queue, where later claims find it once this transaction has ended.
    fn leave(&mut self, e: &Execution) -> Admission {
        self.left.push(e.place.id);
        if let Some(entry) = due::ready(e) {
            store::ready::hold(&entry);
        }
        Admission::Left
    }

    /// Whether nothing at all applies to an execution, so that most claims have nothing to ask.
    fn is_free(&self, e: &Execution) -> bool {
        !self.standing.any && !e.limited
    }

    /// What applies to the lane and to everything.
    fn wide(&self) -> impl Iterator<Item = Policy> {
        let lane = self.standing.lanes.get(&self.lane);
        self.standing
            .global
            .iter()
            .chain(lane.into_iter().flatten())
            .copied()
    }

    /// What applies to an execution, its flow or its namespace.
    fn narrow(&self, e: &Execution, namespace: &str) -> impl Iterator<Item = Policy> {
        let own = self.own.get(&e.place.id).filter(|_| e.limited);
        let flow = e.place.flow.and_then(|flow| self.own.get(&flow));
        let namespace = self.standing.namespaces.get(namespace);
        let all = own.into_iter().chain(flow).chain(namespace);
        all.flatten().copied()
    }

    /// What a budget lacks, if it lacks anything.
    fn full(&self, budget: Uuid) -> Option<&Full> {
        self.budgets.get(&budget)?.as_ref()
    }

    /// Reads policies that this call has not met before.
    fn learn(&mut self, db: &Db, policies: &[Policy]) -> Result<()> {
        let budgets: Vec<Uuid> = policies
            .iter()
            .filter_map(|p| p.budget())
            .filter(|id| !self.budgets.contains_key(id))
            .collect();
        if !budgets.is_empty() {
            let known = room::known(db, &budgets);
            if let Some(missing) = budgets.iter().find(|id| !known.contains(id)) {
                return Err(dangling(store::budget::not_found(*missing)));
            }
            let full = room::full(db, &budgets);
            for id in budgets {
                let lacks = full.iter().find(|f| f.budget == id).cloned();
                self.budgets.insert(id, lacks);
            }
        }
        let quotas: Vec<Uuid> = policies
            .iter()
            .filter_map(|p| p.quota())
            .filter(|id| !self.quotas.contains_key(id))
            .collect();
        if !quotas.is_empty() {
            let found = quota::load(db, &quotas).map_err(dangling)?;
            self.quotas.extend(found.into_iter().map(|q| (q.id, q)));
        }
        Ok(())
    }
}

/// What a full budget says of an execution.
pub fn denied(full: &Full) -> Denied {
    Denied {
        policy: full.budget,
        detail: full.detail(),
        recheck_at: full.next_reset_at,
    }
}

fn namespace<'q>(queues: &'q [(i32, String)], e: &Execution) -> &'q str {
    let queue = queues.iter().find(|(id, _)| *id == e.place.queue);
    queue.map_or("", |(_, name)| name.as_str())
}

/// An attachment that names nothing never admits.
fn dangling(error: Error) -> Error {
    Error::new(Kind::InvariantViolation).say(error.message())
}
