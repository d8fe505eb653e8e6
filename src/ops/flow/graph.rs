//! Creates a whole flow from one document (§40.11), set-based: T1, T2 and T2a for its members.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::guc;
use crate::model::execution::Execution;
use crate::model::flow::document::{self, Document, Fault, Node, Rules, When, member};
use crate::model::time::{Instant, MS};
use crate::model::transition::{Blob, Change};
use crate::model::words::{Blocking, Eligibility};
use crate::model::{id, text};
use crate::pg::session;
use crate::pg::spi::Db;
use crate::store;
use crate::store::attachment::{self, Policy};
use crate::store::flow_graph::{self, Existing};
use crate::store::input::Input;
use crate::store::lane::Lane;

use super::super::execution::create::{self, Checked, Request};
use super::super::limit::attach;
use super::super::role::namespace::admitted;
use super::super::{clock, lane, save};

/// What became of a document.
pub struct Graph {
    /// `created` or `already_satisfied`.
    pub outcome: &'static str,
    /// The flow.
    pub flow: Uuid,
    /// Its graph revision.
    pub revision: i64,
    /// Its members.
    pub nodes: i32,
    /// Its edges.
    pub edges: i32,
    /// Node names and what they stand for.
    pub members: Map<String, Value>,
}

/// Creates the flow of a document, or finds it created.
///
/// # Errors
/// `invalid_input` with the faults of the document, `idempotency_conflict`, `lane_not_accepting`, `unauthorized`.
pub fn create(db: &Db, value: &Value, key: Option<&str>) -> Result<Graph> {
    if let Some(key) = key {
        text::identifier("idempotency_key", key)?;
    }
    let d = parse(value, key).map_err(|faults| document::refusal(&faults))?;
    admitted(db, &d.namespace)?;
    // Lanes come before flows in the order of locks.
    let names: BTreeSet<&str> = lane_names(&d).collect();
    let lanes: BTreeMap<&str, Lane> = names
        .into_iter()
        .map(|name| (name, lane::ensure(db, name)))
        .collect();
    let namespace = lane::ensure_namespace(db, &d.namespace);
    let now = clock::now();
    let partition = i16::from(id::partition_of(d.flow));
    if !flow_graph::insert_flow(db, &d, partition, namespace, now) {
        return found(db, &d);
    }
    for (name, lane) in &lanes {
        create::accepting(name, lane)?;
    }
    let faults = strangers(db, &d);
    if !faults.is_empty() {
        return Err(document::refusal(&faults));
    }
    insert(db, &d, &lanes, namespace, now);
    Ok(answer("created", &d, &written(&d)))
}

/// What is wrong with a document.
pub fn validate(db: &Db, value: &Value) -> Vec<Fault> {
    match parse(value, None) {
        Err(faults) => faults,
        Ok(d) if flow_graph::existing(db, d.flow).is_none() => strangers(db, &d),
        Ok(_) => Vec::new(),
    }
}

fn parse(value: &Value, key: Option<&str>) -> std::result::Result<Document, Vec<Fault>> {
    let setting = |setting: &guc::Int| usize::try_from(setting.value.get()).unwrap_or_default();
    let rules = Rules {
        nodes: setting(&guc::MAX_FLOW_NODES),
        edges: setting(&guc::MAX_FLOW_EDGES),
        payload_bytes: setting(&guc::MAX_PAYLOAD_BYTES),
        instant: &|text| session::parse_timestamp(text).map(Instant),
    };
    document::parse(value, key, clock::mint(None), &rules)
}

fn lane_names(d: &Document) -> impl Iterator<Item = &str> {
    d.nodes.iter().filter_map(|n| n.spec.lane.as_deref())
}

/// The flow of the id stands already, of the same document or of another.
fn found(db: &Db, d: &Document) -> Result<Graph> {
    let existing = flow_graph::existing(db, d.flow);
    match existing {
        Some(e) if e.digest.as_deref() == Some(d.digest.as_slice()) => {
            Ok(answer("already_satisfied", d, &e))
        }
        _ => Err(Error::new(Kind::IdempotencyConflict)
            .say("the flow exists and was made from another document, or from none")
            .with("flow_id", d.flow.to_string())),
    }
}

fn written(d: &Document) -> Existing {
    Existing {
        digest: None,
        revision: (d.nodes.len() + d.edges.len()) as i64,
        nodes: d.nodes.len() as i32,
        edges: d.edges.len() as i32,
    }
}

fn answer(outcome: &'static str, d: &Document, e: &Existing) -> Graph {
    let pair = |n: &Node| (n.name.clone(), Value::from(n.id.to_string()));
    Graph {
        outcome,
        flow: d.flow,
        revision: e.revision,
        nodes: e.nodes,
        edges: e.edges,
        members: d.nodes.iter().map(pair).collect(),
    }
}

/// Ids that others have, and limits that nobody has defined.
fn strangers(db: &Db, d: &Document) -> Vec<Fault> {
    let faults = document::Faults::default();
    for (id, edge) in flow_graph::taken(db, d) {
        if edge {
            let edge = d.edges.iter().find(|e| e.id == id);
            edge.into_iter()
                .for_each(|e| faults.add(&e.path, "id in use"));
        } else {
            let node = d.nodes.iter().find(|n| n.id == id);
            let path = |n: &Node| member("/nodes", &n.name);
            node.into_iter()
                .for_each(|n| faults.add(&path(n), "id in use"));
        }
    }
    let limits = limits(d);
    let known = attach::known(db, limits.iter().map(|(_, policy)| *policy));
    for (path, policy) in limits.iter().filter(|(_, policy)| !known.contains(policy)) {
        let what = match policy {
            Policy::Budget(_) => "budget",
            Policy::Quota(_) => "quota policy",
        };
        faults.add(path, format!("unknown {what}: {}", policy.id()));
    }
    faults.take()
}

/// The budgets and quota policies that a document names, each with its place.
fn limits(d: &Document) -> Vec<(String, Policy)> {
    fn list(path: &str, ids: &[Uuid], policy: fn(Uuid) -> Policy) -> Vec<(String, Policy)> {
        let place = |(i, id): (usize, &Uuid)| (format!("{path}/{i}"), policy(*id));
        ids.iter().enumerate().map(place).collect()
    }
    let mut limits = list("/budgets", &d.budgets, Policy::Budget);
    limits.extend(list("/quotas", &d.quotas, Policy::Quota));
    for node in &d.nodes {
        let Some(p) = node.spec.policy.as_ref().filter(|p| p.limits()) else {
            continue;
        };
        let path = member(&member("/nodes", &node.name), "policy");
        let budgets = member(&path, "budget_ids");
        limits.extend(list(&budgets, &p.budget_ids, Policy::Budget));
        let quota = p.quota_policy_id.map(Policy::Quota);
        limits.extend(quota.map(|quota| (member(&path, "quota_policy_id"), quota)));
    }
    limits
}

/// Attaches what the document names to the flow and to its members.
fn attach(db: &Db, d: &Document, now: Instant) {
    let budgets = d.budgets.iter().copied().map(Policy::Budget);
    let all = budgets.chain(d.quotas.iter().copied().map(Policy::Quota));
    let all: Vec<_> = all.map(|policy| (d.flow, policy)).collect();
    attachment::attach_new(db, "flow", &all, now);
    let nodes = d.nodes.iter();
    let all: Vec<_> = nodes
        .filter_map(|n| Some((n.id, n.spec.policy.as_ref()?)))
        .flat_map(|(id, policy)| attach::named(policy).map(move |policy| (id, policy)))
        .collect();
    attachment::attach_new(db, "execution", &all, now);
}

fn instant(when: Option<When>, now: Instant) -> Option<Instant> {
    when.map(|when| match when {
        When::At(at) => at,
        When::After(ms) => now.plus(ms.saturating_mul(MS)),
    })
}

/// What a node asks for; the policy has been read already.
fn request<'a>(
    d: &'a Document,
    n: &'a Node,
    none: &'a (Map<String, Value>, Value),
    now: Instant,
) -> Request<'a> {
    Request {
        lane: n.spec.lane.as_deref().unwrap_or_default(),
        kind: n.spec.kind.as_deref().unwrap_or_default(),
        payload: n.spec.payload.as_ref().map(|p| p.bytes.as_slice()),
        encoding: n.spec.label(),
        namespace: &d.namespace,
        priority: n.spec.priority,
        tags: n.spec.tags.as_ref().unwrap_or(&none.0),
        policy: &none.1,
        delay_until: instant(n.spec.start, now),
        deadline: instant(n.spec.deadline, now),
        key: None,
        dedup_window_ms: None,
        retention_ms: n.spec.retention_ms,
        id: Some(n.id),
        flow: Some(d.flow),
        creator: n.spec.creator.as_deref(),
    }
}

/// Writes everything but the flow's own row.
fn insert(db: &Db, d: &Document, lanes: &BTreeMap<&str, Lane>, namespace: i32, now: Instant) {
    let none = (Map::new(), Value::Null);
    let requests: Vec<Request> = d.nodes.iter().map(|n| request(d, n, &none, now)).collect();
    let mut queues: BTreeMap<(i32, &[String]), i32> = BTreeMap::new();
    let user = session::user();
    let mut born: Vec<(Execution, &Request, Option<Value>)> = Vec::with_capacity(d.nodes.len());
    for ((node, request), (inbound, _)) in d.nodes.iter().zip(&requests).zip(d.inbound()) {
        let Some(lane) = lanes.get(request.lane) else {
            continue;
        };
        let policy = node.spec.policy.clone().unwrap_or_default();
        let normalised = policy.normalised();
        let required = node
            .spec
            .policy
            .as_ref()
            .map_or(&[][..], |p| p.routing.required_capabilities.as_slice());
        let queue = *queues
            .entry((lane.id, required))
            .or_insert_with(|| store::queue::intern(db, lane.id, namespace, required));
        let checked = Checked {
            request,
            policy,
            id: node.id,
            lane: lane.clone(),
            namespace,
        };
        let mut e = create::execution(&checked, queue, now);
        if inbound > 0 {
            e.vector.eligibility = Eligibility::Dependencies;
            e.vector.blocking = Blocking::Children;
            e.blocking_detail = Some(format!("{inbound} of {inbound} dependencies unresolved"));
        }
        born.push((e, request, normalised));
    }
    // In the order of their ids, so that the pages of the key fill up one after the other.
    born.sort_by_key(|(e, ..)| e.place.id);
    let rows: Vec<_> = born
        .iter()
        .map(|(e, r, _)| (e, r.kind, r.creator.unwrap_or(&user)))
        .collect();
    store::execution::insert(db, &rows);
    let inputs: Vec<Input> = born
        .iter()
        .filter(|(_, r, policy)| r.payload.is_some() || r.encoding.is_some() || policy.is_some())
        .map(|(e, r, policy)| Input {
            id: e.place.id,
            payload: r.payload,
            encoding: r.encoding,
            policy: policy.as_ref(),
        })
        .collect();
    store::input::insert(db, &inputs);
    flow_graph::insert_graph(db, d, now);
    attach(db, d, now);
    let change = |(e, ..): (Execution, &Request, Option<Value>)| Change {
        before: None,
        after: Box::new(e),
        events: Vec::new(),
        archive: None,
        waits: Default::default(),
        blob: Blob::Keep,
    };
    let changes: Vec<Change> = born.into_iter().map(change).collect();
    save::settle(db, &changes, now);
}
