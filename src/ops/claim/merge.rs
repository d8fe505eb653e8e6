//! Merges several queues in claim order, reading no more of them than it has to.
//!
//! A queue's low-water mark is a place before which it has nothing to offer. So the queues with the lowest marks are
//! read first, and what is found there before the mark of every other is next, whatever the others hold.

use std::collections::HashMap;

use uuid::Uuid;

use crate::model::due::Position;
use crate::pg::mark::{self, TAIL, Ticket};
use crate::pg::session;
use crate::pg::spi::Db;
use crate::store::ready::{self, Wanted};

use super::next::Claim;

/// Queues read in the first go.
const FIRST: usize = 4;
/// Entries read of one queue in one go.
const DEPTH: i64 = 256;

/// One of the queues.
struct Line {
    queue: i32,
    /// It offers nothing before this place.
    from: Position,
    /// What its mark told, until it is told in turn.
    ticket: Option<Ticket>,
}

/// A claim's way through its queues.
pub struct Merge {
    lines: Vec<Line>,
    /// The claim sees every entry, so it may raise marks.
    whole: bool,
}

impl Merge {
    /// Asks for the marks, which must come before any statement that reads a queue.
    pub fn begin(claim: &Claim, queues: &[(i32, String)]) -> Merge {
        let line = |(queue, _): &(i32, String)| {
            let ticket = mark::start(ready::shared(*queue));
            Line {
                queue: *queue,
                from: ready::position(ticket.from),
                ticket: Some(ticket),
            }
        };
        Merge {
            lines: queues.iter().map(line).collect(),
            whole: claim.sees_all() && session::read_committed(),
        }
    }

    /// The next places in claim order, unlocked, and as many as are wanted unless fewer are sure to be next; none
    /// when nothing is left.
    pub fn next(&mut self, db: &Db, wanted: Wanted) -> Vec<Position> {
        let wanted = Wanted {
            limit: wanted.limit.min(DEPTH),
            ..wanted
        };
        self.lines.sort_by_key(|line| line.from);
        let mut read = 0;
        let mut heads: Vec<(i32, Position)> = Vec::new();
        let sure = loop {
            let upto = self.reach(read);
            let group = self.lines.get(read..upto).unwrap_or_default();
            let starts: Vec<_> = group.iter().map(|line| (line.queue, line.from)).collect();
            let found = ready::heads(db, &starts, wanted);
            self.learn(read..upto, &found);
            heads.extend(found);
            heads.sort_by_key(|(_, place)| *place);
            let sure = self.sure(upto, &heads, wanted.limit);
            if sure >= wanted.limit as usize || upto == self.lines.len() {
                break sure;
            }
            read = upto;
        };
        heads.truncate(sure.min(wanted.limit as usize));
        if let Some((_, last)) = heads.last() {
            let behind = behind(last);
            for line in &mut self.lines {
                line.from = line.from.max(behind);
            }
        }
        heads.into_iter().map(|(_, place)| place).collect()
    }

    /// How far to read on: a few queues more, then many, and none of several that start at one place without the others.
    fn reach(&self, read: usize) -> usize {
        let upto = (read + FIRST.max(3 * read)).min(self.lines.len());
        let last = upto.checked_sub(1).and_then(|n| self.lines.get(n));
        let tied = last.map_or(0, |last| {
            let behind = self.lines.iter().skip(upto);
            behind.take_while(|line| line.from == last.from).count()
        });
        upto + tied
    }

    /// How many of the heads stand before everything that has not been read.
    fn sure(&self, upto: usize, heads: &[(i32, Position)], depth: i64) -> usize {
        let unread = self.lines.get(upto).map(|line| line.from);
        // A queue may go on behind the last entry that was read of it.
        let mut counts = HashMap::new();
        let deep = heads.iter().find(|(queue, _)| {
            let count = counts.entry(*queue).or_insert(0);
            *count += 1;
            *count == depth
        });
        let deep = deep.map(|(_, last)| behind(last));
        match unread.into_iter().chain(deep).min() {
            Some(bound) => heads.partition_point(|(_, place)| *place < bound),
            None => heads.len(),
        }
    }

    /// Raises the marks of queues that were read from them on.
    fn learn(&mut self, read: std::ops::Range<usize>, found: &[(i32, Position)]) {
        for line in self.lines.get_mut(read).unwrap_or_default() {
            let Some(ticket) = line.ticket.take().filter(|_| self.whole) else {
                continue;
            };
            let first = found.iter().find(|(queue, _)| *queue == line.queue);
            let first = first.map_or(TAIL, |(_, place)| ready::place(place));
            mark::passed(ready::shared(line.queue), ticket, Some(first));
        }
    }
}

/// The first place after another.
fn behind(place: &Position) -> Position {
    match place.id.as_u128().checked_add(1) {
        Some(id) => Position {
            id: Uuid::from_u128(id),
            ..*place
        },
        None => Position {
            created_at: place.created_at.plus(1),
            id: Uuid::nil(),
            ..*place
        },
    }
}
