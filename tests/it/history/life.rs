//! The pure model of one execution: which event may follow which, and what the row must say in the end.

use uuid::Uuid;

use super::facts::{Entry, Row};

/// An entry of the log with the `lease.released` that its row also reads as.
#[derive(Clone, Debug)]
pub struct Step<'a> {
    pub entry: &'a Entry,
    pub released: Option<&'a Entry>,
}

impl Step<'_> {
    /// The entry that tells of the end of a lease in order.
    pub fn release(&self) -> Option<&Entry> {
        self.released
            .or((self.entry.word == "lease.released").then_some(self.entry))
    }

    /// Whether the execution gets a lease.
    pub fn grants(&self) -> bool {
        ["lease.acquired", "lease.reclaimed"].contains(&self.entry.word.as_str())
    }
}

/// Joins the two events that one row reads as: only they have neighbouring ids.
pub fn steps<'a>(entries: &[&'a Entry]) -> Vec<Step<'a>> {
    let mut steps: Vec<Step<'a>> = Vec::new();
    for entry in entries {
        match steps.last_mut() {
            Some(last)
                if last.entry.word == "lease.released"
                    && last.entry.id + 1 == entry.id
                    && entry.word.starts_with("completion.") =>
            {
                *last = Step {
                    entry,
                    released: Some(last.entry),
                };
            }
            _ => steps.push(Step {
                entry,
                released: None,
            }),
        }
    }
    steps
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stand {
    Ready,
    /// The attempt goes on with the next lease.
    Paused,
    Held(Uuid),
    Lost(&'static str),
    Ended(&'static str),
}

/// An execution as the events up to some place make it.
#[derive(Debug)]
pub struct Life {
    stand: Stand,
    epoch: i64,
    attempts: Vec<(Uuid, &'static str)>,
    retries: i32,
    replays: i32,
    reclaims: i32,
}

impl Life {
    pub fn new() -> Self {
        Self {
            stand: Stand::Ready,
            epoch: 0,
            attempts: Vec::new(),
            retries: 0,
            replays: 0,
            reclaims: 0,
        }
    }

    /// Goes on by one step; an error is the rule that the step breaks.
    pub fn apply(&mut self, step: &Step) -> Result<(), &'static str> {
        let entry = step.entry;
        match entry.word.as_str() {
            "lease.acquired" | "lease.reclaimed" => self.grant(entry),
            "lease.renewed" => self.of_the_holder(entry),
            "lease.expired" => {
                self.of_the_holder(entry)?;
                self.stand = Stand::Lost("lease_expired");
                Ok(())
            }
            "lease.revoked" => {
                self.of_the_holder(entry)?;
                self.stand = Stand::Lost("lease_revoked");
                Ok(())
            }
            "lease.released" => self.step_back(entry),
            "operator.replayed" => {
                let Stand::Ended(_) = self.stand else {
                    return Err("only what has ended is replayed");
                };
                self.stand = Stand::Ready;
                (self.retries, self.reclaims) = (0, 0);
                self.replays += 1;
                Ok(())
            }
            "operator.priority_changed" => match self.stand {
                Stand::Ended(_) => Err("what has ended keeps its priority"),
                _ => Ok(()),
            },
            word => match word.strip_prefix("completion.") {
                Some(outcome) => self.end(outcome, step.released),
                None => Ok(()),
            },
        }
    }

    fn grant(&mut self, entry: &Entry) -> Result<(), &'static str> {
        if entry.details["lease_epoch"] != self.epoch + 1 {
            return Err("epochs grow by one");
        }
        let (lease, attempt) = (entry.uuid("lease_id"), entry.uuid("attempt_id"));
        let reclaims = entry.word == "lease.reclaimed";
        match (entry.text("reason"), self.stand) {
            ("claim", Stand::Ready) if !reclaims => {}
            ("claim_resumed", Stand::Paused) if !reclaims => {
                if self.attempts.last().map(|(id, _)| *id) != Some(attempt) {
                    return Err("a resumed claim goes on with the same attempt");
                }
                self.attempts.pop();
            }
            (reason, Stand::Lost(how)) if reclaims && reason == how => {
                self.reclaim(entry)?;
            }
            // An elapsed lease is taken over whether or not it has been marked.
            ("lease_expired", Stand::Held(_)) if reclaims => self.reclaim(entry)?,
            _ => return Err("nobody else holds what is granted"),
        }
        if entry.index != Some(self.attempts.len() as i32) {
            return Err("attempts are numbered without gaps");
        }
        if self.attempts.iter().any(|(id, _)| *id == attempt) {
            return Err("every attempt has an id of its own");
        }
        self.attempts.push((attempt, "started"));
        self.epoch += 1;
        self.stand = Stand::Held(lease);
        Ok(())
    }

    fn reclaim(&mut self, entry: &Entry) -> Result<(), &'static str> {
        if entry.details["previous_lease_epoch"] != self.epoch {
            return Err("a reclaim follows the latest lease");
        }
        self.end_attempt("interrupted_reclaimed");
        self.reclaims += 1;
        Ok(())
    }

    fn of_the_holder(&self, entry: &Entry) -> Result<(), &'static str> {
        let of_it = self.stand == Stand::Held(entry.uuid("lease_id"))
            && entry.details["lease_epoch"] == self.epoch;
        of_it.then_some(()).ok_or("only the lease that is held")
    }

    /// The holder gives the lease back and the execution lives on.
    fn step_back(&mut self, entry: &Entry) -> Result<(), &'static str> {
        self.of_the_holder(entry)?;
        match entry.text("reason") {
            "worker_delay" => {
                self.end_attempt("suspended");
                self.stand = Stand::Paused;
            }
            "failed_retry_scheduled" | "attempt_timeout" => {
                self.end_attempt("ended_failure");
                self.retries += 1;
                self.stand = Stand::Ready;
            }
            _ => return Err("an end of a lease that ends an execution is announced with it"),
        }
        Ok(())
    }

    fn end(&mut self, outcome: &str, released: Option<&Entry>) -> Result<(), &'static str> {
        let reason = released.map(|entry| entry.text("reason"));
        match (reason, self.stand) {
            (_, Stand::Ended(_)) => return Err("an execution ends once"),
            (Some("max_reclaims_exceeded"), Stand::Held(_) | Stand::Lost(_)) => {}
            (Some(_), _) => self.of_the_holder(released.ok_or("a lease")?)?,
            (None, Stand::Held(_)) => return Err("with the execution its lease ends"),
            (None, _) => {}
        }
        let (outcome, attempt) = match (outcome, reason) {
            ("success", Some("completed")) => ("completed", "ended_success"),
            ("failed", Some("failed_terminal" | "max_reclaims_exceeded")) => {
                ("failed", "ended_failure")
            }
            ("skipped", None) => ("skipped", "ended_cancelled"),
            ("cancelled", Some("cancelled") | None) => ("cancelled", "ended_cancelled"),
            ("expired", Some("attempt_timeout" | "execution_deadline") | None) => {
                ("expired", "ended_failure")
            }
            _ => return Err("an execution ends as its lease does"),
        };
        self.end_attempt(attempt);
        self.stand = Stand::Ended(outcome);
        Ok(())
    }

    /// The latest attempt, unless it is over already.
    fn end_attempt(&mut self, state: &'static str) {
        if let Some(last) = self.attempts.last_mut()
            && ["started", "suspended"].contains(&last.1)
        {
            last.1 = state;
        }
    }

    /// What the row says otherwise.
    pub fn differs(&self, row: &Row) -> Option<String> {
        let states: &[&str] = match self.stand {
            Stand::Ready => &["waiting", "delayed", "waiting_children"],
            Stand::Paused => &["resumable", "delayed", "waiting"],
            Stand::Held(_) | Stand::Lost(_) => &["active"],
            Stand::Ended(outcome) => &[outcome],
        };
        if !states.contains(&row.state.as_str()) {
            return Some(format!(
                "{:?} by the log, {} by the row",
                self.stand, row.state
            ));
        }
        if let Stand::Held(lease) = self.stand
            && row.lease != Some(lease)
        {
            return Some(format!(
                "lease {lease} by the log, {:?} by the row",
                row.lease
            ));
        }
        let counts = (self.epoch, self.retries, self.replays, self.reclaims);
        let stored = (row.epoch, row.retries, row.replays, row.reclaims);
        if counts != stored {
            return Some(format!(
                "epoch, retries, replays, reclaims {counts:?} by the log, {stored:?} by the row"
            ));
        }
        let attempts: Vec<_> = self
            .attempts
            .iter()
            .zip(0..)
            .map(|((id, state), index)| (index, *id, (*state).to_owned()))
            .collect();
        (attempts != row.attempts).then(|| {
            format!(
                "attempts {attempts:?} by the log, {:?} by the row",
                row.attempts
            )
        })
    }
}
