//! Quota policies (§50.8): how many executions may start in a window, and how many may run at once.

pub mod admit;
pub mod define;
