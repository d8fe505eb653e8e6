//! Processes: a launcher that finds databases, and one worker for each in which the extension is installed.

mod launcher;
mod schedule;
mod signals;
mod start;
mod worker;

pub use start::{Started, start, stop};

/// Registers the launcher if the server is starting; called once from `_PG_init`.
pub fn init() {
    launcher::register();
}
