//! Refused waitpoint tokens, counted outside transactions, because the failing call leaves no trace of its own.
//!
//! Each key's refusals are logged at most once a minute. With the library preloaded the numbers are the server's, and
//! the execution concerned is noted until a background worker stores it.

use std::cell::RefCell;

use pgrx::lwlock::PgLwLock;
use pgrx::shmem::PGRXSharedMemory;

use super::{clock, session, shared};

/// Keys told apart; the longest silent one makes room for another.
const KEYS: usize = 32;
/// Executions noted between two visits of the background workers.
const NOTES: usize = 256;
/// Pause between two log lines of a key, microseconds.
const QUIET: i64 = 60_000_000;
/// Longest name of a key.
const KID_BYTES: usize = 64;

/// Why a token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There was none.
    Missing,
    /// It has not the shape of a token.
    Malformed,
    /// It is not the token of this waitpoint.
    Wrong,
    /// Its key has lapsed.
    Expired,
}

const REASONS: [&str; 4] = ["missing", "malformed", "wrong", "expired"];

#[derive(Clone, Copy)]
struct Key {
    database: u32,
    kid: [u8; KID_BYTES],
    length: usize,
    /// By reason, since the server started, and of these what the log has not told yet.
    refused: [u64; REASONS.len()],
    untold: [u64; REASONS.len()],
    logged_at: i64,
    seen_at: i64,
}

const FREE: Key = Key {
    database: 0,
    kid: [0; KID_BYTES],
    length: 0,
    refused: [0; REASONS.len()],
    untold: [0; REASONS.len()],
    logged_at: i64::MIN,
    seen_at: i64::MIN,
};

/// A refusal at a waitpoint of an execution.
#[derive(Clone, Copy)]
struct Note {
    database: u32,
    execution: [u8; 16],
    at: i64,
}

/// What is known of refusals.
pub struct Rejections {
    keys: [Key; KEYS],
    notes: [Note; NOTES],
    noted: usize,
}

impl Default for Rejections {
    fn default() -> Self {
        Rejections {
            keys: [FREE; KEYS],
            notes: [Note {
                database: 0,
                execution: [0; 16],
                at: 0,
            }; NOTES],
            noted: 0,
        }
    }
}

// SAFETY: plain numbers in fixed arrays, no pointers.
unsafe impl PGRXSharedMemory for Rejections {}

// SAFETY: the name is used once in this library.
pub(super) static REJECTIONS: PgLwLock<Rejections> =
    unsafe { PgLwLock::new(c"ff_engine rejections") };

thread_local! {
    /// Without shared memory each backend counts for itself.
    static OWN: RefCell<Rejections> = RefCell::default();
}

impl Rejections {
    /// Counts; returns what is to be logged, if the key has been silent long enough.
    fn count(
        &mut self,
        database: u32,
        kid: &[u8],
        reason: Reason,
        now: i64,
    ) -> Option<[u64; REASONS.len()]> {
        let same = |k: &Key| k.database == database && k.kid.get(..k.length) == Some(kid);
        let at = self.keys.iter().position(same).or_else(|| {
            let oldest = self.keys.iter_mut().enumerate();
            let (i, slot) = oldest.min_by_key(|(_, k)| k.seen_at)?;
            *slot = FREE;
            slot.database = database;
            slot.length = kid.len().min(KID_BYTES);
            for (to, from) in slot.kid.iter_mut().zip(kid) {
                *to = *from;
            }
            Some(i)
        })?;
        let key = self.keys.get_mut(at)?;
        key.seen_at = now;
        for counts in [&mut key.refused, &mut key.untold] {
            if let Some(n) = counts.get_mut(reason as usize) {
                *n += 1;
            }
        }
        if now.saturating_sub(key.logged_at) < QUIET {
            return None;
        }
        key.logged_at = now;
        Some(std::mem::replace(&mut key.untold, [0; REASONS.len()]))
    }

    /// Notes the execution; when there is no room the latest note gives way.
    fn note(&mut self, note: Note) {
        let known = self.notes.iter().take(self.noted);
        let mut known = known.enumerate();
        let same =
            known.find(|(_, n)| n.database == note.database && n.execution == note.execution);
        let at = match same {
            Some((i, _)) => i,
            None => {
                self.noted = (self.noted + 1).min(NOTES);
                self.noted - 1
            }
        };
        if let Some(slot) = self.notes.get_mut(at) {
            *slot = note;
        }
    }
}

/// Counts a refusal under the name of a key, if the token names a known one.
pub fn count(kid: Option<&str>, reason: Reason, execution: Option<[u8; 16]>) {
    let (database, now) = (session::database(), clock::wall_micros());
    let name = kid.unwrap_or_default().as_bytes();
    let refused = if shared::preloaded() {
        let mut rejections = REJECTIONS.exclusive();
        if let Some(execution) = execution {
            rejections.note(Note {
                database,
                execution,
                at: now,
            });
        }
        rejections.count(database, name, reason, now)
    } else {
        OWN.with_borrow_mut(|own| own.count(database, name, reason, now))
    };
    if let Some(refused) = refused {
        log(kid, &refused);
    }
}

fn log(kid: Option<&str>, refused: &[u64]) {
    let kid = kid.map_or("no known key".to_owned(), |kid| {
        format!("{kid}:<REDACTED:len=64>")
    });
    let numbers: Vec<String> = REASONS
        .iter()
        .zip(refused)
        .filter(|(_, n)| **n > 0)
        .map(|(reason, n)| format!("{n} {reason}"))
        .collect();
    session::log(&format!(
        "ff_engine: refused waitpoint tokens of {kid}: {}",
        numbers.join(", ")
    ));
}

/// How many tokens of a key were refused for a reason.
pub struct Refused {
    /// Name of the key; none if the tokens named no known one.
    pub kid: Option<String>,
    /// Why.
    pub reason: &'static str,
    /// How many.
    pub count: u64,
}

/// What was refused in this database since the server started; nothing without preloading.
pub fn all() -> Vec<Refused> {
    if !shared::preloaded() {
        return Vec::new();
    }
    let database = session::database();
    let keys = REJECTIONS.share().keys;
    let mine = keys.iter().filter(|k| k.database == database);
    mine.flat_map(|key| {
        let name = String::from_utf8_lossy(key.kid.get(..key.length).unwrap_or_default());
        let kid = (key.length > 0).then(|| name.into_owned());
        let counts = REASONS.iter().zip(key.refused).filter(|(_, n)| *n > 0);
        counts
            .map(|(reason, count)| Refused {
                kid: kid.clone(),
                reason,
                count,
            })
            .collect::<Vec<_>>()
    })
    .collect()
}

/// Takes the notes of this database: executions and when a token was last refused there.
pub fn take() -> Vec<([u8; 16], i64)> {
    if !shared::preloaded() || REJECTIONS.share().noted == 0 {
        return Vec::new();
    }
    let database = session::database();
    let mut rejections = REJECTIONS.exclusive();
    let all: Vec<Note> = rejections
        .notes
        .iter()
        .take(rejections.noted)
        .copied()
        .collect();
    rejections.noted = 0;
    let (mine, others): (Vec<Note>, Vec<Note>) =
        all.into_iter().partition(|n| n.database == database);
    for note in others {
        rejections.note(note);
    }
    mine.into_iter().map(|n| (n.execution, n.at)).collect()
}
