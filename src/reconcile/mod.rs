//! Periodic duties (§10.21): each is operations in bounded batches, harmless to run twice or at once.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::error::Result;
use crate::guc;
use crate::model::due::Duty;
use crate::model::time::Instant;
use crate::ops;
use crate::pg::clock;
use crate::pg::runs::{self, Runs};
use crate::pg::spi::Db;
use crate::store;

mod admission;
mod batch;
mod budget;
mod cancel_backlog;
mod cascade;
mod dependency;
mod due;
mod flow_retention;
mod flow_summary;
mod idempotency;
mod quota;
mod rest;
mod retention;
mod sibling_cancel;
mod signal_gc;
mod stream_gc;
mod unblock;
mod waitpoint;
mod worker_ttl;

/// What a run is restricted to.
#[derive(Clone, Debug)]
pub struct Scope {
    /// At most so many rows.
    pub limit: i64,
    /// Lowest and highest partition.
    pub partitions: (i16, i16),
    /// Only this namespace.
    pub namespace: Option<String>,
    /// Only executions whose tags contain these.
    pub tags: Map<String, Value>,
    /// Leaves rows alone whose handling has raised within the last minute.
    pub patient: bool,
}

impl Scope {
    /// Everything, in the batch of the setting, for those who come again and again.
    pub fn all() -> Scope {
        Scope {
            limit: i64::from(guc::RECONCILE_BATCH.value.get()),
            partitions: (0, 255),
            namespace: None,
            tags: Map::new(),
            patient: true,
        }
    }

    /// The rows to leave alone.
    fn resting(&self) -> BTreeMap<rest::Row, i64> {
        if self.patient {
            rest::rows()
        } else {
            BTreeMap::new()
        }
    }
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows handled.
    pub processed: i32,
    /// Rows that were no longer due.
    pub skipped: i32,
    /// Rows whose handling failed.
    pub errors: i32,
    /// Due rows are left.
    pub remaining: bool,
}

impl Tally {
    /// Whether another run straight away has something to do. What is left and failed does not count.
    pub fn again(&self) -> bool {
        self.remaining && self.processed > 0
    }
}

/// One duty.
pub struct Reconciler {
    /// Its name, as in `ff_reconcile_<name>`.
    pub name: &'static str,
    /// Longest pause between two runs of a background worker, milliseconds.
    pub every_ms: i64,
    /// Looks at timers or a queue, so that a due instant wakes the worker for it.
    pub timed: bool,
    run: fn(&Db, &Scope) -> Result<Tally>,
}

impl Reconciler {
    /// Runs it once.
    ///
    /// # Errors
    /// Only those that concern no single row.
    pub fn run(&self, db: &Db, scope: &Scope) -> Result<Tally> {
        let start = clock::wall_micros();
        store::intent::background(db);
        let tally = (self.run)(db, scope)?;
        let took = clock::wall_micros() - start;
        runs::went(self.number(), tally.processed, tally.errors, took);
        Ok(tally)
    }

    /// A run raised this message.
    pub fn failed(&self, message: &str) {
        runs::failed(self.number(), message);
    }

    /// How it has fared in this database since the server started.
    pub fn runs(&self) -> Runs {
        runs::of(self.number())
    }

    fn number(&self) -> usize {
        let mut duties = duties();
        duties
            .position(|d| d.name == self.name)
            .unwrap_or(usize::MAX)
    }
}

macro_rules! duty {
    ($name:literal, $every:literal, $duty:ident) => {
        Reconciler {
            name: $name,
            every_ms: $every,
            timed: true,
            run: |db, scope| due::run(db, Duty::$duty, scope),
        }
    };
}

/// All duties, in the order of a tick.
pub static ALL: &[Reconciler] = &[
    duty!("execution_deadline", 5_000, ExecutionDeadline),
    duty!("attempt_timeout", 2_000, AttemptTimeout),
    duty!("suspension_timeout", 1_000, SuspensionTimeout),
    duty!("lease_expiry", 1_500, LeaseExpiry),
    Reconciler {
        name: "budget_reset",
        every_ms: 15_000,
        timed: true,
        run: budget::reset,
    },
    Reconciler {
        name: "budget_enforce",
        every_ms: 5_000,
        timed: false,
        run: budget::enforce,
    },
    Reconciler {
        name: "cascade",
        every_ms: 1_000,
        timed: true,
        run: cascade::run,
    },
    Reconciler {
        name: "sibling_cancel",
        every_ms: 1_000,
        timed: true,
        run: sibling_cancel::run,
    },
    Reconciler {
        name: "sibling_cancel_repair",
        every_ms: 10_000,
        timed: false,
        run: sibling_cancel::repair,
    },
    Reconciler {
        name: "cancel_backlog",
        every_ms: 15_000,
        timed: true,
        run: cancel_backlog::run,
    },
    Reconciler {
        name: "dependency",
        every_ms: 15_000,
        timed: false,
        run: dependency::run,
    },
    Reconciler {
        name: "flow_summary",
        every_ms: 15_000,
        timed: true,
        run: flow_summary::run,
    },
    duty!("delayed", 750, Delay),
    duty!("grant_expiry", 5_000, Grant),
    Reconciler {
        name: "budget_counters",
        every_ms: 30_000,
        timed: false,
        run: budget::counters,
    },
    Reconciler {
        name: "quota_counters",
        every_ms: 30_000,
        timed: false,
        run: quota::run,
    },
    Reconciler {
        name: "unblock",
        every_ms: 750,
        timed: false,
        run: unblock::run,
    },
    Reconciler {
        name: "pending_waitpoint",
        every_ms: 5_000,
        timed: false,
        run: waitpoint::run,
    },
    Reconciler {
        name: "worker_ttl",
        every_ms: 30_000,
        timed: false,
        run: worker_ttl::run,
    },
    Reconciler {
        name: "idempotency",
        every_ms: 60_000,
        timed: false,
        run: idempotency::run,
    },
    Reconciler {
        name: "signal_gc",
        every_ms: 60_000,
        timed: false,
        run: signal_gc::run,
    },
    Reconciler {
        name: "stream_gc",
        every_ms: 60_000,
        timed: false,
        run: stream_gc::run,
    },
    Reconciler {
        name: "retention",
        every_ms: 60_000,
        timed: false,
        run: retention::run,
    },
    Reconciler {
        name: "flow_retention",
        every_ms: 60_000,
        timed: false,
        run: flow_retention::run,
    },
];

/// Keeps the counts of executions near the present. No reconciler of the specification: a tick does not name it.
static COUNTS: Reconciler = Reconciler {
    name: "counts",
    every_ms: 1_000,
    timed: false,
    run: |db, _| {
        let remaining = ops::tally::advance(db);
        Ok(Tally {
            processed: i32::from(remaining),
            remaining,
            ..Tally::default()
        })
    },
};

/// What a tick does before it runs the duties: it counts best while nothing has been written.
///
/// # Errors
/// None that concern a duty.
pub fn before_tick(db: &Db) -> Result<()> {
    COUNTS.run(db, &Scope::all()).map(|_| ())
}

/// All that background work runs: the duties of a tick, and the counts.
pub fn duties() -> impl Iterator<Item = &'static Reconciler> {
    ALL.iter().chain([&COUNTS])
}

/// The duty of a name.
pub fn find(name: &str) -> Option<&'static Reconciler> {
    ALL.iter().find(|r| r.name == name)
}

/// The earliest instant at which a duty may have something to do for those who are patient.
///
/// For a process that [`hears`](heard) of everything that falls due: the next search begins there.
pub fn next_due(db: &Db) -> Option<Instant> {
    let resting = rest::rows();
    let ids: Vec<_> = resting.keys().filter_map(rest::Row::execution).collect();
    let next = store::timer::next(db, &ids);
    if ids.is_empty() {
        store::timer::raise_floor(next.unwrap_or(Instant(i64::MAX)));
    }
    let again = resting.values().min().map(|at| Instant(*at));
    let now = ops::clock::now();
    let queues = [
        store::cascade::next(db),
        store::flow_summary::next(db),
        store::sibling_cancel::next(db, now),
        store::cancel_backlog::next(db, now),
        store::budget::nearest_reset(db),
    ];
    next.into_iter()
        .chain(again)
        .chain(queues.into_iter().flatten())
        .min()
}

/// The earliest instant that others have announced since the last time; none if that cannot be known.
pub fn heard(earliest: Option<i64>) {
    store::timer::lower_floor(Instant(earliest.unwrap_or(i64::MIN)));
}
