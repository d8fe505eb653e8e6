//! Rules about members of a flow: an edge is there exactly once if it was acknowledged, and it decides who runs.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::super::call::{Asked, Effect, Fate};
use super::super::life::Step;
use super::Record;

impl Record<'_> {
    /// Every acknowledged dependency is there, and every one that is there was asked for.
    pub(super) fn edges_are_those_asked_for(&mut self) {
        let mut asked: BTreeMap<Uuid, Uuid> = BTreeMap::new();
        let mut found = Vec::new();
        for call in self.calls {
            let Asked::Child(upstream) = call.asked else {
                continue;
            };
            for effect in call.said() {
                let Effect::Created(child) = effect else {
                    continue;
                };
                asked.insert(*child, upstream);
                let there = self.upstreams.get(child) == Some(&upstream);
                if call.fate == Fate::Committed && !there {
                    found.push(("lost", format!("{child} does not wait for {upstream}")));
                }
            }
        }
        for (child, upstream) in self.upstreams {
            let call = self.rows.get(child).map(|row| row.call);
            let call = call.and_then(|number| self.by_number.get(&number));
            let of_it = |asked: &Asked| matches!(asked, Asked::Child(id) if id == upstream);
            if !call.is_some_and(|call| of_it(&call.asked)) {
                found.push(("unasked", format!("{child} waits for {upstream}")));
            }
        }
        for (rule, about) in found {
            self.violated(rule, about);
        }
    }

    /// Nobody starts before the one he waits for has ended well, or is skipped before it has ended otherwise.
    pub(super) fn upstreams_come_first(&mut self) {
        let mut found = Vec::new();
        for (child, upstream) in self.upstreams {
            let of = |id: &Uuid| self.lives.get(id).map(Vec::as_slice).unwrap_or_default();
            let ended = |before: &Step, well: bool| {
                of(upstream).iter().any(|step| {
                    let outcome = step.entry.word.strip_prefix("completion.");
                    step.entry.id < before.entry.id
                        && outcome.is_some_and(|outcome| (outcome == "success") == well)
                })
            };
            let start = of(child).iter().find(|step| step.grants());
            if start.is_some_and(|start| !ended(start, true)) {
                found.push(format!(
                    "{child} has started before {upstream} was completed"
                ));
            }
            let skipped = |step: &&Step| step.entry.word == "completion.skipped";
            let early = |skip: &Step| !ended(skip, false);
            if of(child).iter().filter(skipped).any(early) {
                found.push(format!("{child} was skipped and {upstream} had not ended"));
            }
        }
        for about in found {
            self.violated("dependency", about);
        }
    }
}
