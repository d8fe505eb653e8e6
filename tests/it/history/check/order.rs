//! Rules about time: what was over before something else began comes first, and who was turned away came too late.

use std::time::Duration;

use uuid::Uuid;

use super::super::call::{Asked, Call, Fate, Reply};
use super::super::facts::Entry;
use super::super::life::Step;
use super::{Record, mark};

impl<'a> Record<'a> {
    /// Whose step it was, where only one call can have made it.
    fn caller(&self, step: &Step) -> Option<&'a Call> {
        if step.grants() {
            let number = step.entry.text("worker_instance").strip_prefix("h-")?;
            return self.by_number.get(&number.parse().ok()?).copied();
        }
        match self.suspects.get(&mark(step)?)?.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// No step stands before another whose call had been answered before its own began.
    pub(super) fn order_is_that_of_time(&mut self) {
        let mut found = Vec::new();
        for (id, steps) in &self.lives {
            let creation = self
                .rows
                .get(id)
                .and_then(|row| self.by_number.get(&row.call));
            let callers = steps.iter().filter_map(|step| self.caller(step));
            let mut latest = Duration::ZERO;
            for call in creation.into_iter().copied().chain(callers) {
                if call.ended.is_some_and(|ended| ended < latest) {
                    found.push(format!(
                        "{id}: call {} was over before its turn came",
                        call.number
                    ));
                }
                latest = latest.max(call.began);
            }
        }
        for about in found {
            self.violated("time", about);
        }
    }

    /// Progress leaves no event: nobody else's lease may have been known before it was reported.
    pub(super) fn progress_was_the_holders(&mut self) {
        let mut found = Vec::new();
        for call in self.calls {
            let (Asked::Progress(lease), Fate::Committed) = (&call.asked, call.fate) else {
                continue;
            };
            if !matches!(call.reply, Reply::Said(_)) {
                continue;
            }
            let steps = self.lives.get(&lease.execution);
            let later = steps.into_iter().flatten().filter(|step| {
                step.grants() && step.entry.details["lease_epoch"].as_i64() > Some(lease.epoch)
            });
            for other in later.filter_map(|step| self.caller(step)) {
                if other.ended.is_some_and(|ended| ended < call.began) {
                    found.push(format!(
                        "call {} reported under lease {} after call {} had taken over",
                        call.number, lease.id, other.number
                    ));
                }
            }
        }
        for about in found {
            self.violated("exclusive", about);
        }
    }

    /// Who was turned away had lost the lease, or came too late in another way.
    pub(super) fn refusals_have_reasons(&mut self) {
        let mut found = Vec::new();
        for call in self.calls.iter().filter(|call| !self.after_own(call)) {
            if let Reply::Refused(code) = &call.reply
                && !self.justified(call, code)
            {
                found.push(format!(
                    "call {} was refused with {code}: {:?}",
                    call.number, call.asked
                ));
            }
        }
        for about in found {
            self.violated("refusal", about);
        }
    }

    fn justified(&self, call: &Call, code: &str) -> bool {
        // Transactions of several steps may meet in opposite orders, and one under a fixed snapshot may lose a race.
        if ["40P01", "40001"].contains(&code) {
            return true;
        }
        let Some(id) = call.asked.execution() else {
            return false;
        };
        let Some(row) = self.rows.get(&id) else {
            // Its creation was told to nobody and did not last.
            return code == "FF001";
        };
        let steps = self.lives.get(&id).map(Vec::as_slice).unwrap_or_default();
        let ended = |step: &Step| step.entry.word.starts_with("completion.");
        let Some(lease) = call.asked.lease() else {
            return match code {
                "FF210" | "FF211" => steps.iter().any(ended),
                "FF413" => true,
                "FF414" => row.replays >= 10,
                _ => false,
            };
        };
        let of_it = |entry: &Entry| entry.uuid("lease_id") == lease.id;
        // So with a lease whose claim did not last, or had not happened yet: its caller was never told.
        let grant = steps.iter().find(|step| step.grants() && of_it(step.entry));
        let sure = |call: &Call| call.fate == Fate::Committed;
        let told = grant.and_then(|step| self.caller(step)).is_some_and(sure);
        if !told && ["FF401", "FF402", "FF210"].contains(&code) {
            return true;
        }
        // A claim whose commit was not confirmed may have lasted, and its lease may be lost like any other.
        match code {
            "FF401" => steps.iter().any(|step| {
                step.grants() && step.entry.details["lease_epoch"].as_i64() > Some(lease.epoch)
            }),
            "FF402" => self.had_run_out(lease.id, call),
            "FF403" => {
                let revoked = |step: &Step| step.entry.word == "lease.revoked";
                steps.iter().any(|step| revoked(step) && of_it(step.entry))
            }
            // Nobody holds what this lease or a later one has given back.
            "FF210" => steps.iter().any(|step| {
                let back = step.release().map(|r| r.details["lease_epoch"].as_i64());
                ended(step) || back.is_some_and(|epoch| epoch >= Some(lease.epoch))
            }),
            _ => false,
        }
    }

    /// Whether the lease's end, as far as it was told before the call, had passed at its answer.
    fn had_run_out(&self, lease: Uuid, call: &Call) -> bool {
        let told = self
            .expiries
            .get(&lease)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let before = told.iter().filter(|(_, by)| {
            by.fate == Fate::Committed && by.ended.is_some_and(|ended| ended < call.began)
        });
        before
            .map(|(at, _)| *at)
            .max()
            .is_none_or(|end| end <= call.answered_at)
    }
}
