//! The checker: does one order of all effects explain what every caller was told and what the database holds?
//!
//! The order is that of the log, which for one execution is the order of commits. The checker knows nothing of the
//! server; it compares calls, log and rows as they were recorded.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::call::{Asked, Call, Effect, Fate, Mark, Reply};
use super::facts::{Entry, Facts, Row};
use super::life::{Life, Step, steps};

mod flow;
mod order;

/// A rule that does not hold, and for what.
#[derive(Debug, PartialEq)]
pub struct Violation {
    pub rule: &'static str,
    pub about: String,
}

/// Everything that was recorded, with what is looked up in it.
struct Record<'a> {
    calls: &'a [Call],
    rows: &'a BTreeMap<Uuid, Row>,
    upstreams: &'a BTreeMap<Uuid, Uuid>,
    /// The steps of each execution in the order of the log.
    lives: BTreeMap<Uuid, Vec<Step<'a>>>,
    /// Calls that may have left a mark: those that were told so and not undone, and those that were told nothing.
    suspects: BTreeMap<Mark, Vec<&'a Call>>,
    by_number: BTreeMap<u32, &'a Call>,
    /// The first call of each transaction.
    first: BTreeMap<u32, u32>,
    /// Latest end of each lease that somebody was told, and by when.
    expiries: BTreeMap<Uuid, Vec<(i64, &'a Call)>>,
    violations: Vec<Violation>,
}

/// Every rule that a history breaks.
pub fn check(calls: &[Call], facts: &Facts) -> Vec<Violation> {
    let mut record = Record::new(calls, facts);
    record.lives_are_legal();
    record.created_once();
    record.granted_once();
    record.done_once();
    record.keys_stand_for_one();
    record.results_are_kept();
    record.order_is_that_of_time();
    record.progress_was_the_holders();
    record.refusals_have_reasons();
    record.edges_are_those_asked_for();
    record.upstreams_come_first();
    record.violations
}

/// The rules between log and rows alone.
pub fn check_lives(facts: &Facts) -> Vec<Violation> {
    let mut record = Record::new(&[], facts);
    record.lives_are_legal();
    record.upstreams_come_first();
    record.violations
}

impl<'a> Record<'a> {
    fn new(calls: &'a [Call], facts: &'a Facts) -> Self {
        let mut entries: BTreeMap<Uuid, Vec<&Entry>> = BTreeMap::new();
        for entry in &facts.log {
            entries.entry(entry.execution).or_default().push(entry);
        }
        let mut first: BTreeMap<u32, u32> = BTreeMap::new();
        for call in calls {
            let number = first.entry(call.transaction).or_insert(call.number);
            *number = call.number.min(*number);
        }
        let mut suspects: BTreeMap<Mark, Vec<&Call>> = BTreeMap::new();
        let mut expiries: BTreeMap<Uuid, Vec<(i64, &Call)>> = BTreeMap::new();
        for call in calls.iter().filter(|call| call.fate != Fate::Undone) {
            let silent = matches!(call.reply, Reply::Silence).then(|| call.asked.mark());
            let said = call.said().iter().filter_map(|effect| match effect {
                Effect::Did(mark) => Some(*mark),
                Effect::Renewed { lease, .. } => Some(("renewed", *lease)),
                _ => None,
            });
            for mark in said.chain(silent.flatten()) {
                suspects.entry(mark).or_default().push(call);
            }
            for effect in call.said() {
                let (lease, at) = match effect {
                    Effect::Granted(lease) => (lease.id, lease.expires_at),
                    Effect::Renewed { lease, expires_at } => (*lease, *expires_at),
                    _ => continue,
                };
                expiries.entry(lease).or_default().push((at, call));
            }
        }
        Self {
            calls,
            rows: &facts.rows,
            upstreams: &facts.upstreams,
            lives: entries.iter().map(|(id, of)| (*id, steps(of))).collect(),
            suspects,
            first,
            by_number: calls.iter().map(|call| (call.number, call)).collect(),
            expiries,
            violations: Vec::new(),
        }
    }

    fn violated(&mut self, rule: &'static str, about: String) {
        self.violations.push(Violation { rule, about });
    }

    /// Log and rows agree: each execution's events lead to its row, step by legal step.
    fn lives_are_legal(&mut self) {
        let mut found = Vec::new();
        for id in self.lives.keys().filter(|id| !self.rows.contains_key(id)) {
            found.push(("row", format!("{id} has events and no row")));
        }
        for (id, row) in self.rows {
            let mut life = Life::new();
            let steps = self.lives.get(id).map(Vec::as_slice).unwrap_or_default();
            let broken = steps.iter().find_map(|step| {
                let broken = life.apply(step).err()?;
                Some(format!("{id}: {} {broken}: {life:?}", step.entry.word))
            });
            match broken {
                Some(broken) => found.push(("life", broken)),
                None => found.extend(life.differs(row).map(|d| ("row", format!("{id}: {d}")))),
            }
            found.extend(steps.iter().filter_map(|step| {
                let early = self.too_early(step)?;
                Some(("expiry", format!("{id}: {early}")))
            }));
        }
        for (rule, about) in found {
            self.violated(rule, about);
        }
    }

    /// A lease that is said to have run out before the end that its holder was told.
    fn too_early(&self, step: &Step) -> Option<String> {
        let lease = match (step.entry.word.as_str(), step.entry.text("reason")) {
            ("lease.expired", _) => step.entry.uuid("lease_id"),
            ("lease.reclaimed", "lease_expired") => step.entry.uuid("previous_lease_id"),
            _ => return None,
        };
        let told = self.expiries.get(&lease)?;
        let end = told
            .iter()
            .filter(|(_, call)| call.fate == Fate::Committed)
            .map(|(at, _)| *at)
            .max()?;
        (step.entry.at < end)
            .then(|| format!("lease {lease} was taken {} µs early", end - step.entry.at))
    }

    /// A count is between what was acknowledged and what may have happened besides.
    fn within(&mut self, what: String, is: usize, least: usize, most: usize) {
        if is < least {
            self.violated("lost", format!("{what}: {least} acknowledged, {is} there"));
        }
        if is > most {
            self.violated("unasked", format!("{what}: {most} at most, {is} there"));
        }
    }

    /// Every acknowledged creation has its rows, and every row its creation.
    fn created_once(&mut self) {
        let mut rows: BTreeMap<u32, BTreeSet<Uuid>> = BTreeMap::new();
        for (id, row) in self.rows {
            rows.entry(row.call).or_default().insert(*id);
        }
        for number in rows.keys().filter(|n| !self.by_number.contains_key(n)) {
            self.violations.push(Violation {
                rule: "unasked",
                about: format!("executions of a call {number} that nobody made"),
            });
        }
        for call in self.calls {
            let there = rows.remove(&call.number).unwrap_or_default();
            let told: BTreeSet<Uuid> = call
                .said()
                .iter()
                .filter_map(|effect| match effect {
                    Effect::Created(id) => Some(*id),
                    _ => None,
                })
                .collect();
            let right = match (call.fate, &call.reply) {
                (Fate::Undone, _) | (_, Reply::Refused(_)) => there.is_empty(),
                (Fate::Committed, _) => there == told,
                (Fate::Unknown, Reply::Said(_)) => there == told || there.is_empty(),
                (Fate::Unknown, Reply::Silence) => there.len() <= call.asked.most().0,
            };
            if !right {
                let (there, told) = (there.len(), told.len());
                let about = format!(
                    "call {} told of {told} executions, {there} are there",
                    call.number
                );
                self.violated(if there < told { "lost" } else { "unasked" }, about);
            }
        }
    }

    /// Every lease that was told was given, once and as it was told, and every one that was given was told.
    fn granted_once(&mut self) {
        let mut given: BTreeMap<String, Vec<&Entry>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut twice = Vec::new();
        for step in self.lives.values().flatten().filter(|step| step.grants()) {
            let entry = step.entry;
            if !seen.insert(entry.uuid("lease_id")) {
                twice.push(format!("lease {} was given twice", entry.text("lease_id")));
            }
            let instance = entry.text("worker_instance").to_owned();
            given.entry(instance).or_default().push(entry);
        }
        for about in twice {
            self.violated("exclusive", about);
        }
        for call in self.calls {
            let entries = given
                .remove(&Call::instance(call.number))
                .unwrap_or_default();
            let told: Vec<_> = call
                .said()
                .iter()
                .filter_map(|effect| match effect {
                    Effect::Granted(lease) => Some(lease),
                    _ => None,
                })
                .collect();
            let same = entries.len() == told.len()
                && told.iter().all(|lease| {
                    entries.iter().any(|entry| {
                        entry.uuid("lease_id") == lease.id
                            && entry.execution == lease.execution
                            && entry.details["lease_epoch"] == lease.epoch
                            && entry.uuid("attempt_id") == lease.attempt
                            && entry.index == Some(lease.index)
                    })
                });
            let right = match (call.fate, &call.reply) {
                (Fate::Undone, _) | (_, Reply::Refused(_)) => entries.is_empty(),
                (Fate::Committed, _) => same,
                (Fate::Unknown, Reply::Said(_)) => same || entries.is_empty(),
                (Fate::Unknown, Reply::Silence) => entries.len() <= call.asked.most().1,
            };
            if !right {
                let (there, told) = (entries.len(), told.len());
                let about = format!(
                    "call {} told of {told} leases, the log of {there}",
                    call.number
                );
                self.violated(if there < told { "lost" } else { "unasked" }, about);
            }
        }
        for instance in given.keys() {
            self.violations.push(Violation {
                rule: "unasked",
                about: format!("leases of {instance}, who never claimed"),
            });
        }
    }

    /// Everything else that callers do to leases and executions: as often as they were told.
    fn done_once(&mut self) {
        let mut there: BTreeMap<Mark, usize> = BTreeMap::new();
        for step in self.lives.values().flatten() {
            if let Some(mark) = mark(step) {
                *there.entry(mark).or_default() += 1;
            }
        }
        let marks: BTreeSet<Mark> = self.suspects.keys().chain(there.keys()).copied().collect();
        for mark in marks {
            let suspects = self
                .suspects
                .get(&mark)
                .map(Vec::as_slice)
                .unwrap_or_default();
            let sure = suspects
                .iter()
                .filter(|call| call.fate == Fate::Committed)
                .count();
            let (is, most) = (
                there.get(&mark).copied().unwrap_or_default(),
                suspects.len(),
            );
            self.within(format!("{} {}", mark.0, mark.1), is, sure, most);
        }
        // What is answered again has been done before; a cancellation, whoever cancelled.
        let cancelled = |id: &Uuid| {
            let steps = self.lives.get(id).into_iter().flatten();
            steps
                .into_iter()
                .any(|step| step.entry.word == "completion.cancelled")
        };
        let mut found = Vec::new();
        for call in self.calls.iter().filter(|call| !self.after_own(call)) {
            for effect in call.said() {
                if let Effect::Again(mark) = effect
                    && !there.contains_key(mark)
                    && !(mark.0 == "cancelled" && cancelled(&mark.1))
                {
                    found.push(format!(
                        "call {}: {} {} was never done",
                        call.number, mark.0, mark.1
                    ));
                }
            }
        }
        for about in found {
            self.violated("answer", about);
        }
    }

    /// A key stands for one execution, whoever asks.
    fn keys_stand_for_one(&mut self) {
        let mut holders: BTreeMap<&str, BTreeSet<Uuid>> = BTreeMap::new();
        for (id, row) in self.rows {
            if let Some(key) = &row.key {
                holders.entry(key).or_default().insert(*id);
            }
        }
        for call in self
            .calls
            .iter()
            .filter(|call| call.fate == Fate::Committed)
        {
            let Asked::Create { key: Some(key), .. } = &call.asked else {
                continue;
            };
            for effect in call.said() {
                if let Effect::Created(id) | Effect::Found(id) = effect {
                    holders.entry(key).or_default().insert(*id);
                }
            }
        }
        for (key, of) in holders {
            if of.len() > 1 {
                self.violated("key", format!("{key} stands for {of:?}"));
            }
        }
    }

    /// A completed execution has the result of the completion that was acknowledged.
    fn results_are_kept(&mut self) {
        for call in self
            .calls
            .iter()
            .filter(|call| call.fate == Fate::Committed)
        {
            let (Asked::Complete(lease, result) | Asked::CompleteAndClaim(lease, result)) =
                &call.asked
            else {
                continue;
            };
            let done = call
                .said()
                .iter()
                .any(|effect| matches!(effect, Effect::Did(("completed", _))));
            // A later lease belongs to a replay, which has a result of its own.
            let row = self.rows.get(&lease.execution);
            let last = row.filter(|row| row.epoch == lease.epoch && row.state == "completed");
            if let Some(row) = last.filter(|row| done && row.result.as_ref() != Some(result)) {
                let about = format!("{} has the result {:?}", lease.execution, row.result);
                self.violated("result", about);
            }
        }
    }

    /// Whether an earlier call of the same transaction may have changed what this one met.
    fn after_own(&self, call: &Call) -> bool {
        self.first.get(&call.transaction) != Some(&call.number)
    }
}

/// What a step tells that only a caller does; none for what time does.
fn mark(step: &Step) -> Option<Mark> {
    let (entry, id) = (step.entry, step.entry.execution);
    if let Some(release) = step.release() {
        let word = match release.text("reason") {
            "completed" => "completed",
            "failed_retry_scheduled" | "failed_terminal" => "failed",
            "worker_delay" => "delayed",
            "cancelled" if entry.text("source") == "lease_holder" => "dropped",
            "cancelled" => return Some(("cancelled", id)),
            _ => return None,
        };
        return Some((word, release.uuid("lease_id")));
    }
    Some(match entry.word.as_str() {
        "lease.renewed" => ("renewed", entry.uuid("lease_id")),
        "lease.revoked" => ("revoked", id),
        "completion.cancelled" => ("cancelled", id),
        "operator.priority_changed" => ("prioritised", id),
        "operator.replayed" => ("replayed", id),
        "tag.attached" => ("tagged", id),
        _ => return None,
    })
}
