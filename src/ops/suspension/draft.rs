//! A suspension about to begin: T18, or §20.7 when buffered signals satisfy it already.

use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::guc;
use crate::model::condition::{Condition, Incoming};
use crate::model::event::{Code, Event};
use crate::model::execution::Execution;
use crate::model::policy::TimeoutBehavior;
use crate::model::suspension::{self, Binding, Suspension};
use crate::model::time::{Instant, MS};
use crate::model::token::Subject;
use crate::model::transition::{self, Change, Opening};
use crate::model::words::{Effect, WaitpointState};
use crate::pg::spi::Db;
use crate::store;
use crate::store::waitpoint::Waitpoint;

use super::super::execution::duty;
use super::super::{clock, installation, save};
use super::suspend::{Bound, Checked, Suspended};
use super::{repeat, token, waitpoint};

/// A suspension about to begin.
pub struct Draft<'a> {
    e: Execution,
    now: Instant,
    checked: Checked<'a>,
    suspension: Suspension,
    timeout_at: Option<Instant>,
    places: Vec<Place>,
}

/// One binding of it.
enum Place {
    Fresh(Subject, bool),
    Used(Waitpoint),
}

impl Place {
    fn subject(&self) -> &Subject {
        match self {
            Place::Fresh(subject, _) => subject,
            Place::Used(w) => &w.subject,
        }
    }
}

impl<'a> Draft<'a> {
    /// Finds the waitpoints and gives the condition their keys.
    ///
    /// # Errors
    /// Those of waitpoints, conditions and timeouts.
    pub fn new(db: &Db, e: Execution, checked: Checked<'a>, now: Instant) -> Result<Draft<'a>> {
        let partition = Some(e.place.partition as u8);
        let used = used(db, &e, checked.bindings.as_deref().unwrap_or_default(), now)?;
        let fresh = |key: Option<&String>, chosen: Option<Uuid>| {
            let id = chosen.unwrap_or_else(|| clock::mint(partition));
            let subject = Subject {
                execution_id: e.place.id,
                waitpoint_id: id,
                created_at: now,
                key: key.cloned().unwrap_or_else(|| format!("wpk:{id}")),
            };
            Place::Fresh(subject, chosen.is_some())
        };
        let places: Vec<Place> = match &checked.bindings {
            None => vec![fresh(None, None)],
            Some(bindings) => bindings
                .iter()
                .filter_map(|b| match b {
                    Binding::Fresh { key, id } => Some(fresh(Some(key), *id)),
                    Binding::Used(id) => used
                        .iter()
                        .find(|w| w.id() == *id)
                        .cloned()
                        .map(Place::Used),
                })
                .collect(),
        };
        let mut condition = checked.condition.clone();
        let keys: Vec<String> = places.iter().map(|p| p.subject().key.clone()).collect();
        if keys
            .iter()
            .enumerate()
            .any(|(i, key)| keys.iter().skip(i + 1).any(|k| k == key))
        {
            return Err(suspension::invalid_key("duplicate"));
        }
        let all_fresh = places.iter().all(|p| matches!(p, Place::Fresh(..)));
        condition.resolve(&keys, all_fresh && checked.bindings.is_some())?;
        let chosen: Vec<Uuid> = places
            .iter()
            .filter_map(|p| match p {
                Place::Fresh(subject, true) => Some(subject.waitpoint_id),
                _ => None,
            })
            .collect();
        if !chosen.is_empty() {
            waitpoint::absent(db, &chosen)?;
        }
        let (timeout_at, behavior) = timeout(db, &e, &checked, now)?;
        if checked.condition == Condition::TimeoutOnly && timeout_at.is_none() {
            return Err(Error::new(Kind::InvalidResumeCondition)
                .with("rule", "timeout_only_without_deadline")
                .with("path", "<root>"));
        }
        let suspension = Suspension {
            id: checked.request.id.unwrap_or_else(|| clock::mint(partition)),
            reason: checked.request.reason.to_owned(),
            progress: condition.fresh(),
            condition,
            policy: checked.policy.clone(),
            behavior,
            waitpoints: places.iter().map(|p| p.subject().waitpoint_id).collect(),
        };
        Ok(Draft {
            e,
            now,
            checked,
            suspension,
            timeout_at,
            places,
        })
    }

    /// Lets buffered signals count, then waits or goes on.
    ///
    /// # Errors
    /// `signing_key_not_initialized`, `resource_exhausted`, `invalid_input` for a chosen id in use.
    pub fn open(mut self, db: &Db) -> Result<Suspended> {
        let (counted, closer) = self.replay(db);
        let key = self.checked.request.key.filter(|key| !key.is_empty());
        let answer = match closer {
            Some(closer) => self.go_on(db, &counted, closer)?,
            None => self.wait(db, &counted)?,
        };
        if let (Some(key), Some(index)) = (key, self.e.attempt_index()) {
            let until = suspension::remembered_until(
                self.timeout_at,
                i64::from(guc::SUSPEND_DEDUP_GRACE.value.get()),
                i64::from(guc::SUSPEND_DEDUP_MAX.value.get()) * 1_000,
                self.now,
            );
            store::suspension::remember(db, self.e.place.id, index, key, answer.id, until);
        }
        Ok(answer)
    }

    /// Evaluates buffered signals in order, up to the one that satisfies; each with whether it counted.
    fn replay(&mut self, db: &Db) -> (Vec<(Uuid, Uuid, bool)>, Option<Uuid>) {
        let used: Vec<&Waitpoint> = self.used().collect();
        if used.is_empty() {
            return (Vec::new(), None);
        }
        let ids: Vec<Uuid> = used.iter().map(|w| w.id()).collect();
        let keys: Vec<String> = used.iter().map(|w| w.subject.key.clone()).collect();
        let condition = self.suspension.condition.clone();
        let mut counted = Vec::new();
        let mut sources: Vec<(usize, (String, String))> = Vec::new();
        for signal in store::signal::buffered(db, self.e.place.id, &ids) {
            let key = ids.iter().position(|id| *id == signal.waitpoint);
            let Some(key) = key.and_then(|i| keys.get(i)) else {
                continue;
            };
            let incoming = Incoming {
                waitpoint: signal.waitpoint,
                key,
                name: &signal.name,
            };
            let known: Vec<usize> = sources
                .iter()
                .filter(|(_, source)| *source == signal.source)
                .map(|(node, _)| *node)
                .collect();
            let verdict = condition.record(&mut self.suspension.progress, &incoming, &known);
            for node in verdict.sources {
                sources.push((node, signal.source.clone()));
            }
            let matched = matches!(verdict.effect, Effect::Appended | Effect::Satisfied);
            counted.push((signal.id, signal.waitpoint, matched));
            if verdict.effect == Effect::Satisfied {
                return (counted, Some(signal.id));
            }
        }
        for (node, (kind, identity)) in &sources {
            store::suspension::add_sources(db, self.suspension.id, &[*node], kind, identity);
        }
        (counted, None)
    }

    fn used(&self) -> impl Iterator<Item = &Waitpoint> {
        self.places.iter().filter_map(|p| match p {
            Place::Used(w) => Some(w),
            Place::Fresh(..) => None,
        })
    }

    /// T18.
    fn wait(&self, db: &Db, counted: &[(Uuid, Uuid, bool)]) -> Result<Suspended> {
        let ring = store::secret::ring(db);
        let s = &self.suspension;
        let names = |key: &str| s.condition.required_names(key);
        let mut fresh: Vec<(Waitpoint, Vec<String>)> = Vec::new();
        let mut used: Vec<(Uuid, Vec<String>)> = Vec::new();
        let mut bindings = Vec::with_capacity(self.places.len());
        for place in &self.places {
            let token = match place {
                Place::Used(w) => {
                    used.push((w.id(), names(&w.subject.key)));
                    token::again(&ring, w, self.now)
                }
                Place::Fresh(subject, _) => {
                    let minted = token::mint(&ring, subject)?;
                    let w = Waitpoint {
                        subject: subject.clone(),
                        attempt_index: self.e.attempt_index().unwrap_or_default(),
                        suspension: Some(s.id),
                        state: WaitpointState::Active,
                        kid: minted.kid,
                        fingerprint: minted.fingerprint,
                        expires_at: self.timeout_at,
                    };
                    fresh.push((w, names(&subject.key)));
                    Some(minted.token)
                }
            };
            bindings.push(self.bound(place, token, WaitpointState::Active, self.timeout_at));
        }
        waitpoint::within_limit(db, &self.e, fresh.len())?;
        self.store(db, None)?;
        let new: Vec<_> = fresh
            .iter()
            .map(|(w, names)| (w, names.as_slice()))
            .collect();
        let chosen = |p: &Place| matches!(p, Place::Fresh(_, true));
        let chosen = self.places.iter().any(chosen);
        if let Some(taken) = store::waitpoint::insert(db, &new, chosen) {
            return Err(waitpoint::exists(taken));
        }
        store::waitpoint::activate(db, &used, s.id, self.timeout_at, self.now);
        self.assign(db, counted);

        let opening = self.opening();
        let mut change = transition::suspend(self.e.clone(), &opening, self.now);
        change.after.pending_waitpoints = (self.e.pending_waitpoints - used.len() as i32).max(0);
        save::apply(db, &[change], self.now);
        Ok(Suspended {
            outcome: "suspended",
            id: s.id,
            handle: Some(repeat::handle(
                self.e.place.id,
                self.attempt(),
                self.lease(),
                installation::id(db),
            )),
            bindings,
            replayed: false,
        })
    }

    /// §20.7: the answer is here already, and the lease stays where it is.
    fn go_on(&self, db: &Db, counted: &[(Uuid, Uuid, bool)], closer: Uuid) -> Result<Suspended> {
        let (s, policy) = (&self.suspension, &self.suspension.policy);
        let used: Vec<Uuid> = self.used().map(Waitpoint::id).collect();
        self.store(db, Some(closer))?;
        self.assign(db, counted);
        store::signal::consume(db, self.e.place.id, s.id, policy, self.now);
        let (state, expires_at) = if policy.close_waitpoints {
            let reason = suspension::close::ALREADY_SATISFIED;
            store::waitpoint::close(db, &used, reason, self.now);
            (WaitpointState::Closed, None)
        } else {
            store::waitpoint::keep(db, &used);
            (WaitpointState::Pending, None)
        };
        let ring = store::secret::ring(db);
        let bindings = self
            .places
            .iter()
            .filter_map(|place| match place {
                Place::Used(w) => {
                    let token = token::again(&ring, w, self.now);
                    Some(self.bound(place, token, state, expires_at))
                }
                Place::Fresh(..) => None,
            })
            .collect();
        let event = Event::plain(
            Code::SuspensionAlreadySatisfied,
            Some(self.opening().details()),
        );
        let closed = if policy.close_waitpoints {
            used.len() as i32
        } else {
            0
        };
        let change = Change::touch(self.e.clone(), self.now, |e| {
            e.pending_waitpoints = (e.pending_waitpoints - closed).max(0);
        });
        save::apply(db, &[change.announce(event)], self.now);
        Ok(Suspended {
            outcome: suspension::close::ALREADY_SATISFIED,
            id: s.id,
            handle: None,
            bindings,
            replayed: false,
        })
    }

    fn store(&self, db: &Db, closer: Option<Uuid>) -> Result<()> {
        let r = self.checked.request;
        let used: Vec<Uuid> = self.used().map(Waitpoint::id).collect();
        let mut suspension = self.suspension.clone();
        if closer.is_some() {
            suspension.waitpoints = used;
        }
        let new = store::suspension::New {
            suspension: &suspension,
            execution: self.e.place.id,
            attempt_index: self.e.attempt_index().unwrap_or_default(),
            requested_by: r.requested_by,
            timeout_at: self.timeout_at,
            continuation: r.continuation,
            key: r.key.filter(|key| !key.is_empty()),
            lease: self.lease(),
            closer,
        };
        // A minted id is free.
        if !store::suspension::insert(db, &new, r.id.is_some(), self.now) {
            return Err(Error::invalid_input("suspension_id", "exists"));
        }
        Ok(())
    }

    fn assign(&self, db: &Db, counted: &[(Uuid, Uuid, bool)]) {
        let signals: Vec<(Uuid, bool)> = counted.iter().map(|(id, _, m)| (*id, *m)).collect();
        store::signal::assign(db, &signals, self.suspension.id);
        let matched = |w: &Waitpoint| {
            let own = counted.iter().filter(|(_, at, m)| *m && *at == w.id());
            (w.id(), own.count() as i32)
        };
        let matched: Vec<(Uuid, i32)> = self.used().map(matched).filter(|(_, n)| *n > 0).collect();
        store::waitpoint::count_matched(db, &matched);
    }

    fn attempt(&self) -> (i32, Uuid) {
        let id = self.e.attempt.as_ref().map(|a| a.id);
        (
            self.e.attempt_index().unwrap_or_default(),
            id.unwrap_or_default(),
        )
    }

    fn lease(&self) -> (Uuid, i64) {
        (self.e.lease.id.unwrap_or_default(), self.e.lease.epoch)
    }

    fn opening(&self) -> Opening<'_> {
        Opening {
            id: self.suspension.id,
            reason: &self.suspension.reason,
            blocking: self.checked.blocking,
            timeout_at: self.timeout_at,
            behavior: self.suspension.behavior,
            waitpoints: &self.suspension.waitpoints,
        }
    }

    fn bound(
        &self,
        place: &Place,
        token: Option<String>,
        state: WaitpointState,
        expires_at: Option<Instant>,
    ) -> Bound {
        let subject = place.subject();
        Bound {
            id: subject.waitpoint_id,
            key: subject.key.clone(),
            token,
            state,
            expires_at,
        }
    }
}

/// The used waitpoints, each fit for this suspension (step 7).
fn used(db: &Db, e: &Execution, bindings: &[Binding], now: Instant) -> Result<Vec<Waitpoint>> {
    let mut ids: Vec<Uuid> = bindings
        .iter()
        .filter_map(|b| match b {
            Binding::Used(id) => Some(*id),
            Binding::Fresh { .. } => None,
        })
        .collect();
    ids.sort_unstable();
    let found = store::waitpoint::load(db, &ids);
    for id in ids {
        let refused = |kind| Error::new(kind).with("waitpoint_id", id.to_string());
        let w = found.iter().find(|w| w.id() == id);
        let w = w.ok_or_else(|| refused(Kind::WaitpointNotFound))?;
        if w.subject.execution_id != e.place.id || Some(w.attempt_index) != e.attempt_index() {
            return Err(refused(Kind::InvalidWaitpointForExecution)
                .with("execution_id", e.place.id.to_string()));
        }
        if w.state != WaitpointState::Pending {
            return Err(refused(Kind::WaitpointNotPending).with("state", w.state.word()));
        }
        if w.expires_at.is_some_and(|at| at <= now) {
            return Err(refused(Kind::PendingWaitpointExpired));
        }
    }
    Ok(found)
}

/// When it times out, and what that does: the arguments, else the policy.
fn timeout(
    db: &Db,
    e: &Execution,
    checked: &Checked,
    now: Instant,
) -> Result<(Option<Instant>, TimeoutBehavior)> {
    let given = checked.timeout.map(|t| t.instant(now));
    if let (Some(at), Some(behavior)) = (given, checked.behavior) {
        return Ok((Some(at), behavior));
    }
    let policy = duty::policies(db, std::slice::from_ref(e))?
        .remove(&e.place.id)
        .unwrap_or_default()
        .suspension;
    let default = policy
        .default_timeout_ms
        .map(|ms| now.plus(ms.saturating_mul(MS)));
    let behavior = checked.behavior.or(policy.timeout_behavior);
    Ok((given.or(default), behavior.unwrap_or(TimeoutBehavior::Fail)))
}
