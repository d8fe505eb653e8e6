//! Statements: SQL text, arguments and decoded rows, one file per table. No decision is made here.
//!
//! Lock order of the whole engine (G4), taken by `ops` in this order and ascending inside a kind:
//! lane names, idempotency keys, worker registration, flow, execution, its attempt, suspension, waitpoint
//! and edge rows, budgets, quotas, then events. Execution rows taken by claims and reconcilers are taken
//! with SKIP LOCKED and so stand outside it.
#![forbid(unsafe_code)]

/// A statement text put together from literals at compile time.
macro_rules! sql {
    ($($part:expr),+ $(,)?) => {
        match std::ffi::CStr::from_bytes_with_nul(concat!($($part,)+ "\0").as_bytes()) {
            Ok(text) => text,
            Err(_) => c"",
        }
    };
}

pub mod attachment;
pub mod attempt;
pub mod binding;
pub mod budget;
pub mod cancel_backlog;
pub mod cascade;
pub mod claimer;
pub mod covered;
pub mod cron;
pub mod denied;
pub mod edge;
pub mod edge_group;
pub mod event;
pub mod event_window;
pub mod execution;
pub mod flow;
pub mod flow_graph;
pub mod flow_repair;
pub mod flow_summary;
pub mod held;
pub mod idempotency;
pub mod input;
pub mod installation;
pub mod intent;
pub mod lane;
pub mod moved;
pub mod observed;
pub mod process;
pub mod purge;
pub mod queue;
pub mod quota;
pub mod ready;
pub mod role;
pub mod scan;
pub mod secret;
pub mod sibling_cancel;
pub mod signal;
pub mod statement;
pub mod stream;
pub mod subject;
pub mod suspension;
pub mod tally;
pub mod timer;
pub mod token_failure;
pub mod unrouted;
pub mod waitpoint;
pub mod worker;
