//! Operations on an execution as a whole.

pub mod create;
pub mod duplicates;
pub mod duty;
pub mod settle;
pub mod wait;
