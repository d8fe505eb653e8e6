//! Output streams (§30.1–§30.9).

pub mod append;
pub mod close;
pub mod gc;
pub mod read;
pub mod summary;
pub mod tail;
