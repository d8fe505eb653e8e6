//! One file per operation, always the same four paragraphs:
//!
//! 1. **lock** the rows through `store`, in the order written there;
//! 2. **decide** with `model`, from plain values and the clock read after the lock;
//! 3. **write** the change through `save`, which keeps ready queue and timers in step;
//! 4. **announce**: the events travel inside the change; waiters are woken when the transaction commits.
#![forbid(unsafe_code)]

pub mod attempt;
pub mod budget;
pub mod claim;
pub mod clock;
pub mod event;
pub mod execution;
pub mod flow;
pub mod grant;
pub mod installation;
pub mod lane;
pub mod lease;
pub mod limit;
pub mod operator;
pub mod quota;
pub mod role;
pub mod save;
pub mod stream;
pub mod suspension;
pub mod tally;
pub mod worker;
