//! Random interleavings of sessions around one mark: nothing that is ready stays below it.
//!
//! Every session is a sequence of moments, as the server runs them, and any other session may come between two
//! of them: a claim reads the mark, takes a snapshot, tries one row after the other, raises the mark, ends; an
//! end becomes visible first, and calls back afterwards. A prepared transaction never calls back, and neither
//! does one that locks a row and leaves it: such entries may stay below the mark until the next look.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::line::{LOOK_EVERY, LOOK_SHARE, Line, Place, Start};

/// How a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Commit,
    Abort,
    CommitPrepared,
    AbortPrepared,
}

/// What a session is to do.
#[derive(Clone, Debug)]
enum Plan {
    /// Puts entries into the queue: new work, a retry, an elapsed delay.
    Create { at: Vec<u8>, end: End },
    /// Takes up to `limit` entries; gives them back unless it commits.
    Claim { limit: usize, end: End },
    /// Locks an entry's row and leaves the entry where it is.
    Hold { at: u8 },
}

/// Where a session stands; entries are named by their place.
#[derive(Clone, Debug)]
enum Session {
    Creating {
        at: Vec<u8>,
        end: End,
    },
    Begun {
        limit: usize,
        end: End,
    },
    Told {
        start: Start,
        limit: usize,
        end: End,
    },
    Taking {
        start: Start,
        seen: Vec<u8>,
        taken: Vec<u8>,
        limit: usize,
        end: End,
    },
    Holding {
        at: u8,
    },
    Claimed {
        taken: Vec<u8>,
        end: End,
    },
    /// Its end is visible, the callback is still to come.
    Ended {
        owes: Vec<u8>,
    },
    Gone,
}

fn place(at: u8) -> Place {
    (i16::from(at / 16), i64::from(at % 16), [at; 16])
}

/// The queue as the server holds it, its mark, and the sessions.
struct Server {
    line: Line,
    now: i64,
    /// Committed entries; the flag says that somebody has the row locked.
    entries: BTreeMap<u8, bool>,
    /// Entries that a callback owes to the mark.
    owed: Vec<u8>,
    /// Entries that only a look finds.
    excused: BTreeSet<u8>,
    sessions: Vec<Session>,
}

impl Server {
    fn new(plans: &[Plan]) -> Server {
        let sessions = plans.iter().cloned().map(|plan| match plan {
            Plan::Create { at, end } => Session::Creating { at, end },
            Plan::Claim { limit, end } => Session::Begun { limit, end },
            Plan::Hold { at } => Session::Holding { at },
        });
        Server {
            line: Line::NEW,
            now: 2 * LOOK_EVERY,
            entries: BTreeMap::new(),
            owed: Vec::new(),
            excused: BTreeSet::new(),
            sessions: sessions.collect(),
        }
    }

    /// The next moment of a session, or none if it has ended.
    fn advance(&mut self, who: usize) -> bool {
        let session = std::mem::replace(&mut self.sessions[who], Session::Gone);
        let next = match session {
            Session::Gone => return false,
            Session::Creating { at, end } => self.create(at, end),
            Session::Begun { limit, end } => {
                let start = self.begin();
                Session::Told { start, limit, end }
            }
            Session::Told { start, limit, end } => Session::Taking {
                start,
                seen: self.snapshot(start),
                taken: Vec::new(),
                limit,
                end,
            },
            Session::Taking {
                start,
                seen,
                taken,
                limit,
                end,
            } => self.take(start, seen, taken, limit, end),
            Session::Claimed { taken, end } => self.finish(taken, end),
            Session::Ended { owes } => {
                for at in owes {
                    self.line.lower(place(at));
                    self.owed.retain(|owed| *owed != at);
                }
                Session::Gone
            }
            Session::Holding { at } => self.hold(at),
        };
        self.sessions[who] = next;
        true
    }

    fn begin(&mut self) -> Start {
        match self.line.start(self.now) {
            Some(start) => start,
            None => self.line.look(self.now),
        }
    }

    fn snapshot(&self, start: Start) -> Vec<u8> {
        let visible = self.entries.keys().copied();
        visible.filter(|at| place(*at) >= start.from).collect()
    }

    /// Uncommitted entries concern nobody, so only the end of a creator is a moment.
    fn create(&mut self, at: Vec<u8>, end: End) -> Session {
        if [End::Abort, End::AbortPrepared].contains(&end) {
            return Session::Gone;
        }
        // What stands there or is somebody's already cannot be put there again.
        let new: Vec<u8> = at
            .into_iter()
            .filter(|at| !self.entries.contains_key(at))
            .collect();
        self.entries.extend(new.iter().map(|at| (*at, false)));
        if end == End::CommitPrepared {
            self.excused.extend(&new);
            return Session::Gone;
        }
        for at in &new {
            self.excused.remove(at);
        }
        self.owed.extend(&new);
        Session::Ended { owes: new }
    }

    /// Tries the next row that the snapshot showed.
    fn take(
        &mut self,
        start: Start,
        mut seen: Vec<u8>,
        mut taken: Vec<u8>,
        limit: usize,
        end: End,
    ) -> Session {
        if taken.len() < limit && !seen.is_empty() {
            let at = seen.remove(0);
            if let Some(locked @ false) = self.entries.get_mut(&at) {
                *locked = true;
                taken.push(at);
            }
            return Session::Taking {
                start,
                seen,
                taken,
                limit,
                end,
            };
        }
        let first = taken.first().map(|at| place(*at));
        self.line.passed(start, first, self.now);
        Session::Claimed { taken, end }
    }

    fn finish(&mut self, taken: Vec<u8>, end: End) -> Session {
        match end {
            End::Commit | End::CommitPrepared => {
                for at in &taken {
                    self.entries.remove(at);
                    self.excused.remove(at);
                }
                Session::Gone
            }
            End::Abort | End::AbortPrepared => {
                self.entries.extend(taken.iter().map(|at| (*at, false)));
                if end == End::AbortPrepared {
                    self.excused.extend(&taken);
                    return Session::Gone;
                }
                self.owed.extend(&taken);
                Session::Ended { owes: taken }
            }
        }
    }

    /// Locks the row at one moment and lets go of it at a later one.
    fn hold(&mut self, at: u8) -> Session {
        match self.entries.get_mut(&at) {
            Some(locked @ false) => {
                *locked = true;
                self.excused.insert(at);
                Session::Claimed {
                    taken: vec![at],
                    end: End::AbortPrepared,
                }
            }
            _ => Session::Gone,
        }
    }

    /// What is visible and free, and whose transaction has called back, stands at or above the mark.
    fn check(&self) {
        let ready = self.entries.iter().filter(|(_, locked)| !**locked);
        for (at, _) in ready.filter(|(at, _)| !self.owed.contains(at) && !self.excused.contains(at))
        {
            let mut line = self.line;
            let start = self
                .line
                .start(self.now)
                .unwrap_or_else(|| line.look(self.now));
            assert!(place(*at) >= start.from, "{at} is stranded: {line:?}");
        }
    }

    /// A claim now finds the first entry there is.
    fn claim_finds_the_first(&mut self) {
        let start = self.begin();
        let free = self.entries.iter().find(|(_, locked)| !**locked);
        let found = self.snapshot(start).first().copied();
        assert_eq!(found, free.map(|(at, _)| *at), "{:?}", self.line);
        self.line.passed(start, found.map(place), self.now + 10);
    }
}

fn plan(careless: bool) -> impl Strategy<Value = Plan> {
    let end = if careless {
        prop_oneof![
            4 => Just(End::Commit),
            2 => Just(End::Abort),
            1 => Just(End::CommitPrepared),
            1 => Just(End::AbortPrepared),
        ]
        .boxed()
    } else {
        prop_oneof![3 => Just(End::Commit), 2 => Just(End::Abort)].boxed()
    };
    let create = (vec(any::<u8>(), 1..4), end.clone());
    let claim = (1usize..4, end);
    prop_oneof![
        4 => create.prop_map(|(at, end)| Plan::Create { at, end }),
        4 => claim.prop_map(|(limit, end)| Plan::Claim { limit, end }),
        u32::from(careless) => any::<u8>().prop_map(|at| Plan::Hold { at }),
    ]
}

/// Runs all sessions to their ends, in the order that `turns` says; time passes between turns.
fn run(server: &mut Server, turns: &[(prop::sample::Index, i64)]) {
    let mut turns = turns.iter().cycle();
    while let Some((who, passing)) = turns.next() {
        let alive: Vec<usize> = (0..server.sessions.len())
            .filter(|i| !matches!(server.sessions[*i], Session::Gone))
            .collect();
        if alive.is_empty() {
            return;
        }
        server.now += passing;
        server.advance(alive[who.index(alive.len())]);
        server.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn a_claim_from_the_mark_finds_the_first_entry(
        plans in vec(plan(false), 1..16),
        turns in vec((any::<prop::sample::Index>(), 0i64..2_000), 1..120),
    ) {
        let mut server = Server::new(&plans);
        run(&mut server, &turns);
        server.claim_finds_the_first();
    }

    #[test]
    fn a_look_finds_what_nobody_called_back_for(
        plans in vec(plan(true), 1..16),
        turns in vec((any::<prop::sample::Index>(), 0i64..300_000), 1..120),
    ) {
        let mut server = Server::new(&plans);
        run(&mut server, &turns);
        server.now += LOOK_EVERY.max(300_000 * 120 * LOOK_SHARE);
        server.claim_finds_the_first();
        // The look has mended the mark for those who follow.
        server.excused.clear();
        server.check();
    }
}
