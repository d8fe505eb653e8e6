//! Operations on an execution as a whole.

pub mod create;
pub mod duty;
pub mod wait;
