//! `ff_engine.ready`: what a claim may hand out, in claim order.

use pgrx::pg_sys::BuiltinOid::*;
use uuid::Uuid;

use super::input::{self, Stored};
use super::statement::{Named, Write};
use crate::model::due::{self, Position, Ready};
use crate::model::execution::Execution;
use crate::model::time::Instant;
use crate::pg::array;
use crate::pg::mark::{Place, Queue};
use crate::pg::shared::preloaded;
use crate::pg::spi::{Arg, Db, Stmt};
use crate::pg::table::{Finder, Table};
use crate::pg::{session, xact};

use super::{covered, execution};

const QUEUE: Named = ("queue_id", INT4OID);
const RANK: Named = ("rank", INT2OID);
const CREATED_AT: Named = ("created_at", TIMESTAMPTZOID);
const ID: Named = ("execution_id", UUIDOID);
const RECLAIM: Named = ("reclaim", BOOLOID);
const PLACE: [Named; 4] = [QUEUE, RANK, CREATED_AT, ID];

static INSERT: Write<5> = Write::insert(c"ready", [QUEUE, RANK, CREATED_AT, ID, RECLAIM]);
static DELETE: Write<4> = Write::delete(c"ready", PLACE);
static ORDER: Table = Table::new(c"ready", 4);

/// The same as [`Wanted::takes`], for a look without locks.
macro_rules! claimable {
    ($reclaim:literal, $now:literal, $low:literal, $high:literal) => {
        concat!(
            "ff_engine.claimable(e.state, ",
            $reclaim,
            ") AND (e.rare -> 'grant') IS NULL AND (e.execution_deadline IS NULL OR e.execution_deadline > ",
            $now,
            ") AND e.partition_key BETWEEN ",
            $low,
            " AND ",
            $high,
            " AND (e.flow_id IS NULL OR NOT EXISTS (SELECT FROM ff_engine.flow AS f \
               WHERE f.flow_id = e.flow_id AND ff_engine.covers(f.cancellation_policy, e.state)))"
        )
    };
}

/// Entries of several queues whose execution has lost its lease.
static LOST: Stmt<1> = Stmt::new(
    c"SELECT r.execution_id FROM ff_engine.ready AS r WHERE r.queue_id = ANY ($1) AND r.reclaim
       ORDER BY r.rank, r.created_at, r.execution_id",
    [INT4ARRAYOID],
);

/// A locked candidate with all that a worker needs.
pub struct Candidate {
    /// State.
    pub execution: Execution,
    /// Its kind.
    pub kind: String,
    /// What the caller handed in.
    pub input: Stored,
}

/// Whether a claim could get something: a ready entry, or a due delay or elapsed lease that it would promote.
static WORK: Stmt<7> = Stmt::new(
    sql!(
        "SELECT EXISTS (\
            SELECT FROM unnest($1) AS q (queue_id) \
              JOIN ff_engine.ready AS r ON r.queue_id = q.queue_id AND ($7 OR r.reclaim) \
              JOIN ff_engine.execution AS e ON e.execution_id = r.execution_id \
             WHERE ",
        claimable!("$2", "$3", "$4", "$5"),
        ") OR EXISTS (\
            SELECT FROM ff_engine.timer AS t JOIN ff_engine.execution AS e ON e.execution_id = t.execution_id \
             WHERE t.kind = 'l' AND t.lane_id = $6 AND t.due_at <= $3 AND e.queue_id = ANY ($1) \
               AND e.partition_key BETWEEN $4 AND $5 \
               AND (e.execution_deadline IS NULL OR e.execution_deadline > $3) \
               AND (e.flow_id IS NULL OR NOT EXISTS (SELECT FROM ff_engine.flow AS f \
                    WHERE f.flow_id = e.flow_id AND ff_engine.covers(f.cancellation_policy, e.state))) \
               AND ($7 AND ff_engine.eligibility(e.state) = 't' AND e.delay_until <= $3 \
                    OR $2 AND ff_engine.ownership(e.state) = 'l' AND e.lease_expires_at <= $3 \
                       AND (ff_engine.instant(e.rare #> '{grant,expires_at}') > $3) IS NOT TRUE \
                    OR ($7 OR ff_engine.lifecycle(e.state) = 'a') AND ff_engine.claimable(e.state, $2) \
                       AND ff_engine.instant(e.rare #> '{grant,expires_at}') <= $3))"
    ),
    [
        INT4ARRAYOID,
        BOOLOID,
        TIMESTAMPTZOID,
        INT2OID,
        INT2OID,
        INT4OID,
        BOOLOID,
    ],
);

/// What a claim accepts.
#[derive(Clone, Copy)]
pub struct Wanted {
    /// Lost leases too.
    pub reclaim: bool,
    /// The clock; work past its deadline is not handed out.
    pub now: Instant,
    /// Lowest partition.
    pub low: i16,
    /// Highest partition.
    pub high: i16,
    /// At most so many.
    pub limit: i64,
}

/// The position before every other.
pub const HEAD: Position = Position {
    rank: i16::MIN,
    created_at: Instant(i64::MIN),
    id: Uuid::nil(),
};

impl Wanted {
    /// Whether a claim may take an execution as it stands, whatever its queue said before.
    fn takes(&self, db: &Db, e: &Execution) -> bool {
        due::ready(e).is_some_and(|entry| self.reclaim || !entry.reclaim)
            && e.deadline.is_none_or(|deadline| deadline > self.now)
            && (self.low..=self.high).contains(&e.place.partition)
            && !covered::covers(db, e)
    }
}

/// Completes locked executions with their inputs.
fn with_inputs(db: &Db, taken: Vec<(Execution, String)>) -> Vec<Candidate> {
    if taken.is_empty() {
        return Vec::new();
    }
    let inputs = input::read(db, taken.iter().map(|(e, _)| e.place.id));
    let whole = |((execution, kind), input)| Candidate {
        execution,
        kind,
        input,
    };
    taken.into_iter().zip(inputs).map(whole).collect()
}

/// Reads a queue in claim order from a position on until `work` says no more.
fn walk(order: &Finder, queue: i32, from: &Position, mut work: impl FnMut(Position) -> bool) {
    let from = [from.rank.into(), from.created_at.0.into(), from.id.into()];
    order.walk(queue.into(), &from, |row| {
        work(Position {
            rank: row.get(1),
            created_at: Instant(row.get(2)),
            id: row.get(3),
        })
    });
}

/// Locks candidates of one queue from a position on, in claim order, leaving out what others hold; with the place at
/// which the first one stood in the queue, wherever its priority has moved it since. Passes over what is to be left.
pub fn take(
    db: &Db,
    queue: i32,
    from: Position,
    w: Wanted,
    left: &[Uuid],
) -> (Vec<Candidate>, Option<Position>) {
    let mut taken = Vec::with_capacity(w.limit.clamp(0, 50) as usize);
    let mut first = None;
    // Entries are read on the snapshot of the executions, so that both are seen or neither.
    execution::candidates(db, w.limit.max(0) as usize, |candidates| {
        ORDER.find_in_active(db, &PLACE, |order| {
            walk(order, queue, &from, |position| {
                if left.contains(&position.id) {
                    return true;
                }
                if let Some(one) = candidates.lock(position.id, |e| w.takes(db, e)) {
                    order.note(&key(queue, &position));
                    first.get_or_insert(position);
                    taken.push(one);
                }
                (taken.len() as i64) < w.limit
            });
        });
    });
    (with_inputs(db, taken), first)
}

/// The first candidates of several queues from a position of each on, up to the limit of each, unlocked.
pub fn heads(db: &Db, starts: &[(i32, Position)], w: Wanted) -> Vec<(i32, Position)> {
    let mut heads = Vec::new();
    execution::candidates(db, w.limit.max(0) as usize, |candidates| {
        ORDER.find_in_active(db, &PLACE, |order| {
            for (queue, from) in starts {
                let mut left = w.limit;
                walk(order, *queue, from, |position| {
                    if candidates.is_wanted(position.id, |e| w.takes(db, e)) {
                        heads.push((*queue, position));
                        left -= 1;
                    }
                    left > 0
                });
            }
        });
    });
    heads
}

/// Locks those of the named executions that are still claimable and free, in the order given.
pub fn take_these(db: &Db, ids: impl Iterator<Item = Uuid>, w: Wanted) -> Vec<Candidate> {
    let taken = execution::candidates(db, w.limit.max(0) as usize, |candidates| {
        let taken = ids.filter_map(|id| candidates.lock(id, |e| w.takes(db, e)));
        taken.take(w.limit.max(0) as usize).collect()
    });
    with_inputs(db, taken)
}

fn key(queue: i32, p: &Position) -> [Arg; 4] {
    [
        queue.into(),
        p.rank.into(),
        p.created_at.0.into(),
        p.id.into(),
    ]
}

/// Locks candidates of several queues that have lost their lease, in claim order, leaving out what others hold.
pub fn take_lost(db: &Db, queues: &[(i32, String)], w: Wanted, left: &[Uuid]) -> Vec<Candidate> {
    let queues = array::ints(queues.iter().map(|(queue, _)| *queue));
    let rows = LOST.run(db, [queues]);
    let ids: Vec<Uuid> = rows.iter().map(|r| r.get(1)).collect();
    take_these(db, ids.into_iter().filter(|id| !left.contains(id)), w)
}

/// Puts entries into their queues.
pub fn insert(db: &Db, entries: &[Ready]) {
    let rows: Vec<[Arg; 5]> = entries
        .iter()
        .map(|r| {
            let p = r.position;
            [
                r.queue.into(),
                p.rank.into(),
                p.created_at.0.into(),
                p.id.into(),
                r.reclaim.into(),
            ]
        })
        .collect();
    INSERT.run(db, &rows);
}

/// Takes entries out of their queues.
pub fn delete(db: &Db, entries: &[Ready]) {
    let rows: Vec<_> = entries.iter().map(|r| key(r.queue, &r.position)).collect();
    DELETE.run(db, &rows);
}

/// Whether a claim of these queues of a lane could get something now, or at least what has lost its lease; the limit
/// does not matter.
pub fn any(db: &Db, lane: i32, queues: &[i32], w: Wanted, fresh: bool) -> bool {
    let args = [
        array::ints(queues.iter().copied()),
        w.reclaim.into(),
        w.now.0.into(),
        w.low.into(),
        w.high.into(),
        lane.into(),
        fresh.into(),
    ];
    WORK.run(db, args).first().is_some_and(|r| r.get(1))
}

/// The queue of an entry as shared memory knows it.
pub fn shared(queue: i32) -> Queue {
    Queue {
        relation: session::table(c"ff_engine", c"ready"),
        id: queue,
    }
}

/// A position as shared memory knows it.
pub fn place(p: &Position) -> Place {
    (p.rank, p.created_at.0, p.id.into_bytes())
}

/// A position from shared memory.
pub fn position((rank, created_at, id): Place) -> Position {
    Position {
        rank,
        created_at: Instant(created_at),
        id: Uuid::from_bytes(id),
    }
}

/// Tells other claims to look again when this transaction ends, because they pass over the entry until then.
pub fn hold(entry: &Ready) {
    if preloaded() {
        xact::held(shared(entry.queue), place(&entry.position));
    }
}
