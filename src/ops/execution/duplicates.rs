//! Requests that name something that exists (§10.6): by idempotency key, or by an id of the caller's choice.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::guc;
use crate::model::id;
use crate::model::time::MS;
use crate::pg::spi::Db;
use crate::store;
use crate::store::idempotency::Key;

use super::super::clock;
use super::create::{Checked, Created, Request};

/// Takes the keys; a request whose key is alive elsewhere is a duplicate.
pub fn by_key(db: &Db, checked: &[Checked], answers: &mut [Option<Created>]) {
    let mut keys: BTreeMap<(&str, i32), Key> = BTreeMap::new();
    let now = clock::now();
    for c in checked {
        if let Some(key) = c.request.key {
            let window = c
                .request
                .dedup_window_ms
                .or(c.policy.dedup_window_ms)
                .unwrap_or_else(|| i64::from(guc::DEFAULT_DEDUP_WINDOW.value.get()) * 1000);
            keys.entry((key, c.namespace)).or_insert_with(|| Key {
                namespace: c.namespace,
                key: key.to_owned(),
                id: c.id,
                request: fingerprint(c.request),
                expires_at: now.plus(window.saturating_mul(MS)),
            });
        }
    }
    if keys.is_empty() {
        return;
    }
    let all: Vec<Key> = keys.values().cloned().collect();
    let taken = store::idempotency::take(db, &all, now);
    let lost: Vec<&Key> = all.iter().filter(|k| !taken.contains(&k.id)).collect();
    let holders = if lost.is_empty() {
        Vec::new()
    } else {
        store::idempotency::holders(db, &lost)
    };
    let ids: Vec<Uuid> = holders.iter().map(|(_, _, id, _)| *id).collect();
    let states = if ids.is_empty() {
        Vec::new()
    } else {
        store::execution::states(db, &ids)
    };
    for (c, answer) in checked.iter().zip(answers) {
        let Some(key) = c.request.key else { continue };
        let holder = holders
            .iter()
            .find(|(namespace, held, ..)| *namespace == c.namespace && held == key);
        if let Some((_, _, id, hash)) = holder {
            let state = states.iter().find(|(held, ..)| held == id);
            *answer = Some(Created {
                outcome: "duplicate",
                id: *id,
                public_state: state.map(|(_, word, _)| word.clone()),
                partition: state.map_or_else(|| i16::from(id::partition_of(*id)), |(.., p)| *p),
                request_matches: Some(hash.as_slice() == fingerprint(c.request)),
            });
        } else if let Some(first) = keys
            .get(&(key, c.namespace))
            .filter(|first| first.id != c.id)
        {
            // The same key twice in one call: the second is a duplicate of the first.
            *answer = Some(Created {
                outcome: "duplicate",
                id: first.id,
                public_state: None,
                partition: i16::from(id::partition_of(first.id)),
                request_matches: Some(first.request == fingerprint(c.request)),
            });
        }
    }
}

/// Lane, kind and payload: what makes two requests equal (§10.6).
fn fingerprint(r: &Request) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [r.lane.as_bytes(), r.kind.as_bytes()] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    match r.payload {
        Some(payload) => {
            hash.update([1]);
            hash.update(payload);
        }
        None => hash.update([0]),
    }
    hash.finalize().into()
}

/// A chosen id that exists, or that stands twice in the call, is a duplicate.
pub fn by_id(db: &Db, checked: &[Checked], answers: &mut [Option<Created>]) {
    let chosen: Vec<Uuid> = checked.iter().filter_map(|c| c.request.id).collect();
    if chosen.is_empty() {
        return;
    }
    let states = store::execution::states(db, &chosen);
    let mut seen = BTreeSet::new();
    for (c, answer) in checked.iter().zip(answers) {
        let Some(id) = c.request.id.filter(|_| answer.is_none()) else {
            continue;
        };
        let state = states.iter().find(|(held, ..)| *held == id);
        if state.is_some() || !seen.insert(id) {
            *answer = Some(duplicate_by_id(id, state));
        }
    }
}

fn duplicate_by_id(id: Uuid, state: Option<&(Uuid, String, i16)>) -> Created {
    Created {
        outcome: "duplicate",
        id,
        public_state: state.map(|(_, word, _)| word.clone()),
        partition: state.map_or_else(|| i16::from(id::partition_of(id)), |(.., p)| *p),
        request_matches: None,
    }
}

/// Answers that had to wait for the insert: twins inside the call, and chosen ids lost to another session.
pub fn resolve(db: &Db, checked: &[Checked], answers: &mut [Option<Created>]) {
    let open = |a: &Option<Created>| {
        a.as_ref()
            .is_none_or(|a| a.outcome == "duplicate" && a.public_state.is_none())
    };
    let ids: Vec<Uuid> = checked
        .iter()
        .zip(answers.iter())
        .filter(|(_, a)| open(a))
        .map(|(c, a)| a.as_ref().map_or(c.id, |a| a.id))
        .collect();
    if ids.is_empty() {
        return;
    }
    let states = store::execution::states(db, &ids);
    for (c, answer) in checked.iter().zip(answers).filter(|(_, a)| open(a)) {
        let answer = answer.get_or_insert_with(|| duplicate_by_id(c.id, None));
        if let Some((_, word, partition)) = states.iter().find(|(id, ..)| *id == answer.id) {
            answer.public_state = Some(word.clone());
            answer.partition = *partition;
        }
    }
}
