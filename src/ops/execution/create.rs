//! Creates executions (§10.6): T1 and T2. A single create is a batch of one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::guc;
use crate::model::due::MAX_PRIORITY;
use crate::model::execution::{Execution, Lease, Place, Progress};
use crate::model::policy;
use crate::model::time::{Instant, MS};
use crate::model::transition::{Blob, Change};
use crate::model::words::*;
use crate::model::{id, lane_name, tags, text};
use crate::pg::jsonb::Jsonb;
use crate::pg::session;
use crate::pg::spi::Db;
use crate::store;
use crate::store::attachment::Policy;
use crate::store::input::Input;
use crate::store::lane::Lane;

use super::super::flow::member::{self, Joining};
use super::super::limit::attach;
use super::super::role::namespace::admitted;
use super::super::{clock, lane, save};
use super::duplicates;

/// One execution as asked for.
pub struct Request<'a> {
    /// Lane, registered on first use.
    pub lane: &'a str,
    /// Kind of work.
    pub kind: &'a str,
    /// Payload, byte for byte.
    pub payload: Option<&'a [u8]>,
    /// Its label.
    pub encoding: Option<&'a str>,
    /// Tenant scope.
    pub namespace: &'a str,
    /// Clamped into 0–9000.
    pub priority: Option<i64>,
    /// Tags.
    pub tags: &'a Map<String, Value>,
    /// Policy document.
    pub policy: &'a Value,
    /// Not before.
    pub delay_until: Option<Instant>,
    /// Not after.
    pub deadline: Option<Instant>,
    /// Scoped to the namespace.
    pub key: Option<&'a str>,
    /// Lifetime of the key, milliseconds.
    pub dedup_window_ms: Option<i64>,
    /// Retention after the end, milliseconds; negative for ever.
    pub retention_ms: Option<i64>,
    /// Chosen by the caller.
    pub id: Option<Uuid>,
    /// Flow to join.
    pub flow: Option<Uuid>,
    /// Who asks; the session's user if none.
    pub creator: Option<&'a str>,
}

/// What became of a request.
#[derive(Clone, Debug)]
pub struct Created {
    /// `created` or `duplicate`.
    pub outcome: &'static str,
    /// The execution, new or existing.
    pub id: Uuid,
    /// Its state; none if it has been purged.
    pub public_state: Option<String>,
    /// Its partition.
    pub partition: i16,
    /// Whether a duplicate's request equals the first one.
    pub request_matches: Option<bool>,
}

/// A request that has passed every check.
pub struct Checked<'a, 'r> {
    /// As asked for.
    pub request: &'a Request<'r>,
    /// Its policy, parsed.
    pub policy: policy::Policy,
    /// Chosen or minted.
    pub id: Uuid,
    /// Its lane.
    pub lane: Lane,
    /// Its namespace.
    pub namespace: i32,
}

/// Creates executions; the answers stand in the order of the requests.
///
/// # Errors
/// Those of §10.6, with the position of the offending request under `item` when `batch`.
pub fn create(db: &Db, requests: &[Request], batch: bool) -> Result<Vec<Created>> {
    let at = |i: usize, error: Error| if batch { error.item(i) } else { error };
    let mut policies = Vec::with_capacity(requests.len());
    for (i, request) in requests.iter().enumerate() {
        policies.push(check(request).map_err(|e| at(i, e))?);
        admitted(db, request.namespace).map_err(|e| at(i, e))?;
    }
    let lanes: BTreeMap<&str, Lane> = requests
        .iter()
        .map(|r| r.lane)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(|name| (name, lane::ensure(db, name)))
        .collect();
    let namespaces: BTreeMap<&str, i32> = requests
        .iter()
        .map(|r| r.namespace)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(|name| (name, lane::ensure_namespace(db, name)))
        .collect();
    let checked: Vec<Checked> = requests
        .iter()
        .zip(policies)
        .filter_map(|(request, policy)| {
            Some(Checked {
                request,
                policy,
                id: request
                    .id
                    .unwrap_or_else(|| clock::mint(request.flow.map(id::partition_of))),
                lane: lanes.get(request.lane)?.clone(),
                namespace: *namespaces.get(request.namespace)?,
            })
        })
        .collect();

    let mut answers: Vec<Option<Created>> = vec![None; checked.len()];
    duplicates::by_key(db, &checked, &mut answers);
    duplicates::by_id(db, &checked, &mut answers);
    let mut known_limits = BTreeSet::new();
    for (i, c) in checked
        .iter()
        .enumerate()
        .filter(|(i, _)| answers.get(*i).is_some_and(Option::is_none))
    {
        accepting(c.request.lane, &c.lane).map_err(|e| at(i, e))?;
        let limits = (&c.policy.budget_ids, c.policy.quota_policy_id);
        if c.policy.limits() && known_limits.insert(limits) {
            attach::check_named(db, &c.policy).map_err(|e| at(i, e))?;
        }
    }
    let flows: Vec<(usize, Uuid)> = checked
        .iter()
        .enumerate()
        .filter(|(i, _)| answers.get(*i).is_some_and(Option::is_none))
        .filter_map(|(i, c)| Some((i, c.request.flow?)))
        .collect();
    let joining = member::joining(db, &flows).map_err(|(i, e)| at(i, e))?;
    insert(db, &checked, &mut answers, joining);
    duplicates::resolve(db, &checked, &mut answers);
    Ok(answers.into_iter().flatten().collect())
}

/// Refuses new work of a lane that takes none.
///
/// # Errors
/// `lane_not_accepting`.
pub fn accepting(name: &str, lane: &Lane) -> Result<()> {
    if !matches!(lane.state.as_str(), "draining" | "disabled") {
        return Ok(());
    }
    Err(Error::new(Kind::LaneNotAccepting)
        .say(format!("the lane is {}", lane.state))
        .with("lane", name)
        .with("state", lane.state.as_str()))
}

/// Every check that needs no table, so that validation precedes every write.
fn check(r: &Request) -> Result<policy::Policy> {
    lane_name::check(r.lane)?;
    text::identifier("kind", r.kind)?;
    text::identifier("namespace", r.namespace)?;
    if let Some(creator) = r.creator {
        text::identifier("creator", creator)?;
    }
    if let Some(key) = r.key {
        text::identifier("idempotency_key", key)?;
    }
    within_limit(r.payload)?;
    tags::check(r.tags)?;
    if r.dedup_window_ms.is_some_and(|ms| ms <= 0) {
        return Err(Error::invalid_input("dedup_window", "not_positive"));
    }
    for (name, instant) in [
        ("delay_until", r.delay_until),
        ("execution_deadline", r.deadline),
    ] {
        if instant.is_some_and(|at| !at.is_finite()) {
            return Err(Error::invalid_input(name, "not_finite"));
        }
    }
    policy::Policy::parse(r.policy)
}

/// `payload_too_large` beyond the setting.
pub fn within_limit(bytes: Option<&[u8]>) -> Result<()> {
    let limit = i64::from(guc::MAX_PAYLOAD_BYTES.value.get());
    match bytes {
        Some(bytes) if bytes.len() as i64 > limit => Err(Error::new(Kind::PayloadTooLarge)
            .with("bytes", bytes.len())
            .with("limit", limit)),
        _ => Ok(()),
    }
}

/// What the policies of new executions attach to them.
fn attachments(fresh: &[(usize, &Checked, Execution)]) -> Vec<(Uuid, Policy)> {
    let checked = fresh.iter().map(|(_, c, _)| c);
    checked
        .flat_map(|c| attach::named(&c.policy).map(|policy| (c.id, policy)))
        .collect()
}

/// A thousand years: longer is as good as for ever, and stays within the server's instants.
const LONGEST_RETENTION_MS: i64 = 31_557_600_000_000;

/// T1, T2.
pub fn execution(c: &Checked, queue: i32, now: Instant) -> Execution {
    let r = c.request;
    let p = &c.policy;
    let delay = r
        .delay_until
        .or(p.delay_until_ms.map(Instant::from_unix_ms))
        .filter(|at| *at > now);
    let deadline_ms = p.timeout.execution_deadline_ms;
    let setting = i64::from(guc::DEFAULT_RETENTION.value.get());
    let retention = r
        .retention_ms
        .or(p.retention_ms)
        .or(p.stream.retention_ttl_ms)
        .or(c.lane.retention_ms)
        .unwrap_or(if setting < 0 { -1 } else { setting * 1000 })
        .min(LONGEST_RETENTION_MS);
    Execution {
        place: Place {
            id: c.id,
            created_at: now,
            queue,
            lane: c.lane.id,
            namespace: c.namespace,
            partition: i16::from(id::partition_of(r.flow.unwrap_or(c.id))),
            flow: r.flow,
            retention_ms: Some(retention),
        },
        priority: r
            .priority
            .or(p.priority)
            .unwrap_or(0)
            .clamp(0, i64::from(MAX_PRIORITY)) as i16,
        vector: Vector {
            lifecycle: Lifecycle::Runnable,
            ownership: Ownership::Unowned,
            eligibility: if delay.is_some() {
                Eligibility::UntilTime
            } else {
                Eligibility::Now
            },
            blocking: if delay.is_some() {
                Blocking::Delay
            } else {
                Blocking::Worker
            },
            outcome: TerminalOutcome::None,
            attempt: AttemptState::PendingFirst,
        },
        lease: Lease::default(),
        attempt: None,
        total_attempts: 0,
        retries: 0,
        replays: 0,
        reclaims: 0,
        started_at: None,
        completed_at: None,
        purge_at: None,
        delay_until: delay,
        deadline: r
            .deadline
            .or(deadline_ms.map(|ms| now.plus(ms.saturating_mul(MS)))),
        attempt_deadline: None,
        recheck_at: None,
        blocked_by_policy: None,
        blocking_detail: delay.map(|at| format!("delayed until {}", at.iso())),
        pending_reason: None,
        failure_reason: None,
        failure_category: None,
        cancellation_reason: None,
        cancelled_by: None,
        grant: None,
        progress: Progress::default(),
        last_capability_mismatch_at: None,
        suspension: None,
        waitpoint: None,
        suspension_timeout: None,
        pending_waitpoints: 0,
        limited: p.limits(),
        slots: Vec::new(),
        offered: None,
        tags: (!r.tags.is_empty()).then(|| Jsonb::from_json(&Value::Object(r.tags.clone())).into()),
        last_transition_at: now,
        last_mutation_at: now,
    }
}

/// Writes what is new and answers for it.
fn insert(db: &Db, checked: &[Checked], answers: &mut [Option<Created>], joining: Joining) {
    let mut queues: BTreeMap<(i32, i32, &[String]), i32> = BTreeMap::new();
    let now = clock::now();
    let user = session::user();
    let mut order: Vec<(usize, &Checked)> = checked
        .iter()
        .enumerate()
        .filter(|(i, _)| answers.get(*i).is_some_and(Option::is_none))
        .collect();
    // In the order of their ids, so that the pages of the key fill up one after the other.
    order.sort_unstable_by_key(|(_, c)| c.id);
    let mut new = Vec::with_capacity(order.len());
    for (i, c) in order {
        let required = c.policy.routing.required_capabilities.as_slice();
        let queue = *queues
            .entry((c.lane.id, c.namespace, required))
            .or_insert_with(|| store::queue::intern(db, c.lane.id, c.namespace, required));
        new.push((i, c, execution(c, queue, now)));
    }
    let chosen = |c: &Checked| c.request.id.is_some();
    let rows = |of_callers: bool| -> Vec<_> {
        new.iter()
            .filter(|(_, c, _)| chosen(c) == of_callers)
            .map(|(_, c, e)| (e, c.request.kind, c.request.creator.unwrap_or(&user)))
            .collect()
    };
    store::execution::insert(db, &rows(false));
    let won = store::execution::insert_chosen(db, &rows(true));
    new.retain(|(_, c, _)| !chosen(c) || won.contains(&c.id));
    let fresh = new;

    let member = |(_, _, e): &(usize, &Checked, Execution)| Some((e.place.id, e.place.flow?));
    joining.enter(
        db,
        &fresh.iter().filter_map(member).collect::<Vec<_>>(),
        now,
    );
    let policies: Vec<_> = fresh
        .iter()
        .map(|(_, c, _)| {
            let said = !policy::is_blank(c.request.policy);
            said.then(|| c.policy.normalised()).flatten()
        })
        .collect();
    let inputs: Vec<Input> = fresh
        .iter()
        .zip(&policies)
        .filter(|((_, c, _), policy)| {
            c.request.payload.is_some() || c.request.encoding.is_some() || policy.is_some()
        })
        .map(|((_, c, _), policy)| Input {
            id: c.id,
            payload: c.request.payload,
            encoding: c.request.encoding,
            policy: policy.as_ref(),
        })
        .collect();
    store::input::insert(db, &inputs);
    store::attachment::attach_new(db, "execution", &attachments(&fresh), now);
    let mut changes = Vec::with_capacity(fresh.len());
    for (i, _, e) in fresh {
        if let Some(answer) = answers.get_mut(i) {
            *answer = Some(Created {
                outcome: "created",
                id: e.place.id,
                public_state: Some(e.vector.public_state().word().to_owned()),
                partition: e.place.partition,
                request_matches: None,
            });
        }
        changes.push(Change {
            before: None,
            after: Box::new(e),
            events: Vec::new(),
            archive: None,
            waits: Default::default(),
            blob: Blob::Keep,
        });
    }
    save::settle(db, &changes, now);
}
