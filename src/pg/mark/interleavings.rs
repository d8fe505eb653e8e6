//! Random interleavings of sessions around one mark: nothing that is ready stays below it.
//!
//! Every session is a sequence of moments, as the server runs them, and any other session may come between two
//! of them. A claim reads the mark, takes a snapshot, meets one entry after the other, raises the mark, tries
//! the executions behind the entries one by one (in the server both happen in one statement, which is one of these
//! interleavings), and ends. An end becomes visible first, and calls back afterwards; that of
//! a prepared transaction never does, and its entries may stay below the mark until the next look.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::line::{HEAD, LOOK_EVERY, LOOK_SHARE, Line, Place, Start, TAIL};

/// How a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Commit,
    Abort,
    CommitPrepared,
    AbortPrepared,
}

impl End {
    fn commits(self) -> bool {
        [End::Commit, End::CommitPrepared].contains(&self)
    }

    fn calls_back(self) -> bool {
        [End::Commit, End::Abort].contains(&self)
    }
}

/// A transaction: puts entries into its queue, then claims, then ends.
#[derive(Clone, Debug)]
struct Plan {
    own: Vec<u8>,
    limit: usize,
    end: End,
    /// An execution that it locks first and leaves as it is.
    holds: Option<u8>,
    /// It claims from several queues: it raises the mark to the first entry that it sees, before it locks any.
    merges: bool,
}

/// The next moment of a session.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Next {
    Insert,
    AskMark,
    Snapshot,
    Learn,
    Reserve,
    Raise,
    Take,
    End,
    CallBack,
    Gone,
}

/// A session on its way; entries are named by their place.
#[derive(Clone, Debug)]
struct Session {
    plan: Plan,
    next: Next,
    start: Option<Start>,
    from: Place,
    seen: Vec<u8>,
    reserved: Vec<u8>,
    /// Reserved and tried: taken, or found in the hands of another.
    taken: Vec<u8>,
    passed_over: Vec<u8>,
    owes: Vec<u8>,
}

/// An entry and the execution behind it, each locked by one session at most.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    /// Inserted by a session that has not ended.
    by: Option<usize>,
    entry_locked: bool,
    execution_locked: bool,
}

fn place(at: u8) -> Place {
    (i16::from(at / 16), i64::from(at % 16), [at; 16])
}

/// The queue as the server holds it, its mark, and the sessions.
struct Server {
    line: Line,
    now: i64,
    rows: BTreeMap<u8, Row>,
    /// Places that a callback still owes to the mark.
    owed: Vec<u8>,
    /// Places that only a look finds.
    excused: BTreeSet<u8>,
    sessions: Vec<Session>,
}

impl Server {
    fn new(plans: &[Plan]) -> Server {
        let session = |plan: &Plan| Session {
            plan: plan.clone(),
            next: Next::Insert,
            start: None,
            from: HEAD,
            seen: Vec::new(),
            reserved: Vec::new(),
            taken: Vec::new(),
            passed_over: Vec::new(),
            owes: Vec::new(),
        };
        Server {
            line: Line::NEW,
            now: 2 * LOOK_EVERY,
            rows: BTreeMap::new(),
            owed: Vec::new(),
            excused: BTreeSet::new(),
            sessions: plans.iter().map(session).collect(),
        }
    }

    /// One moment of a session.
    fn advance(&mut self, who: usize) {
        let mut s = self.sessions[who].clone();
        s.next = match s.next {
            Next::Insert => self.insert(who, &mut s),
            Next::AskMark => {
                let start = self.ask();
                let own = s.plan.own.iter().map(|at| place(*at));
                s.from = own.chain([start.from]).min().unwrap_or(HEAD);
                s.start = Some(start);
                Next::Snapshot
            }
            Next::Snapshot => {
                s.seen = self.visible(Some(who), s.from);
                match s.plan.merges {
                    true => Next::Learn,
                    false => Next::Reserve,
                }
            }
            Next::Learn => {
                let first = s.seen.first().map_or(TAIL, |at| place(*at));
                if let Some(start) = s.start.take() {
                    self.line.passed(start, Some(first), self.now);
                }
                Next::Reserve
            }
            Next::Reserve => self.reserve(&mut s),
            Next::Raise => {
                let first = s.reserved.first().map(|at| place(*at));
                if let Some(start) = s.start {
                    self.line.passed(start, first, self.now);
                }
                Next::Take
            }
            Next::Take => self.take(&mut s),
            Next::End => self.end(who, &mut s),
            Next::CallBack | Next::Gone => {
                for at in std::mem::take(&mut s.owes) {
                    self.line.lower(place(at));
                    let owed = self.owed.iter().position(|owed| *owed == at);
                    owed.map(|i| self.owed.swap_remove(i));
                }
                Next::Gone
            }
        };
        self.sessions[who] = s;
    }

    /// Locks what it is to hold, and puts its own entries where none stand.
    fn insert(&mut self, who: usize, s: &mut Session) -> Next {
        let held = s.plan.holds.and_then(|at| self.rows.get_mut(&at));
        match held.filter(|row| row.by.is_none() && !row.execution_locked) {
            Some(row) => row.execution_locked = true,
            None => s.plan.holds = None,
        }
        s.plan.own.sort();
        s.plan.own.dedup();
        s.plan.own.retain(|at| !self.rows.contains_key(at));
        for at in &s.plan.own {
            let row = Row {
                by: Some(who),
                ..Row::default()
            };
            self.rows.insert(*at, row);
        }
        match s.plan.limit {
            0 => Next::End,
            _ => Next::AskMark,
        }
    }

    fn ask(&mut self) -> Start {
        match self.line.start(self.now) {
            Some(start) => start,
            None => self.line.look(self.now),
        }
    }

    /// Entries that a statement of this session sees from a place on.
    fn visible(&self, who: Option<usize>, from: Place) -> Vec<u8> {
        let seen = self
            .rows
            .iter()
            .filter(|(_, row)| row.by.is_none() || row.by == who);
        seen.map(|(at, _)| *at)
            .filter(|at| place(*at) >= from)
            .collect()
    }

    /// Tries to lock the next entry that the snapshot showed.
    fn reserve(&mut self, s: &mut Session) -> Next {
        if s.reserved.len() == s.plan.limit || s.seen.is_empty() {
            return Next::Raise;
        }
        let at = s.seen.remove(0);
        if let Some(row) = self.rows.get_mut(&at).filter(|row| !row.entry_locked) {
            row.entry_locked = true;
            s.reserved.push(at);
        }
        Next::Reserve
    }

    /// Tries to lock the execution behind the next reserved entry.
    fn take(&mut self, s: &mut Session) -> Next {
        let tried = s.taken.len() + s.passed_over.len();
        let Some(at) = s.reserved.get(tried).copied() else {
            return Next::End;
        };
        match self.rows.get_mut(&at).filter(|row| !row.execution_locked) {
            Some(row) => {
                row.execution_locked = true;
                s.taken.push(at);
            }
            None => s.passed_over.push(at),
        }
        Next::Take
    }

    /// The end becomes visible; what is free again or new is owed to the mark.
    fn end(&mut self, who: usize, s: &mut Session) -> Next {
        let commits = s.plan.end.commits();
        if let Some(row) = s.plan.holds.and_then(|at| self.rows.get_mut(&at)) {
            row.execution_locked = false;
        }
        for at in &s.reserved {
            let Some(row) = self.rows.get_mut(at) else {
                continue;
            };
            row.entry_locked = false;
            if s.taken.contains(at) {
                row.execution_locked = false;
            }
        }
        let (mut free, gone) = if commits {
            (s.passed_over.clone(), s.taken.clone())
        } else {
            (s.reserved.clone(), s.plan.own.clone())
        };
        if commits {
            free.extend(&s.plan.own);
        }
        for at in &gone {
            self.rows.remove(at);
            self.excused.remove(at);
        }
        free.retain(|at| self.rows.contains_key(at));
        for at in &free {
            if let Some(row) = self.rows.get_mut(at).filter(|row| row.by == Some(who)) {
                row.by = None;
            }
        }
        if s.plan.end.calls_back() {
            self.owed.extend(&free);
            s.owes = free;
            Next::CallBack
        } else {
            self.excused.extend(&free);
            Next::Gone
        }
    }

    /// What is committed and free, and owed by nobody, stands at or above the mark.
    fn check(&self) {
        for (at, row) in &self.rows {
            let free = row.by.is_none() && !row.entry_locked;
            if free && !self.owed.contains(at) && !self.excused.contains(at) {
                let start = self.line.start(self.now);
                let found = start.is_none_or(|start| place(*at) >= start.from);
                assert!(found, "{at} is stranded: {:?}", self.line);
            }
        }
    }

    /// With nobody else about, a claim finds the first entry there is.
    fn claim_finds_the_first(&mut self) {
        let start = self.ask();
        let found = self.visible(None, start.from).first().copied();
        assert_eq!(found, self.rows.keys().next().copied(), "{:?}", self.line);
        self.line.passed(start, found.map(place), self.now + 10);
    }

    /// Runs all sessions to their ends, in the order that `turns` says; time passes between turns.
    fn run(&mut self, turns: &[(prop::sample::Index, i64)]) {
        for (who, passing) in turns.iter().cycle() {
            let alive: Vec<usize> = (0..self.sessions.len())
                .filter(|i| self.sessions[*i].next != Next::Gone)
                .collect();
            if alive.is_empty() {
                return;
            }
            self.now += passing;
            self.advance(alive[who.index(alive.len())]);
            self.check();
        }
    }
}

fn plan(end: impl Strategy<Value = End>) -> impl Strategy<Value = Plan> {
    let holds = prop::option::weighted(0.2, 0u8..40);
    let own = vec(0u8..40, 0..4);
    (own, 0usize..4, end, holds, any::<bool>()).prop_map(|(own, limit, end, holds, merges)| Plan {
        own,
        limit,
        end,
        holds,
        merges,
    })
}

fn any_end() -> impl Strategy<Value = End> {
    prop_oneof![
        4 => Just(End::Commit),
        2 => Just(End::Abort),
        1 => Just(End::CommitPrepared),
        1 => Just(End::AbortPrepared),
    ]
}

fn own_end() -> impl Strategy<Value = End> {
    prop_oneof![3 => Just(End::Commit), 2 => Just(End::Abort)]
}

fn turns(longest: i64) -> impl Strategy<Value = Vec<(prop::sample::Index, i64)>> {
    vec((any::<prop::sample::Index>(), 0..longest), 1..150)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_claim_from_the_mark_finds_the_first_entry(plans in vec(plan(own_end()), 1..12), turns in turns(2_000)) {
        let mut server = Server::new(&plans);
        server.run(&turns);
        server.claim_finds_the_first();
    }

    #[test]
    fn a_look_finds_what_nobody_called_back_for(plans in vec(plan(any_end()), 1..12), turns in turns(300_000)) {
        let mut server = Server::new(&plans);
        server.run(&turns);
        server.now += LOOK_EVERY.max(300_000 * 150 * 12 * LOOK_SHARE);
        server.claim_finds_the_first();
        // The look has mended the mark for those who follow.
        server.excused.clear();
        server.check();
    }
}
